"""Kolmogorov and Smirnov: the distance of two samples on a line, and how often chance makes it.

    two samples -> D, the largest difference of their distribution functions
    samples of at most 10,000 values -> the exact share of lattice paths that leave a band
    larger ones                      -> the law of one sample of nm/(n+m) values

Which of the two holds when is SciPy's rule (`ks_2samp(method="auto")`), and so are the values.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MOST_EXACT = 10_000  # values of the larger sample
_AT_ONCE = 32  # bands that one sweep follows
_TERMS = 1 << 16  # of a sum that are in memory at a time
_SMALL = 140  # values of one sample, up to which the exact law is one matrix power
_CERTAIN = 370.0  # n·x² beyond which no float64 is as small as the probability


def distance(x: Floats, y: Floats) -> float:
    """The largest difference of the distribution functions of two samples, neither empty."""
    module = choose.host_module() if choose.backend() == "cuda" else choose.module(x, y)
    _, _, distances, *_ = module.column_statistics(x[:, None], y[:, None], np.empty(0), workers=1)
    return float(distances[0])


def pvalues(distances: Sequence[float], n: int, m: int) -> list[float]:
    """P(D ≥ d) for two samples of n and m values from one continuous distribution.

    O(n + m) for n = m and for more than 10,000 values; else O((n + m) w) for a band of w values.
    """
    if max(n, m) > _MOST_EXACT:
        size = round(n * m / (n + m))
        return [min(max(one_sample(size, d), 0.0), 1.0) for d in distances]
    steps = math.lcm(n, m)
    heights = [round(d * steps) for d in distances]
    different = sorted({h for h in heights if h > 0})
    if n == m:
        known = {h: _equal_sizes(n, h) for h in different}
    else:
        known = {}
        for first in range(0, len(different), _AT_ONCE):
            some = different[first : first + _AT_ONCE]
            known.update(zip(some, _leaving(n, m, some), strict=True))
    return [min(max(known[h], 0.0), 1.0) if h else 1.0 for h in heights]


def _equal_sizes(n: int, h: int) -> float:
    """Share of the paths from (0, 0) to (n, n) that meet |i − j| = h, by reflection.

    2 Σ_k (−1)^{k+1} C(2n, n − kh) / C(2n, n), from the last term on, so that nothing cancels.
    """
    share = 0.0
    steps = np.arange(h, dtype=np.float64)
    for k in range(n // h, -1, -1):
        factor = float(np.prod((n - k * h - steps) / (n + k * h + steps + 1)))
        share = factor * (1 - share)
    return 2 * share


def _leaving(n: int, m: int, heights: list[int]) -> list[float]:
    """Share of the lattice paths from (0, 0) to (m, n) with |i/m − j/n| ≥ h/lcm somewhere.

    For every h of an ascending list. A path comes to (i, j) from (i − 1, j) with probability
    i/(i + j), else from (i, j − 1): all points with one i + j follow from those of the step before.
    """
    if n > m:
        n, m = m, n
    common = math.gcd(n, m)
    per_i, per_j = n // common, m // common
    h = np.array(heights, dtype=np.int64)[:, None]
    widest = heights[-1]
    # share[:, j + 1] is that of the paths to (step − j, j) which have left; 1 outside of the band
    share = np.ones((len(heights), n + 3))
    first = -(-heights[0] // per_j)  # before this step no path can have left
    share[:, : first + 1] = 0.0
    low = 0
    for step in range(first, n + m + 1):
        before = low
        middle = per_i * step
        low = max(0, step - m, (middle - widest) // (per_i + per_j) + 1)
        high = min(n, step, -((-middle - widest) // (per_i + per_j)) - 1)
        if high < low:
            return [1.0] * len(heights)
        j = np.arange(low, high + 1)
        here = share[:, low + 1 : high + 2] * (step - j)
        here += share[:, low : high + 1] * j
        here /= step
        if len(heights) > 1:
            here[np.abs(middle - (per_i + per_j) * j) >= h] = 1.0
        share[:, before + 1 : low + 1] = 1.0
        share[:, low + 1 : high + 2] = here
    return [float(p) for p in share[:, n + 1]]


def one_sample(n: int, x: float) -> float:
    """P(D_n ≥ x) of one sample of n values and the distribution that they are from.

    Exact up to 140 values and wherever the probability is small; else the expansion of Pelz and
    Good (1976), whose error is below 1e-9 there.
    """
    nx = n * x
    if nx <= 0.5:
        return 1.0
    if x >= 1:
        return 0.0
    if nx <= 1:
        return 1 - math.exp(math.lgamma(n + 1) - n * math.log(n) + n * math.log(2 * nx - 1))
    square = nx * x
    if square >= _CERTAIN:
        return 0.0
    if x >= 0.5 or square >= (4.0 if n <= _SMALL else 2.2):
        return 2 * _one_sided(n, x)  # the two sides do not meet, or all but never
    if n <= _SMALL or (n <= 100_000 and nx * math.sqrt(x) <= 1.4):
        return 1 - _durbin(n, x)
    return 1 - _pelz_good(n, x)


def _one_sided(n: int, x: float) -> float:
    """P(D_n⁺ ≥ x) = x Σ_{j ≤ n(1−x)} C(n, j) (x + j/n)^{j−1} (1 − x − j/n)^{n−j} (Smirnov)."""
    count, total = math.floor(n * (1 - x)) + 1, 0.0
    for start in range(0, count, _TERMS):
        j = np.arange(start, min(start + _TERMS, count), dtype=np.float64)
        left = 1 - x - j / n
        j, left = j[left > 0], left[left > 0]
        logarithms = math.lgamma(n + 1) - _log_factorial(j) - _log_factorial(n - j)
        logarithms += (j - 1) * np.log(x + j / n) + (n - j) * np.log(left)
        total += float(np.exp(logarithms).sum())
    return x * total


def _log_factorial(j: Floats) -> Floats:
    """Of whole numbers: Stirling's series, from 10 on."""
    small = j < 10
    k = np.where(small, 10.0, j)
    square = k * k
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * square)) / square) / square) / k
    large: Floats = (k + 0.5) * np.log(k) - k + math.log(2 * math.pi) / 2 + series
    large[small] = [math.lgamma(v + 1) for v in j[small]]
    return large


