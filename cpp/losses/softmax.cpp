// Forward: the log-sum-exp fold over rows, and over columns when symmetric, in one sweep. Backward:
// the logits again, turned into weights W = ∂loss/∂S by a contraction: grad_x += W·y and
// grad_y += Wᵀ·x from the same block.
#include "losses/softmax.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "engine/contraction.hpp"
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

// ∂loss/∂S block by block, and the gradients of both sides from it.
template <class T>
class SoftmaxGradient {
  public:
    SoftmaxGradient(const SoftmaxWeights<T>& weights, double scale, int workers,
                    ContrastiveOutput<T>& out)
        : weights_(weights), scale_(scale), out_(out), memory_(static_cast<size_t>(workers)) {}

    void begin_blocks(int64_t count) { by_block_.assign(static_cast<size_t>(count), 0.0); }
    void end_blocks() {
        weighted_logits = std::accumulate(by_block_.begin(), by_block_.end(), weighted_logits);
    }

    void block(const PairBlock<T>& block) {
        const Ops<T>& ops = ops_of<T>(isa());
        const int64_t ld = block.sweep.blocking.strip;
        Buffer<T>& memory = memory_[static_cast<size_t>(block.worker)];
        memory.reserve(block.sweep.blocking.row_block * ld);
        double& sum = by_block_[static_cast<size_t>(block.index)];
        block.for_each_tile([&](const Tile<T>& tile) {
            T* weights = memory.data() + (tile.local_row - block.row) * ld;
            const size_t row = static_cast<size_t>(tile.row), col = static_cast<size_t>(tile.col);
            ops.scale(tile.data, ld, tile.rows, tile.cols, static_cast<T>(scale_));
            ops.softmax_weights(tile.data, ld, tile.rows, tile.cols, weights_.row.from(row),
                                weights_.col.from(col), weights, ld);
            for (int i = 0; i < tile.rows; ++i) {
                const size_t global = row + static_cast<size_t>(i);
                const int64_t at = weights_.targets[global] - tile.col;
                if (at >= 0 && at < tile.cols) weights[i * ld + at] = weights_.positive[global];
            }
            sum += ops.block_dot(weights, ld, tile.data, ld, tile.rows, tile.cols);
            ops.scale(weights, ld, tile.rows, tile.cols, static_cast<T>(scale_));
        });
        add_row_products(block, memory.data(), out_.grad_x);
        add_col_products(block, memory.data(), out_.grad_y);
    }

    double weighted_logits = 0.0;  // Σ W·S, for the gradient of the scale

  private:
    const SoftmaxWeights<T>& weights_;
    double scale_;
    ContrastiveOutput<T>& out_;
    std::vector<Buffer<T>> memory_;
    std::vector<double> by_block_;
};

}  // namespace

template <class T>
void contrastive(const Source& x, const Source& y, double scale, const int64_t* targets,
                 bool symmetric, const double* upstream, Control& control,
                 ContrastiveOutput<T>& out) {
    const int64_t n = x.rows(), m = y.rows(), d = x.d();
    const Ops<T>& ops = ops_of<T>(isa());
    Frame frame = raw_frame(d);
    frame.narrow = x.fits_float32() && y.fits_float32();
    Sweep<T> sweep{
        x,     y,      frame, TileFormula{}, choose_blocking(ops, n, m, d, BlockingLimits{}),
        false, control};
    expect(sweep);
    if (out.grad_x) expect(sweep);

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
    sweep.blocking = contraction_blocking(ops, d);
    SoftmaxGradient<T> backward(weights, scale, control.workers(), out);
    run(sweep, backward);
    out.grad_scale = scale != 0.0 ? backward.weighted_logits / scale : 0.0;
}

template void contrastive<float>(const Source&, const Source&, double, const int64_t*, bool,
                                 const double*, Control&, ContrastiveOutput<float>&);
template void contrastive<double>(const Source&, const Source&, double, const int64_t*, bool,
                                  const double*, Control&, ContrastiveOutput<double>&);

}  // namespace pairtile
