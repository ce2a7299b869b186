// Values of listed rows cut the line into bins. A row of another group can only matter to the bin
// that its value falls into, where it has to be the least so far; what is listed for a lower value
// takes from the first bin above it that holds a row. The values kept are canonical: a tile value
// that can change no bin is passed over, any other is confirmed. Few are: the n-th row of a bin is
// its least so far with probability 1/n.
#include "neighbors/next_beyond.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "neighbors/pair_filter.hpp"
#include "pairtile/fold/top_k.hpp"

namespace pairtile {
namespace {

template <class T>
class NextBeyondFold {
  public:
    NextBeyondFold(const Search<T>& search, const int64_t* groups, const ListedRows& listed,
                   const NextBeyond& out)
        : pairs_(search),
          groups_(groups),
          listed_(listed),
          out_(out),
          place_(static_cast<size_t>(listed.entries())),
          farthest_(static_cast<size_t>(listed.count), Neighbor{-INFINITY, -1}) {
        std::fill_n(out.next, listed.entries(), int64_t{-1});
        std::fill_n(out.to_next, listed.entries(), NAN);
        parallel_for(listed.count, search.control(), [&](int64_t anchor, int worker) {
            search.control().tick(worker);
            measure(anchor, worker);
        });
    }

    void begin_rows(const Panels<T>&, int64_t) {}

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        std::vector<int32_t>& hits = pairs_.hits(tile, task.worker);
        const TileFormula& formula = pairs_.formula;
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t anchor = tile.row + i;
            const Bins bins = bins_of(anchor);
            if (bins.count == 0) continue;
            const int64_t group = groups_[listed_.anchors[anchor]];
            const T* values = tile.data + i * tile.ld;
            const double norm = pairs_.norm(rows, tile.local_row + i);
            const double error = pairs_.error(tile, rows, tile.local_row + i);
            const auto [low, high] = range_of(bins, error);
            const int found =
                pairs_.ops.select_between(values, tile.cols, rounded_down<T>(low - norm),
                                          rounded_up<T>(high - norm), hits.data());
            for (int h = 0; h < found; ++h) {
                const int32_t j = hits[static_cast<size_t>(h)];
                const int64_t col = tile.col + j;
                const double value = norm + static_cast<double>(values[j]);
                const double off = formula.error_at(value, error);
                if (passed_over(anchor, bins, (value - off) / formula.unit,
                                (value + off) / formula.unit)) {
                    continue;
                }
                if (groups_[col] == group) continue;
                take(anchor, bins, {pairs_.ordered(value, anchor, col, task.worker), col});
            }
        }
    }

    // Entries in the order in which they are listed.
    void end_rows(const Panels<T>& rows) {
        std::vector<double> values, next_values;
        std::vector<int64_t> next;
        for (int64_t anchor = rows.first; anchor < rows.first + rows.count; ++anchor) {
            const Bins bins = bins_of(anchor);
            const size_t count = static_cast<size_t>(bins.count);
            Neighbor last = farthest_[static_cast<size_t>(anchor)];
            for (size_t k = count; k-- > 0;) {
                if (bins.next[k] >= 0) last = {bins.least[k], bins.next[k]};
                bins.least[k] = last.index < 0 ? NAN : last.value;
                bins.next[k] = last.index;
            }
            values.assign(bins.limits, bins.limits + count);
            next_values.assign(bins.least, bins.least + count);
            next.assign(bins.next, bins.next + count);
            for (size_t k = 0; k < count; ++k) {
                const size_t at = static_cast<size_t>(bins.place[k]);
                bins.limits[at] = values[k];
                bins.least[at] = next_values[k];
                bins.next[at] = next[k];
            }
        }
    }

  private:
    // What is known of an anchor, in the places of its results until the end: values of listed rows
    // in ascending order, and of each bin, from that value to the next, the least row so far.
    struct Bins {
        int64_t count;
        double *limits, *least;
        int64_t* next;
        const int32_t* place;  // in the list

