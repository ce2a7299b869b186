// Each pair of the triangle is one of its row and one of its column.
#include "losses/self_softmax.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "losses/softmax_finish.hpp"
#include "losses/softmax_side.hpp"
#include "pairtile/fold/softmax_weight.hpp"

namespace pairtile {
namespace {

// One state for each row, which has one writer at a time.
template <class T>
class SelfForward {
  public:
    SelfForward(const Positives& positives, double scale, int64_t n)
        : max_(static_cast<size_t>(n), LogSumExp{}.max),
          sum_(static_cast<size_t>(n), 0.0),
          positive_(static_cast<size_t>(n), 0.0),
          count_(static_cast<size_t>(n), 0.0),
          positives_(positives),
          scale_(static_cast<T>(scale)) {}

    void block(const PairBlock<T>& block) {
        const Ops<T>& ops = ops_of<T>(isa());
        block.for_each_tile([&](const Tile<T>& tile) {
            const size_t row = static_cast<size_t>(tile.row), col = static_cast<size_t>(tile.col);
            ops.scale(tile.data, tile.ld, tile.rows, tile.cols, scale_);
            leave_out_lower(tile, tile.data, tile.ld);
            for (int i = 0; i < tile.rows; ++i) {
                const size_t at = row + static_cast<size_t>(i);
                const int64_t past = std::max<int64_t>(0, tile.row + i + 1 - tile.col);
                for_each_positive(
                    positives_, tile.row + i, tile.col, past, tile.cols, [&](int64_t j, double) {
                        const double s = static_cast<double>(tile.data[i * tile.ld + j]);
                        const size_t other = col + static_cast<size_t>(j);
                        positive_[at] += s, positive_[other] += s;
                        count_[at] += 1.0, count_[other] += 1.0;
                    });
            }
            ops.log_sum_exp_rows_and_cols(tile.data, tile.ld, tile.rows, tile.cols,
                                          max_.data() + row, sum_.data() + row, max_.data() + col,
                                          sum_.data() + col);
        });
    }

    SoftmaxState state(size_t row) const {
        SoftmaxState state;
        state.all = {max_[row], sum_[row]};
        state.positive = positive_[row], state.share = count_[row];
        return state;
    }

  private:
    std::vector<double> max_, sum_, positive_, count_;
    const Positives& positives_;
    T scale_;
};

// The weights of a triangle: each pair's as one of its row and as one of its column.
template <class T>
struct SelfWeights {
    const Positives& positives;
    T scale;
    SideWeights<T> side;
    bool scaled = false;  // tiles as the forward sweep left them

    void weigh(const Tile<T>& tile, T* out, int64_t ld, int, LogitSums& sums) const {
        const Ops<T>& ops = ops_of<T>(isa());
        const size_t row = static_cast<size_t>(tile.row), col = static_cast<size_t>(tile.col);
        if (!scaled) {
            ops.scale(tile.data, tile.ld, tile.rows, tile.cols, scale);
            // what is below the diagonal weighs nothing, and adds nothing to the sums
            leave_out_lower(tile, tile.data, tile.ld);
        }
        ops.softmax_weights(tile.data, tile.ld, tile.rows, tile.cols, side.from(row),
                            side.from(col), out, ld);
        for (int i = 0; i < tile.rows; ++i) {
            T* logits = tile.data + i * tile.ld;
            const int64_t past = std::max<int64_t>(0, tile.row + i + 1 - tile.col);
            for_each_positive(
                positives, tile.row + i, tile.col, past, tile.cols, [&](int64_t j, double) {
                    const size_t a = row + static_cast<size_t>(i);
                    const size_t b = col + static_cast<size_t>(j);
                    out[i * ld + j] = of_positive(a, logits[j]) + of_positive(b, logits[j]);
                });
            for (int64_t j = 0; j < std::min<int64_t>(past, tile.cols); ++j) logits[j] = T(0);
        }
        sums.by_scale += ops.block_dot(out, ld, tile.data, tile.ld, tile.rows, tile.cols) /
                         static_cast<double>(scale);
        ops.scale(out, ld, tile.rows, tile.cols, scale);
    }

    T of_positive(size_t at, T logit) const {
        if (side.single[at]) return side.positive[at];
        return softmax_weight(logit, side.upstream[at], side.high[at], side.low[at]) -
               side.share[at];
    }
};

}  // namespace

template <class T>
void self_softmax_losses(const LogitRequest& request, const Positives& positives,
                         SoftmaxLosses<T>& out) {
    const int64_t n = request.x.rows();
    const bool grad = request.upstream != nullptr;
    const Logits<T> logits(request);
    SelfForward<T> forward(positives, request.scale, n);
    SoftmaxFinish<T> finish(0.0, n, grad);
    SelfWeights<T> weights{positives, static_cast<T>(request.scale), {}};
    const auto between = [&] {
        for (int64_t i = 0; i < n; ++i) {
            const size_t at = static_cast<size_t>(i);
            const SoftmaxState state = forward.state(at);
            out.lse_row[i] = state.all.finish();
            out.per_row[i] = state.share == 0.0 ? 0.0
                                                : finish(at, state, state.share == 1.0,
                                                         grad ? request.upstream[i] : 0.0);
        }
        weights.side = std::move(finish.side);
    };
    LogitGradient<T, SelfWeights<T>> backward(weights, out.gradients, request.control.workers());
    weights.scaled = grad && logits.can_keep();
    if (weights.scaled) {
        logits.sweep_kept(forward, between, backward);
    } else {
        logits.sweep(forward);
        between();
        if (!grad) return;
        logits.sweep(backward);
    }
    logits.finish(out.gradients);
    out.grad_scale = backward.sums.by_scale;
}

template void self_softmax_losses<float>(const LogitRequest&, const Positives&,
                                         SoftmaxLosses<float>&);
template void self_softmax_losses<double>(const LogitRequest&, const Positives&,
                                          SoftmaxLosses<double>&);

}  // namespace pairtile
