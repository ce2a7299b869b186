// Gower's dissimilarity of mixed features, the mean of |x_j − y_j| / range_j, or of [x_j ≠ y_j]
// where there is no range, over the features that both rows have; NaN is what is missing.
// Categories are compared as the numbers they are. Infinite where two rows have no feature in
// common.
#pragma once

#include "pairtile/metric/direct.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Gower : Direct {
    static constexpr MetricTraits traits{.parameter = "ranges", .takes_nan = true};
    static constexpr int sums = 2;

    template <int sum, class T>
    static PAIRTILE_HD T accumulate(T so_far, T x, T y, int64_t j, const MetricParams& params) {
        const T difference = x - y, one = T{} + 1.0;
        T term = one;
        if (sum == 0 && params.ranges[j] > 0.0) {
            const T share = magnitude(difference) / params.ranges[j], most = T{} + params.clip;
            term = share < most ? share : most;
        } else if (sum == 0) {
            term = difference == T{} ? T{} : one;
        }
        return so_far + (difference == difference ? term : T{});
    }
    template <class T>
    static PAIRTILE_HD T order(T terms, T present) {
        return present == T{} ? T{} + __builtin_inf() : terms / present;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
