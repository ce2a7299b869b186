// Exact k nearest neighbours: the selection fold on the GPU.
#pragma once

#include <cuda_runtime.h>

#include "engine/sweep.hpp"
#include "pairtile/fold/predicate.hpp"
#include "pairtile/fold/top_k.hpp"

namespace pairtile::gpu {

struct Search {
    Sweep sweep;
    Metric metric;
    int64_t k;
    Predicate predicate;
    // A list of at most k and its length for each query of the sweep and each segment.
    Neighbor* lists;
    int64_t* lengths;
    bool ordered = false;  // ordered values in place of distances, NaN where there is no neighbour
};

// Of one (query, segment), and the least width of a segment: a narrow one would mostly keep what
// the merge throws away.
inline int64_t knn_state_bytes(int64_t k) {
    return k * static_cast<int64_t>(sizeof(Neighbor)) + static_cast<int64_t>(sizeof(int64_t));
}
inline int64_t knn_least_width(int64_t k) { return std::max<int64_t>(256, 4 * k); }

// distances (queries, k) as D and indices (queries, k): the rows of the sweep are written. Missing
// neighbours: index −1 and an infinite distance.
template <class D>
void knn(const Search& search, D* distances, int64_t* indices, cudaStream_t stream);

}  // namespace pairtile::gpu
