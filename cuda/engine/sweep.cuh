// One pass of the tile loop: stage 32 × 32 rows of both sets in shared memory, 32 features at a
// time, let each thread work out its four pairs, and hand them to the fold.
//
// How a pair becomes a number is a `Pairs` type (distances.cuh, similarities.cuh), what becomes of
// the number is the fold of a .cu file; both come from the shared headers and are composed here at
// compile time.
#pragma once

#include "engine/sweep.hpp"

namespace pairtile::gpu {

inline dim3 grid_of(const Sweep& sweep) {
    return {static_cast<unsigned>(sweep.row_blocks()), static_cast<unsigned>(sweep.cut.segments)};
}

// What a thread works on. Lanes of a warp own different queries and the same references: a staged
// reference is read once for all of them, and a staged query without bank conflicts.
struct Place {
    int row, slot;
    int64_t query, end_query;
    int64_t begin, end;  // references of the segment

    __device__ explicit Place(const Sweep& sweep)
        : row(static_cast<int>(threadIdx.x) % tile_rows),
          slot(static_cast<int>(threadIdx.x) / tile_rows),
          query(sweep.first_row + int64_t{blockIdx.x} * tile_rows + row),
          end_query(sweep.first_row + sweep.rows),
          begin(int64_t{blockIdx.y} * sweep.cut.width),
          end(begin + sweep.cut.width < sweep.references.rows ? begin + sweep.cut.width
                                                              : sweep.references.rows) {}

    __device__ bool has_query() const { return query < end_query; }
    __device__ int64_t first_query() const { return query - row; }
    __device__ int column(int pair) const { return slot * pairs_per_thread + pair; }
};

// Features × rows, so that one feature of 32 rows lies in 32 banks; one column more than needed,
// so that staging a row does not fall into a single bank.
template <class T>
using Staged = T[chunk][tile_rows + 1];
static_assert(tile_rows == tile_cols);

// What is staged: the features [first, first + count), in which pass over all of them.
struct Chunk {
    int64_t pass, first;
    int count;
};

// Rows and features beyond the end become zeros.
template <class T>
__device__ void stage(Staged<T>& staged, const Array& array, const RowScale* scales, int64_t first,
                      int64_t end, int64_t feature) {
    const bool row_major = array.row_major();
    for (int e = static_cast<int>(threadIdx.x); e < chunk * tile_rows; e += block_threads) {
        const int f = row_major ? e % chunk : e / tile_rows;
        const int r = row_major ? e / chunk : e % tile_rows;
        const int64_t i = first + r, j = feature + f;
        T value = T(0);
        if (i < end && j < array.cols) {
            value =
                scales ? normalised_element<T>(array, scales[i], i, j) : element<T>(array, i, j);
        }
        staged[f][r] = value;
    }
}

// Adds staged features, in order, to the eight partial results of each pair of this thread. Zeros
// beyond the end add nothing to the metrics that come here.
template <class Metric, class T>
__device__ __forceinline__ void accumulate(T (&lanes)[pairs_per_thread][8], const Staged<T>& x,
                                           const Staged<T>& y, const Place& place, int count) {
    for (int f = 0; f < count; f += 8) {
#pragma unroll
        for (int l = 0; l < 8; ++l) {
            const T mine = x[f + l][place.row];
#pragma unroll
            for (int p = 0; p < pairs_per_thread; ++p) {
                lanes[p][l] = Metric::accumulate(lanes[p][l], mine, y[f + l][place.column(p)]);
            }
        }
    }
}

// fold(pairs, first) receives the values of the references first + place.column(0..3), all threads
// together. Between two calls of it lies at least one barrier, unless its pairs read no features.
template <class Pairs, class Fold>
__device__ void run(const Sweep& sweep, const Place& place, Pairs pairs, Fold& fold) {
    using T = typename Pairs::Value;
    __shared__ Staged<T> x, y;
    const int64_t features = sweep.queries.cols;
    int64_t first = place.begin;
    if (sweep.triangle && place.first_query() > first) {
        first += (place.first_query() - first) / tile_cols * tile_cols;
    }
    for (; first < place.end; first += tile_cols) {
        pairs.begin();
        for (Chunk now{0, 0, 0}; now.pass < pairs.passes(); ++now.pass) {
            for (now.first = 0; now.first < features; now.first += chunk) {
                const int64_t left = features - now.first;
                now.count = left < chunk ? static_cast<int>(left) : chunk;
                stage(x, sweep.queries, sweep.query_scales, place.first_query(), place.end_query,
                      now.first);
                stage(y, sweep.references, sweep.reference_scales, first, place.end, now.first);
                if constexpr (requires { pairs.stage_more(place, first, now); }) {
                    pairs.stage_more(place, first, now);  // for those that read more of a row
                }
                __syncthreads();
                pairs.add(x, y, place, now);
                __syncthreads();
            }
        }
        fold(pairs, first);
    }
}

}  // namespace pairtile::gpu
