"""Energy distance and test of single columns, which are sorted: the numbers that pairs give."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import pairtile as pt
from pairtile.kernels import univariate
from strategies import SEEDS, point_sets

ESTIMATORS = ("biased", "unbiased")
ROWS = st.one_of(st.integers(2, 18), st.sampled_from([29, 33, 65]))


def padded(x):
    """The same points on a line in the plane, which is swept pair by pair."""
    return np.hstack([x, np.zeros_like(x)])


@st.composite
def columns(draw):
    """Two columns with the same kind of values, and weights for them."""
    kind = draw(st.sampled_from(["normal", "lattice", "offset", "clusters", "repeated", "outlier"]))
    sets = point_sets(rows=ROWS, features=st.just(1), kinds=[kind])
    x, y = draw(sets), draw(sets)
    rng = np.random.default_rng(draw(SEEDS))
    weights = {"x_weights": rng.random(len(x.array)), "y_weights": rng.random(len(y.array))}
    return x, y, weights


@given(sets=columns())
def test_columns_are_what_pairs_give(sets):
    x, y, weights = sets
    scale = float(np.ptp(np.concatenate([x.values, y.values]))) or 1.0
    for estimator, options in itertools.product(ESTIMATORS, ({}, weights)):
        got = pt.energy_distance(x.array, y.array, estimator=estimator, **options)
        pairs = pt.energy_distance(
            padded(x.values), padded(y.values), estimator=estimator, **options
        )
        assert got == pytest.approx(pairs, abs=4e-12 * scale)
        if estimator == "biased":
            assert got >= 0


def test_signed_weights():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 1)), rng.normal(size=(20, 1))
    weights = {"x_weights": rng.normal(size=30) + 0.5, "y_weights": rng.normal(size=20) + 0.5}
    for estimator in ESTIMATORS:
        options = {"kernel": "energy", "estimator": estimator, **weights}
        assert pt.mmd(x, y, **options) == pytest.approx(
            pt.mmd(padded(x), padded(y), **options), rel=1e-10
        )


def test_large_columns_are_scipys():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=100_000), rng.normal(size=80_000) + 0.01
    expected = stats.energy_distance(x, y)
    got = pt.energy_distance(x[:, None] + 1e6, y[:, None] + 1e6, squared=False)
    assert got == pytest.approx(expected, rel=1e-6)  # of which the offset takes the last digits
    assert pt.energy_distance(x[:, None], y[:, None], squared=False) == pytest.approx(
        expected, rel=1e-10
    )


@given(sets=columns(), count=st.integers(1, 40), seed=SEEDS)
def test_the_null_distribution_is_what_pairs_give(sets, count, seed):
    x, y, _ = sets
    scale = float(np.ptp(np.concatenate([x.values, y.values]))) or 1.0
    for estimator in ESTIMATORS:
        options = {"estimator": estimator, "n_permutations": count, "rng": seed}
        got = pt.energy_test(x.array, y.array, **options)
        pairs = pt.energy_test(padded(x.values), padded(y.values), **options)
        assert got.pvalue == pairs.pvalue
        np.testing.assert_allclose(
            got.null_distribution, pairs.null_distribution, rtol=0, atol=4e-12 * scale
        )
        assert got.statistic == pytest.approx(pairs.statistic, abs=4e-12 * scale)


def test_groups_and_strata():
    rng = np.random.default_rng(2)
    x, y = rng.integers(5, size=(2, 16, 1)).astype(np.float64)
    for options in ({"groups": np.arange(32) // 3 + 20 * (np.arange(32) > 15)},
                    {"strata": np.arange(32) % 3}):  # fmt: skip
        options |= {"n_permutations": 60, "rng": 3}
        got, pairs = (
            pt.energy_test(x, y, **options),
            pt.energy_test(padded(x), padded(y), **options),
        )
        assert got.pvalue == pairs.pvalue
        np.testing.assert_allclose(got.null_distribution, pairs.null_distribution, atol=1e-13)


def test_batches_of_relabellings(monkeypatch):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(13, 1)), rng.normal(size=(9, 1))
    whole = pt.energy_test(x, y, n_permutations=30, rng=5)
    monkeypatch.setattr(univariate, "_BUFFER", 1)
    parts = pt.energy_test(x, y, n_permutations=30, rng=5)
    np.testing.assert_allclose(parts.null_distribution, whole.null_distribution, rtol=1e-13)
    assert parts.pvalue == whole.pvalue


@given(n=st.integers(1, 60), seed=SEEDS, offset=st.sampled_from([0.0, 1e8]))
def test_sums_of_distances_have_no_rounding_of_their_own(n, seed, offset):
    x = np.sort(np.random.default_rng(seed).normal(size=n)) + offset
    exact = [float(sum(abs(int(a) - int(b)) for b in units(x))) * 2.0**-80 for a in units(x)]
    np.testing.assert_allclose(
        univariate.row_sums(x - x[n // 2]), exact, rtol=1e-15 * 8, atol=1e-300
    )


def units(x):
    """The values as whole numbers of 2⁻⁸⁰."""
    return [int(v.as_integer_ratio()[0] * 2**80 // v.as_integer_ratio()[1]) for v in x.tolist()]


def test_memory_is_not_that_of_pairs():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(2, 50_000, 1))
    tracemalloc.start()
    try:
        pt.energy_distance(x, y)
        pt.energy_test(x, y, n_permutations=40, rng=0)
        pt.distance_correlation(x, y)
        pt.independence_test(x, y, n_permutations=3, rng=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300e6  # a matrix of the distances takes 80 GB
