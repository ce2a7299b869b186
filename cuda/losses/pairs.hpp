// Losses of the positives and the negatives of each row among the rows of one set: circle and
// multi-similarity loss, as their shared definitions say. A block that is `mirrored` stands for its
// transpose too: its columns are rows as well, others than its rows.
#pragma once

#include "losses/block.hpp"
#include "pairtile/fold/log_sum_exp.hpp"

namespace pairtile::gpu {

enum class PairLossId : int { circle, multi_similarity };

struct PairLossRule {
    PairLossId loss;
    double parameters[3];
    PairRule positives;  // labels of one set
    // >= 0: a row keeps only negatives with c + this > the least c of its positives, and positives
    // with c − this < the largest c of its negatives
    double mining;
};

// The least similarity of the positives of a row, and the largest of its negatives.
struct PairExtremes {
    double least = INFINITY, largest = -INFINITY;

    PAIRTILE_HD void merge(const PairExtremes& other) {
        if (!(other.least >= least)) least = other.least;
        if (!(other.largest <= largest)) largest = other.largest;
    }
};

struct PairState {
    LogSumExp positives, negatives;

    PAIRTILE_HD void merge(const PairState& other) {
        positives.merge(other.positives);
        negatives.merge(other.negatives);
    }
};

// ∂loss/∂c of a pair: factor · e^{logit − log_sum} · slope, by the side that it is on.
struct PairTerms {
    double of_positives, of_negatives;  // log-sum-exps
    double by_positives, by_negatives;  // with the share of the row
};

void pair_extremes_empty(PairExtremes* extremes, int64_t count, cudaStream_t stream);
template <class T>
void pair_extremes(const DotBlock<T>& block, const PairRule& positives, PairExtremes* extremes,
                   bool mirrored, cudaStream_t stream);
void pair_states_empty(PairState* states, int64_t count, cudaStream_t stream);
template <class T>
void pair_states(const DotBlock<T>& block, const PairLossRule& rule, const PairExtremes* extremes,
                 PairState* states, bool mirrored, cudaStream_t stream);
// Losses of rows; terms: null where no gradients are wanted.
void pair_losses_end(const PairLossRule& rule, const PairState* states, int64_t count,
                     const double* shares, double* losses, PairTerms* terms, cudaStream_t stream);
template <class T>
void pair_block_weights(const DotBlock<T>& block, const PairLossRule& rule,
                        const PairExtremes* extremes, const PairTerms* terms, bool mirrored,
                        cudaStream_t stream);

}  // namespace pairtile::gpu
