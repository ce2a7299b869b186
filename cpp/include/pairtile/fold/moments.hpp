// Sum of a number over pairs and sum of its squares, in float64. The fold behind the variance of an
// MMD.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Moments {
    double sum = 0.0, squares = 0.0;

    PAIRTILE_HD void push(double x) {
        sum += x;
        squares += x * x;
    }
    PAIRTILE_HD void merge(const Moments& other) {
        sum += other.sum;
        squares += other.squares;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
