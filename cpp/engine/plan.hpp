// What a search would do, and why: the one place where the ways to screen pairs are compared, by
// one cost model. Asked before anything is packed; never reads the number of threads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/precision.hpp"
#include "engine/tile_formula.hpp"

namespace pairtile {

// What panels hold.
enum class Packing { int8, int16, bfloat16, float32, float64 };
const char* name_of(Packing packing);

// A frame, and what tiles of either type say in it: what a plan is made from.
struct Framed {
    Source rows, cols;  // as they are packed: for some metrics read through the map
    std::shared_ptr<const LinearMap> map;
    Frame frame;
    TileFormula float32, float64;

    TileFormula formula_of(Packing packing) const {
        TileFormula formula = packing == Packing::float64 ? float64 : float32;
        if (packing == Packing::bfloat16) formula.core = Core::dot_bfloat16;
        if (packing == Packing::int8) formula.core = Core::dot_int8;
        if (packing == Packing::int16) formula.core = Core::dot_int16;
        return formula;
    }
};

// A rotation, and what is made of its directions: a prefix of so many, and a shorter one that
// guesses.
struct Rotation {
    std::vector<double> directions;  // orthonormal, [direction][d]
    Packing packing = Packing::float32;
    std::shared_ptr<const Prefix> prefix, guess;
};

// What is to be planned. Queries and references are read as the metric wants them.
struct Question {
    const Source &queries, &references;
    const Metric& metric;
    int64_t k;  // neighbours that are to be told from the rest
    Precision precision = Precision::standard;
    std::optional<Packing> packed = {};  // the references are packed so already
    bool finishes = false;               // whether tiles may hold lower bounds
    std::optional<double> limit = {};    // of ordered values, in place of the k-th
    const Rotation* rotation = nullptr;  // by which the references are turned already
    // Queries, these among them, that a rotation kept for later searches serves, and those of them
    // since a sample has last been asked; 0: it serves these alone.
    int64_t served = 0, unasked = 0;
};

// The answer, and what was weighed. Costs are of one pair, in features at float32's rate of the
// micro-kernel.
struct ScreenPlan {
    Packing packing = Packing::float32;
    double cost = 0.0;
    bool skips_tiles = false;
    // references beside its k neighbours that the screen leaves a query
    int64_t unsettled = 0;
    double full_pairs = 1.0;               // share of the pairs whose distance is computed in full
    std::shared_ptr<const Prefix> prefix;  // if tiles hold lower bounds from it
    // a shorter one, by which the k best are guessed before: their distances bound those of the k
    // best from the first tile on
    std::shared_ptr<const Prefix> guess;
    std::shared_ptr<const Rotation> rotation;  // that both are of, if it is not the question's
    bool asked = false;                        // a sample, for a prefix
    std::vector<std::string> reasons;

    std::string strategy() const;
};

ScreenPlan choose_plan(const Question& question, const Framed& framed, Control& control);

// Tests force "float32", "float64", "bfloat16", "int8", "int16", "in_place", "prefix" or
// "prefix_bfloat16"
// on default-precision searches; "" = choose.
void force_screen(const std::string& name);
enum class Forced {
    nothing,
    in_place,
    int8,
    int16,
    bfloat16,
    float32,
    float64,
    prefix,
    prefix_bfloat16
};
Forced forced_screen();

}  // namespace pairtile
