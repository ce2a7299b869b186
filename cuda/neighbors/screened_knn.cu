#include "engine/tensor_sweep.cuh"
#include "neighbors/candidates.cuh"

namespace pairtile::gpu {
namespace {

// --- Choosing among candidates -------------------------------------------------------------------

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
        int mine = 0;
#pragma unroll
        for (int h = 0; h < held; ++h) mine += keys[h] >= wanted;
        return static_cast<int>(__reduce_add_sync(every_lane, mine));
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
        __syncwarp();  // all lanes have read theirs
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
        __syncwarp();  // all lanes have read theirs
        if (stays) candidates[kept + __popc(all & ((1u << lane_of_thread()) - 1))] = one;
        kept += __popc(all);
        __syncwarp();
    }
    return kept;
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

// Candidates of the rows of a warp, as the tiles come. Whenever a row has half as many again, or
// runs out of room, the k-th best so far tightens the limit.
struct Screen {
    using Params = ScreenedSearch;
    struct Memory {
        alignas(16) float half_norms[warps_of_rows][tile_columns];  // of the columns of a tile
        float limits[block_rows];
        int counts[block_rows];
        int most[block_rows];  // candidates until the limit is tightened
    };
    static constexpr int groups = tile_columns / 8;

    const ScreenedSearch& search;
    Memory& memory;
    const int row_a, row_b;
    Candidate* candidates;  // of the first row of the block
    int64_t stride;         // from row to row
    float* half_norms;
    float4 coming;  // norms of the next tile, on their way

    __device__ Screen(const ScreenedSearch& search, const TensorSweep& sweep, Memory& memory,
                      int row_a, int row_b)
        : search(search),
          memory(memory),
          row_a(row_a),
          row_b(row_b),
          candidates(search.candidates + state_of(search, 0) * search.room),
          stride(search.segments * search.room) {
        const int row = own_row();
        const bool there = packed_row(row) < sweep.rows.rows;
        const bool guessed = there && search.guesses != nullptr;
        memory.limits[row] = guessed ? search.guesses[packed_row(row)]
                             : there ? -INFINITY
                                     : INFINITY;
        memory.counts[row] = 0;
        memory.most[row] = most_after(0);
        half_norms = memory.half_norms[threadIdx.x / 32 % warps_of_rows];
        fetch(static_cast<int>(blockIdx.y) * sweep.tiles_per_segment);
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
        const int mine = row + lane_of_thread() % strip_rows;
        unsigned rows = __ballot_sync(every_lane, memory.counts[mine] > memory.most[mine]);
        rows &= (1u << strip_rows) - 1;
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

    // Candidates at which a row that is left with so many is due again.
    __device__ int most_after(int count) const {
        const int left = max(count, static_cast<int>(search.k));
        return min(left + max(left / 2, 32), static_cast<int>(search.room) - tile_columns);
    }

    __device__ __forceinline__ void tighten(int row) {
        Candidate* list = candidates + row * stride;
        float limit = memory.limits[row];
        // the same of all lanes, and so that the compiler knows: it lets every wgmma wait for the
        // one before where lanes might leave a loop that votes at different times
        int count = __reduce_max_sync(every_lane, memory.counts[row]);
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
            memory.most[row] = most_after(count);
        }
        __syncwarp();
    }

    __device__ bool may_be(int row, const Candidate& one) const {
        return admits(search, packed_row(row), one);
    }

    // Raises the limit to what the k-th best allows and drops what lies below; returns what is
    // left. Of equal numbers without error the first ones count, and they have come already.
    template <int held>
    __device__ __forceinline__ int tightened(Candidate* list, int row, int count,
                                             const RowBound& bound, float& limit) {
        const HeldCandidates<held> mine(list, count,
                                        [&](const Candidate& one) { return may_be(row, one); });
        const auto k = static_cast<int>(search.k);
        if (mine.reached(1) <= k) return mine.write(list, 1);
        const float kth = mine.kth(k, search.exact ? all_digits : rough_digits);
        limit = fmaxf(limit, bound.limit_of_screened(kth));
        return mine.write(list, search.exact ? ordinal(kth) : ordinal(limit) + 1);
    }
    __device__ int tightened_in_memory(Candidate* list, int row, int count, const RowBound& bound,
                                       float& limit) {
        const auto k = static_cast<int>(search.k);
        count = compact(list, count, [&](const Candidate& one, int) { return may_be(row, one); });
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
        const auto compute = [&](const auto& x, const auto& row_of) {
            canonical_values<1>(
                search, x, row_of, count, [&](int c) { return candidates[c].column; },
                [&](int c, double value) { values[c] = value; });
        };
        if (normalised) {
            compute(NormalisedRow(search.queries, search.query_scales, query), [&](int64_t j) {
                return NormalisedRow(search.references, search.reference_scales, j);
            });
        } else {
            compute(AnyRow(search.queries, query),
                    [&](int64_t j) { return AnyRow(search.references, j); });
        }
        const Neighbor last = kth_nearest(values, candidates, count, static_cast<int>(search.k));
        count = compact(candidates, count, [&](const Candidate& one, int i) {
            return !last.before({values[i], one.column});
        });
        return bound.limit_of_canonical(last.value, normalised);
    }
};

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

}  // namespace pairtile::gpu
