#include "neighbors/fidelity.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/row_states.hpp"
#include "neighbors/pair_filter.hpp"
#include "neighbors/radius.hpp"
#include "pairtile/fold/max_ratio.hpp"
#include "pairtile/fold/product.hpp"

namespace pairtile {
namespace {

// Every distance is a fixed power of its ordered value, so that ratios of distances are compared as
// ratios of ordered values: a pair can be the best of its row only if value <= least · limit, with
// the limit that its reference's radius is, and the least value / limit that the row has seen.
template <class T>
class LargestRatio {
  public:
    LargestRatio(const Search<T>& search, const double* radii, double* ratios)
        : pairs_(search), metric_(search.metric()), radii_(radii), ratios_(ratios) {
        for (int64_t j = 0; j < search.references().rows(); ++j) {
            limits_.push_back(radii[j] < 0.0 ? -INFINITY
                                             : ordered_limit<double>(metric_, radii[j], true));
            thresholds_.push_back(rounded_up<T>(packed(limits_.back())));
        }
    }

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        states_.begin(rows.count, segments);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        std::vector<int32_t>& hits = pairs_.hits(tile, task.worker);
        const Ops<T>& ops = pairs_.ops;
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t local = tile.local_row + i;
            State& state = states_.at(local, task.segment);
            if (state.best.value == INFINITY) continue;
            const T* row = tile.data + i * tile.ld;
            const double norm = pairs_.norm(rows, local);
            const double error = pairs_.error(tile, rows, local);
            const auto look_at = [&](int32_t j) {
                push(state, tile.row + i, tile.col + j, norm + static_cast<double>(row[j]), error,
                     task.worker);
            };
            if (state.least == INFINITY) look_at(most_promising(row, norm, tile));
            // what a product of two small numbers loses
            constexpr double underflow = std::numeric_limits<T>::min();
            const double least = state.least * outward;
            if (least < std::numeric_limits<T>::max()) {
                const TileFormula& formula = pairs_.formula;
                const int found = ops.select_below_each(
                    row, tile.cols, rounded_up<T>(formula.highest(least)),
                    thresholds_.data() + tile.col,
                    rounded_up<T>(formula.highest(error + underflow - norm)), hits.data());
                for (int h = 0; h < found; ++h) look_at(hits[static_cast<size_t>(h)]);
            } else {
                for (int32_t j = 0; j < tile.cols; ++j) look_at(j);
            }
        }
    }

    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) {
            ratios_[rows.first + i] = states_.merged(i).best.finish();
        }
    }

  private:
    struct State {
        MaxRatio best;
        double least = INFINITY;  // ordered value / limit of the best pair

        void merge(const State& other) {
            best.merge(other.best);
            least = std::min(least, other.least);
        }
    };
    // more than the roundings of a tile's threshold, of a root and of a quotient
    static constexpr double outward = 1.0 + 8.0 * std::numeric_limits<T>::epsilon() + 1e-12;
    // and of a product that vanishes
    static constexpr double vanishing = std::numeric_limits<double>::min();

    // No less than a limit is in packed units, where one of rows near to one another beside the
    // largest ones may vanish.
    double packed(double limit) const {
        return limit > 0.0 ? std::max(pairs_.formula.unit * limit, vanishing) : limit;
    }

    // Where a row that has seen nothing begins. NaN is never less.
    int32_t most_promising(const T* row, double norm, const Tile<T>& tile) const {
        int32_t found = 0;
        double least = INFINITY;
        for (int32_t j = 0; j < tile.cols; ++j) {
            const double limit = limits_[static_cast<size_t>(tile.col + j)];
            const double value = std::max(norm + static_cast<double>(row[j]), 0.0);
            if (limit > 0.0 && value / limit < least) {
                found = j;
                least = value / limit;
            }
        }
        return found;
    }

    void push(State& state, int64_t row, int64_t col, double value, double error, int worker) {
        const double limit = limits_[static_cast<size_t>(col)];
        // of radius 0 only a pair at distance 0 counts
        const double bound = limit > 0.0 ? state.least * outward * packed(limit) + vanishing : 0.0;
        // of one beyond the type no less is sure than its largest number
        const double sure = std::min<double>(value, std::numeric_limits<T>::max());
        if (limit < 0.0 || !(sure - pairs_.formula.error_at(sure, error) <= bound)) return;
        const double ordered = pairs_.ordered(value, row, col, worker);
        MaxRatio ratio;
        ratio.push(radii_[col], reported(metric_, ordered));
        if (!(ratio.value > state.best.value)) return;
        state.best = ratio;
        state.least = ordered / limit;
    }

    PairFilter<T> pairs_;
    Metric metric_;
    const double* radii_;
    double* ratios_;
    std::vector<double> limits_;  // of the ordered value
    std::vector<T> thresholds_;   // the same in packed units, as tiles are compared with
    RowStates<State> states_;
};

