// Canonical float64 values, each compared with the k-th best of its query so far; what is better
// is added to that query's list, which is cut back to the k first when it is full. Then the lists
// of all segments are merged.
#include "neighbors/knn.hpp"

#include "neighbors/candidates.cuh"
#include "neighbors/distances.cuh"
#include "neighbors/order.cuh"

namespace pairtile::gpu {
namespace {

static_assert(block_threads == list_threads);

// What is known of the lists of a block.
struct Lists {
    int lengths[tile_rows];
    double limits[tile_rows];  // at least the k-th best value
};

constexpr int short_room = 4 * short_list;

// Leaves the k first of a short list and what is hardly larger, or, where that is too much, the k
// first alone, by a warp. Returns how many, and the largest value through `limit`.
__device__ __noinline__ int cut_by_warp(Neighbor* list, int n, int k, double& limit) {
    constexpr int own = short_room / 32;
    Neighbor mine[own];
    uint32_t keys[own];  // larger ones come first
    uint32_t most = 0, least = ~0u;
#pragma unroll
    for (int e = 0; e < own; ++e) {
        const int i = e * 32 + lane_of_thread();
        mine[e] = i < n ? list[i] : Neighbor{INFINITY, INT64_MAX};
        keys[e] = i < n ? ordinal(static_cast<float>(-mine[e].value)) : 0;
        most = max(most, keys[e]);
        if (i < n) least = min(least, keys[e]);
    }
    __syncwarp();  // all are read before the first is written
    const auto reached = [&](uint32_t key) {
        unsigned count = 0;
#pragma unroll
        for (const uint32_t one : keys) count += one >= key;
        return static_cast<int>(__reduce_add_sync(every_lane, count));
    };
    const uint32_t kth = kth_largest(k, most, least, rough_digits, reached);
    int left = 0;
    double largest = -INFINITY;
    if (reached(kth) <= k + (short_room - k) / 4) {
#pragma unroll
        for (int e = 0; e < own; ++e) {
            const bool stays = keys[e] >= kth;
            const unsigned who = __ballot_sync(every_lane, stays);
            if (stays) {
                list[left + __popc(who & ((1u << lane_of_thread()) - 1))] = mine[e];
                largest = fmax(largest, mine[e].value);
            }
            left += __popc(who);
        }
        for (int apart = 16; apart > 0; apart /= 2) {
            largest = fmax(largest, __shfl_xor_sync(every_lane, largest, apart));
        }
    } else {
        sort_by_warp(list, n);
        left = k;
        largest = list[k - 1].value;
    }
    __syncwarp();
    limit = largest;
    return left;
}

// Cuts back the lists that are full, and those that soon are.
template <bool is_short>
__device__ __noinline__ void cut_lists(const Search& search, Lists& known, ListMemory* memory,
                                       Neighbor* lists, int64_t apart) {
    const int room = static_cast<int>(room_of_list(search.k)), k = static_cast<int>(search.k);
    const int warp = static_cast<int>(threadIdx.x) / 32;
    for (int row = is_short ? warp : 0; row < tile_rows; row += is_short ? list_warps : 1) {
        const int n = known.lengths[row];
        if (n <= k + (room - k) / 2) continue;
        Neighbor* list = lists + row * apart;
        if constexpr (is_short) {
            double limit;
            const int left = cut_by_warp(list, n, k, limit);
            if (lane_of_thread() == 0) known.lengths[row] = left, known.limits[row] = limit;
        } else {
            keep_first(*memory, list, list + room, n, k);
            if (threadIdx.x == 0) known.lengths[row] = k, known.limits[row] = list[k - 1].value;
        }
    }
}

template <class Pairs, bool is_short>
struct TopK {
    const Search& search;
    const Place& place;
    Lists& known;
    ListMemory* memory;  // where lists are not short
    Neighbor* lists;     // that of the first row; of the next one so many places behind it
    int64_t apart;

