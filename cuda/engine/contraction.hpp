// Kernel matrices times columns on the GPU: K·v, and the labellings of a permutation test.
#pragma once

#include <cuda_runtime.h>

#include "engine/similarity.hpp"

namespace pairtile::gpu {

// What K is multiplied by, row by row: numbers, or 0 and 1 as the bits of bytes.
struct Columns {
    const double* numbers;  // (rows, stride); null where there are bits
    const uint8_t* bits;    // (rows, stride)
    int64_t stride;
    int64_t count;  // of bits, all later ones being set

    PAIRTILE_HD double element(int64_t row, int64_t column) const {
        if (numbers) return column < count ? numbers[row * stride + column] : 0.0;
        if (column >= count) return 1.0;
        return static_cast<double>(bits[row * stride + column / 8] >> column % 8 & 1);
    }
};

constexpr int contraction_width = 64;  // columns of one sweep

struct Contraction {
    Sweep sweep;
    bool exclude_self;  // for one set and itself
    Columns columns;    // one row per reference
    int64_t first_column;
    double* partial;  // (segments, rows of the sweep, width)
};

constexpr int64_t contraction_state_bytes = contraction_width * sizeof(double);
constexpr int64_t contraction_least_width = 256;

// out[r, c] += weight · Σ_j k(x_i, y_j) v[j, first_column + c] for the rows i = first_row + r of
// the sweep and c < columns, at most `contraction_width`. T is the type in which kernel values are
// computed; sums are float64.
template <class T>
void contract(const Contraction& contraction, const KernelTerm& term, int columns, double* out,
              int64_t out_stride, cudaStream_t stream);

// within[c] += Σ_r v[first_row + r, first_column + c] products[r, c] and all[c] += Σ_r products[r,
// c] over some rows of K·v, in an order that depends on their number only.
void column_totals(const double* products, int64_t rows, int64_t first_row, const Columns& columns,
                   int64_t first_column, int count, double* within, double* all,
                   cudaStream_t stream);

}  // namespace pairtile::gpu
