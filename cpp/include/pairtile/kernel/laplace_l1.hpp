// Laplace kernel in the L1 norm, exp(−γ a), a = Σ |x_j − y_j|. p = {γ}.
#pragma once

#include "pairtile/kernel/kernel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct LaplaceL1 {
    static constexpr Argument argument = Argument::l1_distance;

    template <class T>
    static PAIRTILE_HD T value(T a, const T* p) {
        return exponential(-p[0] * a);
    }
    template <class T>
    static PAIRTILE_HD T log_value(T a, const T* p) {
        return -p[0] * a;
    }
    template <class T>
    static PAIRTILE_HD T slope(T a, const T* p) {
        return -p[0] * exponential(-p[0] * a);
    }
    static void rescale(double* p, double& weight, double scale) {
        (void)weight;
        p[0] /= scale;
    }
    static double vanishes_beyond(const double* p, double share) { return -std::log(share) / p[0]; }
    static double recompute_below(const double* p, double error, double tolerance, double reach) {
        (void)reach;
        const double shift = p[0] * error;
        return shift <= tolerance ? -1.0 : error + std::log(shift / tolerance) / p[0];
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
