// A tile: what the micro-kernel makes of a panel of rows and a strip of columns. Here alone it is
// called, and here alone a Tile is made. Third station of the data flow.
#pragma once

#include <cstdint>

#include "engine/pack.hpp"

namespace pairtile {

template <class T>
struct Tile {
    T* data;
    int64_t ld;
    int rows, cols;                  // valid part
    int64_t row, col;                // global position of its first pair
    int64_t local_row;               // row within the packed rows
    int64_t local_col;               // column within the packed columns
    NormBound row_bound, col_bound;  // bounds over the rows of the tile, the columns of the strip
};

// Columns that the tiles of several row panels share; `col`, within the packed ones, begins a
// panel.
template <class T>
struct Strip {
    const Panels<T>& cols;
    int64_t col;
    int width;
    NormBound bound;

    Strip(const Panels<T>& packed, int64_t first, int64_t count)
        : cols(packed),
          col(first),
          width(static_cast<int>(count)),
          bound(packed.largest_norm_bound(first, first + count)) {}
};

// out = core(rows, columns) of the row panel that begins with `row` and `width` columns from the
// panel on that begins with `col`; dot products begin with a number of each packed column (null:
// 0).
template <class T>
void compute_core(const Ops<T>& ops, Core core, const Panels<T>& rows, int64_t row,
                  const Panels<T>& cols, int64_t col, int width, const T* bias, T* out,
                  int64_t ld) {
    const int panels = static_cast<int>((width + ops.cols - 1) / ops.cols);
    ops.core[static_cast<int>(core)](rows.panel_of(row), cols.panel_of(col), rows.d, panels,
                                     bias ? bias + col : nullptr, out, ld);
}

// The tile of `height` rows from `row` on, whose numbers are at `data` or will be.
template <class T>
Tile<T> tile_at(const Panels<T>& rows, int64_t row, int64_t height, const Strip<T>& strip, T* data,
                int64_t ld) {
    return {data,
            ld,
            static_cast<int>(height),
            strip.width,
            rows.first + row,
            strip.cols.first + strip.col,
            row,
            strip.col,
            rows.largest_norm_bound(row, row + height),
            strip.bound};
}

// Computes it as the formula says.
template <class T>
void fill_tile(const Ops<T>& ops, const TileFormula& formula, const Panels<T>& rows,
               const Strip<T>& strip, const Tile<T>& tile) {
    if (formula.metric) {
        const int panels = static_cast<int>((strip.width + ops.cols - 1) / ops.cols);
        ops.canonical[static_cast<int>(formula.metric->id)](
            rows.panel_of(tile.local_row), strip.cols.panel_of(strip.col), rows.d, panels,
            formula.metric->params, tile.data, tile.ld);
        return;
    }
    compute_core(ops, formula.core, rows, tile.local_row, strip.cols, strip.col, strip.width,
                 strip.cols.bias.data(), tile.data, tile.ld);
    if (formula.divide_by_union) {
        ops.divide_by_union(tile.data, tile.ld, tile.rows, tile.cols,
                            rows.norms.data() + tile.local_row,
                            strip.cols.norms.data() + tile.local_col);
    }
}

// Both.
template <class T>
Tile<T> compute_tile(const Ops<T>& ops, const TileFormula& formula, const Panels<T>& rows,
                     int64_t row, int64_t height, const Strip<T>& strip, T* data, int64_t ld) {
    const Tile<T> tile = tile_at(rows, row, height, strip, data, ld);
    fill_tile(ops, formula, rows, strip, tile);
    return tile;
}

}  // namespace pairtile
