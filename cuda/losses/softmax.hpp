// Softmax losses with all their options, as folds over blocks of dot products: InfoNCE (rows), CLIP
// (rows and columns), SupCon and NT-Xent (rows that are columns too).
#pragma once

#include "losses/block.hpp"
#include "pairtile/fold/log_sum_exp.hpp"

namespace pairtile::gpu {

// Pairs of rows and columns, columns of a row ascending; null: none.
struct MaskedPairs {
    const int64_t *indptr, *columns;
};

// S = s·φ(C) + column logit, φ being the identity, and for positives C − margin or
// cos(arccos C + angular_margin). Pairs that are left out of the sum of a row or of a column are
// not in its mean either.
struct SoftmaxOptions {
    PairRule positives;
    const double* column_logits;
    double margin, angular_margin;
    const int64_t *kept_indptr, *kept_columns;  // the only columns of a row beside its positives
    // negatives with C above these are left out: dot products of positives plus a margin
    const double *row_limits, *col_limits;
    MaskedPairs row_masked, col_masked;  // negatives out of the sums of rows, and of columns
};

// What the loss of a row or of a column is made of.
struct SoftmaxState {
    LogSumExp rest, own;  // of the logits of pairs that are none, and are positives
    double wanted;        // Σ weight · S of the positives
    double weights;
    double all, found;  // Σ S of all pairs in the sum, and how many they are

    PAIRTILE_HD void merge(const SoftmaxState& other) {
        rest.merge(other.rest);
        own.merge(other.own);
        wanted += other.wanted;
        weights += other.weights;
        all += other.all;
        found += other.found;
    }
};

// ∂loss/∂S of a pair: share · e^{(S − top) − log_total} − even, less wanted · weight where it is a
// positive, or `positive` there if there is one alone.
struct SoftmaxTerms {
    double top, log_total, share, even, wanted, positive;
    double alone;  // 1 or 0
};

// Of the losses of rows, or of columns.
struct SoftmaxLossEnd {
    int64_t count;
    const SoftmaxState* states;
    const double* shares;  // null: no gradients
    double part;           // of the loss, and of the shares
    bool whole_weights;    // positives weigh 1 each: where weights add up to 1, there is one
    double smoothing;
    double tau_plus;  // rows only: the positives among `others` negatives
    double others;
    RowTerms rows;
    // the losses of columns, to be added to those of the rows that have them; or null
    const double* more;
    const int64_t* targets;
    double *losses, *log_sums;
    SoftmaxTerms* terms;  // null: no gradients
};

// limits[i] = dot product of row i and its target plus the margin; of columns, by the row's target.
template <class T>
void softmax_limits(const DotBlock<T>& block, const int64_t* targets, double margin,
                    double* row_limits, double* col_limits, cudaStream_t stream);

// Folds into states, which begin empty; null: not wanted.
template <class T>
void softmax_states(const DotBlock<T>& block, const SoftmaxOptions& options, const RowTerms& rows,
                    SoftmaxState* of_rows, SoftmaxState* of_cols, cudaStream_t stream);
void softmax_empty(SoftmaxState* states, int64_t count, cudaStream_t stream);
void softmax_loss_end(const SoftmaxLossEnd& end, cudaStream_t stream);

// Products become weights.
template <class T>
void softmax_block_weights(const DotBlock<T>& block, const SoftmaxOptions& options,
                           const RowTerms& rows, const SoftmaxTerms* of_rows,
                           const SoftmaxTerms* of_cols, cudaStream_t stream);

}  // namespace pairtile::gpu
