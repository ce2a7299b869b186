// Exact k nearest neighbours: the selection fold on the CPU.
#pragma once

#include <cstdint>

#include "engine/parallel_for.hpp"
#include "engine/plan.hpp"
#include "neighbors/request.hpp"
#include "pairtile/fold/predicate.hpp"

namespace pairtile {

// The value neighbours are ordered by instead of the distance: lists of parts of the references,
// asked for as this, merge exactly. Missing neighbours have NaN.
struct Ordered {
    double value;
};

// Pairs that a search computed, those of them that it rescored by their canonical values, and those
// that it computed in full after tiles of lower bounds, -1 where tiles held the values themselves.
struct KnnWork {
    int64_t computed, rescored, finished;
};

// distances (n, k) as D: float, double or Ordered; indices (n, k). Missing neighbours: index −1 and
// an infinite distance.
template <class D>
KnnWork knn(const SearchRequest& request, int64_t k, const Predicate& predicate, Control& control,
            D* distances, int64_t* indices);

// What knn() would do with this request, and how many distances it would compute in full.
struct SearchPlan {
    ScreenPlan plan;
    double full_pairs;
};
SearchPlan plan_knn(const SearchRequest& request, int64_t k, bool exclude_self, Control& control);

// The least memory that a search for k neighbours of rows of d features can be held to.
int64_t least_knn_memory(int64_t d, int64_t k);

}  // namespace pairtile
