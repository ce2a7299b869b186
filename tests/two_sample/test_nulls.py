"""The null distributions of the two-sample tests other than plain permutation.

Oracles: the definitions over explicit matrices with the same draws; integers, on which a kernel is
exact and ties are ties; SciPy; and closed forms where the statistic is a mean difference.
"""

from __future__ import annotations

import itertools
import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats
from scipy.spatial.distance import cdist

import pairtile as pt
from backends import on_backend
from pairtile.two_sample import nulls
from strategies import SEEDS, pairs_of_sets

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ESTIMATORS = ("unbiased", "biased")
METHODS = ("permutation", "wild_bootstrap", "cheap_permutation", "gamma", "spectrum")
KERNELS: dict[str, tuple[Any, Callable[[Any, Any], Floats]]] = {
    "gaussian": (pt.Gaussian(gamma=0.25), lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / 4)),
    "energy": (pt.Energy(1.5), lambda a, b: -(cdist(a, b) ** 1.5)),
    "polynomial": (pt.Polynomial(2), lambda a, b: (a @ b.T / a.shape[1] + 1) ** 2),
    "cosine": (
        "cosine",
        lambda a, b: 1 - cdist(a, b, "cosine"),
    ),
    "sum": (
        pt.Laplace(2.0) + 0.1 * pt.Linear() + pt.Laplace(gamma=0.5, norm="l1"),
        lambda a, b: (
            np.exp(-cdist(a, b) / 2) + 0.1 * a @ b.T + np.exp(-cdist(a, b, "cityblock") / 2)
        ),
    ),
}


@pytest.fixture
def samples() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(70, 3)), rng.normal(size=(70, 3)) + 0.3


def paired_kernel(k: Callable[[Any, Any], Any], x: Any, y: Any) -> Any:
    """h of all two pairs (x_i, y_i), (x_j, y_j)."""
    return k(x, x) + k(y, y) - k(x, y) - k(x, y).T


def signs_of(n: int, draws: int, seed: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(2, size=n, dtype=np.uint8) for _ in range(draws)]
    return 2 * np.array([np.ones(n), *drawn]).astype(np.int64) - 1


# --- what a result is ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_result_is_three_fields_and_names_its_null(method, samples):
    for test in (pt.mmd_test, pt.energy_test):
        result = test(*samples, method=method, n_permutations=19, rng=0)
        statistic, pvalue, null = result
        assert isinstance(statistic, float)
        assert isinstance(pvalue, float)
        assert 0 < pvalue <= 1
        assert null.dtype == np.float64
        assert null.shape == ((0,) if method == "gamma" else (19,))
        assert result.null == method
        assert f"null={method!r}" in repr(result)
        again = pickle.loads(pickle.dumps(result))
        assert type(again) is pt.TestResult
        assert again.null == method
        assert again[:2] == result[:2]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_statistic_is_what_the_plain_function_returns(method, estimator, samples):
    x, y = samples
    for name, (kernel, k) in KERNELS.items():
        if method == "gamma" and name == "sum":
            continue
        result = pt.mmd_test(
            x, y, kernel=kernel, estimator=estimator, method=method, n_permutations=9, rng=0
        )
        expected = pt.mmd(x, y, kernel=kernel, estimator=estimator)
        if method == "wild_bootstrap" and estimator == "unbiased":
            h = paired_kernel(k, x, y)
            expected = (h.sum() - np.trace(h)) / (70 * 69)
        assert result.statistic == pytest.approx(expected, rel=1e-10, abs=1e-13), name


@pytest.mark.parametrize("method", METHODS)
def test_drift_is_found(method, samples):
    x, _ = samples
    y = np.random.default_rng(1).normal(size=(70, 3))
    for test in (pt.mmd_test, pt.energy_test):
        for estimator in ESTIMATORS:
            options = {"method": method, "estimator": estimator, "n_permutations": 199, "rng": 0}
            assert test(x, y, **options).pvalue > 0.05
            assert test(x, y + 1, **options).pvalue <= 1 / 200
            assert test(x, 3 * y, **options).pvalue <= 2 / 200


