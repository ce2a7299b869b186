// The first pairs of all by (value, row, column): one selection for all rows, and one bound.
#pragma once

#include <cstdint>
#include <vector>

#include "neighbors/found_pairs.hpp"
#include "neighbors/request.hpp"

namespace pairtile {

// So many of them, in order; fewer where there are no more. Of a set with itself pairs of i < j.
std::vector<FoundPair> nearest_pairs(const SearchRequest& request, bool itself, int64_t count,
                                     Control& control);

}  // namespace pairtile
