// Kernel values and slopes of a block of pairs in memory, for statistics that read them more than
// once: beside those of another kernel, or as a factor of several strips of columns.
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "kernels/similarity.hpp"

namespace pairtile::gpu {

struct Held {
    Sweep sweep;              // whose references are those of the block
    int64_t first_reference;  // of the block, in its set
    bool exclude_self;        // for one set and itself: 0 for the pair of a row with itself
    double* values;           // (references of the block, rows of the sweep): lanes side by side

    PT_HD double& at(int64_t j, int64_t row) const { return values[j * sweep.rows + row]; }
};

// What a value is multiplied by, for each query and reference of their sets. May be null.
struct PairWeights {
    const double* of_queries;
    const double* of_references;
};

// A sweep's references from `first` on, as many as fit; rows are normalised for cosine kernels
// only.
Held block_of(const Sweep& sweep, int64_t first, bool exclude_self, double* values);

using Terms = std::vector<Term>;

// The sum of the terms, less the shift.
void hold_values(const Held& held, const Terms& terms, double shift, cudaStream_t stream);

// The sum of the derivatives by what the terms read, which is the same for all, times weights.
void hold_slopes(const Held& held, const Terms& terms, const PairWeights& weights,
                 cudaStream_t stream);

// Those that read it.
Terms terms_reading(const Terms& terms, Argument argument);

// sums[i] += Σ_j w_j K_ij for the rows i of the block. Weights may be null; states is workspace.
void held_row_sums(const Held& held, const double* reference_weights, double* states, double* sums,
                   cudaStream_t stream);

// totals[c] = Σ_r of row c of (count, columns) numbers, in an order that depends on `columns` only;
// added to what is there if so said.
void row_totals(const double* numbers, int64_t count, int64_t columns, bool add, double* totals,
                cudaStream_t stream);

}  // namespace pairtile::gpu
