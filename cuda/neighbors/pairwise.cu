// Canonical float64 values, written down as distances.
#include "neighbors/pairwise.hpp"

#include "neighbors/distances.cuh"

namespace pairtile::gpu {
namespace {

template <class Pairs>
struct Store {
    const Pairwise& pairwise;
    const Place& place;

    __device__ void operator()(const Pairs& pairs, int64_t first) const {
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t i = place.query, j = first + place.column(p);
            if (!place.has_query() || j >= place.end) continue;
            double distance = pairs.distance(pairs.value(p, i, j));
            if (pairwise.itself && pairwise.metric.id == MetricId::cosine && i == j) {
                distance *= 0.0;  // NaN stays
            }
            const int64_t at = i * pairwise.sweep.references.rows + j;
            if (pairwise.wide) {
                static_cast<double*>(pairwise.distances)[at] = distance;
            } else {
                static_cast<float*>(pairwise.distances)[at] = static_cast<float>(distance);
            }
        }
    }
};

template <class Pairs>
__global__ void __launch_bounds__(block_threads, 2)
    pairwise_sweep(const __grid_constant__ Pairwise pairwise) {
    const Place place(pairwise.sweep);
    Store<Pairs> fold{pairwise, place};
    run(pairwise.sweep, place, Pairs(pairwise.sweep, pairwise.metric), fold);
}

}  // namespace

void pairwise_distances(const Pairwise& pairwise, cudaStream_t stream) {
    with_pairs(pairwise.metric.id, [&]<class Pairs>() {
        launch("pairwise sweep", pairwise_sweep<Pairs>, grid_of(pairwise.sweep), block_threads,
               stream, pairwise);
    });
}

}  // namespace pairtile::gpu
