// Softmax losses over all pairs of logits: InfoNCE (rows) and CLIP (rows and columns), value and
// gradient, in two sweeps.
#pragma once

#include <optional>

#include "losses/logits.hpp"
#include "losses/positives.hpp"
#include "pairtile/fold/log_sum_exp.hpp"

namespace pairtile {

// Pairs of rows and columns: columns of a row ascending.
struct PairList {
    const int64_t *indptr = nullptr, *columns = nullptr;

    bool given() const { return indptr != nullptr; }
};

// With C = x·y of a pair: S = s·φ(C) + column logit, φ being the identity, and for positives
// C − margin or cos(arccos C + angular_margin).
struct SoftmaxOptions {
    Positives positives;
    bool rows = true, cols = false;  // whose log-sum-exps; columns only with distinct targets
    double margin = 0.0, angular_margin = 0.0;
    const double* column_logits = nullptr;
    PairList kept;  // the only columns of a row beside its positives
    // only with targets: negatives with C > C of the positive + this are left out
    std::optional<double> false_negative_margin;
    // in its place, where positives are elsewhere: the largest C that stays, of rows and columns
    const double *row_limits = nullptr, *col_limits = nullptr;
    // negatives that somebody else knows to be false: out of the sums of rows, and of columns
    PairList row_masked, col_masked;
    double label_smoothing = 0.0;
    double tau_plus = 0.0;  // only with targets, for rows, with nothing left out
};

template <class T>
struct SoftmaxLosses {
    double* per_row = nullptr;
    double* lse_row = nullptr;  // of rows only
    double* lse_col = nullptr;  // of columns only
    LogitGradients<T> gradients{};
    double grad_scale = 0.0;
    double* grad_scales = nullptr;  // of the rows, where each has its own
};

// per_row_i of the rows: lse_i − (1 − ε) mean of S over the positives − ε mean of S over all; of
// the columns: the same of the column that is the row's target; of both: half of each. A row
// without a positive has the loss 0. Gradients are of Σ_i upstream_i per_row_i.
template <class T>
void softmax_losses(const LogitRequest& request, const SoftmaxOptions& options,
                    SoftmaxLosses<T>& out);

// What is summed over the pairs of a row or a column, a monoid: columns may come in several blocks.
struct SoftmaxState {
    LogSumExp all;                       // of the pairs that are not left out
    double positive = 0.0, share = 0.0;  // Σ w S over its positives, and Σ w
    double total = 0.0, count = 0.0;     // Σ S over all, and how many; for label smoothing

    void merge(const SoftmaxState& other) {
        all.merge(other.all);
        positive += other.positive, share += other.share;
        total += other.total, count += other.count;
    }
};

// Of each row, and of each column where `options.cols`; of a triangle, none of whose pairs is of a
// positive or of a row with itself, of each row by what it masks. Columns do not know their
// positives. With tau_plus a row's sum lacks its positive. `limits` are those of
// false_negative_margin: of a row's sum and of its target's.
struct SoftmaxStates {
    SoftmaxState *rows, *cols;
    double* limits;
};
template <class T>
void softmax_states(const LogitRequest& request, const SoftmaxOptions& options,
                    const SoftmaxStates& out);

// States over all blocks, of which this may be one, and the weights of the losses that they are of.
struct SoftmaxSides {
    const SoftmaxState *rows, *cols;
    const double *row_weights, *col_weights;
    int64_t negatives = 0;  // of a row in all blocks, with tau_plus
};

// What the pairs of a block add to the gradients of Σ weight · loss.
template <class T>
void softmax_gradients(const LogitRequest& request, const SoftmaxOptions& options,
                       const SoftmaxSides& sides, SoftmaxLosses<T>& out);

}  // namespace pairtile
