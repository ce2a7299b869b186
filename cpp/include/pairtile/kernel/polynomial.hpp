// Polynomial kernel (γ t + c)^degree, t = x·y. p = {degree, γ, c}.
#pragma once

#include "pairtile/kernel/kernel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Polynomial {
    static constexpr Argument argument = Argument::dot;

    template <class T>
    static PAIRTILE_HD T value(T t, const T* p) {
        return whole_power(mul_add(p[1], t, p[2]), static_cast<int>(p[0]));
    }
    // The usual degrees without a loop per pair: loop(value) once, with value(t) for this degree.
    template <class T, class Loop>
    static PAIRTILE_HD void specialise(const T* p, Loop loop) {
        const T slope = p[1], offset = p[2];
        const int degree = static_cast<int>(p[0]);
        if (degree == 2) {
            loop([=](T t) {
                const T base = mul_add(slope, t, offset);
                return base * base;
            });
        } else if (degree == 3) {
            loop([=](T t) {
                const T base = mul_add(slope, t, offset);
                return base * (base * base);
            });
        } else {
            loop([=](T t) { return whole_power(mul_add(slope, t, offset), degree); });
        }
    }
    template <class T>
    static PAIRTILE_HD T whole_power(T base, int n) {
        T result = T(1);
        for (; n > 0; n >>= 1) {
            if (n & 1) result *= base;
            base *= base;
        }
        return result;
    }
    template <class T>
    static PAIRTILE_HD T slope(T t, const T* p) {
        const T lower[kernel_params] = {p[0] - T(1), p[1], p[2]};
        return p[0] * p[1] * value(t, lower);
    }
    template <class T, class Loop>
    static PAIRTILE_HD void specialise_slope(const T* p, Loop loop) {
        const T lower[kernel_params] = {p[0] - T(1), p[1], p[2]};
        const T factor = p[0] * p[1];
        specialise(lower, [=](auto power) { loop([=](T t) { return factor * power(t); }); });
    }
    static double largest_value(const double* p, double largest) {
        return std::pow(p[1] * largest + std::fabs(p[2]), p[0]);
    }
    static double share_of_error(const double* p, double error, double typical) {
        return p[0] * p[1] * error / (p[1] * typical + std::fabs(p[2]));
    }
    static void rescale(double* p, double& weight, double scale) {
        // a power of two out of the base into the weight: the degree may take t far beyond float32
        p[1] /= scale;
        const double size = std::fmax(p[1], std::fabs(p[2]));
        if (!(size > 0.0)) return;
        const double unit = std::ldexp(1.0, std::ilogb(size));
        p[1] /= unit;
        p[2] /= unit;
        weight *= std::pow(unit, p[0]);
    }
    static double recompute_below(const double* p, double error, double tolerance, double reach) {
        // an error of the dot product is relative to ‖x‖‖y‖, as the largest value is: nothing to
        // redo
        (void)p, (void)error, (void)tolerance, (void)reach;
        return -1.0;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
