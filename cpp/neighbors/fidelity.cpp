#include "neighbors/fidelity.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/canonical.hpp"
#include "engine/row_states.hpp"
#include "engine/screen.hpp"
#include "engine/sweep.hpp"
#include "neighbors/radius.hpp"
#include "pairtile/fold/max_ratio.hpp"
#include "pairtile/fold/product.hpp"

namespace pairtile {
namespace {

// What either fold needs to know of a pair: its value in packed units with a bound of its error,
// and its canonical value where that does not settle it.
template <class T>
class Pairs {
  public:
    Pairs(const Source& queries, const Source& references, const Metric& metric,
          const TileFormula& formula, int workers)
        : formula(formula), hits_(static_cast<size_t>(workers)) {
        for (int w = 0; w < workers; ++w) canonical_.emplace_back(metric, queries, references);
    }

    double norm(const Panels<T>& rows, int64_t local_row) const {
        return formula.add_norms ? static_cast<double>(rows.norms[local_row]) : 0.0;
    }

    std::vector<int32_t>& hits(const Tile<T>& tile, int worker) {
        std::vector<int32_t>& hits = hits_[static_cast<size_t>(worker)];
        hits.resize(static_cast<size_t>(tile.cols));
        return hits;
    }

    // The ordered canonical value of a pair that has this value in packed units.
    double ordered(double value, int64_t row, int64_t col, int worker) {
        if (formula.exact()) return unpacked(value);
        Canonical& canonical = canonical_[static_cast<size_t>(worker)];
        canonical.set_row(row);
        return canonical(col);
    }

    // Rounding must not make a distance negative.
    double unpacked(double value) const { return std::max(value, 0.0) / formula.unit; }

    const TileFormula formula;

  private:
    std::vector<Canonical> canonical_;
    std::vector<std::vector<int32_t>> hits_;
};

// Every distance is a fixed power of its ordered value, so that ratios of distances are compared as
// ratios of ordered values: a pair can be the best of its row only if value <= least · limit, with
// the limit that its reference's radius is, and the least value / limit that the row has seen.
template <class T>
class LargestRatio {
  public:
    LargestRatio(Pairs<T>& pairs, const Metric& metric, const double* radii, int64_t references,
                 double* ratios)
        : pairs_(pairs), metric_(metric), radii_(radii), ratios_(ratios) {
        for (int64_t j = 0; j < references; ++j) {
            const double limit =
                radii[j] < 0.0 ? -INFINITY
                               : pairs.formula.unit * ordered_limit<double>(metric, radii[j], true);
            limits_.push_back(limit);
            thresholds_.push_back(rounded_up<T>(limit));
        }
    }

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        states_.begin(rows.count, segments);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        std::vector<int32_t>& hits = pairs_.hits(tile, task.worker);
        const Ops<T>& ops = ops_of<T>(isa());
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t local = tile.local_row + i;
            State& state = states_.at(local, task.segment);
            if (state.best.value == INFINITY) continue;
            const T* row = tile.data + i * tile.ld;
            const double norm = pairs_.norm(rows, local);
            const double error = pairs_.formula.error(rows.norm_bounds[local], tile.col_bound);
            const auto look_at = [&](int32_t j) {
                push(state, tile.row + i, tile.col + j, norm + static_cast<double>(row[j]), error,
                     task.worker);
            };
            if (state.least == INFINITY) look_at(most_promising(row, norm, tile));
            // what a product of two small numbers loses
            constexpr double underflow = std::numeric_limits<T>::min();
            const double least = state.least * outward;
            if (least < std::numeric_limits<T>::max()) {
                const int found = ops.select_below_each(
                    row, tile.cols, rounded_up<T>(least), thresholds_.data() + tile.col,
                    rounded_up<T>(error + underflow - norm), hits.data());
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
        double least = INFINITY;  // value / limit of the best pair

        void merge(const State& other) {
            best.merge(other.best);
            least = std::min(least, other.least);
        }
    };
    // more than the roundings of a tile's threshold, of a root and of a quotient
    static constexpr double outward = 1.0 + 8.0 * std::numeric_limits<T>::epsilon() + 1e-12;

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
        const double bound = limit > 0.0 ? state.least * outward * limit : 0.0;
        if (limit < 0.0 || !(value - error <= bound)) return;
        const double ordered = pairs_.ordered(value, row, col, worker);
        MaxRatio ratio;
        ratio.push(radii_[col], reported(metric_, ordered));
        if (!(ratio.value > state.best.value)) return;
        state.best = ratio;
        state.least = pairs_.formula.unit * ordered / limit;
    }

