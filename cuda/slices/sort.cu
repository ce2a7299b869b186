// Sorting is CUB's, from the CUDA toolkit: one block for each of many short lists, all blocks for
// one long list after the other.
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>
#define CCCL_DISABLE_NVTX  // ranges for a profiler, which would load one
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_segmented_radix_sort.cuh>

#include "engine/launch.hpp"
#include "pairtile/slice/key.hpp"
#include "slices/slices.hpp"

namespace pairtile::gpu {
namespace {

// Where list l begins, or ends.
struct Bound {
    int stride, rows;
    __host__ __device__ int operator()(int list) const { return list * stride + rows; }
};

template <class K>
using Keys = cub::DoubleBuffer<K>;
using Beside = cub::DoubleBuffer<uint32_t>;

// Asks for the size of the scratch memory where that is null.
template <class K>
void sort_lists(void* scratch, size_t& bytes, Keys<K>& keys, Beside& beside, const Sorting& sorting,
                cudaStream_t stream) {
    const int stride = static_cast<int>(stride_of(sorting.rows));
    const int rows = static_cast<int>(sorting.rows), count = static_cast<int>(sorting.count);
    const auto lists = thrust::make_counting_iterator(0);
    const auto begins = thrust::make_transform_iterator(lists, Bound{stride, 0});
    const auto ends = thrust::make_transform_iterator(lists, Bound{stride, rows});
    constexpr int bits = 8 * sizeof(K);
    if (sorting.beside) {
        check(cub::DeviceSegmentedRadixSort::SortPairs(scratch, bytes, keys, beside, stride * count,
                                                       count, begins, ends, 0, bits, stream),
              "sort_slices");
    } else {
        check(cub::DeviceSegmentedRadixSort::SortKeys(scratch, bytes, keys, stride * count, count,
                                                      begins, ends, 0, bits, stream),
              "sort_slices");
    }
}

template <class K>
void sort_list(void* scratch, size_t& bytes, Keys<K>& keys, Beside& beside, const Sorting& sorting,
               cudaStream_t stream) {
    constexpr int bits = 8 * sizeof(K);
    const auto rows = static_cast<uint32_t>(sorting.rows);
    if (sorting.beside) {
        check(cub::DeviceRadixSort::SortPairs(scratch, bytes, keys, beside, rows, 0, bits, stream),
              "sort_slice");
    } else {
        check(cub::DeviceRadixSort::SortKeys(scratch, bytes, keys, rows, 0, bits, stream),
              "sort_slice");
    }
}

template <class V>
void bring_home(cub::DoubleBuffer<V>& buffer, V* home, int64_t rows, cudaStream_t stream) {
    if (buffer.Current() == home) return;
    check(
        cudaMemcpyAsync(home, buffer.Current(), rows * sizeof(V), cudaMemcpyDeviceToDevice, stream),
        "memcpy");
}

}  // namespace

template <class T>
size_t sort_scratch(Sorting sorting, cudaStream_t stream) {
    using K = Key<T>;
    Keys<K> keys(static_cast<K*>(sorting.keys), static_cast<K*>(sorting.spare_keys));
    Beside beside(sorting.beside, sorting.spare_beside);
    size_t bytes = 0;
    const auto sort = sorting.by_segment ? sort_lists<K> : sort_list<K>;
    sort(nullptr, bytes, keys, beside, sorting, stream);
    return (bytes + 255) / 256 * 256;  // lanes stay aligned
}

template <class T>
bool sort_slices(Sorting sorting, const Streams& side, cudaStream_t stream) {
    using K = Key<T>;
    auto* own = static_cast<K*>(sorting.keys);
    auto* spare = static_cast<K*>(sorting.spare_keys);
    size_t bytes = sorting.scratch_bytes;
    if (sorting.by_segment) {
        Keys<K> keys(own, spare);
        Beside beside(sorting.beside, sorting.spare_beside);
        sort_lists(sorting.scratch, bytes, keys, beside, sorting, stream);
        return keys.selector == 1;
    }
    const int64_t stride = stride_of(sorting.rows);
    Fork fork(stream, side);
    for (int64_t l = 0; l < sorting.count; ++l) {
        const int64_t lane = l % fork.lanes();
        const cudaStream_t own_stream = fork.lane(lane);
        K* const home = own + l * stride;
        uint32_t* const home_beside = sorting.beside ? sorting.beside + l * stride : nullptr;
        Keys<K> keys(home, spare + lane * stride);
        Beside beside(home_beside, sorting.beside ? sorting.spare_beside + lane * stride : nullptr);
        sort_list(static_cast<char*>(sorting.scratch) + lane * sorting.scratch_bytes, bytes, keys,
                  beside, sorting, own_stream);
        bring_home(keys, home, sorting.rows, own_stream);
        if (sorting.beside) bring_home(beside, home_beside, sorting.rows, own_stream);
    }
    fork.join();
    return false;
}

#define PT_INSTANTIATE(T)                                   \
    template size_t sort_scratch<T>(Sorting, cudaStream_t); \
    template bool sort_slices<T>(Sorting, const Streams&, cudaStream_t);
PT_INSTANTIATE(float)
PT_INSTANTIATE(double)
#undef PT_INSTANTIATE

}  // namespace pairtile::gpu
