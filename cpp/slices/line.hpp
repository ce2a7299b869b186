// Products of distances on two lines, Σ |x_i − x_j| |y_i − y_j| in O(n log n): what distance
// covariance needs of two single columns beside their sorted sums.
#pragma once

#include <cstdint>

#include "engine/parallel_for.hpp"

namespace pairtile {

// products[o] = Σ_{i,j} |x_i − x_j| |y_{o(i)} − y_{o(j)}| for each of the orders o (count × n);
// x ascends.
void line_products(const double* x, const double* y, const int64_t* orders, int64_t n,
                   int64_t count, Control& control, double* products);

}  // namespace pairtile
