// Circle loss (Sun et al., 2020): softplus of the sum of two log-sum-exps, one over the positives
// and one over the negatives of a row, of similarities that count the more the further they are
// from where they should be. These weights are constants for the gradient, as in the paper.
#pragma once

#include "pairtile/fold/sigmoid.hpp"
#include "pairtile/loss/loss.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// Parameters: margin m, gamma γ.
template <class T>
struct Circle {
    T margin, gamma;

    PAIRTILE_HD explicit Circle(const double* parameters)
        : margin(static_cast<T>(parameters[0])), gamma(static_cast<T>(parameters[1])) {}

    PAIRTILE_HD T positive(T c) const { return positive_slope(c) * (c - (T(1) - margin)); }
    PAIRTILE_HD T positive_slope(T c) const {
        const T weight = T(1) + margin - c;
        return weight > T(0) ? -gamma * weight : T(0);
    }
    PAIRTILE_HD T negative(T c) const { return negative_slope(c) * (c - margin); }
    PAIRTILE_HD T negative_slope(T c) const {
        const T weight = c + margin;
        return weight > T(0) ? gamma * weight : T(0);
    }
    // A row without a side has no loss.
    PAIRTILE_HD static PairLoss finish(const double*, double positives, double negatives) {
        if (positives == -__builtin_inf() || negatives == -__builtin_inf()) return {0.0, 0.0, 0.0};
        const double both = positives + negatives, slope = sigmoid(both);
        return {softplus(both), slope, slope};
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