def _durbin(n: int, x: float) -> float:
    """P(D_n < x) as an entry of the n-th power of a matrix (Marsaglia, Tsang and Wang, 2003)."""
    k = math.floor(n * x) + 1
    size, rest = 2 * k - 1, k - n * x
    rows, columns = np.indices((size, size))
    matrix = np.where(rows - columns + 1 >= 0, 1.0, 0.0)
    powers = rest ** np.arange(1, size + 1)
    matrix[:, 0] -= powers
    matrix[-1] -= powers[::-1]
    if 2 * rest > 1:
        matrix[-1, 0] += (2 * rest - 1) ** size
    factorials = np.array([math.lgamma(i + 1) for i in range(size + 1)])
    matrix *= np.exp(-factorials[np.clip(rows - columns + 1, 0, None)])
    # the power by squaring, numbers kept near 1
    power, exponent, square, of_square, left = np.eye(size), 0.0, matrix, 0.0, n
    while left:
        if left & 1:
            power, exponent = power @ square, exponent + of_square
            largest = float(power.max())
            power, exponent = power / largest, exponent + math.log(largest)
        square, of_square = square @ square, 2 * of_square
        largest = float(square.max())
        square, of_square = square / largest, of_square + math.log(largest)
        left >>= 1
    logarithm = math.lgamma(n + 1) - n * math.log(n) + exponent
    return float(power[k - 1, k - 1]) * math.exp(logarithm)


def _pelz_good(n: int, x: float) -> float:
    """P(D_n < x) up to n^{−3/2}: the limit law and three corrections, as theta functions."""
    z = math.sqrt(n) * x
    pi2 = math.pi**2
    terms = math.ceil(16 * z / math.pi)
    odd = 2 * np.arange(1, terms + 1, dtype=np.float64) - 1
    o2 = odd**2
    theta = np.exp(-pi2 * o2 / (8 * z**2))
    a2, a4, a6 = pi2 * o2 / 4, (pi2 * o2) ** 2 / 16, (pi2 * o2) ** 3 / 64
    first = theta.sum() / z
    second = (theta * (a2 - z**2)).sum() / (6 * z**4)
    third = 6 * z**6 + 2 * z**4 + (2 * z**4 - 5 * z**2) * a2 + (1 - 2 * z**2) * a4
    fourth = (
        -30 * z**6
        - 90 * z**8
        + (135 * z**4 - 96 * z**6) * a2
        + (212 * z**4 - 60 * z**2) * a4
        + (5 - 30 * z**2) * a6
    )
    every = np.arange(1, terms + 1, dtype=np.float64) ** 2
    even = every * np.exp(-pi2 * every / (2 * z**2))
    of_third = (theta * third).sum() / (72 * z**7) - pi2 * even.sum() / (36 * z**3)
    of_fourth = (theta * fourth).sum() / (6480 * z**10)
    of_fourth += (even * (3 * z**2 - pi2 * every)).sum() * pi2 / (216 * z**6)
    series: Any = first + second / math.sqrt(n) + of_third / n + of_fourth / n**1.5
    return float(math.sqrt(2 * math.pi) * series)
