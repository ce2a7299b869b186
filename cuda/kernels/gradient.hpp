// Weighted sums of a kernel over pairs on the GPU, with their derivatives by the queries.
#pragma once

#include <cuda_runtime.h>

#include "kernels/held.hpp"

namespace pairtile::gpu {

// What a kernel is multiplied by, for each query and reference of their sets.
struct PairWeights {
    const double* of_queries;
    const double* of_references;
};

struct Gradient {
    Sweep sweep;            // of all references
    bool itself, diagonal;  // one set and itself; i = i counts, which only dot products notice
    PairWeights weights;
    HeldMemory memory;      // of one block
    double* sums;           // (queries,)
    double* by_rows;        // (queries, features)
    double* by_directions;  // the same by the normalised rows, for cosine kernels
};

// For the rows i of the sweep: sums[i] += Σ_j w_j k(x_i, y_j), i = i left out, and the derivative
// of Σ_ij v_i w_j k(x_i, y_j) by row i, added. Everything in float64.
void kernel_gradient(const Gradient& gradient, const Terms& terms, cudaStream_t stream);

// A second kernel over the same pairs: slopes are multiplied by l(y_i, y_j) + b_i + b_j.
struct KernelBeside {
    Sweep sweep;  // of all references
    Terms terms;
    const double* by_row;
};

// The derivative of Σ_ij v_i w_j k(x_i, x_j) (l(y_i, y_j) + b_i + b_j) by row i, as row i of the
// first argument, added; and the same sums as above. The memory has room for two blocks.
void joint_kernel_gradient(const Gradient& gradient, const Terms& terms, const KernelBeside& beside,
                           cudaStream_t stream);

// From the derivative by x/‖x‖, added to that by x: what points along the row is lost. A zero row
// gets nothing.
void gradient_through_normalization(const Array& rows, const RowScale* scales,
                                    const double* by_directions, double* by_rows,
                                    cudaStream_t stream);

}  // namespace pairtile::gpu
