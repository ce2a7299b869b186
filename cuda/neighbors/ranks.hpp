// How many references come before a reference of each query, in the order of (value, index): where
// retrieval finds what belongs together.
#pragma once

#include <cuda_runtime.h>

#include "engine/sweep.hpp"

namespace pairtile::gpu {

struct RankSearch {
    Sweep sweep;
    Metric metric;
    const double* own;       // ordered value of each query and its target
    const int64_t* targets;  // a reference for each query
    int64_t* before;         // of the queries, added up
};

constexpr int64_t ranks_state_bytes = 0;
constexpr int64_t ranks_least_width = 256;

void ranks(const RankSearch& search, cudaStream_t stream);

// own[i] = ordered canonical value of query i and reference i, of as many references.
void paired_values(const RankSearch& search, double* own, cudaStream_t stream);

}  // namespace pairtile::gpu
