// Multi-similarity loss (Wang et al., 2019): log(1 + Σ e^{−α(c − λ)})/α over the positives of a row
// and log(1 + Σ e^{β(c − λ)})/β over its negatives.
#pragma once

#include "pairtile/fold/sigmoid.hpp"
#include "pairtile/loss/loss.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// Parameters: α, β, base λ.
template <class T>
struct MultiSimilarity {
    T alpha, beta, base;

    PAIRTILE_HD explicit MultiSimilarity(const double* parameters)
        : alpha(static_cast<T>(parameters[0])),
          beta(static_cast<T>(parameters[1])),
          base(static_cast<T>(parameters[2])) {}

    PAIRTILE_HD T positive(T c) const { return -alpha * (c - base); }
    PAIRTILE_HD T positive_slope(T) const { return -alpha; }
    PAIRTILE_HD T negative(T c) const { return beta * (c - base); }
    PAIRTILE_HD T negative_slope(T) const { return beta; }
    // A side that is missing adds nothing.
    PAIRTILE_HD static PairLoss finish(const double* parameters, double positives,
                                       double negatives) {
        const double alpha = parameters[0], beta = parameters[1];
        return {softplus(positives) / alpha + softplus(negatives) / beta,
                sigmoid(positives) / alpha, sigmoid(negatives) / beta};
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
