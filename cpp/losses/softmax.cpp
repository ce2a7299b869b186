// Forward: the log-sum-exp fold over rows, and over columns when symmetric, in one sweep. Backward:
// the logits again, turned into weights W = ∂loss/∂S block by block, and the engine's second
// micro-product: grad_x += W·y and grad_y += Wᵀ·x from the same block.
#include "losses/softmax.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "engine/sweep.hpp"
#include "pairtile/fold/log_sum_exp.hpp"

namespace pairtile {
namespace {

template <class T>
class LogSumExpFold {
  public:
    LogSumExpFold(double scale, const int64_t* targets, bool with_cols, int64_t n, int64_t m)
        : positives(static_cast<size_t>(n)),
          rows(static_cast<size_t>(n)),
          cols(with_cols ? static_cast<size_t>(m) : 0),
          scale_(scale),
          targets_(targets),
          with_cols_(with_cols) {}

    void begin_rows(const Panels<T>& panels, int64_t segments) {
        segments_ = segments;
        row_max_.assign(static_cast<size_t>(panels.count * segments), LogSumExp{}.max);
        row_sum_.assign(row_max_.size(), 0.0);
    }

    void begin_cols(const Panels<T>& panels, int64_t row_blocks) {
        if (!with_cols_) return;
        col_max_.assign(static_cast<size_t>(panels.count * row_blocks), LogSumExp{}.max);
        col_sum_.assign(col_max_.size(), 0.0);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>&, const Panels<T>& panels) {
        const Ops<T>& ops = ops_of<T>(isa());
        ops.scale(tile.data, tile.ld, tile.rows, tile.cols, static_cast<T>(scale_));
        // positives come from the same arithmetic as the sums they are compared with
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t at = targets_[tile.row + i] - tile.col;
            if (at >= 0 && at < tile.cols) {
                positives[static_cast<size_t>(tile.row + i)] =
                    static_cast<double>(tile.data[i * tile.ld + at]);
            }
        }
        double max[64], sum[64];
        for (int i = 0; i < tile.rows; ++i) {
            const size_t state = state_of(tile.local_row + i, task.segment);
            max[i] = row_max_[state], sum[i] = row_sum_[state];
        }
        ops.log_sum_exp_rows(tile.data, tile.ld, tile.rows, tile.cols, max, sum);
        for (int i = 0; i < tile.rows; ++i) {
            const size_t state = state_of(tile.local_row + i, task.segment);
            row_max_[state] = max[i], row_sum_[state] = sum[i];
        }
        if (!with_cols_) return;
        const int64_t at = task.row_block * panels.count + tile.local_col;
        ops.log_sum_exp_cols(tile.data, tile.ld, tile.rows, tile.cols, col_max_.data() + at,
                             col_sum_.data() + at);
    }

    void end_cols(const Panels<T>& panels, int64_t row_blocks) {
        if (!with_cols_) return;
        for (int64_t block = 0; block < row_blocks; ++block) {
            for (int64_t j = 0; j < panels.count; ++j) {
                const size_t at = static_cast<size_t>(block * panels.count + j);
                cols[static_cast<size_t>(panels.first + j)].merge(
                    LogSumExp{col_max_[at], col_sum_[at]});
            }
        }
    }

    void end_rows(const Panels<T>& panels) {
        for (int64_t i = 0; i < panels.count; ++i) {
            for (int64_t s = 0; s < segments_; ++s) {
                const size_t at = state_of(i, s);
                rows[static_cast<size_t>(panels.first + i)].merge(
                    LogSumExp{row_max_[at], row_sum_[at]});
            }
        }
    }

    std::vector<double> positives;
    std::vector<LogSumExp> rows, cols;

  private:
    size_t state_of(int64_t local_row, int64_t segment) const {
        return static_cast<size_t>(local_row * segments_ + segment);
    }

    double scale_;
    const int64_t* targets_;
    bool with_cols_;
    int64_t segments_ = 1;
    std::vector<double> row_max_, row_sum_, col_max_, col_sum_;
};

// One side of the softmax in the tile's type.
template <class T>
struct Softmax {
    std::vector<T> upstream, max, log_sum;

