// Rows that pairs tie together: which to keep, which belong together, and who stands for them.
#pragma once

#include <cstdint>

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"
#include "pairtile/metric/metric.hpp"

namespace pairtile {

// Pairs (i, j), i < j, in the order of (i, j).
struct PairList {
    int64_t count;
    const int64_t* i;
    const int64_t* j;
};

// A row is kept if no kept one before it is paired with it.
void keep_first(int64_t rows, const PairList& pairs, bool* keep);

// The smallest row that pairs lead to from each row.
void connected_rows(int64_t rows, const PairList& pairs, int64_t* smallest);

// Of each group, members[indptr[g]] to members[indptr[g + 1] − 1], the member with the least sum of
// distances to the others, the first of those that have it. A sum is carried along with its
// rounding errors, in the order of the members.
void group_medoids(Source x, const Metric& metric, int64_t groups, const int64_t* indptr,
                   const int64_t* members, Control& control, int64_t* medoids);

}  // namespace pairtile
