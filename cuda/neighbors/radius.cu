// Canonical float64 values, as distances compared with radii. What is inside is counted, by query
// and by reference at once, or put into the row of its query, which is then sorted.
//
// Integer atomics give the same counts in any order. The order in which they fill a row is not the
// same every time, but sorting it by (value, index) is.
#include "neighbors/radius.hpp"

#include "neighbors/distances.cuh"
#include "pairtile/fold/top_k.hpp"

namespace pairtile::gpu {
namespace {

__device__ bool is_pair(const Within& within, const Place& place, int64_t j) {
    return place.has_query() && j < place.end && !(within.exclude_self && j == place.query);
}

// Returns what was counted before.
__device__ int64_t add(int64_t& count, int64_t more) {
    auto* bits = reinterpret_cast<unsigned long long*>(&count);
    return static_cast<int64_t>(atomicAdd(bits, static_cast<unsigned long long>(more)));
}

template <class Pairs>
struct Count {
    const Within& within;
    const Place& place;
    const RadiusCounts& by_query_radii;
    const RadiusCounts& by_reference_radii;
    int64_t in_own_radius = 0, in_reference_radii = 0;

    // The lanes of a warp hold the same reference: their votes are its count.
    __device__ bool counted(bool is_inside, int64_t* of_references, int64_t j) const {
        if (of_references) {
            const unsigned votes = __ballot_sync(~0u, is_inside);
            if (place.row == 0 && votes) add(of_references[j], __popc(votes));
        }
        return is_inside;
    }

    __device__ void operator()(const Pairs& pairs, int64_t first) {
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            const bool pair = is_pair(within, place, j);
            const double value = pair ? pairs.value(p, place.query, j) : NAN;
            const double distance = pairs.distance(value);
            if (const double* radii = by_query_radii.radii) {
                const bool is_inside = pair && within.ball.holds(distance, radii[place.query]);
                in_own_radius += counted(is_inside, by_query_radii.of_references, j);
            }
            if (const double* radii = by_reference_radii.radii) {
                const bool is_inside = pair && within.ball.holds(distance, radii[j]);
                in_reference_radii += counted(is_inside, by_reference_radii.of_references, j);
            }
        }
    }
};
static_assert(tile_rows == 32);  // a warp

template <class Pairs>
__global__ void __launch_bounds__(block_threads, 2)
    radius_counts_sweep(const __grid_constant__ Within within,
                        const __grid_constant__ RadiusCounts by_query_radii,
                        const __grid_constant__ RadiusCounts by_reference_radii) {
    const Place place(within.sweep);
    Count<Pairs> fold{within, place, by_query_radii, by_reference_radii};
    run(within.sweep, place, Pairs(within.sweep, within.metric), fold);
    if (!place.has_query()) return;
    if (int64_t* counts = by_query_radii.of_queries) add(counts[place.query], fold.in_own_radius);
    if (int64_t* counts = by_reference_radii.of_queries) {
        add(counts[place.query], fold.in_reference_radii);
    }
}

template <class Pairs>
struct Collect {
    const Within& within;
    const Place& place;
    const double* radii;
    const RadiusRows& rows;

    __device__ void operator()(const Pairs& pairs, int64_t first) const {
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (!is_pair(within, place, j)) continue;
            const double value = pairs.value(p, place.query, j);
            if (!within.ball.holds(pairs.distance(value), radii[place.query])) continue;
            const int64_t at = add(rows.next[place.query], 1);
            rows.values[at] = value;
            rows.indices[at] = j;
        }
    }
};

template <class Pairs>
__global__ void __launch_bounds__(block_threads, 2)
    radius_neighbors_sweep(const __grid_constant__ Within within, const double* radii,
                           const __grid_constant__ RadiusRows rows) {
    const Place place(within.sweep);
    Collect<Pairs> fold{within, place, radii, rows};
    run(within.sweep, place, Pairs(within.sweep, within.metric), fold);
}

// One row per block, by a bitonic network in which every comparator puts the earlier neighbour
// first: what would lie beyond the end of the row, where later ones belong, never moves.
template <class D>
__global__ void __launch_bounds__(block_threads)
    radius_neighbors_sort(const __grid_constant__ Metric metric, int64_t first,
                          const __grid_constant__ RadiusRows rows, D* distances) {
    const int64_t row = first + blockIdx.x;
    const int64_t begin = rows.indptr[row], length = rows.indptr[row + 1] - begin;
    double* values = rows.values + begin;
    int64_t* indices = rows.indices + begin;
    // Compares a and the place `flip` away from it, for every a in the lower half of a group of
    // 2 · half.
    const auto exchange = [&](int64_t half, int64_t flip) {
        for (int64_t t = threadIdx.x;; t += block_threads) {
            const int64_t a = t / half * 2 * half + t % half, b = a ^ flip;
            if (a >= length) break;
            if (b >= length) continue;
            const Neighbor x{values[a], indices[a]}, y{values[b], indices[b]};
            if (!y.before(x)) continue;
            values[a] = y.value, indices[a] = y.index;
            values[b] = x.value, indices[b] = x.index;
        }
        __syncthreads();
    };
    for (int64_t sorted = 1; sorted < length; sorted *= 2) {  // two runs of this length become one
        exchange(sorted, 2 * sorted - 1);
        for (int64_t half = sorted / 2; half > 0; half /= 2) exchange(half, half);
    }
    for (int64_t c = threadIdx.x; c < length; c += block_threads) {
        distances[begin + c] = static_cast<D>(distance_of(metric, values[c]));
    }
}

}  // namespace

void radius_counts(const Within& within, const RadiusCounts& by_query_radii,
                   const RadiusCounts& by_reference_radii, cudaStream_t stream) {
    with_pairs(within.metric.id, [&]<class Pairs>() {
        launch("radius counts sweep", radius_counts_sweep<Pairs>, grid_of(within.sweep),
               block_threads, stream, within, by_query_radii, by_reference_radii);
    });
}

void radius_neighbors(const Within& within, const double* radii, const RadiusRows& rows,
                      cudaStream_t stream) {
    with_pairs(within.metric.id, [&]<class Pairs>() {
        launch("radius neighbors sweep", radius_neighbors_sweep<Pairs>, grid_of(within.sweep),
               block_threads, stream, within, radii, rows);
    });
}

template <class D>
void sort_radius_rows(const Metric& metric, int64_t first, int64_t count, const RadiusRows& rows,
                      D* distances, cudaStream_t stream) {
    launch("radius neighbors sort", radius_neighbors_sort<D>, static_cast<unsigned>(count),
           block_threads, stream, metric, first, rows, distances);
}

template void sort_radius_rows(const Metric&, int64_t, int64_t, const RadiusRows&, float*,
                               cudaStream_t);
template void sort_radius_rows(const Metric&, int64_t, int64_t, const RadiusRows&, double*,
                               cudaStream_t);

}  // namespace pairtile::gpu
