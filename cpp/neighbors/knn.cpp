// Screening and confirming: tiles give each pair a cheap argument with a proven error; a row keeps
// whatever may still be among its k best, and only those are rescored by their canonical value.
#include "neighbors/knn.hpp"

#include <cmath>
#include <memory>
#include <vector>

#include "neighbors/top_k.hpp"

namespace pairtile {
namespace {

template <class D>
D result_as(const Metric& metric, double ordered) {
    return static_cast<D>(reported(metric, ordered));
}
template <>
Ordered result_as<Ordered>(const Metric&, double ordered) {
    return {ordered};
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

ScreenFor screen_for(int64_t k) { return {.k = k, .in_place = true, .finishes = true}; }

template <class T>
FoldNeeds needs_of(int64_t k, int64_t unsettled) {
    return {.state_bytes_per_row = state_bytes<T>(k, unsettled),
            .worker_bytes_per_segment = confirmed_bytes<T>(k, unsettled),
            .few_rows = true};
}

// Candidates that a row's list has room for beside its neighbours. Within a limit of memory lists
// stay short, and are settled more often.
int64_t unsettled_of(const Screened& screened) {
    return screened.control.memory() > 0 ? 0 : screened.screen.plan.unsettled;
}

// Those of a search, with each pair of a self-join serving both its rows where that pays; where
// nothing is rescored, a value depends on which of its rows is the query.
template <class T>
FoldNeeds needs_of(const Screened& screened, int64_t k, bool symmetric) {
    const SearchRequest& request = screened.request;
    const int64_t unsettled = unsettled_of(screened);
    FoldNeeds needs = needs_of<T>(k, unsettled);
    const int64_t words = screened.screen.formula.words(request.queries.d());
    needs.symmetric = symmetric && request.precision != Precision::fast &&
                      worth_halving(request.queries.rows(), k + unsettled,
                                    static_cast<double>(words * (sizeof(T) / 4)));
    return needs;
}

// Where a good part of the references may be rescored, those that repeat one another.
CommonRows common_rows_for(const Screened& screened) {
    // reading all references once more must not be what a search costs
    constexpr int64_t few_queries = 32, few_pairs = int64_t{1} << 22;
    const Source &queries = screened.request.queries, &references = screened.request.references;
    if (screened.screen.formula.exact() || queries.rows() <= few_queries ||
        queries.rows() * references.rows() <= few_pairs) {
        return {};
    }
    return CommonRows(references, screened.control);
}

// A predicate on some queries and references, numbered anew.
class PredicateOfSome {
  public:
    PredicateOfSome(const Predicate& all, const std::vector<int64_t>& queries,
                    const std::vector<int64_t>& references)
        : some(all) {
        take(all.query_groups, queries, query_groups_, some.query_groups);
        take(all.reference_groups, references, reference_groups_, some.reference_groups);
        take(all.query_times, queries, query_times_, some.query_times);
        take(all.reference_times, references, reference_times_, some.reference_times);
        take(all.query_ticks, queries, query_ticks_, some.query_ticks);
        take(all.reference_ticks, references, reference_ticks_, some.reference_ticks);
        if (!all.reference_mask) return;
        mask_ = std::make_unique<bool[]>(references.size());
        for (size_t i = 0; i < references.size(); ++i) mask_[i] = all.reference_mask[references[i]];
        some.reference_mask = mask_.get();
    }
    Predicate some;

  private:
    template <class V>
    static void take(const V* all, const std::vector<int64_t>& rows, std::vector<V>& taken,
                     const V*& into) {
        if (!all) return;
        for (const int64_t row : rows) taken.push_back(all[row]);
        into = taken.data();
    }

    std::vector<int64_t> query_groups_, reference_groups_, query_ticks_, reference_ticks_;
    std::vector<double> query_times_, reference_times_;
    std::unique_ptr<bool[]> mask_;
};

// The pairs that a search among these rows alone computes when it skips tiles.
int64_t computed_of_some(const SearchRequest& request, int64_t k, const Predicate& predicate,
                         const std::vector<int64_t>& queries,
                         const std::vector<int64_t>& references, Control& control) {
    const SearchRequest some = request.of_some(queries, references);
    const PredicateOfSome admitted(predicate, queries, references);
    std::vector<Ordered> values(queries.size() * static_cast<size_t>(k));
    std::vector<int64_t> indices(values.size());
    const KnnWork work = knn(some, k, admitted.some, control, values.data(), indices.data());
    return work.computed;
}

// What the k-th best value of each query is not above, in packed units: that of the k-th of some
// that are nearest by a few coordinates.
template <class T>
std::vector<T> guessed_bounds(const Screened& screened, int64_t k, const Predicate& predicate) {
    if (!screened.screen.plan.guess) return {};
    const SearchRequest& request = screened.request;
    Screen screen = screened.screen;
    screen.formula = by_guess(screen.formula, *screen.plan.guess);
    const double unit = screen.formula.unit;
    const int64_t few = k + k / 2 + 8;
    std::vector<T> bounds(static_cast<size_t>(request.queries.rows()),
                          std::numeric_limits<T>::infinity());
    const auto bound = [&](int64_t row, const std::vector<Neighbor>& nearest) {
        Canonical canonical(request.metric, request.queries, request.references);
        canonical.set_row(row);
        std::vector<double> values;
        for (const Neighbor& one : nearest) {
            const double value = canonical(one.index);
            if (value == value) values.push_back(value);
        }
        if (static_cast<int64_t>(values.size()) < k) return;
        std::nth_element(values.begin(), values.begin() + (k - 1), values.end());
        // in packed units values are rounded once more, and may vanish
        constexpr double outward = 1e-15, least = std::numeric_limits<double>::denorm_min();
        const double value = unit * values[static_cast<size_t>(k - 1)];
        bounds[static_cast<size_t>(row)] =
            rounded_up<T>(value + std::fabs(value) * outward + least);
    };
    const CommonRows none;
    const Search<T> search({request, screen, false, screened.control}, needs_of<T>(few, 0));
    TopK<T> fold(search, std::min(few, request.references.rows()), 0, predicate, none, bound, {},
                 true);
    search.run(fold);
    return bounds;
}

}  // namespace

template <class D>
KnnWork knn(const SearchRequest& request, int64_t k, const Predicate& predicate, Control& control,
            D* distances, int64_t* indices) {
    const Metric& metric = request.metric;
    const auto write = [&](int64_t row, const std::vector<Neighbor>& best) {
        for (int64_t c = 0; c < k; ++c) {
            const bool have = c < static_cast<int64_t>(best.size());
            constexpr double missing = std::is_same_v<D, Ordered> ? NAN : INFINITY;
            double value = have ? best[static_cast<size_t>(c)].value : missing;
            if (!metric.largest_first() && value < 0.0) value = 0.0;  // where not rescored
            distances[row * k + c] = result_as<D>(metric, value);
            indices[row * k + c] = have ? best[static_cast<size_t>(c)].index : -1;
        }
    };
    const Pilot pilot = [&](const std::vector<int64_t>& queries,
                            const std::vector<int64_t>& references, Control& own) {
        return computed_of_some(request, k, predicate, queries, references, own);
    };
    ScreenFor wanted = screen_for(k);
    wanted.pilot = pilot;
    const KnnWork work = search(request, wanted, control, [&]<class T>(const Screened& screened) {
        const bool symmetric = predicate.exclude_self && !predicate.earlier;
        FoldNeeds needs = needs_of<T>(screened, k, symmetric);
        needs.earlier = predicate.earlier && !screened.skipping;
        const Search<T> search(screened, needs);
        const CommonRows common = common_rows_for(screened);
        TopK<T> fold(search, k, unsettled_of(screened), predicate, common, write,
                     guessed_bounds<T>(screened, k, predicate));
        const int64_t computed = search.run(fold);
        return KnnWork{computed, fold.rescored(),
                       screened.screen.formula.prefix ? fold.finished() : -1};
    });
    if (work.computed >= 0) return work;
    SearchRequest all = request;
    all.tiles = Tiles::all;
    return knn(all, k, predicate, control, distances, indices);
}

SearchPlan plan_knn(const SearchRequest& request, int64_t k, bool exclude_self, Control& control) {
    Predicate predicate;
    predicate.exclude_self = exclude_self;
    ScreenFor wanted = screen_for(k);
    wanted.pilot = [&](const std::vector<int64_t>& queries, const std::vector<int64_t>& references,
                       Control& own) {
        return computed_of_some(request, k, predicate, queries, references, own);
    };
    return search(request, wanted, control, [&]<class T>(const Screened& screened) -> SearchPlan {
        ScreenPlan plan = screened.screen.plan;
        const double n = static_cast<double>(request.queries.rows());
        const int64_t m = request.references.rows();
        if (screened.skipping) {
            constexpr int64_t few = 4096;
            plan.skips_tiles = true;
            plan.reasons.emplace_back(
                "rows in an order of nearness: tiles too far away are left out");
            return {std::move(plan),
                    n * expected_pairs_per_row(request.queries.rows(), m, exclude_self,
                                               std::max<int64_t>(4, std::min(few, m / 4)),
                                               wanted.pilot, control)};
        }
        const Search<T> search(screened, needs_of<T>(screened, k, exclude_self));
        double pairs = n * static_cast<double>(m);
        if (search.symmetric()) {
            pairs = 0.5 * n * (n - 1.0);
            plan.reasons.emplace_back("each pair of rows serves both");
        }
        return {std::move(plan), pairs * plan.full_pairs};
    });
}

int64_t least_knn_memory(int64_t d, int64_t k) { return least_memory(d, needs_of<double>(k, 0)); }

template KnnWork knn<float>(const SearchRequest&, int64_t, const Predicate&, Control&, float*,
                            int64_t*);
template KnnWork knn<double>(const SearchRequest&, int64_t, const Predicate&, Control&, double*,
                             int64_t*);
template KnnWork knn<Ordered>(const SearchRequest&, int64_t, const Predicate&, Control&, Ordered*,
                              int64_t*);

}  // namespace pairtile
