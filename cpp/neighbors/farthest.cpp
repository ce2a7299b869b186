// The best so far is a canonical value: a tile value that cannot reach it is passed over, any other
// is confirmed. Few are: the n-th row of a group is the farthest so far with probability 1/n.
#include "neighbors/farthest.hpp"

#include <cmath>
#include <limits>

#include "engine/row_states.hpp"
#include "neighbors/pair_filter.hpp"
#include "pairtile/fold/predicate.hpp"
#include "pairtile/fold/top_k.hpp"

namespace pairtile {
namespace {

// Farthest first: the order of neighbours with the sign of the value changed.
struct Farthest {
    Neighbor one{INFINITY, -1};

    bool none() const { return one.index < 0; }
    void push(double value, int64_t index) {
        const Neighbor other{-value, index};
        if (value == value && (none() || other.before(one))) one = other;
    }
    void merge(const Farthest& other) {
        if (!other.none()) push(-other.one.value, other.one.index);
    }
};

template <class T>
class FarthestFold {
  public:
    FarthestFold(const Search<T>& search, const Predicate& predicate, double* values,
                 int64_t* indices)
        : pairs_(search), predicate_(predicate), values_(values), indices_(indices) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) { best_.begin(rows.count, segments); }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        const TileFormula& formula = pairs_.formula;
        std::vector<int32_t>& hits = pairs_.hits(tile, task.worker);
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t row = tile.row + i, local = tile.local_row + i;
            const T* values = tile.data + i * tile.ld;
            const double norm = pairs_.norm(rows, local);
            const double error = pairs_.error(tile, rows, local);
            Farthest& best = best_.at(local, task.segment);
            double reach = reach_of(best, error);
            const int found = pairs_.ops.select_between(
                values, tile.cols, rounded_down<T>(formula.lowest(reach) - norm),
                std::numeric_limits<T>::infinity(), hits.data());
            for (int h = 0; h < found; ++h) {
                const int32_t j = hits[static_cast<size_t>(h)];
                const double value = norm + static_cast<double>(values[j]);
                if (!(value > formula.lowest(reach))) continue;
                if (!predicate_.admits(row, tile.col + j)) continue;
                best.push(pairs_.ordered(value, row, tile.col + j, task.worker), tile.col + j);
                reach = reach_of(best, error);
            }
        }
    }

    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) {
            const Farthest best = best_.merged(i);
            values_[rows.first + i] = best.none() ? NAN : -best.one.value;
            indices_[rows.first + i] = best.one.index;
        }
    }

  private:
    // What an argument, with its error at any size, has to exceed. Columns come in their order, so
    // that an equal one is too late.
    double reach_of(const Farthest& best, double error) const {
        return best.none() ? -INFINITY : -pairs_.formula.unit * best.one.value - error;
    }

    PairFilter<T> pairs_;
    const Predicate& predicate_;
    double* values_;
    int64_t* indices_;
    RowStates<Farthest> best_;
};

}  // namespace

void farthest_of_group(const SearchRequest& request, const int64_t* groups, Control& control,
                       double* values, int64_t* indices) {
    Predicate predicate;
    predicate.exclude_self = predicate.same_group = true;
    predicate.query_groups = predicate.reference_groups = groups;
    const int64_t n = request.queries.rows();
    search(request, {.k = (n + 1) / 2}, control, [&]<class T>(const Screened& screened) {
        const Search<T> search(screened, {.state_bytes_per_row = sizeof(Farthest)});
        FarthestFold<T> fold(search, predicate, values, indices);
        search.run(fold);
    });
}

}  // namespace pairtile
