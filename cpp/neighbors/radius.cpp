#include "neighbors/radius.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "engine/row_states.hpp"
#include "neighbors/pair_filter.hpp"
#include "pairtile/fold/top_k.hpp"

namespace pairtile {
namespace {

// Tile values that may be inside a radius, each settled by its error bound or, where that cannot,
// by its canonical value.
template <class T>
class RadiusFilter {
  public:
    RadiusFilter(const Search<T>& search, bool exclude_self)
        : pairs_(search), exclude_self_(exclude_self) {
        col_limits_.resize(static_cast<size_t>(search.control().workers()));
    }

    // visit(i, j) for the pairs of a tile inside the limit of their row.
    template <class Visit>
    void for_row_limits(const Tile<T>& tile, const Panels<T>& rows, int worker,
                        const double* limits, Visit visit) {
        const TileFormula& formula = pairs_.formula;
        std::vector<int32_t>& hits = pairs_.hits(tile, worker);
        for (int i = 0; i < tile.rows; ++i) {
            const double norm = pairs_.norm(rows, tile.local_row + i);
            const double error = pairs_.error(tile, rows, tile.local_row + i);
            const double limit = formula.unit * limits[tile.row + i];
            const T* row = tile.data + i * tile.ld;
            const T highest = rounded_up<T>(formula.highest(limit + error - norm));
            const int found = pairs_.ops.select_below(row, tile.cols, highest, hits.data());
            for (int h = 0; h < found; ++h) {
                const int32_t j = hits[static_cast<size_t>(h)];
                settle(tile, i, j, norm + static_cast<double>(row[j]), error, limit,
                       limits[tile.row + i], worker, visit);
            }
        }
    }

    // The same for limits of the columns.
    template <class Visit>
    void for_col_limits(const Tile<T>& tile, const Panels<T>& rows, int worker,
                        const double* limits, Visit visit) {
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
            for (int h = 0; h < found; ++h) {
                const int32_t j = hits[static_cast<size_t>(h)];
                settle(tile, i, j, norm + static_cast<double>(row[j]), slack,
                       formula.unit * limits[tile.col + j], limits[tile.col + j], worker, visit);
            }
        }
    }

  private:
    // `limit` is in packed units, `ordered` the same limit in canonical ones.
    template <class Visit>
    void settle(const Tile<T>& tile, int i, int32_t j, double value, double error, double limit,
                double ordered, int worker, Visit visit) {
        const int64_t row = tile.row + i, col = tile.col + j;
        if (exclude_self_ && row == col) return;
        if (pairs_.formula.exact()) {
            if (!(value <= limit)) return;
        } else if (!(value + pairs_.formula.error_at(value, error) <= limit)) {
            if (!(pairs_.canonical(row, col, worker) <= ordered)) return;
        }
        visit(i, j);
    }

    PairFilter<T> pairs_;
    bool exclude_self_;
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

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        Counts<int32_t>* of_cols = cols_.at(tile.local_col, task.row_block);
        if (row_limits_) {
            inside_.for_row_limits(tile, rows, task.worker, row_limits_, [&](int i, int32_t j) {
                ++rows_.at(tile.local_row + i, task.segment).by_row_limit;
                ++of_cols[j].by_row_limit;
            });
        }
        if (col_limits_) {
            inside_.for_col_limits(tile, rows, task.worker, col_limits_, [&](int i, int32_t j) {
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

// Writes the indices of each row in ascending order, which is the order of the sweep. What is
// counted and what is collected differ where another thread changes the rows meanwhile: a row never
// takes more than its room, and what it leaves of it is filled with the first reference.
template <class T>
class Collect {
  public:
    Collect(RadiusFilter<T>& inside, const double* row_limits, const int64_t* indptr,
            int64_t* indices)
        : inside_(inside), row_limits_(row_limits), indptr_(indptr), indices_(indices) {}

    void begin_rows(const Panels<T>& rows, int64_t) {
        next_.assign(indptr_ + rows.first, indptr_ + rows.first + rows.count);
    }
    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) {
            const int64_t end = indptr_[rows.first + i + 1];
            std::fill(indices_ + next_[static_cast<size_t>(i)], indices_ + end, int64_t{0});
        }
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        int64_t* next = next_.data() + tile.local_row;
        const int64_t* end = indptr_ + tile.row + 1;
        inside_.for_row_limits(tile, rows, task.worker, row_limits_, [&](int i, int32_t j) {
            if (next[i] < end[i]) indices_[next[i]++] = tile.col + j;
        });
    }

  private:
    RadiusFilter<T>& inside_;
    const double* row_limits_;
    const int64_t* indptr_;
    int64_t* indices_;
    std::vector<int64_t> next_;
};

// Each row in the order of (value, index).
void sort_rows(const Screened& screened, const int64_t* indptr, int64_t* indices, double* values) {
    constexpr int64_t rows_per_block = 64;
    const auto& [request, screen, in_place, control] = screened;
    const int64_t n = request.queries.rows();
    parallel_for(
        (n + rows_per_block - 1) / rows_per_block, control, [&](int64_t block, int worker) {
            Canonical canonical(request.metric, request.queries, request.references);
            std::vector<Neighbor> row;
            const int64_t end = std::min(n, (block + 1) * rows_per_block);
            for (int64_t i = block * rows_per_block; i < end; ++i) {
                control.tick(worker);
                canonical.set_row(i);
                row.clear();
                for (int64_t at = indptr[i]; at < indptr[i + 1]; ++at) {
                    row.push_back({canonical(indices[at]), indices[at]});
                }
                std::sort(row.begin(), row.end(),
                          [](const Neighbor& a, const Neighbor& b) { return a.before(b); });
                for (size_t c = 0; c < row.size(); ++c) {
                    const size_t at = static_cast<size_t>(indptr[i]) + c;
                    indices[at] = row[c].index;
                    values[at] = row[c].value;
                }
            }
        });
}

// Either kind of count is held of rows and of columns at once.
constexpr FoldNeeds radius_needs{.state_bytes_per_row = 2 * sizeof(Counts<int64_t>),
                                 .state_bytes_per_col = 2 * sizeof(Counts<int32_t>)};

// That a typical radius holds.
ScreenFor typical_radius(const SearchRequest& request) {
    return {.k = std::max<int64_t>(1, request.references.rows() / 64), .in_place = true};
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

void radius_count(const SearchRequest& request, bool exclude_self, const double* row_limits,
                  const double* col_limits, Control& control, RadiusCounts by_row_limit,
                  RadiusCounts by_col_limit) {
    search(request, typical_radius(request), control, [&]<class T>(const Screened& screened) {
        const Search<T> search(screened, radius_needs);
        RadiusFilter<T> inside(search, exclude_self);
        Count<T> fold(inside, row_limits, col_limits, by_row_limit, by_col_limit);
        search.run(fold);
    });
}

int64_t least_radius_memory(int64_t d) { return least_memory(d, radius_needs); }

void radius_neighbors(const SearchRequest& request, bool exclude_self, const double* row_limits,
                      const int64_t* indptr, Control& control, int64_t* indices, double* values) {
    search(request, typical_radius(request), control, [&]<class T>(const Screened& screened) {
        FoldNeeds needs = radius_needs;
        needs.one_segment = true;
        const Search<T> search(screened, needs);
        RadiusFilter<T> inside(search, exclude_self);
        Collect<T> fold(inside, row_limits, indptr, indices);
        search.run(fold);
        sort_rows(screened, indptr, indices, values);
    });
}

template double ordered_limit<float>(const Metric&, float, bool);
template double ordered_limit<double>(const Metric&, double, bool);

}  // namespace pairtile
