#include "losses/contrastive.hpp"

#include "losses/logits.cuh"

namespace pairtile::gpu {
namespace {

constexpr double ln2 = 0.693147180559945309417232121458;

__device__ float exp2_of(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// --- Forward -------------------------------------------------------------------------------------

// Instead of −∞ where differences are taken.
constexpr float lowest = -1e30f;

struct MaxSum {
    float max, sum;

    __device__ void merge(const MaxSum& other) {
        const float highest = fmaxf(max, other.max), least = fmaxf(lowest, highest);
        sum = sum * exp2_of(max - least) + other.sum * exp2_of(other.max - least);
        max = highest;
    }
};

// Two logits of a column: one of them counts 1.
__device__ __forceinline__ MaxSum max_sum_of(float a, float b) {
    const float highest = fmaxf(a, b);
    const float sum = 1.0f + exp2_of(fminf(a, b) - highest);
    return {highest, highest > lowest ? sum : 0.0f};
}

__device__ __forceinline__ void add_from(MaxSum& column, const MaxSum& given, int other) {
    column.merge({__shfl_xor_sync(every_lane, given.max, other),
                  __shfl_xor_sync(every_lane, given.sum, other)});
}
__device__ __forceinline__ void add_from(float& column, float given, int other) {
    column += __shfl_xor_sync(every_lane, given, other);
}

// Half of the columns go to the lane `other` away, the other half come from there.
template <int count, int other, class Column>
__device__ __forceinline__ void halve(Column (&columns)[2 * groups]) {
    const bool takes_upper = lane_of_thread() & other;
#pragma unroll
    for (int c = 0; c < count / 2; ++c) {
        const Column low = columns[c], high = columns[c + count / 2];
        const Column given = takes_upper ? low : high;
        columns[c] = takes_upper ? high : low;
        add_from(columns[c], given, other);
    }
}
// Lane l is left with the columns of two groups, those 8 (first_group() + g) + 2 (l % 4) + e.
template <class Column>
__device__ __forceinline__ void reduce_columns(Column (&columns)[2 * groups]) {
    halve<32, 16>(columns);
    halve<16, 8>(columns);
    halve<8, 4>(columns);
}
__device__ int first_group() {
    const int lane = lane_of_thread();
    return lane / 16 * 8 + lane / 8 % 2 * 4 + lane / 4 % 2 * 2;
}

// What a warp writes of a strip for the columns of a tile: of its two groups, with `pitch` floats
// for each.
template <int pitch>
__device__ float* columns_of_strip(const SoftmaxSums& sums, int row, int tile) {
    const int64_t padded = int64_t{sums.sweep.col_tiles} * tile_columns;
    const int64_t part = int64_t{blockIdx.x} * strips_of_block + row / strip_rows;
    return static_cast<float*>(sums.of_cols) +
           (part * padded + int64_t{tile} * tile_columns + 8 * first_group() + 2 * quad_lane()) *
               pitch;
}

// Positives are stored and count nowhere else, as columns beyond the last one.
__device__ __forceinline__ void take_positives(Strip& values, const SoftmaxSums& sums, int row,
                                               int tile, float a, float b) {
    const int64_t upper = packed_row(row), rows = sums.sweep.rows.rows;
    at_positive<false>(values, sums.logits, upper, rows, tile, [&](float& value) {
        sums.positives[upper] = value * a;
        value = -INFINITY;
    });
    at_positive<true>(values, sums.logits, upper + 8, rows, tile, [&](float& value) {
        sums.positives[upper + 8] = value * b;
        value = -INFINITY;
    });
    mask_columns(values, sums.sweep.cols.rows, tile, -INFINITY);
}
// Rows of both strips of a warp, merged over the four lanes that share one.
struct RowStates {
    int row_a, row_b;

    template <class State>
    __device__ void write(const SoftmaxSums& sums, const State& state_of) const {
        const int64_t padded = int64_t{sums.sweep.row_blocks} * block_rows;
#pragma unroll
        for (int s = 0; s < 2; ++s) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                LogSumExp state = state_of(s, h);
#pragma unroll
                for (int other = 1; other < 4; other *= 2) {
                    state.merge({__shfl_xor_sync(every_lane, state.max, other),
                                 __shfl_xor_sync(every_lane, state.sum, other)});
                }
                const int64_t row = packed_row(s == 0 ? row_a : row_b) + 8 * h;
                if (quad_lane() == 0) sums.of_rows[int64_t{blockIdx.y} * padded + row] = state;
            }
        }
    }
};

// Logits of any size.
template <bool of_columns>
struct SumLogits {
    using Params = SoftmaxSums;
    struct Memory {};
    using RowsByPanel = void;

