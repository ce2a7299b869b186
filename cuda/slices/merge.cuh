// A share of two sorted lists merged: the part of either that it takes is staged in shared memory,
// and each thread walks through as many elements as the next.
#pragma once

#include "slices/shares.cuh"

namespace pairtile::gpu {

template <class U>
constexpr int64_t merged_share = sizeof(U) == 4 ? share : wide_share;

// Where a thread is: i elements of the first list and j of the second are behind it.
struct Cursor {
    int64_t i, j;
};

// visit(cursor, from_first, value) sees the elements of this thread in order; before that,
// begin(cursor) is told where it starts.
template <class U, class Begin, class Visit>
__device__ void walk_merged(const U* first, int64_t n, const U* second, int64_t m, int64_t index,
                            Begin&& begin, Visit&& visit) {
    constexpr int64_t of_block = merged_share<U>;
    constexpr int of_thread = static_cast<int>(of_block / block_threads);
    __shared__ U staged[of_block];
    __shared__ int64_t starts[2];
    const int64_t from = index * of_block;
    const int64_t to = from + of_block < n + m ? from + of_block : n + m;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    if (warp < 2) {
        const int64_t at = warp_split(warp ? to : from, n, m,
                                      [=](int64_t i, int64_t j) { return first[i] <= second[j]; });
        if (threadIdx.x % 32 == 0) starts[warp] = at;
    }
    __syncthreads();
    const int64_t i0 = starts[0], j0 = from - i0;
    const int of_first = static_cast<int>(starts[1] - i0);
    const int all = static_cast<int>(to - from);
    for (int e = static_cast<int>(threadIdx.x); e < all; e += block_threads) {
        staged[e] = e < of_first ? first[i0 + e] : second[j0 + e - of_first];
    }
    __syncthreads();

    const U* a = staged;
    const U* b = staged + of_first;
    const int of_second = all - of_first;
    const int mine = static_cast<int>(threadIdx.x) * of_thread;
    if (mine >= all) return;
    const int end = mine + of_thread < all ? mine + of_thread : all;
    int i = static_cast<int>(
        split(mine, of_first, of_second, [=](int64_t p, int64_t q) { return a[p] <= b[q]; }));
    int j = mine - i;
    begin(Cursor{i0 + i, j0 + j});
    for (int k = mine; k < end; ++k) {
        const bool from_first = j == of_second || (i < of_first && a[i] <= b[j]);
        visit(Cursor{i0 + i, j0 + j}, from_first, from_first ? a[i] : b[j]);
        from_first ? ++i : ++j;
    }
}

}  // namespace pairtile::gpu
