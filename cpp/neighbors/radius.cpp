#include "neighbors/radius.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/row_states.hpp"
#include "neighbors/finish.hpp"
#include "neighbors/pair_filter.hpp"

namespace pairtile {
namespace {

// Which pairs (i, j) are looked at.
enum class Which { all, others, later };  // i ≠ j; i < j

// Tile values that may be inside a radius, each settled by its error bound or, where that cannot,
// by its canonical value.
template <class T>
class RadiusFilter {
  public:
    RadiusFilter(const Search<T>& search, Which which)
        : pairs_(search), finish_(search), which_(which) {
        col_limits_.resize(static_cast<size_t>(search.control().workers()));
    }

    // visit(i, j, canonical) for the pairs of a tile inside the limit of their row; NaN where no
    // canonical value was needed.
    template <class Visit>
    void for_row_limits(const Tile<T>& tile, const Panels<T>& rows, const Panels<T>& cols,
                        int worker, const double* limits, Visit visit) {
        for (int i = 0; i < tile.rows; ++i) {
            const Row row = row_of(tile, rows, i, limits);
            const int found = pairs_.ops.select_below(row.values, tile.cols, row.highest,
                                                      pairs_.hits(tile, worker).data());
            settle_row(tile, rows, cols, row, found, worker, visit);
        }
    }

    // add(i, count) for the rows of a tile: those of its pairs that for_row_limits would visit.
    // Of more than a few, what is inside by tile values is counted as it lies there.
    template <class Add>
    void count_by_row_limits(const Tile<T>& tile, const Panels<T>& rows, const Panels<T>& cols,
                             int worker, const double* limits, Add add) {
        constexpr int few = 8;
        bool many = false;  // in the row before, of the same columns
        std::vector<int32_t>& hits = pairs_.hits(tile, worker);
        for (int i = 0; i < tile.rows; ++i) {
            const Row row = row_of(tile, rows, i, limits);
            const int64_t own = tile.row + i - tile.col;  // the place of the row itself
            const bool itself = own >= 0 && own < tile.cols;
            const bool direct =
                !finish_.needed() && (which_ == Which::all || (which_ == Which::others && !itself));
            int64_t count = 0;
            int found = tile.cols;
            if (!direct || !many) {
                found = pairs_.ops.select_below(row.values, tile.cols, row.highest, hits.data());
            }
            if (direct && found > few) {
                const T surely = surely_inside(row);
                count = pairs_.ops.count_below(row.values, tile.cols, surely);
                found = pairs_.ops.select_between(row.values, tile.cols, surely, row.highest,
                                                  hits.data());
                many = count + found > few;
            }
            settle_row(tile, rows, cols, row, found, worker,
                       [&](int, int32_t, double) { ++count; });
            if (count > 0) add(i, count);
        }
    }

    // The same for limits of the columns.
    template <class Visit>
    void for_col_limits(const Tile<T>& tile, const Panels<T>& rows, const Panels<T>& cols,
                        int worker, const double* limits, Visit visit) {
        const TileFormula& formula = pairs_.formula;
        std::vector<int32_t>& hits = pairs_.hits(tile, worker);
        std::vector<T>& thresholds = col_limits_[static_cast<size_t>(worker)];
        thresholds.resize(static_cast<size_t>(tile.cols));
        const double slack = formula.error(tile.row_bound, tile.col_bound);
        for (int j = 0; j < tile.cols; ++j) {
            thresholds[static_cast<size_t>(j)] =
                rounded_up<T>(formula.highest(formula.unit * limits[tile.col + j] + slack));
        }
        for (int i = 0; i < tile.rows; ++i) {
            const double norm = pairs_.norm(rows, tile.local_row + i);
            const T* row = tile.data + i * tile.ld;
            const int found = pairs_.ops.select_below_each(row, tile.cols, T(1), thresholds.data(),
                                                           static_cast<T>(-norm), hits.data());
            settle(
                tile, rows, cols, i, slack, found, worker,
                [&](int32_t j) { return formula.unit * limits[tile.col + j]; },
                [&](int32_t j) { return limits[tile.col + j]; }, visit);
        }
    }

    double canonical(int64_t row, int64_t col, int worker) {
        return pairs_.canonical(row, col, worker);
    }

