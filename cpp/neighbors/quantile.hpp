// Exact quantiles of the distances of a sample, without storing them.
#pragma once

#include "engine/parallel_for.hpp"
#include "neighbors/request.hpp"

namespace pairtile {

// The q-quantile (linear interpolation) of the canonical distances over pairs i < j of a set, which
// is the queries and the references, the nearest first whatever the metric; `squared` asks for the
// quantile of the squared distances.
double distance_quantile(const SearchRequest& request, double q, bool squared, Control& control);

}  // namespace pairtile
