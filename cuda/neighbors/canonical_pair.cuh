// Canonical values of single pairs by groups of eight lanes, for what a screen leaves undecided.
#pragma once

#include <type_traits>

#include "engine/array.hpp"
#include "pairtile/metric/metric.hpp"

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

// Metrics whose screens compare rows that were read through a linear map (engine/row_map.hpp).
inline __device__ bool is_mapped(MetricId metric) {
    return metric == MetricId::weuclidean || metric == MetricId::mahalanobis;
}

inline __device__ double sum_of_eight(double lane) {
#pragma unroll
    for (int other = 4; other > 0; other /= 2) lane += __shfl_xor_sync(every_lane, lane, other);
    return lane;
}

// Some rows of the transform at a time; lane l adds up the components i ≡ l.
template <int together, class X, class Y>
__device__ double mahalanobis_by_eight(const double* transform, int64_t d, const X& x, const Y& y) {
    const int lane = lane_of_thread() % 8;
    double sum = 0.0;
    for (int64_t first = 0; first < d; first += together) {
        double components[together] = {};
#pragma unroll 1
        for (int64_t f = lane; f < d; f += 8) {
            const double of_x = x[f], of_y = y[f];
#pragma unroll
            for (int c = 0; c < together; ++c) {
                const int64_t i = first + c < d ? first + c : d - 1;
                components[c] = Mahalanobis::Component::accumulate(components[c], of_x, of_y, f,
                                                                   transform + i * d);
            }
        }
#pragma unroll
        for (int c = 0; c < together; ++c) {
            const double z = sum_of_eight(components[c]);
            if (first + c < d && (first + c) % 8 == lane) sum += z * z;
        }
    }
    return sum_of_eight(sum);
}

// The value that orders a pair, by eight lanes, which all get it; lane l takes the features j ≡ l.
// Mapped metrics are for references that are read by strides alone.
template <int unrolled, class X, class Y>
__device__ double canonical_by_eight(const Metric& metric, int64_t d, const X& x, const Y& y) {
    const auto added_up = [&](const auto& accumulate) {
        double sum = 0.0;
#pragma unroll unrolled
        for (int64_t f = lane_of_thread() % 8; f < d; f += 8) sum = accumulate(sum, f);
        return sum_of_eight(sum);
    };
    if (metric.id == MetricId::inner_product) {
        return InnerProduct::order(added_up(
            [&](double sum, int64_t f) { return InnerProduct::accumulate(sum, x[f], y[f]); }));
    }
    if constexpr (std::is_same_v<Y, AnyRow>) {
        if (metric.id == MetricId::mahalanobis) {
            constexpr int together = unrolled == 1 ? 1 : 4;
            return mahalanobis_by_eight<together>(metric.params.transform, d, x, y);
        }
    }
    const double sum = added_up([&](double sum, int64_t f) {
        if constexpr (std::is_same_v<Y, AnyRow>) {
            if (metric.id == MetricId::weuclidean) {
                return WeightedEuclidean::accumulate(sum, x[f], y[f], f, metric.params);
            }
        }
        return SquaredEuclidean::accumulate(sum, x[f], y[f]);
    });
    return metric.id == MetricId::cosine ? Cosine::order(sum) : SquaredEuclidean::order(sum);
}

// What the user sees of it.
inline __device__ double reported_of(MetricId metric, double ordered) {
    switch (metric) {
        case MetricId::inner_product:
            return InnerProduct::reported(ordered);
        case MetricId::euclidean:
        case MetricId::weuclidean:
        case MetricId::mahalanobis:
            return Euclidean::reported(ordered);
        default:
            return SquaredEuclidean::reported(ordered);
    }
}

}  // namespace pairtile::gpu
