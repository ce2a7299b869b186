// All distances, one by one.
#pragma once

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"
#include "pairtile/metric/metric.hpp"

namespace pairtile {

// The n × m matrix of distances, for small inputs and for checking.
template <class D>
void pairwise_distances(Source x, Source y, const Metric& metric, Control& control, D* distances);

}  // namespace pairtile
