// A product of two rows as a kernel: the argument is the value.
#pragma once

#include "pairtile/kernel/kernel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <Argument product>
struct ProductKernel {
    static constexpr Argument argument = product;

    template <class T>
    static PAIRTILE_HD T value(T t, const T* p) {
        (void)p;
        return t;
    }
    template <class T>
    static PAIRTILE_HD T slope(T t, const T* p) {
        (void)t, (void)p;
        return T(1);
    }
    static double share_of_error(const double* p, double error, double typical) {
        (void)p;
        return error / typical;
    }
    static void rescale(double* p, double& weight, double scale) {
        (void)p;
        weight /= scale;
    }
    static double recompute_below(const double* p, double error, double tolerance, double reach) {
        (void)p, (void)error, (void)tolerance, (void)reach;
        return -1.0;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
