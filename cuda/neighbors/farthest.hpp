// The farthest other row of the same group: the hardest positive of a triplet.
#pragma once

#include <cuda_runtime.h>

#include "engine/sweep.hpp"

namespace pairtile::gpu {

// The largest ordered value, of equal ones the first; NaN is none.
struct FarthestRow {
    double value = -INFINITY;
    int64_t index = -1;

    PAIRTILE_HD void push(double other, int64_t at) {
        if (index < 0 ? other == other : other > value || (other == value && at < index)) {
            value = other;
            index = at;
        }
    }
    PAIRTILE_HD void merge(const FarthestRow& other) {
        if (other.index >= 0) push(other.value, other.index);
    }
};

struct FarthestSearch {
    Sweep sweep;  // of one set and itself, a triangle
    Metric metric;
    const int64_t* groups;
    FarthestRow* states;
    // Of each tile of rows of the sweep, for every column: the farthest of those rows, which is
    // written of the columns behind the tile.
    FarthestRow* columns;
};

constexpr int64_t farthest_state_bytes = slots * int64_t{sizeof(FarthestRow)};
constexpr int64_t farthest_least_width = 256;

// Merges the pairs of the sweep into the ordered values and indices of all rows: NaN and −1 of
// those that have none so far. A pair is computed once and serves both of its rows.
void farthest_of_group(const FarthestSearch& search, double* values, int64_t* indices,
                       cudaStream_t stream);

}  // namespace pairtile::gpu
