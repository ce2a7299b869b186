"""What results of tests say beside statistic and p; intervals and tails against SciPy."""

from __future__ import annotations

import copy
import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import pairtile as pt
from pairtile._front.binomial import beta_cdf, beta_quantile, clopper_pearson, upper_tail
from pairtile.two_sample.results import holm


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    return rng.normal(size=(50, 2)), rng.normal(size=(40, 2)) + 0.4


# --- tails and intervals --------------------------------------------------------------------------


@st.composite
def trials(draw):
    n = draw(st.one_of(st.integers(1, 40), st.sampled_from([999, 5000, 10**5, 10**7])))
    return draw(st.integers(0, n)), n


@given(counts=trials(), confidence=st.sampled_from([0.5, 0.95, 0.999]))
def test_the_interval_is_of_clopper_and_pearson(counts, confidence):
    k, n = counts
    tail = (1 - confidence) / 2
    low, high = clopper_pearson(k, n, confidence)
    assert low == pytest.approx(stats.beta.ppf(tail, k, n - k + 1) if k else 0.0, rel=1e-9)
    assert high == pytest.approx(stats.beta.ppf(1 - tail, k + 1, n - k) if k < n else 1.0, rel=1e-9)


@given(counts=trials(), chance=st.sampled_from([0.5, 0.01, 0.9]))
def test_the_tail_is_of_the_binomial(counts, chance):
    k, n = counts
    assert upper_tail(k, n, chance) == pytest.approx(stats.binom.sf(k - 1, n, chance), rel=1e-9)


def test_tails_that_are_tiny_keep_their_digits():
    assert upper_tail(1000, 1000) == pytest.approx(2.0**-1000, rel=1e-11)
    assert upper_tail(0, 5) == 1.0
    assert upper_tail(6, 5) == 0.0
    exact = sum(math.comb(300, i) for i in range(250, 301)) / 2**300
    assert upper_tail(250, 300) == pytest.approx(exact, rel=1e-12)


def test_the_inverse_is_the_inverse():
    for a, b in ((1, 1), (1, 999), (40, 3), (5000, 5000)):
        for q in (1e-6, 0.025, 0.5, 0.975):
            assert beta_cdf(beta_quantile(q, a, b), a, b) == pytest.approx(q, rel=1e-9)
    assert beta_cdf(0.0, 2, 3) == 0.0
    assert beta_cdf(1.0, 2, 3) == 1.0


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=8))
def test_holm(pvalues):
    order = np.argsort(pvalues)
    running, expected = 0.0, [0.0] * len(pvalues)
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(pvalues) - rank) * pvalues[i]))
        expected[i] = running
    assert holm(pvalues) == pytest.approx(expected)


# --- results of tests -----------------------------------------------------------------------------


def test_the_interval_is_of_the_relabellings_that_are_at_least_as_large(samples):
    for result in (
        pt.energy_test(*samples, n_permutations=199, rng=0),
        pt.mmd_test(*samples, n_permutations=199, rng=0),
        pt.mmd_test(
            samples[0][:40], samples[1], method="wild_bootstrap", n_permutations=199, rng=0
        ),
        pt.mmd_test(*samples, method="cheap_permutation", n_permutations=199, rng=0),
        pt.disco_test(samples, n_permutations=199, rng=0),
        pt.stein_test(samples[1], -samples[1], n_bootstrap=199, rng=0),
        pt.independence_test(samples[0], samples[0], n_permutations=199, rng=0),
    ):
        k = round(200 * result.pvalue) - 1
        expected = stats.binomtest(k, 199).proportion_ci(0.95, "exact")
        np.testing.assert_allclose(result.pvalue_interval, expected, atol=1e-9)
        assert result.n_permutations == len(result.null_distribution) == 199


@pytest.mark.parametrize(("method", "draws"), [("gamma", 0), ("spectrum", 99)])
def test_limits_of_the_distribution_have_no_interval(samples, method, draws):
    result = pt.mmd_test(*samples, method=method, n_permutations=99, rng=0)
    assert result.pvalue_interval is None
    assert (result.null, result.n_permutations) == (method, draws)


