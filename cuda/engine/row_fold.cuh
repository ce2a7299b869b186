// A scalar fold over the references of each query: by each thread over its references, then over
// the threads of the row and over the segments, always in that order.
#pragma once

#include "engine/launch.hpp"
#include "engine/sweep.cuh"

namespace pairtile::gpu {

// What a thread has folded, for merged(): a state for each thread of a row, row and segment.
template <class State>
__device__ void keep(State* states, const Sweep& sweep, const Place& place, const State& state) {
    if (!place.has_query()) return;
    const int64_t part = int64_t{blockIdx.y} * slots + place.slot;
    states[part * sweep.rows + place.query - sweep.first_row] = state;
}

// Of the row that lies this far behind the first one of the sweep.
template <class State>
__device__ State merged(const State* states, const Sweep& sweep, int64_t row) {
    State all;
    for (int64_t part = 0; part < sweep.cut.segments * slots; ++part) {
        all.merge(states[part * sweep.rows + row]);
    }
    return all;
}

// The row of this thread where there is one thread per row.
__device__ inline int64_t row_of_thread() {
    return int64_t{blockIdx.x} * block_threads + threadIdx.x;
}

// Blocks of a launch with one thread per row of the sweep.
inline unsigned thread_per_row(const Sweep& sweep) {
    return static_cast<unsigned>(divided_up(sweep.rows, block_threads));
}

}  // namespace pairtile::gpu
