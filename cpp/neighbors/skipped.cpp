#include "neighbors/skipped.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/blocking.hpp"
#include "engine/isa.hpp"
#include "neighbors/few_queries.hpp"
#include "neighbors/index.hpp"

namespace pairtile {
namespace {

// Up to so many features near rows are nearly always few, and more than a sample shows: all rows
// are put in order, and the first groups tell.
constexpr int64_t few_dimensions = 6;

// What work costs, in nanoseconds on one thread; the choice asks for ratios alone.
struct Costs {
    double pair;            // of a sweep of all tiles
    double query;           // its list there: k ln(references / k) candidates, as rows lie anyhow
    double skipping_pair;   // of narrow tiles, in the order of their distance
    double skipping_query;  // its walk, its list
    double row;             // to put it into the order
    double column;          // to pack it in that order
    static constexpr double order = 1e6;  // what does not grow with the rows

    Costs(int64_t d, int64_t references, int64_t k, int keys)
        : pair(0.2 + 0.004 * static_cast<double>(d)),
          query(2500.0 + 70.0 * static_cast<double>(k) *
                             std::log1p(static_cast<double>(references) / static_cast<double>(k))),
          skipping_pair(2.7 * pair),
          skipping_query(900.0 + 130.0 * static_cast<double>(k)),
          row(250.0 + 30.0 * keys),
          column(15.0 + 3.0 * static_cast<double>(d)) {}
};

}  // namespace

double expected_pairs_per_row(int64_t queries, int64_t references, bool self, int64_t sample,
                              const Pilot& pilot, Control& control) {
    const auto pairs_of = [&](int64_t some) {
        const double share = static_cast<double>(some) / static_cast<double>(references);
        const auto some_queries =
            self ? some
                 : std::clamp<int64_t>(std::llround(share * static_cast<double>(queries)),
                                       std::min<int64_t>(queries, 256), some);
        // its own progress, but stopped by the same Ctrl-C
        Control own([&](int64_t, int64_t) { control.tick(0); }, control.workers(),
                    control.memory());
        const int64_t pairs =
            pilot(some_rows(queries, some_queries), some_rows(references, some), own);
        return static_cast<double>(pairs) / static_cast<double>(some_queries);
    };
    const double some = pairs_of(sample), fewer = pairs_of(sample / 4);
    const double growth = std::clamp(std::log2(some / fewer) / 2.0, 0.0, 1.0);
    const double times = static_cast<double>(references) / static_cast<double>(sample);
    return std::min(static_cast<double>(references), some * std::pow(times, growth));
}

namespace {

bool always(const SearchRequest& request) {
    return request.tiles == Tiles::skip || forced_skipping() == ForcedSkipping::always;
}

int keys_of(const SearchRequest& request) {
    return static_cast<int>(std::min<int64_t>(request.queries.d(), most_keys));
}

// Work that is expected from now on, and taken back unless it is kept.
struct Expected {
    int64_t pairs;
    Control& control;

    Expected(int64_t all, Control& of) : pairs(all), control(of) { control.expect(pairs); }
    ~Expected() { control.expect(-pairs); }
    Expected(const Expected&) = delete;
};

// Pairs that may be computed for a query, so that skipping the others is clearly better.
double most_pairs_per_row(const SearchRequest& request, const Costs& costs) {
    const double n = static_cast<double>(request.queries.rows());
    const double m = static_cast<double>(request.references.rows());
    const bool ordered = request.index && request.index->order->made();
    const double placed = (ordered ? 0.0 : m) + (request.queries == request.references ? 0.0 : n);
    constexpr double clearly = 0.75;
    return (clearly * n * (m * costs.pair + costs.query) - n * costs.skipping_query -
            placed * costs.row - m * costs.column - Costs::order) /
           (n * costs.skipping_pair);
}

}  // namespace

bool may_skip(const SearchRequest& request, int64_t k) {
    if (request.tiles == Tiles::all || forced_skipping() == ForcedSkipping::never ||
        request.precision == Precision::fast || !has_gaps(request.metric)) {
        return false;
    }
    if (always(request)) return true;
    if (tile_is_forced() || forced_screen() != Forced::nothing) return false;
    const Costs costs(request.queries.d(), request.references.rows(), k, keys_of(request));
    return most_pairs_per_row(request, costs) > static_cast<double>(4 * k + 2 * leaf_columns());
}

std::unique_ptr<Skipping> choose_skipping(const SearchRequest& request, Screen& screen, int64_t k,
                                          const Pilot& pilot, Control& control) {
    if (!may_skip(request, k)) return nullptr;
    const Source &queries = request.queries, &references = request.references;
    const int64_t n = queries.rows(), m = references.rows(), d = queries.d();
    const bool self = queries == references;
    const int keys = keys_of(request);
    double most_pairs = INFINITY;
    Expected expected(n * m, control);
    if (!always(request)) {
        const int64_t held = (self ? m : n + m) * Order::bytes_per_row(keys) +
                             m * (8 * screen.formula.words(d) + 32);
        if (control.memory() > 0 && held > control.memory() / 2) {
            screen.plan.reasons.push_back("no order of rows: it would take " +
                                          std::to_string((held + 999'999) / 1'000'000) +
                                          " MB, more than half of memory_limit");
            return nullptr;
        }
        const Costs costs(d, m, k, keys);
        most_pairs = most_pairs_per_row(request, costs);
        if (d > few_dimensions) {
            // a pilot of so many rows may take this share of the search
            constexpr double share = 0.008;
            const double brute =
                static_cast<double>(n) * (static_cast<double>(m) * costs.pair + costs.query);
            int64_t sample = 1 << 14;
            const auto cost = [&](int64_t of) {
                const double some = static_cast<double>(of);
                return some * (costs.skipping_query + costs.row + some * costs.skipping_pair);
            };
            while (sample >= 1024 && (cost(sample) > share * brute || 4 * sample > m)) sample /= 2;
            if (sample < 1024) return nullptr;
            if (expected_pairs_per_row(n, m, self, sample, pilot, control) > most_pairs) {
                return nullptr;
            }
        }
    }
    auto direct = screen_of_differences(queries, references, request.metric, request.precision);
    if (direct && forced_screen() == Forced::nothing) screen = *direct;
    KeptOrder* kept = request.index ? request.index->order.get() : nullptr;
    auto skipping = skip_tiles(screen, request.metric, leaf_columns(), kept, control);
    if (!skipping) return nullptr;
    const bool coarse = screen.packing < Packing::float32;
    if (coarse && forced_screen() == Forced::nothing) {
        // few pairs are computed, nearly all of them near: what a coarse screen leaves to be
        // confirmed takes longer than it saves
        screen.packing = screen.plan.packing = Packing::float32;
        screen.plan.unsettled = 0;
        screen.formula.core = Core::dot;
    }
    skipping->most_pairs_per_row = most_pairs;
    expected.pairs = 0;
    return skipping;
}

}  // namespace pairtile
