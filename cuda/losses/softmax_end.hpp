// Between forward and backward: from the folds of rows and columns without their positives, and
// these, to losses, log-sum-exps, and what turns logits into weights.
#pragma once

#include <cuda_runtime.h>

#include "pairtile/fold/log_sum_exp.hpp"

namespace pairtile::gpu {

// What turns a logit into a probability, and by how much that counts: 2^(t − reference − log_total)
// · share. `positive` is the weight of the positive, for sides of rows.
struct SoftmaxSide {
    float reference, log_total, share, positive;
};
// The same in float64 and base e.
struct WideSide {
    double reference, log_total, share, positive;
};

// With columns, row i has column i.
struct SoftmaxEnd {
    int64_t rows;
    const LogSumExp* of_rows;
    const LogSumExp* of_cols;  // null: not wanted
    const double* shares;      // of the rows, in either direction
    double *per_row, *lse_row, *lse_col;
    float* extremes;  // the least and the largest log-sum-exp, in base 2; finds ∞ and −∞
};

// Positives are logits in base 2 as float32, or in base e as float64. Sides: null where not wanted.
void softmax_end(const SoftmaxEnd& end, const float* positives, SoftmaxSide* of_rows,
                 SoftmaxSide* of_cols, cudaStream_t stream);
void softmax_end(const SoftmaxEnd& end, const double* positives, WideSide* of_rows,
                 WideSide* of_cols, cudaStream_t stream);

}  // namespace pairtile::gpu
