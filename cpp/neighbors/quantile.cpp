// Bracket and count: a sample of pairs brackets the order statistic, one sweep counts what lies
// below the bracket and collects what lies inside. A bracket that missed or holds too much is moved
// or narrowed and swept again. Counts are of canonical values (a tile value decides only where its
// error bound allows), so the answer does not depend on how it was found.
#include "neighbors/quantile.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "neighbors/pair_filter.hpp"
#include "pairtile/fold/rank.hpp"

namespace pairtile {
namespace {

constexpr int64_t most_sampled = int64_t{1} << 18;
constexpr int64_t keep_at_most = int64_t{1} << 21;  // 16 MB of collected values

// splitmix64: which pairs are sampled depends on the pair alone.
uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

struct Bracket {
    double low = -INFINITY, high = INFINITY;  // ordered values in [low, high]
    bool single() const { return low == high; }
};

template <class T>
class RankCount {
  public:
    // Values inside are kept with probability `keep`, at most keep_at_most of them.
    RankCount(const Search<T>& search, const Bracket& bracket, double keep)
        : pairs_(search),
          bracket_(bracket),
          keep_all_(keep >= 1.0),
          keep_below_(keep >= 1.0 ? ~uint64_t{0} : static_cast<uint64_t>(keep * 0x1p64)),
          work_(static_cast<size_t>(search.control().workers())) {
        for (Work& work : work_) work.rank = Rank{bracket.low, bracket.high};
    }

    void begin_rows(const Panels<T>&, int64_t) {}
    void end_rows(const Panels<T>&) {}

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        Work& work = work_[static_cast<size_t>(task.worker)];
        std::vector<int32_t>& hits = pairs_.hits(tile, task.worker);
        const double unit = pairs_.formula.unit;
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t row = tile.row + i;
            const int64_t skip = std::clamp<int64_t>(row + 1 - tile.col, 0, tile.cols);
            const int n = tile.cols - static_cast<int>(skip);
            if (n == 0) continue;
            const T* values = tile.data + i * tile.ld + skip;
            const double norm = pairs_.norm(rows, tile.local_row + i);
            const double error = pairs_.error(tile, rows, tile.local_row + i);
            // surely below up to `below`; surely above beyond `above`
            const T below = toward(unit * bracket_.low - error - norm, -1);
            const T above = toward(unit * bracket_.high + error - norm, +1);
            work.rank.below += pairs_.ops.count_below(values, n, below);
            const int found = pairs_.ops.select_between(values, n, below, above, hits.data());
            for (int h = 0; h < found; ++h) {
                const int32_t j = hits[static_cast<size_t>(h)];
                settle(work, row, tile.col + skip + j, norm + static_cast<double>(values[j]), error,
                       task.worker);
            }
        }
    }

    Rank rank() const {
        Rank total{bracket_.low, bracket_.high};
        for (const Work& work : work_) total.merge(work.rank);
        return total;
    }
    std::vector<double> values() const {
        std::vector<double> all;
        for (const Work& work : work_) all.insert(all.end(), work.kept.begin(), work.kept.end());
        return all;
    }
    bool complete() const {
        return keep_all_ && static_cast<int64_t>(values().size()) == rank().inside;
    }

  private:
    struct Work {
        Rank rank;
        std::vector<double> kept;
    };

    // The largest T that is below the bound (or smallest above it), a step further out.
    static T toward(double bound, int direction) {
        const T infinity = std::numeric_limits<T>::infinity();
        return std::nextafter(static_cast<T>(bound), direction < 0 ? -infinity : infinity);
    }

    void settle(Work& work, int64_t i, int64_t j, double value, double error, int worker) {
        const double unit = pairs_.formula.unit;
        const bool wanted = keep_all_ || mix(static_cast<uint64_t>(i) * 0x100000001b3ull ^
                                             static_cast<uint64_t>(j)) < keep_below_;
        const bool surely_inside = value - error >= unit * bracket_.low &&
                                   value + error <= unit * bracket_.high && std::isfinite(error);
        if (surely_inside && !wanted) {
            ++work.rank.inside;
            return;
        }
        const double ordered =
            pairs_.formula.exact() ? value / unit : pairs_.canonical(i, j, worker);
        const int64_t before = work.rank.inside;
        work.rank.push(ordered);
        const int64_t room = keep_at_most / static_cast<int64_t>(work_.size());
        if (work.rank.inside > before && wanted && static_cast<int64_t>(work.kept.size()) < room) {
            work.kept.push_back(ordered);
        }
    }

    PairFilter<T> pairs_;
    Bracket bracket_;
    bool keep_all_;
    uint64_t keep_below_;
    std::vector<Work> work_;
};

// The part of a sorted sample that holds rank fraction f of `count` values with near certainty.
Bracket bracket_from(std::vector<double>& sample, double rank, double count) {
    std::sort(sample.begin(), sample.end());
    const double size = static_cast<double>(sample.size());
    const double at = (rank + 0.5) / count * size;
    const double margin = 5.0 * std::sqrt(at * std::max(0.0, 1.0 - at / size)) + 6.0;
    Bracket bracket;
    if (at - margin >= 0.0) bracket.low = sample[static_cast<size_t>(at - margin)];
    if (at + margin + 1.0 < size) {
        bracket.high = sample[static_cast<size_t>(at + margin + 1.0)];
    }
    return bracket;
}