    const SoftmaxSums& sums;
    const RowStates states;
    // of the upper and lower row of both strips, over the columns of this lane
    float maxima[2][2];
    double totals[2][2];

    __device__ SumLogits(const SoftmaxSums& sums, const TensorSweep&, Memory&, int row_a, int row_b)
        : sums(sums), states{row_a, row_b} {
#pragma unroll
        for (int s = 0; s < 2; ++s) {
#pragma unroll
            for (int h = 0; h < 2; ++h) maxima[s][h] = -INFINITY, totals[s][h] = 0.0;
        }
    }

    __device__ void columns(int) {}

    __device__ __forceinline__ void strip(Strip& values, int row, int tile) {
        if (row == states.row_a) {
            fold<0>(values, row, tile);
        } else {
            fold<1>(values, row, tile);
        }
    }

    __device__ void finish() {
        states.write(sums, [&](int s, int h) {
            return LogSumExp{static_cast<double>(maxima[s][h]) * ln2, totals[s][h]};
        });
    }

  private:
    template <int which>
    __device__ __forceinline__ void fold(Strip& values, int row, int tile) {
        to_logits<true>(values, sums.logits, packed_row(row), tile);
        take_positives(values, sums, row, tile, 1.0f, 1.0f);
        push_row<which, 0>(values);
        push_row<which, 1>(values);
        if constexpr (of_columns) {
            mask_rows(values, sums.sweep, row, -INFINITY);
            MaxSum all[2 * groups];
#pragma unroll
            for (int g = 0; g < groups; ++g) {
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    all[2 * g + e] = max_sum_of(values[g][e], values[g][e + 2]);
                }
            }
            reduce_columns(all);
            float* out = columns_of_strip<2>(sums, row, tile);
#pragma unroll
            for (int g = 0; g < 2; ++g) {
                *reinterpret_cast<float4*>(out + 16 * g) = make_float4(
                    all[2 * g].max, all[2 * g].sum, all[2 * g + 1].max, all[2 * g + 1].sum);
            }
        }
    }

    template <int which, int half>
    __device__ __forceinline__ void push_row(const Strip& values) {
        float top = maxima[which][half];
#pragma unroll
        for (int g = 0; g < groups; ++g) {
            top = fmaxf(top, fmaxf(values[g][2 * half], values[g][2 * half + 1]));
        }
        const float least = fmaxf(lowest, top);
        float sum = 0.0f;
#pragma unroll
        for (int g = 0; g < groups; ++g) {
            sum += exp2_of(values[g][2 * half] - least) + exp2_of(values[g][2 * half + 1] - least);
        }
        const double shrinks = exp2_of(maxima[which][half] - least);
        totals[which][half] = totals[which][half] * shrinks + sum;
        maxima[which][half] = top;
    }
};

// Bounded ones: one exponential each.
template <bool of_columns, bool scaled>
struct SumBounded {
    using Params = SoftmaxSums;
    struct Memory {};
    using RowsByPanel = void;

    const SoftmaxSums& sums;
    const RowStates states;
    double totals[2][2];

    __device__ SumBounded(const SoftmaxSums& sums, const TensorSweep&, Memory&, int row_a,
                          int row_b)
        : sums(sums), states{row_a, row_b}, totals{} {}

    __device__ void columns(int) {}

