// Sums of kernel values over pairs: Ê k of MMD and energy distance, and witness rows.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/evaluate.hpp"

namespace pairtile {

// sums[i] = Σ_j w_j k(x_i, y_j). `weights` may be null. Returns how many pairs were left out, as
// the kernel has vanished there.
int64_t kernel_row_sums(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                        const double* weights, Precision precision, Control& control, double* sums);

// Σ v_i w_j k(x_i, y_j).
double kernel_total(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                    const double* x_weights, const double* y_weights, Precision precision,
                    Control& control);

// Σ w_i w_j k(x_i, x_j) over i != j.
double kernel_self_total(const Source& x, const std::vector<KernelTerm>& terms,
                         const double* weights, Precision precision, Control& control);

// Σ k(x_i, y_j)², and the sums of k(x_i, y_j) over each row and each column. `itself`: y is x and
// i != j; col_sums, equal to row_sums then, may be null. All terms read one argument.
double kernel_moments(const Source& x, const Source& y, bool itself,
                      const std::vector<KernelTerm>& terms, Precision precision, Control& control,
                      double* row_sums, double* col_sums);

}  // namespace pairtile
