// A sorted column: the unit in which its squares are counted, and its quantiles.
#pragma once

#include <cmath>

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// A power of two that brings numbers up to the largest near 1, so that no square leaves float64.
PAIRTILE_HD double scale_near_one(double largest) {
    if (!(largest < HUGE_VAL)) return 1.0;
    int exponent = 0;
    frexp(largest, &exponent);
    exponent = exponent < -1000 ? -1000 : (exponent > 1022 ? 1022 : exponent);
    return ldexp(1.0, -exponent);
}

// value(i): the i-th smallest of `size`; a level between two of them is on the line through them.
template <class Value>
PAIRTILE_HD double column_quantile(int64_t size, double level, const Value& value) {
    const double place = level * static_cast<double>(size - 1);
    int64_t below = static_cast<int64_t>(place);
    if (below > size - 1) below = size - 1;
    const double low = value(below), high = value(below + 1 < size ? below + 1 : below);
    const double part = place - static_cast<double>(below);
    // from the nearer end, so that a level that is nearly there is not past it
    return part < 0.5 ? low + (high - low) * part : high - (high - low) * (1 - part);
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
