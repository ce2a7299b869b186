// What a fold holds between tiles: a state for each row and segment, for each column and row block,
// or for each row block and segment, each written by one task at a time. Merged in that order, the
// answer depends on the blocking alone, never on the number of threads. (On a GPU:
// cuda/engine/row_fold.cuh.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pairtile {

// Of a fold, which knows how to merge, or of a number, which is added.
template <class State>
void merge_state(State& all, const State& part) {
    if constexpr (requires { all.merge(part); }) {
        all.merge(part);
    } else {
        all += part;
    }
}

// The rows of a super-block, counted from 0, or whichever rows the fold holds at a time.
template <class State>
class RowStates {
  public:
    void begin(int64_t rows, int64_t segments, const State& empty = {}) {
        segments_ = segments;
        states_.assign(static_cast<size_t>(rows * segments), empty);
    }
    int64_t segments() const { return segments_; }
    int64_t rows() const { return static_cast<int64_t>(states_.size()) / segments_; }

    // Where the state lies, for what a fold keeps beside it.
    size_t place(int64_t row, int64_t segment) const {
        return static_cast<size_t>(row * segments_ + segment);
    }
    State& at(int64_t row, int64_t segment) { return states_[place(row, segment)]; }
    State& operator[](size_t place) { return states_[place]; }
    const State& operator[](size_t place) const { return states_[place]; }
    size_t size() const { return states_.size(); }

    State merged(int64_t row) const {
        State all{};
        for (int64_t s = 0; s < segments_; ++s) merge_state(all, states_[place(row, s)]);
        return all;
    }

  private:
    int64_t segments_ = 1;
    std::vector<State> states_;  // [row][segment]
};

// The columns of a super-block, counted from 0.
template <class State>
class ColStates {
  public:
    void begin(int64_t cols, int64_t row_blocks, const State& empty = {}) {
        cols_ = cols;
        row_blocks_ = row_blocks;
        states_.assign(static_cast<size_t>(cols * row_blocks), empty);
    }
    int64_t cols() const { return cols_; }
    int64_t row_blocks() const { return row_blocks_; }

    // The states that a row block has of this column and those after it.
    State* at(int64_t col, int64_t row_block) {
        return states_.data() + static_cast<size_t>(row_block * cols_ + col);
    }
    const State* at(int64_t col, int64_t row_block) const {
        return states_.data() + static_cast<size_t>(row_block * cols_ + col);
    }

    State merged(int64_t col) const {
        State all{};
        for (int64_t b = 0; b < row_blocks_; ++b) merge_state(all, *at(col, b));
        return all;
    }

  private:
    int64_t cols_ = 0, row_blocks_ = 0;
    std::vector<State> states_;  // [row block][column]
};

// `width` sums of each row and segment. The rows of a segment lie one after another, as a product
// writes them.
class RowVectors {
  public:
    void begin(int64_t rows, int64_t segments, int64_t width) {
        rows_ = rows;
        segments_ = segments;
        width_ = width;
        sums_.assign(static_cast<size_t>(rows * segments * width), 0.0);
    }
    int64_t rows() const { return rows_; }

    double* at(int64_t row, int64_t segment) {
        return sums_.data() + (segment * rows_ + row) * width_;
    }
    void add_to(double* totals, int64_t row, double factor) {
        for (int64_t s = 0; s < segments_; ++s) {
            const double* sums = at(row, s);
            for (int64_t k = 0; k < width_; ++k) totals[k] += factor * sums[k];
        }
    }

  private:
    int64_t rows_ = 0, segments_ = 1, width_ = 1;
    std::vector<double> sums_;  // [segment][row][width]
};

// `width` sums of each task: of each row block and segment.
class TaskVectors {
  public:
    void begin(int64_t row_blocks, int64_t segments, int64_t width) {
        segments_ = segments;
        width_ = static_cast<size_t>(width);
        sums_.assign(static_cast<size_t>(row_blocks * segments) * width_, 0.0);
    }

    double* at(int64_t row_block, int64_t segment) {
        return sums_.data() + static_cast<size_t>(row_block * segments_ + segment) * width_;
    }
    void add_to(double* totals, double factor) const {
        for (size_t task = 0; task < sums_.size(); task += width_) {
            for (size_t k = 0; k < width_; ++k) totals[k] += factor * sums_[task + k];
        }
    }

  private:
    int64_t segments_ = 1;
    size_t width_ = 1;
    std::vector<double> sums_;  // [row block][segment][width]
};

}  // namespace pairtile
