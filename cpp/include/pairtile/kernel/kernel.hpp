// What a kernel is to the engine.
//
// A kernel is a struct with
//   argument                    which number t of a pair it reads
//   value(t, p)                 the similarity, for any floating type, from that number
//   slope(t, p)                 its derivative by that number; 0 at t = 0 where there is none
//   rescale(p, weight, s)       the same kernel for an argument that carries the factor s
//   recompute_below(p, e, tol, r)  where an argument error e moves the value by more than tol times
//                               the largest value of the kernel on arguments up to r: pairs whose
//                               argument is below the returned number are computed again
// and, where it has them,
//   log_value(t, p)             its logarithm, which does not underflow; of kernels that are > 0
//   stein(s, p)                 value and derivatives by s = d²; of kernels smooth enough
//   stein_recompute_below(p, e, tol)  recompute_below() of stein(), where an error moves that
//   further specialise(p, loop)         value() with what does not depend on the pair decided once
//   specialise_slope(p, loop)   the same of slope()
//   specialise_log_value(p, loop)  the same of log_value()
//   largest_value(p, r)         of |value| on arguments up to r, where that is far beyond 1 and r
//   share_of_error(p, e, t)     what an argument error e moves, as a share of the value at t; of
//                               kernels of products, of which no pair is computed again
//   tabulated                   exp(−p[0] t): a sum of several is read from one table
//   vanishes_beyond(p, share)   the argument beyond which no value is above this share, less than
//   1,
//                               of the largest; of kernels that fall so fast that it is soon
//                               reached
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

// The x beyond which e^{growth(x) − x} is below a share, growth rising ever slower from 0 on, by no
// more than x/2 + 1/2: every step comes nearer to it, from above.
template <class Growth>
double where_tail_is(double share, Growth growth) {
    const double logarithm = -std::log(share);
    double x = 2.0 * logarithm + 1.0;
    for (int step = 0; step < 32; ++step) x = logarithm + growth(x);
    return x;
}

inline namespace PAIRTILE_ISA {

// No more than a limit; NaN stays. Of a rate it costs no pair anything.
template <class T>
PAIRTILE_HD T at_most(T x, T limit) {
    return x > limit ? limit : x;
}

// Beyond the one e^{−x} is 0, beyond the other squares leave the type's range.
template <class T>
constexpr T vanished = T(1000);
template <class T>
constexpr T largest_squared = sizeof(T) == 4 ? T(1e18) : T(1e150);

// scale · size, 0 where the size is, whatever the scale: the kernel of rows too far apart.
template <class T>
PAIRTILE_HD T vanishing(T scale, T size) {
    return size == T(0) ? T(0) : scale * size;
}

}  // namespace PAIRTILE_ISA

}  // namespace pairtile
