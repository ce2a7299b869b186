// Canonical float64 values, written down as distances.
#include "engine/pairwise.hpp"

#include "engine/distances.cuh"

namespace pairtile::gpu {
namespace {

template <class Pairs, class D>
struct Store {
    const Pairwise& pairwise;
    const Place& place;
    D* distances;

    __device__ void operator()(const Pairs& pairs, int64_t first) const {
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t i = place.query, j = first + place.column(p);
            if (!place.has_query() || j >= place.end) continue;
            double distance = pairs.distance(pairs.value(p, i, j));
            if (pairwise.itself && pairwise.metric.id == MetricId::cosine && i == j) {
                distance *= 0.0;  // NaN stays
            }
            distances[i * pairwise.sweep.references.rows + j] = static_cast<D>(distance);
        }
    }
};

template <class Pairs, class D>
__global__ void __launch_bounds__(block_threads, 2)
    pairwise_sweep(const __grid_constant__ Pairwise pairwise, D* distances) {
    const Place place(pairwise.sweep);
    Store<Pairs, D> fold{pairwise, place, distances};
    run(pairwise.sweep, place, Pairs(pairwise.sweep, pairwise.metric), fold);
}

}  // namespace

template <class D>
void pairwise_distances(const Pairwise& pairwise, D* distances, cudaStream_t stream) {
    with_pairs(pairwise.metric.id, [&]<class Pairs>() {
        launch("pairwise sweep", pairwise_sweep<Pairs, D>, grid_of(pairwise.sweep), block_threads,
               stream, pairwise, distances);
    });
}

template void pairwise_distances(const Pairwise&, float*, cudaStream_t);
template void pairwise_distances(const Pairwise&, double*, cudaStream_t);

}  // namespace pairtile::gpu
