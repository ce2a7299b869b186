// Between the sweeps: states of rows and columns become losses, and what the weights of their pairs
// need of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "losses/softmax.hpp"
#include "losses/softmax_side.hpp"

namespace pairtile {

// Whether a row has one positive; of a matrix whose other columns are elsewhere, its whole weight.
inline bool has_one_positive(const Positives& positives, int64_t row, const SoftmaxState& state) {
    if (!positives.indptr) return state.share == 1.0;
    const int64_t first = positives.indptr[row];
    return positives.indptr[row + 1] - first == 1 && positives.weights[first] == 1.0;
}

// The loss of a state, and its softmax for a weight of the loss.
template <class T>
class SoftmaxFinish {
  public:
    SoftmaxFinish(double smoothing, int64_t n, bool grad) : smoothing_(smoothing) {
        if (!grad) return;
        side.resize(n);
        if (smoothing > 0.0) side.flat.assign(static_cast<size_t>(n), T(0));
    }

    double operator()(size_t at, const SoftmaxState& state, bool single, double weight) {
        const LogSumExp& all = state.all;
        const double positive = state.positive / state.share;
        const double mean = smoothing_ > 0.0 ? state.total / state.count : 0.0;
        const double plain = (all.max - positive) + logarithm(all.sum);  // −log softmax
        const double loss = smoothing_ > 0.0 ? plain + smoothing_ * (positive - mean) : plain;
        if (side.upstream.empty() || weight == 0.0) return loss;
        side.set(at, weight, all);
        double flat = 0.0;
        if (smoothing_ > 0.0) {
            flat = smoothing_ / state.count;
            side.flat[at] = static_cast<T>(weight * flat);
        }
        side.single[at] = single;
        side.positive[at] = static_cast<T>(weight * (std::expm1(-plain) + (smoothing_ - flat)));
        side.share[at] = static_cast<T>(weight * (1.0 - smoothing_) / state.share);
        return loss;
    }

    SideWeights<T> side;

  private:
    double smoothing_;
};

// The debiased loss (Chuang et al.) of a row whose state has its negatives alone: their sum becomes
// max((Σ − N τ e^S⁺)/(1 − τ), N e^−s), N of them.
template <class T>
double finish_debiased(const SoftmaxState& state, double tau, double n, double scale, double weight,
                       size_t at, SideWeights<T>& side, double& lse, double& by_scale) {
    const double positive = state.positive,
                 least = std::log(n) - scale;                       // of the sum, as a logarithm
    const double top = std::max({state.all.max, positive, least});  // all in units of e^top
    const double own = std::exp(positive - top), floor = std::exp(least - top);
    const double sum = state.all.sum == 0.0 ? 0.0 : state.all.sum * std::exp(state.all.max - top);
    const double corrected = (sum - n * tau * own) / (1.0 - tau);
    const bool floored = corrected <= floor;
    const double negatives = floored ? floor : corrected, whole = own + negatives;
    lse = top + std::log(whole);
    if (!side.upstream.empty()) {
        if (!floored) side.set(at, weight / (1.0 - tau), LogSumExp{top, whole});
        const double pull = floored ? 0.0 : own * n * tau / (1.0 - tau);
        side.single[at] = true;
        side.positive[at] = static_cast<T>(-weight * (negatives + pull) / whole);
        if (floored) by_scale -= weight * floor / whole;
    }
    // (top − positive) + log whole, without cancelling where the loss is tiny
    return top == positive ? std::log1p(negatives) : (top - positive) + std::log(whole);
}

// A pair that is the positive of its row and of its column has the weights of both.
template <class T>
void join_positives(const SoftmaxOptions& options, size_t row, SideWeights<T>& rows,
                    const SideWeights<T>& cols) {
    const T of_col = cols.positive[static_cast<size_t>(options.positives.targets[row])];
    rows.positive[row] = options.rows ? rows.positive[row] + of_col : of_col;
    rows.single[row] = true;
}

}  // namespace pairtile
