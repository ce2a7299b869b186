// Product of numbers in [0, 1] over pairs, in float64. The fold of probabilistic precision and
// recall, which are 1 − Π: what underflows here is nothing beside that 1.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Product {
    double value = 1.0;

    PAIRTILE_HD void push(double x) { value *= x; }
    PAIRTILE_HD void merge(const Product& other) { value *= other.value; }
    PAIRTILE_HD double finish() const { return value; }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
