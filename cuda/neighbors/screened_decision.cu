// The decision about short lists: one warp per query, in shared memory.
#include "engine/launch.hpp"
#include "neighbors/candidates.cuh"

namespace pairtile::gpu {
namespace {

constexpr int rescore_warps = 4;
constexpr int rescore_chunk = 64;  // candidates confirmed at a time
constexpr int rescore_sorted = static_cast<int>(screened_short_k);
constexpr int rescore_held = rescore_sorted + rescore_chunk;

// One warp per query: of the candidates of all segments those that may be among the k nearest,
// their canonical values, and the k first in the order of (value, index).
template <class D>
__global__ void __launch_bounds__(32 * rescore_warps, 4)
    rescore(const __grid_constant__ ScreenedSearch search, D* distances, int64_t* indices) {
    __shared__ Neighbor held[rescore_warps][rescore_held];
    __shared__ Neighbor sorted[rescore_warps][rescore_sorted];
    __shared__ Candidate chunk[rescore_warps][rescore_chunk];
    __shared__ double values[rescore_warps][rescore_chunk];
    const int lane = lane_of_thread(), warp = static_cast<int>(threadIdx.x) / 32;
    const int64_t row = int64_t{blockIdx.x} * rescore_warps + warp;
    if (row >= search.sweep.rows.rows) return;
    const int64_t segments = search.segments;
    const auto k = static_cast<int>(search.k);
    Candidate* all = search.candidates + row * segments * search.room;
    const int* counts = search.counts + row * segments;
    const int64_t query = search.first_query + row;
    extern __shared__ double queries[];
    double* x = queries + warp * search.queries.cols;
    fetch_query(search, query, x, lane, 32);
    __syncwarp();

    float limit = -INFINITY;
    const RowBound bound = bound_of(search, row);
    // only those that are admitted count
    int total = 0;
    uint32_t most = 0, least = ~0u;
    for (int64_t s = 0; s < segments; ++s) {
        for (int i = lane; i < counts[s]; i += 32) {
            Candidate& one = all[s * search.room + i];
            if (admits(search, row, one)) {
                most = max(most, ordinal(one.value));
                least = min(least, ordinal(one.value));
                ++total;
            } else {
                one.value = -INFINITY;
            }
        }
    }
    total = __reduce_add_sync(every_lane, total);
    if (total > k) {
        const auto reached = [&](uint32_t wanted) {
            int mine = 0;
            for (int64_t s = 0; s < segments; ++s) {
                for (int i = lane; i < counts[s]; i += 32) {
                    mine += ordinal(all[s * search.room + i].value) >= wanted;
                }
            }
            return static_cast<int>(__reduce_add_sync(every_lane, mine));
        };
        limit =
            bound.limit_of_screened(from_ordinal(kth_largest(k, most, least, all_digits, reached)));
    }

    int length = 0, pending = 0;
    Neighbor* best = held[warp];
    const auto merge = [&] {
        __syncwarp();
        with_readers(search, query, x, [&](const auto& of_query, const auto& row_of) {
            canonical_values<8>(
                search, of_query, row_of, pending, [&](int c) { return chunk[warp][c].column; },
                [&](int c, double value) { values[warp][c] = value; });
        });
        for (int i = lane; i < pending; i += 32) {
            best[length + i] = {values[warp][i], chunk[warp][i].column};
        }
        __syncwarp();
        const int n = length + pending;
        for (int i = lane; i < n; i += 32) {
            const Neighbor mine = best[i];
            int before = 0;
            for (int other = 0; other < n; ++other) before += best[other].before(mine);
            if (before < k) sorted[warp][before] = mine;
        }
        __syncwarp();
        length = min(n, k);
        for (int i = lane; i < length; i += 32) best[i] = sorted[warp][i];
        __syncwarp();
        pending = 0;
    };
    for (int64_t s = 0; s < segments; ++s) {
        const Candidate* mine = all + s * search.room;
        for (int first = 0; first < counts[s]; first += 32) {
            const int i = first + lane;
            const Candidate one = i < counts[s] ? mine[i] : Candidate{};
            const bool passes = i < counts[s] && one.value > -INFINITY &&
                                (search.exact ? one.value >= limit : one.value > limit);
            const unsigned who = __ballot_sync(every_lane, passes);
            if (pending + __popc(who) > rescore_chunk) merge();
            if (passes) chunk[warp][pending + __popc(who & ((1u << lane) - 1))] = one;
            pending += __popc(who);
        }
    }
    if (pending > 0) merge();
    for (int c = lane; c < k; c += 32) {
        const Neighbor one = c < length ? best[c] : Neighbor{INFINITY, -1};
        const int64_t at = (search.first_query + row) * k + c;
        distances[at] = static_cast<D>(reported_of(search.metric.id, one.value));
        indices[at] = one.index;
    }
}

}  // namespace

template <class D>
void screened_decision(const ScreenedSearch& search, D* distances, int64_t* indices,
                       cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(divided_up(search.sweep.rows.rows, rescore_warps));
    const size_t shared = bytes_of_waiting(search, rescore_warps);
    check(cudaFuncSetAttribute(rescore<D>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)),
          "knn rescore");
    rescore<D><<<blocks, 32 * rescore_warps, shared, stream>>>(search, distances, indices);
    check(cudaGetLastError(), "knn rescore");
}

template void screened_decision(const ScreenedSearch&, float*, int64_t*, cudaStream_t);
template void screened_decision(const ScreenedSearch&, double*, int64_t*, cudaStream_t);

}  // namespace pairtile::gpu