    __device__ __forceinline__ void strip(Strip& values, int row, int tile) {
        if (row == states.row_a) {
            fold<0>(values, row, tile);
        } else {
            fold<1>(values, row, tile);
        }
    }

    __device__ void finish() {
        const double offset = static_cast<double>(sums.logits.offset) * ln2;
        states.write(sums, [&](int s, int h) { return LogSumExp{offset, totals[s][h]}; });
    }

  private:
    template <int which>
    __device__ __forceinline__ void fold(Strip& values, int row, int tile) {
        const RowFactors<scaled> factors(sums.logits, packed_row(row));
        if (scaled) scale_columns(values, sums.logits, tile);
        take_positives(values, sums, row, tile, factors.a, factors.b);
        if (of_columns) mask_rows(values, sums.sweep, row, -INFINITY);
        const float offset = sums.logits.offset;
        float upper = 0.0f, lower = 0.0f;
        [[maybe_unused]] float of_cols[2 * groups];  // over both rows of this lane
#pragma unroll
        for (int g = 0; g < groups; ++g) {
            float powers[4];
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                powers[e] = exp2_of(fmaf(values[g][e], e < 2 ? factors.a : factors.b, -offset));
            }
            upper += powers[0] + powers[1];
            lower += powers[2] + powers[3];
            of_cols[2 * g] = powers[0] + powers[2];
            of_cols[2 * g + 1] = powers[1] + powers[3];
        }
        totals[which][0] += static_cast<double>(upper);
        totals[which][1] += static_cast<double>(lower);
        if constexpr (of_columns) {
            reduce_columns(of_cols);
            float* out = columns_of_strip<1>(sums, row, tile);
#pragma unroll
            for (int g = 0; g < 2; ++g) {
                *reinterpret_cast<float2*>(out + 8 * g) =
                    make_float2(of_cols[2 * g], of_cols[2 * g + 1]);
            }
        }
    }
};

__global__ void __launch_bounds__(block_threads)
    merge_rows(const LogSumExp* states, int64_t segments, int64_t padded, int64_t rows,
               LogSumExp* out) {
    const int64_t row = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (row >= rows) return;
    LogSumExp all = out[row];
    for (int64_t s = 0; s < segments; ++s) all.merge(states[s * padded + row]);
    out[row] = all;
}

// One column of some parts, with maxima or over an offset.
struct MaxSums {
    const float2* states;

    __device__ LogSumExp operator()(int64_t column, int64_t padded, int64_t first, int64_t parts,
                                    int64_t step) const {
        float max = -INFINITY;
        double sum = 0.0;
#pragma unroll 4
        for (int64_t p = first; p < parts; p += step) {
            const float2 one = states[p * padded + column];
            const float highest = fmaxf(max, one.x), least = fmaxf(lowest, highest);
            sum = sum * exp2_of(max - least) + static_cast<double>(one.y) * exp2_of(one.x - least);
            max = highest;
        }
        return {static_cast<double>(max) * ln2, sum};
    }
};
struct OffsetSums {
    const float* states;
    float offset;

    __device__ LogSumExp operator()(int64_t column, int64_t padded, int64_t first, int64_t parts,
                                    int64_t step) const {
        double sum = 0.0;
#pragma unroll 8
        for (int64_t p = first; p < parts; p += step) {
            sum += static_cast<double>(states[p * padded + column]);
        }
        return {static_cast<double>(offset) * ln2, sum};
    }
};

// A block has 32 columns; thread (r, c) takes the parts p ≡ r mod 8 of its column.
template <class Sums>
__global__ void __launch_bounds__(block_threads)
    merge_columns(Sums sums, int64_t parts, int64_t padded, int64_t cols, LogSumExp* out) {
    constexpr int across = 32, lanes = block_threads / across;
    __shared__ LogSumExp of_lane[lanes][across];
    const int c = static_cast<int>(threadIdx.x) % across;
    const int lane = static_cast<int>(threadIdx.x) / across;
    const int64_t column = int64_t{blockIdx.x} * across + c;  // within the padding
    of_lane[lane][c] = sums(column, padded, lane, parts, lanes);
    __syncthreads();
    if (lane != 0 || column >= cols) return;
    LogSumExp all = out[column];
    for (int l = 0; l < lanes; ++l) all.merge(of_lane[l][c]);
    out[column] = all;
}

