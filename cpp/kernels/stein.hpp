// Sums of a Stein kernel over pairs, and over the sign vectors of a wild bootstrap.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/relabelled_sums.hpp"

namespace pairtile {

// The Stein kernel of rows x with scores s = ∇ log p(x) and a kernel k(‖x − y‖²):
//   s_x·s_y k − 2 (x − y)·(s_x − s_y) k' − 2 d k' − 4 ‖x − y‖² k''
// summed as in kernels/relabelled_sums.hpp. Terms must have derivatives (`has_stein`); always
// float64.
void stein_label_sums(const Source& x, const Source& scores, const Labels& labels,
                      const std::vector<KernelTerm>& terms, Control& control,
                      const LabelTotals& out);

}  // namespace pairtile
