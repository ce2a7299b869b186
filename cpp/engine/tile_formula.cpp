#include "engine/tile_formula.hpp"

#include <algorithm>
#include <limits>

namespace pairtile {
namespace {

// Roundings in a float sum of d products that is cut every `block`.
double chain(int64_t d, int64_t block = feature_block) {
    return static_cast<double>(std::min(d, block) + (d + block - 1) / block);
}

template <class T>
void set_error(TileFormula& formula, int64_t d) {
    // u counts the packed rounding of x − centre (twice, times up to 2(a+b)), the norms, the chain
    // with its two roundings per step where there is no fused multiply-add, and the final sum; the
    // canonical value's own rounding is the d/8 term in float64 units.
    const double u = std::numeric_limits<T>::epsilon() / 2;
    const double canonical = static_cast<double>(d) / 8 + 8;
    formula.slope =
        1.01 * (u * (2 * chain(d) + 10) + canonical * std::numeric_limits<double>::epsilon());
    formula.floor = static_cast<double>(d + 8) * std::numeric_limits<T>::min();
    formula.typical_slope = u * (2 + std::sqrt(chain(d)));
}

// Counts of bits are whole numbers, exact in float32 up to 2²⁴; beyond, each of the sums that a
// micro-kernel cuts (after 31 words at the earliest) is rounded once. Jaccard's quotient
// 2D/(|x| + |y| + D) rounds its terms and itself. Fractions with denominators up to n differ by
// 1/n² of the larger at least: while that is more than a step of float32, they stay apart.
TileFormula formula_for_bits(const Metric& metric, int64_t bytes) {
    TileFormula formula;
    formula.core = Core::differing_bits;
    formula.divide_by_union = metric.traits().over_union;
    constexpr double u = std::numeric_limits<float>::epsilon() / 2;
    const double n = static_cast<double>(metric.params.n_bits);
    const double sums = n <= 0x1p23 ? 0.0 : static_cast<double>(bytes / (4 * 31) + 1);
    if (formula.divide_by_union) {
        formula.floor = 1.01 * u * (sums == 0.0 ? 1.0 : 2.0 * sums + 6.0);
        formula.order_exact = n * n < 0x1p23;
    } else {
        formula.floor = 1.01 * u * sums * n;
    }
    return formula;
}

// Which micro-kernel, and what is done to its numbers, for `sign` times a quantity.
void set_core(TileFormula& formula, Quantity quantity, double sign, bool direct) {
    formula.row_factor = sign;
    switch (quantity) {
        case Quantity::squared_distance:
            if (direct) {
                formula.core = Core::squared_difference;
            } else {
                formula.row_factor = -2.0;
                formula.add_norms = true;
            }
            break;
        case Quantity::absolute_differences:
            formula.core = Core::absolute_difference;
            formula.norm = Norm::absolutes;
            break;
        case Quantity::largest_difference:
            formula.core = Core::largest_difference;
            formula.norm = Norm::largest;
            break;
        case Quantity::product:
            break;
        case Quantity::differing_bits:
            formula.core = Core::differing_bits;
            break;
        case Quantity::terms:  // its tiles hold canonical values
            formula.core = Core::canonical;
            formula.norm = Norm::largest;  // which every finite row has
            break;
    }
}

// What no number that a micro-kernel meets exceeds, in rows whose largest Σ x² is this; for
// integers, of which Σ|x| <= Σx².
double largest_number(Quantity quantity, double largest_square) {
    if (quantity == Quantity::squared_distance) return 4 * largest_square;
    return quantity == Quantity::product ? largest_square : 2 * largest_square;
}

}  // namespace

template <class T>
TileFormula formula_for_metric(const Metric& metric, const Frame& frame, int64_t d,
                               bool zero_rows) {
    const MetricTraits& traits = metric.traits();
    if (metric.on_bits()) return formula_for_bits(metric, d);
    const bool unit_rows = metric.unit_rows();
    TileFormula formula;
    set_core(formula, traits.quantity, traits.factor < 0.0 ? -1.0 : 1.0,
             d <= direct_dimensions && !unit_rows);
    if (formula.core == Core::canonical) {
        formula.metric = &metric;
        return formula;
    }
    const bool of_squares = formula.norm == Norm::squares;
    formula.unit =
        (of_squares ? frame.scale * frame.scale : frame.scale) / std::fabs(traits.factor);
    if (unit_rows && zero_rows) {  // 1 − xy is right for a zero row too
        set_core(formula, Quantity::product, -1.0, false);
        formula.add_norms = false;
        formula.constant_bias = 1.0;
        formula.unit = 1.0;
    }
    const double exact_range = std::ldexp(1.0, std::numeric_limits<T>::digits);
    if (frame.integral && !unit_rows &&
        largest_number(traits.quantity, frame.largest_square) <= exact_range) {
        return formula;  // exact: no error at all
    }
    set_error<T>(formula, d);
    // where squares of differences vanish from float64
    formula.floor += formula.unit * static_cast<double>(d + 8) * 0x1p-1074;
    if (!unit_rows) formula.largest_norm = frame.scale * 1e150;        // or overflow
    if (formula.constant_bias != 0.0) formula.floor += formula.slope;  // the 1 of 1 − xy
    if (frame.extreme) {  // squares overflow or vanish: confirm every pair
        formula.floor = INFINITY;
        formula.unit = 1.0;
    }
    return formula;
}

template <class T>
TileFormula formula_for_argument(Argument argument, int64_t d) {
    TileFormula formula;
    set_core(formula, quantity_of(argument), 1.0, d <= direct_dimensions);
    set_error<T>(formula, d);
    if (formula.core == Core::dot && !formula.add_norms) {
        // a power of the product multiplies its error, and no pair is computed again
        formula.core = Core::short_dot;
        const double u = std::numeric_limits<T>::epsilon() / 2;
        formula.typical_slope = u * (1 + std::sqrt(chain(d, short_feature_block)));
    }
    return formula;
}

template TileFormula formula_for_metric<float>(const Metric&, const Frame&, int64_t, bool);
template TileFormula formula_for_metric<double>(const Metric&, const Frame&, int64_t, bool);
template TileFormula formula_for_argument<float>(Argument, int64_t);
template TileFormula formula_for_argument<double>(Argument, int64_t);

}  // namespace pairtile
