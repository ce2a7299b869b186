// Matérn kernel of order 5/2, (1 + r d + (r d)²/3) e^{−r d}, d = √s. p = {r = √5/ℓ}.
#pragma once

#include "pairtile/kernel/kernel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Matern52 {
    static constexpr Argument argument = Argument::squared_distance;

    template <class T>
    static PAIRTILE_HD T value(T s, const T* p) {
        const T x = at_most(p[0] * root(s), vanished<T>);
        return mul_add(x * x, T(1.0 / 3.0), x + T(1)) * exponential_of_at_most_88(-x);
    }
    template <class T>
    static PAIRTILE_HD T log_value(T s, const T* p) {
        const T x = p[0] * root(s), y = at_most(x, largest_squared<T>);
        return logarithm_of_one_plus(mul_add(y * y, T(1.0 / 3.0), y)) - x;
    }
    template <class T>
    static PAIRTILE_HD SteinTerms<T> stein(T s, const T* p) {
        const T x = p[0] * root(s), tail = exponential_of_at_most_88(-x),
                rate = p[0] * p[0] * T(1.0 / 6.0);
        return {vanishing(mul_add(x * x, T(1.0 / 3.0), x + T(1)), tail),
                vanishing(-rate * (x + T(1)), tail), vanishing(T(0.5) * rate * x * x, tail)};
    }
    template <class T>
    static PAIRTILE_HD T slope(T s, const T* p) {
        const T rate = at_most(p[0], largest_squared<T>), x = rate * root(s);
        // the tail first: r² (1 + r d) of a narrow kernel is beyond float32
        return T(-1.0 / 6.0) * rate * rate * ((x + T(1)) * exponential_of_at_most_88(-x));
    }
    static void rescale(double* p, double& weight, double scale) {
        (void)weight;
        p[0] /= std::sqrt(scale);
    }
    static double vanishes_beyond(const double* p, double share) {
        const double distance =
            where_tail_is(share, [](double x) { return std::log1p(x + x * x / 3.0); }) / p[0];
        return distance * distance;
    }
    static double recompute_below(const double* p, double error, double tolerance, double reach) {
        // the slope is r²/6 (1 + r d) e^{−r d} <= r²/4 e^{−r d/2}
        (void)reach;
        const double shift = 0.25 * p[0] * p[0] * error;
        if (shift <= tolerance) return -1.0;
        const double distance = 2.0 * std::log(shift / tolerance) / p[0];
        return error + distance * distance;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