  private:
    // A row of a tile and its limit, in packed units, below which its tile values are looked at.
    struct Row {
        int i;
        const T* values;
        double norm, error, limit, ordered;
        T highest;
    };
    Row row_of(const Tile<T>& tile, const Panels<T>& rows, int i, const double* limits) const {
        Row row{i,
                tile.data + i * tile.ld,
                pairs_.norm(rows, tile.local_row + i),
                pairs_.error(tile, rows, tile.local_row + i),
                pairs_.formula.unit * limits[tile.row + i],
                limits[tile.row + i],
                {}};
        row.highest = rounded_up<T>(pairs_.formula.highest(row.limit + row.error - row.norm));
        return row;
    }
    // The largest tile value, or one a little less, up to which all are inside.
    T surely_inside(const Row& row) const {
        const TileFormula& formula = pairs_.formula;
        const auto inside = [&](T in_tile) {
            return is_inside(row.norm + static_cast<double>(in_tile), row.error, row.limit);
        };
        constexpr T none = -std::numeric_limits<T>::infinity();
        const double limit = formula.exact() ? row.limit : formula.lowest(row.limit - row.error);
        T value = rounded_up<T>(limit - row.norm);
        for (int steps = 0; steps < 3 && !inside(value); ++steps)
            value = std::nextafter(value, none);
        return inside(value) ? value : none;
    }
    // Whether a value in packed units says so by itself.
    bool is_inside(double value, double error, double limit) const {
        if (pairs_.formula.exact()) return value <= limit;
        return value + pairs_.formula.error_at(value, error) <= limit;
    }

    bool looks_at(int64_t row, int64_t col) const {
        return which_ == Which::all || (which_ == Which::others ? row != col : row < col);
    }

    template <class Visit>
    void settle_row(const Tile<T>& tile, const Panels<T>& rows, const Panels<T>& cols,
                    const Row& row, int found, int worker, Visit visit) {
        settle(
            tile, rows, cols, row.i, row.error, found, worker, [&](int32_t) { return row.limit; },
            [&](int32_t) { return row.ordered; }, visit);
    }

    // Visits those of the hits of a row that are inside limit(j), in packed units, or ordered(j),
    // the same limit in canonical ones. Tiles of lower bounds are finished first.
    template <class Limit, class Ordered, class Visit>
    void settle(const Tile<T>& tile, const Panels<T>& rows, const Panels<T>& cols, int i,
                double error, int found, int worker, Limit limit, Ordered ordered, Visit visit) {
        if (found == 0) return;
        const int64_t local = tile.local_row + i;
        const double norm = pairs_.norm(rows, local);
        const T* values = tile.data + i * tile.ld;
        std::vector<int32_t>& hits = pairs_.hits(tile, worker);
        const bool finishing = finish_.needed();
        if (finishing) {
            found = finish_(
                rows, local, cols, tile.local_col, tile.col_bound, values,
                [&](int32_t j) { return limit(j) + error - norm; }, hits.data(), found, worker);
            error = finish_.error(rows.norm_bounds[local], tile.col_bound);
        }
        const T* in_full = finish_.values(worker);
        for (int h = 0; h < found; ++h) {
            const int32_t j = hits[static_cast<size_t>(h)];
            const T value = finishing ? in_full[h] : values[j];
            settle(tile, i, j, norm + static_cast<double>(value), error, limit(j), ordered(j),
                   worker, visit);
        }
    }

    // `limit` is in packed units, `ordered` the same limit in canonical ones.
    template <class Visit>
    void settle(const Tile<T>& tile, int i, int32_t j, double value, double error, double limit,
                double ordered, int worker, Visit visit) {
        const int64_t row = tile.row + i, col = tile.col + j;
        if (!looks_at(row, col)) return;
        double canonical = NAN;
        if (!is_inside(value, error, limit)) {
            if (pairs_.formula.exact()) return;
            canonical = pairs_.canonical(row, col, worker);
            if (!(canonical <= ordered)) return;
        }
        visit(i, j, canonical);
    }

    PairFilter<T> pairs_;
    Finish<T> finish_;
    Which which_;
    std::vector<std::vector<T>> col_limits_;
};

// Of one row or column. A row block has no more pairs with a column than 32 bits can count.
template <class Integer>
struct Counts {
    Integer by_row_limit = 0, by_col_limit = 0;

