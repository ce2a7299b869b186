// log Σ e^x as a monoid (max, Σ e^{x − max}) with identity (−∞, 0). The forward fold of every
// softmax loss. An empty fold finishes as −∞, never as NaN.
#pragma once

#include "pairtile/math.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct LogSumExp {
    double max = -__builtin_inf();
    double sum = 0.0;

    // A pair of logit −∞ is masked and leaves no trace; NaN stays to the end.
    PAIRTILE_HD void push(double x) {
        if (x != -__builtin_inf()) merge(LogSumExp{x, x == x ? 1.0 : x});
    }
    PAIRTILE_HD void merge(const LogSumExp& other) {
        if (other.sum == 0.0) return;
        if (sum == 0.0) {
            *this = other;
        } else if (max == other.max) {
            sum += other.sum;
        } else if (max > other.max) {
            sum += other.sum * exponential(other.max - max);
        } else if (max < other.max) {
            sum = other.sum + sum * exponential(max - other.max);
            max = other.max;
        } else {
            sum = __builtin_nan("");
        }
    }
    PAIRTILE_HD double finish() const { return sum == 0.0 ? max : max + logarithm(sum); }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
