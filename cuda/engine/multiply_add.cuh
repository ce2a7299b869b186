// The second product of a contraction: a tile of numbers in shared memory times as many rows of
// columns there. Each thread adds up eight columns of its query in float64, reference by reference.
#pragma once

#include "engine/contraction.hpp"
#include "engine/row_fold.cuh"
#include "pairtile/fold/sum.hpp"

namespace pairtile::gpu {

constexpr int columns_per_thread = contraction_width / slots;

struct Factors {
    double tile[tile_cols][tile_rows + 1];
    double columns[tile_cols][contraction_width];
};

// sums[c] += the value of each pair of this thread's query · factor_of(its column, c), rounded
// once.
template <class FactorOf>
__device__ __forceinline__ void multiply_add(const Factors& factors, const Place& place,
                                             Sum (&sums)[columns_per_thread],
                                             const FactorOf& factor_of) {
    for (int j = 0; j < tile_cols; ++j) {
        const double value = factors.tile[j][place.row];
#pragma unroll
        for (int c = 0; c < columns_per_thread; ++c) {
            const double column = factors.columns[j][place.slot * columns_per_thread + c];
            sums[c].value = mul_add(value, factor_of(column, c), sums[c].value);
        }
    }
}

// What a thread has added up, as (segments, rows of the sweep, width).
__device__ inline void keep_columns(double* partial, const Sweep& sweep, const Place& place,
                                    const Sum (&sums)[columns_per_thread]) {
    if (!place.has_query()) return;
    const int64_t row = place.query - sweep.first_row;
    double* out = partial + (int64_t{blockIdx.y} * sweep.rows + row) * contraction_width +
                  place.slot * columns_per_thread;
    for (int c = 0; c < columns_per_thread; ++c) out[c] = sums[c].finish();
}

// out[r, c] += factor · the sum over the segments, where there is a thread for each (r, c).
__device__ inline void merge_columns(const double* partial, const Sweep& sweep, double factor,
                                     int columns, double* out, int64_t out_stride) {
    const int64_t entry = row_of_thread();
    const int64_t entries = sweep.rows * contraction_width;
    const int64_t row = entry / contraction_width, column = entry % contraction_width;
    if (entry >= entries || column >= columns) return;
    Sum sum;
    for (int64_t s = 0; s < sweep.cut.segments; ++s) sum.merge(Sum{partial[s * entries + entry]});
    out[row * out_stride + column] += factor * sum.finish();
}

inline unsigned thread_per_entry(const Sweep& sweep) {
    return static_cast<unsigned>(divided_up(sweep.rows * contraction_width, block_threads));
}

}  // namespace pairtile::gpu
