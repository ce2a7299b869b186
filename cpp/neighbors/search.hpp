// The driver of every statistic of neighbours. A statistic is a fold and a few lines:
//
//   search(request, {k}, control, [&]<class T>(const Screened& screened) {
//       const Search<T> search(screened, {.state_bytes_per_row = …});
//       MyFold<T> fold(search, …);
//       search.run(fold);
//   });
//
// rows as the metric reads them → screen (of an index, in place, or chosen) → float or double →
// blocking → sweep
#pragma once

#include "engine/canonical.hpp"
#include "engine/nearest.hpp"
#include "engine/prefix.hpp"
#include "engine/screen.hpp"
#include "engine/sweep.hpp"
#include "neighbors/few_queries.hpp"
#include "neighbors/index.hpp"
#include "neighbors/request.hpp"
#include "neighbors/skipped.hpp"

namespace pairtile {

// What a screen is to be good at.
struct ScreenFor {
    int64_t k;              // telling the k-th neighbour of a row from the next
    bool in_place = false;  // few queries: whether the fold takes errors that grow with the value
    // The work of a search of some queries and references, with tiles skipped: computed pairs. Of
    // a fold that says how far its rows reach (engine/nearest.hpp), else empty.
    Pilot pilot = {};
    bool finishes = false;  // takes tiles of lower bounds, and finishes the pairs that these leave
    std::optional<double> limit = {};  // ordered values up to this are what matters, in place of k
};

// What a fold holds of each row and column (doubled where those of both are held at once), and of
// each segment of the row that a thread finishes.
struct FoldNeeds {
    int64_t state_bytes_per_row = 0, state_bytes_per_col = 0;
    int64_t worker_bytes_per_segment = 0;
    bool few_rows = false;     // as BlockingLimits
    bool symmetric = false;    // likewise
    bool one_segment = false;  // tiles of a row come in the order of the columns
    bool triangle = false;     // a self-join of which pairs i < j are looked at
    bool earlier = false;      // or those of j < i
};

// The least memory that a search of rows of d features can be held to.
inline int64_t least_memory(int64_t d, const FoldNeeds& needs) {
    return least_memory(d, needs.state_bytes_per_row,
                        packing_bytes(d) + needs.worker_bytes_per_segment);
}

// A request with its screen, as search() hands it to the statistic.
struct Screened {
    const SearchRequest& request;  // whose rows are read as the metric wants them
    const Screen& screen;
    bool in_place;
    Control& control;
    const Skipping* skipping = nullptr;  // tiles that cannot matter are left out
};

template <class T>
class Search {
  public:
    Search(const Screened& screened, const FoldNeeds& needs)
        : screened_(screened),
          query_places_(screened.request.queries),
          reference_places_(screened.request.references),
          sweep_{screened.skipping ? screened.skipping->rows : screened.screen.rows,
                 screened.skipping ? screened.skipping->cols : screened.screen.cols,
                 screened.screen.frame,
                 screened.screen.formula,
                 blocking_for(screened, needs),
                 needs.triangle,
                 screened.control} {
        if (screened.skipping) {
            query_places_.take(query_order(), query_places_.rows());
            reference_places_.take(reference_order(), reference_places_.rows());
        }
        sweep_.triangle = !screened.in_place && (needs.triangle || sweep_.blocking.symmetric);
        sweep_.earlier = !screened.in_place && needs.earlier;
        if (!screened.skipping) {
            sweep_.packed = packed_for<T>(screened.request.index, screened.screen);
        }
        sweep_.nonfinite = screened.request.nonfinite;
        const int64_t segments = sweep_.blocking.segments(sweep_.cols.rows());
        control().fit_workers(packing_bytes(queries().d()) +
                              segments * needs.worker_bytes_per_segment);
    }

    // Canonical values are of these, tiles of what the screen makes of them.
    const Source& queries() const { return screened_.request.queries; }
    const Source& references() const { return screened_.request.references; }
    const Metric& metric() const { return screened_.request.metric; }
    const TileFormula& formula() const { return sweep_.formula; }
    bool symmetric() const { return sweep_.blocking.symmetric; }
    Control& control() const { return screened_.control; }

    // Which row is at each place of the sweep, null where they are as they were given.
    const int64_t* query_order() const {
        return screened_.skipping ? screened_.skipping->row_order->rows() : nullptr;
    }
    const int64_t* reference_order() const {
        return screened_.skipping ? screened_.skipping->col_order->rows() : nullptr;
    }

