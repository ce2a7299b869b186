// Digits of whole numbers times labels by integer tensor cores, whose sums are exact.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "pairtile/config.hpp"

namespace pairtile::gpu {

constexpr int digit_bits = 8;
constexpr int most_digits = 8;
constexpr int fragment_rows = 16;  // of a product of tensor cores,
constexpr int fragment_cols = 32;
constexpr int fragment_words = fragment_rows * fragment_cols / 4;

// The digits of one place of a block of numbers, row by column, are a plane. It is cut into
// fragments of 16 x 32, which lie as the lanes of a warp read them: 16 bytes for each.
struct DigitPlanes {
    uint32_t* words;  // (count, row tiles, steps, fragment_words)
    int64_t row_tiles, steps;
    int count;

    PAIRTILE_HD int64_t fragment(int64_t plane, int64_t row_tile, int64_t step) const {
        return ((plane * row_tiles + row_tile) * steps + step) * fragment_words;
    }
};
inline int64_t row_tiles_of(int64_t rows) { return (rows + 31) / 32 * 2; }
inline int64_t steps_of(int64_t cols) { return (cols + fragment_cols - 1) / fragment_cols; }

// Where in a fragment the digits of columns 4c to 4c + 3 of a row are. Rows that a warp writes fall
// into different banks and few sectors.
PAIRTILE_HD int fragment_word(int row, int c) {
    const int lane = row % 8 + c % 4 * 8;
    return lane * 4 + row / 8 + c / 4 * 2;
}

// Labels of 32 rows in a word, word by labelling.
struct LabelWords {
    const uint32_t* rows;  // of the rows of the block,
    const uint32_t* cols;  // of its columns
    int64_t row_words, labellings;
};
constexpr int labellings_together = 64;

// For U the digits of a plane, V a column of labels of the rows and W that of the columns:
// sums[plane, 0] += V'UW and sums[plane, 1] += V'U1 + 1'UW, for each labelling. Of a triangle, only
// columns behind a row are read: `diagonal` is the step in which the first row meets itself.
struct DigitProducts {
    DigitPlanes planes;
    LabelWords labels;
    bool triangle;
    int64_t diagonal;
    int64_t* sums;  // (planes, 2, labellings)
};
constexpr int64_t most_digit_columns = 1 << 16;  // of a block: sums of 64 rows fit 32 bits

void digit_products(const DigitProducts& products, cudaStream_t stream);

}  // namespace pairtile::gpu
