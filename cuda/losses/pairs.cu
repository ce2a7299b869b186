#include "losses/pairs.hpp"

#include "losses/block.cuh"
#include "pairtile/loss/circle.hpp"
#include "pairtile/loss/multi_similarity.hpp"

namespace pairtile::gpu {
namespace {

enum class PairSide : int { none, positive, negative };

template <class T>
__device__ PairSide side_of(const PairLossRule& rule, const PairExtremes* extremes, int64_t row,
                            int64_t col, T c) {
    if (row == col) return PairSide::none;
    const bool positive = positive_weight(rule.positives, row, col) > 0.0;
    if (!extremes) return positive ? PairSide::positive : PairSide::negative;
    // said of what is left out, so that a NaN stays in
    const auto mining = static_cast<T>(rule.mining);
    if (positive) {
        return c - mining >= static_cast<T>(extremes[row].largest) ? PairSide::none
                                                                   : PairSide::positive;
    }
    return c + mining <= static_cast<T>(extremes[row].least) ? PairSide::none : PairSide::negative;
}

struct ExtremesOfThread {
    PairExtremes found;

    __device__ void push(bool positive, double c) {
        PairExtremes one;
        (positive ? one.least : one.largest) = c;
        found.merge(one);
    }
    __device__ PairExtremes state() const { return found; }
};

template <class T>
__global__ void __launch_bounds__(block_threads)
    fold_extremes(const __grid_constant__ DotBlock<T> block,
                  const __grid_constant__ PairRule positives, PairExtremes* extremes) {
    const int64_t i = row_of_warp_in_block();
    if (i >= block.rows) return;
    const int64_t row = block.first_row + i;
    ExtremesOfThread mine;
    for (int64_t j = lane_in_warp(); j < block.cols; j += 32) {
        const int64_t col = block.first_col + j;
        if (row == col) continue;
        mine.push(positive_weight(positives, row, col) > 0.0,
                  static_cast<double>(dot_of(block, i, j)));
    }
    const PairExtremes found = merged_lanes(mine.state());
    if (lane_in_warp() == 0) extremes[row].merge(found);
}

// Of a block that has no pair of a row with itself.
template <class T>
__global__ void __launch_bounds__(block_threads)
    fold_column_extremes(const __grid_constant__ DotBlock<T> block,
                         const __grid_constant__ PairRule positives, PairExtremes* extremes) {
    fold_into_columns(
        block, extremes, ExtremesOfThread{}, [&](ExtremesOfThread& mine, int64_t i, int64_t j) {
            mine.push(positive_weight(positives, block.first_col + j, block.first_row + i) > 0.0,
                      static_cast<double>(dot_of(block, i, j)));
        });
}

template <class T>
struct PairsOfThread {
    ExponentialSum<T> positives, negatives;

