// Rows divided by their lengths, and the chain rule through that: x → x/‖x‖.
#pragma once

#include "isa/ops.hpp"
#include "pairtile/metric/canonical.hpp"
#include "pairtile/metric/inner_product.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// step(j, lane) of each feature, in the lanes of canonical values.
template <class Step>
PAIRTILE_HD void for_each_in_lanes(int64_t d, Step step) {
    constexpr int lanes = 8;
    int64_t j = 0;
    for (; j + lanes <= d; j += lanes) {
        for (int l = 0; l < lanes; ++l) step(j + l, l);
    }
    for (int l = 0; j + l < d; ++l) step(j + l, l);
}

// The row is first brought to a largest magnitude in [0.5, 1) by a power of two, which keeps the
// squares from overflowing or vanishing.
inline void normalise(double* row, int64_t d, bool centred) {
    double sizes[8] = {};
    for_each_in_lanes(d, [&](int64_t j, int l) {
        const double size = __builtin_fabs(row[j]);
        sizes[l] = size > sizes[l] ? size : sizes[l];
    });
    double largest = 0.0;
    for (const double size : sizes) largest = size > largest ? size : largest;
    if (largest == 0.0) return;
    if (largest < 0x1p-1000) {  // so that its power of two is in range
        for (int64_t j = 0; j < d; ++j) row[j] *= 0x1p100;
        largest *= 0x1p100;
    }
    double factor = 1.0, mean = 0.0;
    if (largest < __builtin_inf()) {
        int exponent;
        __builtin_frexp(largest, &exponent);
        factor = __builtin_ldexp(1.0, -exponent);
    }
    if (centred) {
        const double first = row[0] * factor;  // taken off before: equal numbers leave nothing
        double sums[8] = {};
        for_each_in_lanes(d, [&](int64_t j, int l) {
            row[j] = row[j] * factor - first;
            sums[l] += row[j];
        });
        mean = canonical_tree<InnerProduct>(sums) / static_cast<double>(d);
        factor = 1.0;
    }
    double squares[8] = {};
    for_each_in_lanes(d, [&](int64_t j, int l) {
        row[j] = row[j] * factor - mean;
        squares[l] += row[j] * row[j];
    });
    const double norm = __builtin_sqrt(canonical_tree<InnerProduct>(squares));
    if (norm == 0.0) return;
    for (int64_t j = 0; j < d; ++j) row[j] /= norm;
}

template <class T>
void through_normalisation(const double* row, const double* unit, int64_t d, T* gradient) {
    double products[8] = {}, lengths[8] = {};
    for_each_in_lanes(d, [&](int64_t j, int l) {
        products[l] += static_cast<double>(gradient[j]) * unit[j];
        lengths[l] += row[j] * unit[j];
    });
    const double along = canonical_tree<InnerProduct>(products);
    const double length = canonical_tree<InnerProduct>(lengths);
    const auto across = [&](int64_t j) {
        return static_cast<double>(gradient[j]) - along * unit[j];
    };
    const double inverse = 1.0 / length;
    if (!(length > 0.0)) {
        for (int64_t j = 0; j < d; ++j) gradient[j] = T(0);
    } else if (inverse < __builtin_inf()) {
        for (int64_t j = 0; j < d; ++j) gradient[j] = static_cast<T>(across(j) * inverse);
    } else {
        for (int64_t j = 0; j < d; ++j) gradient[j] = static_cast<T>(across(j) / length);
    }
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
