// What metrics share that no cheaper micro-kernel screens: sums over features whose canonical value
// the tile itself holds. T is a number, or the numbers of several columns side by side.
#pragma once

#include "pairtile/math.hpp"
#include "pairtile/metric/params.hpp"
#include "pairtile/metric/traits.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

PAIRTILE_HD double magnitude(double x) { return __builtin_fabs(x); }

struct Direct {
    static constexpr MetricTraits traits{};

    template <class T>
    static PAIRTILE_HD T combine(T a, T b) {
        return a + b;
    }
    // ascending order of neighbours
    template <class T>
    static PAIRTILE_HD T order(T combined) {
        return combined;
    }
    // what the user sees, from the ordered value
    static PAIRTILE_HD double reported(double ordered) { return ordered; }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
