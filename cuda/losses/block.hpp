// Losses of pairs, block by block of the matrix of dot products C = x·y. A block is computed by
// tensor cores (`dot_sweep`, contrastive.hpp) or in float64 (`wide_block`), folds of a loss
// read it, and backward it is turned into weights W = ∂loss/∂C in place, which are multiplied with
// the rows of either side. What no sweep folds by itself (contrastive.hpp, sigmoid_sweep.hpp) goes
// this way.
//
//     rows → block of C → fold of rows and columns → end → block of C → weights → gradients
#pragma once

#include <cuda_runtime.h>

#include "engine/sweep.hpp"

namespace pairtile::gpu {

// Which pairs of a row belong together. One of targets, labels and a sparse matrix.
struct PairRule {
    const int64_t* targets;  // a column for each row; -1: none
    const double *row_labels, *col_labels;
    double width;  // labels this far apart still belong together
    // columns of a row ascending, weights of a row adding up to 1
    const int64_t *indptr, *columns;
    const double* weights;
    bool self;  // rows are the first columns, and none is compared with itself
};

// Dot products of rows [first_row, first_row + rows) and columns from first_col on.
template <class T>
struct DotBlock {
    T* dots;  // (rows, pitch)
    int64_t pitch;
    int64_t first_row, rows, first_col, cols;
    // what products are still to be multiplied by, of all rows and of all columns; null: 1
    const float *row_factors, *col_factors;
    // Weights for the columns' gradients; those for the rows' take the place of the products. Both
    // hold the factors of what they are multiplied with.
    T* by_col;
};

// What each row is multiplied by, and how much it counts in the gradients.
struct RowTerms {
    double scale;
    const double* scales;  // one for each row in place of `scale`, or null
    const double* shares;  // null where no gradients are wanted
    double* by_scale;      // of the rows: Σ_j ∂loss/∂S · ∂S/∂scale, added up; or null
};

// Dot products of rows of the sweep with all of its references, in float64, into a block.
void wide_block(const Sweep& sweep, double* dots, int64_t pitch, cudaStream_t stream);

// out[i, f] += factor · Σ_j W_ij y_jf, with W_ij = weights[i · row_step + j · col_step], for the
// first `rows` rows of out and all rows of y.
struct WideWeights {
    const double* weights;
    int64_t row_step, col_step;
    int64_t rows;
    Array others;
    const RowScale* scales;
};
void wide_weight_product(const WideWeights& weights, double factor, double* out,
                         cudaStream_t stream);

}  // namespace pairtile::gpu
