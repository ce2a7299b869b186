// The sigmoid loss over all pairs of logits (SigLIP): each pair is told apart by itself, value and
// gradient, in two sweeps.
#pragma once

#include "losses/logits.hpp"

namespace pairtile {

template <class T>
struct SigmoidLosses {
    double* per_row = nullptr;
    LogitGradients<T> gradients{};
    double grad_scale = 0.0, grad_bias = 0.0;
};

// per_row_i = Σ_j softplus(−z_ij (S_ij + bias)), z being 1 for i = j and −1 elsewhere. Gradients
// are of Σ_i upstream_i per_row_i.
template <class T>
void sigmoid_losses(const LogitRequest& request, double bias, SigmoidLosses<T>& out);

}  // namespace pairtile
