// Energy of two sorted lists: the two distribution functions are walked together.
#include "pairtile/slice/key.hpp"
#include "slices/merge.cuh"

namespace pairtile::gpu {
namespace {

template <class T>
__global__ void __launch_bounds__(block_threads)
    energies(const Key<T>* x, const Key<T>* y, int64_t n, int64_t m, int64_t x_stride,
             int64_t y_stride, int64_t shares, double* partial) {
    const Part part(shares);
    const Key<T>* own = x + part.list * x_stride;
    const Key<T>* other = y + part.list * y_stride;
    double sum = 0.0, previous = 0.0;
    walk_merged(
        own, n, other, m, part.index,
        [&](const Cursor& at) {
            const Key<T> by_x = at.i ? own[at.i - 1] : 0, by_y = at.j ? other[at.j - 1] : 0;
            if (at.i + at.j) previous = value_of_key<T>(by_x > by_y ? by_x : by_y);
        },
        [&](const Cursor& at, bool, Key<T> key) {
            const double value = value_of_key<T>(key);
            // F − G = (i·m − j·n) / (n·m), an exact integer above; equal values are no gap
            const double rise = static_cast<double>(at.i * m - at.j * n);
            // 0 before the first value and after the last: there is nothing to integrate
            if (rise != 0.0) sum += rise * rise * (value - previous);
            previous = value;
        });
    sum = block_total(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// Where a key begins and ends in what is sorted, all of it within [low, high].
struct Place {
    int64_t begin, end;
};

template <class K>
__device__ Place place_of(K key, const K* keys, int64_t low, int64_t high) {
    const int64_t begin = first_not(low, high, [=](int64_t i) { return keys[i] < key; });
    if (begin == high || keys[begin] != key) return {begin, begin};
    return {begin, first_not(begin + 1, high, [=](int64_t i) { return keys[i] <= key; })};
}

// Twice the mean sign of the difference to the other set less the one to its own set, over the size
// of its own set.
template <class T>
__global__ void __launch_bounds__(block_threads)
    energy_slopes_of(const Key<T>* own, const uint32_t* beside, int64_t rows, int64_t stride,
                     const Key<T>* other, int64_t other_rows, int64_t other_stride, int64_t shares,
                     double factor, T* slopes) {
    using K = Key<T>;
    __shared__ int64_t ends[4];  // of the keys of this block, among its own and the others
    const Part part(shares);
    const K* mine = own + part.list * stride;
    const K* others = other + part.list * other_stride;
    const int64_t first_item = part.index * block_threads;
    const int64_t last_item =
        first_item + block_threads < rows ? first_item + block_threads - 1 : rows - 1;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    if (warp < 4) {
        const K* keys = warp < 2 ? mine : others;
        const int64_t size = warp < 2 ? rows : other_rows;
        const bool is_last = warp % 2 != 0;
        const K key = mine[is_last ? last_item : first_item];
        const int64_t found = warp_first_not(
            0, size, [=](int64_t i) { return is_last ? keys[i] <= key : keys[i] < key; });
        if (threadIdx.x % 32 == 0) ends[warp] = found;
    }
    __syncthreads();
    const int64_t item = first_item + threadIdx.x;
    if (item >= rows) return;
    const K key = mine[item];
    const Place here = place_of(key, mine, ends[0], ends[1]);
    const Place there = place_of(key, others, ends[2], ends[3]);
    const double n = static_cast<double>(rows), m = static_cast<double>(other_rows);
    // #{< value} − #{> value}, over the size
    const double sign_here = (static_cast<double>(here.begin + here.end) - n) / n;
    const double sign_there = (static_cast<double>(there.begin + there.end) - m) / m;
    const int64_t row = beside[part.list * stride + item];
    slopes[part.list * stride + row] = static_cast<T>(factor * 2.0 * (sign_there - sign_here) / n);
}

}  // namespace

template <class T>
void slice_energies(const SortedLists& x, const SortedLists& y, int64_t count, double* partial,
                    double* costs, cudaStream_t stream) {
    const int64_t shares = shares_of(x.rows + y.rows, merged_share<Key<T>>);
    launch("slice_energies", energies<T>, block_per_share(count, shares), block_threads, stream,
           static_cast<const Key<T>*>(x.keys), static_cast<const Key<T>*>(y.keys), x.rows, y.rows,
           stride_of(x.rows), stride_of(y.rows), shares, partial);
    const double pairs = static_cast<double>(x.rows) * static_cast<double>(y.rows);
    finish_costs(partial, count, shares, 2.0 / pairs / pairs, costs, stream);
}

template <class T>
void energy_slopes(const SortedLists& own, const SortedLists& other, int64_t count, double factor,
                   T* slopes, cudaStream_t stream) {
    const int64_t shares = shares_of(own.rows, block_threads);
    launch("energy_slopes", energy_slopes_of<T>, block_per_share(count, shares), block_threads,
           stream, static_cast<const Key<T>*>(own.keys), own.beside, own.rows, stride_of(own.rows),
           static_cast<const Key<T>*>(other.keys), other.rows, stride_of(other.rows), shares,
           factor, slopes);
}

#define PT_INSTANTIATE(T)                                                                       \
    template void slice_energies<T>(const SortedLists&, const SortedLists&, int64_t, double*,   \
                                    double*, cudaStream_t);                                     \
    template void energy_slopes<T>(const SortedLists&, const SortedLists&, int64_t, double, T*, \
                                   cudaStream_t);
PT_INSTANTIATE(float)
PT_INSTANTIATE(double)
#undef PT_INSTANTIATE

}  // namespace pairtile::gpu
