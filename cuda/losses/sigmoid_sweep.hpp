// The sigmoid loss of pairs (SigLIP) as a fold of the tensor-core sweep: a logit is folded while it
// is in registers, and its weight leaves as a part of a panel. One positive a row, or none.
//
//     packed rows -> strips of logits -> losses of rows, weights as panels -> gradients
#pragma once

#include "losses/contrastive.hpp"

namespace pairtile::gpu {

// Of a row: its loss, and with gradients Σ weight · scale · C and Σ weight.
constexpr int sigmoid_sums = 3;

// Logits are natural ones here: `factor` is the scale.
struct SigmoidSweep {
    TensorSweep sweep;
    Logits logits;
    float bias;
    const double* shares;  // of the rows in the gradients; null: none are wanted
    double* partial;       // (sigmoid_sums, segments, padded rows)
    Panels panels;         // of ∂loss/∂logit, as of SoftmaxWeights; none without shares
};

struct SigmoidRows {
    double *losses, *by_scale, *by_bias;  // added to
};

void sigmoid_sweep(const SigmoidSweep& sigmoid, const SigmoidRows& rows, double scale,
                   TensorPath path, cudaStream_t stream);

}  // namespace pairtile::gpu
