// Forward: the log-sum-exp fold over rows, and over columns when symmetric, in one sweep. Backward:
// the logits again, turned into weights W = ∂loss/∂S by a contraction.
#include "losses/softmax.hpp"

#include <cmath>
#include <vector>

#include "engine/row_states.hpp"
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
        row_states_.begin(panels.count, segments);
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
            const LogSumExp& state = row_states_.at(tile.local_row + i, task.segment);
            max[i] = state.max, sum[i] = state.sum;
        }
        ops.log_sum_exp_rows(tile.data, tile.ld, tile.rows, tile.cols, max, sum);
        for (int i = 0; i < tile.rows; ++i) {
            row_states_.at(tile.local_row + i, task.segment) = {max[i], sum[i]};
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
            rows[static_cast<size_t>(panels.first + i)] = row_states_.merged(i);
        }
    }

    std::vector<double> positives;
    std::vector<LogSumExp> rows, cols;

  private:
    double scale_;
    const int64_t* targets_;
    bool with_cols_;
    RowStates<LogSumExp> row_states_;
    std::vector<double> col_max_, col_sum_;  // [row block][column]
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
    static constexpr bool has_bias = false;
    T scale;
    const int64_t* targets;
    Softmax<T> row, col;
    std::vector<T> positive;

    void weigh(const Tile<T>& tile, T* out, int64_t ld) const {
        const Ops<T>& ops = ops_of<T>(isa());
        const size_t first = static_cast<size_t>(tile.row);
        ops.scale(tile.data, ld, tile.rows, tile.cols, scale);
        ops.softmax_weights(tile.data, ld, tile.rows, tile.cols, row.from(first),
                            col.from(static_cast<size_t>(tile.col)), out, ld);
        for (int i = 0; i < tile.rows; ++i) {
            const size_t global = first + static_cast<size_t>(i);
            const int64_t at = targets[global] - tile.col;
            if (at >= 0 && at < tile.cols) out[i * ld + at] = positive[global];
        }
    }
};

}  // namespace

template <class T>
void softmax_losses(const LogitRequest& request, const int64_t* targets, bool symmetric,
                    SoftmaxLosses<T>& out) {
    const int64_t n = request.x.rows(), m = request.y.rows();
    const double scale = request.scale;
    const Logits<T> logits(request);
    LogSumExpFold<T> forward(scale, targets, symmetric, n, m);
    logits.sweep(forward);
    SoftmaxWeights<T> weights{static_cast<T>(scale), targets, {}, {}, {}};
    for (int64_t i = 0; i < n; ++i) {
        const size_t at = static_cast<size_t>(i);
        const double positive = forward.positives[at];
        const auto loss_of = [positive](const LogSumExp& fold) {
            return (fold.max - positive) + logarithm(fold.sum);
        };
        const LogSumExp& row = forward.rows[at];
        const double row_loss = loss_of(row);
        const double share =
            (symmetric ? 0.5 : 1.0) * (request.upstream ? request.upstream[i] : 0.0);
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
    if (!request.upstream) return;
    LogitGradient<T, SoftmaxWeights<T>> backward(weights, scale, out.gradients,
                                                 request.control.workers());
    logits.sweep(backward);
    logits.finish(out.gradients);
    out.grad_scale = backward.products / scale;
}

template void softmax_losses<float>(const LogitRequest&, const int64_t*, bool,
                                    SoftmaxLosses<float>&);
template void softmax_losses<double>(const LogitRequest&, const int64_t*, bool,
                                     SoftmaxLosses<double>&);

}  // namespace pairtile
