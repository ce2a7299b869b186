// Contrastive losses on tensor cores. Logits are kept in base 2: t = x·y · scale · log₂e, times
// what normalises the two rows where that is wanted.
//
// Forward: one sweep folds (maximum, sum) over all logits of a row but its positive, which is kept
// apart, so that a loss near zero has all its digits; the same of columns. Backward, block by block
// of the matrix: a sweep turns logits into the weights W = ∂loss/∂logit and writes W and Wᵀ as
// panels, and two more multiply them with yᵀ and xᵀ.
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
    // (row blocks × warps, padded columns): maximum and sum, bounded: sums; null: not wanted
    void* of_cols;
};

// Column states of one row block and column, in bytes; half of them where logits are bounded.
constexpr int64_t softmax_column_bytes = warps_of_rows * sizeof(float2);

// Folds into the rows and columns from there on, whose first states are empty.
void softmax_sums(const SoftmaxSums& sums, LogSumExp* rows, LogSumExp* cols, TensorPath path,
                  cudaStream_t stream);

// Weights of a block of logits as panels: of its rows, whose features are its (padded) columns, and
// of its columns, whose features are its rows. In `parts` each.
struct WeightPanels {
    char* by_row;
    char* by_col;
    int parts;
};
struct SoftmaxWeights {
    TensorSweep sweep;
    Logits logits;
    const SoftmaxSide* of_rows;
    const SoftmaxSide* of_cols;  // null: columns do not count
    const float* row_levels;     // bounded: what 2^(t − offset) counts
    const float* col_levels;
    WeightPanels panels;
};
void softmax_levels(const SoftmaxSide* sides, int64_t rows, float offset, float* levels,
                    cudaStream_t stream);
void softmax_weights(const SoftmaxWeights& weights, TensorPath path, cudaStream_t stream);

// out[i, f] += factor · Σ_j W_ij y_jf, with panels of W as rows and of yᵀ as columns of the sweep.
struct WeightProduct {
    TensorSweep sweep;
    float* partial;  // (splits, padded rows, padded columns)
};
void weight_product(const WeightProduct& product, double factor, float* out, TensorPath path,
                    cudaStream_t stream);

// The products alone, into `partial`.
void product_block(const WeightProduct& product, TensorPath path, cudaStream_t stream);

// How many pieces the features of such a sweep are cut into: enough for every multiprocessor, and
// none longer than `most` features.
int64_t product_splits(int64_t rows, int64_t cols, int64_t features, int64_t most);
// How many segments of columns a sweep over logits is cut into.
int64_t logit_segments(int64_t rows, int64_t cols);

}  // namespace pairtile::gpu
