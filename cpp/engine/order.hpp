// An order of rows that keeps near ones together, with bounds of its parts: what a sweep asks which
// tiles can matter (engine/nearest.hpp).
//
// A row has a few *keys*, float32 numbers that are no farther apart than the rows themselves. Rows
// are split at the median of the key that is widest, again and again, down to *leaves* of as many
// rows as a tile has columns. Eight leaves make a node, eight nodes the next; each has a box, the
// least and the largest of every key.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/buffer.hpp"
#include "engine/parallel_for.hpp"
#include "engine/source.hpp"
#include "pairtile/metric/metric.hpp"

namespace pairtile {

// What is made of the gaps g between two boxes, one per key: Σ g², Σ g, max g, Σ g^p.
enum class Gaps : int { squares, sum, largest, powers };

// How keys are made of rows: (x_j − centre_j)·scale of some features j.
struct KeyRule {
    Gaps gaps = Gaps::squares;
    double power = 1.0;  // of Gaps::powers
    std::vector<int64_t> features;
    std::vector<double> centre;
    double scale = 1.0;

    int count() const { return static_cast<int>(features.size()); }
};

constexpr int most_keys = 16;
constexpr int fan_out = 8;  // boxes that are compared at once

// Whether gaps between boxes say anything of the metric.
bool has_gaps(const Metric& metric);

// The rule for rows as a search packs them; without keys where the metric has no bound.
KeyRule key_rule(const Source& rows, const Source& cols, const Metric& metric);

// Least and largest of each key.
struct Box {
    float low[most_keys], high[most_keys];
};

class Order {
  public:
    // Every row in its place; empty where a row is not finite. `leaf`: rows of a leaf.
    Order(const Source& source, const KeyRule& rule, int leaf, Control& control);

    bool empty() const { return rows_.empty(); }
    const int64_t* rows() const { return rows_.data(); }  // which row is at each place
    int64_t count() const { return static_cast<int64_t>(rows_.size()); }
    int leaf() const { return leaf_; }
    int64_t leaves() const { return (count() + leaf_ - 1) / leaf_; }

    // Levels of boxes: those of leaves, of eight leaves each, and so on up to one block of boxes.
    int levels() const { return static_cast<int>(levels_.size()); }
    int64_t nodes(int level) const { return levels_[static_cast<size_t>(level)].nodes; }
    // Eight boxes: of each key the eight lows, then the eight highs.
    const float* block(int level, int64_t block) const {
        return levels_[static_cast<size_t>(level)].boxes.data() + block * 2 * fan_out * keys_;
    }
    // The box of some rows in their places.
    Box box_of(int64_t first, int64_t count) const;

    // What it holds of each row, beside boxes.
    static int64_t bytes_per_row(int keys) { return 8 + 8 + 4 * static_cast<int64_t>(keys) * 2; }

  private:
    struct Level {
        int64_t nodes = 0;
        Buffer<float> boxes;
    };

    bool read_keys(const Source& source, const KeyRule& rule, Control& control,
                   Buffer<float>& keys) const;
    void put(Level& level, int64_t node, const Box& box) const;
    void make_boxes(Control& control);

    int leaf_, keys_;
    std::vector<int64_t> rows_;
    Buffer<float> of_rows_;  // [place][key]
    std::vector<Level> levels_;
};

// out[i] = the gaps between a box and each of eight, rounded: no farther from the exact number than
// gap_rounding of it and gap_underflow.
void gaps_to_block(const KeyRule& rule, const Box& box, const float* block, float* out);
// The same to the one of number `at`.
float gaps_to_box(const KeyRule& rule, const Box& box, const float* block, int at);
constexpr double gap_rounding = 1e-5, gap_underflow = 1e-36;

}  // namespace pairtile
