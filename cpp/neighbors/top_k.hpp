// The k nearest of each row: a fold that keeps whatever may still be among them, with the proven
// error of its tile value, and rescores by canonical values only what that cannot tell apart.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "engine/candidates.hpp"
#include "engine/row_states.hpp"
#include "neighbors/finish.hpp"
#include "neighbors/repeated_rows.hpp"
#include "neighbors/search.hpp"
#include "pairtile/fold/predicate.hpp"
#include "pairtile/fold/top_k.hpp"

namespace pairtile {

// What is known of the candidates of one row within one segment of the references.
struct Shortlist {
    int64_t count = 0;
    int64_t due;  // the count at which the bound is lowered
    // References from this index on that tie with the bound are dropped: of equal values the lower
    // index wins. Where tile values are not in canonical order, that is said of copies of the
    // common row alone, once one of them was rescored and dropped.
    uint32_t late = std::numeric_limits<uint32_t>::max();
    uint8_t common = 0;
};

// Whole cache lines of numbers. `unsettled`: how many references a screen is expected to leave
// beside the k of a row; they wait in the list until all are known, when few need their value.
inline int64_t capacity_for(int64_t k, int64_t unsettled) {
    return (k + std::max({int64_t{32}, k, 3 * unsettled}) + 15) / 16 * 16;
}

template <class T>
constexpr int64_t candidate_bytes = sizeof(T) + sizeof(typename Candidates<T>::Rest);

template <class T>
int64_t state_bytes(int64_t k, int64_t unsettled) {
    constexpr int64_t list = sizeof(Shortlist) + sizeof(T);  // with its bound
    return capacity_for(k, unsettled) * candidate_bytes<T> + list;
}

// What a thread holds of each segment of a row while it confirms its candidates.
template <class T>
int64_t confirmed_bytes(int64_t k, int64_t unsettled) {
    return capacity_for(k, unsettled) *
           (candidate_bytes<T> + static_cast<int64_t>(sizeof(Neighbor)));
}

template <class T>
class TopK {
  public:
    // Called for each row, from any thread, with its neighbours in order: k of them or, where no
    // more are admissible, fewer.
    using EndRow = std::function<void(int64_t row, const std::vector<Neighbor>& best)>;

    // `bounds`, if there are any: what the k-th best value of each row is not above, in packed
    // units. Tiles of lower bounds are `taken` as values where the k best are but guessed.
    TopK(const Search<T>& search, int64_t k, int64_t unsettled, const Predicate& predicate,
         const CommonRows& common, EndRow end_row, std::vector<T> bounds = {}, bool taken = false)
        : search_(search),
          k_(k),
          capacity_(capacity_for(k, unsettled)),
          ops_(ops_of<T>(isa())),
          common_(common),
          predicate_(predicate),
          end_row_(std::move(end_row)),
          finish_(search),
          known_(std::move(bounds)),
          finishing_(finish_.needed() && !taken),
          formula_(search.formula()),
          exact_(formula_.exact()),
          in_order_(exact_ || formula_.order_exact),
          by_column_(!in_order_ && formula_.keeps_bounds()),
          symmetric_(search.symmetric()),
          query_at_(search.query_order()),
          reference_at_(search.reference_order()) {
        for (int w = 0; w < search.control().workers(); ++w) {
            Canonical canonical(search.metric(), search.queries(), search.references());
            workspace_.push_back({std::move(canonical), {}, {}, {}, {}, {}, {}, 0, 0});
        }
    }

