// exp, log and friends as straight-line scalar code that a compiler turns into vector code.
//
// Bounds (checked in tests/cpp): exponential 2 ulp, logarithm 2 ulp, over the ranges in which the
// kernels use them. exponential() gives 0 below the smallest normal result and +inf above the
// largest; NaN stays NaN.
#pragma once

#include <cmath>
#include <cstring>

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <class To, class From>
PAIRTILE_HD To bits_as(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To out;
    memcpy(&out, &value, sizeof out);
    return out;
}

PAIRTILE_HD float root(float x) { return __builtin_sqrtf(x); }
PAIRTILE_HD double root(double x) { return __builtin_sqrt(x); }

// e^x = 2^n e^r with n = round(x / ln 2): adding 1.5·2^23 (2^52) rounds to an integer that then
// sits in the low bits, ready to be added to the exponent.
PAIRTILE_HD float exponential_within(float x) {  // -87.3 <= x <= 88.3
    const float shifted = mul_add(x, 1.44269504088896341f, 12582912.0f);
    const float n = shifted - 12582912.0f;
    float r = mul_add(n, -0.693145751953125f, x);
    r = mul_add(n, -1.42860682030941723e-6f, r);
    float p = 0.00139262508315f;
    p = mul_add(p, r, 0.00836323288368f);
    p = mul_add(p, r, 0.041666554213f);
    p = mul_add(p, r, 0.166665766661f);
    p = mul_add(p, r, 0.5f);
    p = mul_add(p, r * r, r) + 1.0f;
    const uint32_t exponent = bits_as<uint32_t>(shifted) << 23;
    return bits_as<float>(bits_as<uint32_t>(p) + exponent);
}
PAIRTILE_HD float exponential(float x) {
    const float y = exponential_within(x > 88.3f ? 88.3f : (x < -87.3f ? -87.3f : x));
    return x < -87.3f ? 0.0f : (x > 88.3f ? __builtin_inff() : (x == x ? y : x));
}

PAIRTILE_HD double exponential_within(double x) {  // -708 <= x <= 709
    const double shifted = mul_add(x, 1.4426950408889634074, 6755399441055744.0);
    const double n = shifted - 6755399441055744.0;
    double r = mul_add(n, -0.693147180369123816490, x);
    r = mul_add(n, -1.90821492927058770002e-10, r);
    double p = 2.5100472505694996003e-8;
    p = mul_add(p, r, 2.7620201591031548792e-7);
    p = mul_add(p, r, 2.7557268276905696187e-6);
    p = mul_add(p, r, 0.000024801521057868205199);
    p = mul_add(p, r, 0.00019841269863571556026);
    p = mul_add(p, r, 0.0013888888917368080562);
    p = mul_add(p, r, 0.0083333333333300381973);
    p = mul_add(p, r, 0.041666666666623820532);
    p = mul_add(p, r, 0.1666666666666666746);
    p = mul_add(p, r, 0.5);
    p = mul_add(p, r * r, r) + 1.0;
    const uint64_t exponent = bits_as<uint64_t>(shifted) << 52;
    return bits_as<double>(bits_as<uint64_t>(p) + exponent);
}
PAIRTILE_HD double exponential(double x) {
    const double y = exponential_within(x > 709.0 ? 709.0 : (x < -708.0 ? -708.0 : x));
    return x < -708.0 ? 0.0 : (x > 709.0 ? __builtin_inf() : (x == x ? y : x));
}

// The same for x <= 88, without what only larger ones need: half the instructions. NaN stays NaN,
// for its exponent is all ones and what is added to it is 0.
PAIRTILE_HD float exponential_of_at_most_88(float x) {
    const float y = exponential_within(x < -87.3f ? -87.3f : x);
    return x < -87.3f ? 0.0f : y;
}
PAIRTILE_HD double exponential_of_at_most_88(double x) {
    const double y = exponential_within(x < -708.0 ? -708.0 : x);
    return x < -708.0 ? 0.0 : y;
}

// log x = n ln 2 + 2 atanh(s), s = (m-1)/(m+1), m in [sqrt(1/2), sqrt 2). For x > 0 and normal;
// log 0 = -inf, and NaN for anything else.
PAIRTILE_HD float logarithm(float x) {
    const uint32_t u = bits_as<uint32_t>(x);
    const int32_t n = static_cast<int32_t>(u - 0x3f3504f3u) >> 23;
    const float m = bits_as<float>(u - (static_cast<uint32_t>(n) << 23));
    const float f = m - 1.0f;
    const float s = f / (m + 1.0f);
    const float z = s * s;
    float p = 0.29580985929974422621f;
    p = mul_add(p, z, 0.39988757616847003f);
    p = mul_add(p, z, 0.66666685095429068746f);
    // 2s = f - s f keeps the leading term exact, the polynomial corrects it
    const float y = f - s * (f - z * p);
    const float k = static_cast<float>(n);
    const float value = mul_add(k, 0.693145751953125f, mul_add(k, 1.42860682030941723e-6f, y));
    return x > 0.0f ? value : (x == 0.0f ? -__builtin_inff() : __builtin_nanf(""));
}

PAIRTILE_HD double logarithm(double x) {
    const uint64_t u = bits_as<uint64_t>(x);
    const int64_t n = static_cast<int64_t>(u - 0x3fe6a09e667f3bcdull) >> 52;
    const double m = bits_as<double>(u - (static_cast<uint64_t>(n) << 52));
    const double f = m - 1.0;
    const double s = f / (m + 1.0);
    const double z = s * s;
    double p = 0.1308803485092755383;
    p = mul_add(p, z, 0.13268638369266823879);
    p = mul_add(p, z, 0.15386244737621666606);
    p = mul_add(p, z, 0.18181795547521136235);
    p = mul_add(p, z, 0.22222222392581045097);
    p = mul_add(p, z, 0.28571428570799785031);
    p = mul_add(p, z, 0.40000000000000883236);
    p = mul_add(p, z, 0.66666666666666666463);
    const double y = f - s * (f - z * p);
    // |n| < 2^11: the 32-bit conversion is the one that every instruction set vectorises
    const double k = static_cast<double>(static_cast<int32_t>(n));
    const double value =
        mul_add(k, 0.693147180369123816490, mul_add(k, 1.90821492927058770002e-10, y));
    return x > 0.0 ? value : (x == 0.0 ? -__builtin_inf() : __builtin_nan(""));
}

// log(1 + x) for x >= 0: what rounding 1 + x loses is put back as a factor.
template <class T>
PAIRTILE_HD T logarithm_of_one_plus(T x) {
    const T sum = T(1) + x;
    const T rounded = sum - T(1);
    return rounded > T(0) ? logarithm(sum) * (x / rounded) : x;
}

// Calls loop(f), f(x) = log(1 + p x) for p, x >= 0, whose product may be beyond float64 if p is as
// large as rates beside packed rows are when these were very large.
template <class T, class Loop>
PAIRTILE_HD void logarithm_of_one_plus_products(T p, Loop loop) {
    if (sizeof(T) == 8 && p > T(0x1p100)) {
        const T one = T(1) / p, log_of_p = logarithm(p);
        loop([=](T x) { return logarithm(one + x) + log_of_p; });
    } else {
        loop([=](T x) { return logarithm_of_one_plus(p * x); });
    }
}

// x^a for x >= 0: 0^a is 0 for a > 0 and +inf for a < 0.
template <class T>
PAIRTILE_HD T power(T x, T a) {
    return exponential(a * logarithm(x));
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
