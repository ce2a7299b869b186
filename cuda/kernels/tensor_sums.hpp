// Sums of kernel values over pairs by tensor cores: rows in three parts of bfloat16 on a grid,
// whose six or eight larger products hold what float32 does, squared distances from norms, values
// in float32, sums in float64. Pairs so near that the error of their squared distance could be seen
// are computed again in float64.
#pragma once

#include "engine/similarity.hpp"
#include "engine/tensor_sweep.hpp"

namespace pairtile::gpu {

constexpr int most_tensor_terms = 8;

// Kernels of squared distances, a weighted sum of them. Of a Gaussian the first parameter is taken
// times −log₂ e.
struct TensorTerms {
    int count;
    KernelId kernel[most_tensor_terms];
    float params[most_tensor_terms][kernel_params];
    float weight[most_tensor_terms];
};

// Whether all terms are such, and then what they are.
bool tensor_terms(const KernelTerm* terms, int count, TensorTerms* out);

// The largest of the rows of a set, as packing on a grid found them (GridFindings), as numbers.
struct LargestRows {
    double norm, residual, part[max_parts], steps[max_parts];
};

// What a squared distance of rows in three parts may be off by, of two such sets with d features.
// `products`: six, or all but the smallest one.
double squared_distance_error(const LargestRows& x, const LargestRows& y, int64_t d, int products);

// What float32 takes of a sum, for each pair or, `weighted`, each unit of weight: in shares of the
// largest value.
double sums_error(bool weighted);

// The squared distance below which a pair is computed again; negative: none is. `tolerance`: what a
// value may be off by for the error of its squared distance, in shares of the largest.
double near_distance(const KernelTerm* terms, int count, const LargestRows& x, const LargestRows& y,
                     int64_t d, int products, double tolerance);

struct TensorSummation {
    TensorSweep sweep;
    Array rows, cols;  // for pairs that are computed again
    int64_t first_row, first_col;
    TensorTerms terms;
    float near;                          // squared distance; -INFINITY: no pair is
    const float* weights;                // of columns, zero beyond the last; null: 1
    bool triangle;                       // only columns after the row
    double* states;                      // (segments, padded rows)
    unsigned long long* computed_again;  // pairs
};

int64_t tensor_sums_segments(int64_t rows, int64_t columns);

// sums[first_row + i] += Σ_j w_j k(x_i, y_j) over the columns of the sweep.
void tensor_row_sums(const TensorSummation& summation, TensorPath path, double* sums,
                     cudaStream_t stream);

}  // namespace pairtile::gpu
