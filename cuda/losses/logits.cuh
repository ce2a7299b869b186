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
__device__ __forceinline__ float lost(float x) {
    return x - __bfloat162float(__float2bfloat16_rn(x));
}

// 8 × 8 of 16 bits, two of a row in each lane.
__device__ __forceinline__ uint32_t transposed(uint32_t x) {
    uint32_t y;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
    return y;
}

// Lane q of four has word q of each of four chunks; it gets the four words of chunk q.
__device__ __forceinline__ uint4 chunk_of_quad(const uint32_t (&words)[4]) {
    const bool odd = lane_of_thread() & 1, high = lane_of_thread() & 2;
    uint32_t r[4];
#pragma unroll
    for (int pair = 0; pair < 4; pair += 2) {
        const uint32_t got = __shfl_xor_sync(every_lane, odd ? words[pair] : words[pair + 1], 1);
        r[pair] = odd ? got : words[pair];
        r[pair + 1] = odd ? words[pair + 1] : got;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const uint32_t got = __shfl_xor_sync(every_lane, high ? r[i] : r[i + 2], 2);
        if (high) {
            r[i] = got;
        } else {
            r[i + 2] = got;
        }
    }
    return make_uint4(r[0], r[1], r[2], r[3]);
}

// Part `part` of two numbers.
__device__ __forceinline__ uint32_t rounded(float x, float y, int part) {
    return part == 0 ? packed_pair(x, y) : packed_pair(lost(x), lost(y));
}

// Four groups at a time, so that few words are held. In panels of rows the columns are the
// features, and a tile has two slices of them; in those of columns a strip has two chunks of
// features, and a tile is a panel.
template <bool scaled>
__device__ __forceinline__ void write_panels(const Strip& values, const TensorSweep& sweep,
                                             const Logits& logits, const WeightPanels& panels,
                                             int row, int tile, int part) {
    const int64_t upper = packed_row(row);
    const int64_t row_slices = int64_t{sweep.col_tiles} * 2;
    const int64_t col_slices = int64_t{sweep.row_blocks} * (block_rows / slice_features);
    const int64_t first_feature = int64_t{blockIdx.x} * block_rows + row;
    char* of_rows =
        panels.by_row +
        ((upper / panel_rows * panels.parts + part) * row_slices + int64_t{tile} * 2) * slice_bytes;
    char* of_cols = panels.by_col + ((int64_t{tile} * panels.parts + part) * col_slices +
                                     first_feature / slice_features) *
                                        slice_bytes;
    const int within = static_cast<int>(upper % panel_rows);
    const int chunk = static_cast<int>(first_feature % slice_features) / 8 + quad_lane() % 2;
    const int column = 8 * (quad_lane() / 2) + lane_of_thread() / 4;
    of_cols += swizzled(column, chunk);
    const float* factors =
        scaled ? logits.col_factors + int64_t{tile} * tile_columns + 2 * quad_lane() : nullptr;
    const float a = scaled ? logits.row_factors[upper] : 1.0f;
    const float b = scaled ? logits.row_factors[upper + 8] : 1.0f;
#pragma unroll
    for (int first = 0; first < groups; first += 4) {
        uint32_t upper_words[4], lower_words[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const auto& of = values[first + k];
            float2 y = make_float2(1.0f, 1.0f);
            if (scaled) y = *reinterpret_cast<const float2*>(factors + 8 * (first + k));
            upper_words[k] = rounded(of[0] * y.x, of[1] * y.y, part);
            lower_words[k] = rounded(of[2] * y.x, of[3] * y.y, part);
        }
        char* slice = of_rows + first / 8 * slice_bytes;
        const int at = swizzled(within, first % 8 + quad_lane());
        *reinterpret_cast<uint4*>(slice + at) = chunk_of_quad(upper_words);
        *reinterpret_cast<uint4*>(slice + at + 8 * slice_row_bytes) = chunk_of_quad(lower_words);
#pragma unroll
        for (int pair = 0; pair < 4; pair += 2) {
            uint32_t words[4];
#pragma unroll
            for (int k = 0; k < 2; ++k) {
                const auto& of = values[first + pair + k];
                words[2 * k] = transposed(scaled ? rounded(of[0] * a, of[1] * a, part)
                                                 : upper_words[pair + k]);
                words[2 * k + 1] = transposed(scaled ? rounded(of[2] * b, of[3] * b, part)
                                                     : lower_words[pair + k]);
            }
            *reinterpret_cast<uint4*>(of_cols + 8 * (first + pair) * slice_row_bytes) =
                chunk_of_quad(words);
        }
    }
}

}  // namespace pairtile::gpu
