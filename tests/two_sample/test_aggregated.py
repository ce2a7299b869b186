"""MMDAgg: each kernel as `mmd_test` has it, the correction of the paper, level and power."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import pairtile as pt
from backends import on_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

METHODS = ("permutation", "wild_bootstrap")


@pytest.fixture
def samples() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 2)), 1.3 * rng.normal(size=(40, 2))


def perturbed_uniform(rng: np.random.Generator, n: int, perturbations: int) -> Floats:
    """Numbers in [0, 1] of density 1 plus so many smooth waves of height 1 (the paper's, d = 1)."""
    t, height = rng.random(8 * n), 2 * rng.random(8 * n)
    phase = perturbations * t % 1
    away = 4 * np.where(phase < 0.5, phase, phase - 0.5) - 1  # from the top of a half-wave
    wave = np.exp(1 - 1 / np.maximum(1 - away**2, 1e-9))
    density = 1 + np.where(phase < 0.5, wave, -wave)
    return t[height < density][:n, None]


@pytest.mark.parametrize("method", METHODS)
def test_every_kernel_is_tested_as_alone(method, samples):
    kernels = [
        "gaussian",
        pt.Energy(),
        "laplace_l1",
        "laplace",
        pt.Polynomial(2) + pt.Gaussian(1.0),
    ]
    result = pt.mmd_aggregated_test(
        *samples, kernels=kernels, bandwidths=3, n_permutations=60, rng=1, method=method
    )
    assert len(result.per_kernel) == 11
    for kernel, statistic, pvalue, adjusted in result.per_kernel:
        alone = pt.mmd_test(*samples, kernel=kernel, n_permutations=60, rng=1, method=method)
        assert statistic == pytest.approx(alone.statistic, rel=1e-10)
        assert pvalue == alone.pvalue
        assert adjusted >= pvalue / 2
    assert result.pvalue == min(k.adjusted_pvalue for k in result.per_kernel)
    assert result.rejected == (result.pvalue <= 0.05)


def nulls_of(result: pt.AggregatedTest, samples: Any, count: int, **options: Any) -> Floats:
    """The observed statistics, then all 2B resampled ones: a row per kernel."""
    rows = []
    for test in result.per_kernel:
        alone = pt.mmd_test(*samples, kernel=test.kernel, n_permutations=2 * count, **options)
        rows.append([alone.statistic, *alone.null_distribution])
    return np.array(rows)


def rejects_by_bisection(values: Floats, count: int, level: float, steps: int = 60) -> bool:
    """The correction as published: Schrab et al., Algorithm 1, with equal weights."""
    kernels = len(values)
    first = np.sort(values[:, : count + 1], axis=1)  # the observed one among them
    second = values[:, count + 1 :]

    def quantiles(u: float) -> Floats:
        place = int(np.ceil((count + 1) * (1 - u / kernels))) - 1
        return first[:, max(place, 0)]

    low, high = 0.0, float(kernels)
    for _ in range(steps):
        u = (low + high) / 2
        share = np.mean(np.any(second > quantiles(u)[:, None], axis=0))
        low, high = (u, high) if share <= level else (low, u)
    return bool(np.any(values[:, 0] > quantiles(low)))


@pytest.mark.parametrize("method", METHODS)
def test_the_correction_is_that_of_the_paper(method):
    rng = np.random.default_rng(2)
    count, outcomes = 400, []
    for trial in range(10):
        x, y = rng.normal(size=(2, 25, 1))
        y *= 1 + 0.16 * trial
        options = {"rng": trial, "method": method}
        result = pt.mmd_aggregated_test(
            x, y, bandwidths=[0.5, 2.0], n_permutations=count, **options
        )
        values = nulls_of(result, (x, y), count, **options)
        ranks = 1 + np.sum(values[:, 1 : count + 1, None] >= values[:, None], axis=1)
        lowest = ranks[:, count + 1 :].min(axis=0)
        assert [k.adjusted_pvalue for k in result.per_kernel] == [
            (1 + np.sum(lowest <= rank)) / (1 + count) for rank in ranks[:, 0]
        ]
        for level in (0.03, 0.06, 0.1, 0.2, 0.35, 0.5):
            # they count the observed sample among the first resamples, we among the second too,
            # which is a rank, at most, of each kernel
            if abs(result.pvalue - level) > 3 * len(values) / count:
                outcomes.append(result.pvalue <= level)
                assert outcomes[-1] == rejects_by_bisection(values, count, level)
    assert 0.2 < np.mean(outcomes) < 0.8


def test_bandwidths_are_a_geometric_progression_of_the_distances(samples):
    result = pt.mmd_aggregated_test(*samples, n_permutations=5, rng=0)
    pooled = np.vstack(samples)
    distances = cdist(pooled, pooled)[np.triu_indices(80, 1)]
    expected = np.geomspace(np.quantile(distances, 0.05) / 2, np.quantile(distances, 0.95) * 2, 10)
    gaussians, laplaces = result.per_kernel[:10], result.per_kernel[10:]
    np.testing.assert_allclose([k.kernel.gamma**-0.5 for k in gaussians], expected, rtol=1e-12)
    np.testing.assert_allclose([1 / k.kernel.gamma for k in laplaces], expected, rtol=1e-12)
    far = pt.mmd_aggregated_test(*(1e3 * s for s in samples), n_permutations=5, rng=0)
    assert [k.pvalue for k in far.per_kernel] == [k.pvalue for k in result.per_kernel]
    given = pt.mmd_aggregated_test(
        *samples, kernels=["laplace_l1"], bandwidths=[2.0, 0.5], n_permutations=5, rng=0
    )
    assert [k.kernel for k in given.per_kernel] == [
        pt.Laplace(gamma=2.0, norm="l1"),
        pt.Laplace(gamma=0.5, norm="l1"),
    ]


def test_many_repeated_rows_still_give_bandwidths():
    x = np.repeat([[0.0], [1.0]], 20, axis=0)
    result = pt.mmd_aggregated_test(x, x[::-1], n_permutations=19, rng=0)
    assert result.pvalue == 1.0  # all relabellings of equal samples are at least as far apart
    result = pt.mmd_aggregated_test(x, 1 - 0 * x, n_permutations=99, rng=0)
    assert result.rejected


def test_one_seed_gives_one_outcome(samples):
    results = [pt.mmd_aggregated_test(*samples, n_permutations=50, rng=r) for r in (3, 3, 4)]
    assert results[0] == results[1] != results[2]
    with on_backend("numpy"):
        twin = pt.mmd_aggregated_test(*samples, n_permutations=50, rng=3)
    assert twin.pvalue == results[0].pvalue


def shares_rejected(repeats: int, alternative: Any, **options: Any) -> float:
    rng = np.random.default_rng(5)
    rejected = 0
    for _ in range(repeats):
        x, y = rng.random((30, 1)), alternative(rng)
        result = pt.mmd_aggregated_test(
            x, y, bandwidths=[0.1, 0.3, 1.0], n_permutations=99, rng=rng, **options
        )
        rejected += result.rejected
    return rejected / repeats


@pytest.mark.parametrize("method", METHODS)
def test_the_level_holds(method):
    share = shares_rejected(120, lambda rng: rng.random((30, 1)), method=method, level=0.1)
    assert 0.01 < share < 0.1 + 3 * np.sqrt(0.09 / 120)


def test_no_bandwidth_has_to_be_chosen():
    # bumps that the median distance is too wide to see
    rng = np.random.default_rng(6)
    alone = aggregated = 0
    for _ in range(6):
        x, y = rng.random((300, 1)), perturbed_uniform(rng, 300, 4)
        alone += pt.mmd_test(x, y, n_permutations=99, rng=rng).pvalue <= 0.05
        aggregated += pt.mmd_aggregated_test(x, y, n_permutations=199, rng=rng).rejected
    assert aggregated >= 4
    assert alone <= 2


def test_bad_input_says_what_is_wrong(samples):
    x, y = samples
    with pytest.raises(
        ValueError, match=r"both need the same number of rows; x has 40 and y has 39"
    ):
        pt.mmd_aggregated_test(x, y[:39], method="wild_bootstrap")
    with pytest.raises(ValueError, match="x has 1 row"):
        pt.mmd_aggregated_test(x[:1], y)
    with pytest.raises(ValueError, match="n_permutations must be at least 1"):
        pt.mmd_aggregated_test(x, y, n_permutations=0)
    for level in (0.0, 1.0, -1):
        with pytest.raises(ValueError, match="level"):
            pt.mmd_aggregated_test(x, y, level=level)
    with pytest.raises(ValueError, match="unknown kernels 'gauss'"):
        pt.mmd_aggregated_test(x, y, kernels=["gauss"])
    with pytest.raises(ValueError, match="kernels is empty"):
        pt.mmd_aggregated_test(x, y, kernels=[])
    with pytest.raises(ValueError, match="bandwidths is empty"):
        pt.mmd_aggregated_test(x, y, bandwidths=[])
    with pytest.raises(ValueError, match="bandwidths must be at least 1"):
        pt.mmd_aggregated_test(x, y, bandwidths=0)
    with pytest.raises(ValueError, match="bandwidths must be"):
        pt.mmd_aggregated_test(x, y, bandwidths=[1.0, -1.0])
    with pytest.raises(ValueError, match="'median'; give it a number"):
        pt.mmd_aggregated_test(x, y, kernels=[pt.Gaussian("median")])
    with pytest.raises(ValueError, match="nearly all 0; pass kernels"):
        pt.mmd_aggregated_test(np.ones((9, 2)), np.ones((9, 2)))
    with pytest.raises(ValueError, match="unknown method 'gamma'"):
        pt.mmd_aggregated_test(x, y, method="gamma")
