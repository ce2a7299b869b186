// The largest ratio of a radius to a distance over pairs, never negative. The fold of realism.
// A pair at distance 0 counts as +∞ whatever its radius; NaN leaves no trace.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct MaxRatio {
    double value = 0.0;

    PAIRTILE_HD void push(double radius, double distance) {
        merge(MaxRatio{distance == 0.0 ? __builtin_inf() : radius / distance});
    }
    PAIRTILE_HD void merge(const MaxRatio& other) {
        value = other.value > value ? other.value : value;
    }
    PAIRTILE_HD double finish() const { return value; }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
