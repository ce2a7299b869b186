"""Each column by itself: did its distribution change, how much, and by how likely a chance.

    Feature -> Kolmogorov distance or χ² -> p-value -> Holm over the columns -> ColumnDrift

These tests explain the joint one and decide nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front.results import Result
from pairtile.slices import kolmogorov
from pairtile.tables.features import Feature
from pairtile.two_sample.nulls import gamma_tail
from pairtile.two_sample.results import holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class _ColumnDrift(NamedTuple):
    name: str
    kind: str
    statistic: float
    effect: float
    pvalue: float
    pvalue_adjusted: float
    missing_reference: float
    missing_current: float


class ColumnDrift(Result, _ColumnDrift):
    """What one column has to do with it.

    Attributes
    ----------
    name : str
        The column's; of a column of lists, one entry for each position: "name[0]".
    kind : {"number", "category", "flag", "date", "text"}
        A flag is bool, or numbers that are all 0 or 1; a text has more levels than categories may.
    statistic : float
        Of numbers and dates the two-sample Kolmogorov–Smirnov statistic of the present values,
        nan where a table has none. Of the others Pearson's χ² of the table of both samples by
        levels, a missing value being a level.
    effect : float
        In [0, 1], whatever the kind: the Kolmogorov distance of numbers and dates, the total
        variation of the shares of levels, or that of the missing values where it is larger.
    pvalue : float
        Of `scipy.stats.ks_2samp` with its default method, or of χ² without correction. Where
        values of a number or date are missing: twice the smaller of that p-value and of the χ²
        test of how many are missing, at most 1.
    pvalue_adjusted : float
        By Holm's method, over all columns.
    missing_reference, missing_current : float
        Shares of missing values, in [0, 1], among all rows given.
    """


def column_tests(
    features: Sequence[Feature], missing: Sequence[tuple[float, float]]
) -> list[ColumnDrift]:
    """One for each feature, and the shares of missing values that the caller counted."""
    distances = {
        i: kolmogorov.distance(*feature.present)
        for i, feature in enumerate(features)
        if feature.kind in ("number", "date") and all(map(len, feature.present))
    }
    pvalues = _kolmogorov_pvalues(features, distances)
    found = []
    for i, feature in enumerate(features):
        if feature.kind in ("number", "date"):
            found.append(_numeric(feature, distances.get(i, math.nan), pvalues.get(i, 1.0)))
        else:
            statistic, p = chi_square(*level_counts(feature))
            found.append((statistic, total_variation(*level_counts(feature)), p))
    adjusted = holm([p for _, _, p in found])
    return [
        ColumnDrift(f.name, f.kind, statistic, effect, p, q, *shares)
        for f, (statistic, effect, p), q, shares in zip(
            features, found, adjusted, missing, strict=True
        )
    ]


def _kolmogorov_pvalues(
    features: Sequence[Feature], distances: dict[int, float]
) -> dict[int, float]:
    """Those of columns with equally many values together, which is faster."""
    by_sizes: dict[tuple[int, int], list[int]] = {}
    for i in distances:
        n, m = map(len, features[i].present)
        by_sizes.setdefault((n, m), []).append(i)
    pvalues: dict[int, float] = {}
    for (n, m), which in by_sizes.items():
        found = kolmogorov.pvalues([distances[i] for i in which], n, m)
        pvalues.update(zip(which, found, strict=True))
    return pvalues


def _numeric(feature: Feature, distance: float, p: float) -> tuple[float, float, float]:
    effect = 0.0 if math.isnan(distance) else distance
    if not any(bool(m.any()) for m in feature.missing):
        return distance, effect, p
    counts = [np.array([np.count_nonzero(~m), np.count_nonzero(m)]) for m in feature.missing]
    effect = max(effect, total_variation(*counts))
    return distance, effect, min(1.0, 2 * min(p, chi_square(*counts)[1]))


def level_counts(feature: Feature) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of each table by level, those without a value last."""
    both = []
    for values, gone in zip((feature.reference, feature.current), feature.missing, strict=True):
        levels = 2 if feature.kind == "flag" else len(feature.levels)
        codes = np.where(gone, levels, np.where(gone, 0, values)).astype(np.int64)
        both.append(np.bincount(codes, minlength=levels + 1))
    return both[0], both[1]


def chi_square(x: NDArray[np.int64], y: NDArray[np.int64]) -> tuple[float, float]:
    """Pearson's χ² of a 2 × levels table of counts, without correction, and its p-value.

    Levels that neither sample has do not count; with fewer than two left, (0, 1).
    """
    there = x + y > 0
    if np.count_nonzero(there) < 2:
        return 0.0, 1.0
    table = np.array([x[there], y[there]], dtype=np.float64)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, gamma_tail((table.shape[1] - 1) / 2, statistic / 2)


def total_variation(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Half the sum of the differences of shares."""
    return float(np.abs(x / x.sum() - y / y.sum()).sum()) / 2
