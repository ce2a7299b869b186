#include "neighbors/screened_radius.hpp"

#include <cuda_bf16.h>

#include "engine/tensor_sweep.cuh"
#include "neighbors/canonical_pair.cuh"
#include "neighbors/screen_bound.cuh"

namespace pairtile::gpu {
namespace {

// --- Limits --------------------------------------------------------------------------------------

// Of whole numbers: the squared distances up to some number are inside, found by asking.
__device__ float limit_of_whole(const ScreenedRadius& search, double square, double radius) {
    const auto holds = [&](int squared) {
        const double ordered = search.metric.id == MetricId::cosine ? 0.5 * squared : squared;
        return search.ball.holds(reported_of(search.metric.id, ordered), radius);
    };
    if (!holds(0)) return INFINITY;
    int last = 0, beyond = (1 << 23) + 1;  // no squared distance of an exact screen is larger
    while (beyond - last > 1) {
        const int middle = last + (beyond - last) / 2;
        if (holds(middle)) {
            last = middle;
        } else {
            beyond = middle;
        }
    }
    return __double2float_rd(0.5 * (square - last) - 0.25);
}

// One thread per packed row, also of those beyond the last one, which are in no ball.
__global__ void __launch_bounds__(block_threads)
    radius_limits(const __grid_constant__ ScreenedRadius search,
                  const __grid_constant__ Panels panels, const double* radii,
                  const PackFindings* of_others, RadiusLimits* limits) {
    const int64_t row = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    limits[row] = {INFINITY, INFINITY};
    if (row >= panels.rows) return;
    const double radius = radii[row];
    if (!(radius >= 0.0)) return;
    const RowBound bound(panels, row, *of_others, false, search.exact);
    if (search.exact) {
        const float limit = limit_of_whole(search, static_cast<double>(bound.square), radius);
        limits[row] = {limit, limit};
        return;
    }
    // Narrow distances have half a unit of 2^-23 or of the least float32; what wide ones and
    // canonical values are off by is far less.
    const auto squared = [&](double distance) {
        const double least = fmax(0.0, distance), largest = 0x1p100;  // no pair is that far
        switch (search.metric.id) {
            case MetricId::cosine:
                return fmin(2.0 * least, largest);
            case MetricId::euclidean:
            case MetricId::weuclidean:
            case MetricId::mahalanobis:
                return fmin(least * least, largest);
            default:
                return fmin(least, largest);
        }
    };
    limits[row] = bound.limits_of_radius(squared(radius * (1 - 0x1p-22) - 0x1p-140),
                                         squared(radius * (1 + 0x1p-22) + 0x1p-140));
}

// --- The sweep -----------------------------------------------------------------------------------

// Returns what was counted before.
__device__ int64_t add(int64_t* counts, int64_t i, int64_t more) {
    return static_cast<int64_t>(atomicAdd(reinterpret_cast<unsigned long long*>(counts + i),
                                          static_cast<unsigned long long>(more)));
}

// Whose radii, and whether pairs are listed in place of being counted.
enum class Balls { of_queries, of_references, of_both, of_queries_listed };

// For the radii of queries a row compares x̂·ŷ − ½‖ŷ‖² with its limits, for those of references a
// column compares x̂·ŷ − ½‖x̂‖².
template <Balls balls>
struct InsideBalls {
    using Params = ScreenedRadius;
    static constexpr bool listed = balls == Balls::of_queries_listed;
    static constexpr bool of_queries = balls != Balls::of_references;
    static constexpr bool of_references = balls == Balls::of_references || balls == Balls::of_both;
    static constexpr int groups = tile_columns / 8;
    static constexpr int column_pairs = tile_columns / 2;

    struct Columns {
        float4 compared[column_pairs];  // half norms of two columns, then what is outside
        float2 inside[column_pairs];
        // Those inside of this tile: in the two low bytes by the radii of queries, of the left and
        // the right column; in the high ones by those of references. A warp has 32 rows.
        uint32_t counts[column_pairs];
    };
    struct Memory {
        alignas(16) Columns columns[warps_of_rows];
        float outside[block_rows], inside[block_rows], half_norms[block_rows];
    };
    // Of the upper and the lower row of a lane in a strip.
    struct Counts {
        int in_own_upper = 0, in_own_lower = 0, in_others_upper = 0, in_others_lower = 0;

