// Exact quantiles of the distances of a sample, without storing them.
#pragma once

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"
#include "pairtile/metric/metric.hpp"

namespace pairtile {

// The q-quantile (linear interpolation) of the canonical distances over pairs i < j of `pooled`;
// `squared` asks for the quantile of the squared distances.
double distance_quantile(Source pooled, const Metric& metric, double q, bool squared,
                         Control& control);

}  // namespace pairtile
