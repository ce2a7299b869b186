#include "engine/screen.hpp"

#include "engine/prefix.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <vector>

namespace pairtile {
namespace {

// The map under which the metric is the Euclidean distance. It starts from a centre of the data, so
// that nothing cancels far from the origin.
LinearMap map_for(const Metric& metric, const std::vector<double>& centre) {
    const size_t d = centre.size();
    LinearMap map{centre, {}, {}};
    if (metric.traits().reading == Reading::weighted) {
        for (size_t j = 0; j < d; ++j) map.diagonal.push_back(std::sqrt(metric.params.weights[j]));
        return map;
    }
    map.columns.resize(d * d);
    for (size_t i = 0; i < d; ++i) {
        for (size_t j = 0; j < d; ++j) {
            map.columns[j * d + i] = metric.params.transform[i * d + j];
        }
    }
    return map;
}

// The largest Σ_j ‖A_j‖ |x_j − c_j| of all rows, A_j being the columns of the map.
double largest_image(const Source& source, const LinearMap& map, Control& control) {
    const size_t d = map.centre.size();
    std::vector<double> norms = map.diagonal;
    for (size_t j = 0; norms.size() < d; ++j) {
        double square = 0.0;
        for (size_t i = 0; i < d; ++i) square += map.columns[j * d + i] * map.columns[j * d + i];
        norms.push_back(std::sqrt(square));
    }
    double largest = 0.0;
    std::mutex lock;
    constexpr int64_t block_rows = 1024;
    parallel_for((source.rows() + block_rows - 1) / block_rows, control, [&](int64_t block, int) {
        std::vector<double> row(d);
        double mine = 0.0;
        const int64_t end = std::min(source.rows(), (block + 1) * block_rows);
        for (int64_t i = block * block_rows; i < end; ++i) {
            source.read(i, row.data());
            double image = 0.0;
            for (size_t j = 0; j < d; ++j) {
                image += norms[j] * std::fabs(row[j] - map.centre[j]);
            }
            if (image > mine && image < INFINITY) mine = image;
        }
        const std::lock_guard guard(lock);
        largest = std::max(largest, mine);
    });
    return largest;
}

// Rows are read through the map, in float64. Rounding of x − c, of the entries of A, of the
// products and of their sums leaves at most γ|A||x − c| of a row, γ = (d + 4)u, the length of which
// is not above γ Σ_j ‖A_j‖ |x_j − c_j|. The difference of two rows has twice that; the canonical
// value, a transformed difference, errs by no more than twice that again.
void map_rows(Framed& screen, const Metric& metric, Control& control) {
    screen.map = std::make_shared<const LinearMap>(map_for(metric, screen.frame.centre));
    const double image = std::max(largest_image(screen.rows, *screen.map, control),
                                  largest_image(screen.cols, *screen.map, control));
    screen.rows.map_by(screen.map.get());
    screen.cols.map_by(screen.map.get());
    const int64_t d = screen.rows.d();
    screen.frame = choose_frame(screen.rows, screen.cols, true, control);
    screen.frame.integral = false;  // where rounding made it so
    screen.frame.extreme = screen.frame.extreme || screen.frame.scale > 0x1p300;
    const double gamma =
        static_cast<double>(d + 4) * std::numeric_limits<double>::epsilon() / 2 * 1.01;
    screen.float32 = formula_for_metric<float>(metric, screen.frame, d, false);
    screen.float64 = formula_for_metric<double>(metric, screen.frame, d, false);
    screen.float32.mapping = screen.float64.mapping = 4.0 * gamma * image * screen.frame.scale;
}

Framed in_frame(const Source& queries, const Source& references, const Frame& frame,
                const Metric& metric) {
    const bool zero_rows = metric.unit_rows() && frame.has_zero_row;
    const int64_t d = queries.d();
    return {queries,
            references,
            nullptr,
            frame,
            formula_for_metric<float>(metric, frame, d, zero_rows),
            formula_for_metric<double>(metric, frame, d, zero_rows)};
}

Framed in_chosen_frame(const Source& queries, const Source& references, const Metric& metric,
                       Control& control) {
    // nothing to centre or scale
    if (metric.on_bits()) return in_frame(queries, references, {}, metric);
    if (metric.traits().quantity == Quantity::terms) {
        return in_frame(queries, references, raw_frame(queries.d()), metric);
    }
    const bool centred = metric.traits().quantity != Quantity::product;
    Frame frame = sample_frame(queries, references, centred);
    if (metric.mapped() && !frame.extreme) {
        Framed screen{queries, references, nullptr, frame, {}, {}};
        map_rows(screen, metric, control);
        return screen;
    }
    if (frame.integral) {  // that every row is exact must be true of every row
        frame = choose_frame(queries, references, centred, control);
    }
    if (metric.unit_rows() && frame.has_zero_row) {
        // 1 − xy needs the unit vectors as they are
        frame = sample_frame(queries, references, false);
        frame.scale = 1.0;
        frame.has_zero_row = true;  // whether or not the sample met one
    }
    return in_frame(queries, references, frame, metric);
}

Screen screen_by(const Question& asked, const Framed& framed, Control& control) {
    ScreenPlan plan = choose_plan(asked, framed, control);
    const Packing packing = plan.packing;
    Screen screen{framed.rows,    framed.cols, framed.map,
                  framed.frame,   packing,     framed.formula_of(packing),
                  std::move(plan)};
    if (screen.plan.prefix) screen.formula = by_prefix(screen.formula, *screen.plan.prefix);
    const bool has_canonical = asked.metric.on_bits() || screen.formula.core == Core::canonical;
    if (asked.precision == Precision::fast && !has_canonical) screen.formula.take_as_exact();
    return screen;
}

}  // namespace

TileFormula by_prefix(TileFormula formula, const Prefix& prefix) {
    formula.prefix = &prefix;
    formula.prefix_numbers = prefix.kept + 1;
    return formula;
}

TileFormula by_guess(const TileFormula& formula, const Prefix& guess) {
    TileFormula guessing = by_prefix(formula, guess);
    guessing.take_as_exact();
    return guessing;
}

Screen choose_screen(const Question& asked, Control& control) {
    return screen_by(asked, in_chosen_frame(asked.queries, asked.references, asked.metric, control),
                     control);
}

Screen choose_screen_of_packed(const Question& asked, const Frame& frame, Control& control) {
    const Frame suiting = frame_for_queries(frame, asked.queries, control);
    return screen_by(asked, in_frame(asked.queries, asked.references, suiting, asked.metric),
                     control);
}

}  // namespace pairtile
