// Log-sum-exp of log-kernels: kernel density estimates that do not underflow.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/evaluate.hpp"

namespace pairtile {

// What each reference row adds to, and multiplies, its log-kernels. Null: 0 and 1.
struct ColumnShape {
    const double* log_weights;
    const double* rates;  // positive, at most 1; for Gaussian and Laplace terms
};

// out[i] = log Σ_j e^{w_j} Σ_t a_t k_t(x_i, y_j)^{r_j}, the sum over j != i where `leave_one_out`.
// Weights a_t are positive, as are the kernels; −∞ is the logarithm of an empty sum.
void kernel_log_sums(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                     const ColumnShape& shape, bool leave_one_out, Precision precision,
                     Control& control, double* out);

}  // namespace pairtile
