// Gradients of a weighted kernel sum, with respect to the rows and to the weights.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/evaluate.hpp"

namespace pairtile {

// Of S = Σ_ij v_i w_j k(x_i, y_j): the vectors are the caller's, filled with zeros.
struct KernelGradient {
    double* row_sums;  // Σ_j w_j k(x_i, y_j) = ∂S/∂v_i
    double* col_sums;  // Σ_i v_i k(x_i, y_j) = ∂S/∂w_j
    double* grad_x;    // ∂S/∂x_i, n × d; null where it is not wanted
    double* grad_y;    // ∂S/∂y_j, m × d; likewise
};

// `itself`: y is x, w is v and i != j; only row_sums and grad_x are filled, and grad_x is half of
// the gradient. `diagonal`: the gradient, not the sums, then counts i = j as well. Where the
// kernel has no derivative (equal rows, Laplace and energy kernels) a pair contributes 0. Returns
// how many pairs were left out, as the kernel has vanished.
int64_t kernel_gradient(const Source& x, const Source& y, bool itself, bool diagonal,
                        const std::vector<KernelTerm>& terms, const double* v, const double* w,
                        Precision precision, Control& control, const KernelGradient& out);

// Σ_j W_ij ∂k(x_i, x_j)/∂x_i in each row of `grad`, n × d and filled with zeros, for pairs that are
// weighted by a kernel of rows beside them: W_ij = l(y_i, y_j) + b_i + b_j. Everything in float64,
// and over i != j unless `diagonal`.
void joint_kernel_gradient(const Source& x, const Source& y, const std::vector<KernelTerm>& x_terms,
                           const std::vector<KernelTerm>& y_terms, const double* b, bool diagonal,
                           Control& control, double* grad);

}  // namespace pairtile
