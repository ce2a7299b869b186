// K·v: the contraction of a kernel matrix that never exists.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/evaluate.hpp"

namespace pairtile {

// out (n, c) = K V for V (m, c), both row-major. Kernel values in float32 or float64 as for
// sums, products and their sums in float64.
void kernel_matvec(const Source& x, const Source& y, const double* v, int64_t c,
                   const std::vector<KernelTerm>& terms, Precision precision, Control& control,
                   double* out);

}  // namespace pairtile
