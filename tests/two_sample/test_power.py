"""Power by simulation: counted by hand, and known where it has a closed form."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

import pairtile as pt


class Outcome(NamedTuple):
    pvalue: float


def shifted(n, rng):
    return rng.normal(size=(n, 1)), rng.normal(size=(n, 1)) + 1.0


def z_test(x, y, *, rng):
    """One-sided, of normal numbers of variance 1."""
    z = (y.mean() - x.mean()) / np.sqrt(2 / len(x))
    return Outcome(float(stats.norm.sf(z)))


def test_power_is_the_share_of_rejections():
    found = pt.power(z_test, shifted, [3, 12], alpha=0.1, repeats=60, rng=4)
    rng = np.random.default_rng(4)
    for one, n in zip(found, (3, 12), strict=True):
        rejected = sum(z_test(*shifted(n, rng), rng=rng).pvalue <= 0.1 for _ in range(60))
        assert (one.n, one.power) == (n, rejected / 60)
        interval = stats.binomtest(rejected, 60).proportion_ci(0.95, "exact")
        np.testing.assert_allclose(one.interval, interval, atol=1e-9)


def test_power_of_a_z_test_is_known():
    (found,) = pt.power(z_test, shifted, 8, repeats=600, rng=0)
    expected = stats.norm.sf(stats.norm.isf(0.05) - np.sqrt(8 / 2))
    assert found.power == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 600))


def test_level_and_growth():
    test = partial(pt.energy_test, n_permutations=49)
    none, some, more = (
        pt.power(test, sampler, n, repeats=60, rng=1)[0]
        for sampler, n in (
            (lambda n, rng: tuple(rng.normal(size=(2, n, 2))), 10),
            (shifted, 8),
            (shifted, 30),
        )
    )
    assert none.interval[0] < 0.05
    assert none.power < some.power < more.power


def test_the_test_is_given_the_generator():
    seen = []

    def test(x, y, *, rng):
        seen.append(rng)
        return Outcome(1.0)

    generator = np.random.default_rng(0)
    assert pt.power(test, shifted, [2], repeats=3, rng=generator)[0].power == 0.0
    assert seen == [generator] * 3


def test_aggregated_tests_have_power_too():
    test = partial(pt.mmd_aggregated_test, n_permutations=200, bandwidths=2)
    assert pt.power(test, shifted, [40], repeats=5, rng=0)[0].power == 1.0


def test_bad_input_says_what_is_wrong():
    def one(n, rng):
        return rng.normal(size=(n, 1))

    with pytest.raises(TypeError, match="sampler must be callable"):
        pt.power(z_test, [1, 2], 5)
    with pytest.raises(TypeError, match="test must be callable"):
        pt.power("energy_test", shifted, 5)
    with pytest.raises(TypeError, match="sampler must return a pair"):
        pt.power(z_test, one, 5)
    with pytest.raises(TypeError, match="test must return a result with a pvalue, got float"):
        pt.power(lambda x, y, rng: 0.5, shifted, 5)
    with pytest.raises(ValueError, match="pvalue of the test must be finite"):
        pt.power(lambda x, y, rng: Outcome(np.nan), shifted, 5)
    with pytest.raises(ValueError, match="sizes is empty"):
        pt.power(z_test, shifted, [])
    with pytest.raises(ValueError, match="sizes must be at least 1"):
        pt.power(z_test, shifted, [0])
    with pytest.raises(ValueError, match="repeats must be at least 1"):
        pt.power(z_test, shifted, 5, repeats=0)
    with pytest.raises(ValueError, match="alpha"):
        pt.power(z_test, shifted, 5, alpha=1.0)
