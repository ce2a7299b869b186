// x^e by multiplications and square roots alone: both are rounded correctly everywhere, so the
// power has the same bits on every machine, and neither ever falls as x grows, so nor does it. That
// is what lets a radius be compared with values before their root.
#pragma once

#include "pairtile/math.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// For x >= 0 and e in [2^-10, 2^10]. The whole part of e by repeated squaring, the binary digits of
// its fraction from the last to the first: x^0.b₁b₂… = x^(b₁/2) · √(x^0.b₂…). A root halves the
// relative error made so far; that of the whole part grows with e.
template <class T>
PT_HD T power_of(T x, double e) {
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

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
