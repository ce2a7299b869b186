// Gaussian kernel exp(−γ s), s = ‖x − y‖². p = {γ}.
#pragma once

#include "pairtile/kernel/kernel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Gaussian {
    static constexpr Argument argument = Argument::squared_distance;
    static constexpr bool tabulated = true;

    template <class T>
    static PAIRTILE_HD T value(T s, const T* p) {
        return exponential(-p[0] * s);
    }
    template <class T>
    static PAIRTILE_HD T log_value(T s, const T* p) {
        return -p[0] * s;
    }
    template <class T>
    static PAIRTILE_HD SteinTerms<T> stein(T s, const T* p) {
        const T k = value(s, p);
        return {k, -p[0] * k, vanishing(p[0] * p[0] * s, k)};
    }
    template <class T>
    static PAIRTILE_HD T slope(T s, const T* p) {
        return -p[0] * exponential(-p[0] * s);
    }
    static void rescale(double* p, double& weight, double scale) {
        (void)weight;
        p[0] /= scale;
    }
    static double vanishes_beyond(const double* p, double share) { return -std::log(share) / p[0]; }
    static double recompute_below(const double* p, double error, double tolerance, double reach) {
        // the slope is γ e^{−γ s}
        (void)reach;
        const double shift = p[0] * error;
        return shift <= tolerance ? -1.0 : error + std::log(shift / tolerance) / p[0];
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
