// The place of a reference among the neighbours of a query, and of the query among its own.
#pragma once

#include "engine/parallel_for.hpp"
#include "neighbors/request.hpp"

namespace pairtile {

// Of the pair (i, targets[i]), for each query i: 1 + how many references come before the target in
// the order of the query's neighbours, and 1 + how many queries come before i in that of the
// target's; by ordered canonical values, then index. The pair of a NaN comes last. One sweep for
// both.
void pair_ranks(const SearchRequest& request, const int64_t* targets, Control& control,
                int64_t* among_references, int64_t* among_queries);

}  // namespace pairtile
