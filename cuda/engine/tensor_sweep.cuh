// One pass over tiles of 256 × 128 pairs, multiplied by tensor cores. Producers bring slices into
// shared memory, eight warps multiply, and each hands its two strips of 16 rows to its fold while
// they are still in registers. A row belongs to one warp, so that folds need no barrier.
//
// A fold is constructed by each warp and asked
//     columns(tile)          to load what it wants to know of the columns of a tile
//     strip(values, row, tile) for the products of 16 rows, the first being `row` of the block,
//     with
//                            those columns: lane l holds of row l / 4 (values[g][0], [1]) and of
//                            row l / 4 + 8 ([2], [3]) the columns 8 g + 2 (l % 4) and the one after
//     finish()               at the end of the segment.
// Fold::Memory is what its warps share.
#pragma once

#include <algorithm>

#include "engine/launch.hpp"
#include "engine/tensor_core.cuh"
#include "engine/tensor_sweep.hpp"

namespace pairtile::gpu {

using Strip = float[tile_columns / 8][4];

struct Segment {
    int first, end;  // tiles

    __device__ explicit Segment(const TensorSweep& sweep)
        : first(static_cast<int>(blockIdx.y) * sweep.tiles_per_segment),
          end(min(first + sweep.tiles_per_segment, sweep.col_tiles)) {
        constexpr int across = block_rows / tile_columns;
        if (sweep.triangle) {
            first = max(first, sweep.diagonal + static_cast<int>(blockIdx.x) * across);
        }
    }
};

// The steps of a tile, one after the other and from the beginning again: where each finds its
// slices, and how deep they are. A block has a piece of the slices of a row.
struct Steps {
    int slice, product = 0;

    __device__ explicit Steps(const TensorSweep& sweep) : slice(first(sweep)) {}

