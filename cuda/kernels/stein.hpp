// Stein kernels on the GPU: with s = ∇ log p and k a function of d² = ‖x − y‖²,
//   k_p(x, y) = s_x·s_y k − 2 (x − y)·(s_x − s_y) k' − 2 f k' − 4 d² k'',   f features.
#pragma once

#include <cuda_runtime.h>

#include "kernels/held.hpp"

namespace pairtile::gpu {

// The Stein kernel of the pairs of the block; `scores` has a row for each row of the one set.
void hold_stein(const Held& held, const Array& scores, const Terms& terms, cudaStream_t stream);

}  // namespace pairtile::gpu
