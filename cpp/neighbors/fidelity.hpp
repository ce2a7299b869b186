// How a generated set lies beside the real one, beyond counts within radii: the largest ratio of a
// radius to a distance (realism) and products of distances (probabilistic precision and recall).
#pragma once

#include "engine/parallel_for.hpp"
#include "neighbors/request.hpp"

namespace pairtile {

// ratios[i] = max over references j of radii[j] / d_ij: +∞ where a distance is 0, and 0 where there
// is nothing to compare. References of negative radius are left out. Exact: every ratio that may be
// the largest is taken from its canonical value.
void largest_radius_ratios(const SearchRequest& request, const double* radii, Control& control,
                           double* ratios);

// row_products[i] = Π_j min(1, d_ij / row_radius) and col_products[j] = Π_i min(1, d_ij /
// col_radius), 1 where a radius is 0. Each factor is within 2⁻³⁸ of the canonical one, relatively.
void distance_products(const SearchRequest& request, double row_radius, double col_radius,
                       Control& control, double* row_products, double* col_products);

}  // namespace pairtile
