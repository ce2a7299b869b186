// Euclidean distance: ordered by its square, so that no root can merge two neighbours.
#pragma once

#include "pairtile/math.hpp"
#include "pairtile/metric/sqeuclidean.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Euclidean : SquaredEuclidean {
    static PAIRTILE_HD double reported(double ordered) { return root(ordered); }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