    void merge(const Counts& other) {
        by_row_limit += other.by_row_limit;
        by_col_limit += other.by_col_limit;
    }
};

template <class T>
class Count {
  public:
    Count(RadiusFilter<T>& inside, const double* row_limits, const double* col_limits,
          RadiusCounts by_row_limit, RadiusCounts by_col_limit)
        : inside_(inside),
          row_limits_(row_limits),
          col_limits_(col_limits),
          by_row_limit_(by_row_limit),
          by_col_limit_(by_col_limit) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) { rows_.begin(rows.count, segments); }
    void begin_cols(const Panels<T>& cols, int64_t row_blocks) {
        cols_.begin(cols.count, row_blocks);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>& cols) {
        Counts<int32_t>* of_cols = cols_.at(tile.local_col, task.row_block);
        if (row_limits_ && !by_row_limit_.cols) {
            inside_.count_by_row_limits(
                tile, rows, cols, task.worker, row_limits_, [&](int i, int64_t count) {
                    rows_.at(tile.local_row + i, task.segment).by_row_limit += count;
                });
        } else if (row_limits_) {
            inside_.for_row_limits(tile, rows, cols, task.worker, row_limits_,
                                   [&](int i, int32_t j, double) {
                                       ++rows_.at(tile.local_row + i, task.segment).by_row_limit;
                                       ++of_cols[j].by_row_limit;
                                   });
        }
        if (col_limits_) {
            inside_.for_col_limits(tile, rows, cols, task.worker, col_limits_,
                                   [&](int i, int32_t j, double) {
                                       ++rows_.at(tile.local_row + i, task.segment).by_col_limit;
                                       ++of_cols[j].by_col_limit;
                                   });
        }
    }

    void end_cols(const Panels<T>& cols, int64_t) {
        for (int64_t j = 0; j < cols.count; ++j) {
            const Counts<int32_t> counts = cols_.merged(j);
            if (by_row_limit_.cols) by_row_limit_.cols[cols.first + j] += counts.by_row_limit;
            if (by_col_limit_.cols) by_col_limit_.cols[cols.first + j] += counts.by_col_limit;
        }
    }
    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) {
            const Counts<int64_t> counts = rows_.merged(i);
            if (by_row_limit_.rows) by_row_limit_.rows[rows.first + i] += counts.by_row_limit;
            if (by_col_limit_.rows) by_col_limit_.rows[rows.first + i] += counts.by_col_limit;
        }
    }

  private:
    RadiusFilter<T>& inside_;
    const double* row_limits_;
    const double* col_limits_;
    RadiusCounts by_row_limit_, by_col_limit_;
    RowStates<Counts<int64_t>> rows_;
    ColStates<Counts<int32_t>> cols_;
};

// A vector of numbers of rows, in the places of a sweep that skips tiles.
std::vector<double> in_places(const double* of_rows, const int64_t* rows, int64_t count) {
    std::vector<double> placed(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) placed[static_cast<size_t>(i)] = of_rows[rows[i]];
    return placed;
}

// How far rows of these limits reach, in packed units.
double reach_of(const TileFormula& formula, const double* limits, int64_t rows) {
    return formula.unit * *std::max_element(limits, limits + rows);
}

// Counts by the limits of rows where tiles are skipped: groups of rows, and columns that several
// count into at once.
template <class T>
class CountNear {
  public:
    CountNear(const Search<T>& search, RadiusFilter<T>& inside, const double* row_limits,
              RadiusCounts counts)
        : search_(search),
          inside_(inside),
          counts_(counts),
          limits_(in_places(row_limits, search.query_order(), search.queries().rows())) {}

