// Histograms of the distances of a sample by what its rows have in common.
#pragma once

#include "engine/parallel_for.hpp"
#include "neighbors/request.hpp"
#include "pairtile/fold/histogram.hpp"

namespace pairtile {

// Over the pairs i < j of a set, which is the queries and the references: `same`
// (groups × bins) counts the ordered canonical values of pairs of one group, `different` (bins)
// all others; zeroed by the caller. A value that is NaN is counted nowhere. Groups are 0, 1, ….
struct Histograms {
    int64_t* same;
    int64_t* different;
};
void distance_histogram(const SearchRequest& request, const int64_t* groups, const Bins& bins,
                        Control& control, const Histograms& out);

}  // namespace pairtile
