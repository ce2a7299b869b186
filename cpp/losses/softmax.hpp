// Softmax losses over all pairs of logits: InfoNCE (rows) and CLIP (rows and columns), value and
// gradient, in two sweeps.
#pragma once

#include "losses/logits.hpp"

namespace pairtile {

template <class T>
struct SoftmaxLosses {
    double* per_row = nullptr;
    double* lse_row = nullptr;
    double* lse_col = nullptr;  // symmetric only
    LogitGradients<T> gradients{};
    double grad_scale = 0.0;
};

// per_row_i = lse_row_i − S_{i,t_i}, or (lse_row_i + lse_col_i)/2 − S_ii when symmetric. Gradients
// are of Σ_i upstream_i per_row_i.
template <class T>
void softmax_losses(const LogitRequest& request, const int64_t* targets, bool symmetric,
                    SoftmaxLosses<T>& out);

}  // namespace pairtile
