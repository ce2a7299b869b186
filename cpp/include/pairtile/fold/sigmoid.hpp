// What a pair of logit t gives to the sigmoid loss and to its gradient. Both keep their digits
// however small they are.
#pragma once

#include "pairtile/math.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// e^−|t|, of which both are made.
template <class T>
PAIRTILE_HD T exponential_of_size(T t) {
    return exponential_of_at_most_88(t < T(0) ? t : -t);
}

// log(1 + e^t); 0 for −∞.
template <class T>
PAIRTILE_HD T softplus(T t, T small) {
    return (t > T(0) ? t : T(0)) + logarithm_of_one_plus(small);
}
template <class T>
PAIRTILE_HD T softplus(T t) {
    return softplus(t, exponential_of_size(t));
}

// 1/(1 + e^−t), the derivative of softplus.
template <class T>
PAIRTILE_HD T sigmoid(T t, T small) {
    return (t < T(0) ? small : T(1)) / (T(1) + small);
}
template <class T>
PAIRTILE_HD T sigmoid(T t) {
    return sigmoid(t, exponential_of_size(t));
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
