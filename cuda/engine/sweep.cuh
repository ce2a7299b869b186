// One pass of the tile loop: stage 32 × 32 rows of both sets in shared memory, 32 features at a
// time, let each thread work out its four pairs, and hand them to the fold.
//
// How a pair becomes a number is a `Pairs` type (below), what becomes of the number is the fold of
// knn.cu, radius.cu or kernel_sums.cu; both come from the shared headers and are composed here at
// compile time.
#pragma once

#include <type_traits>

#include "engine/sweep.hpp"
#include "pairtile/metric/canonical.hpp"
#include "pairtile/metric/cosine.hpp"

namespace pairtile::gpu {

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

// Rows and features beyond the end become zeros, which add nothing to any metric.
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

// Adds staged features, in order, to the eight partial results of each pair of this thread.
template <class Metric, class T>
__device__ __forceinline__ void accumulate(T (&lanes)[pairs_per_thread][8], const Staged<T>& x,
                                           const Staged<T>& y, const Place& place, int features) {
    for (int f = 0; f < features; f += 8) {
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

// The canonical value of each pair: the eight partial results run through all features.
template <class Metric>
struct CanonicalPairs {
    using Value = double;
    double lanes[pairs_per_thread][8];

    __device__ void begin() {
        for (auto& pair : lanes) {
            for (double& lane : pair) lane = 0.0;
        }
    }
    __device__ void add(const Staged<double>& x, const Staged<double>& y, const Place& place,
                        int features) {
        accumulate<Metric>(lanes, x, y, place, features);
    }
    // Of query i and reference j. A pair with a zero row has cosine distance 1, whatever the other
    // row (unless that is NaN).
    __device__ double value(int pair, const Sweep& sweep, int64_t i, int64_t j) const {
        const double value = Metric::order(canonical_tree<Metric>(lanes[pair]));
        if constexpr (std::is_same_v<Metric, Cosine>) {
            const bool zero =
                sweep.query_scales[i].norm == 0.0 || sweep.reference_scales[j].norm == 0.0;
            if (zero && value == value) return 1.0;
        }
        return value;
    }
};

// The same number in the working type: partial results of 32 features, added up in float64, so that
// the rounding error does not grow with the number of features.
template <class Metric, class T>
struct WorkingPairs {
    using Value = T;
    double sums[pairs_per_thread];

    __device__ void begin() {
        for (double& sum : sums) sum = 0.0;
    }
    __device__ void add(const Staged<T>& x, const Staged<T>& y, const Place& place, int features) {
        T lanes[pairs_per_thread][8] = {};
        accumulate<Metric>(lanes, x, y, place, features);
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            sums[p] += static_cast<double>(canonical_tree<Metric>(lanes[p]));
        }
    }
    __device__ T value(int pair) const { return static_cast<T>(sums[pair]); }
};

// fold(pairs, first) receives the values of the references first + place.column(0..3), all threads
// together. Between two calls of it lies at least one barrier.
template <class Pairs, class Fold>
__device__ void run(const Sweep& sweep, const Place& place, Fold& fold) {
    using T = typename Pairs::Value;
    __shared__ Staged<T> x, y;
    int64_t first = place.begin;
    if (sweep.triangle && place.first_query() > first) {
        first += (place.first_query() - first) / tile_cols * tile_cols;
    }
    Pairs pairs;
    for (; first < place.end; first += tile_cols) {
        pairs.begin();
        for (int64_t feature = 0; feature < sweep.queries.cols; feature += chunk) {
            stage(x, sweep.queries, sweep.query_scales, place.first_query(), place.end_query,
                  feature);
            stage(y, sweep.references, sweep.reference_scales, first, place.end, feature);
            __syncthreads();
            const int64_t left = sweep.queries.cols - feature;
            pairs.add(x, y, place, left < chunk ? static_cast<int>(left) : chunk);
            __syncthreads();
        }
        fold(pairs, first);
    }
}

}  // namespace pairtile::gpu
