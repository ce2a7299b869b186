// Forward: a sum of softplus over the negatives of each row; its positive is added by itself, so
// that neither is small beside the other. Backward: a contraction.
#include "losses/sigmoid.hpp"

#include <cmath>

#include "engine/row_states.hpp"
#include "pairtile/fold/sigmoid.hpp"

namespace pairtile {
namespace {

template <class T>
class SoftplusSums {
  public:
    SoftplusSums(double scale, double bias, double* per_row)
        : scale_(static_cast<T>(scale)), bias_(static_cast<T>(bias)), per_row_(per_row) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        negatives_.begin(rows.count, segments);
        positives_.assign(static_cast<size_t>(rows.count), 0.0);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>&, const Panels<T>&) {
        const Ops<T>& ops = ops_of<T>(isa());
        ops.scale(tile.data, tile.ld, tile.rows, tile.cols, scale_);
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t at = tile.row + i - tile.col;
            if (at < 0 || at >= tile.cols) continue;
            T& logit = tile.data[i * tile.ld + at];
            positives_[static_cast<size_t>(tile.local_row + i)] =
                softplus(-static_cast<double>(logit + bias_));
            logit = -static_cast<T>(INFINITY);  // no negative
        }
        double sums[64] = {};
        ops.softplus_sums(tile.data, tile.ld, tile.rows, tile.cols, bias_, sums);
        for (int i = 0; i < tile.rows; ++i) {
            negatives_.at(tile.local_row + i, task.segment) += sums[i];
        }
    }

    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) {
            per_row_[rows.first + i] = positives_[static_cast<size_t>(i)] + negatives_.merged(i);
        }
    }

  private:
    T scale_, bias_;
    double* per_row_;
    RowStates<double> negatives_;
    std::vector<double> positives_;
};

// ∂loss/∂S = upstream · (σ(S) − 1 for positives, σ(S) for negatives).
template <class T>
struct SigmoidWeights {
    static constexpr bool has_bias = true;
    T scale, bias;
    std::vector<T> upstream;

    void weigh(const Tile<T>& tile, T* out, int64_t ld) const {
        const Ops<T>& ops = ops_of<T>(isa());
        ops.scale(tile.data, ld, tile.rows, tile.cols, scale);
        ops.sigmoid_weights(tile.data, ld, tile.rows, tile.cols, bias, upstream.data() + tile.row,
                            out, ld);
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t at = tile.row + i - tile.col;
            if (at < 0 || at >= tile.cols) continue;
            // σ(S) − 1 = −σ(−S), without the difference
            const double logit = static_cast<double>(tile.data[i * ld + at] + bias);
            const double mine = static_cast<double>(upstream[static_cast<size_t>(tile.row + i)]);
            out[i * ld + at] = static_cast<T>(-mine * sigmoid(-logit));
        }
    }
};

}  // namespace

template <class T>
void sigmoid_losses(const LogitRequest& request, double bias, SigmoidLosses<T>& out) {
    const Logits<T> logits(request);
    const double scale = request.scale;
    SoftplusSums<T> forward(scale, bias, out.per_row);
    logits.sweep(forward);
    if (!request.upstream) return;
    SigmoidWeights<T> weights{static_cast<T>(scale), static_cast<T>(bias), {}};
    for (int64_t i = 0; i < request.x.rows(); ++i) {
        weights.upstream.push_back(static_cast<T>(request.upstream[i]));
    }
    LogitGradient<T, SigmoidWeights<T>> backward(weights, scale, out.gradients,
                                                 request.control.workers());
    logits.sweep(backward);
    logits.finish(out.gradients);
    out.grad_scale = backward.products / scale;
    out.grad_bias = backward.weights;
}

template void sigmoid_losses<float>(const LogitRequest&, double, SigmoidLosses<float>&);
template void sigmoid_losses<double>(const LogitRequest&, double, SigmoidLosses<double>&);

}  // namespace pairtile