// As many pairs as to keep the work small: of p pairs a sample of s leaves about 5 p / √s in the
// bracket, and s more is worth it while that falls by more than s grows.
int64_t sample_size(int64_t pairs) {
    const double size = std::ceil(std::pow(2.5 * static_cast<double>(pairs), 2.0 / 3.0));
    return static_cast<int64_t>(std::min(size, static_cast<double>(most_sampled)));
}

template <class T>
std::vector<double> sample_of_pairs(const Search<T>& search, int64_t pairs) {
    const uint64_t n = static_cast<uint64_t>(search.queries().rows());
    const uint64_t wanted = static_cast<uint64_t>(sample_size(pairs));
    std::vector<double> sample;
    Canonical canonical(search.metric(), search.queries(), search.references());
    const uint64_t per_row = std::max<uint64_t>(1, wanted / n);
    const uint64_t step = std::max<uint64_t>(1, n * per_row / wanted);
    for (uint64_t i = 0; i < n; i += step) {
        search.control().tick(0);
        canonical.set_row(static_cast<int64_t>(i));
        for (uint64_t s = 0; s < per_row; ++s) {
            const uint64_t j = (i + 1 + mix(i * per_row + s) % (n - 1)) % n;
            const double value = canonical(static_cast<int64_t>(j));
            if (value == value) sample.push_back(value);
        }
    }
    return sample;
}

// Of rows that stay as they are no bracket is empty, and some of the values in it are collected.
[[noreturn]] void rows_changed() {
    throw std::runtime_error("the rows were changed while their distances were counted");
}

template <class T>
struct OrderStatistics {
    const Search<T>& search;
    int64_t pairs;

    // The values of ranks r and r + 1, counted from 0; the second is NaN where it takes a search of
    // its own, and both are where NaN distances leave no value of that rank.
    std::pair<double, double> operator()(int64_t r) const {
        std::vector<double> sample = sample_of_pairs(search, pairs);
        Bracket known;  // holds rank r
        Bracket probe = bracket_from(sample, static_cast<double>(r), static_cast<double>(pairs));
        // the pairs that the probe is thought to hold
        double expected = static_cast<double>(pairs);
        if (std::isfinite(probe.low) && std::isfinite(probe.high)) {
            expected *=
                static_cast<double>(std::upper_bound(sample.begin(), sample.end(), probe.high) -
                                    std::lower_bound(sample.begin(), sample.end(), probe.low)) /
                static_cast<double>(sample.size());
        }
        for (;;) {
            if (probe.low > probe.high) rows_changed();
            const double keep = static_cast<double>(keep_at_most) / (4.0 * expected + 1.0);
            RankCount<T> fold(search, probe, keep);
            search.run(fold);
            const Rank rank = fold.rank();
            // Every sweep shrinks what is known, by a value at least: the search ends.
            if (r < rank.below) {
                known.high = std::nextafter(probe.low, -INFINITY);
                probe = known;
                expected = static_cast<double>(rank.below);
                continue;
            }
            if (r >= rank.below + rank.inside) {
                if (probe.high == INFINITY) return {NAN, NAN};
                known.low = std::nextafter(probe.high, INFINITY);
                probe = known;
                expected = static_cast<double>(pairs - rank.below - rank.inside);
                continue;
            }
            known = probe;
            const int64_t within = r - rank.below;
            const bool holds_next = within + 1 < rank.inside;
            if (probe.single()) return {probe.low, holds_next ? probe.low : NAN};
            std::vector<double> values = fold.values();
            if (fold.complete()) {
                std::sort(values.begin(), values.end());
                const auto at = values.begin() + within;
                return {*at, holds_next ? *(at + 1) : NAN};
            }
            if (values.empty()) rows_changed();
            probe =
                bracket_from(values, static_cast<double>(within), static_cast<double>(rank.inside));
            probe.low = std::max(probe.low, known.low);
            probe.high = std::min(probe.high, known.high);
            const double size = static_cast<double>(values.size());
            if (probe.low == known.low && probe.high == known.high) {
                // many pairs share a value: ask for it alone
                const double at = static_cast<double>(within) / static_cast<double>(rank.inside);
                probe.low = probe.high = values[static_cast<size_t>(at * size)];
            }
            expected = static_cast<double>(rank.inside) *
                       std::min(1.0, 20.0 / std::sqrt(size + 1.0) + 48.0 / (size + 1.0));
        }
    }
};

}  // namespace

double distance_quantile(const SearchRequest& request, double q, bool squared, Control& control) {
    const Metric& metric = request.metric;
    const int64_t n = request.queries.rows();
    const int64_t pairs = n / 2 * (n - 1) + (n % 2) * ((n - 1) / 2);
    const double at = static_cast<double>(pairs - 1) * q;
    const int64_t first = static_cast<int64_t>(std::floor(at));
    const double t = at - static_cast<double>(first);
    std::pair<double, double> found;
    const auto typical = static_cast<int64_t>(static_cast<double>(n - 1) * q);
    search(request, {.k = typical}, control, [&]<class T>(const Screened& screened) {
        const Search<T> search(screened, {.triangle = true});
        const OrderStatistics<T> of_rank{search, pairs};
        found = of_rank(first);
        if (t > 0.0 && std::isnan(found.second)) found.second = of_rank(first + 1).first;
    });
    const auto value = [&](double ordered) {
        const double distance = reported(metric, ordered);
        if (!squared) return distance;
        return distance == std::sqrt(ordered) ? ordered : distance * distance;
    };
    const double a = value(found.first), b = t > 0.0 ? value(found.second) : a;
    return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1.0 - t);
}

}  // namespace pairtile
