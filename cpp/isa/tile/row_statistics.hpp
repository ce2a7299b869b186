// What a look at rows finds out before any of them is packed.
#pragma once

#include "isa/ops.hpp"
#include "isa/tile/column_lanes.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <class S>
void survey(const S* rows, int64_t stride, int64_t count, int64_t d, const double* centre,
            RowStatistics* found) {
    using L = ColumnLanes<S>;
    constexpr int lanes = 8, vectors = lanes / L::lanes;
    for (int64_t i = 0; i < count; ++i) {
        const S* row = rows + i * stride;
        typename L::Wide tops[vectors] = {}, raws[vectors] = {}, squares[vectors] = {},
                         zeros[vectors] = {};
        int64_t j = 0;
        for (; j + lanes <= d; j += lanes) {
            for (int v = 0; v < vectors; ++v) {
                const auto value = L::wide(row + j + v * L::lanes);
                const auto shifted = L::magnitude(value - L::load(centre + j + v * L::lanes));
                tops[v] = L::larger(shifted, tops[v]);
                raws[v] = L::larger(L::magnitude(value), raws[v]);
                squares[v] += shifted * shifted;
                zeros[v] += value * 0.0;  // NaN for a number that is not finite
            }
        }
        double top[lanes], raw[lanes], square[lanes], zero[lanes];
        for (int v = 0; v < vectors; ++v) {
            L::store(top + v * L::lanes, tops[v]);
            L::store(raw + v * L::lanes, raws[v]);
            L::store(square + v * L::lanes, squares[v]);
            L::store(zero + v * L::lanes, zeros[v]);
        }
        for (int l = 0; j + l < d; ++l) {
            const double value = static_cast<double>(row[j + l]);
            const double shifted = __builtin_fabs(value - centre[j + l]);
            const double size = __builtin_fabs(value);
            top[l] = shifted > top[l] ? shifted : top[l];
            raw[l] = size > raw[l] ? size : raw[l];
            square[l] += shifted * shifted;
            zero[l] += value * 0.0;
        }
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
