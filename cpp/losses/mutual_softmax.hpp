// One set among itself as a block of a larger loss, whose positives are in other blocks: a
// triangle, each pair for both its rows, which may differ in whether they leave it out.
#pragma once

#include "losses/softmax.hpp"

namespace pairtile {

template <class T>
void mutual_states(const LogitRequest& request, const SoftmaxOptions& options,
                   const SoftmaxStates& out);

template <class T>
void mutual_gradients(const LogitRequest& request, const SoftmaxOptions& options,
                      const SoftmaxSides& sides, SoftmaxLosses<T>& out);

}  // namespace pairtile
