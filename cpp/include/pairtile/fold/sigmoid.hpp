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

// log(1 + x) of 0 <= x <= 1 as 2 atanh(x / (2 + x)), without parting the power of two from 1 + x.
// Of floats within 2 ulp.
PAIRTILE_HD float logarithm_of_one_plus_part(float x) {
    const float s = x / (2.0f + x), z = s * s;
    float p = 0.26867549346f;
    p = mul_add(p, z, 0.282339559193f);
    p = mul_add(p, z, 0.400076708619f);
    p = mul_add(p, z, 0.666666396656f);
    return mul_add(p * z, s, s + s);
}
PAIRTILE_HD double logarithm_of_one_plus_part(double x) { return logarithm_of_one_plus(x); }

// log(1 + e^t); 0 for −∞.
template <class T>
PAIRTILE_HD T softplus(T t, T small) {
    return (t > T(0) ? t : T(0)) + logarithm_of_one_plus_part(small);
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
