// Sums of tiles by row and by column, in an order that no number of threads changes.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/sweep.hpp"

namespace pairtile {

// One state per row and segment, and one per column and row block. In a triangle both add to the
// sums of one set of points: columns complete what rows miss of a symmetric matrix.
class Margins {
  public:
    Margins(double* row_sums, double* col_sums) : row_sums_(row_sums), col_sums_(col_sums) {}

    void begin_rows(int64_t count, int64_t segments) {
        segments_ = segments;
        rows_.assign(static_cast<size_t>(count * segments), 0.0);
    }
    void begin_cols(int64_t count, int64_t row_blocks) {
        count_ = count;
        cols_.assign(static_cast<size_t>(count * row_blocks), 0.0);
    }
    // A tile whose first pair lies at (row, col) of the super-blocks.
    template <class T>
    void add(const T* tile, int64_t ld, int64_t row, int height, int64_t col, int width,
             const Task& task) {
        const Ops<T>& ops = ops_of<T>(isa());
        double sums[64] = {};
        ops.row_sums(tile, ld, height, width, nullptr, sums);
        for (int i = 0; i < height; ++i) {
            rows_[static_cast<size_t>((row + i) * segments_ + task.segment)] += sums[i];
        }
        ops.col_sums(tile, ld, height, width, nullptr,
                     cols_.data() + task.row_block * count_ + col);
    }
    void end_cols(int64_t first, double factor) {
        for (size_t at = 0; at < cols_.size(); ++at) {
            col_sums_[first + static_cast<int64_t>(at) % count_] += factor * cols_[at];
        }
    }
    void end_rows(int64_t first, double factor) {
        for (size_t at = 0; at < rows_.size(); ++at) {
            row_sums_[first + static_cast<int64_t>(at) / segments_] += factor * rows_[at];
        }
    }

  private:
    double *row_sums_, *col_sums_;
    int64_t segments_ = 1, count_ = 0;
    std::vector<double> rows_, cols_;
};

}  // namespace pairtile
