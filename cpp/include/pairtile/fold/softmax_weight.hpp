// The scalar map of the contrastive backward contraction: ∂loss/∂S of one pair, before the
// positives are subtracted. Out_row += W·B and Out_col += Wᵀ·A turn it into gradients.
#pragma once

#include "pairtile/math.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// u e^{S − lse}: what a softmax row (or column) of weight u gives to a pair of logit S.
template <class T>
PT_HD T softmax_weight(T logit, T upstream, T log_sum_exp) {
    return upstream * exponential(logit - log_sum_exp);
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
