// What a pair of logit t gives to the sigmoid loss and to its gradient. Both keep their digits
// however small they are.
#pragma once

#include "pairtile/math.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// log(1 + e^t); 0 for −∞.
template <class T>
PAIRTILE_HD T softplus(T t) {
    const T size = t < T(0) ? -t : t;
    return (t > T(0) ? t : T(0)) + logarithm_of_one_plus(exponential(-size));
}

// 1/(1 + e^−t), the derivative of softplus.
template <class T>
PAIRTILE_HD T sigmoid(T t) {
    return T(1) / (T(1) + exponential(-t));
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
