// A number for each pair of a block in memory, for statistics that read it more than once: kernel
// values beside those of another kernel, slopes as a factor of several strips of features.
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "engine/similarity.hpp"

namespace pairtile::gpu {

struct Held {
    Sweep sweep;              // whose references are those of the block
    int64_t first_reference;  // of the block, in its set
    bool exclude_self;        // for one set and itself: 0 for the pair of a row with itself
    double* values;           // (references of the block, rows of the sweep): lanes side by side

    PAIRTILE_HD double& at(int64_t j, int64_t row) const { return values[j * sweep.rows + row]; }
};

using Terms = std::vector<KernelTerm>;

// Room for numbers: blocks of so many pairs, one after the other, then the states of folds.
struct HeldMemory {
    double* numbers;
    int64_t pairs;  // at least a tile for each 32 rows of a batch

    double* block(int64_t index) const { return numbers + index * pairs; }
};
constexpr int64_t held_state_numbers = held_states * 64;

// A sweep's references from `first` on, as many as fit.
Held block_of(const Sweep& sweep, int64_t first, bool exclude_self, const HeldMemory& memory,
              int64_t index = 0);

// The same of rows that are normalised for cosine kernels only.
Held for_kernel(Held held, KernelId kernel);

// The sum of the terms, less the shift.
void hold_values(const Held& held, const Terms& terms, double shift, cudaStream_t stream);

// totals[c] = Σ_r of row c of (count, columns) numbers, in an order that depends on `columns` only;
// added to what is there if so said.
void row_totals(const double* numbers, int64_t count, int64_t columns, bool add, double* totals,
                cudaStream_t stream);

}  // namespace pairtile::gpu