        __device__ void add(bool lower, bool in_own, bool in_others) {
            if constexpr (of_queries) (lower ? in_own_lower : in_own_upper) += in_own;
            if constexpr (of_references) (lower ? in_others_lower : in_others_upper) += in_others;
        }
        __device__ void add(const Counts& more) {
            in_own_upper += more.in_own_upper;
            in_own_lower += more.in_own_lower;
            in_others_upper += more.in_others_upper;
            in_others_lower += more.in_others_lower;
        }
    };

    const ScreenedRadius& search;
    Memory& memory;
    Columns& own;
    const int row_a, row_b;
    const bool counts_columns;
    int tile_before = -1;
    Counts of_a, of_b;
    float4 coming, coming_limits, coming_limits_after;  // of the next tile, on their way

    __device__ InsideBalls(const ScreenedRadius& search, const TensorSweep& sweep, Memory& memory,
                           int row_a, int row_b)
        : search(search),
          memory(memory),
          own(memory.columns[threadIdx.x / 32 % warps_of_rows]),
          row_a(row_a),
          row_b(row_b),
          counts_columns(!listed && ((of_queries && search.by_query_radii.of_references) ||
                                     (of_references && search.by_reference_radii.of_references))) {
        const int lane = lane_of_thread();
        const int row = lane < strip_rows ? row_a + lane : row_b + lane - strip_rows;
        if constexpr (of_queries) {
            const RadiusLimits limits = search.row_limits[packed_row(row)];
            memory.outside[row] = limits.outside;
            memory.inside[row] = limits.inside;
        }
        memory.half_norms[row] = 0.5f * sweep.rows.norms[packed_row(row)];
        fetch(Segment(sweep).first);
        __syncwarp();
    }

    __device__ void columns(int tile) {
        const int lane = lane_of_thread();
        __syncwarp();  // the tile before is done with
        if (counts_columns && tile_before >= 0) add_columns(tile_before);
        tile_before = tile;
        own.compared[2 * lane] = {0.5f * coming.x, 0.5f * coming.y, coming_limits.x,
                                  coming_limits.z};
        own.compared[2 * lane + 1] = {0.5f * coming.z, 0.5f * coming.w, coming_limits_after.x,
                                      coming_limits_after.z};
        own.inside[2 * lane] = {coming_limits.y, coming_limits.w};
        own.inside[2 * lane + 1] = {coming_limits_after.y, coming_limits_after.w};
        own.counts[2 * lane] = own.counts[2 * lane + 1] = 0;
        __syncwarp();
        if (tile + 1 < search.sweep.col_tiles) fetch(tile + 1);
    }

