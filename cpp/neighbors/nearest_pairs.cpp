// Threads collect what is not above the bound by themselves and hand it over now and then; the
// selection lowers the bound. Which pairs it drops depends on the threads, but it drops none before
// which it does not hold enough others: the result depends on the pairs alone. Where tiles are
// skipped, that bound is how far every row reaches.
#include "neighbors/nearest_pairs.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>

#include "neighbors/finish.hpp"
#include "neighbors/pair_filter.hpp"

namespace pairtile {
namespace {

bool before(const FoundPair& a, const FoundPair& b) {
    if (a.value != b.value) return a.value < b.value;
    return a.row != b.row ? a.row < b.row : a.col < b.col;
}

class Selection {
  public:
    explicit Selection(int64_t count)
        : count_(static_cast<size_t>(count)), full_(count_ + std::max<size_t>(count_, 256)) {}

    // Of a pair that so many known ones are not after: none beyond its value is wanted, and none of
    // its value of a later row.
    struct Bound {
        double value;
        int64_t row;
    };

    // It is lowered by the row first: with a value comes the row of that bound or of a lower one.
    Bound bound() const {
        const double value = value_.load(std::memory_order_acquire);
        return {value, row_.load(std::memory_order_relaxed)};
    }

    void take(std::vector<FoundPair>& some) {
        const std::lock_guard guard(lock_);
        pairs_.insert(pairs_.end(), some.begin(), some.end());
        some.clear();
        if (pairs_.size() >= full_) cut();
    }

    std::vector<FoundPair> finish() {
        if (pairs_.size() > count_) cut();
        std::sort(pairs_.begin(), pairs_.end(), before);
        return std::move(pairs_);
    }

  private:
    void cut() {
        const auto last = pairs_.begin() + static_cast<std::ptrdiff_t>(count_ - 1);
        std::nth_element(pairs_.begin(), last, pairs_.end(), before);
        row_.store(last->row, std::memory_order_relaxed);
        value_.store(last->value, std::memory_order_release);
        pairs_.resize(count_);
    }

    size_t count_, full_;
    std::vector<FoundPair> pairs_;
    std::mutex lock_;
    std::atomic<double> value_{INFINITY};
    std::atomic<int64_t> row_{std::numeric_limits<int64_t>::max()};
};

template <class T>
class NearestPairs {
  public:
    NearestPairs(const Search<T>& search, bool itself, int64_t count, Selection& selection)
        : pairs_(search),
          finish_(search),
          itself_(itself),
          row_at_(search.query_order()),
          col_at_(search.reference_order()),
          least_(search.metric().largest_first() ? -INFINITY : 0.0),
          at_a_time_(static_cast<size_t>(std::clamp<int64_t>(count / 4, 64, 4096))),
          selection_(selection),
          found_(static_cast<size_t>(search.control().workers())) {}

    void begin_rows(const Panels<T>&, int64_t) {}
    void end_rows(const Panels<T>&) {}

    void begin_groups(int, int64_t) {}
    void begin_group(const Task&) {}
    void end_group(const Task&) {}
    double reach(const Task&, int64_t, int64_t) const {
        return pairs_.formula.unit * selection_.bound().value;
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>& cols) {
        const TileFormula& formula = pairs_.formula;
        std::vector<int32_t>& hits = pairs_.hits(tile, task.worker);
        std::vector<FoundPair>& found = found_[static_cast<size_t>(task.worker)].pairs;
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t place = tile.row + i;
            const int64_t past =
                itself_ ? std::clamp<int64_t>(place + 1 - tile.col, 0, tile.cols) : 0;
            Selection::Bound bound = selection_.bound();
            if (past == tile.cols || is_after(least_, first_row_of(place), bound)) continue;
            const double norm = pairs_.norm(rows, tile.local_row + i);
            double error = pairs_.error(tile, rows, tile.local_row + i);
            const T* values = tile.data + i * tile.ld + past;
            const double limit = formula.highest(formula.unit * bound.value + error - norm);
            int count = pairs_.ops.select_below(values, static_cast<int>(tile.cols - past),
                                                rounded_up<T>(limit), hits.data());
            const bool finishing = count > 0 && finish_.needed();
            if (finishing) {
                const int64_t local = tile.local_row + i;
                count = finish_(
                    rows, local, cols, tile.local_col + past, tile.col_bound, values,
                    [=](int32_t) { return limit; }, hits.data(), count, task.worker);
                error = finish_.error(rows.norm_bounds[local], tile.col_bound);
            }
            const T* in_full = finish_.values(task.worker);
            for (int h = 0; h < count; ++h) {
                const int64_t j = hits[static_cast<size_t>(h)];
                const auto [row, col, places] = pair_at(place, tile.col + past + j);
                const double value = norm + static_cast<double>(finishing ? in_full[h] : values[j]);
                const double low = value - formula.error_at(value, error);
                if (is_after(std::max(low, least_), row, packed(bound))) continue;
                const double canonical = pairs_.canonical(places.row, places.col, task.worker);
                if (!(canonical == canonical) || is_after(canonical, row, bound)) continue;
                found.push_back(
                    {static_cast<uint32_t>(row), static_cast<uint32_t>(col), canonical});
                if (found.size() < at_a_time_) continue;
                selection_.take(found);
                bound = selection_.bound();
            }
        }
    }