@pytest.mark.parametrize("method", METHODS)
def test_constant_samples_do_not_differ(method):
    x = np.ones((10, 2))
    result = pt.mmd_test(x, x, kernel=pt.Gaussian(1.0), method=method, n_permutations=9, rng=0)
    assert result.statistic == pytest.approx(0, abs=1e-15)
    assert result.pvalue == 1


# --- wild bootstrap -----------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", KERNELS)
def test_the_wild_bootstrap_is_its_definition(name, estimator, samples):
    x, y = samples
    kernel, k = KERNELS[name]
    result = pt.mmd_test(
        x, y, kernel=kernel, estimator=estimator, method="wild_bootstrap", n_permutations=40, rng=3
    )
    h, signs, n = paired_kernel(k, x, y), signs_of(70, 40, 3), 70
    if estimator == "unbiased":
        np.fill_diagonal(h, 0)
    expected = np.einsum("bi,ij,bj->b", signs, h, signs) / (
        n * (n - 1) if estimator == "unbiased" else n * n
    )
    np.testing.assert_allclose(
        [result.statistic, *result.null_distribution], expected, rtol=0, atol=1e-12
    )
    assert result.pvalue == (1 + np.sum(expected[1:] >= expected[0])) / 41


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("seed", range(6))
def test_signs_that_tie_in_theory_are_ties(seed, estimator):
    # whole numbers, on which −d² and x·y are exact
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 3, size=(2, 4, 2))
    signs = signs_of(4, 400, seed)
    assert len(np.unique(signs, axis=0)) == 16  # all there are
    for kernel, k in (
        (pt.Energy(2.0), lambda a, b: -np.sum((a[:, None] - b) ** 2, axis=2)),
        (pt.Linear(), lambda a, b: a @ b.T),
    ):
        h = paired_kernel(k, x, y)
        if estimator == "unbiased":
            np.fill_diagonal(h, 0)
        exact = np.einsum("bi,ij,bj->b", signs, h, signs)
        result = pt.mmd_test(
            x + 0.1,  # h does not see the shift
            y + 0.1,
            kernel=kernel,
            estimator=estimator,
            method="wild_bootstrap",
            n_permutations=400,
            rng=seed,
        )
        assert result.pvalue == (1 + np.sum(exact[1:] >= exact[0])) / 401


@pytest.mark.native
@given(sets=pairs_of_sets(), seed=SEEDS, estimator=st.sampled_from(ESTIMATORS))
def test_one_seed_gives_one_bootstrap_on_both_backends(sets, seed, estimator):
    n = min(len(p.array) for p in sets)
    if n < 2:
        return
    x, y = (p.array[:n] for p in sets)
    largest = float(cdist(*(p.values for p in sets)).max()) or 1.0
    options = {"estimator": estimator, "method": "wild_bootstrap", "n_permutations": 20}
    results = []
    for name in ("native", "numpy"):
        with on_backend(name):
            results.append(pt.energy_test(x, y, rng=seed, **options))
    np.testing.assert_allclose(
        results[0].null_distribution, results[1].null_distribution, rtol=0, atol=1e-10 * largest
    )


