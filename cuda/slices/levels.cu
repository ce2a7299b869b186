// Running sums along the lists: of the quanta of rows, and over the shares of a list.
#include "slices/shares.cuh"

namespace pairtile::gpu {
namespace {

// Sum of the values of the threads up to this one; total: of all threads.
__device__ uint64_t block_running(uint64_t value, uint64_t& total) {
    __shared__ uint64_t of_warps[block_threads / 32];
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        const uint64_t before = __shfl_up_sync(all_lanes, value, distance);
        if (lane >= distance) value += before;
    }
    if (lane == 31) of_warps[warp] = value;
    __syncthreads();
    total = 0;
    uint64_t before = 0;
    for (int w = 0; w < block_threads / 32; ++w) {
        if (w < warp) before += of_warps[w];
        total += of_warps[w];
    }
    __syncthreads();
    return before + value;
}

// What each share of a list weighs.
__global__ void __launch_bounds__(block_threads)
    weigh_shares(const uint32_t* beside, const uint64_t* quanta, int64_t rows, int64_t stride,
                 int64_t shares, uint64_t* sums) {
    const Part part(shares);
    uint64_t sum = 0;
    for (int s = 0; s < share / block_threads; ++s) {
        const int64_t i = part.index * share + s * block_threads + threadIdx.x;
        if (i < rows) sum += quanta[beside[part.list * stride + i]];
    }
    uint64_t total;
    block_running(sum, total);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// Sums of the shares before each, a block for each list.
__global__ void __launch_bounds__(block_threads) run_shares(int64_t shares, uint64_t* sums) {
    uint64_t* own = sums + int64_t{blockIdx.x} * shares;
    uint64_t before = 0;
    for (int64_t first = 0; first < shares; first += block_threads) {
        const int64_t s = first + threadIdx.x;
        const uint64_t sum = s < shares ? own[s] : 0;
        uint64_t total;
        const uint64_t running = block_running(sum, total);
        if (s < shares) own[s] = before + running - sum;
        before += total;
    }
}

__global__ void __launch_bounds__(block_threads)
    run_rows(const uint32_t* beside, const uint64_t* quanta, int64_t rows, int64_t stride,
             int64_t shares, const uint64_t* sums, uint64_t* levels) {
    const Part part(shares);
    uint64_t before = sums[blockIdx.x];
    for (int s = 0; s < share / block_threads; ++s) {
        const int64_t i = part.index * share + s * block_threads + threadIdx.x;
        const uint64_t own = i < rows ? quanta[beside[part.list * stride + i]] : 0;
        uint64_t total;
        const uint64_t running = block_running(own, total);
        if (i < rows) levels[part.list * stride + i] = before + running;
        before += total;
    }
}

// A block for each list.
__global__ void __launch_bounds__(block_threads)
    add_shares(const double* partial, int64_t shares, double factor, double* costs) {
    const double* own = partial + int64_t{blockIdx.x} * shares;
    double sum = 0.0;
    for (int64_t s = threadIdx.x; s < shares; s += block_threads) sum += own[s];
    sum = block_total(sum);
    if (threadIdx.x == 0) costs[blockIdx.x] = factor * sum;
}

}  // namespace

void slice_levels(const uint32_t* beside, const uint64_t* quanta, int64_t rows, int64_t count,
                  uint64_t* sums, uint64_t* levels, cudaStream_t stream) {
    const int64_t shares = shares_of(rows), stride = stride_of(rows);
    const unsigned blocks = block_per_share(count, shares);
    launch("weigh_shares", weigh_shares, blocks, block_threads, stream, beside, quanta, rows,
           stride, shares, sums);
    launch("run_shares", run_shares, static_cast<unsigned>(count), block_threads, stream, shares,
           sums);
    launch("run_rows", run_rows, blocks, block_threads, stream, beside, quanta, rows, stride,
           shares, sums, levels);
}

void finish_costs(const double* partial, int64_t count, int64_t shares, double factor,
                  double* costs, cudaStream_t stream) {
    launch("finish_costs", add_shares, static_cast<unsigned>(count), block_threads, stream, partial,
           shares, factor, costs);
}

}  // namespace pairtile::gpu
