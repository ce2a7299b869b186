// How many pairs of one set lie in each bin of values, within each group and between groups.
#pragma once

#include <cuda_runtime.h>

#include "engine/sweep.hpp"

namespace pairtile::gpu {

struct GroupHistogram {
    Sweep sweep;  // a triangle
    Metric metric;
    const int64_t* groups;
    const double* limits;
    int64_t bins;        // one more than limits
    int64_t* same;       // (groups, bins)
    int64_t* different;  // (bins)
};

constexpr int64_t histogram_state_bytes = 0;
constexpr int64_t histogram_least_width = 256;

// Adds the pairs i < j of the rows of the sweep to the counts; NaN is in no bin.
void group_histogram(const GroupHistogram& histogram, cudaStream_t stream);

}  // namespace pairtile::gpu