ROUNDED: dict[str, Callable[[Any, int], tuple[Any, Any]]] = {
    "normal": lambda rng, n: (rng.normal(size=(n, 3)), rng.normal(size=(n, 3))),
    "drift": lambda rng, n: (rng.normal(size=(n, 3)), rng.normal(size=(n, 3)) + 0.3),
    "repeated": lambda rng, n: rng.normal(size=(20, 3))[rng.integers(20, size=(2, n))],
    "two values": lambda rng, n: rng.integers(2, size=(2, n, 1)),
    "lattice": lambda rng, n: rng.integers(4, size=(2, n, 2)) / 2 + 0.25,
    "clusters": lambda rng, n: rng.normal(size=(2, n, 3)) + 1e4 * rng.integers(2, size=(2, n, 1)),
    "offset": lambda rng, n: rng.normal(size=(2, n, 3)) + 1e4,
    "heavy tails": lambda rng, n: rng.standard_cauchy((2, n, 3)),
    "outlier": lambda rng, n: rng.normal(size=(2, n, 3)) * (1 + 1e6 * (np.arange(n) == 5))[:, None],
}
ROUNDED_KERNELS = {
    "narrow": pt.Gaussian(0.1),  # most values below 1e-20, a few near 1
    "wide": pt.Gaussian(1e3),  # 1 up to 1e-6
    "sum": pt.Gaussian(0.1) + pt.Laplace(1.0) + pt.Gaussian(30.0),
    "energy": pt.Energy(),
    "squares": pt.Energy(2.0),
    "cubes": pt.Polynomial(3),
}


@pytest.mark.native
@pytest.mark.parametrize("data", ROUNDED)
def test_rounding_values_of_narrow_inputs_changes_no_pvalue(data):
    n = 530
    x, y = (np.asarray(z, "f") for z in ROUNDED[data](np.random.default_rng(0), n))
    rounded = 0
    for name, kernel in ROUNDED_KERNELS.items():
        rounded += (
            nulls.Samples(x, y, kernel._terms(x.shape[1], {}), "biased", 1).rounding_step() > 0
        )
        options = {"kernel": kernel, "method": "wild_bootstrap", "n_permutations": 99, "rng": 0}
        got = pt.mmd_test(x, y, **options)
        exact = pt.mmd_test(x.astype("d"), y.astype("d"), **options)
        assert got.pvalue == exact.pvalue, name
        np.testing.assert_allclose(
            [got.statistic, *got.null_distribution],
            [exact.statistic, *exact.null_distribution],
            rtol=0,
            atol=1e-6 * np.std(exact.null_distribution),
            err_msg=name,
        )
    assert rounded >= 4


@pytest.mark.native
def test_rounded_values_keep_ties():
    # h takes few values, and with it the statistic: most signs tie with others, the observed too
    rng = np.random.default_rng(0)
    x, y = np.zeros((2, 600, 1), "f")
    x[rng.permutation(600)[:4]] = 1 / 3
    for kernel in (pt.Gaussian(1.0), pt.Energy(), pt.Linear()):
        results = [
            pt.mmd_test(a, b, kernel=kernel, method="wild_bootstrap", n_permutations=200, rng=1)
            for a, b in ((x, y), (x.astype("d"), y.astype("d")))
        ]
        assert results[0].pvalue == results[1].pvalue > 0.08  # of 16 signs, two tie with all +1
        assert len(np.unique(results[0].null_distribution.round(14))) <= 3


def test_what_is_rounded(samples):
    x, y = (np.resize(s, (600, 3)).astype("f") for s in samples)
    terms, of_two = (k._terms(3, {}) for k in (pt.Gaussian(1.0), pt.Gaussian(1.0) + pt.Linear()))

    def rounding_step(a: Any, b: Any, terms: Any) -> float:
        return nulls.Samples(a, b, terms, "unbiased", 1).rounding_step()

    h = paired_kernel(lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / 2), x, y)
    assert rounding_step(x, y, terms) == pytest.approx(2.0**-22 * np.abs(h).mean(), rel=0.2)
    assert rounding_step(y, x, terms) == pytest.approx(rounding_step(x, y, terms), rel=1e-12)
    assert rounding_step(x.astype("d"), y, terms) == 0  # float64 stays so
    assert rounding_step(x[:500], y[:500], terms) == 0  # and what takes no time
    assert rounding_step(x, y, of_two) == 0  # no sweep sees both parts of a value
    assert rounding_step(x, x, terms) == 0  # nothing to go by


