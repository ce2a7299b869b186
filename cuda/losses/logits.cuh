// What folds of losses on tensor cores share: a strip of products as logits, its positives, and
// weights as panels, which the next sweep multiplies with the rows.
#pragma once

#include <cuda_bf16.h>

#include "engine/tensor_sweep.cuh"
#include "losses/contrastive.hpp"

namespace pairtile::gpu {

constexpr unsigned every_lane = ~0u;
constexpr int groups = tile_columns / 8;

inline __device__ int lane_of_thread() { return static_cast<int>(threadIdx.x) % 32; }
inline __device__ int quad_lane() { return static_cast<int>(threadIdx.x) % 4; }

// The upper row of a strip for this lane; the lower one is eight further.
inline __device__ int64_t packed_row(int row) {
    return int64_t{blockIdx.x} * block_rows + row + lane_of_thread() / 4;
}

// What the products of the upper and lower row of a strip are multiplied by.
template <bool scaled>
struct RowFactors {
    float a, b;

    __device__ RowFactors(const Logits& logits, int64_t upper)
        : a(scaled ? logits.factor * logits.row_factors[upper] : logits.factor),
          b(scaled ? logits.factor * logits.row_factors[upper + 8] : logits.factor) {}
};

__device__ __forceinline__ void scale_columns(Strip& values, const Logits& logits, int tile) {
    const float* cols = logits.col_factors + int64_t{tile} * tile_columns + 2 * quad_lane();
#pragma unroll
    for (int g = 0; g < groups; ++g) {
        const float2 y = *reinterpret_cast<const float2*>(cols + 8 * g);
        values[g][0] *= y.x;
        values[g][1] *= y.y;
        values[g][2] *= y.x;
        values[g][3] *= y.y;
    }
}

// Products of a strip become logits in place.
template <bool scaled>
__device__ __forceinline__ void to_logits(Strip& values, const Logits& logits, int64_t upper,
                                          int tile) {
    if (scaled) scale_columns(values, logits, tile);
    const RowFactors<scaled> factors(logits, upper);
#pragma unroll
    for (int g = 0; g < groups; ++g) {
        values[g][0] *= factors.a;
        values[g][1] *= factors.a;
        values[g][2] *= factors.b;
        values[g][3] *= factors.b;
    }
}

// change(value) for the positive of row `row`, which is the upper or lower one of the strip.
template <bool lower, class Change>
__device__ __forceinline__ void at_positive(Strip& values, const Logits& logits, int64_t row,
                                            int64_t rows, int tile, const Change& change) {
    if (row >= rows) return;
    const int64_t target = logits.targets ? logits.targets[row] : logits.first_row + row;
    const int64_t column = target - logits.first_column - int64_t{tile} * tile_columns;
    if (column < 0 || column >= tile_columns) return;
    const int mine = static_cast<int>(column) - 2 * quad_lane();
#pragma unroll
    for (int g = 0; g < groups; ++g) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            if (mine == 8 * g + e) change(values[g][2 * lower + e]);
        }
    }
}

// Columns beyond the last one become `value`.
__device__ __forceinline__ void mask_columns(Strip& values, int64_t cols, int tile, float value) {
    const int64_t left = cols - int64_t{tile} * tile_columns;
    if (left >= tile_columns) return;
    const int mine = static_cast<int>(left) - 2 * quad_lane();  // may be negative
#pragma unroll
    for (int g = 0; g < groups; ++g) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            if (8 * g + e >= mine) values[g][e] = values[g][e + 2] = value;
        }
    }
}

template <bool lower>
__device__ __forceinline__ void mask_row(Strip& values, float value) {
#pragma unroll
    for (int g = 0; g < groups; ++g) {
        values[g][2 * lower] = values[g][2 * lower + 1] = value;
    }
}

template <class Value>
__device__ __forceinline__ void mask_rows(Strip& values, const TensorSweep& sweep, int row,
                                          Value value) {
    const int64_t upper = packed_row(row), rows = sweep.rows.rows;
    if (upper >= rows) mask_row<false>(values, value);
    if (upper + 8 >= rows) mask_row<true>(values, value);
}

// --- Panels --------------------------------------------------------------------------------------

__device__ __forceinline__ uint32_t packed_pair(float a, float b) {
    const __nv_bfloat162 both(__float2bfloat16_rn(a), __float2bfloat16_rn(b));
    return *reinterpret_cast<const uint32_t*>(&both);
}

// Weights of a strip, times the factors of rows and columns, as numbers of the panels of its rows.
// Two lanes next to each other share two groups of columns: each writes eight bytes of one, so that
// four lanes fill 32 bytes of a row.
template <bool scaled>
__device__ __forceinline__ void write_panels(Strip& values, const Logits& logits,
                                             const Panels& panels, int row, int tile) {
    const int64_t upper = packed_row(row);
    if constexpr (scaled) {
        scale_columns(values, logits, tile);
        const float a = logits.row_factors[upper], b = logits.row_factors[upper + 8];
#pragma unroll
        for (auto& of : values) of[0] *= a, of[1] *= a, of[2] *= b, of[3] *= b;
    }
    constexpr int of_slice = slice_features / 8;  // groups
    const int slices = panels.slices_per_row(), first_slice = tile * (groups / of_slice);
    const bool odd = lane_of_thread() & 1;
    char* out = panels.slices +
                (upper / panel_rows * panels.parts * slices + first_slice) * slice_bytes +
                quad_lane() / 2 * 8;
    for (int part = 0; part < panels.parts; ++part, out += int64_t{slices} * slice_bytes) {
        if (part > 0) {
#pragma unroll
            for (auto& of : values) {
#pragma unroll
                for (float& value : of) value -= __bfloat162float(__float2bfloat16_rn(value));
            }
        }
#pragma unroll
        for (int g = 0; g < groups; g += 2) {
            if (g == of_slice && first_slice + 1 == slices) break;
            const int at = g / of_slice * slice_bytes +
                           swizzled(static_cast<int>(upper % panel_rows), g % of_slice + odd);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const auto &low = values[g], &high = values[g + 1];
                const uint32_t first = packed_pair(low[2 * half], low[2 * half + 1]);
                const uint32_t second = packed_pair(high[2 * half], high[2 * half + 1]);
                const uint32_t other = __shfl_xor_sync(every_lane, odd ? first : second, 1);
                *reinterpret_cast<uint2*>(out + at + 8 * half * slice_row_bytes) =
                    odd ? make_uint2(other, second) : make_uint2(first, other);
            }
        }
    }
}

}  // namespace pairtile::gpu
