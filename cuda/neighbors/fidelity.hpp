// What fidelity asks of the distances from each query: the largest ratio of a radius to them, and
// the product of those below a radius. Scalar folds on the GPU.
#pragma once

#include <cuda_runtime.h>

#include "engine/sweep.hpp"
#include "pairtile/fold/max_ratio.hpp"
#include "pairtile/fold/product.hpp"

namespace pairtile::gpu {

constexpr int64_t fidelity_state_bytes = slots * sizeof(double);  // of one (row, segment)
constexpr int64_t fidelity_least_width = 256;
static_assert(sizeof(MaxRatio) == sizeof(double) && sizeof(Product) == sizeof(double));

// The largest radii[j] / distance over the references j whose radius is not negative.
struct Ratios {
    Sweep sweep;
    Metric metric;
    const double* radii;
    MaxRatio* states;
};
void largest_radius_ratios(const Ratios& ratios, double* largest, cudaStream_t stream);

// The product of min(1, distance / radius) over the references.
struct Products {
    Sweep sweep;
    Metric metric;
    double radius;
    Product* states;
};
void distance_products(const Products& products, double* of_queries, cudaStream_t stream);

}  // namespace pairtile::gpu
