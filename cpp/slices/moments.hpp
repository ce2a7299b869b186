// Means and variances of the columns of a sample, weights counted: what control variates are told
// of the data beside its projections.
#pragma once

#include <cstdint>

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"

namespace pairtile {

// means[j] = Σ w x_j / Σ w and variances[j] = Σ w (x_j − means[j])² / Σ w over the rows; null
// weights are equal ones. Nothing cancels where values lie far from 0.
void column_moments(const Array& x, const double* weights, double* means, double* variances,
                    Control& control);

}  // namespace pairtile
