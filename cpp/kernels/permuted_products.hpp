// Σ K∘L over the pairs of rows, for many orders of the rows of L: of matrices that are small enough
// to be held, where reading L in another order costs far less than its values from long rows.
#pragma once

#include "kernels/joint_sums.hpp"

namespace pairtile {

// products[o] = Σ_{i≠j} K_ij L_{o(i) o(j)} for each of `count` orders of n rows. Holds K and L.
void permuted_products(const KernelSpace& x, const KernelSpace& y, const int64_t* orders,
                       int64_t count, Control& control, double* products);

}  // namespace pairtile
