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

template <class T>
__global__ void __launch_bounds__(block_threads)
    fold_extremes(const __grid_constant__ DotBlock<T> block,
                  const __grid_constant__ PairRule positives, PairExtremes* extremes) {
    const int64_t i = row_of_warp_in_block();
    if (i >= block.rows) return;
    const int64_t row = block.first_row + i;
    PairExtremes mine;
    for (int64_t j = lane_in_warp(); j < block.cols; j += 32) {
        const int64_t col = block.first_col + j;
        if (row == col) continue;
        const auto c = static_cast<double>(dot_of(block, i, j));
        PairExtremes one;
        (positive_weight(positives, row, col) > 0.0 ? one.least : one.largest) = c;
        mine.merge(one);
    }
    mine = merged_lanes(mine);
    if (lane_in_warp() == 0) extremes[row].merge(mine);
}

template <class T, template <class> class Loss>
__global__ void __launch_bounds__(block_threads)
    fold_pairs(const __grid_constant__ DotBlock<T> block, const __grid_constant__ PairLossRule rule,
               const PairExtremes* extremes, PairState* states) {
    const int64_t i = row_of_warp_in_block();
    if (i >= block.rows) return;
    const int64_t row = block.first_row + i;
    const Loss<T> loss(rule.parameters);
    ExponentialSum<T> positives, negatives;
    for (int64_t j = lane_in_warp(); j < block.cols; j += 32) {
        const T c = dot_of(block, i, j);
        const PairSide side = side_of(rule, extremes, row, block.first_col + j, c);
        if (side == PairSide::positive) positives.push(loss.positive(c));
        if (side == PairSide::negative) negatives.push(loss.negative(c));
    }
    const PairState found = merged_lanes(PairState{positives.state(), negatives.state()});
    if (lane_in_warp() == 0) states[row].merge(found);
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

template <class T, template <class> class Loss>
__global__ void __launch_bounds__(block_threads)
    weigh_block(const __grid_constant__ DotBlock<T> block,
                const __grid_constant__ PairLossRule rule, const PairExtremes* extremes,
                const PairTerms* terms) {
    const int64_t i = row_of_warp_in_block();
    if (i >= block.rows) return;
    const int64_t row = block.first_row + i;
    const Loss<T> loss(rule.parameters);
    const PairTerms of_row = terms[row];
    for (int64_t j = lane_in_warp(); j < block.cols; j += 32) {
        const T c = dot_of(block, i, j);
        const PairSide side = side_of(rule, extremes, row, block.first_col + j, c);
        T weight = T(0);
        if (side == PairSide::positive && of_row.by_positives != 0.0) {
            weight = static_cast<T>(of_row.by_positives) * loss.positive_slope(c) *
                     exp(loss.positive(c) - static_cast<T>(of_row.of_positives));
        }
        if (side == PairSide::negative && of_row.by_negatives != 0.0) {
            weight = static_cast<T>(of_row.by_negatives) * loss.negative_slope(c) *
                     exp(loss.negative(c) - static_cast<T>(of_row.of_negatives));
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
                   cudaStream_t stream) {
    launch("extremes of pairs", fold_extremes<T>, warp_per_row(block.rows), block_threads, stream,
           block, positives, extremes);
}

template <class T>
void pair_states(const DotBlock<T>& block, const PairLossRule& rule, const PairExtremes* extremes,
                 PairState* states, cudaStream_t stream) {
    const auto kernel =
        rule.loss == PairLossId::circle ? fold_pairs<T, Circle> : fold_pairs<T, MultiSimilarity>;
    launch("pair sums", kernel, warp_per_row(block.rows), block_threads, stream, block, rule,
           extremes, states);
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
                        const PairExtremes* extremes, const PairTerms* terms, cudaStream_t stream) {
    const auto kernel =
        rule.loss == PairLossId::circle ? weigh_block<T, Circle> : weigh_block<T, MultiSimilarity>;
    launch("pair weights", kernel, warp_per_row(block.rows), block_threads, stream, block, rule,
           extremes, terms);
}

#define PT_PAIRS(T)                                                                                \
    template void pair_extremes(const DotBlock<T>&, const PairRule&, PairExtremes*, cudaStream_t); \
    template void pair_states(const DotBlock<T>&, const PairLossRule&, const PairExtremes*,        \
                              PairState*, cudaStream_t);                                           \
    template void pair_block_weights(const DotBlock<T>&, const PairLossRule&, const PairExtremes*, \
                                     const PairTerms*, cudaStream_t);
PT_PAIRS(float)
PT_PAIRS(double)
#undef PT_PAIRS

}  // namespace pairtile::gpu