# --- cheap permutation --------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("n", "m", "bins"), [(30, 30, 6), (40, 20, 12), (31, 17, 7), (9, 50, 8)])
def test_bins_are_groups_exchanged_whole(n, m, bins, estimator):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
    of_x = max(1, round(bins * n / (n + m)))
    edges = [np.arange(of_x + 1) * n // of_x, np.arange(bins - of_x + 1) * m // (bins - of_x)]
    groups = np.repeat(np.arange(bins), np.concatenate([np.diff(e) for e in edges]))
    for kernel, _ in KERNELS.values():
        options = {"kernel": kernel, "estimator": estimator, "n_permutations": 50, "rng": 5}
        cheap = pt.mmd_test(x, y, method="cheap_permutation", n_bins=bins, **options)
        whole = pt.mmd_test(x, y, groups=groups, method="random", **options)
        np.testing.assert_allclose(
            cheap.null_distribution, whole.null_distribution, rtol=0, atol=1e-12
        )
        assert cheap.pvalue == whole.pvalue


@pytest.mark.parametrize("seed", range(8))
def test_bins_of_single_rows_are_a_permutation_test(seed):
    # ties included, of whole numbers
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 3, size=(2, 4, 2)) + 0.1
    options = {"n_permutations": 300, "rng": seed}
    for estimator in ESTIMATORS:
        permuted = pt.energy_test(x, y, estimator=estimator, method="random", **options)
        cheap = pt.energy_test(
            x, y, estimator=estimator, method="cheap_permutation", n_bins=8, **options
        )
        assert cheap.pvalue == permuted.pvalue
    defaults = pt.energy_test(x, y, method="cheap_permutation", **options)
    assert defaults.pvalue == pt.energy_test(x, y, method="random", **options).pvalue


@given(n=st.integers(1, 3000), m=st.integers(1, 3000))
def test_bins_of_both_samples_are_of_one_size_by_default(n, m):
    bins = nulls.check_bins(None, n, m, "biased")
    of_x, of_y = (len(edges) - 1 for edges in nulls._bin_edges(n, m, bins))
    assert of_x + of_y == bins
    assert bins >= min(63, n + m)
    assert abs((n / of_x) / (m / of_y) - 1) < 0.016  # half a bin of 32
    assert math.comb(bins, of_x) >= min(10**5, math.comb(n + m, n))


def test_bins_of_a_small_sample_hold_their_level():
    """Of 64 bins y would have one of 2 rows and x 63 of 4, and p be too small."""
    rng = np.random.default_rng(8)
    runs = 60
    pvalues = np.array(
        [
            pt.energy_test(
                rng.normal(size=254),
                rng.normal(size=2),
                method="cheap_permutation",
                n_permutations=199,
                workers=1,
                rng=rng,
            ).pvalue
            for _ in range(runs)
        ]
    )
    for alpha in (0.05, 0.1, 0.3):
        rejected = np.count_nonzero(pvalues <= alpha)
        assert stats.binom.sf(rejected - 1, runs, alpha) > 1e-3
        assert stats.binom.cdf(rejected, runs, alpha) > 1e-3


def test_more_bins_than_memory_should_hold_are_refused():
    with pytest.raises(ValueError, match="of 9,000 and 1 rows need more than 4,096 of them; use"):
        pt.energy_test(np.zeros(9000), np.zeros(1), method="cheap_permutation")


# --- gamma and spectrum -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [0.02, 0.5, 1.0, 7.3, 90.0, 4000.0])
def test_the_gamma_tail_is_scipys(shape):
    for q in (1e-200, 1e-12, 1e-3, 0.2, 0.6, 0.999, 1 - 1e-9):
        x = special.gammainccinv(shape, q)
        expected = special.gammaincc(shape, x)
        assert nulls.gamma_tail(shape, x) == pytest.approx(expected, rel=1e-9, abs=1e-15)
    assert nulls.gamma_tail(shape, 0.0) == nulls.gamma_tail(shape, -1.0) == 1.0