    // Queries and references in their places.
    const Source& query_places() const { return query_places_; }
    const Source& reference_places() const { return reference_places_; }

    // Returns how many pairs were computed; −1 if it ended soon, as no tile can be left out.
    template <class Fold>
    int64_t run(Fold& fold) const {
        if constexpr (requires { fold.begin_groups(1, int64_t{}); }) {
            if (screened_.skipping) return run_near(fold);
        }
        expect(sweep_);
        if (screened_.in_place) {
            run_in_place(sweep_, fold);
        } else {
            pairtile::run(sweep_, fold);
        }
        const int64_t pairs = sweep_.rows.rows() * sweep_.cols.rows();
        return sweep_.triangle ? pairs / 2 : pairs;
    }

    // The same of a fold that knows groups alone, where tiles are skipped.
    template <class Fold>
    int64_t run_near(Fold& fold) const {
        const Skipping& skipping = *screened_.skipping;
        return run_nearest(sweep_, skipping, skipping.most_pairs_per_row, fold);
    }

  private:
    static Blocking blocking_for(const Screened& screened, const FoldNeeds& needs) {
        BlockingLimits limits = limits_within(screened.control.memory());
        limits.state_bytes_per_row = needs.state_bytes_per_row;
        limits.state_bytes_per_col = needs.state_bytes_per_col;
        limits.few_rows = needs.few_rows;
        limits.symmetric = needs.symmetric && !screened.in_place && !screened.skipping;
        const Source& rows = screened.screen.rows;
        int64_t d = rows.d();
        if (const Prefix* prefix = screened.screen.formula.prefix) {
            d = screened.screen.formula.words(d);
            limits.few_rows = false;  // no state would know of what the others have found
            limits.beside_bytes = 4 * (prefix->whole_words() + prefix->more_words());
            // what a strip's pairs are finished with stays in L2 too, for many rows in turn
            constexpr int64_t strip_bytes = 512 << 10, rows_at_least = 256, more_rows = 3;
            limits.strip_cols =
                std::min(limits.strip_cols, strip_bytes / (limits.beside_bytes + 4 * d));
            limits.block_rows = rows_at_least;
            if (screened.control.memory() == 0) limits.row_bytes *= more_rows;
        } else if (screened.screen.packing == Packing::int8) {
            // taken for floats, they would leave strips of few columns; measured: what is swept so
            // much faster wants to lie nearer, and each segment of a row meets candidates anew
            constexpr int64_t few = 1 << 14;  // numbers of all rows
            limits.few_rows = needs.few_rows && rows.rows() * d <= few;
            limits.col_bytes /= 2;
            d = screened.screen.formula.words(d);
        }
        Blocking blocking =
            choose_blocking(ops_of<T>(isa()), rows.rows(), screened.screen.cols.rows(), d, limits);
        if (needs.one_segment) blocking.segment = blocking.col_super;
        return blocking;
    }

    Screened screened_;
    Source query_places_, reference_places_;
    Sweep<T> sweep_;
};

// Calls body.operator()<T>(screened), T being what the tiles of the chosen screen are of.
template <class Body>
auto search(SearchRequest request, const ScreenFor& wanted, Control& control, const Body& body) {
    request.queries.read_as(request.metric.traits().reading);
    request.references.read_as(request.metric.traits().reading);
    const auto& [queries, references, metric, precision, index, nonfinite, tiles] = request;
    std::optional<Screen> screen;
    if (wanted.in_place && !index) {
        screen = screen_in_place(queries, references, metric, precision);
    }
    const bool in_place = screen.has_value();
    Question question{queries, references, metric, wanted.k, precision};
    const bool skips = request.tiles == Tiles::skip || forced_skipping() == ForcedSkipping::always;
    question.finishes = wanted.finishes && !skips;
    question.limit = wanted.limit;
    if (index) {
        question.packed = index->packing;
        if (question.finishes) index->turned->tell(question);
        screen = choose_screen_of_packed(question, index->frame, control);
        if (question.finishes) index->turned->answer(question, *screen, control);
    } else if (!in_place) {
        screen = choose_screen(question, control);
    }
    std::unique_ptr<Skipping> skipping;
    if (wanted.pilot && !in_place && !screen->formula.prefix) {
        skipping = choose_skipping(request, *screen, wanted.k, wanted.pilot, control);
    }
    const Screened screened{request, *screen, in_place, control, skipping.get()};
    return screen->wide() ? body.template operator()<double>(screened)
                          : body.template operator()<float>(screened);
}

}  // namespace pairtile
