// How the distances of one search are screened: how rows are read, in which frame and as what they
// are packed, and what a tile value says about the canonical value.
#pragma once

#include <memory>
#include <string>

#include "engine/candidates.hpp"
#include "engine/precision.hpp"
#include "engine/tile_formula.hpp"

namespace pairtile {

// What panels hold.
enum class Packing { bfloat16, float32, float64 };

struct Screen {
    Source rows, cols;  // as they are packed: for some metrics read through the map
    std::shared_ptr<const LinearMap> map;
    Frame frame;
    Packing packing = Packing::float32;
    TileFormula formula;

    bool wide() const { return packing == Packing::float64; }  // tiles are of double
};

// The cheapest screen that tells the k-th neighbour from the next: a sample tells how many pairs
// each precision would leave to be rescored. bfloat16 where the hardware has it, float64 where
// float32 cannot tell pairs apart. Rows are read as the metric wants them already; it outlives the
// screen.
Screen choose_screen(const Source& queries, const Source& references, const Metric& metric,
                     int64_t k, Precision precision, Control& control);

// The same for references that are packed already, in a frame of their own: what they are packed
// as saves the packing.
Screen choose_screen_of_packed(const Source& queries, const Source& references,
                               const Metric& metric, int64_t k, Precision precision,
                               const Frame& frame, Packing packed, Control& control);

// Tests force "float32", "float64", "bfloat16" or "in_place" on default-precision searches; "" =
// choose.
void force_screen(const std::string& name);
enum class Forced { nothing, in_place, bfloat16, float32, float64 };
Forced forced_screen();

// The smallest T not below the value.
template <class T>
T rounded_up(double value) {
    const T rounded = static_cast<T>(value);
    return number_at<T>(ordinal_of(rounded) + (static_cast<double>(rounded) < value));
}

// The largest T not above the value.
template <class T>
T rounded_down(double value) {
    return -rounded_up<T>(-value);
}

}  // namespace pairtile
