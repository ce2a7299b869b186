// One contraction gives the loss and its weights. The positives of a row are added by themselves,
// so that neither they nor the negatives are small beside the others.
#include "losses/sigmoid.hpp"

#include <cmath>

#include "pairtile/fold/sigmoid.hpp"

namespace pairtile {
namespace {

// ∂loss/∂(x·y), and the losses of the rows on the way.
template <class T>
class SigmoidWeights {
  public:
    SigmoidWeights(const LogitRequest& request, const Positives& positives, double bias,
                   double* by_scales)
        : negatives(static_cast<size_t>(request.x.rows()), 0.0),
          positive_losses(negatives.size(), 0.0),
          request_(request),
          positives_(positives),
          bias_(static_cast<T>(bias)),
          by_scales_(by_scales),
          aside_(static_cast<size_t>(request.control.workers())) {
        if (request.upstream) upstream_ = narrowed<T>(request.upstream, request.x.rows());
    }

    void weigh(const Tile<T>& tile, T* out, int64_t ld, int worker, LogitSums& sums) {
        const Ops<T>& ops = ops_of<T>(isa());
        const bool grad = !upstream_.empty();
        std::vector<Aside>& aside = aside_[static_cast<size_t>(worker)];
        for (int i = 0; i < tile.rows; ++i) {
            const size_t row = static_cast<size_t>(tile.row + i);
            T *logits = tile.data + i * tile.ld, *weights = out + i * ld;
            const double scale = request_.scale_of(tile.row + i);
            ops.scale(logits, tile.ld, 1, tile.cols, static_cast<T>(scale));
            // positives stand aside while the negatives are folded
            aside.clear();
            for_each_positive(positives_, tile.row + i, tile.col, 0, tile.cols,
                              [&](int64_t j, double) {
                                  aside.push_back({j, logits[j]});
                                  logits[j] = -static_cast<T>(INFINITY);
                              });
            double* losses = &negatives[row];
            if (!grad) {
                ops.softplus_sums(logits, tile.ld, 1, tile.cols, bias_, losses);
            } else {
                ops.sigmoid_weights(logits, tile.ld, 1, tile.cols, bias_, &upstream_[row], losses,
                                    weights, ld);
            }
            for (const Aside& positive : aside) {
                const double logit = static_cast<double>(positive.logit + bias_);
                positive_losses[row] += softplus(-logit);
                logits[positive.j] = positive.logit;
                // σ(S) − 1 = −σ(−S), without the difference
                if (grad) {
                    weights[positive.j] =
                        static_cast<T>(-static_cast<double>(upstream_[row]) * sigmoid(-logit));
                }
            }
            if (!grad) continue;
            double total = 0.0;
            ops.row_sums(weights, ld, 1, tile.cols, nullptr, &total);
            sums.by_bias += total;
            const double by_scale =
                ops.block_dot(weights, ld, logits, tile.ld, 1, tile.cols) / scale;
            (by_scales_ ? by_scales_[row] : sums.by_scale) += by_scale;
            ops.scale(weights, ld, 1, tile.cols, static_cast<T>(scale));
        }
    }

    std::vector<double> negatives, positive_losses;

  private:
    struct Aside {
        int64_t j;
        T logit;
    };

    const LogitRequest& request_;
    const Positives& positives_;
    T bias_;
    double* by_scales_;
    std::vector<T> upstream_;
    std::vector<std::vector<Aside>> aside_;  // of the row at hand, by worker
};

}  // namespace

template <class T>
void sigmoid_losses(const LogitRequest& request, const Positives& positives, double bias,
                    SigmoidLosses<T>& out) {
    const Logits<T> logits(request);
    SigmoidWeights<T> weights(request, positives, bias, out.grad_scales);
    LogitGradient<T, SigmoidWeights<T>> both(weights, out.gradients, request.control.workers());
    logits.sweep(both);
    for (int64_t i = 0; i < request.x.rows(); ++i) {
        const size_t at = static_cast<size_t>(i);
        out.per_row[i] = weights.positive_losses[at] + weights.negatives[at];
    }
    if (!request.upstream) return;
    logits.finish(out.gradients);
    out.grad_scale = both.sums.by_scale;
    out.grad_bias = both.sums.by_bias;
}

template void sigmoid_losses<float>(const LogitRequest&, const Positives&, double,
                                    SigmoidLosses<float>&);
template void sigmoid_losses<double>(const LogitRequest&, const Positives&, double,
                                     SigmoidLosses<double>&);

}  // namespace pairtile
