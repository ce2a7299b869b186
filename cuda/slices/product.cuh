// A tile of a matrix product: 128 × 64 numbers by a block of 256 threads, 8 × 4 by each, in fused
// multiply-adds. The operands are staged 16 deep in shared memory, the next ones on their way to
// registers meanwhile.
#pragma once

#include "engine/launch.hpp"
#include "pairtile/math.hpp"
#include "slices/slices.hpp"

namespace pairtile::gpu {

constexpr int product_depth = 16;
constexpr int row_loads = product_rows * product_depth / block_threads;
constexpr int col_loads = product_cols * product_depth / block_threads;
constexpr int64_t feature_block = 128;  // after which float32 sums are cut

// Four neighbours, moved at once.
template <class T>
struct alignas(16) Four {
    T of[4];
};

// By words of 16 bytes, which the compiler does not make of a struct by itself.
constexpr int word = sizeof(uint4);
template <class T>
__device__ Four<T> load_four(const T* from) {
    Four<T> four;
#pragma unroll
    for (int w = 0; w < static_cast<int>(sizeof four) / word; ++w) {
        const uint4 loaded = reinterpret_cast<const uint4*>(from)[w];
        memcpy(reinterpret_cast<char*>(&four) + w * word, &loaded, word);
    }
    return four;
}
template <class T>
__device__ void store_four(T* to, const Four<T>& four) {
#pragma unroll
    for (int w = 0; w < static_cast<int>(sizeof four) / word; ++w) {
        uint4 stored;
        memcpy(&stored, reinterpret_cast<const char*>(&four) + w * word, word);
        __stwb(reinterpret_cast<uint4*>(to) + w, stored);
    }
}

// What a thread stages of one operand, which is `across` wide: `loads` numbers, either apart in
// depth or, where that is how they lie in memory, across.
template <int across, int loads>
struct Strip {
    const char* at;       // the first one
    int64_t hop, stride;  // bytes from one to the next, and from depth to depth
    int start, next;      // where they go in shared memory
    int deep, deep_hop;   // 0: they lie across
    int there;            // how many are not beyond the edge

    // `left`: how many there are across, from the first one on
    __device__ Strip(const void* first, int64_t across_stride, int64_t deep_stride, int64_t left,
                     bool lie_deep)
        : stride(deep_stride) {
        constexpr int pitch = across + 4;
        const int thread = static_cast<int>(threadIdx.x);
        const int place = lie_deep ? thread / product_depth : thread % across;
        deep = lie_deep ? thread % product_depth : thread / across;
        at = static_cast<const char*>(first) + place * across_stride + deep * deep_stride;
        start = deep * pitch + place;
        if (lie_deep) {
            constexpr int apart = block_threads / product_depth;
            hop = apart * across_stride;
            next = apart;
            deep_hop = 0;
            const int64_t fit = left > place ? (left - place + apart - 1) / apart : 0;
            there = fit < loads ? static_cast<int>(fit) : loads;
        } else {
            deep_hop = block_threads / across;
            hop = deep_hop * deep_stride;
            next = deep_hop * pitch;
            there = place < left ? loads : 0;
        }
    }
    // Across, of the first one, and from one to the next.
    __device__ int place() const {
        const int thread = static_cast<int>(threadIdx.x);
        return deep_hop == 0 ? thread / product_depth : thread % across;
    }
    __device__ int place_hop() const { return deep_hop == 0 ? block_threads / product_depth : 0; }
    // How many of them are there where this much of the depth is left.
    __device__ int limit(int64_t depth_left) const {
        if (deep_hop == 0) return deep < depth_left ? there : 0;
        const int left = depth_left < product_depth ? static_cast<int>(depth_left) : product_depth;
        const int fit = (left - deep + deep_hop - 1) / deep_hop;
        return fit < there ? fit : there;
    }
    template <class T>
    __device__ void store(const T (&values)[loads], T* shared) const {
#pragma unroll
        for (int l = 0; l < loads; ++l) shared[start + l * next] = values[l];
    }
};
using RowStrip = Strip<product_rows, row_loads>;
using ColStrip = Strip<product_cols, col_loads>;

// Numbers as they are, zeros beyond the end. Fetched from depth 0 on, in order.
template <class T, class Of, int loads>
struct Plain {
    Of strip;
    int64_t left;

    __device__ void fetch(T (&values)[loads]) {
        const int limit = strip.limit(left);
#pragma unroll
        for (int l = 0; l < loads; ++l) {
            values[l] = l < limit ? *reinterpret_cast<const T*>(strip.at + l * strip.hop) : T(0);
        }
        left -= product_depth;
        strip.at += product_depth * strip.stride;
    }
};
template <class T>
using PlainRows = Plain<T, RowStrip, row_loads>;
template <class T>
using PlainCols = Plain<T, ColStrip, col_loads>;

// left.fetch(values) reads the next row_loads numbers that left.strip says where to put; right does
// the same. store(row, column, four) gets four rows of the tile in one of its columns, or four
// columns of one of its rows.
template <class T, bool cut, bool by_row, class Left, class Right, class Store>
__device__ void product_tile(int64_t depth, Left left, Right right, Store&& store) {
    __shared__ __align__(16) T a[product_depth][product_rows + 4];
    __shared__ __align__(16) T b[product_depth][product_cols + 4];
    const int row = static_cast<int>(threadIdx.x) % 16 * 4;
    const int col = static_cast<int>(threadIdx.x) / 16 * 4;
    T sums[4][8] = {}, total[cut ? 4 : 1][cut ? 8 : 1] = {};
    T of_left[row_loads], of_right[col_loads];
    left.fetch(of_left);
    right.fetch(of_right);
    for (int64_t k = 0; k < depth; k += product_depth) {
        __syncthreads();
        left.strip.store(of_left, &a[0][0]);
        right.strip.store(of_right, &b[0][0]);
        __syncthreads();
        if (k + product_depth < depth) {
            left.fetch(of_left);
            right.fetch(of_right);
        }
#pragma unroll
        for (int p = 0; p < product_depth; ++p) {
            const auto low = *reinterpret_cast<const Four<T>*>(&a[p][row]);
            const auto high = *reinterpret_cast<const Four<T>*>(&a[p][row + product_rows / 2]);
            const auto across = *reinterpret_cast<const Four<T>*>(&b[p][col]);
#pragma unroll
            for (int j = 0; j < 4; ++j) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    sums[j][i] = mul_add(low.of[i], across.of[j], sums[j][i]);
                    sums[j][i + 4] = mul_add(high.of[i], across.of[j], sums[j][i + 4]);
                }
            }
        }
        if constexpr (cut) {
            if ((k + product_depth) % feature_block == 0) {
#pragma unroll
                for (int j = 0; j < 4; ++j) {
#pragma unroll
                    for (int i = 0; i < 8; ++i) {
                        total[j][i] += sums[j][i];
                        sums[j][i] = T(0);
                    }
                }
            }
        }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int a = 0; a < 4; ++a) {
            Four<T> four;
#pragma unroll
            for (int b = 0; b < 4; ++b) {
                const int i = 4 * half + (by_row ? a : b), j = by_row ? b : a;
                four.of[b] = sums[j][i];
                if constexpr (cut) four.of[b] += total[j][i];
            }
            const int first = row + half * product_rows / 2;
            by_row ? store(first + a, col, four) : store(first, col + a, four);
        }
    }
}

}  // namespace pairtile::gpu
