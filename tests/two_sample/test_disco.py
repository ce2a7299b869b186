"""DISCO, the k-sample energy test: the definition, analysis of variance, exact ties, its level."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

import pairtile as pt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@pytest.fixture
def samples() -> list[Floats]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, 3)) + 0.1 * n / 20 for n in (20, 35, 15)]


def ratio(samples: list[Floats], exponent: float) -> float:
    """F by the formula, mean by mean."""
    k, n = len(samples), sum(map(len, samples))
    g = [[np.mean(cdist(a, b) ** exponent) for b in samples] for a in samples]
    between = sum(
        len(samples[j]) * len(samples[i]) / (2 * n) * (2 * g[j][i] - g[j][j] - g[i][i])
        for i in range(k)
        for j in range(i)
    )
    within = sum(len(s) / 2 * g[j][j] for j, s in enumerate(samples))
    return float((between / (k - 1)) / (within / (n - k)))


def relabelled(samples: list[Any], draws: int, seed: int) -> list[list[Any]]:
    pooled = np.concatenate(samples)
    edges = np.cumsum([0, *map(len, samples)])
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(pooled)) for _ in range(draws)]
    return [[pooled[order[a:b]] for a, b in pairwise(edges)] for order in orders]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_the_statistic_and_its_null_are_the_definition(exponent, samples):
    for some in (samples, samples[:2], [*samples, samples[0][:1]]):
        result = pt.disco_test(some, exponent=exponent, n_permutations=30, rng=1)
        null = np.array([ratio(s, exponent) for s in relabelled(some, 30, 1)])
        assert result.null == "permutation"
        assert result.statistic == pytest.approx(ratio(some, exponent), rel=1e-10)
        np.testing.assert_allclose(result.null_distribution, null, rtol=1e-9)
        assert result.pvalue == (1 + np.sum(null >= ratio(some, exponent))) / 31


def test_at_exponent_2_it_is_the_analysis_of_variance(samples):
    columns = [s[:, :1] for s in samples]
    expected = stats.f_oneway(*(c[:, 0] for c in columns)).statistic
    result = pt.disco_test(columns, exponent=2.0, n_permutations=9, rng=0)
    assert result.statistic == pytest.approx(expected, rel=1e-10)


def test_two_samples_are_the_energy_test(samples):
    for seed in range(5):
        options = {"n_permutations": 99, "rng": seed}
        of_two = pt.energy_test(*samples[:2], **options)
        result = pt.disco_test(samples[:2], **options)
        assert result.pvalue == of_two.pvalue
        order = np.argsort(of_two.null_distribution)
        assert np.all(np.diff(result.null_distribution[order]) > -1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_relabellings_that_tie_in_theory_are_ties(seed):
    # whole numbers, on which d² is exact
    rng = np.random.default_rng(seed)
    whole = [rng.integers(0, 3, size=(n, 2)) for n in (3, 3, 2)]

    def within(some: list[Any]) -> Fraction:
        return sum(
            (Fraction(int(np.sum((s[:, None] - s) ** 2)), 2 * len(s)) for s in some), Fraction(0)
        )

    at_least = [within(s) <= within(whole) for s in relabelled(whole, 200, seed)]
    result = pt.disco_test([w + 0.3 for w in whole], exponent=2.0, n_permutations=200, rng=seed)
    assert result.pvalue == (1 + sum(at_least)) / 201


def test_samples_of_any_dtype(samples):
    narrow = [samples[0].astype(np.float32), samples[1].astype(np.float16), samples[2]]
    wide = [s.astype(np.float64) for s in narrow]
    a, b = (pt.disco_test(s, n_permutations=9, rng=0) for s in (narrow, wide))
    assert a.statistic == pytest.approx(b.statistic, rel=1e-12)
    whole = [np.round(9 * s).astype(np.int8) for s in samples]
    a = pt.disco_test(whole, n_permutations=9, rng=0)
    b = pt.disco_test([w.astype(float) for w in whole], n_permutations=9, rng=0)
    assert a.statistic == pytest.approx(b.statistic, rel=1e-12)


@pytest.mark.oracle("torch")
def test_of_tensors(samples):
    import torch

    tensors = [torch.as_tensor(s) for s in samples]
    labels = np.repeat([0, 1, 2], [len(s) for s in samples])
    options = {"n_permutations": 9, "rng": 0}
    right = pt.disco_test(samples, **options)
    for found in (
        pt.disco_test(tensors, **options),
        pt.disco_test(torch.cat(tensors), labels=labels, **options),
    ):
        assert isinstance(found.null_distribution, torch.Tensor)
        np.testing.assert_array_equal(found.null_distribution, right.null_distribution)


def test_samples_without_spread():
    constant = [np.full((4, 2), float(j)) for j in range(3)]
    result = pt.disco_test(constant, n_permutations=99, rng=0)
    assert result.statistic == np.inf
    assert result.pvalue < 0.05
    result = pt.disco_test([constant[0]] * 3, n_permutations=9, rng=0)
    assert result[:2] == (0.0, 1.0)


def test_level_and_drift():
    rng = np.random.default_rng(2)
    pvalues = np.array(
        [
            pt.disco_test(
                [rng.normal(size=(n, 2)) for n in (8, 10, 7)], n_permutations=49, rng=rng
            ).pvalue
            for _ in range(300)
        ]
    )
    assert stats.kstest(pvalues - rng.random(300) / 50, "uniform").pvalue > 1e-3
    spread = [rng.normal(size=(40, 2)) * scale for scale in (1, 1, 2.5)]
    assert pt.disco_test(spread, n_permutations=199, rng=0).pvalue == 1 / 200


def test_bad_input_says_what_is_wrong(samples):
    with pytest.raises(ValueError, match="at least two samples, got 1"):
        pt.disco_test(samples[:1])
    with pytest.raises(ValueError, match="one row, which leaves no distance"):
        pt.disco_test([s[:1] for s in samples])
    with pytest.raises(ValueError, match=r"samples\[2\] has 2"):
        pt.disco_test([*samples[:2], samples[2][:, :2]])
    with pytest.raises(ValueError, match=r"samples\[1\] contains NaN"):
        pt.disco_test([samples[0], np.full((3, 3), np.nan)])
    with pytest.raises(ValueError, match="exponent"):
        pt.disco_test(samples, exponent=2.5)
    with pytest.raises(ValueError, match="n_permutations must be at least 1"):
        pt.disco_test(samples, n_permutations=0)
