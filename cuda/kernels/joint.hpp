// Two kernels over the same pairs of rows on the GPU: what distance covariance, HSIC and CKA are
// made of.
#pragma once

#include <cuda_runtime.h>

#include "kernels/held.hpp"

namespace pairtile::gpu {

// Rows with a kernel, less its shift.
struct KernelSpace {
    Sweep sweep;  // of all references
    Terms terms;
    double shift;
};

// Where the sums of a batch of rows go: Σ over j ≠ i of K_ij and of L_ij for each row of all, and
// in numbers of (orders + 2, rows of the batch) those of K_ij L_ij of each order, then of K_ij² and
// of L_ij².
struct JointRows {
    double *x_rows, *y_rows;
    double* numbers;
};

// For the rows of the sweeps, of one set and `itself` or of two that share no row. The rows of y
// are those of x, then more orders of them; the sweep of y is that of the first. The memory has
// room for two blocks.
void joint_kernel_sums(const KernelSpace& x, const KernelSpace& y, int64_t orders, bool itself,
                       const HeldMemory& memory, const JointRows& out, cudaStream_t stream);

// The whole matrix of a space whose sweep is of all rows, as (references, rows). Of one set and
// itself, 0 for the pair of a row with itself: the references begin so many rows after the queries.
void kernel_matrix(const KernelSpace& space, bool itself, int64_t after, double* matrix,
                   cudaStream_t stream);

// parts[o, p] = Σ_ij K_ij L_o(i)o(j) over a part of the rows i, for `count` orders of n rows.
constexpr int64_t permuted_parts = 32;
void permuted_products(const double* k, const double* l, int64_t n, const int64_t* orders,
                       int64_t count, double* parts, cudaStream_t stream);

}  // namespace pairtile::gpu
