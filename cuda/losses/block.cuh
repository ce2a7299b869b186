// What folds over blocks of dot products have in common: a warp for each row, or 32 columns for a
// block of threads, and which pairs are positives. Orders of additions depend on shapes only.
#pragma once

#include <algorithm>

#include "engine/launch.hpp"
#include "losses/block.hpp"
#include "pairtile/fold/log_sum_exp.hpp"
#include "pairtile/fold/sum.hpp"

namespace pairtile::gpu {

constexpr int rows_of_block = block_threads / 32;  // a warp has a row
constexpr int columns_of_block = 32;

// The place of `column` among the sorted columns of a row, or −1.
inline __device__ int64_t place_in_row(const int64_t* indptr, const int64_t* columns, int64_t row,
                                       int64_t column) {
    int64_t low = indptr[row], high = indptr[row + 1];
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (columns[middle] < column) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < indptr[row + 1] && columns[low] == column ? low : -1;
}

// The weight of a positive (1 by labels, whose mean is taken later), 0 of every other pair.
inline __device__ double positive_weight(const PairRule& rule, int64_t row, int64_t column) {
    if (rule.targets) return rule.targets[row] == column ? 1.0 : 0.0;
    if (rule.indptr) {
        const int64_t at = place_in_row(rule.indptr, rule.columns, row, column);
        return at < 0 ? 0.0 : rule.weights[at];
    }
    if (rule.self && row == column) return 0.0;
    return fabs(rule.row_labels[row] - rule.col_labels[column]) <= rule.width ? 1.0 : 0.0;
}

template <class T>
__device__ T dot_of(const DotBlock<T>& block, int64_t i, int64_t j) {
    T dot = block.dots[i * block.pitch + j];
    if (block.row_factors) {
        dot *= static_cast<T>(block.row_factors[block.first_row + i]) *
               static_cast<T>(block.col_factors[block.first_col + j]);
    }
    return dot;
}

// ∂loss/∂C of a pair, for both sides.
template <class T>
__device__ void put_weight(const DotBlock<T>& block, int64_t i, int64_t j, T weight) {
    const bool scaled = block.row_factors;
    block.dots[i * block.pitch + j] =
        scaled ? weight * static_cast<T>(block.col_factors[block.first_col + j]) : weight;
    block.by_col[i * block.pitch + j] =
        scaled ? weight * static_cast<T>(block.row_factors[block.first_row + i]) : weight;
}

// The row of the block that is this warp's.
inline __device__ int64_t row_of_warp_in_block() {
    return int64_t{blockIdx.x} * rows_of_block + threadIdx.x / 32;
}
inline unsigned warp_per_row(int64_t rows) {
    return static_cast<unsigned>(divided_up(rows, rows_of_block));
}
inline unsigned thread_each(int64_t count) {
    return static_cast<unsigned>(divided_up(count, block_threads));
}
inline __device__ int lane_in_warp() { return static_cast<int>(threadIdx.x) % 32; }

// The state of all lanes, in the first of them; pairwise. A state is made of doubles.
template <class State>
__device__ State merged_lanes(State state) {
    constexpr int numbers = sizeof(State) / sizeof(double);
    static_assert(sizeof(State) == numbers * sizeof(double));
#pragma unroll
    for (int other = 16; other > 0; other /= 2) {
        State given;
        auto* from = reinterpret_cast<const double*>(&state);
        auto* to = reinterpret_cast<double*>(&given);
#pragma unroll
        for (int k = 0; k < numbers; ++k) to[k] = __shfl_down_sync(~0u, from[k], other);
        state.merge(given);
    }
    return state;
}

// Folds each column of a block into its state: push(mine, i, j) adds a pair to what a thread has of
// it, and what the threads of a column have is merged in their order. A block of threads has 32
// columns, which lie side by side in memory.
template <class T, class State, class OfThread, class Push>
__device__ void fold_into_columns(const DotBlock<T>& block, State* states, OfThread mine,
                                  const Push& push) {
    constexpr int numbers = sizeof(State) / sizeof(double);
    static_assert(sizeof(State) == numbers * sizeof(double));
    __shared__ double of_parts[rows_of_block][numbers][columns_of_block];
    const int column = lane_in_warp(), part = static_cast<int>(threadIdx.x) / columns_of_block;
    const int64_t j = int64_t{blockIdx.x} * columns_of_block + column;
    if (j < block.cols) {
        for (int64_t i = part; i < block.rows; i += rows_of_block) push(mine, i, j);
    }
    const State found = mine.state();
    const auto* from = reinterpret_cast<const double*>(&found);
#pragma unroll
    for (int k = 0; k < numbers; ++k) of_parts[part][k][column] = from[k];
    __syncthreads();
    if (part > 0 || j >= block.cols) return;
    State all = states[block.first_col + j];
    for (int p = 0; p < rows_of_block; ++p) {
        State given;
        auto* to = reinterpret_cast<double*>(&given);
#pragma unroll
        for (int k = 0; k < numbers; ++k) to[k] = of_parts[p][k][column];
        all.merge(given);
    }
    states[block.first_col + j] = all;
}
inline unsigned columns_in_blocks(int64_t cols) {
    return static_cast<unsigned>(divided_up(cols, columns_of_block));
}

// Σ e^t as a maximum and a sum, an exponential for each number.
template <class T>
struct ExponentialSum {
    T max = -static_cast<T>(INFINITY);
    double sum = 0.0;

    __device__ void push(T t) {
        if (t > max) {
            sum = sum * static_cast<double>(exp(max - t)) + 1.0;
            max = t;
        } else if (t == t) {
            if (t > -static_cast<T>(INFINITY)) sum += static_cast<double>(exp(t - max));
        } else {
            sum = NAN;
            if (!(max > -static_cast<T>(INFINITY))) max = T(0);
        }
    }
    __device__ LogSumExp state() const { return {static_cast<double>(max), sum}; }
};

}  // namespace pairtile::gpu
