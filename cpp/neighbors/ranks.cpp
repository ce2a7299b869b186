// The value of each pair asked for is canonical and known before the sweep, which counts the tile
// values that are below it beyond any error; those within their error are confirmed.
#include "neighbors/ranks.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "engine/row_states.hpp"
#include "neighbors/pair_filter.hpp"

namespace pairtile {
namespace {

// The pairs asked for, also in the order of their columns.
struct Asked {
    const int64_t* targets;
    std::vector<double> ordered;     // canonical value of (i, targets[i])
    std::vector<int64_t> by_column;  // rows, by target
    std::vector<int64_t> first;      // of each column, within them

    Asked(const int64_t* of, int64_t n, int64_t m)
        : targets(of),
          ordered(static_cast<size_t>(n)),
          by_column(static_cast<size_t>(n)),
          first(static_cast<size_t>(m + 1), 0) {
        for (int64_t i = 0; i < n; ++i) ++first[static_cast<size_t>(targets[i] + 1)];
        for (size_t j = 1; j < first.size(); ++j) first[j] += first[j - 1];
        std::vector<int64_t> next = first;
        for (int64_t i = 0; i < n; ++i) {
            by_column[static_cast<size_t>(next[static_cast<size_t>(targets[i])]++)] = i;
        }
    }

    void evaluate(const SearchRequest& request, Control& control) {
        constexpr int64_t rows_per_block = 256;
        const int64_t n = request.queries.rows();
        const int64_t blocks = (n + rows_per_block - 1) / rows_per_block;
        parallel_for(blocks, control, [&](int64_t block, int worker) {
            Canonical canonical(request.metric, request.queries, request.references);
            const int64_t end = std::min(n, (block + 1) * rows_per_block);
            for (int64_t i = block * rows_per_block; i < end; ++i) {
                control.tick(worker);
                canonical.set_row(i);
                ordered[static_cast<size_t>(i)] = canonical(targets[i]);
            }
        });
    }
};

template <class T>
class RankFold {
  public:
    RankFold(const Search<T>& search, const Asked& asked, int64_t* among_references,
             int64_t* among_queries)
        : pairs_(search), asked_(asked), rows_out_(among_references), cols_out_(among_queries) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) { rows_.begin(rows.count, segments); }
    void begin_cols(const Panels<T>& cols, int64_t row_blocks) {
        first_ = asked_.first[static_cast<size_t>(cols.first)];
        cols_.begin(asked_.first[static_cast<size_t>(cols.first + cols.count)] - first_,
                    row_blocks);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        double norms[64], errors[64];
        for (int i = 0; i < tile.rows; ++i) {
            norms[i] = pairs_.norm(rows, tile.local_row + i);
            errors[i] = pairs_.error(tile, rows, tile.local_row + i);
            rows_.at(tile.local_row + i, task.segment) +=
                before_in_row(tile, i, norms[i], errors[i], task.worker);
        }
        const int64_t end = asked_.first[static_cast<size_t>(tile.col + tile.cols)];
        for (int64_t e = asked_.first[static_cast<size_t>(tile.col)]; e < end; ++e) {
            *cols_.at(e - first_, task.row_block) += before_in_column(
                tile, asked_.by_column[static_cast<size_t>(e)], norms, errors, task.worker);
        }
    }

