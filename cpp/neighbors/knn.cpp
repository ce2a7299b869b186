// Screening and confirming: tiles give each pair a cheap argument with a proven error; a row keeps
// whatever may still be among its k best, and only those are rescored by their canonical value.
#include "neighbors/knn.hpp"

#include <algorithm>
#include <cmath>

#include "engine/candidates.hpp"
#include "engine/canonical.hpp"
#include "engine/row_states.hpp"
#include "engine/screen.hpp"
#include "engine/sweep.hpp"
#include "neighbors/index.hpp"
#include "neighbors/repeated_rows.hpp"
#include "pairtile/fold/top_k.hpp"

namespace pairtile {
namespace {

// What is known of the candidates of one row within one segment of the references.
struct Shortlist {
    int64_t count = 0;
    int64_t due;  // the count at which the bound is lowered
    // From this index on lose, as they come later: values equal to the bound where they are in
    // order, or else copies of the common row, one of which was rescored and dropped.
    uint32_t late = std::numeric_limits<uint32_t>::max();
    uint8_t common = 0;
};

template <class D>
D result_as(const Metric& metric, double ordered) {
    return static_cast<D>(reported(metric, ordered));
}
template <>
Ordered result_as<Ordered>(const Metric&, double ordered) {
    return {ordered};
}

// Whole cache lines of numbers.
int64_t capacity_for(int64_t k) { return (k + std::max<int64_t>(32, k) + 15) / 16 * 16; }

template <class T>
constexpr int64_t candidate_bytes = sizeof(T) + sizeof(typename Candidates<T>::Rest);

template <class T>
int64_t state_bytes(int64_t k) {
    constexpr int64_t list = sizeof(Shortlist) + sizeof(T);  // with its bound
    return capacity_for(k) * candidate_bytes<T> + list;
}

// Rows being packed, and the candidates of one row over all segments while they are confirmed.
template <class T>
int64_t bytes_per_worker(int64_t d, int64_t k, int64_t segments) {
    constexpr int64_t confirmed = candidate_bytes<T> + sizeof(Neighbor);
    return packing_bytes(d) + segments * capacity_for(k) * confirmed;
}

// Whether the k neighbours of n rows among themselves cost less by half the tiles, each serving
// both sides, than by all of them. `work`: of a pair, in features of float32.
bool worth_halving(int64_t n, int64_t k, double work) {
    if (tile_is_forced()) return true;
    // Every doubling of the columns seen brings a row some k candidates more, each of which costs a
    // column, whose state is not at hand, the work of so many features more than it costs a row.
    constexpr double fetching = 1250.0;
    const double rows = static_cast<double>(n), kept = static_cast<double>(k);
    return 0.5 * rows * work > fetching * kept * std::log2(1.0 + rows / kept);
}

template <class T, class D>
class TopK {
  public:
    TopK(const Source& queries, const Source& references, int64_t k, const Metric& metric,
         const CommonRows& common, const Predicate& predicate, const TileFormula& formula,
         bool symmetric, Control& control, D* distances, int64_t* indices)
        : queries_(queries),
          references_(references),
          k_(k),
          capacity_(capacity_for(k)),
          ops_(ops_of<T>(isa())),
          metric_(metric),
          common_(common),
          predicate_(predicate),
          formula_(formula),
          exact_(formula.exact()),
          in_order_(exact_ || formula.order_exact),
          symmetric_(symmetric),
          control_(control),
          distances_(distances),
          indices_(indices) {
        for (int w = 0; w < control.workers(); ++w) {
            workspace_.push_back({Canonical(metric, queries, references), {}, {}, {}, {}, {}, 0});
        }
    }

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        if (symmetric_ && rows.first > 0) return;
        const int64_t held = symmetric_ ? queries_.rows() : rows.count;
        first_row_ = rows.first;
        lists_.begin(held, segments, Shortlist{.due = due_after(k_)});
        bounds_.assign(lists_.size(), std::numeric_limits<T>::infinity());
        highs_.reserve(held * segments * capacity_);
        rests_.reserve(held * segments * capacity_);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        Workspace& mine = workspace_[static_cast<size_t>(task.worker)];
        mine.hits.resize(static_cast<size_t>(tile.cols));
        mine.mirrored.clear();
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t local = tile.local_row + i, row = tile.row + i;
            // pairs of a triangle below the diagonal are served by those above it
            const int64_t past = symmetric_ ? std::max<int64_t>(0, row + 1 - tile.col) : 0;
            const int cols = static_cast<int>(tile.cols - past);
            if (cols <= 0) break;
            const int64_t col = tile.col + past;
            const T* values = tile.data + i * tile.ld + past;
            const double norm = formula_.add_norms ? static_cast<double>(rows.norms[local]) : 0.0;
            const double error =
                in_order_ ? 0.0 : formula_.error(rows.norm_bounds[local], tile.col_bound);
            const auto candidate = [&](int32_t j, int64_t index) {
                const double value = norm + static_cast<double>(values[j]);
                const double sure = std::min<double>(value, std::numeric_limits<T>::max());
                const double off = error + formula_.relative * sure;
                return Candidate<T>{rounded_down<T>(sure - off), rounded_up<T>(value + off),
                                    static_cast<uint32_t>(index)};
            };
            const size_t state = state_of(row, task.segment);
            T limit = limit_for(bounds_[state], error, norm);
            int found = ops_.select_below(values, cols, limit, mine.hits.data());
            for (int h = 0; h < found; ++h) {
                const int32_t j = mine.hits[static_cast<size_t>(h)];
                if (!(values[j] <= limit)) continue;
                const Candidate<T> one = candidate(j, col + j);
                if (comes_too_late(state, one) || !predicate_.admits(row, col + j)) continue;
                if (push(state, row, one, mine)) limit = limit_for(bounds_[state], error, norm);
            }
            if (!symmetric_) continue;
            found = ops_.select_below_each(values, cols, T(1), bounds_.data() + col,
                                           rounded_up<T>(error - norm), mine.hits.data());
            for (int h = 0; h < found; ++h) {
                const int32_t j = mine.hits[static_cast<size_t>(h)];
                if (!predicate_.admits(col + j, row)) continue;
                mine.mirrored.push_back({candidate(j, row), col + j});
                const Candidates<T> theirs = candidates_of(state_of(col + j, 0));
                __builtin_prefetch(theirs.high + theirs.count, 1);
                __builtin_prefetch(theirs.rest + theirs.count, 1);
            }
        }
        for (const Mirrored& pair : mine.mirrored) {
            const size_t state = state_of(pair.row, 0);
            if (!(pair.candidate.low <= bounds_[state])) continue;
            if (comes_too_late(state, pair.candidate)) continue;
            push(state, pair.row, pair.candidate, mine);
        }
    }

