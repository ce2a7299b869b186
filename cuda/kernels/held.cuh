// What folds and fills of held pairs are made of.
#pragma once

#include "engine/row_fold.cuh"
#include "engine/similarities.cuh"
#include "kernels/held.hpp"

namespace pairtile::gpu {

// Pairs whose numbers are in memory: nothing is staged, the fold reads them.
struct HeldPairs {
    using Value = double;
    __device__ void begin() {}
    static constexpr __device__ int64_t passes() { return 0; }
    __device__ void add(const Staged<double>&, const Staged<double>&, const Place&, const Chunk&) {}
};

// What is written: added to what is there, or to `start` where nothing is.
struct Writing {
    double start;
    bool is_first;
};

__device__ inline void write(const Held& held, const Place& place, const Writing& writing,
                             int64_t j, double value) {
    double& at = held.at(j, place.query - held.sweep.first_row);
    const bool itself = held.exclude_self && held.first_reference + j == place.query;
    at = itself ? 0.0 : (writing.is_first ? writing.start : at) + value;
}

// The threads of a block, added pairwise.
__device__ inline double total_of_block(double value) {
    __shared__ double of_thread[block_threads];
    const int t = static_cast<int>(threadIdx.x);
    for (int half = block_threads / 2; half > 0; half /= 2) {
        of_thread[t] = value;
        __syncthreads();
        if (t < half) value += of_thread[t + half];
        __syncthreads();
    }
    return value;
}

}  // namespace pairtile::gpu