    void add(double weight, const LogSumExp& fold) {
        upstream.push_back(static_cast<T>(weight));
        max.push_back(static_cast<T>(fold.max));
        log_sum.push_back(static_cast<T>(logarithm(fold.sum)));
    }
    SoftmaxSide<T> from(size_t first) const {
        if (upstream.empty()) return {nullptr, nullptr, nullptr};
        return {upstream.data() + first, max.data() + first, log_sum.data() + first};
    }
};

// What turns a logit into ∂loss/∂S. Positives have their weight u(p − 1) at hand from the loss
// itself, in float64: p − 1 is tiny where the loss is.
template <class T>
struct SoftmaxWeights {
    Softmax<T> row, col;
    std::vector<T> positive;
    const int64_t* targets;
};

// Gradients of one chunk of rows against one chunk of columns.
template <class T>
class Backward {
  public:
    Backward(const SoftmaxWeights<T>& weights, double scale, int64_t d, int64_t chunk_rows,
             int64_t chunk_cols, ContrastiveOutput<T>& out)
        : weights_(weights),
          scale_(scale),
          d_(d),
          chunk_rows_(chunk_rows),
          chunk_cols_(chunk_cols),
          out_(out) {}

    struct Memory {
        Buffer<T> tile, block;
    };

    // Returns Σ W·S of the chunk, for the gradient of the scale.
    double chunk(const Panels<T>& rows, const Panels<T>& cols, int64_t row, int64_t col,
                 Memory& memory) const {
        const Ops<T>& ops = ops_of<T>(isa());
        const int64_t height = std::min(chunk_rows_, rows.count - row);
        const int64_t width = std::min(chunk_cols_, cols.count - col);
        const int64_t ld = chunk_cols_;
        memory.tile.reserve(ops.rows * ld);
        memory.block.reserve(chunk_rows_ * ld);
        double weighted_logits = 0.0;
        for (int64_t i = 0; i < height; i += ops.rows) {
            const int here = static_cast<int>(std::min<int64_t>(ops.rows, height - i));
            T* tile = memory.tile.data();
            T* block = memory.block.data() + i * ld;
            ops.core[static_cast<int>(Core::dot)](
                rows.panel_of(row + i), cols.panel_of(col), d_,
                static_cast<int>((width + ops.cols - 1) / ops.cols), nullptr, tile, ld);
            ops.scale(tile, ld, here, static_cast<int>(width), static_cast<T>(scale_));
            const size_t global_row = static_cast<size_t>(rows.first + row + i);
            const size_t global_col = static_cast<size_t>(cols.first + col);
            ops.softmax_weights(tile, ld, here, static_cast<int>(width),
                                weights_.row.from(global_row), weights_.col.from(global_col), block,
                                ld);
            for (int r = 0; r < here; ++r) {
                const size_t global = global_row + static_cast<size_t>(r);
                const int64_t at = weights_.targets[global] - static_cast<int64_t>(global_col);
                if (at >= 0 && at < width) block[r * ld + at] = weights_.positive[global];
            }
            weighted_logits += ops.block_dot(block, ld, tile, ld, here, static_cast<int>(width));
            ops.scale(block, ld, here, static_cast<int>(width), static_cast<T>(scale_));
        }
        // grad_x += W·y
        multiply(ops, height, width, memory.block.data(), ld, 1, cols, col,
                 out_.grad_x + (rows.first + row) * d_);
        // grad_y += Wᵀ·x
        multiply(ops, width, height, memory.block.data(), 1, ld, rows, row,
                 out_.grad_y + (cols.first + col) * d_);
        return weighted_logits;
    }

  private:
    void multiply(const Ops<T>& ops, int64_t m, int64_t k, const T* a, int64_t row_stride,
                  int64_t k_stride, const Panels<T>& right, int64_t right_row, T* c) const {
        for (int64_t f = 0; f < d_; f += ops.cols) {
            const int n = static_cast<int>(std::min<int64_t>(ops.cols, d_ - f));
            const T* b =
                right.features.data() + (f / ops.cols * right.count + right_row) * ops.cols;
            for (int64_t i = 0; i < m; i += ops.rows) {
                ops.product(static_cast<int>(std::min<int64_t>(ops.rows, m - i)), n, k,
                            a + i * row_stride, row_stride, k_stride, b, c + i * d_ + f, d_);
            }
        }
    }

