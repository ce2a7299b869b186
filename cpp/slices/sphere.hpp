// Samples on the unit sphere: transport on circles, one distance per plane through the origin.
//
//     project on both vectors of a frame → angle → sort → shift → reduce
//
// The way of `slices.hpp`, on a circle in place of a line. There the plan has a parameter: from
// which point of y the walk along both quantile functions begins.
#pragma once

#include "slices/slices.hpp"

namespace pairtile {

enum class CirclePlan {
    exact,   // of all plans the cheapest
    linear,  // by way of the uniform distribution, for p = 2
};

// distances[l] = W_p of the angles in the plane of the orthonormal columns 2l and 2l + 1 of
// `frames.directions`, in turns. A row that is 0 in the plane has the angle 0.
template <class T>
void circle_distances(const Slices& frames, double p, CirclePlan plan, double* distances,
                      Control& control);

}  // namespace pairtile
