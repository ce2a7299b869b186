"""Costs of slices as the backends give them: slopes by mass, and moments of the lines."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from strategies import SEEDS, pairs_of_sets

TWIN = "pairtile._backends.numpy"
BACKENDS = [pytest.param("pairtile._native", marks=pytest.mark.native), TWIN]


def costs_by(module: str, *arguments: Any, **options: Any) -> Any:
    options = {"gradient": False, "direction_weights": None, "workers": 2, **options}
    return importlib.import_module(module).sliced_costs(*arguments, **options)


def transport(u: Any, v: Any, p: float, a: Any, b: Any) -> float:
    """W_p^p from the two quantile functions, piece by piece."""
    left, right = np.argsort(u), np.argsort(v)
    up, down = np.cumsum(a[left]) / a.sum(), np.cumsum(b[right]) / b.sum()
    levels = np.sort(np.concatenate([[0.0], up, down]))
    middle = (levels[1:] + levels[:-1]) / 2
    at_u = u[left][np.minimum(np.searchsorted(up, middle), len(u) - 1)]
    at_v = v[right][np.minimum(np.searchsorted(down, middle), len(v) - 1)]
    return float(np.diff(levels) @ np.abs(at_u - at_v) ** p)


@pytest.mark.native
@given(
    sets=pairs_of_sets(
        rows=st.one_of(st.integers(1, 17), st.sampled_from([64, 130, 257])),
        features=st.sampled_from([1, 2, 5, 17]),
        kinds=["normal", "uneven_columns", "offset"],
    ),
    p=st.sampled_from([1, 1.5, 2, 3]),
    axes=st.booleans(),
    seed=SEEDS,
    weighted=st.booleans(),
)
def test_slopes_of_mass_and_moments_are_the_twins(sets, p, axes, seed, weighted):
    # in whole numbers along the axes, so that ties are ties in both
    x, y = (np.round(s.values) if axes else s.values for s in sets)
    rng = np.random.default_rng(seed)
    directions = None if axes else pt.sphere_directions(x.shape[1], 5, rng=seed)
    v, w = (rng.integers(0, 5, len(s)) + 0.0 for s in (x, y))
    v[0] = w[-1] = 1
    of_rows = (v / v.sum(), w / w.sum()) if weighted else (None, None)
    found, wanted = (
        costs_by(module, x, y, directions, p, *of_rows, weight_gradient=True, moments=True)
        for module in ("pairtile._native", TWIN)
    )
    lines = x.shape[1] if axes else 5
    spread = float(np.ptp(np.vstack([x, y]), axis=0).max()) or 1.0
    size = float(np.abs(np.vstack([x, y])).max()) or 1.0
    rounding = 1e-12 * size / spread
    for slopes, twin, rows in zip(found[3:5], wanted[3:5], (x, y), strict=True):
        assert slopes.shape == ((lines, len(rows)) if axes else (len(rows),))
        np.testing.assert_allclose(slopes, twin, rtol=0, atol=rounding * (9 * spread) ** p)
    apart = [np.c_[s[:, 0] - s[:, 1], np.sqrt(s[:, 2:])] for s in (found[5], wanted[5])]
    np.testing.assert_allclose(*apart, rtol=1e-9, atol=1e-7 * size)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
@pytest.mark.parametrize(("n", "m"), [(6, 6), (6, 4), (1, 5)])
@pytest.mark.parametrize("module", BACKENDS)
def test_slopes_of_mass_are_finite_differences(module, n, m, p):
    """Where both samples step at one level, the mean of the slopes to either side."""
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=(n, 3)), 1.3 * rng.normal(size=(m, 3)) + 0.4
    masses = [np.full(n, 1 / n), np.full(m, 1 / m)]
    along, shares = pt.sphere_directions(3, 4, rng=12), np.arange(1.0, 5)

    def total(*of_rows):
        lines = ((x @ theta, y @ theta) for theta in along.T)
        return sum(s * transport(*line, p, *of_rows) for s, line in zip(shares, lines, strict=True))

    *_, by_x, by_y, _ = costs_by(
        module, x, y, along, p, None, None, weight_gradient=True, direction_weights=shares
    )
    for which, found in enumerate((by_x, by_y)):
        numerical = np.empty_like(found)
        for i, step in enumerate(1e-6 * np.eye(len(found))):
            up, down = (
                total(*(s + sign * step if k == which else s for k, s in enumerate(masses)))
                for sign in (1, -1)
            )
            numerical[i] = (up - down) / 2e-6
        np.testing.assert_allclose(found, numerical, atol=1e-4)
        assert abs(found.mean()) < 1e-12


@pytest.mark.parametrize("module", BACKENDS)
def test_slopes_of_mass_of_columns_are_those_of_each_column(module):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(21, 4))
    shares = np.array([2.0, 0.5, 0.0, 1.0])
    options = {"weight_gradient": True}
    _, _, _, by_x, by_y, _ = costs_by(
        module, x, y, None, 2, None, None, direction_weights=shares, **options
    )
    for c, axis in enumerate(np.eye(4)):
        _, _, _, one_x, one_y, _ = costs_by(module, x, y, axis[:, None], 2, None, None, **options)
        np.testing.assert_allclose(by_x[c], shares[c] * one_x, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(by_y[c], shares[c] * one_y, rtol=1e-9, atol=1e-12)


@pytest.mark.native
def test_slopes_of_mass_over_many_batches_have_the_same_bits():
    rng = np.random.default_rng(4)
    x, y = (rng.normal(size=(n, 3)).astype(np.float32) for n in (60_000, 50_000))
    along = pt.sphere_directions(3, 120, rng=4)
    options = {"weight_gradient": True, "moments": True}
    first = costs_by("pairtile._native", x, y, along, 2, None, None, workers=1, **options)
    again = costs_by("pairtile._native", x, y, along, 2, None, None, workers=3, **options)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    some = [
        costs_by("pairtile._native", x, y, along[:, at], 2, None, None, **options)
        for at in (slice(0, 50), slice(50, 120))
    ]
    for which in (3, 4):
        np.testing.assert_allclose(first[which], some[0][which] + some[1][which], rtol=1e-9)
    np.testing.assert_array_equal(first[5], np.concatenate([one[5] for one in some]))


@pytest.mark.parametrize("p", [1, 2, 2.5])
@pytest.mark.parametrize("sizes", [(7, 7), (40_000, 40_000), (300_000, 300_000), (5, 9)])
def test_what_is_not_finite_is_found_with_its_row(sizes, p):
    rng = np.random.default_rng(len(sizes))
    for bad in (np.nan, np.inf, -np.inf):
        x, y = (rng.standard_normal(size) for size in sizes)
        y[3] = bad
        with pytest.raises(ValueError, match="y contains NaN or Inf; the first bad row is 3"):
            pt.wasserstein_1d(x, y, p=p)
        x[2] = bad
        with pytest.raises(ValueError, match="x contains NaN or Inf; the first bad row is 2"):
            pt.wasserstein_1d(np.stack([x, x], axis=1), np.stack([y, y], axis=1), p=p)


def test_sums_of_long_lines_have_the_same_bits_for_any_workers():
    rng = np.random.default_rng(2)
    for size in (9_000, 300_000):
        x, y = rng.standard_normal((2, size)).astype(np.float32)
        for p in (1, 2, 3):
            found = {pt.wasserstein_1d(x, y, p=p, workers=workers) for workers in (1, 2, 3)}
            assert len(found) == 1
            exact = np.mean(np.abs(np.sort(x).astype(float) - np.sort(y)) ** p) ** (1 / p)
            np.testing.assert_allclose(found.pop(), exact, rtol=1e-12)
