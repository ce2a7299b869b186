// Which pairs may be neighbours: asked inside the tile, so that nobody over-fetches and filters.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// Null pointers ask nothing.
struct Predicate {
    bool exclude_self = false;
    bool earlier = false;  // j < i
    const int64_t* query_groups = nullptr;
    const int64_t* reference_groups = nullptr;
    bool same_group = false;
    const double* query_times = nullptr;  // admissible: reference time <= query time
    const double* reference_times = nullptr;
    const int64_t* query_ticks = nullptr;  // the same for integer times
    const int64_t* reference_ticks = nullptr;
    const bool* reference_mask = nullptr;

    // Whether all pairs but those of a row with itself are admissible.
    PAIRTILE_HD bool admits_others() const {
        return !earlier && !reference_mask && !query_groups && !query_times && !query_ticks;
    }
    PAIRTILE_HD bool admits(int64_t i, int64_t j) const {
        if (exclude_self && i == j) return false;
        if (earlier && j >= i) return false;
        if (reference_mask && !reference_mask[j]) return false;
        if (query_groups && (query_groups[i] == reference_groups[j]) != same_group) return false;
        if (query_times && !(reference_times[j] <= query_times[i])) return false;
        return !query_ticks || reference_ticks[j] <= query_ticks[i];
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