    void finish() {
        for (Found& one : found_) selection_.take(one.pairs);
    }

  private:
    struct alignas(64) Found {  // by one thread
        std::vector<FoundPair> pairs;
    };

    // No pair of what is at this place is of an earlier row.
    int64_t first_row_of(int64_t place) const {
        if (!row_at_) return place;
        return itself_ ? 0 : row_at_[place];
    }

    // The rows of a pair, of a set with itself the smaller one first, and where they are.
    struct Places {
        int64_t row, col;
    };
    struct Pair {
        int64_t row, col;
        Places places;
    };
    Pair pair_at(int64_t row_place, int64_t col_place) const {
        const int64_t row = row_at_ ? row_at_[row_place] : row_place;
        const int64_t col = col_at_ ? col_at_[col_place] : col_place;
        if (itself_ && row > col) return {col, row, {col_place, row_place}};
        return {row, col, {row_place, col_place}};
    }

    static bool is_after(double value, int64_t row, const Selection::Bound& bound) {
        return value > bound.value || (value == bound.value && row > bound.row);
    }

    // In packed units. A bound that vanishes there, of rows near to one another beside the largest
    // ones, is not that of equal rows: no value is known to tie with it.
    Selection::Bound packed(const Selection::Bound& bound) const {
        const double value = pairs_.formula.unit * bound.value;
        const bool rounded = std::fabs(value) < std::numeric_limits<double>::min();
        return {rounded && bound.value != 0.0 ? std::nextafter(value, INFINITY) : value, bound.row};
    }

    PairFilter<T> pairs_;
    Finish<T> finish_;
    bool itself_;
    const int64_t *row_at_, *col_at_;  // of each place, null where rows are as they were given
    double least_;                     // that a value can be
    size_t at_a_time_;
    Selection& selection_;
    std::vector<Found> found_;
};

// What the k of neighbours is here.
int64_t typical_k(const SearchRequest& request, int64_t count) {
    const int64_t typical = std::max<int64_t>(1, count / request.queries.rows());
    return std::min(typical, request.references.rows());
}

// With tiles skipped where that is chosen; −1 pairs computed where nothing was found.
NearestPairsFound find_near(const SearchRequest& request, bool itself, int64_t count,
                            Control& control) {
    ScreenFor wanted{.k = typical_k(request, count)};
    wanted.pilot = [&](const std::vector<int64_t>& queries, const std::vector<int64_t>& references,
                       Control& own) {
        // as many as there may be within the same distance
        const double share = static_cast<double>(queries.size()) *
                             static_cast<double>(references.size()) /
                             (static_cast<double>(request.queries.rows()) *
                              static_cast<double>(request.references.rows()));
        const auto some = static_cast<int64_t>(std::ceil(share * static_cast<double>(count)));
        return find_near(request.of_some(queries, references), itself, some, own).computed;
    };
    if (!may_skip(request, wanted.k)) return {{}, -1};
    const auto body = [&]<class T>(const Screened& screened) -> NearestPairsFound {
        if (!screened.skipping) return {{}, -1};
        Selection selection(count);
        const Search<T> search(screened, {.triangle = itself});
        NearestPairs<T> fold(search, itself, count, selection);
        const int64_t computed = search.run_near(fold);
        if (computed < 0) return {{}, -1};
        fold.finish();
        return {selection.finish(), computed};
    };
    return search(request, wanted, control, body);
}

}  // namespace

NearestPairsFound nearest_pairs(const SearchRequest& request, bool itself, int64_t count,
                                Control& control) {
    NearestPairsFound near = find_near(request, itself, count, control);
    if (near.computed >= 0) return near;
    const ScreenFor wanted{.k = typical_k(request, count), .in_place = true, .finishes = true};
    return search(request, wanted, control, [&]<class T>(const Screened& screened) {
        Selection selection(count);
        const Search<T> search(screened, {.triangle = itself});
        NearestPairs<T> fold(search, itself, count, selection);
        const int64_t computed = search.run(fold);
        fold.finish();
        return NearestPairsFound{selection.finish(), computed};
    });
}

}  // namespace pairtile