    static __device__ int first(const TensorSweep& sweep) {
        return static_cast<int>(blockIdx.z) * sweep.piece;
    }
    static __device__ int end(const TensorSweep& sweep) {
        return min(sweep.slices(), first(sweep) + sweep.piece);
    }
    __device__ int of_tile(const TensorSweep& sweep) const {
        return sweep.products.count * max(0, end(sweep) - first(sweep));
    }
    __device__ int row_slice(const TensorSweep& sweep) const {
        return sweep.products.row_part[product] * sweep.slices() + slice;
    }
    __device__ int col_slice(const TensorSweep& sweep) const {
        return sweep.products.col_part[product] * sweep.slices() + slice;
    }
    __device__ int depth(const TensorSweep& sweep) const {
        return slice + 1 < sweep.slices() ? slice_features / mma_depth : sweep.last_depth;
    }
    __device__ void next(const TensorSweep& sweep) {
        if (++slice < end(sweep)) return;
        slice = first(sweep);
        if (++product == sweep.products.count) product = 0;
    }
};

// --- mma.sync: compute capability 8.0 and later --------------------------------------------------

constexpr int mma_threads = 32 * warps_of_rows;
constexpr int mma_stage_bytes = 3 * slice_bytes;  // both row panels and the columns

template <class Fold>
__global__ void __launch_bounds__(mma_threads, 1)
    mma_sweep(const __grid_constant__ TensorSweep sweep,
              const __grid_constant__ typename Fold::Params params, int stages) {
    extern __shared__ __align__(1024) char slices[];
    __shared__ typename Fold::Memory memory;
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int row = warp * 2 * strip_rows;
    const Segment segment(sweep);
    Steps step(sweep), coming(sweep);
    const int steps = step.of_tile(sweep);
    const int end = steps > 0 ? segment.end : segment.first;
    const char* rows = sweep.rows.slices + int64_t{blockIdx.x} * 2 * sweep.row_panel_bytes();
    const uint32_t base = shared_address(slices);
    Fold fold(params, sweep, memory, row, row + strip_rows);
    __syncthreads();

    int coming_tile = segment.first, fetched = 0, free_stage = 0;
    const auto fetch = [&] {
        if (coming_tile < end) {
            const uint32_t to = base + free_stage * mma_stage_bytes;
            const char* of_rows = rows + int64_t{coming.row_slice(sweep)} * slice_bytes;
            const char* of_cols = sweep.cols.slices +
                                  int64_t{coming_tile} * sweep.col_panel_bytes() +
                                  int64_t{coming.col_slice(sweep)} * slice_bytes;
            for (int at = static_cast<int>(threadIdx.x) * 16; at < slice_bytes;
                 at += mma_threads * 16) {
                copy_async(to + at, of_rows + at);
                copy_async(to + slice_bytes + at, of_rows + sweep.row_panel_bytes() + at);
                copy_async(to + 2 * slice_bytes + at, of_cols + at);
            }
            coming.next(sweep);
            if (++fetched == steps) fetched = 0, ++coming_tile;
        }
        if (++free_stage == stages) free_stage = 0;
        copies_commit();
    };
    for (int s = 0; s + 1 < stages; ++s) fetch();

    Strip values[2] = {};
    int q = 0, stage = 0;
    for (int tile = segment.first; tile < end;) {
        // the group of this step is complete when at most the later stages − 2 are pending
        if (stages == 2) {
            copies_wait<0>();
        } else {
            copies_wait<1>();
        }
        __syncthreads();
        fetch();
        const uint32_t at = base + stage * mma_stage_bytes;
        if (++stage == stages) stage = 0;
        const int depth = step.depth(sweep);
        step.next(sweep);
        for (int k = 0; k < depth; ++k) {
            uint32_t a[2][4];
#pragma unroll
            for (int s = 0; s < 2; ++s) {
                const int r =
                    row + s * strip_rows + lane % 16;  // of 256, two panels one behind the other
                load_matrices(a[s], at + r / panel_rows * slice_bytes +
                                        swizzled(r % panel_rows, 2 * k + lane / 16));
            }
#pragma unroll
            for (int pair = 0; pair < tile_columns / 16; ++pair) {
                uint32_t b[4];
                const int c = pair * 16 + lane % 8 + lane / 16 * 8;
                load_matrices(b, at + 2 * slice_bytes + swizzled(c, 2 * k + lane / 8 % 2));
#pragma unroll
                for (int s = 0; s < 2; ++s) {
                    multiply(values[s][2 * pair], a[s], b[0], b[1]);
                    multiply(values[s][2 * pair + 1], a[s], b[2], b[3]);
                }
            }
        }
        if (++q < steps) continue;
        fold.columns(tile);
#pragma unroll
        for (int s = 0; s < 2; ++s) {
            fold.strip(values[s], row + s * strip_rows, tile);
#pragma unroll
            for (auto& group : values[s]) {
#pragma unroll
                for (float& value : group) value = 0.0f;
            }
        }
        q = 0;
        ++tile;
    }
    fold.finish();
}

// --- wgmma: compute capability 9.0 ---------------------------------------------------------------

constexpr int wgmma_threads = 3 * 128;  // a warp group that copies, two that multiply
constexpr int wgmma_most_stages = 10;
// Registers of a thread: a launch gives all alike, then the copying group gives up what the others
// take. Their sum must be what the launch gave, or the taking never ends.
constexpr int registers_at_launch = 65536 / wgmma_threads / 8 * 8;
constexpr int registers_to_copy = 24, registers_to_multiply = 240;
static_assert(registers_to_copy + 2 * registers_to_multiply <= 3 * registers_at_launch);

struct WgmmaBarriers {
    uint64_t full[wgmma_most_stages], empty[wgmma_most_stages], rows;
};

// `resident`: all slices of 256 rows stay in shared memory; stages then hold columns alone, each
// slice of a tile once.
template <class Fold, bool resident>
__global__ void __launch_bounds__(wgmma_threads, 1)
    wgmma_sweep(const __grid_constant__ TensorSweep sweep,
                const __grid_constant__ typename Fold::Params params, int stages) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ char dynamic[];
    __shared__ WgmmaBarriers barriers;
    __shared__ typename Fold::Memory memory;
    const int thread = static_cast<int>(threadIdx.x), group = thread / 128;
    Steps step(sweep);
    const int steps = step.of_tile(sweep);
    const int row_slices = sweep.rows.parts * sweep.slices();
    const int col_slices = sweep.cols.parts * sweep.slices();
    const Segment segment(sweep);
    const uint32_t base = (shared_address(dynamic) + 1023) & ~1023u;
    constexpr int stage_bytes = (resident ? 1 : 3) * slice_bytes;
    const uint32_t first_stage = base + (resident ? 2 * row_slices * slice_bytes : 0);
    if (thread == 0) {
        for (int s = 0; s < stages; ++s) {
            barrier_init(&barriers.full[s], 1);
            barrier_init(&barriers.empty[s], warps_of_rows);
        }
        barrier_init(&barriers.rows, 1);
        barriers_are_ready();
    }
    __syncthreads();

