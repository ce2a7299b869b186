// x^e for x >= 0 and e in [2^-10, 2^10], and log(1 + x), with the same bits on every machine: +, −,
// ·, ÷ and √ are rounded correctly everywhere, and nothing else is used. T is a number, or several
// columns.
#pragma once

#include "pairtile/math.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

PAIRTILE_HD uint64_t bits_of(double x) { return bits_as<uint64_t>(x); }
PAIRTILE_HD double number_of(uint64_t bits) { return bits_as<double>(bits); }

// By multiplications and roots. Neither ever falls as x grows, so nor does the power: that is what
// lets a radius be compared with values before their root.
//
// The whole part of e by repeated squaring, the binary digits of its fraction from the last to the
// first: x^0.b₁b₂… = x^(b₁/2) · √(x^0.b₂…). A root halves the relative error made so far; that of
// the whole part grows with e.
template <class T>
PAIRTILE_HD T power_by_roots(T x, double e) {
    const uint32_t whole = static_cast<uint32_t>(e);
    T result = T{} + 1.0;
    T square = x;
    for (uint32_t bits = whole; bits; bits >>= 1) {
        if (bits & 1u) result = result * square;
        square = square * square;
    }
    int digits = 62;  // 2^-10 ends at the 62nd
    uint64_t fraction = static_cast<uint64_t>((e - whole) * 0x1p62);
    if (fraction == 0) return result;
    for (; !(fraction & 1u); fraction >>= 1) --digits;
    const T half = root(x);
    T part = half;
    while (--digits > 0) {
        fraction >>= 1;
        part = root(part);
        if (fraction & 1u) part = part * half;
    }
    return result * part;
}

// Without the last 27 bits: the product of two such numbers is exact.
template <class T>
PAIRTILE_HD T chop(T x) {
    return number_of(bits_of(x) & 0xfffffffff8000000ull);
}

// 2^(e log₂ x), the logarithm in two parts.
//
// x = m 2^n with m in [√½, √2), log m = 2 atanh s with s = (m − 1) / (m + 1), s in two parts too.
template <class T>
PAIRTILE_HD T power_by_logarithm(T x, double e) {
    constexpr double magic = 6755399441055744.0;  // 1.5·2^52: adding it rounds to an integer
    constexpr uint64_t one = 0x3ff0000000000000ull, from = 0x3fe6a09e667f3bcdull;  // 1, √½
    const T normal = x < 0x1p-1022 ? x * 0x1p54 : x;
    const auto bits = bits_of(normal);
    const auto exponent = (bits + (one - from)) >> 52;  // n + 1023
    const T m = number_of(bits - (exponent << 52) + one);
    const T shift = x < 0x1p-1022 ? T{} + 1077.0 : T{} + 1023.0;
    const T n = number_of(exponent | 0x4330000000000000ull) - 0x1p52 - shift;

    const T f = m - 1.0, g = m + 1.0;
    const T s = f / g;
    const T s_high = chop(s), g_high = chop(g);
    const T s_low = ((f - s_high * g_high) - s_high * (m - (g_high - 1.0))) / g;
    const T z = s * s;
    T tail = T{} + 2.0 / 25.0;
#pragma GCC unroll 16
    for (int odd = 23; odd > 1; odd -= 2) tail = tail * z + 2.0 / odd;
    const T log_high = 2.0 * s_high, log_low = 2.0 * s_low + s * z * tail;
    // 1/ln 2 in two parts, the first of 26 bits
    const T part = 1.4426950216293335 * log_high;
    const T rest = 1.9259629911266175e-08 * log_high + 1.4426950408889634 * log_low;
    const T high = n + part;
    const T low = ((n - high) + part) + rest;

    const T chopped = chop(high);
    const double front = chop(e);
    const T product = front * chopped;
    const T beside = e * ((high - chopped) + low) + (e - front) * chopped;
    T total = product + beside;
    total = total < -1100.0 ? T{} - 1100.0 : total;
    total = total > 1100.0 ? T{} + 1100.0 : total;
    const T whole = (total + magic) - magic;
    const T w = ((product - whole) + beside) * 0.69314718055994531;
    double factorial = 6227020800.0;  // 13!
    T series = T{} + 1.0 / factorial;
#pragma GCC unroll 16
    for (int k = 13; k > 2; --k) {
        factorial /= k;
        series = series * w + 1.0 / factorial;
    }
    // 2^whole in two factors: it may leave the range that its product with the rest is in
    const T half = 0.5 * whole + magic;
    const T other = whole - (half - magic) + magic;
    T result = (w * w * series + w) + 1.0;
    result = result * number_of((bits_of(half) << 52) + one);
    result = result * number_of((bits_of(other) << 52) + one);
    result = total == 1100.0 ? T{} + __builtin_inf() : total == -1100.0 ? T{} : result;
    return x == T{} ? T{} : (x < __builtin_inf() ? result : x);
}

// log(1 + x) for x >= 0, to 2 units in the last place.
//
// 1 + x = m 2^n with m in [√½, √2), log m = 2 atanh s with s = (m − 1) / (m + 1), as in
// logarithm(), but without fused operations; what the rounding of 1 + x loses is added as its share
// of 1 + x.
template <class T>
PAIRTILE_HD T log_of_one_plus(T x) {
    constexpr uint64_t one = 0x3ff0000000000000ull, from = 0x3fe6a09e667f3bcdull;  // 1, √½
    const T sum = x + 1.0;
    const auto bits = bits_of(sum);
    const auto exponent = (bits + (one - from)) >> 52;  // n + 1023
    const T m = number_of(bits - (exponent << 52) + one);
    const T n = number_of(exponent | 0x4330000000000000ull) - 0x1p52 - 1023.0;

    const T f = m - 1.0;
    const T s = f / (m + 1.0);
    const T z = s * s;
    T p = T{} + 0.1308803485092755383;
    p = p * z + 0.13268638369266823879;
    p = p * z + 0.15386244737621666606;
    p = p * z + 0.18181795547521136235;
    p = p * z + 0.22222222392581045097;
    p = p * z + 0.28571428570799785031;
    p = p * z + 0.40000000000000883236;
    p = p * z + 0.66666666666666666463;
    // 2s = f − s f keeps the leading term exact, the polynomial corrects it
    const T log_m = f - s * (f - z * p);
    const T lost = (x - (sum - 1.0)) / sum;
    const T value = n * 0.693147180369123816490 + (n * 1.90821492927058770002e-10 + (log_m + lost));
    return sum < __builtin_inf() ? value : x;
}

// By roots where no more than one is needed.
template <class T>
PAIRTILE_HD T power_of(T x, double e) {
    const double halves = e * 2.0;
    const bool few_roots = halves == static_cast<double>(static_cast<int64_t>(halves));
    return few_roots ? power_by_roots(x, e) : power_by_logarithm(x, e);
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