    __device__ __forceinline__ void strip(const Strip& values, int row, int tile) {
        const int lane = lane_of_thread();
        const int upper = row + lane / 4, lower = upper + 8;
        const float outside_upper = of_queries ? memory.outside[upper] : INFINITY;
        const float outside_lower = of_queries ? memory.outside[lower] : INFINITY;
        const float half_upper = memory.half_norms[upper], half_lower = memory.half_norms[lower];
        // of the lane's first column, how far before the upper row; a pair with itself is left out
        const int64_t before =
            search.first_query + packed_row(upper) - first_column(tile) - 2 * (lane % 4);
        const bool meets = search.exclude_self && before >= -8 && before < tile_columns;
        const int itself_upper = meets ? static_cast<int>(before) : -16;
        const int itself_lower = itself_upper + 8;
        Counts counts;
        uint64_t aside = 0;
        constexpr int together = 4;
#pragma unroll
        for (int first = 0; first < groups; first += together) {
            bool some = false;
            {
                float own_upper = -INFINITY, own_lower = -INFINITY;
                float others_upper = -INFINITY, others_lower = -INFINITY;
#pragma unroll
                for (int g = first; g < first + together; ++g) {
                    const auto [x, y, z, w] = own.compared[4 * g + lane % 4];
                    if constexpr (of_queries) {
                        own_upper = fmaxf(own_upper, fmaxf(values[g][0] - x, values[g][1] - y));
                        own_lower = fmaxf(own_lower, fmaxf(values[g][2] - x, values[g][3] - y));
                    }
                    if constexpr (of_references) {
                        others_upper =
                            fmaxf(others_upper, fmaxf(values[g][0] - z, values[g][1] - w));
                        others_lower =
                            fmaxf(others_lower, fmaxf(values[g][2] - z, values[g][3] - w));
                    }
                }
                if constexpr (of_queries) {
                    some |= own_upper > outside_upper || own_lower > outside_lower;
                }
                // rounding is monotone: what is compared below cannot pass where this does not
                if constexpr (of_references) {
                    some |= others_upper >= half_upper || others_lower >= half_lower;
                }
            }
            if (!__any_sync(every_lane, some)) continue;
            const float inside_upper = of_queries ? memory.inside[upper] : INFINITY;
            const float inside_lower = of_queries ? memory.inside[lower] : INFINITY;
#pragma unroll
            for (int g = first; g < first + together; ++g) {
                const float4 compared = own.compared[4 * g + lane % 4];
                const float2 inside = own.inside[4 * g + lane % 4];
                uint32_t of_columns = 0;
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const bool is_lower = e >= 2, right = e % 2 != 0;
                    const float in_row = values[g][e] - (right ? compared.y : compared.x);
                    const float in_column = values[g][e] - (is_lower ? half_lower : half_upper);
                    const bool in_own =
                        of_queries && in_row > (is_lower ? inside_lower : inside_upper);
                    const bool in_others =
                        of_references && in_column > (right ? inside.y : inside.x);
                    const bool maybe_own =
                        of_queries && in_row > (is_lower ? outside_lower : outside_upper);
                    const bool maybe_others =
                        of_references && in_column > (right ? compared.w : compared.z);
                    if (8 * g + e % 2 == (is_lower ? itself_lower : itself_upper)) continue;
                    // inside implies maybe
                    if (listed ? maybe_own : in_own != maybe_own || in_others != maybe_others) {
                        aside |= uint64_t{1} << (4 * g + e);
                        continue;
                    }
                    counts.add(is_lower, in_own, in_others);
                    of_columns += in_columns(right, in_own, in_others);
                }
                if (counts_columns && __any_sync(every_lane, of_columns != 0)) {
#pragma unroll
                    for (int other = 4; other < 32; other *= 2) {
                        of_columns += __shfl_xor_sync(every_lane, of_columns, other);
                    }
                    if (lane < 4) own.counts[4 * g + lane] += of_columns;
                }
            }
        }
        if (__any_sync(every_lane, aside != 0)) set_aside(aside, row, tile);
        if constexpr (listed) return;
        if (row == row_a) {
            of_a.add(counts);
        } else {
            of_b.add(counts);
        }
    }

    __device__ void finish() {
        __syncwarp();
        if (counts_columns && tile_before >= 0) add_columns(tile_before);
        if constexpr (!listed) {
            add_rows(of_a, row_a);
            add_rows(of_b, row_b);
        }
    }

  private:
    static __device__ int64_t packed_row(int row) { return int64_t{blockIdx.x} * block_rows + row; }
    __device__ int64_t first_column(int tile) const {
        return search.first_reference + int64_t{tile} * tile_columns;
    }
    static __device__ uint32_t in_columns(bool right, bool in_own, bool in_others) {
        const uint32_t left = (in_own ? 1u : 0u) | (in_others ? 1u << 16 : 0u);
        return right ? left << 8 : left;
    }

    __device__ void fetch(int tile) {
        const int lane = lane_of_thread();
        const int64_t at = int64_t{tile} * tile_columns;
        if (tile >= search.sweep.col_tiles) return;
        coming = reinterpret_cast<const float4*>(search.sweep.cols.norms + at)[lane];
        if constexpr (of_references) {
            const auto* limits = reinterpret_cast<const float4*>(search.col_limits + at);
            coming_limits = limits[2 * lane];
            coming_limits_after = limits[2 * lane + 1];
        } else {
            coming_limits = coming_limits_after = {INFINITY, INFINITY, INFINITY, INFINITY};
        }
    }

    // The counts of a tile, to those of all.
    __device__ void add_columns(int tile) {
        const int lane = lane_of_thread();
#pragma unroll
        for (int c = lane; c < tile_columns; c += 32) {
            const uint32_t both = own.counts[c / 2] >> (c % 2 * 8);
            const int in_own = both & 0xff, in_others = both >> 16 & 0xff;
            const int64_t j = first_column(tile) + c;
            if constexpr (of_queries) {
                int64_t* counts = search.by_query_radii.of_references;
                if (counts && in_own != 0) add(counts, j, in_own);
            }
            if constexpr (of_references) {
                int64_t* counts = search.by_reference_radii.of_references;
                if (counts && in_others != 0) add(counts, j, in_others);
            }
        }
        __syncwarp();
    }

