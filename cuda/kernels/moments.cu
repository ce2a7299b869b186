// Sums of several kernels of a pair as one number, which is then folded for each row.
#include "kernels/moments.hpp"

#include "engine/row_fold.cuh"
#include "engine/similarities.cuh"

namespace pairtile::gpu {
namespace {

template <class Core, class T>
struct RowMoments {
    const MomentSweep& moments;
    const Place& place;
    const Mixture<T>& mixture;
    Moments sums;

    __device__ void operator()(const WorkingPairs<Core, T>& pairs, int64_t first) {
        if (!place.has_query()) return;
        double values[pairs_per_thread];
        evaluate(pairs, mixture, values);
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (j >= place.end || (moments.exclude_self && j == place.query)) continue;
            sums.push(values[p]);
        }
    }
};

template <class Core, class T>
__global__ void __launch_bounds__(block_threads, sizeof(T) == 4 ? 3 : 2)
    moments_sweep(const __grid_constant__ MomentSweep moments,
                  const __grid_constant__ Mixture<T> mixture) {
    const Place place(moments.sweep);
    RowMoments<Core, T> fold{moments, place, mixture, {}};
    run(moments.sweep, place, WorkingPairs<Core, T>{}, fold);
    keep(moments.states, moments.sweep, place, fold.sums);
}

__global__ void __launch_bounds__(block_threads)
    moments_merge(const __grid_constant__ MomentSweep moments, double* sums, double* squares) {
    const int64_t row = row_of_thread();
    if (row >= moments.sweep.rows) return;
    const Moments all = merged(moments.states, moments.sweep, row);
    sums[moments.sweep.first_row + row] = all.sum;
    squares[moments.sweep.first_row + row] = all.squares;
}

template <class Core, class T>
struct RowSumOfBlock {
    const BlockSweep& blocks;
    const Place& place;
    const Mixture<T>& mixture;
    int64_t begin, end;  // of the query's own block
    Sum sum;

    __device__ void operator()(const WorkingPairs<Core, T>& pairs, int64_t first) {
        if (!place.has_query() || first >= end || first + tile_cols <= begin) return;
        double values[pairs_per_thread];
        evaluate(pairs, mixture, values);
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (j < begin || j >= end) continue;
            if (blocks.pairs == BlockPairs::others && j == place.query) continue;
            if (blocks.pairs == BlockPairs::after && j <= place.query) continue;
            sum.push(values[p]);
        }
    }
};

template <class Core, class T>
__global__ void __launch_bounds__(block_threads, sizeof(T) == 4 ? 3 : 2)
    block_sums_sweep(const __grid_constant__ BlockSweep blocks,
                     const __grid_constant__ Mixture<T> mixture) {
    const Place place(blocks.sweep);
    const int64_t begin = place.query / blocks.sweep.block * blocks.sweep.block;
    RowSumOfBlock<Core, T> fold{blocks, place, mixture, begin, begin + blocks.sweep.block, {}};
    run(blocks.sweep, place, WorkingPairs<Core, T>{}, fold);
    keep(blocks.states, blocks.sweep, place, fold.sum);
}

__global__ void __launch_bounds__(block_threads)
    block_sums_merge(const __grid_constant__ BlockSweep blocks, double* sums) {
    const int64_t row = row_of_thread();
    if (row >= blocks.sweep.rows) return;
    sums[blocks.sweep.first_row + row] = merged(blocks.states, blocks.sweep, row).finish();
}

// A warp per block: lane l takes the rows l, l + 32, …, then the lanes are added pairwise.
__global__ void __launch_bounds__(block_threads)
    block_totals_of(const double* sums, int64_t blocks, int64_t size, double factor, double* totals,
                    int64_t stride) {
    const int64_t block = int64_t{blockIdx.x} * (block_threads / 32) + threadIdx.x / 32;
    if (block >= blocks) return;
    Sum sum;
    for (int64_t i = threadIdx.x % 32; i < size; i += 32) sum.push(sums[block * size + i]);
    for (int half = 16; half > 0; half /= 2) {
        sum.merge(Sum{__shfl_down_sync(~0u, sum.value, half)});
    }
    if (threadIdx.x % 32 == 0) totals[block * stride] += factor * sum.finish();
}

}  // namespace

template <class T>
void kernel_moments(const MomentSweep& moments, const std::vector<KernelTerm>& terms, double* sums,
                    double* squares, cudaStream_t stream) {
    with_core(terms.front().kernel, [&]<class Core>() {
        launch("moments sweep", moments_sweep<Core, T>, grid_of(moments.sweep), block_threads,
               stream, moments, Mixture<T>(terms));
    });
    launch("moments merge", moments_merge, thread_per_row(moments.sweep), block_threads, stream,
           moments, sums, squares);
}

template void kernel_moments<float>(const MomentSweep&, const std::vector<KernelTerm>&, double*,
                                    double*, cudaStream_t);
template void kernel_moments<double>(const MomentSweep&, const std::vector<KernelTerm>&, double*,
                                     double*, cudaStream_t);

template <class T>
void kernel_block_sums(const BlockSweep& blocks, const std::vector<KernelTerm>& terms, double* sums,
                       cudaStream_t stream) {
    with_core(terms.front().kernel, [&]<class Core>() {
        launch("block sums sweep", block_sums_sweep<Core, T>, grid_of(blocks.sweep), block_threads,
               stream, blocks, Mixture<T>(terms));
    });
    launch("block sums merge", block_sums_merge, thread_per_row(blocks.sweep), block_threads,
           stream, blocks, sums);
}

template void kernel_block_sums<float>(const BlockSweep&, const std::vector<KernelTerm>&, double*,
                                       cudaStream_t);
template void kernel_block_sums<double>(const BlockSweep&, const std::vector<KernelTerm>&, double*,
                                        cudaStream_t);

void block_totals(const double* sums, int64_t blocks, int64_t size, double factor, double* totals,
                  int64_t stride, cudaStream_t stream) {
    const auto grid = static_cast<unsigned>(divided_up(blocks, block_threads / 32));
    launch("block totals", block_totals_of, grid, block_threads, stream, sums, blocks, size, factor,
           totals, stride);
}

}  // namespace pairtile::gpu
