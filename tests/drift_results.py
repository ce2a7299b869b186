"""Made-up results of comparisons, for what only shows them: any names, any numbers, any sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile.tables import ColumnDrift, Drift, DriftOverTime, Period, Profile, RowDrift
from pairtile.two_sample import TestResult

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = ("number", "category", "date", "flag", "text")
P = (1e-200, 3e-12, 0.001, 0.06, 0.5, 1.0)


def a_profile(kind: str, levels: Sequence[str], rng: np.random.Generator) -> Profile:
    """Random shares, in 24 bins or of the levels."""
    count = 24 if kind in ("number", "date") else len(levels)
    reference, current = rng.dirichlet(np.ones(count), size=2)
    if kind == "number":
        edges = np.linspace(-3.0, 1e4, 25)
    elif kind == "date":
        edges = np.datetime64("2024-01-01", "us") + np.arange(25) * np.timedelta64(30, "h")
    else:
        edges = None
    return Profile(kind, edges, None if edges is not None else list(levels), reference, current)


def a_test(count: int = 200, null: str = "permutation", **fields: Any) -> TestResult:
    """A statistic of 0.0123 among gamma-distributed values."""
    values = np.random.default_rng(5).gamma(3, 0.0004, count)
    interval = (2.5e-5, 0.0056) if count else None
    fields = {"kernel": None, "n": 90, "m": 80, "pvalue_interval": interval} | fields
    return TestResult(0.0123, 0.001, values, null, **fields)


def a_drift(
    names: Sequence[Any],
    *,
    levels: Sequence[str] = ("a", "b", "missing"),
    labels: Sequence[Any] = (7, 5),
    **fields: Any,
) -> Drift:
    """One column per name, kinds and p-values in turn, effects in no order."""
    rng = np.random.default_rng(len(names))
    columns, profiles = [], {}
    for i, name in enumerate(names):
        kind, p = KINDS[i % len(KINDS)], P[i % len(P)]
        effect = float(rng.random())
        missing = (0.0, 0.0) if i % 3 else (0.0004, 0.25)
        columns.append(ColumnDrift(name, kind, 10 * effect, effect, p / 2, min(1.0, p), *missing))
        profiles[name] = a_profile(kind, levels, rng)
    rows = [
        RowDrift(i, label, -1.5 / (i + 1), list(names)[: 1 + i % 3])
        for i, label in enumerate(labels)
    ]
    made = {
        "drift": True,
        "pvalue": 0.001,
        "alpha": 0.05,
        "test": a_test(),
        "columns": columns,
        "rows": rows,
        "warnings": [],
        "n_reference": 12_345,
        "n_current": 80,
        "sampled": None,
        "test_name": "energy",
        "seed": 0,
        "profiles": profiles,
    }
    return Drift(**(made | fields))


def over_time(labels: Sequence[Any], **fields: Any) -> DriftOverTime:
    """A period per label: every fourth is too short, the last third has drift."""
    periods = []
    for i, label in enumerate(labels):
        if i % 4 == 3:
            periods.append(Period(label, 7, None, None, None, False))
            continue
        drift = 3 * i >= 2 * len(labels)
        p = 0.001 if drift else 0.4
        periods.append(Period(label, 100 + i, 0.01 * (i + 1), p, min(1.0, 5 * p), drift))
    made = {
        "periods": periods,
        "alpha": 0.05,
        "by": "day",
        "freq": "W",
        "warnings": [],
        "test_name": "energy",
        "n_reference": 12_345,
        "seed": 0,
    }
    return DriftOverTime(**(made | fields))