    __device__ void add_rows(const Counts& counts, int row) {
        const auto add_row = [&](int64_t* of_all, int count, int within) {
            count += __shfl_xor_sync(every_lane, count, 1);
            count += __shfl_xor_sync(every_lane, count, 2);
            const int64_t packed = packed_row(row + within);
            if (of_all && lane_of_thread() % 4 == 0 && count != 0) {
                add(of_all, search.first_query + packed, count);
            }
        };
        const int upper = lane_of_thread() / 4, lower = upper + 8;
        if constexpr (of_queries) {
            add_row(search.by_query_radii.of_queries, counts.in_own_upper, upper);
            add_row(search.by_query_radii.of_queries, counts.in_own_lower, lower);
        }
        if constexpr (of_references) {
            add_row(search.by_reference_radii.of_queries, counts.in_others_upper, upper);
            add_row(search.by_reference_radii.of_queries, counts.in_others_lower, lower);
        }
    }

    // Numbers the pairs of these bits, and puts them where the lanes count that they come.
    __device__ __forceinline__ void set_aside(uint64_t pairs, int row, int tile) {
        const int lane = lane_of_thread();
        const int own_pairs = __popcll(static_cast<int64_t>(pairs));
        int up_to = own_pairs;
#pragma unroll
        for (int from = 1; from < 32; from *= 2) {
            const int more = __shfl_up_sync(every_lane, up_to, from);
            if (lane >= from) up_to += more;
        }
        unsigned long long place = 0;
        if (lane == 31) place = atomicAdd(search.found, static_cast<unsigned long long>(up_to));
        place = __shfl_sync(every_lane, place, 31) + up_to - own_pairs;
        const auto width = static_cast<uint32_t>(search.sweep.cols.rows);
        const uint32_t first = static_cast<uint32_t>(packed_row(row + lane / 4)) * width +
                               tile * tile_columns + 2 * (lane % 4);
        for (; pairs != 0; pairs &= pairs - 1, ++place) {
            const int bit = __ffsll(static_cast<int64_t>(pairs)) - 1, g = bit / 4, e = bit % 4;
            if (place < search.room) {
                search.pairs[place] = first + 8 * g + e % 2 + (e < 2 ? 0 : 8 * width);
            }
        }
    }
};

// --- The decision --------------------------------------------------------------------------------

__device__ double canonical(const ScreenedRadius& search, int64_t i, int64_t j) {
    const Array &x = search.queries, &y = search.references;
    if (search.metric.id == MetricId::cosine) {
        return canonical_by_eight<1>(search.metric, x.cols,
                                     NormalisedRow(x, search.query_scales, i),
                                     NormalisedRow(y, search.reference_scales, j));
    }
    const auto dense = [&](const auto& of_query, const auto& of_reference) {
        return canonical_by_eight<4>(search.metric, x.cols, of_query, of_reference);
    };
    const auto both_dense = [&](Dtype dtype, int64_t bytes) {
        return !is_mapped(search.metric.id) && x.dtype == dtype && y.dtype == dtype &&
               x.col_stride == bytes && y.col_stride == bytes;
    };
    if (both_dense(Dtype::float32, 4)) return dense(DenseRow<float>(x, i), DenseRow<float>(y, j));
    if (both_dense(Dtype::float64, 8)) return dense(DenseRow<double>(x, i), DenseRow<double>(y, j));
    if (both_dense(Dtype::bfloat16, 2)) {
        return dense(DenseRow<__nv_bfloat16>(x, i), DenseRow<__nv_bfloat16>(y, j));
    }
    return canonical_by_eight<2>(search.metric, x.cols, AnyRow(x, i), AnyRow(y, j));
}

// Eight lanes per pair. Counted by query, and by reference, or, with `values`, listed: the value of
// what is outside becomes NaN.
__global__ void __launch_bounds__(block_threads, 2)
    radius_decision(const __grid_constant__ ScreenedRadius search, double* values) {
    if (*search.found > search.room) return;
    const auto pairs = static_cast<int64_t>(*search.found);
    const auto columns = static_cast<uint32_t>(search.sweep.cols.rows);
    const int64_t warps = int64_t{gridDim.x} * (block_threads / 32);
    const int64_t warp = int64_t{blockIdx.x} * (block_threads / 32) + threadIdx.x / 32;
    for (int64_t first = 4 * warp; first < pairs; first += 4 * warps) {
        const int64_t mine = first + lane_of_thread() / 8, at = mine < pairs ? mine : pairs - 1;
        const uint32_t pair = search.pairs[at];
        const int64_t i = search.first_query + pair / columns;
        const int64_t j = search.first_reference + pair % columns;
        const double value = canonical(search, i, j);
        if (lane_of_thread() % 8 != 0 || mine >= pairs) continue;
        const double distance = reported_of(search.metric.id, value);
        const auto count = [&](const RadiusCounts& counts, bool inside) {
            if (inside && counts.of_queries) add(counts.of_queries, i, 1);
            if (inside && counts.of_references) add(counts.of_references, j, 1);
            return inside;
        };
        if (const double* radii = search.by_query_radii.radii) {
            const bool inside = count(search.by_query_radii, search.ball.holds(distance, radii[i]));
            if (values) values[at] = inside ? value : NAN;
        }
        if (const double* radii = search.by_reference_radii.radii) {
            count(search.by_reference_radii, search.ball.holds(distance, radii[j]));
        }
    }
}

// A thread per listed pair.
__global__ void __launch_bounds__(block_threads)
    radius_placement(const __grid_constant__ ListedPairs listed,
                     const __grid_constant__ RadiusRows rows) {
    const int64_t at = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (at >= listed.count) return;
    const double value = listed.values[at];
    if (value != value) return;
    const uint32_t pair = listed.pairs[at];
    const int64_t place = add(rows.next, listed.first_query + pair / listed.columns, 1);
    rows.indices[place] = listed.first_reference + pair % listed.columns;
    rows.values[place] = value;
}

}  // namespace

