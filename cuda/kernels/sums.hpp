// Sums of kernel values over pairs on the GPU: Ê k of MMD and energy distance, witness rows.
#pragma once

#include <cuda_runtime.h>

#include "engine/similarity.hpp"
#include "pairtile/fold/sum.hpp"

namespace pairtile::gpu {

struct Summation {
    Sweep sweep;
    const double* reference_weights;  // may be null
    Sum* states;
};

constexpr int64_t sums_state_bytes = slots * sizeof(Sum);  // of one (row, segment)
constexpr int64_t sums_least_width = 256;

// sums[i] += weight · Σ_j w_j k(x_i, y_j) for the rows of the sweep.
// T is the type in which differences and kernel values are computed; sums are float64.
template <class T>
void kernel_row_sums(const Summation& summation, const KernelTerm& term, double* sums,
                     cudaStream_t stream);

// total[0] = Σ_i w_i sums[i], in an order that depends on n only. Weights may be null.
void weighted_total(const double* sums, int64_t n, const double* weights, double* total,
                    cudaStream_t stream);

}  // namespace pairtile::gpu
