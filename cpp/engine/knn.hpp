// Exact k nearest neighbours: the selection fold on the CPU.
#pragma once

#include <cstdint>
#include <limits>

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"
#include "pairtile/metric/registry.hpp"

namespace pairtile {

enum class Precision { standard, float64, fast };

// Which pairs may be neighbours. Null pointers ask nothing.
struct Predicate {
    bool exclude_self = false;
    const int64_t* query_groups = nullptr;
    const int64_t* reference_groups = nullptr;
    bool same_group = false;
    const double* query_times = nullptr;  // admissible: reference time <= query time
    const double* reference_times = nullptr;
    const int64_t* query_ticks = nullptr;  // the same for integer times
    const int64_t* reference_ticks = nullptr;
    const bool* reference_mask = nullptr;

    bool admits(int64_t i, int64_t j) const {
        if (exclude_self && i == j) return false;
        if (reference_mask && !reference_mask[j]) return false;
        if (query_groups && (query_groups[i] == reference_groups[j]) != same_group) return false;
        if (query_times && !(reference_times[j] <= query_times[i])) return false;
        return !query_ticks || reference_ticks[j] <= query_ticks[i];
    }
};

// distances (n, k) as D, indices (n, k). Missing neighbours: index −1 and an infinite distance.
template <class D>
void knn(Source queries, Source references, int64_t k, MetricId metric, const Predicate& predicate,
         Precision precision, int workers, Control& control, D* distances, int64_t* indices);

// The n × m matrix of distances, for small inputs and for checking.
template <class D>
void pairwise_distances(Source x, Source y, MetricId metric, int workers, Control& control,
                        D* distances);

}  // namespace pairtile