    void begin_groups(int workers, int64_t most_rows) {
        most_rows_ = most_rows;
        rows_.assign(static_cast<size_t>(workers * most_rows), 0);
    }
    void begin_group(const Task& task) {
        std::fill_n(rows_.begin() + task.worker * most_rows_, most_rows_, int64_t{0});
    }
    double reach(const Task&, int64_t row, int64_t rows) const {
        return reach_of(search_.formula(), limits_.data() + row, rows);
    }
    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>& cols) {
        int64_t* of_rows = rows_.data() + task.worker * most_rows_ + tile.local_row;
        if (!counts_.cols) {
            return inside_.count_by_row_limits(tile, rows, cols, task.worker, limits_.data(),
                                               [&](int i, int64_t count) { of_rows[i] += count; });
        }
        inside_.for_row_limits(
            tile, rows, cols, task.worker, limits_.data(), [&](int i, int32_t j, double) {
                ++of_rows[i];
                const int64_t col = search_.reference_order()[tile.col + j];
                std::atomic_ref(counts_.cols[col]).fetch_add(1, std::memory_order_relaxed);
            });
    }
    void end_group(const Task& task) {
        for (int64_t i = 0; counts_.rows && i < task.rows; ++i) {
            counts_.rows[search_.query_order()[task.first_row + i]] =
                rows_[static_cast<size_t>(task.worker * most_rows_ + i)];
        }
    }

  private:
    const Search<T>& search_;
    RadiusFilter<T>& inside_;
    RadiusCounts counts_;
    std::vector<double> limits_;  // of rows in their places
    int64_t most_rows_ = 0;
    std::vector<int64_t> rows_;  // [worker][row of its group]
};

// Keeps the pairs inside the limits of their rows; where those of columns are given, every pair
// stands for (j, i) too, which is inside or not by the limit of its column.
template <class T>
class Collect {
  public:
    Collect(RadiusFilter<T>& inside, const double* row_limits, const double* col_limits,
            FoundPairs& found)
        : inside_(inside), row_limits_(row_limits), col_limits_(col_limits), found_(found) {}

    void begin_rows(const Panels<T>&, int64_t) {}
    void end_rows(const Panels<T>&) {}

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>& cols) {
        const int worker = task.worker;
        // No number where another thread changes the rows meanwhile.
        const auto value_of = [&](int i, int32_t j, double known) {
            return known == known ? known : inside_.canonical(tile.row + i, tile.col + j, worker);
        };
        inside_.for_row_limits(
            tile, rows, cols, worker, row_limits_, [&](int i, int32_t j, double known) {
                const double value = value_of(i, j, known);
                if (value == value) found_.add(worker, {of(tile.row + i), of(tile.col + j), value});
            });
        if (!col_limits_) return;
        inside_.for_col_limits(
            tile, rows, cols, worker, col_limits_, [&](int i, int32_t j, double known) {
                const double value = value_of(i, j, known);
                if (value == value) found_.add(worker, {of(tile.col + j), of(tile.row + i), value});
            });
    }

  private:
    static uint32_t of(int64_t row) { return static_cast<uint32_t>(row); }

    RadiusFilter<T>& inside_;
    const double* row_limits_;
    const double* col_limits_;
    FoundPairs& found_;
};

// Collects by the limits of rows where tiles are skipped; with `later` pairs i < j alone.
template <class T>
class CollectNear {
  public:
    CollectNear(const Search<T>& search, RadiusFilter<T>& inside, const double* row_limits,
                bool later, FoundPairs* found)
        : search_(search),
          inside_(inside),
          later_(later),
          found_(found),
          limits_(in_places(row_limits, search.query_order(), search.queries().rows())) {}

    void begin_groups(int, int64_t) {}
    void begin_group(const Task&) {}
    void end_group(const Task&) {}

    double reach(const Task&, int64_t row, int64_t rows) const {
        return reach_of(search_.formula(), limits_.data() + row, rows);
    }
    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>& cols) {
        if (!found_) return;  // asked for the work alone
        inside_.for_row_limits(
            tile, rows, cols, task.worker, limits_.data(), [&](int i, int32_t j, double known) {
                const int64_t at = tile.row + i, from = tile.col + j;
                const int64_t row = search_.query_order()[at];
                const int64_t col = search_.reference_order()[from];
                if (later_ && row >= col) return;
                const double value =
                    known == known ? known : inside_.canonical(at, from, task.worker);
                if (!(value == value)) return;  // another thread changes the rows meanwhile
                found_->add(task.worker,
                            {static_cast<uint32_t>(row), static_cast<uint32_t>(col), value});
            });
    }

  private:
    const Search<T>& search_;
    RadiusFilter<T>& inside_;
    bool later_;
    FoundPairs* found_;
    std::vector<double> limits_;  // of rows in their places
};

