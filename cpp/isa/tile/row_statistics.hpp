// What a look at rows finds out before any of them is packed.
#pragma once

#include "isa/ops.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <class S>
void survey(const S* rows, int64_t stride, int64_t count, int64_t d, const double* centre,
            RowStatistics* found) {
    constexpr int lanes = 8;
    for (int64_t i = 0; i < count; ++i) {
        const S* row = rows + i * stride;
        double top[lanes] = {}, raw[lanes] = {}, square[lanes] = {}, zero[lanes] = {};
        const auto one = [&](int64_t j, int l) {
            const double value = static_cast<double>(row[j]);
            const double shifted = __builtin_fabs(value - centre[j]), size = __builtin_fabs(value);
            top[l] = shifted > top[l] ? shifted : top[l];
            raw[l] = size > raw[l] ? size : raw[l];
            square[l] += shifted * shifted;
            zero[l] += value * 0.0;  // NaN for a number that is not finite
        };
        int64_t j = 0;
        for (; j + lanes <= d; j += lanes) {
            for (int l = 0; l < lanes; ++l) one(j + l, l);
        }
        for (int l = 0; j + l < d; ++l) one(j + l, l);
        for (int l = 1; l < lanes; ++l) {
            top[0] = top[l] > top[0] ? top[l] : top[0];
            raw[0] = raw[l] > raw[0] ? raw[l] : raw[0];
            square[0] += square[l];
            zero[0] += zero[l];
        }
        if (zero[0] != 0.0) continue;
        RowStatistics mine{top[0], square[0], raw[0], found->integral, raw[0] == 0.0};
        for (j = 0; mine.integral && j < d; ++j) {
            mine.integral = row[j] == static_cast<S>(__builtin_nearbyint(row[j]));
        }
        found->merge(mine);
    }
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
