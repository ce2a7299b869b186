// How the distances of one search are screened: how rows are read, in which frame and as what they
// are packed, and what a tile value says about the canonical value.
#pragma once

#include <memory>

#include "engine/candidates.hpp"
#include "engine/plan.hpp"

namespace pairtile {

struct Screen {
    Source rows, cols;  // as they are packed: for some metrics read through the map
    std::shared_ptr<const LinearMap> map;
    Frame frame;
    Packing packing = Packing::float32;
    TileFormula formula;
    ScreenPlan plan;

    bool wide() const { return packing == Packing::float64; }  // tiles are of double
};

// The cheapest screen that answers the question (`choose_plan`). The metric and the sources outlive
// it.
Screen choose_screen(const Question& question, Control& control);

// The same for references that are packed already, as the question says, in a frame of their own.
Screen choose_screen_of_packed(const Question& question, const Frame& frame, Control& control);

// The formula of tiles of lower bounds from this prefix.
TileFormula by_prefix(TileFormula formula, const Prefix& prefix);
// That of tiles which guess by it: taken for the values.
TileFormula by_guess(const TileFormula& formula, const Prefix& guess);

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
