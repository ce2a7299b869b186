// Sums of kernel values over pairs: Ê k of MMD and energy distance, witness rows, and the sums of
// all relabellings of a permutation test in one sweep.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/knn.hpp"
#include "engine/parallel_for.hpp"
#include "engine/source.hpp"
#include "pairtile/kernel/registry.hpp"

namespace pairtile {

// weight · kernel(params); a list of them is one kernel.
struct KernelTerm {
    double weight;
    KernelId kernel;
    double params[kernel_params];
};

// sums[i] = Σ_j w_j k(x_i, y_j). `weights` may be null.
void kernel_row_sums(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                     const double* weights, Precision precision, int workers, Control& control,
                     double* sums);

// Σ v_i w_j k(x_i, y_j).
double kernel_total(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                    const double* x_weights, const double* y_weights, Precision precision,
                    int workers, Control& control);

// Σ w_i w_j k(x_i, x_j) over i != j.
double kernel_self_total(const Source& x, const std::vector<KernelTerm>& terms,
                         const double* weights, Precision precision, int workers, Control& control);

// For each labelling b (bit b of row i, little-endian bytes): within = Σ_{i≠j} V_ib V_jb k_ij and
// row = Σ_i V_ib Σ_{j≠i} k_ij; total = Σ_{i≠j} k_ij. Always in float64.
double kernel_label_sums(const Source& pooled, const uint8_t* labels, int64_t n_labels,
                         const std::vector<KernelTerm>& terms, int workers, Control& control,
                         double* within, double* row);

}  // namespace pairtile
