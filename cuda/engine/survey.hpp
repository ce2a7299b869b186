// What is asked about the data before a sweep.
#pragma once

#include <cuda_runtime.h>

#include "engine/array.hpp"

namespace pairtile::gpu {

struct Findings {
    int64_t first_bad;  // first row with NaN or Inf, −1 without one
    double largest;     // magnitude among the finite numbers
};

// Both write their result to device memory, in the order of the stream.
void survey(const Array& array, Findings* findings, cudaStream_t stream);
void row_scales(const Array& array, bool centred, RowScale* scales, cudaStream_t stream);

}  // namespace pairtile::gpu
