"""Arithmetic with the same bits on every machine, as `pairtile/metric/power.hpp` has it.

+, -, *, / and square roots are rounded correctly everywhere, and nothing else is used.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def power(x: Floats, exponent: float) -> Floats:
    """x^exponent for x >= 0, by roots where no more than one is needed."""
    halves = exponent * 2.0 == int(exponent * 2.0)
    return power_by_roots(x, exponent) if halves else _power_by_logarithm(x, exponent)


def _chop(x: Floats) -> Floats:
    """Without the last 27 bits: the product of two such numbers is exact."""
    chopped: Floats = (x.view(np.uint64) & np.uint64(0xFFFFFFFFF8000000)).view(np.float64)
    return chopped


def _power_by_logarithm(x: Floats, exponent: float) -> Floats:
    """2^(exponent log2 x), the logarithm in two parts; +, -, * and / alone.

    x = m 2^n with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh s with s = (m - 1) / (m + 1).
    """
    m, n = np.frexp(x)
    low = m < 0.70710678118654757
    m, n = np.where(low, 2.0 * m, m), np.where(low, n - 1.0, n)
    f, g = m - 1.0, m + 1.0
    s = f / g
    s_high, g_high = _chop(s), _chop(g)
    s_low = ((f - s_high * g_high) - s_high * (m - (g_high - 1.0))) / g
    z = s * s
    tail = np.full_like(s, 2.0 / 25.0)
    for odd in range(23, 1, -2):
        tail = tail * z + 2.0 / odd
    log_high, log_low = 2.0 * s_high, 2.0 * s_low + s * z * tail
    part = 1.4426950216293335 * log_high
    rest = 1.9259629911266175e-08 * log_high + 1.4426950408889634 * log_low
    high = n + part
    low_part = ((n - high) + part) + rest
    chopped = _chop(high)
    low_part = (high - chopped) + low_part
    front = float(_chop(np.array([exponent]))[0])
    product = front * chopped
    rest = exponent * low_part + (exponent - front) * chopped
    total = np.minimum(np.maximum(product + rest, -1100.0), 1100.0)
    whole = np.rint(total)
    w = ((product - whole) + rest) * 0.69314718055994531
    series = np.full_like(w, 1.0 / math.factorial(13))
    for k in range(12, 1, -1):
        series = series * w + 1.0 / math.factorial(k)
    result = (w * w * series + w) + 1.0
    half = np.rint(0.5 * whole)
    result = np.ldexp(result, half.astype(np.int64))
    result = np.ldexp(result, (whole - half).astype(np.int64))
    result = np.where(total == 1100.0, np.inf, np.where(total == -1100.0, 0.0, result))
    return np.where(x == 0, 0.0, np.where(x < np.inf, result, x))


def log_of_one_plus(x: Floats) -> Floats:
    """log(1 + x) for x >= 0, to 2 units in the last place.

    1 + x = m 2^n with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh s with s = (m - 1) / (m + 1); what
    the rounding of 1 + x loses is added as its share of 1 + x.
    """
    total = x + 1.0
    m, n = np.frexp(total)
    low = m < 0.70710678118654757
    m, n = np.where(low, 2.0 * m, m), np.where(low, n - 1.0, n)
    f = m - 1.0
    s = f / (m + 1.0)
    z = s * s
    p = np.full_like(z, 0.1308803485092755383)
    for coefficient in (
        0.13268638369266823879,
        0.15386244737621666606,
        0.18181795547521136235,
        0.22222222392581045097,
        0.28571428570799785031,
        0.40000000000000883236,
        0.66666666666666666463,
    ):
        p = p * z + coefficient
    log_m = f - s * (f - z * p)
    lost = (x - (total - 1.0)) / total
    value = n * 0.693147180369123816490 + (n * 1.90821492927058770002e-10 + (log_m + lost))
    return np.where(total < np.inf, value, x)


def power_by_roots(x: Floats, exponent: float) -> Floats:
    """x^exponent for x >= 0, by multiplications and square roots alone: it never falls.

    The whole part by repeated squaring, the binary digits of the fraction from the last to the
    first: x^0.b1b2... = x^(b1/2) sqrt(x^0.b2...).
    """
    whole = int(exponent)
    result, square, bits = np.ones_like(x), x, whole
    while bits:
        if bits & 1:
            result = result * square
        square = square * square
        bits >>= 1
    digits, fraction = 62, int((exponent - whole) * 2.0**62)
    if fraction == 0:
        return result
    while not fraction & 1:
        fraction >>= 1
        digits -= 1
    half = np.sqrt(x)
    part = half
    for _ in range(digits - 1):
        fraction >>= 1
        part = np.sqrt(part)
        if fraction & 1:
            part = part * half
    return result * part