    template <class Loss>
    __device__ void push(const Loss& loss, PairSide side, T c) {
        if (side == PairSide::positive) positives.push(loss.positive(c));
        if (side == PairSide::negative) negatives.push(loss.negative(c));
    }
    __device__ PairState state() const { return {positives.state(), negatives.state()}; }
};

template <class T, template <class> class Loss>
__global__ void __launch_bounds__(block_threads)
    fold_pairs(const __grid_constant__ DotBlock<T> block, const __grid_constant__ PairLossRule rule,
               const PairExtremes* extremes, PairState* states) {
    const int64_t i = row_of_warp_in_block();
    if (i >= block.rows) return;
    const int64_t row = block.first_row + i;
    const Loss<T> loss(rule.parameters);
    PairsOfThread<T> mine;
    for (int64_t j = lane_in_warp(); j < block.cols; j += 32) {
        const T c = dot_of(block, i, j);
        mine.push(loss, side_of(rule, extremes, row, block.first_col + j, c), c);
    }
    const PairState found = merged_lanes(mine.state());
    if (lane_in_warp() == 0) states[row].merge(found);
}

template <class T, template <class> class Loss>
__global__ void __launch_bounds__(block_threads)
    fold_column_pairs(const __grid_constant__ DotBlock<T> block,
                      const __grid_constant__ PairLossRule rule, const PairExtremes* extremes,
                      PairState* states) {
    const Loss<T> loss(rule.parameters);
    fold_into_columns(
        block, states, PairsOfThread<T>{}, [&](PairsOfThread<T>& mine, int64_t i, int64_t j) {
            const T c = dot_of(block, i, j);
            mine.push(loss, side_of(rule, extremes, block.first_col + j, block.first_row + i, c),
                      c);
        });
}

template <template <class> class Loss>
__global__ void __launch_bounds__(block_threads)
    end_pairs(const __grid_constant__ PairLossRule rule, const PairState* states, int64_t count,
              const double* shares, double* losses, PairTerms* terms) {
    const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (i >= count) return;
    const double positives = states[i].positives.finish(), negatives = states[i].negatives.finish();
    const PairLoss found = Loss<double>::finish(rule.parameters, positives, negatives);
    losses[i] = found.value;
    if (!terms) return;
    terms[i] = {positives, negatives, shares[i] * found.by_positives,
                shares[i] * found.by_negatives};
}

// ∂loss/∂c of the row that has these terms.
template <class T, class Loss>
__device__ T weight_of(const Loss& loss, PairSide side, const PairTerms& of_row, T c) {
    if (side == PairSide::positive && of_row.by_positives != 0.0) {
        return static_cast<T>(of_row.by_positives) * loss.positive_slope(c) *
               exp(loss.positive(c) - static_cast<T>(of_row.of_positives));
    }
    if (side == PairSide::negative && of_row.by_negatives != 0.0) {
        return static_cast<T>(of_row.by_negatives) * loss.negative_slope(c) *
               exp(loss.negative(c) - static_cast<T>(of_row.of_negatives));
    }
    return T(0);
}

// A lane has a column, and what is known of its row is read once; the warps share the rows.
constexpr int weighed_rows = 64;

template <class T, template <class> class Loss>
__global__ void __launch_bounds__(block_threads)
    weigh_block(const __grid_constant__ DotBlock<T> block,
                const __grid_constant__ PairLossRule rule, const PairExtremes* extremes,
                const PairTerms* terms, bool mirrored) {
    const int64_t j = int64_t{blockIdx.x} * columns_of_block + lane_in_warp();
    if (j >= block.cols) return;
    const int64_t col = block.first_col + j, first = int64_t{blockIdx.y} * weighed_rows;
    const int64_t end = first + weighed_rows < block.rows ? first + weighed_rows : block.rows;
    const Loss<T> loss(rule.parameters);
    const PairTerms of_col = mirrored ? terms[col] : PairTerms{};
    for (int64_t i = first + threadIdx.x / 32; i < end; i += rows_of_block) {
        const int64_t row = block.first_row + i;
        const T c = dot_of(block, i, j);
        T weight = weight_of(loss, side_of(rule, extremes, row, col, c), terms[row], c);
        if (mirrored) {
            weight += weight_of(loss, side_of(rule, extremes, col, row, c), of_col, c);
        }
        put_weight(block, i, j, weight);
    }
}

template <class State>
__global__ void __launch_bounds__(block_threads) begin_states(State* states, int64_t count) {
    const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (i < count) states[i] = {};
}

}  // namespace

void pair_extremes_empty(PairExtremes* extremes, int64_t count, cudaStream_t stream) {
    launch("pair extremes", begin_states<PairExtremes>, thread_each(count), block_threads, stream,
           extremes, count);
}
void pair_states_empty(PairState* states, int64_t count, cudaStream_t stream) {
    launch("pair states", begin_states<PairState>, thread_each(count), block_threads, stream,
           states, count);
}

template <class T>
void pair_extremes(const DotBlock<T>& block, const PairRule& positives, PairExtremes* extremes,
                   bool mirrored, cudaStream_t stream) {
    launch("extremes of pairs", fold_extremes<T>, warp_per_row(block.rows), block_threads, stream,
           block, positives, extremes);
    if (!mirrored) return;
    launch("extremes of pairs by column", fold_column_extremes<T>, columns_in_blocks(block.cols),
           block_threads, stream, block, positives, extremes);
}

template <class T>
void pair_states(const DotBlock<T>& block, const PairLossRule& rule, const PairExtremes* extremes,
                 PairState* states, bool mirrored, cudaStream_t stream) {
    const bool circle = rule.loss == PairLossId::circle;
    launch("pair sums", circle ? fold_pairs<T, Circle> : fold_pairs<T, MultiSimilarity>,
           warp_per_row(block.rows), block_threads, stream, block, rule, extremes, states);
    if (!mirrored) return;
    launch("pair sums by column",
           circle ? fold_column_pairs<T, Circle> : fold_column_pairs<T, MultiSimilarity>,
           columns_in_blocks(block.cols), block_threads, stream, block, rule, extremes, states);
}

void pair_losses_end(const PairLossRule& rule, const PairState* states, int64_t count,
                     const double* shares, double* losses, PairTerms* terms, cudaStream_t stream) {
    const auto kernel =
        rule.loss == PairLossId::circle ? end_pairs<Circle> : end_pairs<MultiSimilarity>;
    launch("pair losses", kernel, thread_each(count), block_threads, stream, rule, states, count,
           shares, losses, terms);
}

template <class T>
void pair_block_weights(const DotBlock<T>& block, const PairLossRule& rule,
                        const PairExtremes* extremes, const PairTerms* terms, bool mirrored,
                        cudaStream_t stream) {
    const auto kernel =
        rule.loss == PairLossId::circle ? weigh_block<T, Circle> : weigh_block<T, MultiSimilarity>;
    const dim3 grid(columns_in_blocks(block.cols),
                    static_cast<unsigned>(divided_up(block.rows, weighed_rows)));
    launch("pair weights", kernel, grid, block_threads, stream, block, rule, extremes, terms,
           mirrored);
}

#define PT_PAIRS(T)                                                                                \
    template void pair_extremes(const DotBlock<T>&, const PairRule&, PairExtremes*, bool,          \
                                cudaStream_t);                                                     \
    template void pair_states(const DotBlock<T>&, const PairLossRule&, const PairExtremes*,        \
                              PairState*, bool, cudaStream_t);                                     \
    template void pair_block_weights(const DotBlock<T>&, const PairLossRule&, const PairExtremes*, \
                                     const PairTerms*, bool, cudaStream_t);
PT_PAIRS(float)
PT_PAIRS(double)
#undef PT_PAIRS

}  // namespace pairtile::gpu
