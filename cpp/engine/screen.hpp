// How the distances of one search are screened: how rows are read and in which frame they are
// packed, and what a tile value says about the canonical value in either precision.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/candidates.hpp"
#include "engine/precision.hpp"
#include "engine/tile_formula.hpp"

namespace pairtile {

struct Screen {
    Source rows, cols;  // as they are packed: for some metrics read through the map
    std::shared_ptr<const LinearMap> map;
    Frame frame;
    TileFormula float32, float64;
};

// Rows of a cosine search are normalised already. `metric` outlives the screen.
Screen choose_screen(const Source& queries, const Source& references, const Metric& metric,
                     Control& control);

// The same in a frame that is chosen already, for metrics that read rows as they are.
Screen screen_in(const Source& queries, const Source& references, const Frame& frame,
                 const Metric& metric);

// Whether so few queries ask that the references are better read in place than packed; not of
// integers, whose ties a screen without error cuts at once.
bool better_in_place(const Source& queries, const Source& references, const Metric& metric);
Screen screen_in_place(const Source& queries, const Source& references, const Metric& metric);

// What panels hold.
enum class Packing { bfloat16, float32, float64 };

// Tiles of float64 (the canonical ones always) or float32, and how their values relate to canonical
// ones.
struct Choice {
    bool wide;
    TileFormula formula;

    Packing packing() const {
        if (wide) return Packing::float64;
        return formula.core == Core::dot_bfloat16 ? Packing::bfloat16 : Packing::float32;
    }
};

// The cheapest screen for this search: a sample tells how many pairs each precision would leave to
// be rescored. bfloat16 where the hardware has it, float64 where float32 cannot tell pairs apart.
// What the references are packed as already saves the packing.
Choice choose_precision(const Screen& screen, const Source& queries, const Source& references,
                        int64_t k, const Metric& metric, Precision precision,
                        std::optional<Packing> packed = {});

// Tests force "float32", "float64", "bfloat16" or "in_place" on default-precision searches; "" =
// choose.
void force_screen(const std::string& name);

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
