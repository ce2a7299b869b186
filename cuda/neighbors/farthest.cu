// Canonical values of pairs of one group, folded to the farthest one of each row.
#include "neighbors/farthest.hpp"

#include "engine/row_fold.cuh"
#include "neighbors/embedding_pairs.cuh"

namespace pairtile::gpu {
namespace {

template <class Pairs>
struct PushFarthest {
    const FarthestSearch& search;
    const Place& place;
    int64_t group;
    FarthestRow farthest;

    __device__ void operator()(const Pairs& pairs, int64_t first) {
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (!place.has_query() || j >= place.end || j == place.query) continue;
            if (search.groups[j] == group) farthest.push(pairs.value(p, place.query, j), j);
        }
    }
};

template <class Pairs>
__global__ void __launch_bounds__(block_threads, 2)
    farthest_sweep(const __grid_constant__ FarthestSearch search) {
    const Place place(search.sweep);
    const int64_t group = place.has_query() ? search.groups[place.query] : 0;
    PushFarthest<Pairs> fold{search, place, group, {}};
    run(search.sweep, place, Pairs(search.sweep, search.metric), fold);
    keep(search.states, search.sweep, place, fold.farthest);
}

__global__ void __launch_bounds__(block_threads)
    farthest_merge(const __grid_constant__ FarthestSearch search, double* values,
                   int64_t* indices) {
    const int64_t row = row_of_thread();
    if (row >= search.sweep.rows) return;
    const FarthestRow found = merged(search.states, search.sweep, row);
    values[search.sweep.first_row + row] = found.index < 0 ? NAN : found.value;
    indices[search.sweep.first_row + row] = found.index;
}

}  // namespace

void farthest_of_group(const FarthestSearch& search, double* values, int64_t* indices,
                       cudaStream_t stream) {
    with_embedding_pairs(search.metric.id, [&]<class Pairs>() {
        launch("farthest sweep", farthest_sweep<Pairs>, grid_of(search.sweep), block_threads,
               stream, search);
    });
    launch("farthest merge", farthest_merge, thread_per_row(search.sweep), block_threads, stream,
           search, values, indices);
}

}  // namespace pairtile::gpu
