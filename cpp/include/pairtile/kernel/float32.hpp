// Whether float32 will do for the values of a kernel: one rule for every backend.
#pragma once

#include <cmath>

#include "pairtile/kernel/term.hpp"

namespace pairtile {

// The arguments that a kernel meets, in the units in which tiles are computed.
struct ArgumentSizes {
    double largest;  // none is larger
    double typical;  // the largest among some pairs
    double error;    // of an argument of a typical pair in float32
};

// Parameters, arguments and values stay far from float32's overflow and underflow, and an error of
// the argument moves no value by more than a small share of those that are typical. (Where a small
// argument has a relatively large error, as squared distances have, pairs are computed again.)
inline bool float32_will_do(const KernelTerm& term, const ArgumentSizes& sizes) {
    constexpr double range = 1e30, range_of_squared = 1e18, tolerated = 1e-5;
    const auto held = [](double x, double limit) {
        return x == 0.0 || (std::fabs(x) <= limit && std::fabs(x) >= 1.0 / limit);
    };
    for (const double p : term.params) {
        if (!held(p, range_of_squared)) return false;  // derivatives square some
    }
    if (!held(sizes.largest, range)) return false;
    return of_kernel(term.kernel, [&]<class Kernel>() {
        if constexpr (requires { Kernel::largest_value(term.params, sizes.largest); }) {
            if (!(Kernel::largest_value(term.params, sizes.largest) <= range)) return false;
        }
        if constexpr (quantity_of(Kernel::argument) == Quantity::product) {
            return !(Kernel::share_of_error(term.params, sizes.error, sizes.typical) > tolerated);
        } else {
            return true;
        }
    });
}

}  // namespace pairtile
