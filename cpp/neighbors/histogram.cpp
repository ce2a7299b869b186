// A tile value decides the bin unless a limit lies within its error: then the canonical value does.
#include "neighbors/histogram.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "neighbors/pair_filter.hpp"

namespace pairtile {
namespace {

// From a value in packed units to its bin: equal steps, most of which are inside of one bin with
// the steps beside them.
template <class T>
class BinTable {
  public:
    BinTable(const Bins& bins, double unit) : bins_(bins) {
        for (int64_t b = 0; b + 1 < bins.count; ++b) limits_.push_back(unit * bins.limits[b]);
        packed_ = {limits_.data(), bins.count};
        if (limits_.size() < 2) return;
        const int64_t inside = std::clamp<int64_t>(most_steps / bins.count, 1, 64) * bins.count;
        width_ = (limits_.back() - limits_.front()) / static_cast<double>(inside);
        // steps that everything below and above falls into
        base_ = limits_.front() - 4.0 * width_;
        if (!(width_ > 0.0 && std::isfinite(static_cast<T>(1.0 / width_)) &&
              std::isfinite(base_))) {
            width_ = 0.0;
            return;
        }
        for (int64_t s = 0, low = 0; s < inside + 8; ++s) {
            const double at = base_ + static_cast<double>(s) * width_;
            if (s > 0) low = packed_.of(at - width_, low);
            first_.push_back(low);
            const bool last = s == inside + 7;
            const bool one =
                last ? low == bins.count - 1 : packed_.of(at + 2.0 * width_, low) == low;
            sure_.push_back(s > 0 && one ? static_cast<int32_t>(low) : -1);  // NaN is in step 0
        }
    }

    // Whether steps tell, with those beside them, where values are that are off by so much, which
    // is more than rounding them and their steps can amount to.
    bool fine_enough(double error) const { return error > 0.0 && error < 0.5 * width_; }

    // Places in the table of the values of a row that are these less its norm.
    void steps(const T* values, int64_t n, double norm, int32_t* out) const {
        const T scale = static_cast<T>(1.0 / width_);
        const T offset = static_cast<T>((norm - base_) / width_);
        const T last = static_cast<T>(sure_.size() - 1);
        for (int64_t j = 0; j < n; ++j) {
            T step = values[j] * scale + offset;
            step = step > T(0) ? step : T(0);
            step = step < last ? step : last;
            out[j] = static_cast<int32_t>(step);
        }
    }
    // −1 where the step alone does not say.
    int64_t sure(int32_t step) const { return sure_[static_cast<size_t>(step)]; }

    // Of a value that is off by so much at most; −1 where that leaves two.
    int64_t bin(double value, double error) const {
        const int64_t bin = packed_.of(value, start(value));
        const bool above = bin == 0 || value - error > packed_.limits[bin - 1];
        const bool below = bin == bins_.count - 1 || value + error <= packed_.limits[bin];
        return above && below && error < INFINITY ? bin : -1;
    }
    int64_t bin_of_ordered(double value) const { return bins_.of(value); }

  private:
    static constexpr int64_t most_steps = 1 << 15;  // that stay in a core's own cache

    int64_t start(double value) const {
        const double step = (value - base_) / width_;
        if (!(step > 0.0) || first_.empty()) return 0;
        const size_t last = first_.size() - 1;
        return first_[step < static_cast<double>(last) ? static_cast<size_t>(step) : last];
    }

    Bins bins_, packed_{};
    std::vector<double> limits_;  // in packed units
    double base_ = 0.0, width_ = 0.0;
    std::vector<int64_t> first_;  // a bin not above that of any value of the step
    std::vector<int32_t> sure_;
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
        work.steps.resize(static_cast<size_t>(tile.cols));
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t row = tile.row + i, group = groups_[row];
            const int64_t past = std::clamp<int64_t>(row + 1 - tile.col, 0, tile.cols);
            if (past == tile.cols) continue;
            const T* values = tile.data + i * tile.ld;
            const double norm = pairs_.norm(rows, tile.local_row + i);
            const double error = pairs_.error(tile, rows, tile.local_row + i);
            if (group != work.group) hand_over(work, group);
            const bool by_steps =
                formula.slope > 0.0 && formula.relative == 0.0 && table_.fine_enough(error);
            if (by_steps) table_.steps(values, tile.cols, norm, work.steps.data());
            for (int64_t j = past; j < tile.cols; ++j) {
                const int64_t col = tile.col + j;
                int64_t bin = by_steps ? table_.sure(work.steps[static_cast<size_t>(j)]) : -1;
                if (bin < 0) {
                    const double value = norm + static_cast<double>(values[j]);
                    bin = table_.bin(value, formula.error_at(value, error));
                }
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
        std::vector<int32_t> steps;
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
    BinTable<T> table_;
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
