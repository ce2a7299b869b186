"""Means and variances of columns: exact sums, weights, blocks, values far from 0."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import on_backend
from pairtile._backends import choose
from pairtile._backends.rows import Rows
from pairtile.slices.moments import ColumnMoments
from strategies import SEEDS, point_sets

BACKENDS = [pytest.param("native", marks=pytest.mark.native), "numpy"]


class Stored:
    """Nothing but a shape, a dtype and row slicing."""

    def __init__(self, a: Any) -> None:
        self._a, self.shape, self.dtype = a, a.shape, a.dtype

    def __getitem__(self, rows: slice) -> Any:
        return self._a[rows].copy()


def exact(values: Any, weights: Any) -> tuple[list[Fraction], list[Fraction]]:
    """Means and variances in rational numbers."""
    shares = [Fraction(float(w)) for w in weights]
    total = sum(shares)
    means, variances = [], []
    for column in values.T:
        numbers = [Fraction(float(v)) for v in column]
        mean = sum(w * v for w, v in zip(shares, numbers, strict=True)) / total
        means.append(mean)
        squares = (w * (v - mean) ** 2 for w, v in zip(shares, numbers, strict=True))
        variances.append(sum(squares) / total)
    return means, variances


def check(found: Any, values: Any, weights: Any) -> None:
    means, variances = exact(values, weights)
    for j, column in enumerate(values.T):
        size = np.abs(column).max()
        assert abs(found[0][j] - float(means[j])) <= 1e-14 * size
        # a mean that is off by a rounding moves a variance by its square
        assert (
            abs(found[1][j] - float(variances[j]))
            <= 1e-12 * float(variances[j]) + (1e-14 * size) ** 2
        )


@pytest.mark.parametrize("backend", BACKENDS)
@given(points=point_sets(rows=st.integers(1, 80)), seed=SEEDS, weighted=st.booleans())
def test_moments_are_those_of_exact_sums(backend, points, seed, weighted):
    n = len(points.values)
    weights = np.random.default_rng(seed).integers(0, 3, size=n) + 0.0
    weights[-1] += 1
    with on_backend(backend):
        found = ColumnMoments(points.array, weights if weighted else None, workers=2).value()
    check(found, points.values, weights if weighted else np.ones(n))


@pytest.mark.native
@pytest.mark.parametrize(("n", "d"), [(1, 1), (5000, 3), (70_000, 2), (9, 20_000)])
def test_of_many_rows_and_columns(n, d):
    """More than one chunk for each part, and rows longer than a chunk; an offset costs nothing."""
    x = 1e8 + np.random.default_rng(n).normal(size=(n, d))
    mean, variance = ColumnMoments(x, None, workers=2).value()
    np.testing.assert_allclose(mean - 1e8, (x - 1e8).mean(axis=0), atol=3e-8)
    np.testing.assert_allclose(variance, (x - 1e8).var(axis=0), rtol=1e-9, atol=1e-15)
    again = ColumnMoments(x, None, workers=1).value()
    assert mean.tobytes() == again[0].tobytes()
    assert variance.tobytes() == again[1].tobytes()


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_without_mass_may_be_of_any_size(backend):
    x = np.random.default_rng(1).normal(size=(50, 3))
    weights = np.arange(50) % 2 + 0.0
    x[weights == 0] = 1.7e308
    with on_backend(backend):
        found = ColumnMoments(x, weights, workers=1).value()
    np.testing.assert_allclose(found, (x[1::2].mean(axis=0), x[1::2].var(axis=0)), rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cuts", [(), (1,), (30,), (7, 50, 51)])
def test_of_rows_that_others_read(cuts, weighted):
    """Each row counts once, whoever reads it and however often."""
    rng = np.random.default_rng(3)
    x = (100 + rng.normal(size=(60, 4))).astype(np.float32)
    weights = rng.random(60) if weighted else None
    if weights is not None:
        weights[:30] = 0  # whole blocks weigh nothing
    rows = Rows("x", Stored(x), x.dtype, check_finite=True)
    moments = ColumnMoments(rows, weights, workers=1)
    for start, stop in zip((0, *cuts), cuts, strict=False):
        rows.read(slice(max(0, start - 3), stop))
        rows.read(slice(start, stop))
    found = moments.value()
    check(found, x.astype(float), np.ones(60) if weights is None else weights)
    whole = choose.module(x).column_moments(x, weights, workers=1)
    np.testing.assert_allclose(found, whole, rtol=1e-12)
