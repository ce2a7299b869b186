// A search of so few queries that references are read once, where they lie, rather than packed:
// differences of rows as they are, with features as the lanes.
#pragma once

#include <limits>
#include <optional>

#include "engine/screen.hpp"
#include "engine/sweep.hpp"

namespace pairtile {

// The screen of such a search, if this is one; not of integers, whose ties a screen without error
// cuts at once.
std::optional<Screen> screen_in_place(const Source& queries, const Source& references,
                                      const Metric& metric, Precision precision);

// The same with panels, for few features: whatever the number of queries.
std::optional<Screen> screen_of_differences(const Source& queries, const Source& references,
                                            const Metric& metric, Precision precision);

namespace detail {

// Points [first, first + count) as they lie: panels of a single point. They are copied where they
// do not lie as T.
template <class T>
void take_in_place(const Source& source, int64_t first, int64_t count, Panels<T>& out) {
    out.copy.reserve(count * source.d());
    const RowsView<T> rows = source.block(first, count, out.copy.data());
    out.first = first;
    out.count = count;
    out.width = 1;
    out.d = rows.stride;
    out.data = Buffer<T>::view(rows.data, count * rows.stride);
}

// The same of all queries: side by side, NaN throughout where one number is NaN or Inf.
template <class T>
Panels<T> copy_of_all(const Source& source) {
    const int64_t count = source.rows(), d = source.d();
    Panels<T> out;
    take_in_place(source, 0, count, out);
    Buffer<T> data(count * d);
    out.norm_bounds.reserve(count);
    for (int64_t i = 0; i < count; ++i) {
        const T* from = out.panel_of(i);
        T* to = data.data() + i * d;
        if (all_finite(from, d)) {
            std::copy(from, from + d, to);
        } else {
            std::fill(to, to + d, std::numeric_limits<T>::quiet_NaN());
        }
        out.norm_bounds[i] = {};
    }
    out.d = d;
    out.data = std::move(data);
    return out;
}

// A column with NaN or Inf is as far from every row as one that is packed, NaN; a column that is
// finite shows it by the first value that is.
template <class T>
void fill_tile_in_place(const Sweep<T>& sweep, const Ops<T>& ops, const Panels<T>& rows,
                        const Panels<T>& cols, const Tile<T>& tile) {
    const int64_t d = rows.d;
    ops.in_place[static_cast<int>(sweep.formula.core)](rows.panel_of(tile.local_row), tile.rows,
                                                       cols.panel_of(0), cols.d, tile.cols, d,
                                                       tile.data, tile.ld);
    constexpr T largest = std::numeric_limits<T>::max();
    if (ops.count_below(tile.data, tile.cols, largest) == tile.cols) return;
    for (int j = 0; j < tile.cols; ++j) {
        if (tile.data[j] <= largest || all_finite(cols.panel_of(j), d)) continue;
        for (int i = 0; i < tile.rows; ++i) {
            tile.data[i * tile.ld + j] = std::numeric_limits<T>::quiet_NaN();
        }
        if (sweep.nonfinite) *sweep.nonfinite = true;
    }
}

}  // namespace detail

// As run(), for a screen in place: all queries are one block of rows.
template <class T, class Fold>
void run_in_place(const Sweep<T>& sweep, Fold& fold) {
    const Ops<T>& ops = ops_of<T>(isa());
    const Blocking& blocking = sweep.blocking;
    const int64_t n = sweep.rows.rows(), m = sweep.cols.rows();
    const Panels<T> rows = detail::copy_of_all<T>(sweep.rows);
    const int64_t segments = blocking.segments(m), ld = blocking.strip;
    const int64_t at_a_time = blocking.few_rows ? m : blocking.col_super;
    constexpr bool two_sided = requires { fold.begin_cols(rows, int64_t{}); };
    struct Workspace {
        Panels<T> cols;
        Buffer<T> tile;
    };
    std::vector<Workspace> workspace(static_cast<size_t>(sweep.control.workers()));
    fold.begin_rows(rows, segments);
    for (int64_t first = 0; first < m; first += at_a_time) {
        Panels<T> all;  // of these columns, for a fold that asks which they are
        all.first = first;
        all.count = std::min(at_a_time, m - first);
        if constexpr (two_sided) fold.begin_cols(all, 1);
        const int64_t here = (all.count + blocking.segment - 1) / blocking.segment;
        parallel_for(here, sweep.control, [&](int64_t segment, int worker) {
            auto& [cols, memory] = workspace[static_cast<size_t>(worker)];
            memory.reserve(ops.rows * ld);
            const Task task{0, segment, segments, 0, n, worker};
            const int64_t end = std::min(all.count, (segment + 1) * blocking.segment);
            for (int64_t col = segment * blocking.segment; col < end; col += blocking.strip) {
                const int64_t width = std::min(blocking.strip, end - col);
                detail::take_in_place(sweep.cols, first + col, width, cols);
                const Strip<T> strip(cols, 0, width);
                for (int64_t row = 0; row < n; row += ops.rows) {
                    sweep.control.tick(worker);
                    const int64_t height = std::min<int64_t>(ops.rows, n - row);
                    Tile<T> tile = tile_at(rows, row, height, strip, memory.data(), ld);
                    tile.local_col = col;
                    detail::fill_tile_in_place(sweep, ops, rows, cols, tile);
                    fold.tile(tile, task, rows, all);
                }
                sweep.control.advance(n * width);
            }
        });
        if constexpr (two_sided) fold.end_cols(all, 1);
    }
    fold.end_rows(rows);
}

}  // namespace pairtile
