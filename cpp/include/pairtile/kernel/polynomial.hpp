// Polynomial kernel (γ t + c)^degree, t = x·y. p = {degree, γ, c}.
#pragma once

#include "pairtile/kernel/kernel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Polynomial {
    static constexpr Argument argument = Argument::dot;

    template <class T>
    static PT_HD T value(T t, const T* p) {
        const T base = mul_add(p[1], t, p[2]);
        T result = T(1), square = base;
        for (int n = static_cast<int>(p[0]); n > 0; n >>= 1) {
            if (n & 1) result *= square;
            square *= square;
        }
        return result;
    }
    static void rescale(double* p, double& weight, double scale) {
        (void)weight;
        p[1] /= scale;
    }
    static double exact_below(const double* p, double error, double tolerance, double reach) {
        // an error of the dot product is relative to ‖x‖‖y‖, as the largest value is: nothing to redo
        (void)p, (void)error, (void)tolerance, (void)reach;
        return -1.0;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