@pytest.mark.parametrize("shape", [9e5, 1.1e6, 1e9, 1e16])
def test_the_gamma_tail_of_large_shapes(shape):
    for deviations in (-6.0, -1.0, -1e-3, 0.0, 1e-3, 2.0, 8.0):
        x = shape + deviations * np.sqrt(shape)
        expected = special.gammaincc(shape, x)
        assert nulls.gamma_tail(shape, x) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("sigma", [0.2, 0.05, 1e-3])
def test_gamma_of_a_kernel_that_tells_all_rows_apart(sigma):
    """The null distribution shrinks to a point, which is where the statistic is."""
    x, y = np.arange(8.0)[::2, None], np.arange(8.0)[1::2, None]
    for estimator in ESTIMATORS:
        p = pt.mmd_test(x, y, kernel=pt.Gaussian(sigma), estimator=estimator, method="gamma").pvalue
        assert p > 0.3


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", ["gaussian", "energy", "polynomial"])
def test_gamma_has_the_two_moments(name, estimator):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(4, 2)), rng.normal(size=(5, 2))
    kernel, formula = KERNELS[name]
    pooled = np.vstack([x, y])
    k = formula(pooled, pooled)
    i, j, a, b = np.array(list(itertools.permutations(range(9), 4))).T
    spread = np.mean(k[i, j] ** 2 - 2 * k[i, j] * k[i, a] + k[i, j] * k[a, b])
    scale = 1 / 4 + 1 / 5
    mean = scale * (np.mean(np.diag(k)) - np.mean(k[i, j]))
    variance = 2 * scale**2 * spread
    value = pt.mmd(x, y, kernel=kernel, estimator=estimator)
    result = pt.mmd_test(x, y, kernel=kernel, estimator=estimator, method="gamma")
    biased = value + (mean if estimator == "unbiased" else 0)
    expected = stats.gamma.sf(biased, mean**2 / variance, scale=variance / mean)
    assert result.pvalue == pytest.approx(expected, rel=1e-8)


def test_gamma_is_close_to_grettons_for_equal_sizes():
    # the moments of the original code, which estimates them from the pairs (x_i, y_i)
    rng = np.random.default_rng(3)
    n = 400
    for shift in (0.0, 0.03, 0.08):
        x, y = rng.normal(size=(n, 4)), rng.normal(size=(n, 4)) + shift
        k = KERNELS["gaussian"][1]
        h = paired_kernel(k, x, y)
        mean = 2 / n * (1 - np.mean(np.diag(k(x, y))))
        np.fill_diagonal(h, 0)
        variance = 2 * np.sum(h**2) / (n * (n - 1)) ** 2
        statistic = pt.mmd(x, y, kernel=pt.Gaussian(gamma=0.25), estimator="biased")
        theirs = stats.gamma.sf(statistic, mean**2 / variance, scale=variance / mean)
        ours = pt.mmd_test(x, y, kernel=pt.Gaussian(gamma=0.25), method="gamma").pvalue
        assert ours == pytest.approx(theirs, abs=0.03)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_spectrum_of_a_mean_difference_is_one_chi_square(estimator):
    # in one dimension the centred linear kernel has one eigenvalue, the variance
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(30, 1)), rng.normal(size=(50, 1))
    result = pt.mmd_test(
        x, y, kernel="linear", estimator=estimator, method="spectrum", n_permutations=100, rng=9
    )
    z = np.random.default_rng(9).standard_normal((100, 80))[:, -1]
    variance = np.var(np.vstack([x, y]))
    centre = 0 if estimator == "biased" else 1
    expected = (1 / 30 + 1 / 50) * variance * (z**2 - centre)
    np.testing.assert_allclose(result.null_distribution, expected, rtol=1e-9, atol=1e-15)