// --- Backward ------------------------------------------------------------------------------------

template <bool of_columns, bool scaled, bool bounded>
struct WriteWeights {
    using Params = SoftmaxWeights;
    struct Memory {};
    using RowsByPanel = void;

    const SoftmaxWeights& weights;

    __device__ WriteWeights(const SoftmaxWeights& weights, const TensorSweep&, Memory&, int, int)
        : weights(weights) {}
    __device__ void columns(int) {}
    __device__ void finish() {}

    __device__ __forceinline__ void strip(Strip& values, int row, int tile) {
        const int64_t upper = packed_row(row);
        if constexpr (bounded) {
            weigh_bounded(values, upper, tile);
        } else {
            weigh(values, upper, tile);
        }
        const Logits& logits = weights.logits;
        const int64_t rows = weights.sweep.rows.rows;
        at_positive<false>(values, logits, upper, rows, tile,
                           [&](float& value) { value = weights.of_rows[upper].positive; });
        at_positive<true>(values, logits, upper + 8, rows, tile,
                          [&](float& value) { value = weights.of_rows[upper + 8].positive; });
        mask_columns(values, weights.sweep.cols.rows, tile, 0.0f);
        mask_rows(values, weights.sweep, row, 0.0f);
        write_panels<scaled>(values, logits, weights.panels, row, tile);
    }

  private:
    __device__ __forceinline__ void weigh(Strip& values, int64_t upper, int tile) const {
        to_logits<true>(values, weights.logits, upper, tile);
        const SoftmaxSide a = weights.of_rows[upper], b = weights.of_rows[upper + 8];
        const SoftmaxSide* cols =
            of_columns ? weights.of_cols + int64_t{tile} * tile_columns + 2 * quad_lane() : nullptr;
        const auto weight = [](float t, const SoftmaxSide& of) {
            return exp2_of((t - of.reference) - of.log_total) * of.share;
        };
#pragma unroll
        for (int g = 0; g < groups; ++g) {
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                const float t = values[g][e], u = values[g][e + 2];
                values[g][e] = weight(t, a);
                values[g][e + 2] = weight(u, b);
                if constexpr (of_columns) {
                    const SoftmaxSide y = cols[8 * g + e];
                    values[g][e] += weight(t, y);
                    values[g][e + 2] += weight(u, y);
                }
            }
        }
    }

    __device__ __forceinline__ void weigh_bounded(Strip& values, int64_t upper, int tile) const {
        const Logits& logits = weights.logits;
        const RowFactors<scaled> factors(logits, upper);
        if (scaled) scale_columns(values, logits, tile);
        const float a = weights.row_levels[upper], b = weights.row_levels[upper + 8];
        const float* cols =
            of_columns ? weights.col_levels + int64_t{tile} * tile_columns + 2 * quad_lane()
                       : nullptr;
#pragma unroll
        for (int g = 0; g < groups; ++g) {
            float2 y = make_float2(0.0f, 0.0f);
            if (of_columns) y = *reinterpret_cast<const float2*>(cols + 8 * g);
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const float power =
                    exp2_of(fmaf(values[g][e], e < 2 ? factors.a : factors.b, -logits.offset));
                values[g][e] = power * ((e < 2 ? a : b) + (e % 2 == 0 ? y.x : y.y));
            }
        }
    }
};

struct WriteDots {
    using Params = DotSweep;
    struct Memory {};
    using RowsByPanel = void;

    const DotSweep& dots;

    __device__ WriteDots(const DotSweep& dots, const TensorSweep&, Memory&, int, int)
        : dots(dots) {}
    __device__ void columns(int) {}
    __device__ void finish() {}

