// The farthest row of the same group.
#pragma once

#include "engine/parallel_for.hpp"
#include "neighbors/request.hpp"

namespace pairtile {

// For each row of a set, which is the queries and the references, the ordered canonical value and
// the index of the farthest other row of its group; of equal values the smallest index. NaN and −1
// where there is none. Not for metrics that have the largest values first.
void farthest_of_group(const SearchRequest& request, const int64_t* groups, Control& control,
                       double* values, int64_t* indices);

}  // namespace pairtile
