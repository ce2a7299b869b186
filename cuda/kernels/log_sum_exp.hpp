// Log-sum-exp of log-kernels on the GPU: kernel density estimates that do not underflow.
#pragma once

#include <cuda_runtime.h>

#include "engine/similarity.hpp"
#include "pairtile/fold/log_sum_exp.hpp"

namespace pairtile::gpu {

// What each reference adds to, and multiplies, its log-kernels. Null: 0 and 1.
struct ReferenceShape {
    const double* log_weights;
    const double* rates;
};

struct LogSummation {
    Sweep sweep;
    bool exclude_self;  // for one set and itself
    ReferenceShape shape;
    LogSumExp* states;
};

constexpr int64_t log_sums_state_bytes = slots * sizeof(LogSumExp);  // of one (row, segment)
constexpr int64_t log_sums_least_width = 256;

// What is in so_far, where a LogSumExp of each query lies, and log Σ_j e^{w_j} a k(x_i, y_j)^{r_j}
// of the weight a > 0 are merged there for the rows of the sweep; a first term finds nothing.
// sums[i] is the logarithm of it all. Everything in float64.
void kernel_log_sums(const LogSummation& summation, const KernelTerm& term, bool is_first,
                     LogSumExp* so_far, double* sums, cudaStream_t stream);

}  // namespace pairtile::gpu
