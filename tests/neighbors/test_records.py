"""Whether synthetic records keep nearer to the training records: by brute force and SciPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist

import pairtile as pt
from backends import native_and_twin
from strategies import SEEDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def check(result: Any, to_train: Floats, to_holdout: Floats) -> None:
    nearer, ties = np.sum(to_train < to_holdout), np.sum(to_train == to_holdout)
    n = len(to_train)
    assert (result.n, result.ties) == (n, ties)
    assert result.share_nearer_to_train == (nearer + ties / 2) / n
    expected = 1.0
    if n > ties:
        expected = stats.binomtest(int(nearer), int(n - ties), alternative="greater").pvalue
    assert result.pvalue == pytest.approx(expected, rel=1e-9)
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    expected = [np.quantile(d, levels) for d in (to_train, to_holdout)]
    np.testing.assert_allclose(result.quantiles, expected, rtol=1e-12)


@given(
    rows=st.tuples(*[st.integers(1, 30)] * 3),
    d=st.integers(1, 4),
    seed=SEEDS,
    whole=st.booleans(),
    metric=st.sampled_from(["euclidean", "manhattan", "chebyshev"]),
)
def test_it_is_the_sign_test_of_nearest_records(rows, d, seed, whole, metric):
    rng = np.random.default_rng(seed)
    sets = [rng.integers(0, 3, size=(n, d)) if whole else rng.normal(size=(n, d)) for n in rows]
    result = pt.closest_record_test(*sets, metric=metric, rng=seed)
    least = min(rows[:2])
    draws = np.random.default_rng(seed)
    train, holdout = (
        s if len(s) == least else s[np.sort(draws.permutation(len(s))[:least])] for s in sets[:2]
    )
    name = {"manhattan": "cityblock"}.get(metric, metric)
    # as pairtile rounds them, so that ties are ties
    to_train, to_holdout = (
        pt.pairwise_distances(sets[2] + 0.0, known + 0.0, metric=metric).min(axis=1)
        for known in (train, holdout)
    )
    np.testing.assert_allclose(to_train, cdist(sets[2], train, name).min(axis=1), atol=1e-12)
    check(result, to_train, to_holdout)


def test_copies_are_found_and_fresh_records_are_not():
    rng = np.random.default_rng(0)
    train, holdout, fresh = rng.normal(size=(3, 400, 5))
    copied = train[rng.integers(400, size=150)] + 0.05 * rng.normal(size=(150, 5))
    found = pt.closest_record_test(train, holdout, np.concatenate([fresh[:250], copied]))
    assert found.pvalue < 1e-6
    assert found.share_nearer_to_train > 0.6
    assert found.quantiles[0, 0] < 0.5 * found.quantiles[1, 0]
    honest = pt.closest_record_test(train, holdout, fresh)
    assert honest.pvalue > 0.01
    assert pt.closest_record_test(holdout, train, copied).pvalue > 0.99


def test_a_training_set_of_more_rows_has_no_advantage():
    rng = np.random.default_rng(1)
    train, holdout, fresh = (rng.normal(size=(n, 3)) for n in (3000, 200, 300))
    result = pt.closest_record_test(train, holdout, fresh, rng=0)
    assert result.pvalue > 0.01
    assert np.mean(cdist(fresh, train).min(axis=1) < cdist(fresh, holdout).min(axis=1)) > 0.8
    assert pt.closest_record_test(train, holdout, fresh, rng=0)[:4] == result[:4]
    assert pt.closest_record_test(train, holdout, fresh, rng=1)[:2] != result[:2]


def test_pvalues_hold_their_level():
    rng = np.random.default_rng(2)
    pvalues = np.array(
        [pt.closest_record_test(*rng.normal(size=(3, 60, 12)), rng=rng).pvalue for _ in range(200)]
    )
    assert np.mean(pvalues <= 0.5) < 0.75
    assert np.mean(pvalues <= 0.05) < 0.2  # records that share a neighbour are not independent


def test_all_ties_say_nothing():
    x = np.arange(5.0)[:, None]
    result = pt.closest_record_test(x, x, x + 0.25)
    assert result[:4] == (0.5, 1.0, 5, 5)


def test_distances_beyond_float64_are_infinite():
    far = np.array([[1e308], [-1e308]])
    result = pt.closest_record_test(far, far, -np.ones((3, 1)) * [[1e308], [2.0], [3.0]] * 1.5)
    assert result.ties == 3
    assert not np.isnan(result.quantiles).any()
    apart = pt.closest_record_test(far[:1], far[:1], np.full((4, 1), -1.5e308))
    assert np.isinf(apart.quantiles).all()


def test_rows_that_share_nothing_with_a_set_are_named():
    rng = np.random.default_rng(0)
    train, holdout, synthetic = rng.normal(size=(3, 30, 2))
    holdout[:, 0] = np.nan
    synthetic[4, 1] = np.nan
    with pytest.raises(
        ValueError, match=r"row 4 of synthetic has no feature .* with any row of holdout"
    ):
        pt.closest_record_test(train, holdout, synthetic, metric="nan_euclidean")
    synthetic[4, 1] = 0.0
    pt.closest_record_test(train, holdout, synthetic, metric="nan_euclidean")


@pytest.mark.native
def test_the_backends_agree():
    rng = np.random.default_rng(3)
    sets = [rng.normal(size=(n, 6)).astype(np.float32) for n in (90, 70, 80)]
    found, twin = native_and_twin(pt.closest_record_test, *sets, rng=0)
    assert found[:4] == twin[:4]
    np.testing.assert_array_equal(found.quantiles, twin.quantiles)
    assert found.quantiles.dtype == np.float64


def test_bad_input_says_what_is_wrong():
    x = np.zeros((4, 2))
    with pytest.raises(ValueError, match="train has 2 columns and holdout has 3"):
        pt.closest_record_test(x, np.zeros((4, 3)), x)
    with pytest.raises(ValueError, match="synthetic has 1"):
        pt.closest_record_test(x, x, np.zeros((4, 1)))
    with pytest.raises(ValueError, match="inner_product"):
        pt.closest_record_test(x, x, x, metric="inner_product")
    gaps = np.array([[0.0, np.nan], [np.nan, np.nan]])
    for place, name in enumerate(("train", "holdout")):
        sets = [x, x]
        sets[place] = gaps
        with pytest.raises(ValueError, match=f"of synthetic and row 1 of {name} have none in com"):
            pt.closest_record_test(*sets, x, metric="gower")
    with pytest.raises(ValueError, match="holdout contains NaN"):
        pt.closest_record_test(x, x * np.nan, x)
