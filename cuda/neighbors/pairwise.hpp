// Every distance of two sets: for small ones, and to look at what the searches compare.
#pragma once

#include <cuda_runtime.h>

#include "engine/sweep.hpp"

namespace pairtile::gpu {

constexpr int64_t pairwise_state_bytes = 0;
constexpr int64_t pairwise_least_width = 256;

struct Pairwise {
    Sweep sweep;
    Metric metric;
    bool itself;      // one set: a row is at distance 0 of itself, even a zero row by cosine
    bool wide;        // distances are float64, else float32
    void* distances;  // (queries, references)
};

void pairwise_distances(const Pairwise& pairwise, cudaStream_t stream);

}  // namespace pairtile::gpu
