// Energy kernel −d^α = −s^{α/2}, s = ‖x − y‖², 0 < α ≤ 2. p = {α}.
#pragma once

#include "pairtile/kernel/kernel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Energy {
    static constexpr Argument argument = Argument::squared_distance;

    template <class T>
    static PAIRTILE_HD T value(T s, const T* p) {
        if (p[0] == T(1)) return -root(s);
        if (p[0] == T(2)) return -s;
        return -power(s, T(0.5) * p[0]);
    }
    // The same without a branch per pair: loop(value) once, with value(s) for this exponent.
    template <class T, class Loop>
    static PAIRTILE_HD void specialise(const T* p, Loop loop) {
        const T half = T(0.5) * p[0];
        if (p[0] == T(1)) {
            loop([](T s) { return -root(s); });
        } else if (p[0] == T(2)) {
            loop([](T s) { return -s; });
        } else {
            loop([half](T s) { return -power(s, half); });
        }
    }
    template <class T>
    static PAIRTILE_HD T slope(T s, const T* p) {
        T slope = T(0);
        specialise_slope(p, [&slope, s](auto at) { slope = at(s); });
        return slope;
    }
    template <class T, class Loop>
    static PAIRTILE_HD void specialise_slope(const T* p, Loop loop) {
        const T half = T(0.5) * p[0];
        if (p[0] == T(1)) {
            loop([](T s) { return s > T(0) ? T(-0.5) / root(s) : T(0); });
        } else if (p[0] == T(2)) {
            loop([](T s) { return s > T(0) ? T(-1) : T(0); });
        } else {
            loop([half](T s) { return s > T(0) ? -half * power(s, half - T(1)) : T(0); });
        }
    }
    static void rescale(double* p, double& weight, double scale) {
        weight *= std::pow(scale, -0.5 * p[0]);
    }
    static double recompute_below(const double* p, double error, double tolerance, double reach) {
        // the slope is α/2 s^{α/2−1}; the largest value is reach^{α/2}
        if (p[0] == 2.0) return -1.0;
        const double largest = p[0] == 1.0 ? std::sqrt(reach) : std::pow(reach, 0.5 * p[0]);
        const double ratio = 0.5 * p[0] * error / (tolerance * largest);
        return error + (p[0] == 1.0 ? ratio * ratio : std::pow(ratio, 1.0 / (1.0 - 0.5 * p[0])));
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