    void end_cols(const Panels<T>&, int64_t) {
        for (int64_t e = 0; e < cols_.cols(); ++e) {
            cols_out_[asked_.by_column[static_cast<size_t>(first_ + e)]] += cols_.merged(e);
        }
    }
    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) rows_out_[rows.first + i] += rows_.merged(i);
    }

  private:
    // Exact arguments are multiples of ordered values, of either sign.
    double ordered(double value, int64_t row, int64_t col, int worker) {
        const TileFormula& formula = pairs_.formula;
        return formula.exact() ? value / formula.unit : pairs_.canonical(row, col, worker);
    }

    int64_t before_in_row(const Tile<T>& tile, int i, double norm, double error, int worker) {
        const TileFormula& formula = pairs_.formula;
        const int64_t row = tile.row + i, target = asked_.targets[row];
        const double limit = asked_.ordered[static_cast<size_t>(row)], at = formula.unit * limit;
        const T* values = tile.data + i * tile.ld;
        // a step beyond what is surely before, and within what may be
        const T below = std::nextafter(static_cast<T>(formula.lowest(at - error) - norm),
                                       -std::numeric_limits<T>::infinity());
        const T above = std::nextafter(static_cast<T>(formula.highest(at + error) - norm),
                                       std::numeric_limits<T>::infinity());
        int64_t before = pairs_.ops.count_below(values, tile.cols, below);
        std::vector<int32_t>& hits = pairs_.hits(tile, worker);
        const int found = pairs_.ops.select_between(values, tile.cols, below, above, hits.data());
        for (int h = 0; h < found; ++h) {
            const int32_t j = hits[static_cast<size_t>(h)];
            const int64_t col = tile.col + j;
            const double mine = ordered(norm + static_cast<double>(values[j]), row, col, worker);
            before += mine < limit || (mine == limit && col < target);
        }
        return before;
    }

    // The column that `owner` asks for.
    int32_t before_in_column(const Tile<T>& tile, int64_t owner, const double* norms,
                             const double* errors, int worker) {
        const TileFormula& formula = pairs_.formula;
        const int64_t col = asked_.targets[owner];
        const double limit = asked_.ordered[static_cast<size_t>(owner)], at = formula.unit * limit;
        const T* values = tile.data + (col - tile.col);
        int32_t before = 0;
        uint64_t unsure = 0;  // rows, as bits: which side a pair is on is not to be foreseen
        for (int i = 0; i < tile.rows; ++i) {
            const double value = norms[i] + static_cast<double>(values[i * tile.ld]);
            const double error = formula.error_at(value, errors[i]);
            const bool sure = value + error < at;
            before += sure;
            unsure |= static_cast<uint64_t>(!sure & !(value - error > at)) << i;
        }
        for (; unsure != 0; unsure &= unsure - 1) {
            const int i = std::countr_zero(unsure);
            const int64_t row = tile.row + i;
            const double value = norms[i] + static_cast<double>(values[i * tile.ld]);
            const double mine = ordered(value, row, col, worker);
            before += mine < limit || (mine == limit && row < owner);
        }
        return before;
    }

    PairFilter<T> pairs_;
    const Asked& asked_;
    int64_t *rows_out_, *cols_out_;
    int64_t first_ = 0;  // of the pairs asked for in the columns at hand
    RowStates<int64_t> rows_;
    ColStates<int32_t> cols_;  // a row block has fewer rows than 32 bits can count
};

}  // namespace

void pair_ranks(const SearchRequest& request, const int64_t* targets, Control& control,
                int64_t* among_references, int64_t* among_queries) {
    const int64_t n = request.queries.rows(), m = request.references.rows();
    std::fill_n(among_references, n, int64_t{1});
    std::fill_n(among_queries, n, int64_t{1});
    Asked asked(targets, n, m);
    // a pair may have any rank
    search(request, {.k = std::max<int64_t>(1, m / 2)}, control,
           [&]<class T>(const Screened& screened) {
               asked.evaluate(screened.request, screened.control);
               const Search<T> search(screened, {.state_bytes_per_row = sizeof(int64_t),
                                                 .state_bytes_per_col = sizeof(int32_t)});
               RankFold<T> fold(search, asked, among_references, among_queries);
               search.run(fold);
           });
    for (int64_t i = 0; i < n; ++i) {
        if (asked.ordered[static_cast<size_t>(i)] == asked.ordered[static_cast<size_t>(i)])
            continue;
        among_references[i] = m;  // NaN comes last
        among_queries[i] = n;
    }
}

}  // namespace pairtile
