// One pass over an array before anything is computed: is every number finite?
#pragma once

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"

namespace pairtile {

// The first row that holds NaN or Inf, −1 if none.
int64_t first_nonfinite(const Array& array, Control& control);

}  // namespace pairtile