// Either kind of count is held of rows and of columns at once.
constexpr FoldNeeds radius_needs{.state_bytes_per_row = 2 * sizeof(Counts<int64_t>),
                                 .state_bytes_per_col = 2 * sizeof(Counts<int32_t>)};

// That a typical radius holds; tiles of lower bounds are judged by the radii themselves.
ScreenFor screen_for(const SearchRequest& request, const double* row_limits,
                     const double* col_limits) {
    std::vector<double> some;
    constexpr int64_t looks = 255;
    const auto look_at = [&](const double* limits, int64_t rows) {
        if (!limits) return;
        const int64_t count = std::min(rows, looks);
        for (int64_t i = 0; i < count; ++i) some.push_back(limits[i * rows / count]);
    };
    look_at(row_limits, request.queries.rows());
    look_at(col_limits, request.references.rows());
    std::sort(some.begin(), some.end());
    ScreenFor wanted{.k = std::max<int64_t>(1, request.references.rows() / 64),
                     .in_place = true,
                     .finishes = true};
    if (!some.empty()) wanted.limit = some[some.size() * 3 / 4];
    return wanted;
}

// Counts by the limits of rows, with tiles skipped where that is chosen: returns how many pairs
// were computed, −1 where nothing was counted.
int64_t count_near(const SearchRequest& request, bool exclude_self, const double* row_limits,
                   Control& control, RadiusCounts counts) {
    ScreenFor wanted{.k = 16};  // where tiles are skipped radii are small
    wanted.pilot = [&](const std::vector<int64_t>& queries, const std::vector<int64_t>& references,
                       Control& own) {
        const auto few = static_cast<int64_t>(queries.size());
        const SearchRequest some = request.of_some(queries, references);
        const std::vector<double> limits = in_places(row_limits, queries.data(), few);
        return count_near(some, exclude_self, limits.data(), own, {});
    };
    if (!may_skip(request, wanted.k)) return -1;
    const int64_t n = request.queries.rows(), m = request.references.rows();
    const int64_t computed =
        search(request, wanted, control, [&]<class T>(const Screened& screened) -> int64_t {
            if (!screened.skipping) return -1;
            const Search<T> search(screened, {});
            RadiusFilter<T> inside(search, exclude_self ? Which::others : Which::all);
            CountNear<T> fold(search, inside, row_limits, counts);
            return search.run_near(fold);
        });
    if (computed < 0) {  // a few groups may have counted
        if (counts.rows) std::fill_n(counts.rows, n, int64_t{0});
        if (counts.cols) std::fill_n(counts.cols, m, int64_t{0});
    }
    return computed;
}

// The same for the pairs themselves: −1 where nothing was collected.
int64_t collect_near(const SearchRequest& request, bool itself, bool later,
                     const double* row_limits, Control& control, FoundPairs* found) {
    ScreenFor wanted{.k = 16};
    wanted.pilot = [&](const std::vector<int64_t>& queries, const std::vector<int64_t>& references,
                       Control& own) {
        const auto few = static_cast<int64_t>(queries.size());
        const SearchRequest some = request.of_some(queries, references);
        const std::vector<double> limits = in_places(row_limits, queries.data(), few);
        return collect_near(some, itself, later, limits.data(), own, nullptr);
    };
    if (!may_skip(request, wanted.k)) return -1;
    const int64_t computed =
        search(request, wanted, control, [&]<class T>(const Screened& screened) -> int64_t {
            if (!screened.skipping) return -1;
            const Search<T> search(screened, {});
            RadiusFilter<T> inside(search, itself ? Which::others : Which::all);
            CollectNear<T> fold(search, inside, row_limits, later, found);
            return search.run_near(fold);
        });
    if (computed < 0 && found) found->clear();  // a few groups may have collected
    return computed;
}

// Of a set with itself, of which `which` is the later pairs, each is computed once.
void collect(const SearchRequest& request, Which which, const double* row_limits,
             const double* col_limits, Control& control, FoundPairs& found) {
    const ScreenFor wanted = screen_for(request, row_limits, col_limits);
    search(request, wanted, control, [&]<class T>(const Screened& screened) {
        const Search<T> search(screened, {.triangle = which == Which::later});
        RadiusFilter<T> inside(search, which);
        Collect<T> fold(inside, row_limits, col_limits, found);
        search.run(fold);
    });
}

}  // namespace

