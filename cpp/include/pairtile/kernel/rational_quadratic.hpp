// Rational quadratic kernel (1 + q s)^−α, s = ‖x − y‖², q = 1/(2αℓ²). p = {q, α}.
#pragma once

#include "pairtile/kernel/kernel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct RationalQuadratic {
    static constexpr Argument argument = Argument::squared_distance;

    template <class T>
    static PAIRTILE_HD T value(T s, const T* p) {
        return power(mul_add(p[0], s, T(1)), -p[1]);
    }
    template <class T>
    static PAIRTILE_HD T log_value(T s, const T* p) {
        return -p[1] * logarithm_of_one_plus(p[0] * s);
    }
    template <class T, class Loop>
    static PAIRTILE_HD void specialise_log_value(const T* p, Loop loop) {
        const T power = p[1];
        logarithm_of_one_plus_products(
            p[0], [=](auto log) { loop([=](T s) { return -power * log(s); }); });
    }
    template <class T>
    static PAIRTILE_HD SteinTerms<T> stein(T s, const T* p) {
        const T base = mul_add(p[0], s, T(1));
        const T k = power(base, -p[1]), slope = -p[1] * p[0] * k / base;
        return {k, slope, vanishing(-(p[1] + T(1)) * p[0] * s, slope) / base};
    }
    template <class T>
    static PAIRTILE_HD T slope(T s, const T* p) {
        return -p[1] * p[0] * power(mul_add(p[0], s, T(1)), -p[1] - T(1));
    }
    static void rescale(double* p, double& weight, double scale) {
        (void)weight;
        p[0] /= scale;
    }
    static double recompute_below(const double* p, double error, double tolerance, double reach) {
        // the slope is α q (1 + q s)^{−α−1}
        (void)reach;
        const double shift = p[1] * p[0] * error;
        if (shift <= tolerance) return -1.0;
        return error + (std::pow(shift / tolerance, 1.0 / (p[1] + 1.0)) - 1.0) / p[0];
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
