// Losses of the positives and the negatives of each row among the rows of one set: circle and
// multi-similarity loss, value and gradient, in two sweeps over a triangle (three with mining).
#pragma once

#include "losses/logits.hpp"
#include "losses/positives.hpp"

namespace pairtile {

enum class PairLossId { circle, multi_similarity };

struct PairLossOptions {
    PairLossId loss;
    const double* parameters;
    const double* labels;  // rows of equal labels are positives
    // >= 0: a row keeps only negatives with c + this > the least c of its positives, and positives
    // with c − this < the largest c of its negatives
    double mining = -1.0;
};

// Gradients are of Σ_i upstream_i per_row_i, into `gradient` (n × d, zeroed).
template <class T>
void pair_losses(const LogitRequest& request, const PairLossOptions& options, double* per_row,
                 T* gradient);

}  // namespace pairtile
