#include "losses/softmax.hpp"

#include "losses/block.cuh"

namespace pairtile::gpu {
namespace {

// A pair as the loss sees it.
template <class T>
struct LogitOfPair {
    T logit, phi, slope;  // S, φ, dφ/dC
    double weight;        // of a positive
    bool in_row, in_col;
};

__device__ double sine_of(double cosine) {
    return sqrt(fmax(0.0, (1.0 - cosine) * (1.0 + cosine)));
}

__device__ bool holds(const MaskedPairs& list, int64_t row, int64_t col) {
    return list.indptr && place_in_row(list.indptr, list.columns, row, col) >= 0;
}

template <class T>
__device__ LogitOfPair<T> logit_of(const DotBlock<T>& block, const SoftmaxOptions& options,
                                   const RowTerms& rows, int64_t i, int64_t j) {
    const int64_t row = block.first_row + i, col = block.first_col + j;
    const T dot = dot_of(block, i, j);
    LogitOfPair<T> pair{dot, dot, T(1), positive_weight(options.positives, row, col), true, true};
    const bool positive = pair.weight > 0.0;
    if (positive && options.angular_margin != 0.0) {
        const double angle = options.angular_margin, c = static_cast<double>(dot);
        const double across = sine_of(c);
        // at cos = ±1, where it has none, the slope is as if the angle stayed
        pair.phi = static_cast<T>(cos(angle) * c - sin(angle) * across);
        pair.slope = static_cast<T>(cos(angle) + (across > 0.0 ? sin(angle) * c / across : 0.0));
    } else if (positive) {
        pair.phi = static_cast<T>(static_cast<double>(dot) - options.margin);
    }
    pair.logit = static_cast<T>(rows.scales ? rows.scales[row] : rows.scale) * pair.phi;
    if (options.column_logits) pair.logit += static_cast<T>(options.column_logits[col]);
    if (options.positives.self && row == col) pair.in_row = pair.in_col = false;
    if (positive) return pair;
    if (options.row_limits && static_cast<double>(dot) > options.row_limits[row]) {
        pair.in_row = false;
    }
    if (options.col_limits && static_cast<double>(dot) > options.col_limits[col]) {
        pair.in_col = false;
    }
    if (options.kept_indptr &&
        place_in_row(options.kept_indptr, options.kept_columns, row, col) < 0) {
        pair.in_row = false;
    }
    if (holds(options.row_masked, row, col)) pair.in_row = false;
    if (holds(options.col_masked, row, col)) pair.in_col = false;
    return pair;
}

template <class T>
struct SoftmaxOfThread {
    ExponentialSum<T> rest, own;
    double wanted = 0.0, weights = 0.0, all = 0.0, found = 0.0;

