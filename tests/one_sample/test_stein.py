"""Kernel Stein discrepancy and its test.

The oracle is the definition: derivatives of the kernel's value by automatic differentiation and by
Cauchy's integrals, every sign vector of a small sample. Statistically: the discrepancy of a
sample from its own density has mean 0, and the test keeps its level.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile, native_and_twin
from formulas import gaussian, matern, stein_matrix
from pairtile._backends import numpy as twin
from pairtile.stein import _diagonal
from strategies import SEEDS, point_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

with contextlib.suppress(ImportError):  # tests that use it carry the marker `native`
    from pairtile import _native

native = pytest.mark.native

KERNELS = {
    "gaussian": pt.Gaussian(1.3),
    "rational_quadratic": pt.RationalQuadratic(0.9, alpha=2.0),
    "inverse_multiquadric": pt.InverseMultiquadric(0.7, beta=0.3),
    "matern32": pt.Matern(1.1, nu=1.5),
    "matern52": pt.Matern(0.8, nu=2.5),
    "sum": 0.5 * pt.Gaussian(2.0) + 2 * pt.InverseMultiquadric(1.5),
}


def formula(torch: Any, kernel: pt.Kernel, x: Any, y: Any) -> Any:
    """The kernel's value in terms that torch differentiates."""
    s = ((x - y) ** 2).sum()
    match kernel:
        case pt.Gaussian():
            return torch.exp(-s / (2 * kernel.sigma**2))
        case pt.RationalQuadratic():
            return (1 + s / (2 * kernel.alpha * kernel.length_scale**2)) ** -kernel.alpha
        case pt.InverseMultiquadric():
            return (kernel.c**2 + s) ** -kernel.beta
        case pt.Matern(nu=1.5):
            z = torch.sqrt(3 * s) / kernel.length_scale
            return (1 + z) * torch.exp(-z)
        case pt.Matern():
            z = torch.sqrt(5 * s) / kernel.length_scale
            return (1 + z + z**2 / 3) * torch.exp(-z)
    return sum(w * formula(torch, part, x, y) for w, part in kernel._parts())


@pytest.mark.oracle("torch")
@pytest.mark.parametrize("name", KERNELS)
def test_the_stein_kernel_is_its_definition(name):
    import torch

    kernel = KERNELS[name]
    rng = np.random.default_rng(0)
    rows, scores = (torch.tensor(rng.normal(size=(4, 3))) for _ in range(2))

    def defined(i: int, j: int) -> float:
        x, y = (rows[at].clone().requires_grad_() for at in (i, j))
        k = formula(torch, kernel, x, y)
        by_x, by_y = torch.autograd.grad(k, (x, y), create_graph=True)
        trace = sum(torch.autograd.grad(by_x[f], y, retain_graph=True)[0][f] for f in range(3))
        value = scores[i] @ scores[j] * k + scores[i] @ by_y + scores[j] @ by_x + trace
        return float(value.detach())

    pairs = list(itertools.permutations(range(4), 2))
    off = sum(defined(i, j) for i, j in pairs)
    unbiased = pt.kernel_stein_discrepancy(rows, scores, kernel=kernel, estimator="unbiased")
    np.testing.assert_allclose(unbiased, off / 12, rtol=1e-12)
    if "matern" in name:
        return  # its formula in the distance has no derivative at 0
    biased = pt.kernel_stein_discrepancy(rows, scores, kernel=kernel)
    np.testing.assert_allclose(
        biased, (off + sum(defined(i, i) for i in range(4))) / 16, rtol=1e-12
    )


@pytest.mark.parametrize("nu", [1.5, 2.5])
def test_the_diagonal_is_the_limit_of_near_rows(nu):
    scores = np.array([[0.3, -1.0], [0.3, -1.0]])
    terms = pt.Matern(0.8, nu=nu)._terms(2, {})
    near = np.array([[0.0, 0.0], [1e-9, 0.0]])
    sums = twin.stein_label_sums(near, scores, np.zeros((1, 0), np.uint64), terms, workers=1)
    np.testing.assert_allclose(sums[2] / 2, _diagonal(scores, terms)[0], rtol=1e-7)


