// Sums of tiles by row and by column, in an order that no number of threads changes.
#pragma once

#include <cstdint>

#include "engine/row_states.hpp"
#include "engine/sweep.hpp"

namespace pairtile {

// In a triangle both add to the sums of one set of points: columns complete what rows miss of a
// symmetric matrix.
class Margins {
  public:
    Margins(double* row_sums, double* col_sums) : row_sums_(row_sums), col_sums_(col_sums) {}

    void begin_rows(int64_t count, int64_t segments) { rows_.begin(count, segments); }
    void begin_cols(int64_t count, int64_t row_blocks) { cols_.begin(count, row_blocks); }
    // A tile whose first pair lies at (row, col) of the super-blocks.
    template <class T>
    void add(const T* tile, int64_t ld, int64_t row, int height, int64_t col, int width,
             const Task& task) {
        const Ops<T>& ops = ops_of<T>(isa());
        double sums[64] = {};
        ops.row_sums(tile, ld, height, width, nullptr, sums);
        for (int i = 0; i < height; ++i) rows_.at(row + i, task.segment) += sums[i];
        ops.col_sums(tile, ld, height, width, nullptr, cols_.at(col, task.row_block));
    }
    void end_cols(int64_t first, double factor) {
        for (int64_t block = 0; block < cols_.row_blocks(); ++block) {
            for (int64_t j = 0; j < cols_.cols(); ++j) {
                col_sums_[first + j] += factor * *cols_.at(j, block);
            }
        }
    }
    void end_rows(int64_t first, double factor) {
        for (int64_t i = 0; i < rows_.rows(); ++i) {
            for (int64_t s = 0; s < rows_.segments(); ++s) {
                row_sums_[first + i] += factor * rows_.at(i, s);
            }
        }
    }

  private:
    double *row_sums_, *col_sums_;
    RowStates<double> rows_;
    ColStates<double> cols_;
};

}  // namespace pairtile