    void end_rows(const Panels<T>& rows) {
        constexpr int64_t rows_per_block = 64;
        const int64_t blocks = (rows.count + rows_per_block - 1) / rows_per_block;
        parallel_for(blocks, control_, [&](int64_t block, int worker) {
            std::vector<Neighbor> best;
            Workspace& mine = workspace_[static_cast<size_t>(worker)];
            const int64_t end = std::min(rows.count, (block + 1) * rows_per_block);
            for (int64_t i = block * rows_per_block; i < end; ++i) {
                control_.tick(worker);
                const Candidates<T> all = gather(rows.first + i, mine);
                confirm(rows.first + i, all, best, mine);
                write(rows.first + i, best);
            }
        });
    }

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
        std::vector<Neighbor> confirmed;
        std::vector<T> highs;  // of candidates from several segments
        std::vector<typename Candidates<T>::Rest> rests;
        int64_t rescored;  // pairs
    };

    size_t state_of(int64_t row, int64_t segment) const {
        return lists_.place(row - first_row_, segment);
    }

    Candidates<T> candidates_of(size_t state) {
        const int64_t first = static_cast<int64_t>(state) * capacity_;
        return {highs_.data() + first, rests_.data() + first, lists_[state].count};
    }

    // Tile values up to the limit may belong to the k best. Where values are in order and
    // references come in ascending order, a tie with the k-th loses.
    T limit_for(T bound, double error, double norm) const {
        double limit = static_cast<double>(bound) + error - norm;
        if (formula_.relative > 0.0) limit /= 1.0 - formula_.relative;
        if (in_order_ && !symmetric_ && limit < INFINITY) {
            return std::nextafter(static_cast<T>(limit), -std::numeric_limits<T>::infinity());
        }
        return rounded_up<T>(limit);
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
        return std::min(capacity_, count + std::max<int64_t>(8, k_));
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
        // in packed units values are rounded once more, and may vanish
        constexpr double outward = 1e-15, least = std::numeric_limits<double>::denorm_min();
        candidates.count = 0;
        for (const Neighbor& one : confirmed) {
            const double value = formula_.unit * one.value;
            const double slack = std::isfinite(value) ? std::fabs(value) * outward + least : 0.0;
            candidates.append({rounded_down<T>(value - slack), rounded_up<T>(value + slack),
                               static_cast<uint32_t>(one.index)});
        }
        list.count = candidates.count;
        list.due = due_after(list.count);
        if (list.count == k_) bound = std::min(bound, candidates.high[k_ - 1]);
    }

    // The candidates of a row in all segments.
    Candidates<T> gather(int64_t row, Workspace& mine) {
        const size_t first = state_of(row, 0);
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

    static bool earlier(const Neighbor& a, const Neighbor& b) { return a.before(b); }

    // The canonical values of candidates. An infinite product less another has no place in an
    // order.
    void rescore(int64_t row, const Candidates<T>& some, std::vector<Neighbor>& values,
                 Workspace& mine) const {
        constexpr int64_t ahead = 4;
        Canonical& canonical = mine.canonical;
        canonical.set_row(row);
        mine.rescored += some.count;
        values.clear();
        for (int64_t c = 0; c < some.count; ++c) {
            if (c + ahead < some.count) canonical.prefetch(some.rest[c + ahead].index);
            const double value = canonical(some.rest[c].index);
            if (value == value) values.push_back({value, some.rest[c].index});
        }
    }

    void confirm(int64_t row, Candidates<T> all, std::vector<Neighbor>& best,
                 Workspace& mine) const {
        T bound = std::numeric_limits<T>::infinity();
        if (!in_order_) {
            all.cut(ops_, k_, bound);
        } else if (all.count > k_) {
            all.cut_in_order(ops_, k_, bound);
        }
        if (exact_) {
            best.clear();
            for (int64_t c = 0; c < all.count; ++c) {
                const double value = static_cast<double>(all.high[c]) / formula_.unit;
                if (value == value) best.push_back({value, all.rest[c].index});
            }
        } else {
            rescore(row, all, best, mine);
        }
        std::sort(best.begin(), best.end(), earlier);
    }

    void write(int64_t row, const std::vector<Neighbor>& best) const {
        const int64_t found = std::min(k_, static_cast<int64_t>(best.size()));
        for (int64_t c = 0; c < k_; ++c) {
            const bool have = c < found;
            constexpr double missing = std::is_same_v<D, Ordered> ? NAN : INFINITY;
            double value = have ? best[static_cast<size_t>(c)].value : missing;
            if (!metric_.largest_first() && value < 0.0) value = 0.0;  // where not rescored
            distances_[row * k_ + c] = result_as<D>(metric_, value);
            indices_[row * k_ + c] = have ? best[static_cast<size_t>(c)].index : -1;
        }
    }

    const Source& queries_;
    const Source& references_;
    int64_t k_, capacity_, first_row_ = 0;
    const Ops<T>& ops_;
    Metric metric_;
    const CommonRows& common_;  // of the references
    const Predicate& predicate_;
    TileFormula formula_;
    bool exact_;      // tile values are the values: nothing to rescore (always so when "fast")
    bool in_order_;   // they order pairs as the values do: the k first are the neighbours
    bool symmetric_;  // each pair of a triangle is offered to both its rows, in any order
    Control& control_;
    D* distances_;
    int64_t* indices_;
    std::vector<Workspace> workspace_;
    RowStates<Shortlist> lists_;
    // k-th smallest upper end so far of each list: the k-th best value is not above it
    std::vector<T> bounds_;
    Buffer<T> highs_;
    Buffer<typename Candidates<T>::Rest> rests_;
};

