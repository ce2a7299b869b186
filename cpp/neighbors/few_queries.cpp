#include "neighbors/few_queries.hpp"

#include <algorithm>

namespace pairtile {
namespace {

// Whether sums of differences of the numbers themselves order pairs as the metric does.
bool of_differences(const Metric& metric) {
    const MetricTraits& traits = metric.traits();
    return traits.reading == Reading::as_is && (traits.quantity == Quantity::squared_distance ||
                                                traits.quantity == Quantity::absolute_differences);
}

// Whether the numbers need no scale, nor are whole numbers.
bool in_range(const Source& queries, const Source& references) {
    constexpr int64_t looks = 255;
    const Frame frame = sample_frame(queries, references, false, looks);
    constexpr double small = 0x1p-40, large = 0x1p40;  // what is beyond wants to be scaled
    return !frame.integral && !frame.extreme && frame.scale >= small && frame.scale <= large;
}

bool better_in_place(const Source& queries, const Source& references, const Metric& metric) {
    constexpr int64_t longest = int64_t{1} << 16;  // beyond, errors are no small share
    if (!of_differences(metric) || queries.d() > longest) return false;
    const Forced forced = forced_screen();
    if (forced != Forced::nothing) return forced == Forced::in_place;
    // measured: packing pays sooner where rows are short, but for those whose columns are the lanes
    const int64_t d = queries.d();
    const int64_t few = d <= direct_dimensions ? 64 : std::min<int64_t>(16, 2 + d / 2);
    if (queries.rows() > few) return false;
    return in_range(queries, references);
}

// No norms and no centre: differences of the numbers themselves are rounded once, and sums of what
// is not negative err by no more than a share of the sum. Canonical values do too.
template <class T>
TileFormula formula_in_place(const Metric& metric, int64_t d) {
    TileFormula formula;
    formula.core = metric.traits().quantity == Quantity::squared_distance
                       ? Core::squared_difference
                       : Core::absolute_difference;
    constexpr double u = std::numeric_limits<T>::epsilon() / 2;
    constexpr int64_t fewest_lanes = 16 / sizeof(T);
    const double additions = static_cast<double>(d / fewest_lanes + 8);
    const double canonical = static_cast<double>(d) / 8 + 8;
    formula.relative =
        1.01 * (u * (2 * additions + 4) + canonical * std::numeric_limits<double>::epsilon());
    formula.widening = 1.0 / (1.0 - formula.relative);
    formula.floor = static_cast<double>(d + 8) * (2.0 * std::numeric_limits<T>::min() + 0x1p-1074);
    return formula;
}

Screen screen_as_it_lies(const Source& queries, const Source& references, const Metric& metric,
                         Precision precision) {
    const int64_t d = queries.d();
    Screen screen{queries, references, nullptr, raw_frame(d), Packing::float32, {}, {}};
    screen.plan.reasons.push_back("few queries: references are read once, where they lie");
    const bool narrow = queries.fits_float32() && references.fits_float32();
    if (precision == Precision::float64 || !narrow) {
        screen.packing = screen.plan.packing = Packing::float64;
    }
    screen.formula =
        screen.wide() ? formula_in_place<double>(metric, d) : formula_in_place<float>(metric, d);
    screen.frame.narrow = narrow;
    if (precision == Precision::fast) screen.formula.take_as_exact();
    return screen;
}

}  // namespace

std::optional<Screen> screen_in_place(const Source& queries, const Source& references,
                                      const Metric& metric, Precision precision) {
    if (!better_in_place(queries, references, metric)) return {};
    return screen_as_it_lies(queries, references, metric, precision);
}

std::optional<Screen> screen_of_differences(const Source& queries, const Source& references,
                                            const Metric& metric, Precision precision) {
    if (queries.d() > direct_dimensions || !of_differences(metric) ||
        !in_range(queries, references)) {
        return {};
    }
    return screen_as_it_lies(queries, references, metric, precision);
}

}  // namespace pairtile
