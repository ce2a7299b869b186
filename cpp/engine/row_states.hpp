// What a fold holds between tiles: a state for each row and segment, or for each column and row
// block, each written by one task at a time. Merged in that order, the answer depends on the
// blocking alone, never on the number of threads. (On a GPU: cuda/engine/row_fold.cuh.)
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
    void begin(int64_t cols, int64_t row_blocks) {
        cols_ = cols;
        row_blocks_ = row_blocks;
        states_.assign(static_cast<size_t>(cols * row_blocks), State{});
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

}  // namespace pairtile