        // The number of listed values below this one: its bin is the last of them.
        int64_t below(double value) const {
            return std::lower_bound(limits, limits + count, value) - limits;
        }
        bool is_less(int64_t bin, double value) const {
            return next[bin] < 0 || value < least[bin];
        }
        bool open() const { return next[count - 1] < 0; }  // nothing is beyond all listed rows yet
    };

    Bins bins_of(int64_t anchor) {
        const int64_t at = listed_.indptr[anchor];
        return {listed_.indptr[anchor + 1] - at, out_.to_listed + at, out_.to_next + at,
                out_.next + at, place_.data() + at};
    }

    // The values of listed rows in order, what is not a number last.
    void measure(int64_t anchor, int worker) {
        const Bins bins = bins_of(anchor);
        std::vector<double> values(static_cast<size_t>(bins.count));
        for (size_t k = 0; k < values.size(); ++k) {
            const int64_t row = listed_.rows[listed_.indptr[anchor] + static_cast<int64_t>(k)];
            values[k] = pairs_.canonical(anchor, row, worker);
        }
        int32_t* place = place_.data() + listed_.indptr[anchor];
        std::iota(place, place + bins.count, 0);
        std::stable_sort(place, place + bins.count, [&](int32_t a, int32_t b) {
            const double one = values[static_cast<size_t>(a)];
            const double other = values[static_cast<size_t>(b)];
            return one < other || (one == one && other != other);
        });
        for (int64_t k = 0; k < bins.count; ++k) {
            bins.limits[k] = values[static_cast<size_t>(place[k])];
        }
    }

    // Arguments of the pairs that may matter, in packed units.
    std::pair<double, double> range_of(const Bins& bins, double error) const {
        if (bins.open()) return {-INFINITY, INFINITY};
        const TileFormula& formula = pairs_.formula;
        return {formula.lowest(formula.unit * bins.limits[0] - error),
                formula.highest(formula.unit * bins.least[bins.count - 1] + error)};
    }

    // Whether a value between these two changes nothing. Columns come in their order, so that one
    // equal to what is known is too late.
    bool passed_over(int64_t anchor, const Bins& bins, double low, double high) const {
        const int64_t bin = bins.below(low) - 1;
        if (bin < bins.count - 1 && bins.limits[bin + 1] < high) return false;
        if (bin >= 0 && bins.is_less(bin, low)) return false;
        const Neighbor& farthest = farthest_[static_cast<size_t>(anchor)];
        return !bins.open() || (farthest.index >= 0 && high <= farthest.value);
    }

    void take(int64_t anchor, const Bins& bins, const Neighbor& one) {
        if (one.value != one.value) return;
        const int64_t bin = bins.below(one.value) - 1;
        if (bin >= 0 && bins.is_less(bin, one.value)) {
            bins.least[bin] = one.value;
            bins.next[bin] = one.index;
        }
        Neighbor& farthest = farthest_[static_cast<size_t>(anchor)];
        if (farthest.index < 0 || one.value > farthest.value) farthest = one;
    }

    PairFilter<T> pairs_;
    const int64_t* groups_;
    const ListedRows& listed_;
    const NextBeyond& out_;
    std::vector<int32_t> place_;
    std::vector<Neighbor> farthest_;  // of other groups, as far as a bin may come to need it
};

}  // namespace

void next_beyond(const SearchRequest& request, const int64_t* groups, const ListedRows& listed,
                 Control& control, const NextBeyond& out) {
    if (listed.count == 0) return;
    SearchRequest of_anchors = request;
    of_anchors.queries.take(listed.anchors, listed.count);
    const int64_t m = request.references.rows();
    search(of_anchors, {.k = (m + 1) / 2}, control, [&]<class T>(const Screened& screened) {
        const Search<T> search(screened, {.one_segment = true});
        NextBeyondFold<T> fold(search, groups, listed, out);
        search.run(fold);
    });
}

}  // namespace pairtile
