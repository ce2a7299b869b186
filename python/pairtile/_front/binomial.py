"""How often something happened in so many trials, and what follows: a tail, an interval.

P(X ≥ k) of a binomial X is a regularised incomplete beta function, and its inverse is the end of a
Clopper–Pearson interval.

    successes, trials -> beta_cdf -> upper_tail | beta_quantile -> clopper_pearson
"""

from __future__ import annotations

import math


def _stirling_error(n: float) -> float:
    """Log n! − log(√(2πn) (n/e)^n)."""
    if n < 16:
        return math.lgamma(n + 1) - (n + 0.5) * math.log(n) + n - 0.5 * math.log(2 * math.pi)
    q = 1 / (n * n)
    return (1 / 12 - q * (1 / 360 - q * (1 / 1260 - q * (1 / 1680 - q / 1188)))) / n


def _deviance(x: float, mean: float) -> float:
    """X log(x/mean) + mean − x, without the cancellation near x = mean (Loader)."""
    if abs(x - mean) >= 0.1 * (x + mean):
        return x * math.log(x / mean) + mean - x
    v = (x - mean) / (x + mean)
    total, power, j = (x - mean) * v, 2 * x * v, 1
    while True:
        power *= v * v
        grown = total + power / (2 * j + 1)
        if grown == total:
            return total
        total, j = grown, j + 1


def _log_front(x: float, a: float, b: float) -> float:
    """Log of x^a (1 − x)^b Γ(a + b) / (Γ(a) Γ(b)), for a, b ≥ 1."""
    n = a + b
    return (
        _stirling_error(n)
        - _stirling_error(a)
        - _stirling_error(b)
        - _deviance(a, n * x)
        - _deviance(b, n * (1 - x))
        + 0.5 * math.log(a * b / (2 * math.pi * n))
    )


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b), for a, b ≥ 1."""
    if not 0 < x < 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    # continued fraction, from the front (Lentz)
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 / (1 + step * d)
            c = 1 + step / c
            value *= c * d
        if abs(c * d - 1) < 2.0**-52:
            break
    return math.exp(_log_front(x, a, b)) * value / a


def beta_quantile(q: float, a: float, b: float) -> float:
    """The x at which `beta_cdf` is q, by Newton's steps inside a shrinking bracket."""
    low, high = 0.0, 1.0
    x = a / (a + b)
    for _ in range(200):
        excess = beta_cdf(x, a, b) - q
        if excess > 0:
            high = x
        else:
            low = x
        slope = math.exp(_log_front(x, a, b)) / (x * (1 - x))
        step = x - excess / slope if slope > 0 else low
        if not low < step < high:
            step = (low + high) / 2
        if abs(step - x) <= 2.0**-50 * x:
            break
        x = step
    return x


def upper_tail(successes: int, trials: int, chance: float = 0.5) -> float:
    """P(X ≥ successes) of a binomial X."""
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    return beta_cdf(chance, successes, trials - successes + 1)


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of chances under which neither tail at `successes` is rarer than it may be."""
    tail, failures = (1 - confidence) / 2, trials - successes
    low = beta_quantile(tail, successes, failures + 1) if successes else 0.0
    high = beta_quantile(1 - tail, successes + 1, failures) if failures else 1.0
    return low, high
