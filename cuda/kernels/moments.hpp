// What of a kernel matrix takes the whole sum of kernels of a pair, or some of the pairs alone:
// second moments, and sums within blocks of rows.
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "engine/similarity.hpp"
#include "pairtile/fold/moments.hpp"
#include "pairtile/fold/sum.hpp"

namespace pairtile::gpu {

constexpr int64_t moments_state_bytes = slots * sizeof(Moments);  // of one (row, segment)
constexpr int64_t moments_least_width = 256;

struct MomentSweep {
    Sweep sweep;
    bool exclude_self;  // for one set and itself
    Moments* states;
};

// sums[i] = Σ_j k(x_i, y_j) and squares[i] = Σ_j k(x_i, y_j)² for the rows of the sweep, k being
// the sum of the terms, which read the same number of a pair, evaluated in T.
template <class T>
void kernel_moments(const MomentSweep& moments, const std::vector<KernelTerm>& terms, double* sums,
                    double* squares, cudaStream_t stream);

constexpr int64_t blocks_state_bytes = slots * sizeof(Sum);  // of one row

// Which pairs of a block count.
enum class BlockPairs : int { all, after, others };  // every one, j > i, j ≠ i

struct BlockSweep {
    Sweep sweep;  // with blocks, of one segment
    BlockPairs pairs;
    Sum* states;
};

// sums[i] = Σ k(x_i, y_j) over the rows of the block of i that count, for the rows of the sweep.
template <class T>
void kernel_block_sums(const BlockSweep& blocks, const std::vector<KernelTerm>& terms, double* sums,
                       cudaStream_t stream);

// totals[b · stride] += factor · Σ sums[i] over the rows i of block b, `size` rows each, in an
// order that depends on the size only.
void block_totals(const double* sums, int64_t blocks, int64_t size, double factor, double* totals,
                  int64_t stride, cudaStream_t stream);

}  // namespace pairtile::gpu
