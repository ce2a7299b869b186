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
    // Whether it is one of rows of d features: each feature once, finite numbers.
    bool fits(int64_t d) const;
};

constexpr int most_keys = 16;
constexpr int fan_out = 8;  // boxes that are compared at once

// Whether gaps between boxes say anything of the metric.
bool has_gaps(const Metric& metric);

// What the gaps of a metric are, or rather of one that has some.
Gaps gaps_of(const Metric& metric);

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

    // One that was made before, in memory of somebody else, who keeps it: the row at each place,
    // the keys of the row at each place, and the boxes, as rows(), keys() and boxes() were. Nothing
    // of it is known to be right.
    Order(const int64_t* rows, const float* keys, const float* boxes, int64_t count,
          int keys_per_row, int leaf);

    bool empty() const { return count_ == 0; }
    const int64_t* rows() const { return rows_.data(); }  // which row is at each place
    int64_t count() const { return count_; }
    int leaf() const { return leaf_; }
    int64_t leaves() const { return (count() + leaf_ - 1) / leaf_; }
    const float* keys() const { return of_rows_.data(); }  // [place][key]
    const float* boxes() const { return boxes_.data(); }   // of all levels, those of leaves first
    int64_t box_numbers() const { return box_numbers_; }
    static int64_t box_numbers_of(int64_t count, int leaf, int keys_per_row);
    int keys_per_row() const { return keys_; }

    // Whether every row has one place.
    bool is_permutation() const;
    // Whether it is the order of these rows by this rule: keys and boxes are theirs.
    bool is_of(const Source& source, const KeyRule& rule, Control& control) const;

    // Levels of boxes: those of leaves, of eight leaves each, and so on up to one block of boxes.
    int levels() const { return static_cast<int>(levels_.size()); }
    int64_t nodes(int level) const { return levels_[static_cast<size_t>(level)].nodes; }
    // Eight boxes: of each key the eight lows, then the eight highs.
    const float* block(int level, int64_t block) const {
        return boxes_.data() + levels_[static_cast<size_t>(level)].first +
               block * 2 * fan_out * keys_;
    }
    // The box of some rows in their places.
    Box box_of(int64_t first, int64_t count) const;

    // What it holds of each row, beside boxes.
    static int64_t bytes_per_row(int keys) { return 8 + 8 + 4 * static_cast<int64_t>(keys) * 2; }

  private:
    struct Level {
        int64_t nodes, first;  // where its boxes begin
    };

    bool read_keys(const Source& source, const KeyRule& rule, Control& control,
                   Buffer<float>& keys) const;
    // Levels of boxes in whole blocks, one after another; returns how many numbers those have.
    static int64_t lay_out(int64_t leaves, int keys_per_row, std::vector<Level>& levels);
    void put(const Level& level, int64_t node, const Box& box, float* boxes) const;
    void make_boxes(float* boxes, Control& control) const;

    int leaf_, keys_;
    int64_t count_ = 0, box_numbers_ = 0;
    Buffer<int64_t> rows_;
    Buffer<float> of_rows_, boxes_;
    std::vector<Level> levels_;
};

// out[i] = the gaps between a box and each of eight, rounded: no farther from the exact number than
// gap_rounding of it and gap_underflow.
void gaps_to_block(const KeyRule& rule, const Box& box, const float* block, float* out);
// The same to the one of number `at`.
float gaps_to_box(const KeyRule& rule, const Box& box, const float* block, int at);
constexpr double gap_rounding = 1e-5, gap_underflow = 1e-36;

}  // namespace pairtile
