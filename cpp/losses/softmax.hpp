// Softmax losses over all pairs of logits: InfoNCE (rows), CLIP (rows and columns), SupCon and
// NT-Xent (rows of one set), value and gradient, in two sweeps.
#pragma once

#include <optional>

#include "losses/logits.hpp"
#include "losses/positives.hpp"

namespace pairtile {

// With C = x·y of a pair: S = s·φ(C) + column logit, φ being the identity, and for positives
// C − margin or cos(arccos C + angular_margin).
struct SoftmaxOptions {
    Positives positives;
    bool rows = true, cols = false;  // whose log-sum-exps; columns only with distinct targets
    double margin = 0.0, angular_margin = 0.0;
    const double* column_logits = nullptr;
    // sparse, columns ascending: the only columns of a row beside its positives
    const int64_t *kept_indptr = nullptr, *kept_columns = nullptr;
    // only with targets: negatives with C > C of the positive + this are left out
    std::optional<double> false_negative_margin;
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

// The same of a triangle: of the rows of one set, none of which is compared with itself; options
// are its positives, by labels.
template <class T>
void self_softmax_losses(const LogitRequest& request, const Positives& positives,
                         SoftmaxLosses<T>& out);

}  // namespace pairtile
