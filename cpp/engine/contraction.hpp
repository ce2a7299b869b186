// A sweep whose fold multiplies: it turns a block of pairs into weights W, and these with the rows
// of either side into Out_row += W·B and Out_col += Wᵀ·A.
//
//   for each column super-block                    (packed once, with its features)
//     for each row super-block                     (likewise)
//       fold.begin_blocks
//       for each block of rows × columns           (in parallel; those that share rows or columns
//         fold.block                                one after another in a fixed order)
//           for each row panel                     micro-kernel → L1 tile → the fold
//       fold.end_blocks
//
// Of a triangle (rows and columns are one set, and so are the blocks of either), blocks on and
// above the diagonal are visited, those that share a row or a column one after another; tiles on
// the diagonal hold pairs j <= i too.
#pragma once

#include <concepts>

#include "engine/sweep.hpp"

namespace pairtile {

// The pairs of rows [row, row + height) and columns [col, col + width) of the packed ones.
template <class T>
struct PairBlock {
    const Sweep<T>& sweep;
    const Panels<T>&rows, &cols;
    int64_t row, height, col, width;
    int64_t index;  // among the blocks that begin_blocks was told of
    int worker;
    Buffer<T>& memory;

    // Calls visit(tile) for each row panel in turn.
    template <class Visit>
    void for_each_tile(Visit visit) const {
        const Ops<T>& ops = ops_of<T>(isa());
        const int64_t ld = sweep.blocking.strip;
        memory.reserve(ops.rows * ld);
        const Strip<T> strip(cols, col, width);
        for (int64_t i = row; i < row + height; i += ops.rows) {
            sweep.control.tick(worker);
            visit(compute_tile(ops, sweep.formula, rows, i,
                               std::min<int64_t>(ops.rows, row + height - i), strip, memory.data(),
                               ld));
        }
    }
};

// The fold of a contraction. Sums over all pairs may be kept by block, and added in their order:
// begin_blocks(count) comes before each super-block's and end_blocks() after.
template <class Fold, class T>
concept ContractionFold = requires(Fold& fold, const PairBlock<T>& block) {
    fold.block(block);
};

template <class T, ContractionFold<T> Fold>
void run(const Sweep<T>& sweep, Fold& fold) {
    const Blocking& blocking = sweep.blocking;
    const int64_t n = sweep.rows.rows(), m = sweep.cols.rows();
    const int workers = sweep.control.workers();
    std::vector<Buffer<T>> memory(static_cast<size_t>(workers));
    Panels<T> rows, cols;
    for (int64_t col = 0; col < m; col += blocking.col_super) {
        const int64_t col_count = std::min(blocking.col_super, m - col);
        take_cols(sweep, col, col_count, workers, cols, true);
        if (sweep.reader) sweep.reader->begin_cols(cols);
        for (int64_t row = 0; row < n; row += blocking.row_super) {
            if (sweep.triangle && row > col) break;
            const int64_t row_count = std::min(blocking.row_super, n - row);
            take_rows(sweep, row, row_count, workers, rows, true);
            if (sweep.reader) sweep.reader->begin_rows(rows);
            const int64_t height = blocking.row_block, width = blocking.strip;
            const int64_t grid_rows = (row_count + height - 1) / height;
            const int64_t grid_cols = (col_count + width - 1) / width;
            if constexpr (requires { fold.begin_blocks(int64_t{}); }) {
                fold.begin_blocks(grid_rows * grid_cols);
            }
            const auto run_block = [&](int64_t i, int64_t j, int w) {
                const PairBlock<T> block{sweep,
                                         rows,
                                         cols,
                                         i * height,
                                         std::min(height, row_count - i * height),
                                         j * width,
                                         std::min(width, col_count - j * width),
                                         i * grid_cols + j,
                                         w,
                                         memory[static_cast<size_t>(w)]};
                fold.block(block);
                sweep.control.advance(block.height * block.width);
            };
            // Squares of blocks in a task, where there are enough: each block shares rows or
            // columns, and so what lies in L2, with the one before.
            const int64_t side = grid_rows * grid_cols >= 128 ? 2 : 1;
            const bool half = sweep.triangle && row == col;
            const auto run_square = [&](int64_t square_row, int64_t square_col, int w) {
                for (int64_t k = 0; k < side * side; ++k) {
                    const int64_t i = square_row * side + k / side;
                    const int64_t j = square_col * side + (k / side + k) % side;
                    if (i < grid_rows && j < grid_cols && !(half && i > j)) run_block(i, j, w);
                }
            };
            const int64_t square_rows = (grid_rows + side - 1) / side;
            if (half) {
                parallel_triangle(square_rows, sweep.control, run_square);
            } else {
                parallel_grid(square_rows, (grid_cols + side - 1) / side, sweep.control,
                              run_square);
            }
            if constexpr (requires { fold.end_blocks(); }) fold.end_blocks();
        }
    }
}

// Features [feature, feature + ops.cols) of packed rows from `row` on, a line of them for each.
template <class T>
const T* features_at(const Ops<T>& ops, const Panels<T>& panels, int64_t row, int64_t feature) {
    return panels.features.data() + (feature / ops.cols * panels.count + row) * ops.cols;
}

// C[m × n] += W·B of n <= ops.cols features, W being m × k and B lines of features.
template <class T>
void add_product(const Ops<T>& ops, int64_t m, int n, int64_t k, const T* weights,
                 int64_t row_stride, int64_t k_stride, const T* features, T* c, int64_t ld) {
    for (int64_t i = 0; i < m; i += ops.rows) {
        ops.product(static_cast<int>(std::min<int64_t>(ops.rows, m - i)), n, k,
                    weights + i * row_stride, row_stride, k_stride, features, c + i * ld, ld);
    }
}

// Out += W·cols for the rows of a block, and Out += Wᵀ·rows for its columns: all d features of
// each.
template <class T>
void add_row_products(const PairBlock<T>& block, const T* weights, T* out) {
    const Ops<T>& ops = ops_of<T>(isa());
    const int64_t d = block.sweep.cols.d(), ld = block.sweep.blocking.strip;
    T* to = out + (block.rows.first + block.row) * d;
    for (int64_t f = 0; f < d; f += ops.cols) {
        const int n = static_cast<int>(std::min<int64_t>(ops.cols, d - f));
        add_product(ops, block.height, n, block.width, weights, ld, 1,
                    features_at(ops, block.cols, block.col, f), to + f, d);
    }
}
template <class T>
void add_col_products(const PairBlock<T>& block, const T* weights, T* out) {
    const Ops<T>& ops = ops_of<T>(isa());
    const int64_t d = block.sweep.rows.d(), ld = block.sweep.blocking.strip;
    T* to = out + (block.cols.first + block.col) * d;
    for (int64_t f = 0; f < d; f += ops.cols) {
        const int n = static_cast<int>(std::min<int64_t>(ops.cols, d - f));
        add_product(ops, block.width, n, block.height, weights, 1, ld,
                    features_at(ops, block.rows, block.row, f), to + f, d);
    }
}

}  // namespace pairtile