template <class D>
double ordered_limit(const Metric& metric, D radius, bool closed) {
    const auto inside = [&](double ordered) {
        const D distance = static_cast<D>(reported(metric, ordered));
        return closed ? distance <= radius : distance < radius;
    };
    // bisection over the bit patterns of the non-negative numbers, which are ordered as they are
    if (!inside(0.0)) return -1.0;
    const auto value_of = [](uint64_t bits) { return std::bit_cast<double>(bits); };
    uint64_t low = 0, high = 0x7ff0000000000000ull;  // 0 is inside; is infinity?
    if (inside(INFINITY)) return INFINITY;
    // for most metrics it is near the distance or its square
    const double distance = static_cast<double>(radius);
    constexpr double off = 4.0 * std::numeric_limits<D>::epsilon();
    for (const double guess : {distance, distance * distance}) {
        const auto below = std::bit_cast<uint64_t>(guess * (1.0 - off));
        const auto above = std::bit_cast<uint64_t>(guess * (1.0 + off));
        if (low < below && below < high && inside(value_of(below))) low = below;
        if (low < above && above < high && !inside(value_of(above))) high = above;
    }
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;
        (inside(value_of(middle)) ? low : high) = middle;
    }
    return value_of(low);
}

int64_t radius_count(const SearchRequest& request, bool exclude_self, const double* row_limits,
                     const double* col_limits, Control& control, RadiusCounts by_row_limit,
                     RadiusCounts by_col_limit) {
    // each kind of limit by itself: those of columns are of the rows of the turned search
    int64_t by_rows = -1, by_cols = -1;
    if (row_limits) by_rows = count_near(request, exclude_self, row_limits, control, by_row_limit);
    if (col_limits && (by_rows >= 0 || !row_limits)) {
        SearchRequest turned = request;
        std::swap(turned.queries, turned.references);
        turned.index = nullptr;
        by_cols = count_near(turned, exclude_self, col_limits, control,
                             {by_col_limit.cols, by_col_limit.rows});
    }
    if (by_rows >= 0) row_limits = nullptr;
    if (by_cols >= 0) col_limits = nullptr;
    const int64_t near = std::max<int64_t>(by_rows, 0) + std::max<int64_t>(by_cols, 0);
    if (!row_limits && !col_limits) return near;
    return near +
           search(request, screen_for(request, row_limits, col_limits), control,
                  [&]<class T>(const Screened& screened) {
                      const Search<T> search(screened, radius_needs);
                      RadiusFilter<T> inside(search, exclude_self ? Which::others : Which::all);
                      Count<T> fold(inside, row_limits, col_limits, by_row_limit, by_col_limit);
                      return search.run(fold);
                  });
}

int64_t least_radius_memory(int64_t d) { return least_memory(d, radius_needs); }

FoundPairs radius_neighbors(const SearchRequest& request, bool itself, const double* row_limits,
                            Control& control) {
    FoundPairs near(control.workers(), false);
    if (collect_near(request, itself, false, row_limits, control, &near) >= 0) return near;
    const int64_t n = request.queries.rows();
    // with one limit for all a pair is inside for both of its rows or for neither
    const bool one_limit = std::all_of(row_limits, row_limits + n,
                                       [&](double limit) { return limit == row_limits[0]; });
    FoundPairs found(control.workers(), itself && one_limit);
    collect(request, itself ? Which::later : Which::all, row_limits,
            itself && !one_limit ? row_limits : nullptr, control, found);
    return found;
}

FoundPairs pairs_within(const SearchRequest& request, bool itself, double limit, Control& control) {
    const std::vector<double> limits(static_cast<size_t>(request.queries.rows()), limit);
    FoundPairs found(control.workers(), false);
    if (collect_near(request, itself, itself, limits.data(), control, &found) >= 0) return found;
    collect(request, itself ? Which::later : Which::all, limits.data(), nullptr, control, found);
    return found;
}

template double ordered_limit<float>(const Metric&, float, bool);
template double ordered_limit<double>(const Metric&, double, bool);

}  // namespace pairtile
