// One pass over all tiles of pairs with one fold: the loop that every statistic shares.
//
//   for each row super-block                     fold.begin_rows
//     for each column super-block                (both packed once)
//       for each task = row block × segment      (in parallel)
//         for each strip of columns              (in L2)
//           for each row panel                   micro-kernel → L1 tile → fold.tile
//           fold.strip                           contractions work on the whole strip
//     fold.end_cols
//   fold.end_rows
//
// A task belongs to one state of the fold; states are merged by the fold in a fixed order.
#pragma once

#include <atomic>
#include <limits>
#include <stdexcept>

#include "engine/blocking.hpp"
#include "engine/isa.hpp"
#include "engine/tile.hpp"

namespace pairtile {

// Where a task stands: which rows of the super-block, which segment, which worker.
struct Task {
    int64_t row_block, segment, segments;
    int64_t first_row, rows;  // within the row super-block
    int worker;
};

// What reads more of the points of a tile than the tile: the fold's tiles are of these.
template <class T>
class PanelReader {
  public:
    virtual ~PanelReader() = default;
    virtual void begin_rows(const Panels<T>&) = 0;
    virtual void begin_cols(const Panels<T>&) = 0;
};

template <class T>
struct Sweep {
    const Source& rows;
    const Source& cols;
    const Frame& frame;
    TileFormula formula;
    Blocking blocking;
    bool triangle = false;  // rows and columns are the same set: only tiles that reach j > i
    Control& control;
    bool earlier = false;                    // likewise, only tiles that reach j < i
    const Panels<T>* packed = nullptr;       // all columns, if they are packed already
    std::atomic<bool>* nonfinite = nullptr;  // set when a column holds NaN or Inf
    PanelReader<T>* reader = nullptr;        // of the panels of all rows and columns
    int64_t group = 0;  // only pairs within groups of so many rows and columns; 0: all
};

// Adds the work of a sweep to the progress bar's total.
template <class T>
void expect(const Sweep<T>& sweep) {
    const int64_t pairs = sweep.rows.rows() * (sweep.group > 0 ? sweep.group : sweep.cols.rows());
    const bool half = (sweep.triangle || sweep.earlier) && sweep.group == 0;
    sweep.control.expect(half ? pairs / 2 : pairs);
}

namespace detail {

template <class T>
bool has_nan(const T* values, int64_t n) {
    int64_t found = 0;
    for (int64_t j = 0; j < n; ++j) found += values[j] != values[j];
    return found > 0;
}

// Where each task packs what it needs, nobody can read all of it.
template <class T>
void refuse_reader(const Sweep<T>& sweep) {
    if (sweep.reader)
        throw std::logic_error("a sweep whose tasks pack their own panels has no reader");
}

}  // namespace detail

// The panels of a part of the rows; with their features for products.
template <class T>
void take_rows(const Sweep<T>& sweep, int64_t first, int64_t count, int workers, Panels<T>& out,
               bool features = false) {
    const Ops<T>& ops = ops_of<T>(isa());
    pack_rows(ops, sweep.rows, first, count, sweep.frame, sweep.formula,
              {sweep.formula.row_factor, ops.rows, true, features}, workers, sweep.control, out);
}

// Likewise of the columns; panels that exist already begin with a strip.
template <class T>
void take_cols(const Sweep<T>& sweep, int64_t first, int64_t count, int workers, Panels<T>& out,
               bool features = false) {
    if (sweep.packed) {
        Buffer<T> bias = std::move(out.bias);
        out = sweep.packed->part(first, count);
        out.bias = std::move(bias);
    } else {
        const Ops<T>& ops = ops_of<T>(isa());
        pack_rows(ops, sweep.cols, first, count, sweep.frame, sweep.formula,
                  {1.0, ops.cols, sweep.formula.keeps_bounds(), features}, workers, sweep.control,
                  out);
        if (sweep.nonfinite && detail::has_nan(out.norms.data(), count)) *sweep.nonfinite = true;
    }
    fill_bias(sweep.formula, out);
}

namespace detail {

// The tiles of one task within one strip of columns.
template <class T, class Fold>
void run_strip(const Sweep<T>& sweep, const Ops<T>& ops, const Panels<T>& rows,
               const Panels<T>& cols, int64_t col, int64_t width, const Task& task,
               Buffer<T>& memory, Fold& fold) {
    const int64_t ld = sweep.blocking.strip;
    memory.reserve(ops.rows * ld);
    const Strip<T> strip(cols, col, width);
    int64_t pairs = 0;
    for (int64_t row = task.first_row; row < task.first_row + task.rows; row += ops.rows) {
        const int64_t height = std::min<int64_t>(ops.rows, rows.count - row);
        if (sweep.triangle && cols.first + col + width <= rows.first + row + 1) break;
        if (sweep.earlier && cols.first + col + 1 >= rows.first + row + height) continue;
        sweep.control.tick(task.worker);
        const Tile<T> tile =
            compute_tile(ops, sweep.formula, rows, row, height, strip, memory.data(), ld);
        fold.tile(tile, task, rows, cols);
        pairs += height * width;
    }
    if (pairs == 0) return;
    if constexpr (requires { fold.strip(task, rows, cols, col, width); }) {
        fold.strip(task, rows, cols, col, width);
    }
    sweep.control.advance(pairs);
}

// A sweep of few rows: one row block, and each strip of columns is needed by one task alone, which
// packs it into its own cache.
template <class T, class Fold>
void run_few(const Sweep<T>& sweep, const Ops<T>& ops, Fold& fold) {
    const Blocking& blocking = sweep.blocking;
    const int64_t n = sweep.rows.rows(), m = sweep.cols.rows();
    refuse_reader(sweep);
    Panels<T> rows;
    take_rows(sweep, 0, n, sweep.control.workers(), rows);
    const int64_t segments = blocking.segments(m);
    fold.begin_rows(rows, segments);
    struct Workspace {
        Panels<T> cols;
        Buffer<T> tile;
    };
    std::vector<Workspace> workspace(static_cast<size_t>(sweep.control.workers()));
    parallel_for(segments, sweep.control, [&](int64_t segment, int worker) {
        Workspace& mine = workspace[static_cast<size_t>(worker)];
        const int64_t end = std::min(m, (segment + 1) * blocking.segment);
        for (int64_t col = segment * blocking.segment; col < end; col += blocking.strip) {
            const int64_t width = std::min(blocking.strip, end - col);
            take_cols(sweep, col, width, 1, mine.cols);
            run_strip(sweep, ops, rows, mine.cols, 0, width,
                      Task{0, segment, segments, 0, n, worker}, mine.tile, fold);
        }
    });
    fold.end_rows(rows);
}

}  // namespace detail

template <class T, class Fold>
void run(const Sweep<T>& sweep, Fold& fold) {
    const Ops<T>& ops = ops_of<T>(isa());
    const Blocking& blocking = sweep.blocking;
    const int64_t n = sweep.rows.rows(), m = sweep.cols.rows();
    const int workers = sweep.control.workers();
    constexpr bool two_sided = requires(Panels<T> panels) { fold.begin_cols(panels, int64_t{}); };
    if (blocking.few_rows) return detail::run_few(sweep, ops, fold);
    Panels<T> rows, cols;
    std::vector<Buffer<T>> memory(static_cast<size_t>(workers));
    cols.count = -1;
    for (int64_t row = 0; row < n; row += blocking.row_super) {
        const int64_t row_count = std::min(blocking.row_super, n - row);
        take_rows(sweep, row, row_count, workers, rows);
        if (sweep.reader) sweep.reader->begin_rows(rows);
        const int64_t row_blocks = (row_count + blocking.row_block - 1) / blocking.row_block;
        const int64_t segments = blocking.segments(m);
        fold.begin_rows(rows, segments);
        for (int64_t col = 0; col < m; col += blocking.col_super) {
            const int64_t col_count = std::min(blocking.col_super, m - col);
            if (sweep.triangle && col + col_count <= row + 1) continue;
            if (sweep.earlier && col + 1 >= row + row_count) break;
            if (cols.first != col || cols.count != col_count) {
                take_cols(sweep, col, col_count, workers, cols);
                if (sweep.reader) sweep.reader->begin_cols(cols);
            }
            if constexpr (two_sided) fold.begin_cols(cols, row_blocks);
            const int64_t here = (col_count + blocking.segment - 1) / blocking.segment;
            const auto run_task = [&](int64_t row_block, int64_t segment, int worker) {
                const int64_t first = row_block * blocking.row_block;
                const Task task{row_block,
                                blocking.symmetric ? 0 : segment,
                                segments,
                                first,
                                std::min(blocking.row_block, row_count - first),
                                worker};
                const int64_t end = std::min(col_count, (segment + 1) * blocking.segment);
                for (int64_t strip = segment * blocking.segment; strip < end;
                     strip += blocking.strip) {
                    detail::run_strip(sweep, ops, rows, cols, strip,
                                      std::min(blocking.strip, end - strip), task,
                                      memory[static_cast<size_t>(worker)], fold);
                }
            };
            if (!blocking.symmetric) {
                parallel_for(row_blocks * here, sweep.control, [&](int64_t block, int worker) {
                    run_task(block / here, block % here, worker);
                });
            } else if (row == col) {
                parallel_triangle(row_blocks, sweep.control, run_task);
            } else {
                parallel_grid(row_blocks, here, sweep.control, run_task);
            }
            if constexpr (two_sided) fold.end_cols(cols, row_blocks);
        }
        fold.end_rows(rows);
    }
}

}  // namespace pairtile