    __device__ void push(const LogitOfPair<T>& pair) {
        const auto logit = static_cast<double>(pair.logit);
        if (pair.weight > 0.0) {
            own.push(pair.logit);
            wanted += pair.weight * logit;
            weights += pair.weight;
        } else {
            rest.push(pair.logit);
        }
        all += logit;
        found += 1.0;
    }
    __device__ SoftmaxState state() const {
        return {rest.state(), own.state(), wanted, weights, all, found};
    }
};

template <class T>
__global__ void __launch_bounds__(block_threads)
    fold_rows(const __grid_constant__ DotBlock<T> block,
              const __grid_constant__ SoftmaxOptions options, const __grid_constant__ RowTerms rows,
              SoftmaxState* states) {
    const int64_t i = row_of_warp_in_block();
    if (i >= block.rows) return;
    SoftmaxOfThread<T> mine;
    for (int64_t j = lane_in_warp(); j < block.cols; j += 32) {
        const LogitOfPair<T> pair = logit_of(block, options, rows, i, j);
        if (pair.in_row) mine.push(pair);
    }
    const SoftmaxState found = merged_lanes(mine.state());
    if (lane_in_warp() == 0) states[block.first_row + i].merge(found);
}

template <class T>
__global__ void __launch_bounds__(block_threads)
    fold_columns(const __grid_constant__ DotBlock<T> block,
                 const __grid_constant__ SoftmaxOptions options,
                 const __grid_constant__ RowTerms rows, SoftmaxState* states) {
    fold_into_columns(block, states, SoftmaxOfThread<T>{},
                      [&](SoftmaxOfThread<T>& mine, int64_t i, int64_t j) {
                          const LogitOfPair<T> pair = logit_of(block, options, rows, i, j);
                          if (pair.in_col) mine.push(pair);
                      });
}

template <class T>
__global__ void __launch_bounds__(block_threads)
    limits_of(const __grid_constant__ DotBlock<T> block, const int64_t* targets, double margin,
              double* row_limits, double* col_limits) {
    const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (i >= block.rows) return;
    const int64_t target = targets[block.first_row + i], j = target - block.first_col;
    if (target < 0 || j < 0 || j >= block.cols) return;
    const double limit = static_cast<double>(dot_of(block, i, j)) + margin;
    if (row_limits) row_limits[block.first_row + i] = limit;
    if (col_limits) col_limits[target] = limit;
}

__global__ void __launch_bounds__(block_threads) no_states(SoftmaxState* states, int64_t count) {
    const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (i < count) states[i] = {};
}

// The logit of a positive that is alone; NaN where that is.
__device__ double logit_of_one(const LogSumExp& own) { return own.max + (own.sum - 1.0); }

// R − Σ T S, T being the weights of the positives, in part even over the sum.
__device__ double plain_loss(const SoftmaxState& state, const LogSumExp& all, bool alone,
                             double smoothing) {
    if (alone) {  // without cancellation
        const double own = logit_of_one(state.own);
        if (state.rest.sum == 0.0) return own - own;
        if (own >= state.rest.max) return log1p(state.rest.sum * exp(state.rest.max - own));
        return (state.rest.max - own) + log(state.rest.sum + exp(own - state.rest.max));
    }
    double wanted = state.wanted / state.weights;
    if (smoothing != 0.0) {
        wanted = (1.0 - smoothing) * wanted + smoothing * (state.all / state.found);
    }
    return (all.max - wanted) + log(all.sum);
}

// log(e^S_t + G) − S_t, G being the negatives' sum less the positives that are in it (Chuang et
// al., Debiased contrastive learning, 2020).
__device__ double debiased_loss(const SoftmaxLossEnd& end, int64_t i, const SoftmaxState& state,
                                double share, double& log_sum) {
    const double scale = end.rows.scales ? end.rows.scales[i] : end.rows.scale;
    const double others = end.others, tau = end.tau_plus, score = logit_of_one(state.own);
    const double least = log(others) - scale;
    const double top = fmax(fmax(score, state.rest.sum == 0.0 ? score : state.rest.max), least);
    const double own = exp(score - top);
    const double rest = state.rest.sum == 0.0 ? 0.0 : state.rest.sum * exp(state.rest.max - top);
    const double estimate = (rest - others * tau * own) / (1.0 - tau), floor = exp(least - top);
    const bool counts = estimate >= floor;
    const double kept = counts || estimate != estimate ? estimate : floor;
    const double total = own + kept;
    log_sum = top + log(total);
    if (end.terms) {
        const double of_others = counts ? 1.0 / (1.0 - tau) / total : 0.0;
        const double positive = -kept / total - others * tau * own * of_others;
        end.terms[i] = {top, 0.0, share * of_others, 0.0, 0.0, share * positive, 1.0};
        if (end.rows.by_scale && !counts) end.rows.by_scale[i] -= share * floor / total;
    }
    return score == top ? log1p(kept) : (top - score) + log(total);
}

__global__ void __launch_bounds__(block_threads)
    end_losses(const __grid_constant__ SoftmaxLossEnd end) {
    const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (i >= end.count) return;
    const SoftmaxState state = end.states[i];
    const bool has_positive = state.weights > 0.0;
    const double share = end.terms && has_positive ? end.part * end.shares[i] : 0.0;
    LogSumExp all = state.rest;
    all.merge(state.own);
    double loss = 0.0, log_sum = all.finish();
    if (has_positive && end.tau_plus > 0.0) {
        loss = debiased_loss(end, i, state, share, log_sum);
    } else if (has_positive) {
        const bool alone = end.whole_weights && end.smoothing == 0.0 && state.weights == 1.0;
        loss = plain_loss(state, all, alone, end.smoothing);
        if (end.terms) {
            end.terms[i] = {all.max,
                            log(all.sum),
                            share,
                            share * end.smoothing / state.found,
                            share * (1.0 - end.smoothing) / state.weights,
                            share * expm1(-loss),
                            alone ? 1.0 : 0.0};
        }
    } else if (end.terms) {
        end.terms[i] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
    }
    loss *= end.part;
    if (end.more && end.targets[i] >= 0) loss += end.more[end.targets[i]];
    end.losses[i] = loss;
    if (end.log_sums) end.log_sums[i] = log_sum;
}

template <class T>
__device__ T weight_of(const LogitOfPair<T>& pair, const SoftmaxTerms& terms, bool in_sum) {
    const bool positive = pair.weight > 0.0;
    if (positive && terms.alone != 0.0) return static_cast<T>(terms.positive);
    T weight = T(0);
    // a row that does not count may have logits of any size
    if (in_sum && terms.share != 0.0) {
        const T power =
            exp((pair.logit - static_cast<T>(terms.top)) - static_cast<T>(terms.log_total));
        weight = power * static_cast<T>(terms.share) - static_cast<T>(terms.even);
    }
    if (positive) weight -= static_cast<T>(terms.wanted * pair.weight);
    return weight;
}

template <class T>
__global__ void __launch_bounds__(block_threads)
    weigh_pairs(const __grid_constant__ DotBlock<T> block,
                const __grid_constant__ SoftmaxOptions options,
                const __grid_constant__ RowTerms rows, const SoftmaxTerms* of_rows,
                const SoftmaxTerms* of_cols) {
    const int64_t i = row_of_warp_in_block();
    if (i >= block.rows) return;
    const int64_t row = block.first_row + i;
    const T scale = static_cast<T>(rows.scales ? rows.scales[row] : rows.scale);
    Sum by_scale;
    for (int64_t j = lane_in_warp(); j < block.cols; j += 32) {
        const LogitOfPair<T> pair = logit_of(block, options, rows, i, j);
        T weight = T(0);
        if (of_rows) weight += weight_of(pair, of_rows[row], pair.in_row);
        if (of_cols) weight += weight_of(pair, of_cols[block.first_col + j], pair.in_col);
        by_scale.push(static_cast<double>(weight) * static_cast<double>(pair.phi));
        put_weight(block, i, j, weight * scale * pair.slope);
    }
    by_scale = merged_lanes(by_scale);
    if (lane_in_warp() == 0) rows.by_scale[row] += by_scale.finish();
}

}  // namespace

template <class T>
void softmax_limits(const DotBlock<T>& block, const int64_t* targets, double margin,
                    double* row_limits, double* col_limits, cudaStream_t stream) {
    launch("softmax limits", limits_of<T>, thread_each(block.rows), block_threads, stream, block,
           targets, margin, row_limits, col_limits);
}

template <class T>
void softmax_states(const DotBlock<T>& block, const SoftmaxOptions& options, const RowTerms& rows,
                    SoftmaxState* of_rows, SoftmaxState* of_cols, cudaStream_t stream) {
    if (of_rows) {
        launch("softmax rows of a block", fold_rows<T>, warp_per_row(block.rows), block_threads,
               stream, block, options, rows, of_rows);
    }
    if (of_cols) {
        launch("softmax columns of a block", fold_columns<T>, columns_in_blocks(block.cols),
               block_threads, stream, block, options, rows, of_cols);
    }
}

void softmax_empty(SoftmaxState* states, int64_t count, cudaStream_t stream) {
    launch("softmax states", no_states, thread_each(count), block_threads, stream, states, count);
}

void softmax_loss_end(const SoftmaxLossEnd& end, cudaStream_t stream) {
    launch("softmax losses", end_losses, thread_each(end.count), block_threads, stream, end);
}

template <class T>
void softmax_block_weights(const DotBlock<T>& block, const SoftmaxOptions& options,
                           const RowTerms& rows, const SoftmaxTerms* of_rows,
                           const SoftmaxTerms* of_cols, cudaStream_t stream) {
    launch("softmax weights of a block", weigh_pairs<T>, warp_per_row(block.rows), block_threads,
           stream, block, options, rows, of_rows, of_cols);
}

#define PT_SOFTMAX(T)                                                                              \
    template void softmax_limits(const DotBlock<T>&, const int64_t*, double, double*, double*,     \
                                 cudaStream_t);                                                    \
    template void softmax_states(const DotBlock<T>&, const SoftmaxOptions&, const RowTerms&,       \
                                 SoftmaxState*, SoftmaxState*, cudaStream_t);                      \
    template void softmax_block_weights(const DotBlock<T>&, const SoftmaxOptions&,                 \
                                        const RowTerms&, const SoftmaxTerms*, const SoftmaxTerms*, \
                                        cudaStream_t);
PT_SOFTMAX(float)
PT_SOFTMAX(double)
#undef PT_SOFTMAX

}  // namespace pairtile::gpu
