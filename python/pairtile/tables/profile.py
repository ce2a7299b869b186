"""The distribution of a column before and after, small enough for a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile.tables.columns import level_counts
from pairtile.tables.features import OTHER, Feature, pooled, unit_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BINS = 24
_LEVELS = 12
_TAILS = (0.005, 0.995)  # quantiles between which the bins lie
MISSING = "missing"


class Profile(NamedTuple):
    """Shares of the rows of both tables, by bins or by levels.

    Attributes
    ----------
    kind : str
        The column's.
    edges : ndarray of shape (b + 1,), float64 or datetime64[us], or None
        Of numbers and dates: bins of equal width from the 0.5 % to the 99.5 % quantile of both
        tables; the first and the last hold what is beyond, too.
    levels : list of str or None
        Of the others: the 12 commonest over both tables, then "other", then "missing", where
        there are any such.
    reference, current : ndarray of shape (b,), float64
        Shares of all rows: they add to 1, of numbers and dates to 1 less what is missing.
    """

    kind: str
    edges: NDArray[Any] | None
    levels: list[str] | None
    reference: Floats
    current: Floats


def profile(feature: Feature) -> Profile:
    """Of a column of both tables."""
    return _binned(feature) if feature.kind in ("number", "date") else _levelled(feature)


def _binned(feature: Feature) -> Profile:
    values = pooled(feature)
    if not len(values):
        none = np.zeros(0)
        return Profile(feature.kind, np.zeros(1), None, none, none)
    low, high = (float(v) for v in np.quantile(values, _TAILS, method="nearest"))
    edges = np.array([low, low])
    if high > low:
        unit = unit_of(values)
        edges = np.unique(np.linspace(low / unit, high / unit, 1 + _BINS) * unit)
    shares = []
    for present, whole in zip(feature.present, (feature.reference, feature.current), strict=True):
        bins = np.clip(np.searchsorted(edges, present, side="right") - 1, 0, len(edges) - 2)
        shares.append(np.bincount(bins, minlength=len(edges) - 1) / len(whole))
    shown: NDArray[Any] = edges
    if feature.origin is not None:
        microseconds = np.rint(edges * 86_400e6).astype("timedelta64[us]")
        shown = feature.origin + microseconds
    return Profile(feature.kind, shown, None, shares[0], shares[1])


def _levelled(feature: Feature) -> Profile:
    x, y = level_counts(feature)
    names = ["0", "1"] if feature.kind == "flag" else list(feature.levels)
    total = (x + y)[:-1]
    by_count = sorted(range(len(names)), key=lambda i: (names[i] == OTHER, -total[i], i))
    shown = [i for i in by_count[:_LEVELS] if total[i]]
    rest = [i for i in by_count[_LEVELS:] if total[i]]
    if feature.kind == "flag":
        shown = [0, 1]
    named = [names[i] for i in shown]
    groups = [[i] for i in shown]
    if rest:
        named.append(OTHER)
        groups.append(rest)
    if x[-1] + y[-1]:
        named.append(MISSING)
        groups.append([len(names)])
    shares = [np.array([c[g].sum() for g in groups]) / c.sum() for c in (x, y)]
    return Profile(feature.kind, None, named, shares[0], shares[1])
