// How a call is cut into launches, and a launch into blocks. First station on the GPU
// (plan → stage → pairs → fold → merge). Plain host code: the tests call it without a GPU.
//
// Nothing here asks what the device is, so a sum has the same bits on every one.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pairtile::gpu {

// A block of 256 threads works on tiles of 32 × 32 pairs, staged 32 features at a time. A thread
// owns one query row (its lane in the warp) and four references.
constexpr int tile_rows = 32;
constexpr int tile_cols = 32;
constexpr int chunk = 32;
constexpr int block_threads = 256;
constexpr int slots = block_threads / tile_rows;
constexpr int pairs_per_thread = tile_cols / slots;

constexpr int64_t wanted_blocks = 1024;
constexpr int64_t workspace_limit = int64_t{1} << 28;  // bytes
constexpr int64_t work_limit = int64_t{1} << 36;       // pairs × features: well below a second

inline int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Query rows of one launch: few enough that a call can be interrupted between two launches and
// that a state of `state_bytes` per row, 0 where none is kept, fits a workspace of `limit` bytes.
inline int64_t batch_rows(int64_t references, int64_t d, int64_t state_bytes,
                          int64_t limit = workspace_limit) {
    const int64_t by_work = work_limit / (references * d);
    const int64_t by_memory = limit / std::max<int64_t>(1, state_bytes);
    return std::max<int64_t>(1, std::min(by_work, by_memory) / tile_rows) * tile_rows;
}

// The references in segments [s·width, (s + 1)·width), the last one shorter. Few query rows alone
// would leave most of the device idle.
struct Cut {
    int64_t segments, width;
};

// At most as many segments as give every multiprocessor work, as the workspace has room for, and
// as keep each at least `least_width` references wide.
inline Cut cut_references(int64_t rows, int64_t references, int64_t state_bytes,
                          int64_t least_width, int64_t limit = workspace_limit) {
    const int64_t wanted = divided_up(wanted_blocks, divided_up(rows, tile_rows));
    const int64_t room = limit / std::max<int64_t>(1, rows * state_bytes);
    const int64_t segments =
        std::max<int64_t>(1, std::min({wanted, room, references / least_width}));
    const int64_t width = divided_up(divided_up(references, segments), tile_cols) * tile_cols;
    return {divided_up(references, width), width};
}

// Numbers of pairs that several folds read are held in workspace, a block of pairs at a time, which
// the second-level cache of a large device has room for.
constexpr int64_t held_rows = 1024;
constexpr int64_t held_pairs = int64_t{1} << 22;
constexpr int64_t held_least_width = 64;

// Query rows of one call of a statistic that holds its pairs.
inline int64_t held_batch_rows(int64_t references, int64_t work) {
    return std::min(held_rows, batch_rows(references, work, 0));
}

// References of a block with so many rows, of at most so many pairs if that is a tile for each 32.
inline int64_t held_width(int64_t rows, int64_t pairs) {
    const int64_t tiles = pairs / (divided_up(rows, tile_rows) * tile_rows * tile_cols);
    return std::max<int64_t>(1, tiles) * tile_cols;
}

// Of a fold over a block, which keeps less than a row of a contraction for a (row, segment).
inline Cut cut_block(int64_t rows, int64_t width) {
    return cut_references(rows, width, 0, held_least_width);
}

// The most (row, segment) there can be of a block of a batch.
constexpr int64_t held_states = tile_rows * (wanted_blocks + held_rows / tile_rows);

}  // namespace pairtile::gpu
