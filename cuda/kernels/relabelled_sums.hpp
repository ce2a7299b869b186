// Sums over the samples of every relabelling of a resampling test, exact ones on tensor cores:
//
//     rows -> pairs -> values of every kernel -> whole numbers of a step -> digits, a plane for
//     each place -> times labels (digit_products.hpp) -> sums of digits by labelling
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "engine/similarity.hpp"
#include "kernels/digit_products.hpp"

namespace pairtile::gpu {

// Kernels that read the same number of a pair share its tile: each is the terms up to `end` that
// follow those of the kernel before. Their sum is rounded to whole numbers of the step, whose
// digits fill as many planes, behind those of the kernel before.
struct ValuePart {
    double step;
    int end, digits;
};
struct ValueParts {
    int count;
    ValuePart parts[most_terms];
};

// How large the values are.
struct ValueSize {
    double largest;  // |k|; NaN or infinity if there is one
    double total;    // Σ |k|
};

// The rows of a sweep with its references [first, end), `first` a multiple of 32; in a triangle
// only those after a row itself. `paired`: rows i of both sets are one, and in place of a kernel
// is h_ij = k(x_i, x_j) + k(y_i, y_j) − k(x_i, y_j) − k(y_i, x_j).
struct ValueBlock {
    Sweep sweep;
    int64_t first, end;
    bool paired;
};
ValueBlock value_block(Sweep sweep, int64_t first, int64_t end, bool paired);

// Blocks of threads that each leave the sizes of their values.
int64_t value_size_states(const ValueBlock& block);

// Merges into `sizes` those of the block, one for each part.
void value_sizes(const ValueBlock& block, const std::vector<KernelTerm>& terms,
                 const ValueParts& parts, ValueSize* states, ValueSize* sizes, cudaStream_t stream);

// Fills the planes.
void value_digits(const ValueBlock& block, const std::vector<KernelTerm>& terms,
                  const ValueParts& parts, const DigitPlanes& planes, cudaStream_t stream);

}  // namespace pairtile::gpu