# --- level and power ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["wild_bootstrap", "cheap_permutation"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_pvalues_are_uniform_under_the_null(method, estimator):
    rng = np.random.default_rng(5)
    pvalues = np.array(
        [
            pt.mmd_test(
                *rng.normal(size=(2, 16, 2)),
                kernel=pt.Gaussian(1.0),
                estimator=estimator,
                method=method,
                n_bins=8 if method == "cheap_permutation" else None,
                n_permutations=49,
                rng=rng,
            ).pvalue
            for _ in range(200)
        ]
    )
    if method == "cheap_permutation":  # of 70 relabellings two in 70 tie with the observed one
        assert np.all([np.mean(pvalues <= a) < a + 0.05 for a in (0.05, 0.1, 0.3)])
        return
    spread = rng.random(200) / 50
    assert stats.kstest(pvalues - spread, "uniform").pvalue > 1e-3


def shares_rejected(method: str, shift: float, repeats: int, **options: Any) -> float:
    """At level 5 %, of samples of 40 numbers whose means differ by `shift`."""
    rng = np.random.default_rng(6)
    rejected = 0
    for _ in range(repeats):
        x, y = rng.normal(size=(2, 40, 1))
        result = pt.mmd_test(
            x, y + shift, method=method, n_permutations=99, rng=rng, workers=1, **options
        )
        rejected += result.pvalue <= 0.05
    return rejected / repeats


@pytest.mark.parametrize("method", METHODS)
def test_level_and_power_of_a_mean_difference_are_those_of_the_z_test(method):
    # With the linear kernel the statistic is (x̄ − ȳ)².
    options = {"kernel": "linear", "estimator": "biased"}
    repeats = 120
    three = 3 * np.sqrt(0.25 / repeats)
    assert shares_rejected(method, 0.0, repeats, **options) < 0.05 + three / 2
    noncentrality = 0.6325 * np.sqrt(40 / 2)
    power = stats.norm.sf(1.96 - noncentrality) + stats.norm.cdf(-1.96 - noncentrality)
    assert power == pytest.approx(0.807, abs=1e-3)
    assert shares_rejected(method, 0.6325, repeats, **options) == pytest.approx(power, abs=three)


# --- bad input ----------------------------------------------------------------------------------


def test_bad_input_says_what_is_wrong(samples):
    x, y = samples
    for test in (pt.mmd_test, pt.energy_test):
        with pytest.raises(ValueError, match=r"unknown method 'bootstrap'"):
            test(x, y, method="bootstrap")
        with pytest.raises(ValueError, match=r"pairs row i .* x has 70 and y has 60"):
            test(x, y[:60], method="wild_bootstrap")
        with pytest.raises(ValueError, match=r"groups= needs method='permutation'"):
            test(x, y, groups=np.arange(140), method="gamma")
        with pytest.raises(ValueError, match="n_bins needs method='cheap_permutation'"):
            test(x, y, n_bins=10)
        with pytest.raises(ValueError, match=r"n_bins is 141, but .* only 140 rows"):
            test(x, y, method="cheap_permutation", n_bins=141)
        with pytest.raises(ValueError, match="n_bins must be at least 2"):
            test(x, y, method="cheap_permutation", n_bins=1)
        with pytest.raises(ValueError, match="can leave a sample with one row"):
            test(x[:2], y[:9], method="cheap_permutation", n_bins=6, estimator="unbiased")
        for method in METHODS:
            with pytest.raises(ValueError, match="n_permutations must be at least 1"):
                test(x, y, method=method, n_permutations=0)
            with pytest.raises(ValueError, match="1 row and the unbiased estimator needs"):
                test(x[:1], y[:1], method=method, estimator="unbiased")
        with pytest.raises(ValueError, match="at least 4 rows"):
            test(x[:1], y[:2], method="gamma", estimator="biased")
    with pytest.raises(ValueError, match="one sweep does not give"):
        pt.mmd_test(x, y, kernel=pt.Gaussian(1.0) + pt.Linear(), method="gamma")
    with pytest.raises(ValueError, match="median"):
        pt.mmd_test(np.ones((9, 2)), np.ones((9, 2)), method="wild_bootstrap")
