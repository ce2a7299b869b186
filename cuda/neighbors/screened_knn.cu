#include "neighbors/screened_knn.hpp"

#include <cuda_bf16.h>

#include "engine/tensor_sweep.cuh"
#include "neighbors/canonical_pair.cuh"
#include "neighbors/screen_bound.cuh"

namespace pairtile::gpu {
namespace {

// Floats as integers in the same order.
__device__ uint32_t ordinal(float value) {
    const uint32_t bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ float from_ordinal(uint32_t ordinal) {
    return __uint_as_float(ordinal & 0x80000000u ? ordinal & 0x7fffffffu : ~ordinal);
}

__device__ RowBound bound_of(const ScreenedSearch& search, int64_t row) {
    return {search.sweep.rows, row, *search.of_cols, search.metric.id == MetricId::inner_product,
            search.exact};
}

// --- Choosing among candidates -------------------------------------------------------------------

// The largest ordinal that at least k keys reach, or one that differs from it below the `digits`
// first bits in which keys differ; reached(o) is how many reach o, 0 < least <= most those of all
// keys.
template <class Reached>
__device__ uint32_t kth_largest(int k, uint32_t most, uint32_t least, int digits,
                                const Reached& reached) {
    most = __reduce_max_sync(every_lane, most);
    least = __reduce_min_sync(every_lane, least);
    if (most == least) return most;
    const int top = 31 - __clz(static_cast<int>(most ^ least));
    uint32_t found = most >> top >> 1 << top << 1;  // what all have in common
    for (int bit = top; bit > max(-1, top - digits); --bit) {
        const uint32_t wanted = found | 1u << bit;
        if (reached(wanted) >= k) found = wanted;
    }
    return max(found, least);
}
constexpr int all_digits = 32, rough_digits = 12;

// Candidates in registers, 32 to each of `held`; a key of 0 is none.
template <int held>
struct HeldCandidates {
    Candidate of_lane[held];
    uint32_t keys[held];

    template <class Admits>
    __device__ HeldCandidates(const Candidate* from, int n, const Admits& admits) {
#pragma unroll
        for (int h = 0; h < held; ++h) {
            const int i = h * 32 + lane_of_thread();
            of_lane[h] = i < n ? from[i] : Candidate{0.0f, 0};
        }
#pragma unroll
        for (int h = 0; h < held; ++h) {
            const bool counts = h * 32 + lane_of_thread() < n && admits(of_lane[h]);
            keys[h] = counts ? ordinal(of_lane[h].value) : 0;
        }
    }
    __device__ int reached(uint32_t wanted) const {
        int count = 0;
#pragma unroll
        for (int h = 0; h < held; ++h)
            count += __popc(__ballot_sync(every_lane, keys[h] >= wanted));
        return count;
    }
    __device__ float kth(int k, int digits) const {
        uint32_t most = 0, least = ~0u;
#pragma unroll
        for (int h = 0; h < held; ++h) {
            most = max(most, keys[h]);
            if (keys[h] != 0) least = min(least, keys[h]);
        }
        return from_ordinal(
            kth_largest(k, most, least, digits, [&](uint32_t wanted) { return reached(wanted); }));
    }
    // Those from this key on, in their order; returns their number.
    __device__ int write(Candidate* to, uint32_t from_key) const {
        int kept = 0;
#pragma unroll
        for (int h = 0; h < held; ++h) {
            const bool stays = keys[h] >= from_key;
            const unsigned all = __ballot_sync(every_lane, stays);
            if (stays) to[kept + __popc(all & ((1u << lane_of_thread()) - 1))] = of_lane[h];
            kept += __popc(all);
        }
        return kept;
    }
};

// Moves those that pass to the front, in order; returns their number.
template <class Passes>
__device__ int compact(Candidate* candidates, int n, const Passes& passes) {
    int kept = 0;
    for (int first = 0; first < n; first += 32) {
        const int i = first + lane_of_thread();
        const Candidate one = i < n ? candidates[i] : Candidate{};
        const bool stays = i < n && passes(one, i);
        const unsigned all = __ballot_sync(every_lane, stays);
        if (stays) candidates[kept + __popc(all & ((1u << lane_of_thread()) - 1))] = one;
        kept += __popc(all);
        __syncwarp();
    }
    return kept;
}

// --- Canonical values ----------------------------------------------------------------------------

// values[c] = that of candidate c < n; row(j) reads reference j.
template <int unrolled, class X, class Row>
__device__ void canonical_values(const ScreenedSearch& search, const X& x, const Row& row,
                                 const Candidate* candidates, int n, double* values) {
    for (int first = 0; first < n; first += 4) {
        const int mine = first + lane_of_thread() / 8, c = min(mine, n - 1);
        const double value = canonical_by_eight<unrolled>(search.metric.id, search.queries.cols, x,
                                                          row(int64_t{candidates[c].column}));
        if (lane_of_thread() % 8 == 0 && mine < n) values[c] = value;
    }
    __syncwarp();
}

// The largest whole number that has fewer than k below it, bit by bit.
template <class Whole, class Below>
__device__ Whole kth_least(int k, int bits, const Below& below) {
    Whole found = 0;
    for (int bit = bits - 1; bit >= 0; --bit) {
        const Whole wanted = found | Whole{1} << bit;
        if (below(wanted) < k) found = wanted;
    }
    return found;
}

// The k-th in the order of (value, column) of at least k candidates.
__device__ Neighbor kth_nearest(const double* values, const Candidate* candidates, int n, int k) {
    const auto number = [&](const auto& counts) {
        int mine = 0;
        for (int i = lane_of_thread(); i < n; i += 32) mine += counts(i);
        return static_cast<int>(__reduce_add_sync(every_lane, mine));
    };
    constexpr uint64_t sign = uint64_t{1} << 63;
    const auto key = [&](int i) {  // in the order of the values, whose zeros have one sign
        const auto bits = bits_as<uint64_t>(values[i]);
        return (bits & sign) != 0 ? ~bits : bits | sign;
    };
    const auto value = kth_least<uint64_t>(
        k, 64, [&](uint64_t wanted) { return number([&](int i) { return key(i) < wanted; }); });
    const int before = number([&](int i) { return key(i) < value; });
    const auto column = kth_least<uint32_t>(k - before, 31, [&](uint32_t wanted) {
        return number([&](int i) {
            return key(i) == value && static_cast<uint32_t>(candidates[i].column) < wanted;
        });
    });
    const uint64_t bits = (value & sign) != 0 ? value ^ sign : ~value;
    return {bits_as<double>(bits), static_cast<int64_t>(column)};
}

// --- The sweep -----------------------------------------------------------------------------------

// Candidates of the rows of a warp, as the tiles come. Whenever the tiles seen are a power of four,
// and whenever a row runs out of room, the k-th best so far tightens the limit.
struct Screen {
    using Params = ScreenedSearch;
    struct Memory {
        float limits[block_rows];
        int counts[block_rows];
        alignas(16) float half_norms[warps_of_rows][tile_columns];  // of the columns of a tile
    };
    static constexpr int groups = tile_columns / 8;

    const ScreenedSearch& search;
    Memory& memory;
    const int row_a, row_b;
    const int first_tile;
    Candidate* candidates;  // of the first row of the block
    int stride;             // from row to row
    float* half_norms;
    float4 coming;  // norms of the next tile, on their way

    __device__ Screen(const ScreenedSearch& search, const TensorSweep& sweep, Memory& memory,
                      int row_a, int row_b)
        : search(search),
          memory(memory),
          row_a(row_a),
          row_b(row_b),
          first_tile(static_cast<int>(blockIdx.y) * sweep.tiles_per_segment),
          candidates(search.candidates + state_of(search, 0) * search.room),
          stride(search.segments * static_cast<int>(search.room)) {
        const int row = own_row();
        memory.limits[row] = packed_row(row) < sweep.rows.rows ? -INFINITY : INFINITY;
        memory.counts[row] = 0;
        half_norms = memory.half_norms[threadIdx.x / 32 % warps_of_rows];
        fetch(first_tile);
        __syncwarp();
    }

    __device__ void columns(int tile) {
        const bool products = search.metric.id == MetricId::inner_product;
        // infinity beyond the last column, so that nothing there is kept
        const auto half = [&](float norm) {
            return products && norm != INFINITY ? 0.0f : 0.5f * norm;
        };
        __syncwarp();  // the tile before is done with
        reinterpret_cast<float4*>(half_norms)[lane_of_thread()] = {half(coming.x), half(coming.y),
                                                                   half(coming.z), half(coming.w)};
        __syncwarp();
        if (tile + 1 < search.sweep.col_tiles) fetch(tile + 1);
    }

    __device__ __forceinline__ void strip(const Strip& values, int row, int tile) {
        const int upper = row + lane_of_thread() / 4, lower = upper + 8;
        const float of_upper = memory.limits[upper], of_lower = memory.limits[lower];
        const int first_column = static_cast<int>(search.first_reference) + tile * tile_columns +
                                 2 * (lane_of_thread() % 4);
        const float2* norms = reinterpret_cast<const float2*>(half_norms) + lane_of_thread() % 4;
        constexpr int together = 4;
#pragma unroll
        for (int first = 0; first < groups; first += together) {
            float best_upper = -INFINITY, best_lower = -INFINITY;
#pragma unroll
            for (int g = first; g < first + together; ++g) {
                const auto [x, y] = norms[4 * g];
                best_upper = fmaxf(best_upper, fmaxf(values[g][0] - x, values[g][1] - y));
                best_lower = fmaxf(best_lower, fmaxf(values[g][2] - x, values[g][3] - y));
            }
            // few tiles hold candidates, and then few of them
            const auto keep = [&](float value, float limit, int of_row, int32_t column) {
                if (!(value > limit)) return;
                const int place = atomicAdd(&memory.counts[of_row], 1);
                candidates[of_row * stride + place] = {value, column};
            };
            if (best_upper > of_upper) {
#pragma unroll
                for (int g = first; g < first + together; ++g) {
                    const auto [x, y] = norms[4 * g];
                    keep(values[g][0] - x, of_upper, upper, first_column + 8 * g);
                    keep(values[g][1] - y, of_upper, upper, first_column + 8 * g + 1);
                }
            }
            if (best_lower > of_lower) {
#pragma unroll
                for (int g = first; g < first + together; ++g) {
                    const auto [x, y] = norms[4 * g];
                    keep(values[g][2] - x, of_lower, lower, first_column + 8 * g);
                    keep(values[g][3] - y, of_lower, lower, first_column + 8 * g + 1);
                }
            }
        }
        __syncwarp();
        const int seen = tile - first_tile + 1;
        const bool is_time = (seen & (seen - 1)) == 0 && (seen & 0x55555555) != 0;
        const int count = lane_of_thread() < strip_rows ? memory.counts[row + lane_of_thread()] : 0;
        const bool full = count > search.room - tile_columns;
        unsigned rows = __ballot_sync(every_lane, full || (is_time && count > search.k));
        for (; rows != 0; rows &= rows - 1) {
            tighten(row + __ffs(static_cast<int>(rows)) - 1);
        }
    }

    __device__ void finish() {
        __syncwarp();
        const int row = own_row();
        search.counts[state_of(search, row)] = memory.counts[row];
    }

  private:
    __device__ void fetch(int tile) {
        coming = reinterpret_cast<const float4*>(search.sweep.cols.norms +
                                                 int64_t{tile} * tile_columns)[lane_of_thread()];
    }

    // One of the 32 of this warp for each lane.
    __device__ int own_row() const {
        const int lane = lane_of_thread();
        return lane < strip_rows ? row_a + lane : row_b + lane - strip_rows;
    }
    static __device__ int64_t packed_row(int row) { return int64_t{blockIdx.x} * block_rows + row; }
    static __device__ int64_t state_of(const ScreenedSearch& search, int row) {
        return packed_row(row) * search.segments + search.first_segment + blockIdx.y;
    }

    __device__ __forceinline__ void tighten(int row) {
        Candidate* list = candidates + row * stride;
        float limit = memory.limits[row];
        int count = memory.counts[row];
        const RowBound bound = bound_of(search, packed_row(row));
        if (count <= 64) {
            count = tightened<2>(list, row, count, bound, limit);
        } else if (count <= 128) {
            count = tightened<4>(list, row, count, bound, limit);
        } else if (count <= 256) {
            count = tightened<8>(list, row, count, bound, limit);
        } else {
            count = tightened_in_memory(list, row, count, bound, limit);
        }
        __syncwarp();
        if (count > search.room - tile_columns) {  // too many that the screen cannot tell apart
            limit = fmaxf(limit, confirm(search, row, list, count, bound));
        }
        __syncwarp();
        if (lane_of_thread() == 0) {
            memory.limits[row] = limit;
            memory.counts[row] = count;
        }
        __syncwarp();
    }

    __device__ bool admits(int row, const Candidate& one) const {
        return search.predicate.admits(search.first_query + packed_row(row), int64_t{one.column});
    }

    // Raises the limit to what the k-th best allows and drops what lies below; returns what is
    // left. Of equal numbers without error the first ones count, and they have come already.
    template <int held>
    __device__ __forceinline__ int tightened(Candidate* list, int row, int count,
                                             const RowBound& bound, float& limit) {
        const HeldCandidates<held> mine(list, count,
                                        [&](const Candidate& one) { return admits(row, one); });
        const auto k = static_cast<int>(search.k);
        if (mine.reached(1) <= k) return mine.write(list, 1);
        const float kth = mine.kth(k, search.exact ? all_digits : rough_digits);
        limit = fmaxf(limit, bound.limit_of_screened(kth));
        return mine.write(list, search.exact ? ordinal(kth) : ordinal(limit) + 1);
    }
    __device__ int tightened_in_memory(Candidate* list, int row, int count, const RowBound& bound,
                                       float& limit) {
        const auto k = static_cast<int>(search.k);
        count = compact(list, count, [&](const Candidate& one, int) { return admits(row, one); });
        if (count <= k) return count;
        uint32_t most = 0, least = ~0u;
        for (int i = lane_of_thread(); i < count; i += 32) {
            most = max(most, ordinal(list[i].value));
            least = min(least, ordinal(list[i].value));
        }
        const auto reached = [&](uint32_t wanted) {
            int mine = 0;
            for (int i = lane_of_thread(); i < count; i += 32) {
                mine += ordinal(list[i].value) >= wanted;
            }
            return static_cast<int>(__reduce_add_sync(every_lane, mine));
        };
        const float kth = from_ordinal(
            kth_largest(k, most, least, search.exact ? all_digits : rough_digits, reached));
        limit = fmaxf(limit, bound.limit_of_screened(kth));
        const float from = search.exact ? kth : limit;
        return compact(list, count, [&](const Candidate& one, int) {
            return search.exact ? one.value >= from : one.value > from;
        });
    }

    // Leaves the k nearest by canonical value; returns the limit that follows from the last of
    // them.
    static __device__ float confirm(const ScreenedSearch& search, int row, Candidate* candidates,
                                    int& count, const RowBound& bound) {
        const int64_t block = int64_t{blockIdx.y} * gridDim.x + blockIdx.x;
        const int warp = static_cast<int>(threadIdx.x) / 32 % warps_of_rows;
        double* values = search.scratch + (block * warps_of_rows + warp) * search.room;
        const int64_t query = search.first_query + packed_row(row);
        const bool normalised = search.metric.id == MetricId::cosine;
        if (normalised) {
            const NormalisedRow x(search.queries, search.query_scales, query);
            canonical_values<1>(
                search, x,
                [&](int64_t j) {
                    return NormalisedRow(search.references, search.reference_scales, j);
                },
                candidates, count, values);
        } else {
            const AnyRow x(search.queries, query);
            canonical_values<1>(
                search, x, [&](int64_t j) { return AnyRow(search.references, j); }, candidates,
                count, values);
        }
        const Neighbor last = kth_nearest(values, candidates, count, static_cast<int>(search.k));
        count = compact(candidates, count, [&](const Candidate& one, int i) {
            return !last.before({values[i], one.column});
        });
        return bound.limit_of_canonical(last.value, normalised);
    }
};

// --- The decision --------------------------------------------------------------------------------

constexpr int rescore_warps = 4;
constexpr int rescore_chunk = 64;       // candidates confirmed at a time
constexpr int rescore_features = 1024;  // of a query that waits in shared memory, in float64
constexpr int rescore_sorted = static_cast<int>(screened_short_k);
constexpr int rescore_held = rescore_sorted + rescore_chunk;

// Of two that lanes hold the earlier one for the lower lane, the later one for the other.
__device__ Neighbor one_of_two(const Neighbor& mine, int apart) {
    const Neighbor other = {__shfl_xor_sync(every_lane, mine.value, apart),
                            __shfl_xor_sync(every_lane, mine.index, apart)};
    const bool is_lower = lane_of_thread() < (lane_of_thread() ^ apart);
    return other.before(mine) == is_lower ? other : mine;
}

// Puts a list in order by a warp: a network of comparisons in which the first of two never is the
// later one, so that what is missing to a power of two need not be there. What is less than 32
// apart is compared in registers.
__device__ void sort_by_warp(Neighbor* list, int n) {
    const auto by_lanes = [&](const auto& network) {
        for (int first = 0; first < n; first += 32) {
            const int i = first + lane_of_thread();
            const Neighbor last = {INFINITY, INT64_MAX};
            const Neighbor one = network(i < n ? list[i] : last);
            if (i < n) list[i] = one;
        }
        __syncwarp();
    };
    const auto within = [](Neighbor one, int step) {
        for (; step > 0; step /= 2) one = one_of_two(one, step);
        return one;
    };
    by_lanes([&](Neighbor one) {
        for (int run = 2; run <= 32; run *= 2) {
            one = one_of_two(one, run - 1);  // the mirror image of the other half
            one = within(one, run / 4);
        }
        return one;
    });
    for (int run = 64; run / 2 < n; run *= 2) {
        for (int step = run / 2; step >= 32; step /= 2) {
            for (int i = lane_of_thread(); i < n; i += 32) {
                const int at = i & (2 * step - 1);
                if (at >= step) continue;
                const int other = step == run / 2 ? i + 2 * (step - at) - 1 : i + step;
                if (other >= n) continue;
                const Neighbor first = list[i], second = list[other];
                if (second.before(first)) list[i] = second, list[other] = first;
            }
            __syncwarp();
        }
        by_lanes([&](const Neighbor& one) { return within(one, 16); });
    }
}

// One warp per query: of the candidates of all segments those that may be among the k nearest,
// their canonical values, and the k first in the order of (value, index).
template <class D, bool is_long>
__global__ void __launch_bounds__(32 * rescore_warps, 4)
    rescore(const __grid_constant__ ScreenedSearch search, D* distances, int64_t* indices) {
    __shared__ Neighbor held[rescore_warps][is_long ? 1 : rescore_held];
    __shared__ Neighbor sorted[rescore_warps][is_long ? 1 : rescore_sorted];
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
    const int64_t d = search.queries.cols;
    const bool waits = d <= rescore_features, normalised = search.metric.id == MetricId::cosine;
    double* x = queries + warp * d;
    if (waits) {
        for (int64_t j = lane; j < d; j += 32) {
            x[j] = normalised ? normalised_element<double>(search.queries,
                                                           search.query_scales[query], query, j)
                              : element<double>(search.queries, query, j);
        }
        __syncwarp();
    }

    float limit = -INFINITY;
    const RowBound bound = bound_of(search, row);
    // only those that are admitted count
    int total = 0;
    uint32_t most = 0, least = ~0u;
    for (int64_t s = 0; s < segments; ++s) {
        for (int i = lane; i < counts[s]; i += 32) {
            Candidate& one = all[s * search.room + i];
            if (search.predicate.admits(query, int64_t{one.column})) {
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
    Neighbor* best = is_long ? search.lists + row * search.room : held[warp];
    const auto merge = [&] {
        __syncwarp();
        const auto values_of = [&](const auto& of_query) {
            const auto with = [&](const auto& read) {
                canonical_values<8>(search, of_query, read, chunk[warp], pending, values[warp]);
            };
            const Array& y = search.references;
            const int64_t step = y.col_stride;
            if (normalised) {
                with([&](int64_t j) { return NormalisedRow(y, search.reference_scales, j); });
            } else if (y.dtype == Dtype::float32 && step == 4) {
                with([&](int64_t j) { return DenseRow<float>(y, j); });
            } else if (y.dtype == Dtype::float64 && step == 8) {
                with([&](int64_t j) { return DenseRow<double>(y, j); });
            } else if (y.dtype == Dtype::bfloat16 && step == 2) {
                with([&](int64_t j) { return DenseRow<__nv_bfloat16>(y, j); });
            } else {
                with([&](int64_t j) { return AnyRow(y, j); });
            }
        };
        if (waits) {
            values_of(x);
        } else if (normalised) {
            values_of(NormalisedRow(search.queries, search.query_scales, query));
        } else {
            values_of(AnyRow(search.queries, query));
        }
        for (int i = lane; i < pending; i += 32) {
            best[length + i] = {values[warp][i], chunk[warp][i].column};
        }
        __syncwarp();
        const int n = length + pending;
        if constexpr (is_long) {
            length = n;
            if (n > static_cast<int>(search.room) - rescore_chunk) {
                sort_by_warp(best, n);
                length = min(n, k);
            }
        } else {
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
        }
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
    if constexpr (is_long) {
        sort_by_warp(best, length);
        length = min(length, k);
    }
    for (int c = lane; c < k; c += 32) {
        const Neighbor one = c < length ? best[c] : Neighbor{INFINITY, -1};
        const int64_t at = (search.first_query + row) * k + c;
        distances[at] = static_cast<D>(reported_of(search.metric.id, one.value));
        indices[at] = one.index;
    }
}

}  // namespace

int64_t screened_segments(int64_t rows, int64_t references, int64_t most) {
    const int64_t blocks = padded_rows(rows) / block_rows;
    const int64_t tiles = divided_up(references, tile_columns);
    const int64_t machine = multiprocessors();
    most = std::max<int64_t>(1, std::min({most, tiles / 32, divided_up(2 * machine, blocks)}));
    int64_t best = 1;
    double least = INFINITY;
    for (int64_t s = 1; s <= most; ++s) {
        // waves times tiles of a segment, with what the first tiles of each cost more
        const double cost = static_cast<double>(divided_up(blocks * s, machine)) *
                            (static_cast<double>(divided_up(tiles, s)) + 8.0);
        if (cost < least) least = cost, best = s;
    }
    return divided_up(tiles, divided_up(tiles, best));  // as many as there will be
}

void screened_sweep(const ScreenedSearch& search, TensorPath path, cudaStream_t stream) {
    run_tensor<Screen>("screened knn sweep", path, search.sweep, search, stream);
}

template <class D>
void screened_decision(const ScreenedSearch& search, D* distances, int64_t* indices,
                       cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(divided_up(search.sweep.rows.rows, rescore_warps));
    const int64_t d = search.queries.cols;
    const size_t shared = d <= rescore_features ? sizeof(double) * rescore_warps * d : 0;
    const auto decide = search.k > screened_short_k ? rescore<D, true> : rescore<D, false>;
    check(cudaFuncSetAttribute(decide, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)),
          "knn rescore");
    decide<<<blocks, 32 * rescore_warps, shared, stream>>>(search, distances, indices);
    check(cudaGetLastError(), "knn rescore");
}

template void screened_decision(const ScreenedSearch&, float*, int64_t*, cudaStream_t);
template void screened_decision(const ScreenedSearch&, double*, int64_t*, cudaStream_t);

}  // namespace pairtile::gpu
