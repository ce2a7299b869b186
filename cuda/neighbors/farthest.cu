// Canonical values of pairs of one group, folded to the farthest one of each row: a tile beyond the
// diagonal by rows, in registers, and by columns, a warp for each.
#include "neighbors/farthest.hpp"

#include "engine/row_fold.cuh"
#include "neighbors/embedding_pairs.cuh"

namespace pairtile::gpu {
namespace {

// Ordered values as whole numbers in the same order, those of a metric having zeros of one sign; 0
// is less than any.
__device__ uint64_t ordinal(double value) {
    const auto bits = bits_as<unsigned long long>(value);
    return bits >> 63 != 0 ? ~bits : bits | 1ull << 63;
}

template <class Pairs>
struct PushFarthest {
    const FarthestSearch& search;
    const Place& place;
    int64_t group;
    FarthestRow farthest;

    __device__ void operator()(const Pairs& pairs, int64_t first) {
        const bool mirrored = first > place.first_query();
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            double value = NAN;  // of no pair
            if (place.has_query() && j < place.end && j != place.query &&
                search.groups[j] == group) {
                value = pairs.value(p, place.query, j);
                farthest.push(value, j);
            }
            if (mirrored && j < place.end) push_column(value, j);
        }
    }

  private:
    // The first of the farthest rows of a column; a warp has all 32 of the tile.
    __device__ void push_column(double value, int64_t j) {
        const uint64_t key = value == value ? ordinal(value) : 0;
        const auto high = static_cast<unsigned>(key >> 32), low = static_cast<unsigned>(key);
        const unsigned most = __reduce_max_sync(~0u, high);
        const unsigned rest = __reduce_max_sync(~0u, high == most ? low : 0u);
        const unsigned who = __ballot_sync(~0u, high == most && low == rest);
        if (place.row != __ffs(static_cast<int>(who)) - 1) return;
        FarthestRow& column = search.columns[blockIdx.x * search.sweep.references.rows + j];
        column = {};
        if (key != 0) column = {value, place.query};
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

// A thread for each row from the first one of the sweep on.
__global__ void __launch_bounds__(block_threads)
    farthest_merge(const __grid_constant__ FarthestSearch search, double* values,
                   int64_t* indices) {
    const int64_t behind = row_of_thread(), row = search.sweep.first_row + behind;
    const int64_t rows = search.sweep.references.rows;
    if (row >= rows) return;
    FarthestRow found;
    if (indices[row] >= 0) found = {values[row], indices[row]};
    if (behind < search.sweep.rows) found.merge(merged(search.states, search.sweep, behind));
    // of the tiles before its own
    const int64_t all = (search.sweep.rows + tile_rows - 1) / tile_rows, own = behind / tile_rows;
    for (int64_t tile = 0; tile < (own < all ? own : all); ++tile) {
        found.merge(search.columns[tile * rows + row]);
    }
    values[row] = found.index < 0 ? NAN : found.value;
    indices[row] = found.index;
}

}  // namespace

void farthest_of_group(const FarthestSearch& search, double* values, int64_t* indices,
                       cudaStream_t stream) {
    with_embedding_pairs(search.metric.id, [&]<class Pairs>() {
        launch("farthest sweep", farthest_sweep<Pairs>, grid_of(search.sweep), block_threads,
               stream, search);
    });
    const int64_t rows = search.sweep.references.rows - search.sweep.first_row;
    const auto blocks = static_cast<unsigned>(divided_up(rows, block_threads));
    launch("farthest merge", farthest_merge, blocks, block_threads, stream, search, values,
           indices);
}

}  // namespace pairtile::gpu
