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
//
// Of few pairs that another sweep comes before, run_kept() packs rows and columns once and keeps
// the tiles from the one to the other.
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
    T* kept = nullptr;      // where its tiles stay, one below the other
    bool computed = false;  // and are already

    // Calls visit(tile) for each row panel in turn.
    template <class Visit>
    void for_each_tile(Visit visit) const {
        const Ops<T>& ops = ops_of<T>(isa());
        const int64_t ld = sweep.blocking.strip;
        if (!kept) memory.reserve(ops.rows * ld);
        const Strip<T> strip(cols, col, width);
        for (int64_t i = row; i < row + height; i += ops.rows) {
            sweep.control.tick(worker);
            const Tile<T> tile = tile_at(rows, i, std::min<int64_t>(ops.rows, row + height - i),
                                         strip, kept ? kept + (i - row) * ld : memory.data(), ld);
            if (!computed) fill_tile(ops, sweep.formula, rows, strip, tile);
            visit(tile);
        }
    }
};

// The fold of a contraction. Sums over all pairs may be kept by block, and added in their order:
// begin_blocks(count) comes before each super-block's and end_blocks() after.
template <class Fold, class T>
concept ContractionFold = requires(Fold& fold, const PairBlock<T>& block) {
    fold.block(block);
};

// The blocks of a row and a column super-block, and where their tiles stay, if they do.
template <class T>
struct BlockGrid {
    const Sweep<T>& sweep;
    const Panels<T>&rows, &cols;
    std::vector<Buffer<T>>& memory;
    T* kept = nullptr;

    int64_t height() const { return sweep.blocking.row_block; }
    int64_t width() const { return sweep.blocking.strip; }
    int64_t down() const { return (rows.count + height() - 1) / height(); }
    int64_t across() const { return (cols.count + width() - 1) / width(); }
    int64_t kept_size() const { return down() * across() * height() * width(); }

    // visit(block) for each of them.
    template <class Visit>
    void for_each(bool computed, Visit visit) const {
        const int64_t grid_rows = down(), grid_cols = across();
        const auto run_block = [&](int64_t i, int64_t j, int w) {
            const int64_t index = i * grid_cols + j;
            const PairBlock<T> block{sweep,
                                     rows,
                                     cols,
                                     i * height(),
                                     std::min(height(), rows.count - i * height()),
                                     j * width(),
                                     std::min(width(), cols.count - j * width()),
                                     index,
                                     w,
                                     memory[static_cast<size_t>(w)],
                                     kept ? kept + index * height() * width() : nullptr,
                                     computed};
            visit(block);
            sweep.control.advance(block.height * block.width);
        };
        // Squares of blocks in a task, where there are enough: each block shares rows or columns,
        // and so what lies in L2, with the one before.
        const int64_t side = grid_rows * grid_cols >= 128 ? 2 : 1;
        const bool half = sweep.triangle && rows.first == cols.first;
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
            parallel_grid(square_rows, (grid_cols + side - 1) / side, sweep.control, run_square);
        }
    }

    template <class Fold>
    void contract(Fold& fold, bool computed = false) const {
        if constexpr (requires { fold.begin_blocks(int64_t{}); }) {
            fold.begin_blocks(down() * across());
        }
        for_each(computed, [&](const PairBlock<T>& block) { fold.block(block); });
        if constexpr (requires { fold.end_blocks(); }) fold.end_blocks();
    }
};

template <class T, ContractionFold<T> Fold>
void run(const Sweep<T>& sweep, Fold& fold) {
    const Blocking& blocking = sweep.blocking;
    const int64_t n = sweep.rows.rows(), m = sweep.cols.rows();
    const int workers = sweep.control.workers();
    std::vector<Buffer<T>> memory(static_cast<size_t>(workers));
    Panels<T> rows, cols;
    for (int64_t col = 0; col < m; col += blocking.col_super) {
        take_cols(sweep, col, std::min(blocking.col_super, m - col), workers, cols, true);
        if (sweep.reader) sweep.reader->begin_cols(cols);
        for (int64_t row = 0; row < n; row += blocking.row_super) {
            if (sweep.triangle && row > col) break;
            take_rows(sweep, row, std::min(blocking.row_super, n - row), workers, rows, true);
            if (sweep.reader) sweep.reader->begin_rows(rows);
            BlockGrid<T>{sweep, rows, cols, memory}.contract(fold);
        }
    }
}

// Whether the tiles of an n × m contraction of rows of d features are few enough to be kept: in
// memory, unless products are as fast as that, or near the cores.
template <class T>
bool can_keep(const Blocking& blocking, int64_t n, int64_t m, int64_t d) {
    const int64_t bytes = d < 128 ? int64_t{4} << 20 : int64_t{24} << 20;
    const int64_t most = bytes / static_cast<int64_t>(sizeof(T));
    const int64_t down = (n + blocking.row_block - 1) / blocking.row_block * blocking.row_block;
    const int64_t across = (m + blocking.strip - 1) / blocking.strip * blocking.strip;
    return n <= blocking.row_super && m <= blocking.col_super && down <= most / across;
}

// All pairs, of which there are few, by a contraction or by a fold of tiles that has one segment
// and one row block.
template <class T, class Fold>
void fold_grid(const BlockGrid<T>& grid, Fold& fold) {
    if constexpr (ContractionFold<Fold, T>) {
        grid.contract(fold);
    } else {
        const Panels<T>&rows = grid.rows, &cols = grid.cols;
        fold.begin_rows(rows, 1);
        if constexpr (requires { fold.begin_cols(cols, int64_t{}); }) fold.begin_cols(cols, 1);
        grid.for_each(false, [&](const PairBlock<T>& block) {
            const Task task{0, 0, 1, 0, rows.count, block.worker};
            block.for_each_tile([&](const Tile<T>& tile) { fold.tile(tile, task, rows, cols); });
        });
        if constexpr (requires { fold.end_cols(cols, int64_t{}); }) fold.end_cols(cols, 1);
        fold.end_rows(rows);
    }
}

template <class T, class Visit>
void with_grid(const Sweep<T>& sweep, bool features, Visit visit) {
    const int workers = sweep.control.workers();
    std::vector<Buffer<T>> memory(static_cast<size_t>(workers));
    Panels<T> rows, cols;
    take_cols(sweep, 0, sweep.cols.rows(), workers, cols, features);
    take_rows(sweep, 0, sweep.rows.rows(), workers, rows, features);
    if (sweep.reader) {
        sweep.reader->begin_cols(cols);
        sweep.reader->begin_rows(rows);
    }
    visit(BlockGrid<T>{sweep, rows, cols, memory});
}

// Two sweeps over so few pairs: tiles stay as `first` leaves them, and `second` gets them so.
// between() comes after the first.
template <class T, class First, class Between, ContractionFold<T> Second>
void run_kept(const Sweep<T>& sweep, First& first, Between between, Second& second) {
    with_grid(sweep, true, [&](BlockGrid<T> grid) {
        Buffer<T> kept(grid.kept_size());
        grid.kept = kept.data();
        fold_grid(grid, first);
        between();
        grid.contract(second, true);
    });
}

// The first alone, to the same bits.
template <class T, class First>
void run_first(const Sweep<T>& sweep, First& first) {
    with_grid(sweep, false, [&](const BlockGrid<T>& grid) { fold_grid(grid, first); });
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