    Pairs<T>& pairs_;
    Metric metric_;
    const double* radii_;
    double* ratios_;
    std::vector<double> limits_;  // of the ordered value, in packed units
    std::vector<T> thresholds_;   // the same as tiles are compared with
    RowStates<State> states_;
};

template <class T>
class DistanceProducts {
  public:
    DistanceProducts(Pairs<T>& pairs, const Metric& metric, double row_radius, double col_radius,
                     double* row_products, double* col_products)
        : pairs_(pairs),
          metric_(metric),
          row_radius_(row_radius),
          col_radius_(col_radius),
          limit_(pairs.formula.unit *
                 ordered_limit<double>(metric, std::max(row_radius, col_radius), false)),
          row_products_(row_products),
          col_products_(col_products) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) { rows_.begin(rows.count, segments); }
    void begin_cols(const Panels<T>& cols, int64_t row_blocks) {
        cols_.begin(cols.count, row_blocks);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        std::vector<int32_t>& hits = pairs_.hits(tile, task.worker);
        const Ops<T>& ops = ops_of<T>(isa());
        Product* of_cols = cols_.at(tile.local_col, task.row_block);
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t local = tile.local_row + i;
            Product& of_row = rows_.at(local, task.segment);
            const T* row = tile.data + i * tile.ld;
            const double norm = pairs_.norm(rows, local);
            const double error = pairs_.formula.error(rows.norm_bounds[local], tile.col_bound);
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

    Pairs<T>& pairs_;
    Metric metric_;
    double row_radius_, col_radius_;
    double limit_;  // of the larger radius, in packed units
    double* row_products_;
    double* col_products_;
    RowStates<Product> rows_;
    ColStates<Product> cols_;
};

// Calls body(pairs, sweep) in the precision chosen for queries whose single best pair counts, or in
// float64.
template <class Body>
void sweep_pairs(Source queries, Source references, const Metric& metric, Precision precision,
                 Control& control, Body body) {
    queries.read_as(metric.traits().reading);
    references.read_as(metric.traits().reading);
    const Screen screen = choose_screen(queries, references, metric, control);
    const Choice choice = choose_precision(screen, queries, references, 1, metric, precision);
    const auto in = [&](auto zero) {
        using T = decltype(zero);
        BlockingLimits limits = limits_within(control.memory());
        limits.state_bytes_per_row = 32;
        limits.state_bytes_per_col = sizeof(double);  // in each row block
        const Blocking blocking = choose_blocking(ops_of<T>(isa()), queries.rows(),
                                                  references.rows(), queries.d(), limits);
        const Sweep<T> sweep{screen.rows, screen.cols, screen.frame, choice.formula,
                             blocking,    false,       control};
        Pairs<T> pairs(queries, references, metric, choice.formula, control.workers());
        expect(sweep);
        body(pairs, sweep);
    };
    if (choice.wide) {
        in(double{});
    } else {
        in(float{});
    }
}

}  // namespace

void largest_radius_ratios(Source queries, Source references, const Metric& metric,
                           const double* radii, Control& control, double* ratios) {
    sweep_pairs(queries, references, metric, Precision::standard, control,
                [&]<class T>(Pairs<T>& pairs, const Sweep<T>& sweep) {
                    LargestRatio<T> fold(pairs, metric, radii, references.rows(), ratios);
                    run(sweep, fold);
                });
}

void distance_products(Source queries, Source references, const Metric& metric, double row_radius,
                       double col_radius, Control& control, double* row_products,
                       double* col_products) {
    std::fill_n(col_products, references.rows(), 1.0);
    sweep_pairs(queries, references, metric, Precision::float64, control,
                [&]<class T>(Pairs<T>& pairs, const Sweep<T>& sweep) {
                    DistanceProducts<T> fold(pairs, metric, row_radius, col_radius, row_products,
                                             col_products);
                    run(sweep, fold);
                });
}

}  // namespace pairtile
