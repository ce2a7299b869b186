// The kernel of pairs of rows, times the labellings of a wild bootstrap.
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "engine/contraction.hpp"

namespace pairtile::gpu {

// As `contract`, of h_ij = k(x_i, x_j) + k(y_i, y_j) − k(x_i, y_j) − k(y_i, x_j) for the pairs
// (x_i, y_i) of rows of both sets of the sweep, of as many rows: k is the sum of the terms, which
// read the same number of two rows. With a rounding step, h counts in whole numbers of it.
void contract_paired(const Contraction& contraction, const std::vector<KernelTerm>& terms,
                     double rounding_step, int columns, double* out, int64_t out_stride,
                     cudaStream_t stream);

}  // namespace pairtile::gpu
