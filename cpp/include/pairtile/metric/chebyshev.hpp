// Chebyshev distance max |x_j − y_j|; NaN if a difference is, as for every other metric.
#pragma once

#include "pairtile/config.hpp"
#include "pairtile/metric/traits.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Chebyshev {
    static constexpr MetricTraits traits{.quantity = Quantity::largest_difference};

    template <class T>
    static PAIRTILE_HD T accumulate(T sum, T x, T y) {
        const T difference = x - y;
        const T size = difference < T(0) ? -difference : difference;
        return size > sum || size != size ? size : sum;
    }
    template <class T>
    static PAIRTILE_HD T combine(T a, T b) {
        return a > b || a != a ? a : b;
    }
    // ascending order of neighbours
    static PAIRTILE_HD double order(double combined) { return combined; }
    // what the user sees, from the ordered value
    static PAIRTILE_HD double reported(double ordered) { return ordered; }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