    const SoftmaxWeights<T>& weights_;
    double scale_;
    int64_t d_, chunk_rows_, chunk_cols_;
    ContrastiveOutput<T>& out_;
};

template <class T>
double backward(const Source& x, const Source& y, double scale, const Frame& frame,
                const SoftmaxWeights<T>& weights, Control& control, ContrastiveOutput<T>& out) {
    const Ops<T>& ops = ops_of<T>(isa());
    const int64_t d = x.d();
    // whole register blocks both ways, about 256 × 256: the block of weights stays in L2
    const int64_t step = std::lcm<int64_t>(ops.rows, ops.cols);
    const int64_t chunk = std::max<int64_t>(1, 256 / step) * step;
    constexpr int64_t row_bytes = int64_t{5} << 20, col_bytes = int64_t{10} << 20;
    const int64_t bytes = d * static_cast<int64_t>(sizeof(T));
    const int64_t row_super = std::max<int64_t>(1, row_bytes / bytes / chunk) * chunk;
    const int64_t col_super = std::max<int64_t>(1, col_bytes / bytes / chunk) * chunk;

    const Backward<T> fold(weights, scale, d, chunk, chunk, out);
    std::vector<typename Backward<T>::Memory> memory(static_cast<size_t>(control.workers()));
    Panels<T> rows, cols;
    double weighted_logits = 0.0;
    for (int64_t col = 0; col < y.rows(); col += col_super) {
        const int64_t col_count = std::min(col_super, y.rows() - col);
        pack_rows(ops, y, col, col_count, frame, TileFormula{}, {1.0, ops.cols, false, true},
                  control, cols);
        for (int64_t row = 0; row < x.rows(); row += row_super) {
            const int64_t row_count = std::min(row_super, x.rows() - row);
            pack_rows(ops, x, row, row_count, frame, TileFormula{}, {1.0, ops.rows, false, true},
                      control, rows);
            const int64_t grid_rows = (row_count + chunk - 1) / chunk;
            const int64_t grid_cols = (col_count + chunk - 1) / chunk;
            std::vector<double> parts(static_cast<size_t>(grid_rows * grid_cols));
            parallel_grid(grid_rows, grid_cols, control, [&](int64_t i, int64_t j, int worker) {
                parts[static_cast<size_t>(i * grid_cols + j)] = fold.chunk(
                    rows, cols, i * chunk, j * chunk, memory[static_cast<size_t>(worker)]);
                control.advance(3 * chunk * chunk);
            });
            weighted_logits = std::accumulate(parts.begin(), parts.end(), weighted_logits);
        }
    }
    return weighted_logits;
}

}  // namespace

template <class T>
void contrastive(const Source& x, const Source& y, double scale, const int64_t* targets,
                 bool symmetric, const double* upstream, Control& control,
                 ContrastiveOutput<T>& out) {
    const int64_t n = x.rows(), m = y.rows(), d = x.d();
    Frame frame;
    frame.centre.assign(static_cast<size_t>(d), 0.0);
    const Blocking blocking = choose_blocking(ops_of<T>(isa()), n, m, d, BlockingLimits{});
    const Sweep<T> sweep{x, y, frame, TileFormula{}, blocking, false, false, false, control};
    expect(sweep);
    if (out.grad_x) control.expect(3 * n * m);

    LogSumExpFold<T> forward(scale, targets, symmetric, n, m);
    run(sweep, forward);
    SoftmaxWeights<T> weights;
    weights.targets = targets;
    for (int64_t i = 0; i < n; ++i) {
        const size_t at = static_cast<size_t>(i);
        const double positive = forward.positives[at];
        const auto loss_of = [positive](const LogSumExp& fold) {
            return (fold.max - positive) + logarithm(fold.sum);
        };
        const LogSumExp& row = forward.rows[at];
        const double share = (symmetric ? 0.5 : 1.0) * upstream[i];
        const double row_loss = loss_of(row);
        out.lse_row[i] = row.finish();
        out.per_row[i] = row_loss;
        weights.row.add(share, row);
        double weight = share * std::expm1(-row_loss);
        if (symmetric) {
            const LogSumExp& col = forward.cols[at];
            const double col_loss = loss_of(col);
            out.lse_col[i] = col.finish();
            out.per_row[i] = 0.5 * (row_loss + col_loss);
            weights.col.add(share, col);
            weight += share * std::expm1(-col_loss);
        }
        weights.positive.push_back(static_cast<T>(weight));
    }
    if (!out.grad_x) return;
    const double weighted_logits = backward<T>(x, y, scale, frame, weights, control, out);
    out.grad_scale = scale != 0.0 ? weighted_logits / scale : 0.0;
}

template void contrastive<float>(const Source&, const Source&, double, const int64_t*, bool,
                                 const double*, Control&, ContrastiveOutput<float>&);
template void contrastive<double>(const Source&, const Source&, double, const int64_t*, bool,
                                  const double*, Control&, ContrastiveOutput<double>&);

}  // namespace pairtile