template <class T>
class DistanceProducts {
  public:
    DistanceProducts(const Search<T>& search, double row_radius, double col_radius,
                     double* row_products, double* col_products)
        : pairs_(search),
          metric_(search.metric()),
          row_radius_(row_radius),
          col_radius_(col_radius),
          limit_(pairs_.formula.unit *
                 ordered_limit<double>(metric_, std::max(row_radius, col_radius), false)),
          row_products_(row_products),
          col_products_(col_products) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) { rows_.begin(rows.count, segments); }
    void begin_cols(const Panels<T>& cols, int64_t row_blocks) {
        cols_.begin(cols.count, row_blocks);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        std::vector<int32_t>& hits = pairs_.hits(tile, task.worker);
        const Ops<T>& ops = pairs_.ops;
        Product* of_cols = cols_.at(tile.local_col, task.row_block);
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t local = tile.local_row + i;
            Product& of_row = rows_.at(local, task.segment);
            const T* row = tile.data + i * tile.ld;
            const double norm = pairs_.norm(rows, local);
            const double error = pairs_.error(tile, rows, local);
            const int found =
                ops.select_below(row, tile.cols, rounded_up<T>(limit_ + error - norm), hits.data());
            for (int h = 0; h < found; ++h) {
                const int32_t j = hits[static_cast<size_t>(h)];
                const double value = norm + static_cast<double>(row[j]);
                const double ordered =
                    error <= tolerance * value
                        ? pairs_.unpacked(value)
                        : pairs_.ordered(value, tile.row + i, tile.col + j, task.worker);
                const double distance = reported(metric_, ordered);
                if (distance < row_radius_) of_row.push(distance / row_radius_);
                if (distance < col_radius_) of_cols[j].push(distance / col_radius_);
            }
        }
    }

    void end_cols(const Panels<T>& cols, int64_t row_blocks) {
        for (int64_t block = 0; block < row_blocks; ++block) {
            for (int64_t j = 0; j < cols.count; ++j) {
                col_products_[cols.first + j] *= cols_.at(j, block)->finish();
            }
        }
    }
    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) {
            row_products_[rows.first + i] = rows_.merged(i).finish();
        }
    }

  private:
    static constexpr double tolerance = 0x1p-38;

    PairFilter<T> pairs_;
    Metric metric_;
    double row_radius_, col_radius_;
    double limit_;  // of the larger radius, in packed units
    double* row_products_;
    double* col_products_;
    RowStates<Product> rows_;
    ColStates<Product> cols_;
};

// Of a product, or of a best ratio and the value it was seen at.
constexpr FoldNeeds fidelity_needs{.state_bytes_per_row = 32,
                                   .state_bytes_per_col = sizeof(double)};

}  // namespace

void largest_radius_ratios(const SearchRequest& request, const double* radii, Control& control,
                           double* ratios) {
    search(request, {.k = 1, .in_place = true}, control, [&]<class T>(const Screened& screened) {
        const Search<T> search(screened, fidelity_needs);
        LargestRatio<T> fold(search, radii, ratios);
        search.run(fold);
    });
}

void distance_products(const SearchRequest& request, double row_radius, double col_radius,
                       Control& control, double* row_products, double* col_products) {
    std::fill_n(col_products, request.references.rows(), 1.0);
    SearchRequest in_float64 = request;
    in_float64.precision = Precision::float64;
    search(in_float64, {.k = 1}, control, [&]<class T>(const Screened& screened) {
        const Search<T> search(screened, fidelity_needs);
        DistanceProducts<T> fold(search, row_radius, col_radius, row_products, col_products);
        search.run(fold);
    });
}

}  // namespace pairtile
