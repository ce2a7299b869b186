// The sigmoid loss over all pairs of logits (SigLIP): each pair is told apart by itself, value and
// gradient, in one sweep.
#pragma once

#include "losses/logits.hpp"
#include "losses/positives.hpp"

namespace pairtile {

template <class T>
struct SigmoidLosses {
    double* per_row = nullptr;
    LogitGradients<T> gradients{};
    double grad_scale = 0.0, grad_bias = 0.0;
    double* grad_scales = nullptr;  // of the rows, where each has its own
};

// per_row_i = Σ_j softplus(−z_ij (S_ij + bias)), z being 1 for positives and −1 elsewhere.
// Gradients are of Σ_i upstream_i per_row_i.
template <class T>
void sigmoid_losses(const LogitRequest& request, const Positives& positives, double bias,
                    SigmoidLosses<T>& out);

}  // namespace pairtile
