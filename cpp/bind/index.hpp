// The index that a call may be given.
#pragma once

#include "neighbors/index.hpp"

namespace pairtile {

// Itself, if there is one; ValueError where it is not of these references.
const Index* check_index(const Index* index, const Source& references);

}  // namespace pairtile
