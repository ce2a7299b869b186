// An order statistic of all distances, by counting: how many canonical values lie below a range,
// how those inside are spread over it, and, where they are few, which they are.
#pragma once

#include <cuda_runtime.h>

#include "engine/sweep.hpp"
#include "pairtile/math.hpp"

namespace pairtile::gpu {

constexpr int quantile_cells = 4096;
constexpr int64_t quantile_state_bytes = 0;
constexpr int64_t quantile_least_width = 256;

// A value as a whole number that orders like it; NaN comes last.
PAIRTILE_HD uint64_t key_of(double value) {
    if (value != value) return ~uint64_t{0};
    const uint64_t bits = bits_as<uint64_t>(value + 0.0);  // −0 is 0
    return bits >> 63 ? ~bits : bits | uint64_t{1} << 63;
}

// Counts go on from what lies in device memory, so that several launches make one sweep.
struct Tally {
    unsigned long long below;  // keys < low
    unsigned long long next;   // keys kept, or that would have been with more room
    unsigned long long cells[quantile_cells];
};

// The keys in [low, high], cut into cells of 2^shift.
struct KeyRange {
    uint64_t low, high;
    int shift;
    Tally* tally;
    uint64_t* kept;     // the keys themselves, in any order
    uint64_t capacity;  // of which there is room for so many; with none, none is kept
};

// The pairs of a sweep.
void count_distances(const Sweep& sweep, const Metric& metric, const KeyRange& range,
                     cudaStream_t stream);

// A list of keys.
void count_keys(const uint64_t* keys, int64_t count, const KeyRange& range, cudaStream_t stream);

// The keys of some pairs of the pooled rows of both sets, drawn by their number: of all rows, at
// least two of them, about equally often. Without references, of the queries alone.
void sample_distances(const Sweep& sweep, bool pooled, const Metric& metric, int64_t count,
                      uint64_t* keys, cudaStream_t stream);

}  // namespace pairtile::gpu