template <class T, class D>
int64_t knn_screened_in(const Screen& screen, const TileFormula& formula, const Source& queries,
                        const Source& references, int64_t k, const Metric& metric,
                        const Predicate& predicate, bool may_halve, Control& control, D* distances,
                        int64_t* indices, const Index* index, std::atomic<bool>* nonfinite) {
    BlockingLimits limits = limits_within(control.memory());
    limits.state_bytes_per_row = state_bytes<T>(k);
    limits.few_rows = true;
    const double work = static_cast<double>(formula.words(queries.d()) * (sizeof(T) / 4));
    limits.symmetric = may_halve && worth_halving(queries.rows(), k, work);
    const Blocking blocking =
        choose_blocking(ops_of<T>(isa()), queries.rows(), references.rows(), queries.d(), limits);
    const int64_t segments = blocking.segments(references.rows());
    control.fit_workers(bytes_per_worker<T>(queries.d(), k, segments));
    Sweep<T> sweep{screen.rows, screen.cols,        screen.frame, formula,
                   blocking,    blocking.symmetric, control};
    sweep.packed = packed_for<T>(index, formula);
    sweep.nonfinite = nonfinite;
    expect(sweep);
    // reading all references once more must not be what a search costs
    constexpr int64_t few_queries = 32, few_pairs = int64_t{1} << 22;
    const bool looks = !formula.exact() && queries.rows() > few_queries &&
                       queries.rows() * references.rows() > few_pairs;
    const CommonRows common = looks ? CommonRows(references, control) : CommonRows();
    TopK<T, D> fold(queries, references, k, metric, common, predicate, formula, blocking.symmetric,
                    control, distances, indices);
    run(sweep, fold);
    return fold.rescored();
}

}  // namespace

