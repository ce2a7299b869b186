// How a tile's numbers become arguments or ordered values, and how far they can be from the exact
// ones: which micro-kernel, which norms beside it, which bound.
#pragma once

#include <cmath>
#include <cstdint>

#include "engine/frame.hpp"
#include "isa/ops.hpp"
#include "pairtile/metric/metric.hpp"

namespace pairtile {

struct Prefix;

// Norm of a row, and of what packing it to bfloat16, int8 or int16 left out (0 otherwise); or
// bounds of several.
struct NormBound {
    double norm = 0.0, residual = 0.0;
};

// How a pair of packed rows becomes an argument: core(row, col) [+ row norm + column norm].
struct TileFormula {
    Core core = Core::dot;
    const Metric* metric = nullptr;  // whose values a tile of Core::canonical holds
    // rows are turned by, and tiles hold lower bounds from their first coordinates
    const Prefix* prefix = nullptr;
    int64_t prefix_numbers = 0;  // of a row in such tiles
    Norm norm = Norm::squares;
    double row_factor = 1.0;  // −2 for ‖x‖² + ‖y‖² − 2xy, −1 where large products come first
    bool add_norms = false;        // argument = tile + row norm, the column norm being the bias
    double constant_bias = 0.0;    // 1 for 1 − xy
    bool divide_by_union = false;  // argument = differing bits / bits set in either row
    double unit = 1.0;             // argument in packed units = unit · canonical ordered value

    // |argument − unit · value| <= slope·s + floor + coarse + mapping·(2(a + b) + mapping)
    //
    // for rows of norms a and b, where s is (a + b)² of squares and a + b of other norms; `coarse`
    // is what the residuals of rows packed more coarsely amount to (Cauchy–Schwarz); `mapping` is
    // what reading rows through a linear map adds to the length of a difference, or takes from it.
    double slope = 0.0, floor = 0.0, mapping = 0.0;
    // Rows of a larger norm are beyond what canonical values can tell apart.
    double largest_norm = INFINITY;
    // The same for the typical pair instead of the worst one (rounding errors are a random walk).
    double typical_slope = 0.0;

    // Beside that, the error of sums of differences of rows as they are: this share of the
    // argument.
    double relative = 0.0;
    double widening = 1.0;  // 1 / (1 − relative)

    // Rounded, but in the order of the canonical values and equal only where they are.
    bool order_exact = false;

    bool exact() const { return slope == 0.0 && relative == 0.0 && floor == 0.0; }
    void take_as_exact() {
        slope = floor = mapping = relative = 0.0;
        widening = 1.0;
    }
    // Numbers that a packed row of d features (or bytes of bits) takes.
    int64_t words(int64_t d) const {
        if (prefix) d = prefix_numbers;
        if (core == Core::dot_bfloat16) return (d + 1) / 2;
        if (core == Core::dot_int8) return (d + 3) / 4 + int8_tail;
        if (core == Core::dot_int16) return (d + 1) / 2 + int16_tail;
        return core == Core::differing_bits ? (d + 3) / 4 : d;
    }
    // Whether the error of a pair is much a matter of its very column, not of the panel's worst.
    bool keeps_bounds() const { return core == Core::dot_int8; }
    double error(const NormBound& row, const NormBound& col) const {
        if (exact()) return 0.0;
        const double reach = row.norm + col.norm;
        if (!(reach < INFINITY)) return INFINITY;  // nothing is known of a row out of range
        const double coarse = std::fabs(row_factor) *
                              (row.residual * (col.norm + col.residual) + row.norm * col.residual);
        return slope * (norm == Norm::squares ? reach * reach : reach) + floor + coarse +
               mapping * (2.0 * reach + mapping);
    }
    // How far off an argument of this size is, given what it is off by at any size.
    double error_at(double value, double error) const {
        return relative > 0.0 ? error + relative * value : error;
    }
    // The largest argument of a pair that may belong below a limit, the error at any size added.
    double highest(double limit) const { return limit * widening; }
    // The smallest argument of a pair that may belong above a limit, the error taken off.
    double lowest(double limit) const { return limit > 0.0 ? limit * (1.0 - relative) : limit; }
};

template <class T>
TileFormula formula_for_metric(const Metric& metric, const Frame& frame, int64_t d, bool zero_rows);
template <class T>
TileFormula formula_for_argument(Argument argument, int64_t d);

// Low dimensions are taken by direct differences: no norms, no cancellation.
constexpr int64_t direct_dimensions = 4;

}  // namespace pairtile
