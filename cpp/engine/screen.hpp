// How the distances of one search are screened: how rows are read and in which frame they are
// packed, and what a tile value says about the canonical value in either precision.
#pragma once

#include <memory>
#include <string>

#include "engine/knn.hpp"
#include "engine/plan.hpp"

namespace pairtile {

struct Screen {
    Source rows, cols;  // as they are packed: for some metrics read through the map
    std::shared_ptr<const LinearMap> map;
    Frame frame;
    Pairing float32, float64;
};

// Rows of a cosine search are normalised already. `metric` outlives the screen.
Screen choose_screen(const Source& queries, const Source& references, const Metric& metric,
                     int workers, Control& control);

// Tiles of float64 (the canonical ones always) or float32, and how their values relate to canonical
// ones.
struct Choice {
    bool wide;
    Pairing pairing;
};

// The cheapest screen for this search: a sample tells how many pairs each precision would leave to
// be rescored. bfloat16 where the hardware has it, float64 where float32 cannot tell pairs apart.
Choice choose_precision(const Screen& screen, const Source& queries, const Source& references,
                        int64_t k, const Metric& metric, Precision precision);

// Tests force "float32", "float64" or "bfloat16" on default-precision searches; "" = choose.
void force_screen(const std::string& name);

// The smallest T not below the value; the largest T not above it.
template <class T>
T rounded_up(double value);
template <class T>
T rounded_down(double value);

}  // namespace pairtile
