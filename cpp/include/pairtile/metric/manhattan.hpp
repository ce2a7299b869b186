// Manhattan distance Σ |x_j − y_j|.
#pragma once

#include "pairtile/config.hpp"
#include "pairtile/metric/traits.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Manhattan {
    static constexpr MetricTraits traits{.quantity = Quantity::absolute_differences};

    template <class T>
    static PAIRTILE_HD T accumulate(T sum, T x, T y) {
        const T difference = x - y;
        return sum + (difference < T(0) ? -difference : difference);
    }
    template <class T>
    static PAIRTILE_HD T combine(T a, T b) {
        return a + b;
    }
    // ascending order of neighbours
    static PAIRTILE_HD double order(double combined) { return combined; }
    // what the user sees, from the ordered value
    static PAIRTILE_HD double reported(double ordered) { return ordered; }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
