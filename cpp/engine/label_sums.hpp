// Sums over the samples of every relabelling of a permutation test, in one sweep.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/kernel_map.hpp"

namespace pairtile {

// For each labelling b (bit b of row i, little-endian bytes): within = Σ_{i≠j} V_ib V_jb k_ij and
// row = Σ_i V_ib Σ_{j≠i} k_ij; total = Σ_{i≠j} k_ij. Always in float64.
double kernel_label_sums(const Source& pooled, const uint8_t* labels, int64_t n_labels,
                         const std::vector<KernelTerm>& terms, int workers, Control& control,
                         double* within, double* row);

// Adds the sums of one map of tiles to `within` and `row`; returns its total.
double add_label_sums(KernelMap<double>& map, const uint8_t* labels, int64_t n_labels, int workers,
                      Control& control, double* within, double* row);

}  // namespace pairtile
