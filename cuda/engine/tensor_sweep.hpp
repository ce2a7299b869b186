// What a tensor-core sweep works on: packed rows against packed columns, the parts to multiply, and
// how the blocks are cut. Which path takes it is decided here, once for each device.
#pragma once

#include "engine/panels.hpp"

namespace pairtile::gpu {

constexpr int block_rows = 256;           // query rows of a block: two panels
constexpr int tile_columns = panel_rows;  // columns of a tile: one panel
constexpr int strip_rows = 16;            // a warp holds two strips of 16 rows by 128 columns
constexpr int warps_of_rows = 8;

enum class TensorPath : int { none, mma, wgmma };

// Which parts are multiplied, small products first, so that what they add up to is not cut off
// beside large ones.
struct PartProducts {
    int count;
    int8_t row_part[8], col_part[8];
};
inline PartProducts products_of(int parts) {
    if (parts == 1) return {1, {0}, {0}};
    if (parts == 2) return {3, {1, 0, 0}, {0, 1, 0}};
    return {6, {2, 1, 0, 1, 0, 0}, {0, 1, 2, 0, 1, 0}};
}
// Of three parts, all but the smallest one.
inline PartProducts eight_products() {
    return {8, {2, 1, 2, 1, 0, 1, 0, 0}, {1, 2, 0, 1, 2, 0, 1, 0}};
}
// Rows of one or two parts, columns of up to three.
inline PartProducts products_of(int row_parts, int col_parts) {
    if (row_parts == 1) {
        if (col_parts == 1) return {1, {0}, {0}};
        return {2, {0, 0}, {1, 0}};
    }
    if (col_parts == 1) return {2, {1, 0}, {0, 0}};
    if (col_parts == 2) return {4, {1, 1, 0, 0}, {1, 0, 1, 0}};
    return {5, {1, 0, 1, 0, 0}, {1, 2, 0, 1, 0}};
}

struct TensorSweep {
    Panels rows, cols;
    PartProducts products;
    int row_blocks, col_tiles;
    int segments, tiles_per_segment;
    int slices_of_row, last_depth;  // of the last slice of a row, in steps of mma_depth
    bool triangle = false;          // only tiles that reach beyond the diagonal,
    int diagonal = 0;               // which begins at this tile of the first row
    int staying = 0;                // slices of a row that stay in shared memory, where not all do

    PAIRTILE_HD int slices() const { return slices_of_row; }
    PAIRTILE_HD int64_t row_panel_bytes() const {
        return int64_t{slice_bytes} * slices() * rows.parts;
    }
    PAIRTILE_HD int64_t col_panel_bytes() const {
        return int64_t{slice_bytes} * slices() * cols.parts;
    }
};

inline TensorSweep tensor_sweep(const Panels& rows, const Panels& cols, int64_t segments) {
    const int64_t tiles = divided_up(cols.rows, tile_columns), width = divided_up(tiles, segments);
    const auto small = [](int64_t n) { return static_cast<int>(n); };
    return {rows,
            cols,
            products_of(rows.parts),
            small(padded_rows(rows.rows) / block_rows),
            small(tiles),
            small(divided_up(tiles, width)),
            small(width),
            rows.slices_per_row(),
            rows.last_steps()};
}

// What x̂·ŷ of d features may be off by as tensor cores add it up, where ‖x̂‖ ≤ x and ‖ŷ‖ ≤ y.
// Products are exact; L of them and the sum so far are aligned to the largest, which is at most x
// y, and what lies F bits below it is cut off, at most one unit for each of L + 1 terms; so is what
// the sum has more than float32. That is 11 units of 2^-24 for every 8 features where L = 8 and F =
// 24 (compute capability 8.x), less where L = 16 and F = 25 (9.0). One more step and nearly twice
// the units leave room for hardware that cuts off in smaller groups.
PAIRTILE_HD float tensor_core_error(int64_t d, float x, float y) {
    const auto steps = static_cast<float>((d + 7) / 8 + 1);
    return steps * 20.0f * 0x1p-24f * x * y;
}

// What the current device can run of what was built; `most` leaves out what is beyond it.
TensorPath tensor_path(TensorPath most = TensorPath::wgmma);
int multiprocessors();
int shared_bytes_per_block();
// Takes a device for one whose blocks have no more than this, as those of most kinds: for tests.
void limit_shared_bytes(int most);

// The number of pieces, up to `most`, of `length` for which waves of blocks take least; `extra` is
// what a piece costs besides its length.
int64_t best_pieces(int64_t blocks, int64_t length, int64_t most, double extra);

}  // namespace pairtile::gpu
