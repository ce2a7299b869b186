// The first pairs of all by (value, row, column): one selection for all rows, and one bound.
#pragma once

#include <cstdint>
#include <vector>

#include "neighbors/found_pairs.hpp"
#include "neighbors/request.hpp"

namespace pairtile {

struct NearestPairsFound {
    std::vector<FoundPair> pairs;  // in order
    int64_t computed;              // of how many pairs the distance was computed
};

// So many of them; fewer where there are no more. Of a set with itself pairs of i < j.
NearestPairsFound nearest_pairs(const SearchRequest& request, bool itself, int64_t count,
                                Control& control);

}  // namespace pairtile
