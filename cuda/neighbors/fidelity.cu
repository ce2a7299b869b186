// Distances from canonical float64 values, folded to one number per query.
#include "neighbors/fidelity.hpp"

#include "engine/row_fold.cuh"
#include "neighbors/distances.cuh"

namespace pairtile::gpu {
namespace {

template <class Pairs>
struct PushRatio {
    const Ratios& ratios;
    const Place& place;
    MaxRatio largest;

    __device__ void operator()(const Pairs& pairs, int64_t first) {
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (!place.has_query() || j >= place.end || ratios.radii[j] < 0.0) continue;
            largest.push(ratios.radii[j], pairs.distance(pairs.value(p, place.query, j)));
        }
    }
};

template <class Pairs>
__global__ void __launch_bounds__(block_threads, 2)
    ratios_sweep(const __grid_constant__ Ratios ratios) {
    const Place place(ratios.sweep);
    PushRatio<Pairs> fold{ratios, place, {}};
    run(ratios.sweep, place, Pairs(ratios.sweep, ratios.metric), fold);
    keep(ratios.states, ratios.sweep, place, fold.largest);
}

__global__ void __launch_bounds__(block_threads)
    ratios_merge(const __grid_constant__ Ratios ratios, double* largest) {
    const int64_t row = row_of_thread();
    if (row >= ratios.sweep.rows) return;
    largest[ratios.sweep.first_row + row] = merged(ratios.states, ratios.sweep, row).finish();
}

template <class Pairs>
struct PushFactor {
    const Products& products;
    const Place& place;
    Product product;

    __device__ void operator()(const Pairs& pairs, int64_t first) {
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (!place.has_query() || j >= place.end) continue;
            const double distance = pairs.distance(pairs.value(p, place.query, j));
            if (distance < products.radius) product.push(distance / products.radius);
        }
    }
};

template <class Pairs>
__global__ void __launch_bounds__(block_threads, 2)
    products_sweep(const __grid_constant__ Products products) {
    const Place place(products.sweep);
    PushFactor<Pairs> fold{products, place, {}};
    run(products.sweep, place, Pairs(products.sweep, products.metric), fold);
    keep(products.states, products.sweep, place, fold.product);
}

__global__ void __launch_bounds__(block_threads)
    products_merge(const __grid_constant__ Products products, double* of_queries) {
    const int64_t row = row_of_thread();
    if (row >= products.sweep.rows) return;
    of_queries[products.sweep.first_row + row] =
        merged(products.states, products.sweep, row).finish();
}

}  // namespace

void largest_radius_ratios(const Ratios& ratios, double* largest, cudaStream_t stream) {
    with_pairs(ratios.metric.id, [&]<class Pairs>() {
        launch("ratios sweep", ratios_sweep<Pairs>, grid_of(ratios.sweep), block_threads, stream,
               ratios);
    });
    launch("ratios merge", ratios_merge, thread_per_row(ratios.sweep), block_threads, stream,
           ratios, largest);
}

void distance_products(const Products& products, double* of_queries, cudaStream_t stream) {
    with_pairs(products.metric.id, [&]<class Pairs>() {
        launch("products sweep", products_sweep<Pairs>, grid_of(products.sweep), block_threads,
               stream, products);
    });
    launch("products merge", products_merge, thread_per_row(products.sweep), block_threads, stream,
           products, of_queries);
}

}  // namespace pairtile::gpu
