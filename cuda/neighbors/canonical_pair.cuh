// Canonical values of single pairs by groups of eight lanes, for what a screen leaves undecided.
#pragma once

#include "engine/array.hpp"
#include "pairtile/metric/registry.hpp"

namespace pairtile::gpu {

constexpr unsigned every_lane = ~0u;

inline __device__ int lane_of_thread() { return static_cast<int>(threadIdx.x) % 32; }

// How a row is read: by address where its features lie side by side, by strides otherwise.
template <class T>
struct DenseRow {
    const T* at;
    __device__ DenseRow(const Array& array, int64_t i)
        : at(reinterpret_cast<const T*>(array.data + i * array.row_stride)) {}
    __device__ double operator[](int64_t j) const { return static_cast<double>(at[j]); }
};
struct AnyRow {
    const Array& array;
    int64_t i;
    __device__ AnyRow(const Array& array, int64_t i) : array(array), i(i) {}
    __device__ double operator[](int64_t j) const { return element<double>(array, i, j); }
};
struct NormalisedRow {
    const Array& array;
    const RowScale scale;
    int64_t i;
    __device__ NormalisedRow(const Array& array, const RowScale* scales, int64_t i)
        : array(array), scale(scales[i]), i(i) {}
    __device__ double operator[](int64_t j) const {
        return normalised_element<double>(array, scale, i, j);
    }
};

// The value that orders a pair, by eight lanes, which all get it; lane l takes the features j ≡ l.
template <int unrolled, class X, class Y>
__device__ double canonical_by_eight(MetricId metric, int64_t d, const X& x, const Y& y) {
    const bool products = metric == MetricId::inner_product;
    double sum = 0.0;
    if (products) {
#pragma unroll unrolled
        for (int64_t f = lane_of_thread() % 8; f < d; f += 8) {
            sum = InnerProduct::accumulate(sum, x[f], y[f]);
        }
    } else {
#pragma unroll unrolled
        for (int64_t f = lane_of_thread() % 8; f < d; f += 8) {
            sum = SquaredEuclidean::accumulate(sum, x[f], y[f]);
        }
    }
#pragma unroll
    for (int other = 4; other > 0; other /= 2) sum += __shfl_xor_sync(every_lane, sum, other);
    if (products) return InnerProduct::order(sum);
    return metric == MetricId::cosine ? Cosine::order(sum) : SquaredEuclidean::order(sum);
}

// What the user sees of it.
inline __device__ double reported_of(MetricId metric, double ordered) {
    switch (metric) {
        case MetricId::inner_product:
            return InnerProduct::reported(ordered);
        case MetricId::euclidean:
            return Euclidean::reported(ordered);
        default:
            return SquaredEuclidean::reported(ordered);
    }
}

}  // namespace pairtile::gpu