    __device__ __forceinline__ void strip(const Strip& values, int row, int tile) {
        const int64_t width = int64_t{dots.sweep.col_tiles} * tile_columns;
        float* out =
            dots.out + packed_row(row) * width + int64_t{tile} * tile_columns + 2 * quad_lane();
#pragma unroll
        for (int g = 0; g < groups; ++g) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                *reinterpret_cast<float2*>(out + 8 * half * width + 8 * g) =
                    make_float2(values[g][2 * half], values[g][2 * half + 1]);
            }
        }
    }
};

__global__ void __launch_bounds__(block_threads)
    levels_of(const SoftmaxSide* sides, int64_t rows, float offset, float* levels) {
    const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (i >= rows) return;
    const SoftmaxSide side = sides[i];
    levels[i] = exp2f((offset - side.reference) - side.log_total) * side.share;
}

// with.operator()<of columns, scaled, bounded>(); what is not bounded is always scaled
template <class With>
void with_kind(bool of_columns, const Logits& logits, const With& with) {
    const bool scaled = logits.row_factors;
    if (!logits.bounded) {
        if (!scaled) throw std::runtime_error("logits without a bound need factors");
        return of_columns ? with.template operator()<true, true, false>()
                          : with.template operator()<false, true, false>();
    }
    if (of_columns) {
        return scaled ? with.template operator()<true, true, true>()
                      : with.template operator()<true, false, true>();
    }
    return scaled ? with.template operator()<false, true, true>()
                  : with.template operator()<false, false, true>();
}

unsigned blocks_for(int64_t threads) {
    return static_cast<unsigned>(divided_up(threads, block_threads));
}

}  // namespace

int64_t logit_segments(int64_t rows, int64_t cols) {
    return best_pieces(padded_rows(rows) / block_rows, divided_up(cols, tile_columns),
                       divided_up(2 * multiprocessors(), padded_rows(rows) / block_rows), 1.0);
}

void softmax_sums(const SoftmaxSums& sums, LogSumExp* rows, LogSumExp* cols, TensorPath path,
                  cudaStream_t stream) {
    with_kind(sums.of_cols, sums.logits, [&]<bool of_columns, bool scaled, bool bounded>() {
        using Fold =
            std::conditional_t<bounded, SumBounded<of_columns, scaled>, SumLogits<of_columns>>;
        run_tensor<Fold>("softmax sums", path, sums.sweep, sums, stream);
    });
    const TensorSweep& sweep = sums.sweep;
    launch("softmax rows", merge_rows, blocks_for(sweep.rows.rows), block_threads, stream,
           sums.of_rows, int64_t{sweep.segments}, padded_rows(sweep.rows.rows), sweep.rows.rows,
           rows);
    if (!sums.of_cols) return;
    const int64_t padded = int64_t{sweep.col_tiles} * tile_columns;
    const auto merge = [&](auto states) {
        launch("softmax columns", merge_columns<decltype(states)>,
               static_cast<unsigned>(padded / 32), block_threads, stream, states,
               int64_t{sweep.row_blocks} * strips_of_block, padded, sweep.cols.rows, cols);
    };
    if (sums.logits.bounded) {
        merge(OffsetSums{static_cast<const float*>(sums.of_cols), sums.logits.offset});
    } else {
        merge(MaxSums{static_cast<const float2*>(sums.of_cols)});
    }
}

void softmax_levels(const SoftmaxSide* sides, int64_t rows, float offset, float* levels,
                    cudaStream_t stream) {
    launch("softmax levels", levels_of, blocks_for(rows), block_threads, stream, sides, rows,
           offset, levels);
}

void softmax_weights(const SoftmaxWeights& weights, TensorPath path, cudaStream_t stream) {
    with_kind(weights.of_cols, weights.logits, [&]<bool of_columns, bool scaled, bool bounded>() {
        using Fold = WriteWeights<of_columns, scaled, bounded>;
        run_tensor<Fold>("softmax weights", path, weights.sweep, weights, stream);
    });
}

void dot_sweep(const DotSweep& dots, TensorPath path, cudaStream_t stream) {
    run_tensor<WriteDots>("dot products", path, dots.sweep, dots, stream);
}

}  // namespace pairtile::gpu
