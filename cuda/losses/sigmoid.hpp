// The sigmoid loss over all pairs of logits (SigLIP): each pair is told apart by itself.
#pragma once

#include "losses/block.hpp"

namespace pairtile::gpu {

// Adds Σ_j softplus(−z_ij (S_ij + bias)) to the losses of the rows, z being 1 for positives and −1
// elsewhere. With shares products become weights, and by_bias[i] gets Σ_j ∂loss/∂bias.
template <class T>
void sigmoid_losses(const DotBlock<T>& block, const PairRule& positives, const RowTerms& rows,
                    double bias, double* losses, double* by_bias, cudaStream_t stream);

}  // namespace pairtile::gpu
