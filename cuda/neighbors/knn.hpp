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
    // For each query of the sweep and each segment the room of a list, and how many it holds.
    Neighbor* lists;
    int64_t* lengths;
    bool ordered = false;  // ordered values in place of distances, NaN where there is no neighbour
};

// A list holds more than k before it is cut back to the k first. Those of few are cut by a warp,
// where they lie; longer ones are put in order by a block, which needs as much again.
constexpr int64_t short_list = 32;

PAIRTILE_HD int64_t room_of_list(int64_t k) {
    constexpr int64_t least = 256, most = 1 << 16;
    if (k <= short_list) return 4 * short_list;
    return k + (k < 2 * least ? least : k / 2 < most ? k / 2 : most);
}
PAIRTILE_HD int64_t places_of_list(int64_t k) {
    return k <= short_list ? room_of_list(k) : 2 * room_of_list(k);
}

// Of one (query, segment), and the least width of a segment: a narrow one would mostly keep what
// the merge throws away.
inline int64_t knn_state_bytes(int64_t k) {
    return places_of_list(k) * static_cast<int64_t>(sizeof(Neighbor)) +
           static_cast<int64_t>(sizeof(int64_t));
}
inline int64_t knn_least_width(int64_t k) { return std::max<int64_t>(256, 4 * k); }

// distances (queries, k) as D and indices (queries, k): the rows of the sweep are written. Missing
// neighbours: index −1 and an infinite distance.
template <class D>
void knn(const Search& search, D* distances, int64_t* indices, cudaStream_t stream);

}  // namespace pairtile::gpu
