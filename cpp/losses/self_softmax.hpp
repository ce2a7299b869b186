// Softmax losses of the rows of one set, none of which is compared with itself: SupCon and NT-Xent.
#pragma once

#include "losses/softmax.hpp"

namespace pairtile {

// The request is a triangle, the positives are by labels.
template <class T>
void self_softmax_losses(const LogitRequest& request, const Positives& positives,
                         SoftmaxLosses<T>& out);

}  // namespace pairtile