    if (group == 0) {
        registers_give<registers_to_copy>();
        if (thread != 0) return;
        const char* rows = sweep.rows.slices + int64_t{blockIdx.x} * 2 * sweep.row_panel_bytes();
        if constexpr (resident) {
            const int bytes = row_slices * slice_bytes;
            barrier_expect(&barriers.rows, 2 * bytes);
            copy_bulk(base, rows, bytes, &barriers.rows);
            copy_bulk(base + bytes, rows + bytes, bytes, &barriers.rows);
        }
        int stage = 0;
        uint32_t phase = 0;
        for (int tile = segment.first; tile < segment.end; ++tile) {
            const char* cols = sweep.cols.slices + int64_t{tile} * sweep.col_panel_bytes();
            for (int q = 0; q < (resident ? col_slices : steps); ++q) {
                const uint32_t at = first_stage + stage * stage_bytes;
                uint64_t* full = &barriers.full[stage];
                barrier_wait(&barriers.empty[stage], phase ^ 1);
                barrier_expect(full, stage_bytes);
                if constexpr (resident) {
                    copy_bulk(at, cols + int64_t{q} * slice_bytes, slice_bytes, full);
                } else {
                    const char* from = rows + int64_t{step.row_slice(sweep)} * slice_bytes;
                    copy_bulk(at, cols + int64_t{step.col_slice(sweep)} * slice_bytes, slice_bytes,
                              full);
                    copy_bulk(at + slice_bytes, from, slice_bytes, full);
                    copy_bulk(at + 2 * slice_bytes, from + sweep.row_panel_bytes(), slice_bytes,
                              full);
                    step.next(sweep);
                }
                if (++stage == stages) stage = 0, phase ^= 1;
            }
        }
        return;
    }

    registers_take<registers_to_multiply>();
    const int warp = thread % 128 / 32, lane = thread % 32;
    const int half = group - 1;  // the panel of this warp group
    const int row_a = half * panel_rows + warp * strip_rows, row_b = row_a + 64;
    constexpr int half_panel = 64 * slice_row_bytes;
    Fold fold(params, sweep, memory, row_a, row_b);
    Strip a, b;
    int stage = 0;
    uint32_t phase = 0;
    const auto multiply_slice = [&](Strip& values, uint32_t rows, uint32_t cols, int depth,
                                    bool adds) {
        const uint64_t of_rows = slice_descriptor(rows), of_cols = slice_descriptor(cols);
        for (int k = 0; k < depth; ++k) {
            multiply_group(values, of_rows + k * descriptor_step, of_cols + k * descriptor_step,
                           adds || k > 0);
        }
    };
    const auto release = [&](int which) {
        if (lane == 0) barrier_arrive(&barriers.empty[which]);
        __syncwarp();
    };
    const auto wait_for = [&](uint64_t& barrier, uint32_t parity) {
        barrier_wait(&barrier, parity);
        __syncwarp();  // the lanes of a warp multiply together
    };

