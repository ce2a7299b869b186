// Who lies within a radius: counts per row, per reference or both, and the neighbours themselves.
// The counting fold on the CPU.
#pragma once

#include <cstdint>

#include "engine/parallel_for.hpp"
#include "neighbors/found_pairs.hpp"
#include "neighbors/request.hpp"

namespace pairtile {

// The largest ordered canonical value whose distance, rounded to D, is <= radius (closed) or
// < radius: a pair is inside if and only if its ordered value is not above it.
template <class D>
double ordered_limit(const Metric& metric, D radius, bool closed);

// Counts of pairs inside; null pointers are not asked for.
struct RadiusCounts {
    int64_t* rows = nullptr;
    int64_t* cols = nullptr;
};

// Pairs (i, j) with ordered value <= row_limits[i] are counted into `by_row_limit`, those with
// value <= col_limits[j] into `by_col_limit`; either vector of limits may be null. Counts are 0
// before. Returns how many pairs were computed.
int64_t radius_count(const SearchRequest& request, bool exclude_self, const double* row_limits,
                     const double* col_limits, Control& control, RadiusCounts by_row_limit,
                     RadiusCounts by_col_limit);

// The least memory that counting within radii can be held to, for rows of d features.
int64_t least_radius_memory(int64_t d);

// The pairs inside the limits of their rows; of a set with itself (i, j) and (j, i), i ≠ j, each by
// the limit of its first row.
FoundPairs radius_neighbors(const SearchRequest& request, bool itself, const double* row_limits,
                            Control& control);

// The pairs of an ordered value up to the limit; of a set with itself those of i < j.
FoundPairs pairs_within(const SearchRequest& request, bool itself, double limit, Control& control);

}  // namespace pairtile
