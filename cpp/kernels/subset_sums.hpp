// Kernel sums within many small subsets of two samples at once: KID, and MMD in blocks.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/evaluate.hpp"

namespace pairtile {

// What the sums of one subset are: Σ_{i≠j} k(x_i, x_j), Σ_{i≠j} k(y_i, y_j), Σ_ij k(x_i, y_j).
constexpr int sums_of_subset = 3;

// Rows x_rows[s·size ...] of x and y_rows[s·size ...] of y are subset s. `paired` leaves i = j out
// of the third sum too. sums[s] begins at sums + 3 s.
void kernel_subset_sums(Source x, Source y, const int64_t* x_rows, const int64_t* y_rows,
                        int64_t subsets, int64_t size, bool paired,
                        const std::vector<KernelTerm>& terms, Precision precision, Control& control,
                        double* sums);

}  // namespace pairtile
