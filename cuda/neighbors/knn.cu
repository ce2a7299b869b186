// Canonical float64 values, each compared with the k-th best of its query so far; what is better
// goes into that query's list, a heap. Then the lists of all segments are merged and put in order.
#include "neighbors/knn.hpp"

#include "neighbors/distances.cuh"

namespace pairtile::gpu {
namespace {

// Lists up to this long stay in shared memory.
constexpr int short_list = 32;

// The first warp owns the lists, lane by lane; all warps screen the values they computed against
// the k-th best, and most tiles have nothing better.
template <class Pairs>
struct TopK {
    const Search& search;
    const Place& place;
    double (&values)[tile_rows][tile_cols + 1];
    double (&worst)[tile_rows];
    Neighbor* list;
    int64_t length = 0;

    __device__ bool owns_list() const { return place.slot == 0 && place.has_query(); }

    __device__ void operator()(const Pairs& pairs, int64_t first) {
        bool better = false;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            double value = NAN;  // never a neighbour
            if (place.has_query() && j < place.end) {
                value = pairs.value(p, place.query, j);
            }
            values[place.row][place.column(p)] = value;
            better |= value <= worst[place.row];
        }
        if (!__syncthreads_or(better) || !owns_list()) return;
        double limit = worst[place.row];
        for (int c = 0; c < tile_cols; ++c) {
            const Neighbor one = {values[place.row][c], first + c};
            if (!(one.value <= limit) || !search.predicate.admits(place.query, one.index)) continue;
            length = top_k_push(list, length, search.k, one);
            if (length == search.k) limit = list[0].value;
        }
        worst[place.row] = limit;
    }
};

template <class Pairs, bool is_short>
__global__ void __launch_bounds__(block_threads, 2)
    knn_sweep(const __grid_constant__ Search search) {
    __shared__ double values[tile_rows][tile_cols + 1];
    __shared__ double worst[tile_rows];
    const Place place(search.sweep);
    const int64_t state =
        (place.query - search.sweep.first_row) * search.sweep.cut.segments + blockIdx.y;
    Neighbor* out = search.lists + state * search.k;
    Neighbor* list = out;
    if constexpr (is_short) {
        __shared__ Neighbor lists[tile_rows][short_list + 1];  // the first ones in different banks
        list = lists[place.row];
    }

    TopK<Pairs> fold{search, place, values, worst, list};
    if (place.slot == 0) worst[place.row] = INFINITY;
    run(search.sweep, place, Pairs(search.sweep, search.metric), fold);
    if (!fold.owns_list()) return;
    search.lengths[state] = fold.length;
    if constexpr (is_short) {
        for (int64_t c = 0; c < fold.length; ++c) out[c] = fold.list[c];
    }
}

template <class D>
__global__ void __launch_bounds__(block_threads, 4)
    knn_merge(const __grid_constant__ Search search, D* distances, int64_t* indices) {
    const int64_t local = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (local >= search.sweep.rows) return;
    const int64_t segments = search.sweep.cut.segments, k = search.k;
    Neighbor* lists = search.lists + local * segments * k;
    const int64_t* lengths = search.lengths + local * segments;
    int64_t length = lengths[0];
    for (int64_t s = 1; s < segments; ++s) {
        length = top_k_merge(lists, length, k, lists + s * k, lengths[s]);
    }
    top_k_sort(lists, length);
    const int64_t row = search.sweep.first_row + local;
    for (int64_t c = 0; c < k; ++c) {
        const Neighbor one = c < length ? lists[c] : Neighbor{INFINITY, -1};
        const double ordered = c < length ? one.value : NAN;
        distances[row * k + c] =
            static_cast<D>(search.ordered ? ordered : distance_of(search.metric, one.value));
        indices[row * k + c] = one.index;
    }
}

}  // namespace

template <class D>
void knn(const Search& search, D* distances, int64_t* indices, cudaStream_t stream) {
    with_pairs(search.metric.id, [&]<class Pairs>() {
        const auto sweep =
            search.k <= short_list ? knn_sweep<Pairs, true> : knn_sweep<Pairs, false>;
        launch("knn sweep", sweep, grid_of(search.sweep), block_threads, stream, search);
    });
    const auto rows = static_cast<unsigned>(divided_up(search.sweep.rows, block_threads));
    launch("knn merge", knn_merge<D>, rows, block_threads, stream, search, distances, indices);
}

template void knn(const Search&, float*, int64_t*, cudaStream_t);
template void knn(const Search&, double*, int64_t*, cudaStream_t);

}  // namespace pairtile::gpu