def test_the_kernel_is_named_with_the_bandwidth_that_was_used(samples):
    sigma = pt.median_distance(*samples)

    def length(kernel, test=pt.mmd_test, x=samples[0], y=samples[1]):
        text = test(x, y, kernel=kernel, n_permutations=9, rng=0).kernel
        return float(re.search(r"(?:sigma|scale|c)=([\d.e+-]+)", text)[1])

    for kernel in ("gaussian", "laplace", pt.Cauchy("median"), pt.InverseMultiquadric("median")):
        assert length(kernel) == pytest.approx(sigma, rel=1e-5)
    far = [1e200 * s for s in samples]
    assert length("gaussian", x=far[0], y=far[1]) == pytest.approx(1e200 * sigma, rel=1e-5)
    options = {"n_permutations": 9, "rng": 0}
    text = pt.mmd_test(*samples, kernel=2 * pt.Gaussian(0.5) + pt.Polynomial(2), **options).kernel
    assert text == "2 * Gaussian(sigma=0.5) + Polynomial(degree=2, coef0=1)"
    text = pt.mmd_test(*samples, kernel=pt.Laplace("median", norm="l1"), **options).kernel
    assert text.startswith("Laplace(sigma=")
    assert text.endswith("norm='l1')")
    assert pt.energy_test(*samples, **options).kernel is None
    assert pt.disco_test(samples, **options).kernel is None
    x = samples[0]
    stein = pt.stein_test(x, -x, n_bootstrap=9, rng=0)
    assert stein.kernel == f"InverseMultiquadric(c={pt.median_distance(x):.6g}, beta=0.5)"
    assert (stein.n, stein.m) == (50, None)


def test_sizes_are_told(samples):
    result = pt.energy_test(*samples, n_permutations=9, rng=0)
    assert (result.n, result.m) == (50, 40)
    assert pt.disco_test([*samples, samples[0]], n_permutations=9, rng=0).n == 140


def test_a_result_unpacks_to_three_and_survives_copies(samples):
    result = pt.energy_test(*samples, n_permutations=19, rng=0)
    statistic, p, null = result
    assert (statistic, p) == (result.statistic, result.pvalue)
    assert null is result.null_distribution
    copies = (pickle.loads(pickle.dumps(result)), copy.copy(result), copy.deepcopy(result))
    for again in (*copies, result._replace(statistic=statistic)):
        assert type(again) is pt.TestResult
        assert again[:2] == result[:2]
        np.testing.assert_array_equal(again.null_distribution, null)
        for name in ("null", "kernel", "n", "m", "n_permutations", "pvalue_interval"):
            assert getattr(again, name) == getattr(result, name)


def test_the_line_names_what_matters(samples):
    line = repr(pt.mmd_test(*samples, n_permutations=199, rng=0))
    assert "\n" not in line
    assert len(line) < 200
    assert re.fullmatch(
        r"TestResult\(statistic=0\.\d+, pvalue=0\.\d+, null='permutation', "
        r"kernel='Gaussian\(sigma=[\d.]+\)', n=50, m=40, n_permutations=199\)",
        line,
    )


# --- several samples, two by two ------------------------------------------------------------------


def test_pairs_are_tested_one_after_the_other():
    rng = np.random.default_rng(1)
    samples = [rng.normal(size=(n, 2)) + shift for n, shift in ((20, 0), (15, 0), (18, 1.5))]
    labels = np.repeat(["old", "mid", "new"], [20, 15, 18])
    order = rng.permutation(53)
    x = np.concatenate(samples)[order]
    found = pt.disco_test(x, labels=labels[order], pairwise=True, n_permutations=99, rng=5)
    assert [(p.first, p.second) for p in found] == [("mid", "new"), ("mid", "old"), ("new", "old")]
    draws = np.random.default_rng(5)
    of = {name: x[labels[order] == name] for name in ("old", "mid", "new")}
    for pair in found:
        alone = pt.disco_test([of[pair.first], of[pair.second]], n_permutations=99, rng=draws)
        assert (pair.statistic, pair.pvalue) == (alone.statistic, alone.pvalue)
    assert [p.pvalue_adjusted for p in found] == holm([p.pvalue for p in found])
    assert found[0].pvalue_adjusted == 0.03
    by_place = pt.disco_test(samples, pairwise=True, n_permutations=99, rng=5)
    assert [(p.first, p.second) for p in by_place] == [(0, 1), (0, 2), (1, 2)]


def test_labels_make_samples():
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(40, 3)), rng.integers(-1, 2, size=40)
    samples = [x[labels == j] for j in (-1, 0, 1)]
    found, expected = (
        pt.disco_test(x, labels=labels, n_permutations=49, rng=0),
        pt.disco_test(samples, n_permutations=49, rng=0),
    )
    assert found.statistic == expected.statistic
    np.testing.assert_array_equal(found.null_distribution, expected.null_distribution)
    with pytest.raises(ValueError, match=r"labels must have shape \(40,\)"):
        pt.disco_test(x, labels=labels[:-1])
    with pytest.raises(ValueError, match="at least two samples, got 1"):
        pt.disco_test(x, labels=np.zeros(40, int))
    with pytest.raises(ValueError, match="samples 0 and 1 have one row"):
        pt.disco_test([x[:1], x[1:2], x[2:]], pairwise=True)
    with pytest.raises(ValueError, match="unknown method 'gamma'"):
        pt.disco_test(samples, method="gamma")
