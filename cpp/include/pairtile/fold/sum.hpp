// Sum of a number over pairs, in float64. The fold of MMD, energy distance and K·1.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Sum {
    double value = 0.0;

    PAIRTILE_HD void push(double x) { value += x; }
    PAIRTILE_HD void merge(const Sum& other) { value += other.value; }
    PAIRTILE_HD double finish() const { return value; }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
