// What a kernel is to the engine.
//
// A kernel is a struct with
//   argument                   which number of a pair it reads
//   value(t, p)                the similarity, for any floating type, from that number
//   log_value(t, p)            its logarithm, which does not underflow; of kernels that are > 0
//   stein(s, p)                value and derivatives by s = d²; of kernels smooth enough
//   slope(t, p)                its derivative by that number; 0 at s = 0 where there is none
//   rescale(p, weight, s)      the same kernel for an argument that carries the factor s
//   recompute_below(p, e, tol, r)  where an argument error e moves the value by more than tol times
//   the
//                              kernel's largest value on arguments up to r: pairs whose argument is
//                              below the returned number are recomputed from canonical values
//   stein_recompute_below(p, e, tol)  optional: the same of stein(), where an error moves that
//   further specialise(p, loop)        optional: value() with what does not depend on the pair
//   decided once specialise_slope(p, loop)  the same of slope()
// Parameters are at most three numbers p[], in the order of the list in registry.hpp's headers.
#pragma once

#include "pairtile/math.hpp"
#include "pairtile/metric/traits.hpp"

namespace pairtile {

enum class Argument : int { squared_distance, l1_distance, dot, cosine };

// The same of two rows, those of `cosine` divided by their norms.
constexpr Quantity quantity_of(Argument argument) {
    if (argument == Argument::squared_distance) return Quantity::squared_distance;
    return argument == Argument::l1_distance ? Quantity::absolute_differences : Quantity::product;
}

constexpr int kernel_params = 3;

// What a Stein kernel is made of: k(s), k'(s) and s k''(s), all finite at s = 0.
template <class T>
struct SteinTerms {
    T value, slope, curvature;
};

inline namespace PAIRTILE_ISA {

// scale · size, 0 where the size is, whatever the scale: the kernel of rows too far apart.
template <class T>
PAIRTILE_HD T vanishing(T scale, T size) {
    return size == T(0) ? T(0) : scale * size;
}

}  // namespace PAIRTILE_ISA

}  // namespace pairtile
