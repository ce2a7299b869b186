// Weighted kernels of the pairs of a sweep.
#pragma once

#include "engine/sweep.hpp"
#include "pairtile/kernel/term.hpp"

namespace pairtile::gpu {

// Several that read the same number of a pair, summed before anything else is done with the sum.
constexpr int most_terms = 48;

}  // namespace pairtile::gpu
