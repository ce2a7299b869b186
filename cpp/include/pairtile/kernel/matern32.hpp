// Matérn kernel of order 3/2, (1 + r d) e^{−r d}, d = √s. p = {r = √3/ℓ}.
#pragma once

#include "pairtile/kernel/kernel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Matern32 {
    static constexpr Argument argument = Argument::squared_distance;

    template <class T>
    static PAIRTILE_HD T value(T s, const T* p) {
        const T x = at_most(p[0], largest_squared<T>) * root(s);
        return (x + T(1)) * exponential_of_at_most_88(-x);
    }
    template <class T>
    static PAIRTILE_HD T log_value(T s, const T* p) {
        const T x = p[0] * root(s);
        return logarithm_of_one_plus(x) - x;
    }
    template <class T>
    static PAIRTILE_HD SteinTerms<T> stein(T s, const T* p) {
        const T x = p[0] * root(s), tail = exponential_of_at_most_88(-x),
                rate = T(0.5) * p[0] * p[0];
        return {vanishing(x + T(1), tail), -rate * tail, vanishing(T(0.5) * rate * x, tail)};
    }
    template <class T>
    static PAIRTILE_HD T slope(T s, const T* p) {
        const T rate = at_most(p[0], largest_squared<T>);
        return T(-0.5) * rate * rate * exponential_of_at_most_88(-rate * root(s));
    }
    static void rescale(double* p, double& weight, double scale) {
        (void)weight;
        p[0] /= std::sqrt(scale);
    }
    static double vanishes_beyond(const double* p, double share) {
        const double distance = where_tail_is(share, [](double x) { return std::log1p(x); }) / p[0];
        return distance * distance;
    }
    static double recompute_below(const double* p, double error, double tolerance, double reach) {
        // the slope is r²/2 e^{−r d}
        (void)reach;
        const double shift = 0.5 * p[0] * p[0] * error;
        if (shift <= tolerance) return -1.0;
        const double distance = std::log(shift / tolerance) / p[0];
        return error + distance * distance;
    }
    static double stein_recompute_below(const double* p, double error, double tolerance) {
        // e^{−r d} moves by r / (2 d) of itself: from the d at which r d e^{r d} is this share on
        const double share = 0.5 * p[0] * p[0] * error / tolerance;
        const double distance = std::log1p(share) / p[0];
        return error + distance * distance;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
