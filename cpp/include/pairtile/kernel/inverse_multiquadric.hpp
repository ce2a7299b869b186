// Inverse multiquadric kernel (c² + s)^−β, s = ‖x − y‖². p = {c², β}.
#pragma once

#include "pairtile/kernel/kernel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct InverseMultiquadric {
    static constexpr Argument argument = Argument::squared_distance;

    template <class T>
    static PAIRTILE_HD T value(T s, const T* p) {
        return power(p[0] + s, -p[1]);
    }
    template <class T>
    static PAIRTILE_HD T log_value(T s, const T* p) {
        return -p[1] * logarithm(p[0] + s);
    }
    template <class T>
    static PAIRTILE_HD SteinTerms<T> stein(T s, const T* p) {
        const T base = p[0] + s;
        const T k = power(base, -p[1]), slope = -p[1] * k / base;
        return {k, slope, -(p[1] + T(1)) * s * slope / base};
    }
    template <class T>
    static PAIRTILE_HD T slope(T s, const T* p) {
        return -p[1] * power(p[0] + s, -p[1] - T(1));
    }
    static void rescale(double* p, double& weight, double scale) {
        p[0] *= scale;
        weight *= std::pow(scale, p[1]);
    }
    static double recompute_below(const double* p, double error, double tolerance, double reach) {
        // relative to its largest value c^{−2β} this is (1 + s/c²)^−β
        (void)reach;
        const double shift = p[1] * error / p[0];
        if (shift <= tolerance) return -1.0;
        return error + (std::pow(shift / tolerance, 1.0 / (p[1] + 1.0)) - 1.0) * p[0];
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