    if constexpr (resident) {
        // The products of one strip run while the fold has the other: at any time one is in flight.
        const uint32_t rows = base + half * row_slices * slice_bytes;
        int released = 0;
        const auto second_strip = [&](int tile) {
            for (int q = 0; q < col_slices; ++q) {
                release(released);
                if (++released == stages) released = 0;
            }
            fold.strip(b, row_b, tile);
        };
        // a tile's slices of columns lie in the stages from this one on
        const auto slice_at = [&](int from, int slice) {
            const int at = from + slice;
            return first_stage + (at < stages ? at : at - stages) * stage_bytes;
        };
        wait_for(barriers.rows, 0);
        for (int tile = segment.first; tile < segment.end; ++tile) {
            const int from = stage;
            int arrived = 0;
            products_fence();
            for (int q = 0; q < steps; ++q) {
                const int col_slice = step.col_slice(sweep);
                for (; arrived <= col_slice; ++arrived) {
                    wait_for(barriers.full[stage], phase);
                    if (++stage == stages) stage = 0, phase ^= 1;
                }
                multiply_slice(a, rows + step.row_slice(sweep) * slice_bytes,
                               slice_at(from, col_slice), step.depth(sweep), q > 0);
                step.next(sweep);
            }
            products_commit();
            products_wait<1>();
            if (tile > segment.first) second_strip(tile - 1);
            fold.columns(tile);
            products_fence();
            for (int q = 0; q < steps; ++q) {
                multiply_slice(b, rows + step.row_slice(sweep) * slice_bytes + half_panel,
                               slice_at(from, step.col_slice(sweep)), step.depth(sweep), q > 0);
                step.next(sweep);
            }
            products_commit();
            products_wait<1>();
            fold.strip(a, row_a, tile);
        }
        products_wait<0>();
        if (segment.first < segment.end) second_strip(segment.end - 1);
    } else {
        for (int tile = segment.first; tile < segment.end; ++tile) {
            for (int q = 0; q < steps; ++q) {
                const int depth = step.depth(sweep);
                step.next(sweep);
                wait_for(barriers.full[stage], phase);
                const uint32_t cols = first_stage + stage * stage_bytes;
                const uint32_t rows = cols + (1 + half) * slice_bytes;
                products_fence();
                multiply_slice(a, rows, cols, depth, q > 0);
                multiply_slice(b, rows + half_panel, cols, depth, q > 0);
                products_commit();
                if (q > 0) {
                    products_wait<1>();
                    release(stage == 0 ? stages - 1 : stage - 1);
                }
                if (++stage == stages) stage = 0, phase ^= 1;
            }
            fold.columns(tile);
            products_wait<0>();
            release(stage == 0 ? stages - 1 : stage - 1);
            fold.strip(a, row_a, tile);
            fold.strip(b, row_b, tile);
        }
    }
    fold.finish();
#else
    __trap();  // not built for this device: see tensor_path
#endif
}

// --- Launch --------------------------------------------------------------------------------------

template <class Kernel, class Params>
void launch_tensor(const char* name, Kernel kernel, const TensorSweep& sweep, int threads,
                   int shared, cudaStream_t stream, const Params& params, int stages) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared), name);
    const dim3 grid(static_cast<unsigned>(sweep.row_blocks), static_cast<unsigned>(sweep.segments),
                    static_cast<unsigned>(sweep.splits));
    kernel<<<grid, threads, shared, stream>>>(sweep, params, stages);
    check(cudaGetLastError(), name);
}

template <class Fold>
void run_tensor(const char* name, TensorPath path, const TensorSweep& sweep,
                const typename Fold::Params& params, cudaStream_t stream) {
    // 1 KiB to align the dynamic part, and what is static
    const int room =
        shared_bytes_per_block() - 2048 - static_cast<int>(sizeof(typename Fold::Memory));
    if (path == TensorPath::mma) {
        const int stages = std::min(3, room / mma_stage_bytes);
        return launch_tensor(name, mma_sweep<Fold>, sweep, mma_threads, stages * mma_stage_bytes,
                             stream, params, stages);
    }
    const int rows = 2 * sweep.rows.parts * sweep.slices() * slice_bytes;
    const int resident = std::min(wgmma_most_stages, (room - rows) / slice_bytes);
    if (sweep.splits == 1 && resident >= 2 * sweep.cols.parts * sweep.slices()) {  // two tiles
        return launch_tensor(name, wgmma_sweep<Fold, true>, sweep, wgmma_threads,
                             1024 + rows + resident * slice_bytes, stream, params, resident);
    }
    const int stages = std::min(wgmma_most_stages, room / (3 * slice_bytes));
    launch_tensor(name, wgmma_sweep<Fold, false>, sweep, wgmma_threads,
                  1024 + stages * 3 * slice_bytes, stream, params, stages);
}

}  // namespace pairtile::gpu