    // Groups of rows, each for itself (engine/nearest.hpp): a worker has the states of one.
    void begin_groups(int workers, int64_t most_rows) {
        most_rows_ = most_rows;
        lists_.begin(workers * most_rows, 1);
        bounds_.resize(lists_.size());
        highs_.reserve(static_cast<int64_t>(lists_.size()) * capacity_);
        rests_.reserve(static_cast<int64_t>(lists_.size()) * capacity_);
    }
    void begin_group(const Task& task) {
        const int64_t first = task.worker * most_rows_;
        workspace_[static_cast<size_t>(task.worker)].first_row = task.first_row - first;
        for (int64_t i = first; i < first + task.rows; ++i) {
            lists_[static_cast<size_t>(i)] = Shortlist{.due = due_after(k_)};
            bounds_[static_cast<size_t>(i)] = std::numeric_limits<T>::infinity();
        }
    }
    // What the k-th best of these rows is at most.
    double reach(const Task& task, int64_t row, int64_t rows) const {
        const int64_t first = row - workspace_[static_cast<size_t>(task.worker)].first_row;
        const T* bounds = bounds_.data() + first;
        return static_cast<double>(*std::max_element(bounds, bounds + rows));
    }
    void end_group(const Task& task) {
        Workspace& mine = workspace_[static_cast<size_t>(task.worker)];
        for (int64_t row = task.first_row; row < task.first_row + task.rows; ++row) {
            end_row(row, mine);
        }
    }

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        if (symmetric_ && rows.first > 0) return;
        const int64_t held = symmetric_ ? search_.queries().rows() : rows.count;
        for (Workspace& one : workspace_) one.first_row = rows.first;
        lists_.begin(held, segments, Shortlist{.due = due_after(k_)});
        bounds_.assign(lists_.size(), std::numeric_limits<T>::infinity());
        for (int64_t i = 0; i < held && !known_.empty(); ++i) {
            std::fill_n(bounds_.begin() + static_cast<std::ptrdiff_t>(lists_.place(i, 0)), segments,
                        known_[static_cast<size_t>(rows.first + i)]);
        }
        highs_.reserve(held * segments * capacity_);
        rests_.reserve(held * segments * capacity_);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows,
              const Panels<T>& columns) {
        Workspace& mine = workspace_[static_cast<size_t>(task.worker)];
        mine.hits.resize(static_cast<size_t>(tile.cols));
        mine.mirrored.clear();
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t local = tile.local_row + i, row = tile.row + i;
            const int64_t query = query_at_ ? query_at_[row] : row;
            // pairs of a triangle below the diagonal are served by those above it
            const int64_t past = symmetric_ ? std::max<int64_t>(0, row + 1 - tile.col) : 0;
            const int cols = static_cast<int>(tile.cols - past);
            if (cols <= 0) break;
            const int64_t col = tile.col + past;
            const int64_t first = tile.local_col + past;
            const T* values = tile.data + i * tile.ld + past;
            const double norm = formula_.add_norms ? static_cast<double>(rows.norms[local]) : 0.0;
            const double error =
                in_order_ ? 0.0 : formula_.error(rows.norm_bounds[local], tile.col_bound);
            // tiles may hold lower bounds alone: those pairs are finished that these leave
            const bool finishing = finishing_;
            const double error_in_full =
                finishing ? finish_.error(rows.norm_bounds[local], tile.col_bound) : error;
            const auto finished = [&](auto limit, int found) {
                return finish_(rows, local, columns, tile.local_col + past, tile.col_bound, values,
                               limit, mine.hits.data(), found, task.worker);
            };
            const auto candidate = [&](T in_tile, int32_t j, int64_t index) {
                const double value = norm + static_cast<double>(in_tile);
                const double sure = std::min<double>(value, std::numeric_limits<T>::max());
                // the very column's, where the worst of the tile's is much more
                const double here = by_column_ ? formula_.error(rows.norm_bounds[local],
                                                                columns.bound_of(first + j))
                                               : error_in_full;
                const double off = formula_.error_at(sure, here);
                return Candidate<T>{rounded_down<T>(sure - off), rounded_up<T>(value + off),
                                    static_cast<uint32_t>(index)};
            };
            const auto reference_of = [&](int32_t j) {
                return reference_at_ ? reference_at_[col + j] : col + j;
            };
            const size_t state = state_of(row, task.segment, mine);
            if (bounds_[state] == std::numeric_limits<T>::infinity()) {
                bounds_[state] = first_bound(values, cols, norm, error);
            }
            T limit = limit_for(bounds_[state], error, norm);
            int found = ops_.select_below(values, cols, limit, mine.hits.data());
            if (finishing && found > 0) {
                const auto inadmissible = [&](int32_t j) {
                    return !predicate_.admits(query, reference_of(j));
                };
                found = static_cast<int>(
                    std::remove_if(mine.hits.begin(), mine.hits.begin() + found, inadmissible) -
                    mine.hits.begin());
                found = finished([limit](int32_t) { return limit; }, found);
                limit = limit_for(bounds_[state], error_in_full, norm);
            }
            const T* in_full = finish_.values(task.worker);
            for (int h = 0; h < found; ++h) {
                const int32_t j = mine.hits[static_cast<size_t>(h)];
                const T value = finishing ? in_full[h] : values[j];
                if (!(value <= limit)) continue;
                const int64_t reference = reference_of(j);
                const Candidate<T> one = candidate(value, j, reference);
                if (by_column_ && !(one.low <= bounds_[state])) continue;
                if (comes_too_late(state, one) || !predicate_.admits(query, reference)) continue;
                if (push(state, query, one, mine))
                    limit = limit_for(bounds_[state], error_in_full, norm);
            }
            if (!symmetric_) continue;
            found = ops_.select_below_each(values, cols, T(1), bounds_.data() + col,
                                           rounded_up<T>(error - norm), mine.hits.data());
            if (finishing && found > 0) {
                found = finished(
                    [&](int32_t j) { return static_cast<double>(bounds_[col + j]) + error - norm; },
                    found);
                in_full = finish_.values(task.worker);
            }
            for (int h = 0; h < found; ++h) {
                const int32_t j = mine.hits[static_cast<size_t>(h)];
                if (!predicate_.admits(col + j, row)) continue;
                const T value = finishing ? in_full[h] : values[j];
                mine.mirrored.push_back({candidate(value, j, row), col + j});
                const Candidates<T> theirs = candidates_of(state_of(col + j, 0, mine));
                __builtin_prefetch(theirs.high + theirs.count, 1);
                __builtin_prefetch(theirs.rest + theirs.count, 1);
            }
        }
        for (const Mirrored& pair : mine.mirrored) {
            const size_t state = state_of(pair.row, 0, mine);
            if (!(pair.candidate.low <= bounds_[state])) continue;
            if (comes_too_late(state, pair.candidate)) continue;
            push(state, pair.row, pair.candidate, mine);
        }
    }

    void end_rows(const Panels<T>& rows) {
        constexpr int64_t rows_per_block = 64;
        const int64_t blocks = (rows.count + rows_per_block - 1) / rows_per_block;
        Control& control = search_.control();
        parallel_for(blocks, control, [&](int64_t block, int worker) {
            Workspace& mine = workspace_[static_cast<size_t>(worker)];
            const int64_t end = std::min(rows.count, (block + 1) * rows_per_block);
            for (int64_t i = block * rows_per_block; i < end; ++i) {
                control.tick(worker);
                end_row(rows.first + i, mine);
            }
        });
    }

    // Pairs whose tiles held lower bounds, and that were computed in full.
    int64_t finished() const { return finish_.finished(); }

    int64_t rescored() const {
        int64_t pairs = 0;
        for (const Workspace& one : workspace_) pairs += one.rescored;
        return pairs;
    }

  private:
    // A pair as its column sees it. It waits for the end of its tile, while the states of columns,
    // which lie anywhere in memory, are fetched.
    struct Mirrored {
        Candidate<T> candidate;
        int64_t row;  // whose candidate it is
    };
    struct Workspace {
        Canonical canonical;
        std::vector<int32_t> hits;
        std::vector<Mirrored> mirrored;
        std::vector<Neighbor> confirmed, best;
        std::vector<T> highs;  // of candidates from several segments
        std::vector<typename Candidates<T>::Rest> rests;
        int64_t rescored;   // pairs
        int64_t first_row;  // whose state is the first
    };

    size_t state_of(int64_t row, int64_t segment, const Workspace& mine) const {
        return lists_.place(row - mine.first_row, segment);
    }

    void end_row(int64_t row, Workspace& mine) {
        const int64_t query = query_at_ ? query_at_[row] : row;
        Candidates<T> all = gather(row, mine);
        confirm(query, all, mine.best, mine);
        if (static_cast<int64_t>(mine.best.size()) > k_) mine.best.resize(static_cast<size_t>(k_));
        end_row_(query, mine.best);
    }

    Candidates<T> candidates_of(size_t state) {
        const int64_t first = static_cast<int64_t>(state) * capacity_;
        return {highs_.data() + first, rests_.data() + first, lists_[state].count};
    }

    // Tile values up to the limit may belong to the k best. Where values are in order and
    // references come in ascending order, a tie with the k-th loses.
    T limit_for(T bound, double error, double norm) const {
        const double limit = formula_.highest(static_cast<double>(bound) + error - norm);
        if (in_order_ && !symmetric_ && !reference_at_ && limit < INFINITY) {
            return std::nextafter(static_cast<T>(limit), -std::numeric_limits<T>::infinity());
        }
        return rounded_up<T>(limit);
    }

    // Of a list that has none yet: k pairs of the tile are not above it. Infinity where that cannot
    // be said: tiles of lower bounds, pairs that the predicate may rule out, values that are no
    // numbers.
    T first_bound(const T* values, int cols, double norm, double error) const {
        constexpr T none = std::numeric_limits<T>::infinity();
        const int64_t wanted = k_ + (predicate_.exclude_self ? 1 : 0);
        if (in_order_ || formula_.prefix || !predicate_.admits_others() || 2 * wanted > cols)
            return none;
        if (ops_.count_below(values, cols, std::numeric_limits<T>::max()) < cols) return none;
        const double value = norm + static_cast<double>(cut_at(ops_, values, cols, wanted));
        return rounded_up<T>(value + formula_.error_at(value, error));
    }

    // Returns whether the bound may have changed.
    bool push(size_t state, int64_t row, const Candidate<T>& one, Workspace& mine) {
        Candidates<T> candidates = candidates_of(state);
        candidates.append(one);
        lists_[state].count = candidates.count;
        if (candidates.count < lists_[state].due) return false;
        tighten(state, row, mine);
        return true;
    }

    // A bound is lowered long before a list of few neighbours is full: what it lets in until then
    // costs more.
    int64_t due_after(int64_t count) const {
        return std::min(capacity_, count + std::max({int64_t{8}, k_, count / 4}));
    }

    bool comes_too_late(size_t state, const Candidate<T>& one) const {
        const Shortlist& list = lists_[state];
        if (one.index <= list.late) return false;
        return in_order_ ? one.high == bounds_[state] : common_.which(one.index) == list.common;
    }

    // Lowers the bound of a list and makes room in it. Near-ties that the error cannot tell apart
    // are rescored once they fill half of it, after which exactly k remain: a list never overflows.
    // Kept apart from the loop over hits, which it would rob of its registers.
    [[gnu::noinline]] void tighten(size_t state, int64_t row, Workspace& mine) {
        Shortlist& list = lists_[state];
        T& bound = bounds_[state];
        Candidates<T> candidates = candidates_of(state);
        if (in_order_) {
            list.late = candidates.cut_in_order(ops_, k_, bound);
        } else {
            candidates.cut(ops_, k_, bound);
        }
        list.count = candidates.count;
        list.due = due_after(list.count);
        if (list.count <= k_ + (capacity_ - k_) / 2) return;
        std::vector<Neighbor>& confirmed = mine.confirmed;
        confirmed.clear();
        rescore(row, candidates, confirmed, mine);
        if (static_cast<int64_t>(confirmed.size()) >= k_) {
            std::nth_element(confirmed.begin(), confirmed.begin() + k_ - 1, confirmed.end(),
                             earlier);
            for (size_t c = static_cast<size_t>(k_); c < confirmed.size(); ++c) {
                const auto index = static_cast<uint32_t>(confirmed[c].index);
                const uint8_t common = common_.which(index);
                if (!common) continue;
                list.common = common;
                list.late = index;
                break;
            }
            confirmed.resize(static_cast<size_t>(k_));
        }
        candidates.count = 0;
        for (const Neighbor& one : confirmed) candidates.append(settled(one));
        list.count = candidates.count;
        list.due = due_after(list.count);
        if (list.count == k_) bound = std::min(bound, candidates.high[k_ - 1]);
    }

    // The candidates of a row in all segments.
    Candidates<T> gather(int64_t row, Workspace& mine) {
        const size_t first = state_of(row, 0, mine);
        const auto segments = static_cast<size_t>(lists_.segments());
        if (segments == 1) return candidates_of(first);
        mine.highs.clear();
        mine.rests.clear();
        for (size_t state = first; state < first + segments; ++state) {
            const Candidates<T> some = candidates_of(state);
            mine.highs.insert(mine.highs.end(), some.high, some.high + some.count);
            mine.rests.insert(mine.rests.end(), some.rest, some.rest + some.count);
        }
        return {mine.highs.data(), mine.rests.data(), static_cast<int64_t>(mine.highs.size())};
    }

    // A candidate whose value is known: in packed units it is rounded once more, and may vanish.
    Candidate<T> settled(const Neighbor& one) const {
        constexpr double outward = 1e-15, least = std::numeric_limits<double>::denorm_min();
        const double value = formula_.unit * one.value;
        const double slack = std::isfinite(value) ? std::fabs(value) * outward + least : 0.0;
        return {rounded_down<T>(value - slack), rounded_up<T>(value + slack),
                static_cast<uint32_t>(one.index)};
    }

    // As a type of its own, which sorts compile into themselves.
    static constexpr auto earlier = [](const Neighbor& a, const Neighbor& b) {
        return a.before(b);
    };

    // Appends the canonical values of candidates. An infinite product less another has no place in
    // an order.
    void rescore(int64_t row, const Candidates<T>& some, std::vector<Neighbor>& values,
                 Workspace& mine) const {
        constexpr int64_t ahead = 4;
        Canonical& canonical = mine.canonical;
        canonical.set_row(row);
        mine.rescored += some.count;
        for (int64_t c = 0; c < some.count; ++c) {
            if (c + ahead < some.count) canonical.prefetch(some.rest[c + ahead].index);
            const double value = canonical(some.rest[c].index);
            if (value == value) values.push_back({value, some.rest[c].index});
        }
    }

    void confirm(int64_t row, Candidates<T>& all, std::vector<Neighbor>& best,
                 Workspace& mine) const {
        T bound = std::numeric_limits<T>::infinity();
        if (!in_order_) {
            // a cut takes as long as some values
            if ((all.count - k_) * (24 + search_.queries().d()) > 192) all.cut(ops_, k_, bound);
        } else if (all.count > k_) {
            all.cut_in_order(ops_, k_, bound);
        }
        best.clear();
        if (exact_) {
            for (int64_t c = 0; c < all.count; ++c) {
                const double value = static_cast<double>(all.high[c]) / formula_.unit;
                if (value == value) best.push_back({value, all.rest[c].index});
            }
        } else if (all.count <= k_ + std::max<int64_t>(8, k_ / 4)) {
            rescore(row, all, best, mine);
        } else {
            // those that are likely the neighbours first: what they are settles most of the others
            Candidates<T> others = all.split(bound);
            rescore(row, all, best, mine);
            if (static_cast<int64_t>(best.size()) >= k_) {
                std::nth_element(best.begin(), best.begin() + k_ - 1, best.end(), earlier);
                const T kth = settled(best[static_cast<size_t>(k_ - 1)]).high;
                others.keep([kth](T, const auto& other) { return other.low <= kth; });
            }
            rescore(row, others, best, mine);
        }
        put_in_order(best, mine);
    }

    // A few by counting how many come before each: no branch depends on any of them.
    static void put_in_order(std::vector<Neighbor>& best, Workspace& mine) {
        constexpr size_t few = 32;
        if (best.size() > few) return std::sort(best.begin(), best.end(), earlier);
        size_t place[few] = {};
        for (size_t i = 1; i < best.size(); ++i) {
            const Neighbor one = best[i];
            size_t before = 0;
            for (size_t j = 0; j < i; ++j) {
                const Neighbor& other = best[j];
                const bool after = (other.value > one.value) |
                                   ((other.value == one.value) & (other.index > one.index));
                place[j] += after;
                before += !after;
            }
            place[i] = before;
        }
        mine.confirmed.resize(best.size());
        for (size_t i = 0; i < best.size(); ++i) mine.confirmed[place[i]] = best[i];
        std::swap(mine.confirmed, best);
    }

    const Search<T>& search_;
    int64_t k_, capacity_, most_rows_ = 0;
    const Ops<T>& ops_;
    const CommonRows& common_;  // of the references
    const Predicate& predicate_;
    EndRow end_row_;
    Finish<T> finish_;
    std::vector<T> known_;
    bool finishing_;
    const TileFormula formula_;
    bool exact_;      // tile values are the values: nothing to rescore (always so when "fast")
    bool in_order_;   // they order pairs as the values do: the k first are the neighbours
    bool by_column_;  // the error of a candidate is that of its very column
    bool symmetric_;  // each pair of a triangle is offered to both its rows, in any order
    // which query and reference is at each place of the sweep, null: that of the same number
    const int64_t *query_at_, *reference_at_;
    std::vector<Workspace> workspace_;
    RowStates<Shortlist> lists_;
    // k-th smallest upper end so far of each list: the k-th best value is not above it
    std::vector<T> bounds_;
    Buffer<T> highs_;
    Buffer<typename Candidates<T>::Rest> rests_;
};

}  // namespace pairtile