template <class D>
int64_t knn(Source queries, Source references, int64_t k, const Metric& metric,
            const Predicate& predicate, Precision precision, Control& control, D* distances,
            int64_t* indices, const Index* index, std::atomic<bool>* nonfinite) {
    queries.read_as(metric.traits().reading);
    references.read_as(metric.traits().reading);
    const Screen screen = index ? index->screen(queries, references, metric, control)
                          : better_in_place(queries, references, metric)
                              ? screen_in_place(queries, references, metric)
                              : choose_screen(queries, references, metric, control);
    const Choice choice =
        choose_precision(screen, queries, references, k, metric, precision, packing_of(index));
    const auto search = choice.wide ? knn_screened_in<double, D> : knn_screened_in<float, D>;
    // where nothing is rescored, a value depends on which of its rows is the query
    const bool may_halve = predicate.exclude_self && precision != Precision::fast;
    return search(screen, choice.formula, queries, references, k, metric, predicate, may_halve,
                  control, distances, indices, index, nonfinite);
}

int64_t least_knn_memory(int64_t d, int64_t k) {
    return least_memory(d, state_bytes<double>(k), bytes_per_worker<double>(d, k, 1));
}

template <class D>
void pairwise_distances(Source x, Source y, const Metric& metric, Control& control, D* distances) {
    x.read_as(metric.traits().reading);
    y.read_as(metric.traits().reading);
    control.expect(x.rows() * y.rows());
    parallel_for(x.rows(), control, [&](int64_t i, int worker) {
        Canonical canonical(metric, x, y);
        canonical.set_row(i);
        for (int64_t j = 0; j < y.rows(); ++j) {
            if (j % 4096 == 0) control.tick(worker);
            distances[i * y.rows() + j] = static_cast<D>(reported(metric, canonical(j)));
        }
        control.advance(y.rows());
    });
}

template int64_t knn<float>(Source, Source, int64_t, const Metric&, const Predicate&, Precision,
                            Control&, float*, int64_t*, const Index*, std::atomic<bool>*);
template int64_t knn<double>(Source, Source, int64_t, const Metric&, const Predicate&, Precision,
                             Control&, double*, int64_t*, const Index*, std::atomic<bool>*);
template int64_t knn<Ordered>(Source, Source, int64_t, const Metric&, const Predicate&, Precision,
                              Control&, Ordered*, int64_t*, const Index*, std::atomic<bool>*);
template void pairwise_distances<float>(Source, Source, const Metric&, Control&, float*);
template void pairwise_distances<double>(Source, Source, const Metric&, Control&, double*);

}  // namespace pairtile
