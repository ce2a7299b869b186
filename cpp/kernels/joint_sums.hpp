// Sums over pairs of the product of two kernels, each in a feature space of its own: what distance
// covariance, HSIC and CKA are made of.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/evaluate.hpp"

namespace pairtile {

// K_ij = k(x_i, x_j) and L_ij = l(y_i, y_j), each less its shift: double centring, which follows,
// does not see a constant, and products of small numbers cancel less.
struct KernelSpace {
    const Source& points;
    std::vector<KernelTerm> terms;
    double shift;
};

// `y` holds the n rows that are paired with those of x, then as many orders of them as there are
// more rows. Everything over i != j and in float64.
struct JointSums {
    std::vector<double> products;        // Σ K_ij L_ij for each order
    std::vector<double> x_rows, y_rows;  // Σ_j K_ij, and Σ_j L_ij of the first order
    double x_squares = 0.0, y_squares = 0.0;
};

JointSums joint_kernel_sums(const KernelSpace& x, const KernelSpace& y, Control& control);

}  // namespace pairtile
