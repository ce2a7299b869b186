// Stein kernels on the GPU: with s = ∇ log p and k a function of d² = ‖x − y‖²,
//   k_p(x, y) = s_x·s_y k − 2 (x − y)·(s_x − s_y) k' − 2 f k' − 4 d² k'',   f features.
#pragma once

#include <cuda_runtime.h>

#include "kernels/held.hpp"

namespace pairtile::gpu {

// A row for each row of either set.
struct Scores {
    Array of_queries, of_references;
};

// The Stein kernel of the pairs of the block; the scores are those of whole sets.
void hold_stein(const Held& held, const Scores& scores, const Terms& terms, cudaStream_t stream);

}  // namespace pairtile::gpu
