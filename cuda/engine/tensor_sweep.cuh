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
// Fold::Memory is what its warps share. A fold that names a type RowsByPanel may get long
// rows panel by panel: all tiles of the segment for its first strip, and again for its second.
#pragma once

#include <algorithm>
#include <type_traits>

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
// slices, and how deep they are.
struct Steps {
    int slice = 0, product = 0;

    static __device__ int of_tile(const TensorSweep& sweep) {
        return sweep.products.count * sweep.slices();
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
        if (++slice < sweep.slices()) return;
        slice = 0;
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
    Steps step, coming;
    const int steps = Steps::of_tile(sweep), end = segment.end;
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
        if (stages == 1) {  // nothing is on its way yet, and all have read what is there
            __syncthreads();
            fetch();
        }
        // the group of this step is complete when at most the later stages − 2 are pending
        if (stages <= 2) {
            copies_wait<0>();
        } else {
            copies_wait<1>();
        }
        __syncthreads();
        if (stages > 1) fetch();
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
        fold.strip(values[0], row, tile);
        fold.strip(values[1], row + strip_rows, tile);
#pragma unroll
        for (auto& strip : values) {
#pragma unroll
            for (auto& group : strip) {
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
constexpr int wgmma_most_stages = 12;
constexpr int least_stages = 4;  // beside one panel of rows
// Beside rows of which some stay: a step that streams them reads three, and two are on their way.
constexpr int stages_to_stream = 5;
// Registers of a thread: a launch gives all alike, then the copying group gives up what the others
// take. Their sum must be what the launch gave, or the taking never ends.
constexpr int registers_at_launch = 65536 / wgmma_threads / 8 * 8;
constexpr int registers_to_copy = 24, registers_to_multiply = 240;
static_assert(registers_to_copy + 2 * registers_to_multiply <= 3 * registers_at_launch);

struct WgmmaBarriers {
    uint64_t full[wgmma_most_stages], empty[wgmma_most_stages], rows, rows_done;
};

template <class Fold>
concept TakesPanels = requires {
    typename Fold::RowsByPanel;
};

// A stage holds a slice. Where the rows are: in stages, but for the first slices of all 256, which
// stay, a step having one stage of columns and two of rows that do not stay; all 256 in shared
// memory, where stages hold columns alone, each slice of a tile once; or one panel of them there,
// which both warp groups share, and then the other, where a stage holds the columns of a step.
enum class RowsIn { stages, memory, memory_by_panel };

template <class Fold, RowsIn rows_in>
__global__ void __launch_bounds__(wgmma_threads, 1)
    wgmma_sweep(const __grid_constant__ TensorSweep sweep,
                const __grid_constant__ typename Fold::Params params, int stages) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ char dynamic[];
    __shared__ WgmmaBarriers barriers;
    __shared__ typename Fold::Memory memory;
    const int thread = static_cast<int>(threadIdx.x), group = thread / 128;
    Steps step;
    const int steps = Steps::of_tile(sweep);
    const int row_slices = sweep.rows.parts * sweep.slices();
    const int col_slices = sweep.cols.parts * sweep.slices();
    const Segment segment(sweep);
    const uint32_t base = (shared_address(dynamic) + 1023) & ~1023u;
    constexpr bool streamed = rows_in == RowsIn::stages;
    constexpr int panels_there = rows_in == RowsIn::memory_by_panel ? 1 : 2;
    const int staying = streamed ? sweep.staying : row_slices;
    const int staying_bytes = staying * slice_bytes;  // of a panel
    const uint32_t first_stage = base + panels_there * staying_bytes;
    if (thread == 0) {
        for (int s = 0; s < stages; ++s) {
            barrier_init(&barriers.full[s], 1);
            barrier_init(&barriers.empty[s], warps_of_rows);
        }
        barrier_init(&barriers.rows, 1);
        barrier_init(&barriers.rows_done, warps_of_rows);
        barriers_are_ready();
    }
    __syncthreads();

    if (group == 0) {
        registers_give<registers_to_copy>();
        if (thread != 0) return;
        const char* rows = sweep.rows.slices + int64_t{blockIdx.x} * 2 * sweep.row_panel_bytes();
        int stage = 0;
        uint32_t phase = 0;
        const auto fill_stages = [&] {
            for (int tile = segment.first; tile < segment.end; ++tile) {
                const char* cols = sweep.cols.slices + int64_t{tile} * sweep.col_panel_bytes();
                const auto fill = [&](const char* from) {
                    uint64_t* full = &barriers.full[stage];
                    barrier_wait(&barriers.empty[stage], phase ^ 1);
                    barrier_expect(full, slice_bytes);
                    copy_bulk(first_stage + stage * slice_bytes, from, slice_bytes, full);
                    if (++stage == stages) stage = 0, phase ^= 1;
                };
                for (int q = 0; q < (rows_in == RowsIn::memory ? col_slices : steps); ++q) {
                    const int slice = rows_in == RowsIn::memory ? q : step.col_slice(sweep);
                    fill(cols + int64_t{slice} * slice_bytes);
                    if constexpr (streamed) {
                        const int row_slice = step.row_slice(sweep);
                        if (row_slice >= staying) {
                            const char* from = rows + int64_t{row_slice} * slice_bytes;
                            fill(from);
                            fill(from + sweep.row_panel_bytes());
                        }
                    }
                    if constexpr (rows_in != RowsIn::memory) step.next(sweep);
                }
            }
        };
        for (int panel = 0; panel < 2; panel += panels_there) {
            if (panel > 0) barrier_wait(&barriers.rows_done, 0);
            barrier_expect(&barriers.rows, panels_there * staying_bytes);
            for (int p = 0; p < panels_there; ++p) {
                copy_bulk(base + p * staying_bytes, rows + (panel + p) * sweep.row_panel_bytes(),
                          staying_bytes, &barriers.rows);
            }
            fill_stages();
        }
        return;
    }

    registers_take<registers_to_multiply>();
    const int warp = thread % 128 / 32, lane = thread % 32;
    // a panel of this warp group alone, or half of each
    const int half = group - 1;
    constexpr bool shares = rows_in == RowsIn::memory_by_panel;
    const int row_a = half * (shares ? panel_rows / 2 : panel_rows) + warp * strip_rows;
    const int row_b = row_a + (shares ? panel_rows : panel_rows / 2);
    constexpr int half_panel = 64 * slice_row_bytes;
    Fold fold(params, sweep, memory, row_a, row_b);
    int stage = 0;
    uint32_t phase = 0;
    // The first products of a tile add to nothing, not to registers that the fold has changed: for
    // these ptxas would let each product wait for the one before.
    const auto multiply_slice = [&](auto first, Strip& values, uint32_t rows, uint32_t cols,
                                    int depth) {
        const uint64_t of_rows = slice_descriptor(rows), of_cols = slice_descriptor(cols);
        if constexpr (first) {
            start_group(values, of_rows, of_cols);
        } else {
            multiply_group(values, of_rows, of_cols);
        }
        for (int k = 1; k < depth; ++k) {
            multiply_group(values, of_rows + k * descriptor_step, of_cols + k * descriptor_step);
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

    if constexpr (rows_in == RowsIn::memory) {
        Strip a, b;
        // The products of one strip run while the fold has the other: at any time one is in flight.
        const uint32_t rows = base + half * staying_bytes;
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
            return first_stage + (at < stages ? at : at - stages) * slice_bytes;
        };
        int from = 0, arrived = 0;
        const auto multiply_a = [&](auto first) {
            const int col_slice = step.col_slice(sweep);
            for (; arrived <= col_slice; ++arrived) {
                wait_for(barriers.full[stage], phase);
                if (++stage == stages) stage = 0, phase ^= 1;
            }
            multiply_slice(first, a, rows + step.row_slice(sweep) * slice_bytes,
                           slice_at(from, col_slice), step.depth(sweep));
            step.next(sweep);
        };
        const auto multiply_b = [&](auto first) {
            multiply_slice(first, b, rows + step.row_slice(sweep) * slice_bytes + half_panel,
                           slice_at(from, step.col_slice(sweep)), step.depth(sweep));
            step.next(sweep);
        };
        const auto multiply = [&](const auto& multiply_step) {
            products_fence();
            multiply_step(std::true_type{});
            for (int q = 1; q < steps; ++q) multiply_step(std::false_type{});
            products_commit();
            products_wait<1>();
        };
        wait_for(barriers.rows, 0);
        for (int tile = segment.first; tile < segment.end; ++tile) {
            from = stage;
            arrived = 0;
            multiply(multiply_a);
            if (tile > segment.first) second_strip(tile - 1);
            fold.columns(tile);
            multiply(multiply_b);
            fold.strip(a, row_a, tile);
        }
        products_wait<0>();
        if (segment.first < segment.end) second_strip(segment.end - 1);
    } else if constexpr (rows_in == RowsIn::memory_by_panel) {
        Strip values;
        const auto release_last = [&] { release(stage == 0 ? stages - 1 : stage - 1); };
        const auto multiply_step = [&](auto first) {
            const int row_slice = step.row_slice(sweep), depth = step.depth(sweep);
            step.next(sweep);
            wait_for(barriers.full[stage], phase);
            products_fence();
            multiply_slice(first, values, base + row_slice * slice_bytes + half * half_panel,
                           first_stage + stage * slice_bytes, depth);
            products_commit();
            if constexpr (!first) {
                products_wait<1>();
                release_last();
            }
            if (++stage == stages) stage = 0, phase ^= 1;
        };
        for (int panel = 0; panel < 2; ++panel) {
            wait_for(barriers.rows, panel);
            for (int tile = segment.first; tile < segment.end; ++tile) {
                multiply_step(std::true_type{});
                for (int q = 1; q < steps; ++q) multiply_step(std::false_type{});
                fold.columns(tile);
                products_wait<0>();
                release_last();
                fold.strip(values, panel == 0 ? row_a : row_b, tile);
            }
            if (lane == 0) barrier_arrive(&barriers.rows_done);
            __syncwarp();
        }
    } else {
        Strip a, b;
        const auto arrived = [&] {
            wait_for(barriers.full[stage], phase);
            const uint32_t at = first_stage + stage * slice_bytes;
            if (++stage == stages) stage = 0, phase ^= 1;
            return at;
        };
        int released = 0;
        const auto release_next = [&] {
            release(released);
            if (++released == stages) released = 0;
        };
        const auto multiply_step = [&](auto first) {
            const int row_slice = step.row_slice(sweep), depth = step.depth(sweep);
            step.next(sweep);
            const bool stays = row_slice < staying;
            const uint32_t cols = arrived();
            uint32_t rows = base + half * staying_bytes + row_slice * slice_bytes;
            if (!stays) {
                const uint32_t upper = arrived(), lower = arrived();
                rows = half == 0 ? upper : lower;
            }
            products_fence();
            multiply_slice(first, a, rows, cols, depth);
            multiply_slice(first, b, rows + half_panel, cols, depth);
            products_commit();
            products_wait<0>();
            release_next();
            if (!stays) release_next(), release_next();
        };
        wait_for(barriers.rows, 0);
        for (int tile = segment.first; tile < segment.end; ++tile) {
            multiply_step(std::true_type{});
            for (int q = 1; q < steps; ++q) multiply_step(std::false_type{});
            fold.columns(tile);
            products_wait<0>();  // again: the compiler must see that none is under way
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
    const dim3 grid(static_cast<unsigned>(sweep.row_blocks), static_cast<unsigned>(sweep.segments));
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
    const int slots = room / slice_bytes, row_slices = sweep.rows.parts * sweep.slices();
    TensorSweep told = sweep;
    const auto run = [&](auto kernel, int there) {
        const int stages = std::min(wgmma_most_stages, slots - there);
        launch_tensor(name, kernel, told, wgmma_threads, 1024 + (there + stages) * slice_bytes,
                      stream, params, stages);
    };
    const int two_tiles = 2 * sweep.cols.parts * sweep.slices();
    if (slots - 2 * row_slices >= two_tiles) {
        return run(wgmma_sweep<Fold, RowsIn::memory>, 2 * row_slices);
    }
    if constexpr (TakesPanels<Fold>) {
        if (slots - row_slices >= least_stages) {
            return run(wgmma_sweep<Fold, RowsIn::memory_by_panel>, row_slices);
        }
    }
    told.staying = std::min(row_slices, (slots - stages_to_stream) / 2);
    run(wgmma_sweep<Fold, RowsIn::stages>, 2 * told.staying);
}

}  // namespace pairtile::gpu
