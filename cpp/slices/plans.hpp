// Transport plans in d dimensions that lines give: rows are joined as their projections are, and
// each piece is paid by the distance of its rows in space. An upper bound on W_p, with a plan.
#pragma once

#include <cstdint>
#include <vector>

#include "slices/slices.hpp"

namespace pairtile {

// distances[l] = (Σ mass · ‖x_i − y_j‖^p)^{1/p} over the monotone coupling along direction l.
template <class T>
void plan_distances(const Slices& slices, const Transport& transport, double* distances,
                    Control& control);

// A sparse plan, by row and then by column; each pair once, masses above 0.
struct Plan {
    std::vector<int64_t> rows, columns;
    std::vector<double> mass;
};

// The mean of the couplings along all directions, and the distances of each.
template <class T>
Plan mean_plan(const Slices& slices, const Transport& transport, double* distances,
               Control& control);

}  // namespace pairtile
