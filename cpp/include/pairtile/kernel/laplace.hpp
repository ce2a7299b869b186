// Laplace kernel exp(−γ √s), s = ‖x − y‖². p = {γ}.
#pragma once

#include "pairtile/kernel/kernel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Laplace {
    static constexpr Argument argument = Argument::squared_distance;

    template <class T>
    static PAIRTILE_HD T value(T s, const T* p) {
        return exponential(-p[0] * root(s));
    }
    template <class T>
    static PAIRTILE_HD T log_value(T s, const T* p) {
        return -p[0] * root(s);
    }
    template <class T>
    static PAIRTILE_HD T slope(T s, const T* p) {
        const T distance = root(s);
        const T steep = T(-0.5) * p[0] * exponential(-p[0] * distance) / distance;
        return s > T(0) ? steep : T(0);
    }
    static void rescale(double* p, double& weight, double scale) {
        (void)weight;
        p[0] /= std::sqrt(scale);
    }
    static double vanishes_beyond(const double* p, double share) {
        const double distance = -std::log(share) / p[0];
        return distance * distance;
    }
    static double recompute_below(const double* p, double error, double tolerance, double reach) {
        // the slope is γ e^{−γ d} / 2d with d = √s: bounded once by its pole, once by its tail
        (void)reach;
        if (p[0] * std::sqrt(error) <= tolerance) return -1.0;
        const double pole = 0.5 * p[0] * error / tolerance;
        const double tail = std::log(p[0] * std::sqrt(error) / tolerance) / p[0];
        const double tail_distance = std::fmax(tail, std::sqrt(error));
        const double distance = std::fmin(pole, tail_distance);
        return error + distance * distance;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
