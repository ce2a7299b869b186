// Softmax losses over all pairs of logits S = scale · x yᵀ: InfoNCE (rows) and CLIP (rows and
// columns), value and gradient, in two sweeps.
#pragma once

#include <cstdint>

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"

namespace pairtile {

template <class T>
struct ContrastiveOutput {
    double* per_row = nullptr;
    double* lse_row = nullptr;
    double* lse_col = nullptr;  // symmetric only
    T* grad_x = nullptr;        // zeroed by the caller; null: no gradients wanted
    T* grad_y = nullptr;
    double grad_scale = 0.0;
};

// per_row_i = lse_row_i − S_{i,t_i}, or (lse_row_i + lse_col_i)/2 − S_ii when symmetric. Gradients
// are of Σ_i upstream_i per_row_i.
template <class T>
void contrastive(const Source& x, const Source& y, double scale, const int64_t* targets,
                 bool symmetric, const double* upstream, Control& control,
                 ContrastiveOutput<T>& out);

}  // namespace pairtile
