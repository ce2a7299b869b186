#include "neighbors/radius.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/canonical.hpp"
#include "engine/row_states.hpp"
#include "engine/screen.hpp"
#include "engine/sweep.hpp"
#include "neighbors/index.hpp"
#include "pairtile/fold/top_k.hpp"

namespace pairtile {
namespace {

// What every fold over pairs within a radius needs: tile values that may be inside, each settled by
// its error bound or, where that cannot, by its canonical value.
template <class T>
class RadiusFilter {
  public:
    RadiusFilter(const Source& queries, const Source& references, const Metric& metric,
                 const TileFormula& formula, bool exclude_self, int workers)
        : formula_(formula), exclude_self_(exclude_self) {
        for (int w = 0; w < workers; ++w) canonical_.emplace_back(metric, queries, references);
        hits_.resize(static_cast<size_t>(workers));
        col_limits_.resize(static_cast<size_t>(workers));
    }

    // visit(i, j, certain) for the pairs of a tile inside the limit of their row.
    template <class Visit>
    void for_row_limits(const Tile<T>& tile, const Panels<T>& rows, int worker,
                        const double* limits, Visit visit) {
        std::vector<int32_t>& hits = hits_for(tile, worker);
        const Ops<T>& ops = ops_of<T>(isa());
        for (int i = 0; i < tile.rows; ++i) {
            const double norm = norm_of(rows, tile.local_row + i);
            const double error =
                formula_.error(rows.norm_bounds[tile.local_row + i], tile.col_bound);
            const double limit = formula_.unit * limits[tile.row + i];
            const T* row = tile.data + i * tile.ld;
            const int found =
                ops.select_below(row, tile.cols, rounded_up<T>(limit + error - norm), hits.data());
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
        std::vector<int32_t>& hits = hits_for(tile, worker);
        std::vector<T>& thresholds = col_limits_[static_cast<size_t>(worker)];
        thresholds.resize(static_cast<size_t>(tile.cols));
        const Ops<T>& ops = ops_of<T>(isa());
        const double slack = formula_.error(tile.row_bound, tile.col_bound);
        for (int j = 0; j < tile.cols; ++j) {
            thresholds[static_cast<size_t>(j)] =
                rounded_up<T>(formula_.unit * limits[tile.col + j] + slack);
        }
        for (int i = 0; i < tile.rows; ++i) {
            const double norm = norm_of(rows, tile.local_row + i);
            const T* row = tile.data + i * tile.ld;
            const int found = ops.select_below_each(row, tile.cols, T(1), thresholds.data(),
                                                    static_cast<T>(-norm), hits.data());
            for (int h = 0; h < found; ++h) {
                const int32_t j = hits[static_cast<size_t>(h)];
                settle(tile, i, j, norm + static_cast<double>(row[j]), slack,
                       formula_.unit * limits[tile.col + j], limits[tile.col + j], worker, visit);
            }
        }
    }

    bool exact() const { return formula_.exact(); }

  private:
    double norm_of(const Panels<T>& rows, int64_t local) const {
        return formula_.add_norms ? static_cast<double>(rows.norms[local]) : 0.0;
    }

    std::vector<int32_t>& hits_for(const Tile<T>& tile, int worker) {
        std::vector<int32_t>& hits = hits_[static_cast<size_t>(worker)];
        hits.resize(static_cast<size_t>(tile.cols));
        return hits;
    }

    // `limit` is in packed units, `ordered` the same limit in canonical ones.
    template <class Visit>
    void settle(const Tile<T>& tile, int i, int32_t j, double value, double error, double limit,
                double ordered, int worker, Visit visit) {
        const int64_t row = tile.row + i, col = tile.col + j;
        if (exclude_self_ && row == col) return;
        if (!exact() && !(value + error <= limit)) {
            Canonical& canonical = canonical_[static_cast<size_t>(worker)];
            canonical.set_row(row);
            if (!(canonical(col) <= ordered)) return;
        } else if (exact() && !(value <= limit)) {
            return;
        }
        visit(i, j);
    }

    TileFormula formula_;
    bool exclude_self_;
    std::vector<Canonical> canonical_;
    std::vector<std::vector<int32_t>> hits_;
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

// Counts by either limit, doubled because those of rows and of columns are held at once.
constexpr int64_t state_bytes_per_row = 2 * sizeof(Counts<int64_t>);
constexpr int64_t state_bytes_per_col = 2 * sizeof(Counts<int32_t>);

template <class T>
Sweep<T> radius_sweep(const Screen& screen, const TileFormula& formula, bool one_segment,
                      Control& control, const Index* index) {
    BlockingLimits limits = limits_within(control.memory());
    limits.state_bytes_per_row = state_bytes_per_row;
    limits.state_bytes_per_col = state_bytes_per_col;
    const Source &rows = screen.rows, &cols = screen.cols;
    Blocking blocking =
        choose_blocking(ops_of<T>(isa()), rows.rows(), cols.rows(), rows.d(), limits);
    if (one_segment) blocking.segment = blocking.col_super;
    control.fit_workers(packing_bytes(rows.d()));
    Sweep<T> sweep{rows, cols, screen.frame, formula, blocking, false, control};
    sweep.packed = packed_for<T>(index, formula);
    return sweep;
}

// Calls body(formula) with T of the precision that tells the pairs apart.
template <class Body>
void in_chosen_precision(const Screen& screen, const Source& queries, const Source& references,
                         const Metric& metric, const Index* index, Body body) {
    const int64_t typical = std::max<int64_t>(1, references.rows() / 64);
    const Choice choice = choose_precision(screen, queries, references, typical, metric,
                                           Precision::standard, packing_of(index));
    if (choice.wide) {
        body(choice.formula, double{});
    } else {
        body(choice.formula, float{});
    }
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
    const auto value_of = [](uint64_t bits) {
        double value;
        std::memcpy(&value, &bits, sizeof value);
        return value;
    };
    uint64_t low = 0, high = 0x7ff0000000000000ull;  // 0 is inside; is infinity?
    if (inside(INFINITY)) return INFINITY;
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;
        (inside(value_of(middle)) ? low : high) = middle;
    }
    return value_of(low);
}

void radius_count(Source queries, Source references, const Metric& metric, bool exclude_self,
                  const double* row_limits, const double* col_limits, Control& control,
                  RadiusCounts by_row_limit, RadiusCounts by_col_limit, const Index* index) {
    queries.read_as(metric.traits().reading);
    references.read_as(metric.traits().reading);
    const Screen screen = index ? index->screen(queries, references, metric, control)
                                : choose_screen(queries, references, metric, control);
    in_chosen_precision(
        screen, queries, references, metric, index, [&](const TileFormula& formula, auto zero) {
            using T = decltype(zero);
            RadiusFilter<T> inside(queries, references, metric, formula, exclude_self,
                                   control.workers());
            Count<T> fold(inside, row_limits, col_limits, by_row_limit, by_col_limit);
            const Sweep<T> sweep = radius_sweep<T>(screen, formula, false, control, index);
            expect(sweep);
            run(sweep, fold);
        });
}

int64_t least_radius_memory(int64_t d) {
    return least_memory(d, state_bytes_per_row, packing_bytes(d));
}

void radius_neighbors(Source queries, Source references, const Metric& metric, bool exclude_self,
                      const double* row_limits, const int64_t* indptr, Control& control,
                      int64_t* indices, double* values, const Index* index) {
    queries.read_as(metric.traits().reading);
    references.read_as(metric.traits().reading);
    const Screen screen = index ? index->screen(queries, references, metric, control)
                                : choose_screen(queries, references, metric, control);
    in_chosen_precision(
        screen, queries, references, metric, index, [&](const TileFormula& formula, auto zero) {
            using T = decltype(zero);
            RadiusFilter<T> inside(queries, references, metric, formula, exclude_self,
                                   control.workers());
            Collect<T> fold(inside, row_limits, indptr, indices);
            const Sweep<T> sweep = radius_sweep<T>(screen, formula, true, control, index);
            expect(sweep);
            run(sweep, fold);
        });
    constexpr int64_t rows_per_block = 64;
    const int64_t n = queries.rows();
    parallel_for(
        (n + rows_per_block - 1) / rows_per_block, control, [&](int64_t block, int worker) {
            Canonical canonical(metric, queries, references);
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

template double ordered_limit<float>(const Metric&, float, bool);
template double ordered_limit<double>(const Metric&, double, bool);

}  // namespace pairtile
