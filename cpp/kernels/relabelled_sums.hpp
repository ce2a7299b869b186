// Sums over the samples of every relabelling of a resampling test, for several kernels in one
// sweep.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/evaluate.hpp"

namespace pairtile {

// Labellings of rows: bit i % 64 of words[i / 64 · count + b] is the label of row i in labelling b.
struct Labels {
    const uint64_t* words;
    int64_t rows, count;

    // The labels of 64 rows from `first` on; those beyond the last row are anything.
    uint64_t from(int64_t first, int64_t b) const {
        const int64_t word = first / 64, shift = first % 64;
        uint64_t bits = words[word * count + b] >> shift;
        if (shift > 0 && (word + 1) * 64 < rows) {
            bits |= words[(word + 1) * count + b] << (64 - shift);
        }
        return bits;
    }
};

// Of each kernel q, over i ≠ j: within[q][b] = Σ V_ib V_jb k_ij, row[q][b] = Σ V_ib k_ij and
// total[q] = Σ k_ij. Always in float64.
struct LabelTotals {
    double *within, *row, *total;
};

// `pooled` interleaved: k_ij is h((x_i, y_i), (x_j, y_j)) = k(x_i, x_j) + k(y_i, y_j) − k(x_i, y_j)
// − k(y_i, x_j), and the labels are those of the pairs. With `rounding_steps`, one per kernel, the
// k_ij that are added are the multiples of the rounding step next to them (where it is 0: as they
// are), which takes half the time; whatever their size, they are added exactly.
void kernel_label_sums(const Source& pooled, const Labels& labels,
                       const std::vector<std::vector<KernelTerm>>& kernels,
                       const double* rounding_steps, Control& control, const LabelTotals& out);

// The same of the one kernel that a map of tiles stands for.
void label_sums(KernelEvaluator<double>& map, const Labels& labels, Control& control,
                const LabelTotals& out);

}  // namespace pairtile
