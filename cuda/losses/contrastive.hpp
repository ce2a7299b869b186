// Contrastive losses on tensor cores. Logits are kept in base 2: t = x·y · scale · log₂e, times
// what normalises the two rows where that is wanted.
//
// Forward: one sweep folds (maximum, sum) over all logits of a row but its positive, which is kept
// apart, so that a loss near zero has all its digits; the same of columns. Backward, block by block
// of the matrix: a sweep turns logits into the weights W = ∂loss/∂logit and writes them as panels,
// which are multiplied with the rows of either side (panel_product.hpp).
#pragma once

#include "engine/tensor_sweep.hpp"
#include "losses/softmax_end.hpp"

namespace pairtile::gpu {

// How products of packed rows become logits, and which of them are positives. Every pointer is to
// the first packed row or column; factors reach to the end of the padding.
struct Logits {
    float factor;
    const float* row_factors;  // null: 1
    const float* col_factors;
    // Where logits are known to lie so that 2^(t − offset) neither overflows nor, where it counts,
    // vanishes, one such number serves its row and its column.
    bool bounded;
    float offset;
    const int64_t* targets;  // row i has the column targets[i]; null: row i has column i
    int64_t first_row, first_column;
};

struct SoftmaxSums {
    TensorSweep sweep;
    Logits logits;
    float* positives;    // (rows), logits
    LogSumExp* of_rows;  // (segments, padded rows), natural logarithms from here on
    // (row blocks × strips, padded columns): maximum and sum, bounded: sums; null: not wanted
    void* of_cols;
};

constexpr int strips_of_block = block_rows / strip_rows;

// Column states of one row block and column, in bytes; half of them where logits are bounded.
constexpr int64_t softmax_column_bytes = strips_of_block * sizeof(float2);

// Folds into the rows and columns from there on, whose first states are empty.
void softmax_sums(const SoftmaxSums& sums, LogSumExp* rows, LogSumExp* cols, TensorPath path,
                  cudaStream_t stream);

// `panels`: of the weights of a block, as rows whose features are its columns. Where rows and
// columns have factors, each weight is times both of them.
struct SoftmaxWeights {
    TensorSweep sweep;
    Logits logits;
    const SoftmaxSide* of_rows;
    const SoftmaxSide* of_cols;  // null: columns do not count
    const float* row_levels;     // bounded: what 2^(t − offset) counts
    const float* col_levels;
    Panels panels;
};
void softmax_levels(const SoftmaxSide* sides, int64_t rows, float offset, float* levels,
                    cudaStream_t stream);
void softmax_weights(const SoftmaxWeights& weights, TensorPath path, cudaStream_t stream);

// Dot products, in float32: (padded rows, padded columns).
struct DotSweep {
    TensorSweep sweep;
    float* out;
};
void dot_sweep(const DotSweep& dots, TensorPath path, cudaStream_t stream);

// How many segments of columns a sweep over logits is cut into.
int64_t logit_segments(int64_t rows, int64_t cols);

}  // namespace pairtile::gpu
