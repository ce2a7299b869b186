// What one pass of the tile loop works on: the arrays, the rows of this launch, and the cut.
#pragma once

#include "engine/array.hpp"
#include "engine/plan.hpp"
#include "pairtile/metric/metric.hpp"

namespace pairtile::gpu {

// Queries [first_row, first_row + rows) against all references; grid (row blocks, segments).
struct Sweep {
    Array queries, references;
    const RowScale* query_scales;  // null unless rows are normalised
    const RowScale* reference_scales;
    int64_t first_row, rows;
    Cut cut;
    bool triangle;      // only references after the query's own row
    int64_t block = 0;  // only references in the query's block of this many rows; 0: all of them

    int64_t row_blocks() const { return divided_up(rows, tile_rows); }
};

}  // namespace pairtile::gpu
