// log Σ e^x as a monoid (max, Σ e^{x − max}) with identity (−∞, 0). The forward fold of every
// softmax loss. An empty fold finishes as −∞, never as NaN.
#pragma once

#include "pairtile/math.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct LogSumExp {
    double max = -__builtin_inf();
    double sum = 0.0;

    PT_HD void push(double x) { merge(LogSumExp{x, 1.0}); }
    PT_HD void merge(const LogSumExp& other) {
        if (!(other.sum > 0.0) && other.sum == other.sum) return;
        if (!(max >= other.max)) {  // also takes over a NaN
            sum = other.sum + (sum > 0.0 ? sum * exponential(max - other.max) : 0.0);
            max = other.max;
        } else {
            sum += other.sum * exponential(other.max - max);
        }
    }
    PT_HD double finish() const { return sum == 0.0 ? max : max + logarithm(sum); }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
