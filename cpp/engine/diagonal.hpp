// A sweep along a diagonal: rows and columns lie in groups of one size, and only the pairs within a
// group are wanted. A task packs whole groups and computes no more than the tiles that touch one.
#pragma once

#include <concepts>

#include "engine/sweep.hpp"

namespace pairtile {

// Each group belongs to one task. Tiles may hold pairs of neighbouring groups too.
template <class Fold, class T>
concept DiagonalFold = requires(Fold& fold, const Tile<T>& tile, const Panels<T>& rows,
                                int worker) {
    fold.tile(tile, rows, worker);
};

template <class T, DiagonalFold<T> Fold>
void run(const Sweep<T>& sweep, Fold& fold) {
    struct Workspace {
        Panels<T> rows, cols;
        Buffer<T> tile;
    };
    const Ops<T>& ops = ops_of<T>(isa());
    const int64_t n = sweep.rows.rows(), size = sweep.group, share = sweep.blocking.row_block;
    const int64_t strip_cols = sweep.blocking.strip;
    detail::refuse_reader(sweep);
    std::vector<Workspace> workspace(static_cast<size_t>(sweep.control.workers()));
    parallel_for((n + share - 1) / share, sweep.control, [&](int64_t task, int worker) {
        Workspace& mine = workspace[static_cast<size_t>(worker)];
        const int64_t first = task * share, count = std::min(share, n - first);
        take_rows(sweep, first, count, 1, mine.rows);
        take_cols(sweep, first, count, 1, mine.cols);
        mine.tile.reserve(ops.rows * strip_cols);
        for (int64_t col = 0; col < count; col += strip_cols) {
            const int64_t col_end = std::min(count, col + strip_cols);
            // the rows whose groups meet these columns
            const int64_t from = col / size * size / ops.rows * ops.rows;
            const int64_t to = std::min(count, ((col_end - 1) / size + 1) * size);
            for (int64_t row = from; row < to; row += ops.rows) {
                const int64_t row_end = std::min(count, row + ops.rows);
                const int64_t begin = std::max(col, row / size * size / ops.cols * ops.cols);
                const int64_t end = std::min(col_end, ((row_end - 1) / size + 1) * size);
                if (begin >= end || (sweep.triangle && end <= row + 1)) continue;
                sweep.control.tick(worker);
                const Strip<T> strip(mine.cols, begin, end - begin);
                fold.tile(compute_tile(ops, sweep.formula, mine.rows, row, row_end - row, strip,
                                       mine.tile.data(), strip_cols),
                          mine.rows, worker);
            }
        }
        sweep.control.advance(count * size);
    });
}

}  // namespace pairtile
