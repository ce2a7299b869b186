// What the sweep and the decisions of screened neighbours share: candidates in the order of their
// screened values, and their canonical values.
#pragma once

#include <cuda_bf16.h>

#include "neighbors/canonical_pair.cuh"
#include "neighbors/screen_bound.cuh"
#include "neighbors/screened_knn.hpp"

namespace pairtile::gpu {

// Floats as integers in the same order.
inline __device__ uint32_t ordinal(float value) {
    const uint32_t bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
inline __device__ float from_ordinal(uint32_t ordinal) {
    return __uint_as_float(ordinal & 0x80000000u ? ordinal & 0x7fffffffu : ~ordinal);
}

inline __device__ RowBound bound_of(const ScreenedSearch& search, int64_t row) {
    return {search.sweep.rows, row, *search.of_cols, search.metric.id == MetricId::inner_product,
            search.exact};
}
// Whether a row of the packed queries may have this candidate as its neighbour.
inline __device__ bool admits(const ScreenedSearch& search, int64_t row, const Candidate& one) {
    const int64_t j = search.numbers ? search.numbers[one.column] : int64_t{one.column};
    return search.predicate.admits(search.first_query + row, j);
}

// The largest ordinal that at least k keys reach, or one that differs from it below the `digits`
// first bits in which keys differ; reached(o) is how many reach o, 0 < least <= most those of all
// keys.
template <class Reached>
__device__ uint32_t kth_largest(int k, uint32_t most, uint32_t least, int digits,
                                const Reached& reached) {
    most = __reduce_max_sync(every_lane, most);
    least = __reduce_min_sync(every_lane, least);
    if (most == least) return most;
    const int top = 31 - __clz(static_cast<int>(most ^ least));
    uint32_t found = most >> top >> 1 << top << 1;  // what all have in common
    for (int bit = top; bit > max(-1, top - digits); --bit) {
        const uint32_t wanted = found | 1u << bit;
        if (reached(wanted) >= k) found = wanted;
    }
    return max(found, least);
}
constexpr int all_digits = 32, rough_digits = 12;

// --- Canonical values ----------------------------------------------------------------------------

// What is stored(c, value) for each c < n: the canonical value of a query, which x reads, with the
// reference column(c), which row(j) reads. By the warps of a block, or by one alone.
template <int unrolled, class X, class Row, class Column, class Store>
__device__ void canonical_values(const ScreenedSearch& search, const X& x, const Row& row, int n,
                                 const Column& column, const Store& store, int warp = 0,
                                 int warps = 1) {
    for (int first = 4 * warp; first < n; first += 4 * warps) {
        const int mine = first + lane_of_thread() / 8, c = min(mine, n - 1);
        const double value = canonical_by_eight<unrolled>(search.metric, search.queries.cols, x,
                                                          row(int64_t{column(c)}));
        if (lane_of_thread() % 8 == 0 && mine < n) store(c, value);
    }
    __syncwarp();
}

constexpr int waiting_features = 1024;  // of a query that waits in shared memory, in float64

inline size_t bytes_of_waiting(const ScreenedSearch& search, int queries) {
    const int64_t d = search.queries.cols;
    return d <= waiting_features ? sizeof(double) * queries * d : 0;
}

// Brings a query to where it waits, thread by thread of those that share it.
inline __device__ void fetch_query(const ScreenedSearch& search, int64_t query, double* x,
                                   int thread, int threads) {
    const int64_t d = search.queries.cols;
    if (d > waiting_features) return;
    const bool normalised = search.metric.id == MetricId::cosine;
    for (int64_t j = thread; j < d; j += threads) {
        x[j] = normalised ? normalised_element<double>(search.queries, search.query_scales[query],
                                                       query, j)
                          : element<double>(search.queries, query, j);
    }
}

// Calls use(x, row) with what reads the query, which waits at x if it is short, and references.
template <class Use>
__device__ void with_readers(const ScreenedSearch& search, int64_t query, const double* x,
                             const Use& use) {
    const bool normalised = search.metric.id == MetricId::cosine;
    const auto with_references = [&](const auto& of_query) {
        const Array& y = search.references;
        const int64_t step = y.col_stride;
        if (normalised) {
            use(of_query, [&](int64_t j) { return NormalisedRow(y, search.reference_scales, j); });
        } else if (is_mapped(search.metric.id)) {
            use(of_query, [&](int64_t j) { return AnyRow(y, j); });
        } else if (y.dtype == Dtype::float32 && step == 4) {
            use(of_query, [&](int64_t j) { return DenseRow<float>(y, j); });
        } else if (y.dtype == Dtype::float64 && step == 8) {
            use(of_query, [&](int64_t j) { return DenseRow<double>(y, j); });
        } else if (y.dtype == Dtype::bfloat16 && step == 2) {
            use(of_query, [&](int64_t j) { return DenseRow<__nv_bfloat16>(y, j); });
        } else {
            use(of_query, [&](int64_t j) { return AnyRow(y, j); });
        }
    };
    if (search.queries.cols <= waiting_features) {
        with_references(x);
    } else if (normalised) {
        with_references(NormalisedRow(search.queries, search.query_scales, query));
    } else {
        with_references(AnyRow(search.queries, query));
    }
}

}  // namespace pairtile::gpu
