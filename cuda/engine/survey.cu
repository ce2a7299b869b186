// NaN and Inf, the largest magnitude, and the norms that cosine divides by.
#include "engine/survey.hpp"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "engine/launch.hpp"
#include "engine/sweep.cuh"
#include "pairtile/metric/canonical.hpp"
#include "pairtile/metric/inner_product.hpp"

namespace pairtile::gpu {
namespace {

// Non-negative doubles order like their bit patterns, and integer atomics give the same result in
// any order.
struct Found {
    unsigned long long first_bad, largest;
};
static_assert(sizeof(Found) == sizeof(Findings));

// How threads go along the lines of an array, its rows or its columns, whichever lie together:
// 2^shift of them beside each other on one, so that no index is divided.
struct Lines {
    int64_t count, length;
    int shift;
};

// What the threads of a block found becomes a part of what all did.
__device__ void merge(const Found& mine, Found* found) {
    __shared__ Found block;
    if (threadIdx.x == 0) block = {~0ull, 0ull};
    __syncthreads();
    atomicMin(&block.first_bad, mine.first_bad);
    atomicMax(&block.largest, mine.largest);
    __syncthreads();
    if (threadIdx.x == 0) {
        atomicMin(&found->first_bad, block.first_bad);
        atomicMax(&found->largest, block.largest);
    }
}

__global__ void __launch_bounds__(block_threads)
    survey_elements(const __grid_constant__ Array array, const __grid_constant__ Lines lines,
                    Found* found) {
    const int64_t thread = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    const int64_t beside = int64_t{1} << lines.shift;
    const int64_t first = (thread & (beside - 1)) + blockIdx.y * beside;
    const int64_t stride = beside * gridDim.y;
    const int64_t step = int64_t{gridDim.x} * block_threads >> lines.shift;
    Found mine = {~0ull, 0ull};
    const auto look_at = [&](int64_t i, int64_t j) {
        const double size = fabs(element<double>(array, i, j));
        if (!(size < INFINITY)) {
            const auto row = static_cast<unsigned long long>(i);
            if (row < mine.first_bad) mine.first_bad = row;
        } else if (bits_as<unsigned long long>(size) > mine.largest) {
            mine.largest = bits_as<unsigned long long>(size);
        }
    };
    const bool row_major = array.row_major();
    for (int64_t line = thread >> lines.shift; line < lines.count; line += step) {
        for (int64_t at = first; at < lines.length; at += stride) {
            if (row_major) {
                look_at(line, at);
            } else {
                look_at(at, line);
            }
        }
    }
    merge(mine, found);
}

constexpr int loads_of_thread = 4;  // under way at once

__device__ float size_of(float x) { return fabsf(x); }
__device__ float size_of(__half x) { return fabsf(__half2float(x)); }
__device__ float size_of(__nv_bfloat16 x) { return fabsf(__bfloat162float(x)); }
__device__ double size_of(double x) { return fabs(x); }

// The same of numbers that lie together from the first to the last, 16 bytes at a time.
template <class T>
__global__ void __launch_bounds__(block_threads)
    survey_together(const T* numbers, int64_t count, int64_t cols, Found* found) {
    constexpr int each = 16 / sizeof(T);
    struct alignas(16) Load {
        T of[each];
    };
    const auto* loads = reinterpret_cast<const Load*>(numbers);
    const int64_t whole = count / each;
    Found mine = {~0ull, 0ull};
    decltype(size_of(T{})) largest = 0;
    const auto look_at = [&](int64_t i, T number) {
        const auto size = size_of(number);
        if (size < INFINITY) {
            largest = max(largest, size);
        } else {
            mine.first_bad = min(mine.first_bad, static_cast<unsigned long long>(i / cols));
        }
    };
    const int64_t step = int64_t{gridDim.x} * block_threads * loads_of_thread;
    for (int64_t first = int64_t{blockIdx.x} * block_threads * loads_of_thread + threadIdx.x;
         first < whole; first += step) {
        Load read[loads_of_thread] = {};
#pragma unroll
        for (int l = 0; l < loads_of_thread; ++l) {
            const int64_t at = first + int64_t{l} * block_threads;
            if (at < whole) read[l] = loads[at];
        }
#pragma unroll
        for (int l = 0; l < loads_of_thread; ++l) {
#pragma unroll
            for (int k = 0; k < each; ++k) {
                look_at((first + int64_t{l} * block_threads) * each + k, read[l].of[k]);
            }
        }
    }
    const int64_t rest = whole * each + threadIdx.x;
    if (blockIdx.x == 0 && rest < count) look_at(rest, numbers[rest]);
    mine.largest = bits_as<unsigned long long>(static_cast<double>(largest));
    merge(mine, found);
}

template <class T>
bool survey_if_together(const Array& array, Found* found, cudaStream_t stream) {
    const auto size = static_cast<int64_t>(sizeof(T));
    const bool together = array.col_stride == size && array.row_stride == size * array.cols &&
                          reinterpret_cast<uintptr_t>(array.data) % 16 == 0;
    if (!together) return false;
    const int64_t count = array.rows * array.cols;
    const int64_t of_block = int64_t{block_threads} * loads_of_thread * (16 / size);
    const int64_t blocks = std::clamp<int64_t>(divided_up(count, of_block), 1, wanted_blocks);
    launch("survey", survey_together<T>, static_cast<unsigned>(blocks), block_threads, stream,
           reinterpret_cast<const T*>(array.data), count, array.cols, found);
    return true;
}

bool survey_together_of(const Array& array, Found* found, cudaStream_t stream) {
    switch (array.dtype) {
        case Dtype::float16:
            return survey_if_together<__half>(array, found, stream);
        case Dtype::bfloat16:
            return survey_if_together<__nv_bfloat16>(array, found, stream);
        case Dtype::float32:
            return survey_if_together<float>(array, found, stream);
        case Dtype::float64:
            return survey_if_together<double>(array, found, stream);
        default:
            return false;
    }
}

// A warp per canonical lane: thread (row, l) takes the features j ≡ l mod 8 of its row.
__global__ void __launch_bounds__(block_threads)
    row_scales_of(Array array, bool centred, RowScale* scales) {
    __shared__ Staged<double> staged;
    __shared__ double partial[8][tile_rows + 1];
    __shared__ int exponents[tile_rows];
    __shared__ double firsts[tile_rows], means[tile_rows];
    static_assert(slots == 8);
    const int row = static_cast<int>(threadIdx.x) % tile_rows;
    const int lane = static_cast<int>(threadIdx.x) / tile_rows;
    const int64_t first = int64_t{blockIdx.x} * tile_rows;

    double largest = 0.0;
    for (int64_t feature = 0; feature < array.cols; feature += chunk) {
        stage(staged, array, nullptr, first, array.rows, feature);
        __syncthreads();
        for (int f = lane; f < chunk; f += 8) largest = fmax(largest, fabs(staged[f][row]));
        __syncthreads();
    }
    partial[lane][row] = largest;
    __syncthreads();
    if (lane == 0) {
        for (int l = 1; l < 8; ++l) largest = fmax(largest, partial[l][row]);
        int exponent = 0;
        if (largest < INFINITY) frexp(largest, &exponent);
        exponents[row] = exponent;
    }
    __syncthreads();

    const int exponent = exponents[row];
    // The canonical sum of a term over the features of the row.
    const auto sum_of = [&](auto term) {
        double sum = 0.0;
        for (int64_t feature = 0; feature < array.cols; feature += chunk) {
            stage(staged, array, nullptr, first, array.rows, feature);
            __syncthreads();
            for (int f = lane; f < chunk && feature + f < array.cols; f += 8) {
                sum += term(ldexp(staged[f][row], -exponent));
            }
            __syncthreads();
        }
        partial[lane][row] = sum;
        __syncthreads();
        double lanes[8];
        for (int l = 0; l < 8; ++l) lanes[l] = partial[l][row];
        __syncthreads();
        return canonical_tree<InnerProduct>(lanes);
    };
    if (lane == 0) {
        const bool takes = centred && first + row < array.rows;
        firsts[row] = takes ? ldexp(element<double>(array, first + row, 0), -exponent) : 0.0;
        means[row] = 0.0;
    }
    __syncthreads();
    if (centred) {
        const double total = sum_of([&](double x) { return x - firsts[row]; });
        if (lane == 0) means[row] = total / static_cast<double>(array.cols);
        __syncthreads();
    }
    const double square = sum_of([&](double x) {
        const double apart = x - firsts[row] - means[row];
        return apart * apart;
    });
    if (lane == 0 && first + row < array.rows) {
        scales[first + row] = {root(square), exponent, firsts[row], means[row]};
    }
}

}  // namespace

void survey(const Array& array, Findings* findings, cudaStream_t stream) {
    static_assert(offsetof(Findings, largest) == offsetof(Found, largest));
    auto* found = reinterpret_cast<Found*>(findings);
    check(cudaMemsetAsync(&found->first_bad, 0xff, sizeof found->first_bad, stream), "memset");
    check(cudaMemsetAsync(&found->largest, 0, sizeof found->largest, stream), "memset");
    if (survey_together_of(array, found, stream)) return;
    Lines lines =
        array.row_major() ? Lines{array.rows, array.cols, 0} : Lines{array.cols, array.rows, 0};
    while (1 << lines.shift < std::min<int64_t>(lines.length, block_threads)) ++lines.shift;
    const int64_t blocks =
        std::min(divided_up(lines.count << lines.shift, block_threads), wanted_blocks);
    // few long lines are cut, each piece long enough for some elements of a thread
    const int64_t pieces = std::min(divided_up(lines.length, int64_t{4} << lines.shift),
                                    std::max<int64_t>(1, wanted_blocks / blocks));
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(pieces));
    launch("survey", survey_elements, grid, block_threads, stream, array, lines, found);
}

void row_scales(const Array& array, bool centred, RowScale* scales, cudaStream_t stream) {
    const auto grid = static_cast<unsigned>(divided_up(array.rows, tile_rows));
    launch("row_scales", row_scales_of, grid, block_threads, stream, array, centred, scales);
}

}  // namespace pairtile::gpu
