// A look at every row of a source.
#pragma once

#include <vector>

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"

namespace pairtile {

// max |x − centre|; infinite where that leaves the range of float64.
double largest_offset(const Source& source, const std::vector<double>& centre, Control& control);

}  // namespace pairtile
