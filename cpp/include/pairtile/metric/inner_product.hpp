// Inner product Σ x_j y_j, largest first.
#pragma once

#include "pairtile/config.hpp"
#include "pairtile/metric/traits.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct InnerProduct {
    static constexpr MetricTraits traits{.quantity = Quantity::product, .factor = -1.0};

    template <class T>
    static PAIRTILE_HD T accumulate(T sum, T x, T y) {
        return sum + x * y;
    }
    template <class T>
    static PAIRTILE_HD T combine(T a, T b) {
        return a + b;
    }
    // ascending order of neighbours
    static PAIRTILE_HD double order(double combined) { return -combined; }
    // what the user sees, from the ordered value; never -0, whichever zero was ordered
    static PAIRTILE_HD double reported(double ordered) { return 0.0 - ordered; }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
