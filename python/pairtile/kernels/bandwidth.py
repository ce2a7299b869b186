"""Bandwidth rules: what `sigma="median"` and other tools' rules by name stand for.

A rule looks at the pooled sample once per call and gives a length. Those that are a quantile of
the distances go through the engine, the others need the variance of the columns alone.

    name, pooled sample -> `length_of` -> a number in the unit of the data
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._front import validate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._front.progress import Report

QUANTILE_RULES = ("median", "median:alibi", "median:torchdrift")
RULES = (*QUANTILE_RULES, "mean:alibi", "scale:sklearn", "auto:sklearn")


def _quantile_of(rank: int, pairs: int) -> float:
    """What `numpy.quantile` is asked for the pair of this rank."""
    return rank / (pairs - 1) if pairs > 1 else 0.0


def _column_moments(
    x: NDArray[Any], y: NDArray[Any] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of each column of the pooled sample and sum of squares about it, in float64.

    Counted from the first row, so that equal rows have squares of exactly 0.
    """
    origin = np.asarray(validate.host(x[:1]), dtype=np.float64)[0]
    n, mean, squares = 0, np.zeros(x.shape[1]), np.zeros(x.shape[1])
    step = max(1, (1 << 18) // x.shape[1])
    for sample in (x,) if y is None else (x, y):
        for start in range(0, len(sample), step):
            rows = (
                np.asarray(validate.host(sample[start : start + step]), dtype=np.float64) - origin
            )
            shift = rows.mean(axis=0) - mean
            squares += ((rows - rows.mean(axis=0)) ** 2).sum(axis=0)
            squares += shift**2 * (n * len(rows) / (n + len(rows)))
            n += len(rows)
            mean += shift * (len(rows) / n)
    return mean + origin, squares


def length_of(
    rule: str,
    metric: str,
    x: NDArray[Any],
    y: NDArray[Any] | None,
    *,
    workers: int,
    report: Report | None,
) -> float:
    """What a rule gives for the pooled sample of x and y; `median_distance` lists the rules."""
    if rule == "auto:sklearn":
        return math.sqrt(x.shape[1] / 2)
    (x, y), unit = validate.near_one(x, y)
    return unit * _length_near_one(rule, metric, x, y, workers=workers, report=report)


def _length_near_one(
    rule: str,
    metric: str,
    x: NDArray[Any],
    y: NDArray[Any] | None,
    *,
    workers: int,
    report: Report | None,
) -> float:
    n, d = len(x) + (0 if y is None else len(y)), x.shape[1]
    pairs = n * (n - 1) // 2
    if rule in QUANTILE_RULES:
        q, squared = 0.5, False
        if rule == "median:alibi":
            q, squared = _quantile_of((pairs - 1) // 2, pairs), True
        elif rule == "median:torchdrift":
            # the lower median of all n² distances: n zeros, then each pair twice
            twice = (n * n - 1) // 2 - n
            if twice < 0:
                return 0.0
            q = _quantile_of(twice // 2, pairs)
        value: float = choose.module(x, y).distance_quantile(
            x, y, metric, q, squared, workers=workers, progress=report
        )
        return math.sqrt(value / 2) if squared else value
    mean, squares = _column_moments(x, y)
    if rule == "mean:alibi":
        return math.sqrt(float(squares.sum()) / (n - 1))
    # of all n·d numbers about their common mean
    variance = float(squares.sum()) / (n * d) + float(np.var(mean - mean[0]))
    return math.sqrt(d * variance / 2)