    // References come in ascending order: one whose value is that of the k-th best is behind it.
    __device__ bool may_be_one(double value) const {
        const double limit = known.limits[place.row];
        return limit < INFINITY ? value < limit : value <= limit;
    }
    __device__ void operator()(const Pairs& pairs, int64_t first) {
        bool is_full = false;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (!place.has_query() || j >= place.end) continue;
            const double value = pairs.value(p, place.query, j);
            if (!may_be_one(value) || !search.predicate.admits(place.query, j)) continue;
            const int at = atomicAdd(&known.lengths[place.row], 1);
            lists[place.row * apart + at] = {value, j};
            is_full |= at >= room_of_list(search.k) - tile_cols;  // for another tile
        }
        if (!__syncthreads_or(is_full)) return;
        cut_lists<is_short>(search, known, memory, lists, apart);
    }
};

template <class Pairs, bool is_short>
__global__ void __launch_bounds__(block_threads, 2)
    knn_sweep(const __grid_constant__ Search search) {
    __shared__ Lists known;
    ListMemory* memory = nullptr;
    if constexpr (!is_short) {
        __shared__ ListMemory own;
        memory = &own;
    }
    const Place place(search.sweep);
    const int64_t segments = search.sweep.cut.segments;
    const int64_t first_state = int64_t{blockIdx.x} * tile_rows * segments + blockIdx.y;
    const int64_t places = places_of_list(search.k);
    TopK<Pairs, is_short> fold{
        search, place, known, memory, search.lists + first_state * places, segments * places};
    if (place.slot == 0) {
        known.lengths[place.row] = 0;
        known.limits[place.row] = INFINITY;
    }
    run(search.sweep, place, Pairs(search.sweep, search.metric), fold);
    __syncthreads();
    if (place.slot == 0 && place.has_query()) {
        search.lengths[first_state + place.row * segments] = known.lengths[place.row];
    }
}

// A block per query. What the list does not need any more is passed over.
template <class D>
__global__ void __launch_bounds__(list_threads, 2)
    knn_merge(const __grid_constant__ Search search, D* distances, int64_t* indices) {
    constexpr int few = 2 * list_threads;
    static_assert(few >= short_list + list_threads);
    __shared__ ListMemory memory;
    __shared__ int length;
    __shared__ Neighbor short_lists[2][few];
    const int thread = static_cast<int>(threadIdx.x), k = static_cast<int>(search.k);
    const int64_t segments = search.sweep.cut.segments, places = places_of_list(k);
    const int64_t first_state = int64_t{blockIdx.x} * segments;
    const bool is_short = k <= short_list;
    Neighbor* of_query = search.lists + first_state * places;
    const int room = is_short ? few : static_cast<int>(room_of_list(k));
    // a long list grows where that of the first segment is
    Neighbor* list = is_short ? short_lists[0] : of_query;
    Neighbor* other = is_short ? short_lists[1] : of_query + room;
    int held = is_short ? 0 : static_cast<int>(search.lengths[first_state]);
    Neighbor last = {INFINITY, INT64_MAX};  // of the k first
    const auto cut = [&] {
        keep_first(memory, list, other, held, k);
        if (held >= k) last = list[k - 1];
        held = min(held, k);
        if (thread == 0) length = held;
        __syncthreads();
    };
    if (thread == 0) length = held;
    __syncthreads();
    for (int64_t s = is_short ? 0 : 1; s < segments; ++s) {
        const auto n = static_cast<int>(search.lengths[first_state + s]);
        for (int first = 0; first < n; first += list_threads) {
            if (held > room - list_threads) cut();
            const int i = first + thread;
            const Neighbor one = i < n ? of_query[s * places + i] : last;
            held = add_to_list(list, length, one.before(last), one);
        }
    }
    cut();
    const int64_t row = search.sweep.first_row + blockIdx.x;
    for (int c = thread; c < k; c += list_threads) {
        const bool is_there = c < held;
        const Neighbor one = is_there ? list[c] : Neighbor{INFINITY, -1};
        const double ordered = is_there ? one.value : NAN;
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
    const auto rows = static_cast<unsigned>(search.sweep.rows);
    launch("knn merge", knn_merge<D>, rows, list_threads, stream, search, distances, indices);
}

template void knn(const Search&, float*, int64_t*, cudaStream_t);
template void knn(const Search&, double*, int64_t*, cudaStream_t);

}  // namespace pairtile::gpu
