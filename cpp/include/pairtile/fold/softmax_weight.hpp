// The scalar map of the contrastive backward contraction: ∂loss/∂S of one pair that is not a
// positive. Out_row += W·B and Out_col += Wᵀ·A turn it into gradients.
#pragma once

#include "pairtile/math.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// u e^{S − lse}: what a softmax row (or column) of weight u gives to a pair of logit S. The
// log-sum-exp comes as the sum of two numbers, the second of which one would round away.
template <class T>
PAIRTILE_HD T softmax_weight(T logit, T upstream, T high, T low) {
    return upstream * exponential((logit - high) - low);
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