def test_repeated_rows_and_a_wide_kernel():
    """Derivatives of the Matérn kernel of order 3/2 are steep at 0, however wide it is."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 80)) * (rng.random((60, 1)) < 0.7)
    scores = -x / 50
    for fact in (matern(None, 150.0, 1.5), matern(None, 150.0, 2.5), gaussian(None, 150.0)):
        matrix = stein_matrix(fact, x, scores, radius=30.0)
        got = pt.kernel_stein_discrepancy(x, scores, kernel=fact.kernel)
        assert abs(got - matrix.mean()) <= 1e-13 * np.diagonal(matrix).max()


@native
@given(
    x=point_sets(rows=st.integers(2, 70), features=st.sampled_from([1, 2, 4, 5, 9, 33])),
    n_labels=st.sampled_from([0, 1, 8, 17, 65]),
    seed=SEEDS,
    tile=st.sampled_from([(0, 0), (1, 1), (14, 32), (50, 300)]),
)
def test_native_stein_sums_are_the_twins(x, n_labels, seed, tile):
    rng = np.random.default_rng(seed)
    n, d = x.values.shape
    length = float(np.sqrt(((x.values - x.values.mean(axis=0)) ** 2).sum(axis=1).mean())) or 1.0
    scores = 5 + rng.normal(size=(n, d)) / length
    labels = rng.integers(2**64 - 1, size=((n + 63) // 64, n_labels), dtype=np.uint64)
    kernels = (pt.Gaussian(length), pt.InverseMultiquadric(length), pt.Matern(length))
    for kernel in (*kernels, pt.Gaussian(1e-2 * length) + pt.Matern(length, nu=2.5)):
        terms = kernel._terms(d, {})
        expected = twin.stein_label_sums(x.array, scores, labels, terms, workers=1)
        with forced_tile(*tile):
            got, other = (
                _native.stein_label_sums(x.array, scores, labels, terms, workers=w) for w in (1, 3)
            )
        # |k_p(x, y)|² <= k_p(x, x) k_p(y, y)
        largest = float(_diagonal(scores, terms).max())
        for mine, again, theirs in zip(got, other, expected, strict=True):
            assert np.array_equal(mine, again)
            assert (np.abs(np.subtract(mine, theirs)) <= 1e-12 * largest * n**2).all()


@native
@pytest.mark.parametrize("kind", ["two clusters", "offset", "near copies", "repeated"])
def test_hostile_samples(kind):
    rng = np.random.default_rng(1)
    n = 120
    x, scores = rng.normal(size=(n, 9)), rng.normal(size=(n, 9))
    if kind != "offset":
        gap = {"two clusters": 1e-4, "near copies": 1e-6, "repeated": 0.0}[kind]
        x[::2] = x[1::2] + gap * rng.normal(size=(n // 2, 9))
    x += 1e6 if kind == "offset" else 1e4 * (np.arange(n) < n // 2)[:, None]
    for sigma in (1e-3, 1.0, 1e3):
        kernel = pt.Gaussian(sigma)
        one, twin = native_and_twin(
            pt.kernel_stein_discrepancy, x, scores / sigma, kernel=kernel, estimator="unbiased"
        )
        largest = float(_diagonal(scores / sigma, kernel._terms(9, {})).max())
        # under a narrow kernel each row has no more than its copy
        assert n * abs(one - twin) <= 1e-12 * largest * (1 if sigma < 1 else n), sigma


def test_the_median_bandwidth_is_that_of_the_sample():
    x = np.random.default_rng(2).normal(size=(40, 3))
    explicit = pt.InverseMultiquadric(pt.median_distance(x))
    assert pt.kernel_stein_discrepancy(x, -x) == pt.kernel_stein_discrepancy(x, -x, kernel=explicit)
    with pytest.raises(ValueError, match="c='median' is 0"):
        pt.kernel_stein_discrepancy(np.ones((5, 2)), np.ones((5, 2)))


def test_translation_and_rotation_change_nothing():
    rng = np.random.default_rng(3)
    x, scores = rng.normal(size=(60, 6)), rng.normal(size=(60, 6))
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    for kernel in KERNELS.values():
        here = pt.kernel_stein_discrepancy(x, scores, kernel=kernel)
        moved = pt.kernel_stein_discrepancy(x @ rotation + 100, scores @ rotation, kernel=kernel)
        np.testing.assert_allclose(here, moved, rtol=1e-10)


def test_the_discrepancy_of_a_sample_from_its_own_density_has_mean_zero():
    rng = np.random.default_rng(4)
    for kernel in (pt.Gaussian(1.5), pt.InverseMultiquadric(1.0)):
        values = []
        for _ in range(300):
            x = rng.normal(size=(15, 2)) * [1.0, 2.0] + 1
            scores = -(x - 1) / [1.0, 4.0]
            values.append(
                pt.kernel_stein_discrepancy(x, scores, kernel=kernel, estimator="unbiased")
            )
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values)) < 4 * error
        # and of another density it has not
        far = [
            pt.kernel_stein_discrepancy(x, -x, kernel=kernel, estimator="unbiased")
            for x in rng.normal(size=(50, 15, 2)) * [1.0, 2.0] + 1
        ]
        assert np.mean(far) > 4 * np.std(far) / np.sqrt(len(far))


# --- the test -----------------------------------------------------------------------------------


def test_the_null_is_that_of_all_sign_vectors():
    rng = np.random.default_rng(5)
    x, scores = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    kernel = pt.Gaussian(1.0)
    matrix = stein_matrix(gaussian(None, 1.0), x, scores)
    signs = np.array(list(itertools.product([-1, 1], repeat=6)))
    for estimator in ("biased", "unbiased"):
        k = matrix.copy()
        if estimator == "unbiased":
            np.fill_diagonal(k, 0)
        divisor = 36 if estimator == "biased" else 30
        every = np.einsum("bi,ij,bj->b", signs, k, signs) / divisor
        result = pt.stein_test(
            x, scores, kernel=kernel, estimator=estimator, n_bootstrap=4000, rng=0
        )
        np.testing.assert_allclose(result.statistic, k.sum() / divisor, rtol=1e-12)
        found = np.unique(np.round(result.null_distribution, 9))
        assert np.array_equal(found, np.unique(np.round(every, 9)))
        exact = np.mean(every >= result.statistic - 1e-12)
        assert abs(result.pvalue - exact) < 4 * np.sqrt(exact * (1 - exact) / 4000)


def test_sign_vectors_that_tie_in_theory_tie():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(2, 3)) / 3 + 7
    result = pt.stein_test(x, 100 + 0 * x, kernel=pt.Gaussian(1.0), n_bootstrap=2000, rng=1)
    assert 0.45 < result.pvalue < 0.55  # equal signs, which leave the statistic as it is
    # all signs turned do too, in other sums
    for n, seed in itertools.product((3, 4, 5), range(6)):
        rng = np.random.default_rng(seed)
        x, scores = rng.normal(size=(n, 3)) / 3 + 7, 100 * rng.normal(size=(n, 3))
        result = pt.stein_test(x, scores, kernel=pt.Gaussian(1.0), n_bootstrap=300, rng=1)
        assert result.statistic > 0
        at_least = int((result.null_distribution >= (1 - 1e-9) * result.statistic).sum())
        assert result.pvalue == (1 + at_least) / 301


def test_both_estimators_have_one_p_value_and_both_backends_one_null():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    u, v = (
        pt.stein_test(x, -x, estimator=estimator, n_bootstrap=99, rng=3)
        for estimator in ("unbiased", "biased")
    )
    assert u.pvalue == v.pvalue
    assert np.array_equal(np.argsort(u.null_distribution), np.argsort(v.null_distribution))
    assert v.statistic == pt.kernel_stein_discrepancy(x, -x)


@native
def test_backends_agree_on_the_null():
    x = np.random.default_rng(8).normal(size=(130, 3))
    options = {"change_probability": 0.1, "n_bootstrap": 70, "rng": 3}
    mine, twins = native_and_twin(pt.stein_test, x, -x, **options)
    assert mine.pvalue == twins.pvalue
    np.testing.assert_allclose(mine.null_distribution, twins.null_distribution, rtol=1e-11)


def _rejections(runs: int, n: int, shift: float, rng: np.random.Generator) -> float:
    rejected = 0
    for _ in range(runs):
        x = rng.normal(size=(n, 2))
        options = {"kernel": pt.InverseMultiquadric(1.5), "n_bootstrap": 99, "workers": 1}
        result = pt.stein_test(x, shift - x, rng=rng, **options)
        rejected += result.pvalue <= 0.05
    return rejected / runs


def test_level_and_power():
    rng = np.random.default_rng(9)
    assert _rejections(200, 40, 0.0, rng) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 200)
    assert _rejections(40, 60, 0.6, rng) > 0.8


@pytest.mark.hand
def test_level_in_a_long_run():
    runs = 4000
    rate = _rejections(runs, 100, 0.0, np.random.default_rng(10))
    assert abs(rate - 0.05) < 4 * np.sqrt(0.05 * 0.95 / runs)


def test_dependent_rows_need_dependent_signs():
    rng = np.random.default_rng(11)
    rejected = {0.5: 0, 0.02: 0}
    for _ in range(30):
        x = np.empty((200, 1))
        x[0] = rng.normal()
        for t in range(1, 200):
            x[t] = 0.9 * x[t - 1] + np.sqrt(1 - 0.81) * rng.normal()
        for change in rejected:
            options = {"kernel": pt.InverseMultiquadric(1.0), "n_bootstrap": 99, "workers": 1}
            result = pt.stein_test(x, -x, change_probability=change, rng=rng, **options)
            rejected[change] += result.pvalue <= 0.05
    assert rejected[0.02] <= 6 < 10 < rejected[0.5]


# --- bad input ----------------------------------------------------------------------------------

X = np.random.default_rng(12).normal(size=(8, 2))
REFUSED = {
    "scores with other rows": ({"scores": X[:5]}, ["scores", "(8, 2)", "(5, 2)"]),
    "scores with other columns": ({"scores": X[:, :1]}, ["scores", "(8, 2)", "(8, 1)"]),
    "scores in one dimension": ({"scores": X[:, 0]}, ["scores", "2-D"]),
    "scores that are not finite": (
        {"scores": np.where(X[3] == X, np.nan, X)},
        ["scores", "row is 3"],
    ),
    "one row": ({"x": X[:1], "scores": X[:1]}, ["two rows"]),
    "a kernel with a kink": ({"kernel": "laplace"}, ["Laplace", "no derivative"]),
    "the energy kernel": ({"kernel": pt.Energy()}, ["Energy", "no derivative"]),
    "a kernel of products": ({"kernel": pt.Gaussian(1.0) + pt.Linear()}, ["Linear", "distance"]),
    "another estimator": ({"estimator": "linear"}, ["estimator", "linear"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_input_that_is_refused(case):
    options, words = REFUSED[case]
    for call in (pt.kernel_stein_discrepancy, pt.stein_test):
        with pytest.raises(ValueError) as raised:
            call(**{"x": X, "scores": X, **options})
        assert all(word in str(raised.value) for word in words)


@pytest.mark.parametrize("options", [{"n_bootstrap": 0}, {"change_probability": 0.7}])
def test_options_of_the_test_that_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        pt.stein_test(X, X, **options)


@pytest.mark.native
@pytest.mark.parametrize(
    "kernel",
    [
        pt.Gaussian(1.0),
        pt.Matern(1.0),
        pt.Matern(1.0, nu=2.5),
        pt.RationalQuadratic(1.0),
        pt.InverseMultiquadric(1.0),
    ],
)
@pytest.mark.parametrize("size", [1e-310, 1e-160, 1e-80, 1e80, 1e100, 1e140])
def test_rows_of_any_size(size, kernel):
    """Near each other k is 1 for all pairs, far apart only a row and itself are left."""
    z, s = np.random.default_rng(0).normal(size=(2, 20, 3))
    at_zero = pt.kernel_stein_discrepancy(np.zeros((20, 3)), s, kernel=kernel)
    alone = [
        pt.kernel_stein_discrepancy(np.zeros((2, 3)), s[[i, i]], kernel=kernel) for i in range(20)
    ]
    right = at_zero if size < 1 else np.mean(alone) / 20
    for found in native_and_twin(pt.kernel_stein_discrepancy, z * size, s, kernel=kernel):
        assert found == pytest.approx(right, rel=1e-6)
    for test in native_and_twin(pt.stein_test, z * size, s, kernel=kernel, n_bootstrap=9, rng=0):
        assert test.statistic == pytest.approx(right, rel=1e-6)
