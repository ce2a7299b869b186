// A tile value decides the bin unless a limit lies within its error: then the canonical value does.
#include "neighbors/histogram.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "neighbors/pair_filter.hpp"

namespace pairtile {
namespace {

// From a value in packed units to a bin not above its own: a table of equal steps.
class BinTable {
  public:
    BinTable(const Bins& bins, double unit) : bins_(bins) {
        for (int64_t b = 0; b + 1 < bins.count; ++b) limits_.push_back(unit * bins.limits[b]);
        packed_ = {limits_.data(), bins.count};
        if (limits_.empty()) return;
        const double steps = 16.0 * static_cast<double>(bins.count);
        low_ = limits_.front();
        const double width = (limits_.back() - low_) / steps;
        if (!(width > 0.0 && width < INFINITY)) return;
        per_unit_ = 1.0 / width;
        for (int64_t s = 0; s <= static_cast<int64_t>(steps); ++s) {
            // one step back, for what the division rounds
            first_.push_back(packed_.of(low_ + static_cast<double>(s - 1) * width));
        }
    }

    // Of a value that is off by so much at most; −1 where that leaves two.
    int64_t bin(double value, double error) const {
        const int64_t bin = packed_.of(value, start(value));
        const bool above = bin == 0 || value - error > packed_.limits[bin - 1];
        const bool below = bin == bins_.count - 1 || value + error <= packed_.limits[bin];
        return above && below && error < INFINITY ? bin : -1;
    }
    int64_t bin_of_ordered(double value) const { return bins_.of(value, 0); }

  private:
    int64_t start(double value) const {
        const double step = (value - low_) * per_unit_;
        if (!(step > 0.0) || first_.empty()) return 0;
        const size_t last = first_.size() - 1;
        return first_[step < static_cast<double>(last) ? static_cast<size_t>(step) : last];
    }

    Bins bins_, packed_{};
    std::vector<double> limits_;  // in packed units
    double low_ = 0.0, per_unit_ = 0.0;
    std::vector<int64_t> first_;
};

template <class T>
class HistogramFold {
  public:
    HistogramFold(const Search<T>& search, const int64_t* groups, const Bins& bins,
                  const Histograms& out)
        : pairs_(search),
          groups_(groups),
          table_(bins, search.formula().unit),
          bins_(bins.count),
          out_(out),
          work_(static_cast<size_t>(search.control().workers())) {
        for (Work& work : work_) {
            work.same.assign(static_cast<size_t>(bins_), 0);
            work.different = work.same;
        }
    }

    void begin_rows(const Panels<T>&, int64_t) {}
    void end_rows(const Panels<T>&) {}

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        Work& work = work_[static_cast<size_t>(task.worker)];
        const TileFormula& formula = pairs_.formula;
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t row = tile.row + i, group = groups_[row];
            const int64_t past = std::clamp<int64_t>(row + 1 - tile.col, 0, tile.cols);
            const double norm = pairs_.norm(rows, tile.local_row + i);
            const double error = pairs_.error(tile, rows, tile.local_row + i);
            if (group != work.group) hand_over(work, group);
            for (int64_t j = past; j < tile.cols; ++j) {
                const int64_t col = tile.col + j;
                const double value = norm + static_cast<double>(tile.data[i * tile.ld + j]);
                int64_t bin = table_.bin(value, formula.error_at(value, error));
                if (bin < 0) {
                    const double ordered = pairs_.canonical(row, col, task.worker);
                    if (!(ordered == ordered)) continue;
                    bin = table_.bin_of_ordered(ordered);
                }
                const bool same = groups_[col] == group;
                work.some = work.some || same;
                histogram_push(same ? work.same.data() : work.different.data(), bin);
            }
        }
    }

    void finish() {
        for (Work& work : work_) {
            hand_over(work, -1);
            histogram_merge(out_.different, work.different.data(), bins_);
        }
    }

  private:
    struct Work {
        int64_t group = -1;
        bool some = false;  // pairs of this group
        std::vector<int64_t> same, different;
    };

    // Whole numbers: the order in which they are added is free.
    void hand_over(Work& work, int64_t next) {
        if (work.some) {
            const std::lock_guard guard(lock_);
            histogram_merge(out_.same + work.group * bins_, work.same.data(), bins_);
            std::fill(work.same.begin(), work.same.end(), int64_t{0});
        }
        work.group = next;
        work.some = false;
    }

    PairFilter<T> pairs_;
    const int64_t* groups_;
    BinTable table_;
    int64_t bins_;
    Histograms out_;
    std::vector<Work> work_;
    std::mutex lock_;
};

}  // namespace

void distance_histogram(const SearchRequest& request, const int64_t* groups, const Bins& bins,
                        Control& control, const Histograms& out) {
    // bins are as narrow as their number makes them, wherever the pair
    const int64_t typical = request.references.rows() / 2;
    search(request, {.k = typical}, control, [&]<class T>(const Screened& screened) {
        const Search<T> search(screened, {.triangle = true});
        HistogramFold<T> fold(search, groups, bins, out);
        search.run(fold);
        fold.finish();
    });
}

}  // namespace pairtile
