// Sum of a number over pairs, in float64. The fold of MMD, energy distance and K·1.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Sum {
    double value = 0.0;

    PT_HD void push(double x) { value += x; }
    PT_HD void merge(const Sum& other) { value += other.value; }
    PT_HD double finish() const { return value; }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