int64_t screened_radius_segments(int64_t rows, int64_t references) {
    const int64_t blocks = padded_rows(rows) / block_rows;
    const int64_t tiles = divided_up(references, tile_columns);
    const int64_t wanted = divided_up(2 * multiprocessors(), blocks);
    return std::max<int64_t>(1, std::min(wanted, tiles / 8));
}

void screened_radius_sweep(const ScreenedRadius& search, bool listed, TensorPath path,
                           cudaStream_t stream) {
    const char* name = "screened radius sweep";
    const auto limits = [&](const Panels& panels, const double* radii,
                            const PackFindings* of_others, RadiusLimits* out) {
        const auto blocks = static_cast<unsigned>(padded_rows(panels.rows) / block_threads);
        launch("radius limits", radius_limits, blocks, block_threads, stream, search, panels, radii,
               of_others, out);
    };
    const double* of_queries = search.by_query_radii.radii;
    const double* of_references = search.by_reference_radii.radii;
    if (of_queries) {
        limits(search.sweep.rows, of_queries + search.first_query, search.of_cols,
               search.row_limits);
    }
    if (of_references) {
        limits(search.sweep.cols, of_references + search.first_reference, search.of_rows,
               search.col_limits);
    }
    const auto run = [&]<Balls balls>() {
        run_tensor<InsideBalls<balls>>(name, path, search.sweep, search, stream);
    };
    if (listed) {
        run.template operator()<Balls::of_queries_listed>();
    } else if (of_queries && of_references) {
        run.template operator()<Balls::of_both>();
    } else if (of_queries) {
        run.template operator()<Balls::of_queries>();
    } else {
        run.template operator()<Balls::of_references>();
    }
}

void screened_radius_decision(const ScreenedRadius& search, double* values, cudaStream_t stream) {
    const int64_t wanted = divided_up(static_cast<int64_t>(search.room), block_threads / 8);
    const auto blocks = static_cast<unsigned>(std::min<int64_t>(wanted, 8 * multiprocessors()));
    launch("radius decision", radius_decision, blocks, block_threads, stream, search, values);
}

void screened_radius_placement(const ListedPairs& listed, const RadiusRows& rows,
                               cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(divided_up(listed.count, block_threads));
    launch("radius placement", radius_placement, blocks, block_threads, stream, listed, rows);
}

}  // namespace pairtile::gpu
