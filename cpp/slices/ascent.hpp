// The direction along which two samples are farthest apart: climbs on the sphere, all at once.
//
//     starts -> W_p and its slopes along the points of a few climbs at once <-┐
//                      v                                                      |
//               quasi-Newton steps, by bisection: where each looks next ------┘
//                      v
//     every ten rounds: which climbs go on
//
// log W_p is smooth but where two projections of a sample meet: there it has the ridges of a
// minimum over couplings. BFGS with a bisection that asks for the slope as well as for the value
// climbs along those, too (Lewis and Overton, Nonsmooth optimization via quasi-Newton methods,
// 2013).
#pragma once

#include <cstdint>

#include "slices/slices.hpp"

namespace pairtile {

struct Ascent {
    const double* starts;  // count × d, of length 1
    const double* units;   // W_p there, above 0: powers are of W_p / unit
    int64_t count;
    int64_t rounds;  // points that a climb may look at
    int64_t kept;    // climbs that go on after ten rounds, the highest
    double tol;      // a climb ends where the slope of log W_p is less, or ten rounds gain less
};

// The highest points on the ways from the starts up (count × d), and log W_p there. Slices without
// directions; p is finite.
template <class T>
void climb(const Slices& samples, const Transport& transport, const Ascent& ascent, double* points,
           double* heights, Control& control);

}  // namespace pairtile
