// Cauchy kernel 1 / (1 + q s), s = ‖x − y‖², q = 1/scale². p = {q}.
#pragma once

#include "pairtile/kernel/kernel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Cauchy {
    static constexpr Argument argument = Argument::squared_distance;

    template <class T>
    static PAIRTILE_HD T value(T s, const T* p) {
        return T(1) / mul_add(p[0], s, T(1));
    }
    template <class T>
    static PAIRTILE_HD T log_value(T s, const T* p) {
        return -logarithm_of_one_plus(p[0] * s);
    }
    template <class T, class Loop>
    static PAIRTILE_HD void specialise_log_value(const T* p, Loop loop) {
        logarithm_of_one_plus_products(p[0], [=](auto log) { loop([=](T s) { return -log(s); }); });
    }
    template <class T>
    static PAIRTILE_HD SteinTerms<T> stein(T s, const T* p) {
        const T k = value(s, p), slope = -p[0] * k * k;
        return {k, slope, vanishing(T(-2) * p[0] * s * k, slope)};
    }
    template <class T>
    static PAIRTILE_HD T slope(T s, const T* p) {
        const T k = value(s, p);
        return -p[0] * k * k;
    }
    static void rescale(double* p, double& weight, double scale) {
        (void)weight;
        p[0] /= scale;
    }
    static double recompute_below(const double* p, double error, double tolerance, double reach) {
        // the slope is q (1 + q s)^−2
        (void)reach;
        const double shift = p[0] * error;
        if (shift <= tolerance) return -1.0;
        return error + (std::sqrt(shift / tolerance) - 1.0) / p[0];
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
