// Exact k nearest neighbours: the selection fold on the CPU.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "engine/parallel_for.hpp"
#include "engine/precision.hpp"
#include "engine/source.hpp"
#include "pairtile/fold/predicate.hpp"
#include "pairtile/metric/metric.hpp"

namespace pairtile {

struct Index;

// The value neighbours are ordered by instead of the distance: lists of parts of the references,
// asked for as this, merge exactly. Missing neighbours have NaN.
struct Ordered {
    double value;
};

// distances (n, k) as D: float, double or Ordered; indices (n, k). Missing neighbours: index −1 and
// an infinite distance. `index`: the references packed before, for this metric. `nonfinite` is set
// where a reference, read without an index, holds NaN or Inf; overflow under a map may set it too.
// Returns how many pairs were rescored by their canonical values.
template <class D>
int64_t knn(Source queries, Source references, int64_t k, const Metric& metric,
            const Predicate& predicate, Precision precision, Control& control, D* distances,
            int64_t* indices, const Index* index = nullptr, std::atomic<bool>* nonfinite = nullptr);

// The least memory that a search for k neighbours of rows of d features can be held to.
int64_t least_knn_memory(int64_t d, int64_t k);

// The n × m matrix of distances, for small inputs and for checking.
template <class D>
void pairwise_distances(Source x, Source y, const Metric& metric, Control& control, D* distances);

}  // namespace pairtile
