// What the blocks that share a list have in common: who does what, sums in a fixed order, and
// searches in what is sorted.
#pragma once

#include "engine/launch.hpp"
#include "slices/slices.hpp"

namespace pairtile::gpu {

constexpr unsigned all_lanes = 0xffffffffu;

// The list and the share of it that this block works on.
struct Part {
    int64_t list, index;

    __device__ explicit Part(int64_t shares)
        : list(int64_t{blockIdx.x} / shares), index(int64_t{blockIdx.x} % shares) {}
};

// A launch with one block for each share of each list.
inline unsigned block_per_share(int64_t count, int64_t shares) {
    return static_cast<unsigned>(count * shares);
}

// Valid in every lane; the order of the lanes decides the order of adding.
__device__ inline double warp_total(double value) {
#pragma unroll
    for (int distance = 16; distance; distance /= 2) {
        value += __shfl_xor_sync(all_lanes, value, distance);
    }
    return value;
}

// Valid in thread 0.
__device__ inline double block_total(double value) {
    __shared__ double of_warps[block_threads / 32];
    value = warp_total(value);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    double total = 0.0;
    if (threadIdx.x == 0) {
        for (const double one : of_warps) total += one;
    }
    __syncthreads();
    return total;
}

// The largest of numbers that are not negative, 0 without any, valid in thread 0; NaN is left out.
__device__ inline double block_largest(double value) {
    __shared__ double of_warps[block_threads / 32];
#pragma unroll
    for (int distance = 16; distance; distance /= 2) {
        value = fmax(value, __shfl_xor_sync(all_lanes, value, distance));
    }
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    double largest = 0.0;
    if (threadIdx.x == 0) {
        for (const double one : of_warps) largest = fmax(largest, one);
    }
    __syncthreads();
    return largest;
}

// What thread 0 has, in all threads.
__device__ inline double for_all(double value) {
    __shared__ double shared;
    if (threadIdx.x == 0) shared = value;
    __syncthreads();
    const double found = shared;
    __syncthreads();
    return found;
}

// First place in [low, high] of which `holds` is not true, high if there is none; it is true up to
// there and false from there on.
template <class Holds>
__device__ int64_t first_not(int64_t low, int64_t high, Holds holds) {
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (holds(middle)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// The same by a whole warp, which asks at 32 places at a time.
template <class Holds>
__device__ int64_t warp_first_not(int64_t low, int64_t high, Holds holds) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    while (low < high) {
        const int64_t step = (high - low + 31) / 32;
        const int64_t place = low + (lane + 1) * step - 1;
        const unsigned said = __ballot_sync(all_lanes, place < high && holds(place));
        low += __popc(said) * step;
        if (low > high) low = high;
        if (low + step - 1 < high) high = low + step - 1;
    }
    return low;
}

// Of the first `diagonal` elements of two merged lists, how many are from the first one; of equal
// elements those come first. `in_order(i, j)`: element i of the first comes before j of the second.
template <class InOrder>
__device__ int64_t split(int64_t diagonal, int64_t n, int64_t m, InOrder in_order) {
    return first_not(diagonal > m ? diagonal - m : 0, diagonal < n ? diagonal : n,
                     [&](int64_t i) { return in_order(i, diagonal - 1 - i); });
}

template <class InOrder>
__device__ int64_t warp_split(int64_t diagonal, int64_t n, int64_t m, InOrder in_order) {
    return warp_first_not(diagonal > m ? diagonal - m : 0, diagonal < n ? diagonal : n,
                          [&](int64_t i) { return in_order(i, diagonal - 1 - i); });
}

// Adds up what the shares of each list came to: costs[l] = factor · Σ partial[l][:]
void finish_costs(const double* partial, int64_t count, int64_t shares, double factor,
                  double* costs, cudaStream_t stream);

}  // namespace pairtile::gpu
