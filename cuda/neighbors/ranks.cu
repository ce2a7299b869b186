// Canonical values, counted where they come before that of a query's target. Integer atomics, so
// that the order does not matter.
#include "neighbors/ranks.hpp"

#include "neighbors/embedding_pairs.cuh"

namespace pairtile::gpu {
namespace {

template <class Pairs>
struct CountBefore {
    const RankSearch& search;
    const Place& place;
    double own;
    int64_t target;
    int64_t before = 0;

    __device__ void operator()(const Pairs& pairs, int64_t first) {
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (!place.has_query() || j >= place.end) continue;
            const double value = pairs.value(p, place.query, j);
            before += value < own || (value == own && j < target);
        }
    }
};

template <class Pairs>
__global__ void __launch_bounds__(block_threads, 2)
    ranks_sweep(const __grid_constant__ RankSearch search) {
    const Place place(search.sweep);
    CountBefore<Pairs> fold{search, place, NAN, -1};
    if (place.has_query()) {
        fold.own = search.own[place.query];
        fold.target = search.targets[place.query];
    }
    run(search.sweep, place, Pairs(search.sweep, search.metric), fold);
    if (!place.has_query()) return;
    atomicAdd(reinterpret_cast<unsigned long long*>(&search.before[place.query]),
              static_cast<unsigned long long>(fold.before));
}

template <class Pairs>
struct StoreOwn {
    const Place& place;
    double* own;

    __device__ void operator()(const Pairs& pairs, int64_t first) const {
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (place.has_query() && j == place.query) own[j] = pairs.value(p, j, j);
        }
    }
};

template <class Pairs>
__global__ void __launch_bounds__(block_threads, 2)
    paired_values_sweep(const __grid_constant__ RankSearch search, double* own) {
    Place place(search.sweep);
    place.begin = place.first_query();  // one tile, on the diagonal
    place.end =
        place.begin + tile_cols < place.end_query ? place.begin + tile_cols : place.end_query;
    StoreOwn<Pairs> fold{place, own};
    run(search.sweep, place, Pairs(search.sweep, search.metric), fold);
}

}  // namespace

void paired_values(const RankSearch& search, double* own, cudaStream_t stream) {
    with_embedding_pairs(search.metric.id, [&]<class Pairs>() {
        launch("paired values sweep", paired_values_sweep<Pairs>,
               static_cast<unsigned>(search.sweep.row_blocks()), block_threads, stream, search,
               own);
    });
}

void ranks(const RankSearch& search, cudaStream_t stream) {
    with_embedding_pairs(search.metric.id, [&]<class Pairs>() {
        launch("ranks sweep", ranks_sweep<Pairs>, grid_of(search.sweep), block_threads, stream,
               search);
    });
}

}  // namespace pairtile::gpu
