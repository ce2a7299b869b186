// Gower's dissimilarity of mixed features, their mean of |x_j − y_j| / range_j where there is a
// range, else of [x_j ≠ y_j]; ordered by the sum. Categories are compared as the numbers they are.
#pragma once

#include "pairtile/metric/direct.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Gower : Direct {
    static constexpr MetricTraits traits{.parameter = "ranges"};

    template <class T>
    static PAIRTILE_HD T accumulate(T sum, T x, T y, int64_t j, const MetricParams& params) {
        const T difference = x - y;
        if (params.ranges[j] > 0.0) return sum + magnitude(difference) / params.ranges[j];
        // the product is 0, or NaN for a row that holds NaN
        return sum + (difference == T{} ? T{} : difference * 0.0 + 1.0);
    }
    static PAIRTILE_HD double reported(double ordered, const MetricParams& params) {
        return ordered / params.features;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
