"""MMD in blocks, its variance, and KID.

Oracles: the definitions over explicit matrices, brute means over distinct rows for the moments in
the variance, simulation for its bias, and KID as torch-fidelity and torchmetrics compute it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

import pairtile as pt
from backends import forced_tile, native_and_twin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

native = pytest.mark.native


def samples(n: int, m: int, d: int, shift: float = 0.3) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) + shift


def gaussian(sigma: float) -> Any:
    return lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / (2 * sigma**2))


KERNELS = {
    "gaussian": (pt.Gaussian(2.0), gaussian(2.0)),
    "polynomial": (pt.Polynomial(3), lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3),
    "energy": (pt.Energy(), lambda a, b: -cdist(a, b)),
    "mixed": (
        pt.Gaussian(2.0) + 0.5 * pt.Cosine(),
        lambda a, b: gaussian(2.0)(a, b) + 0.5 * (1 - cdist(a, b, "cosine")),
    ),
}


# --- linear and block ---------------------------------------------------------------------------


def in_blocks(k: Any, x: Floats, y: Floats, size: int) -> float:
    """Mean over blocks of the U-statistic of h(z, z')."""
    values = []
    for first in range(0, len(x) - size + 1, size):
        a, b = x[first : first + size], y[first : first + size]
        h = k(a, a) + k(b, b) - k(a, b) - k(a, b).T
        np.fill_diagonal(h, 0)
        values.append(h.sum() / (size * (size - 1)))
    return float(np.mean(values))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("n", [2, 3, 20, 61, 333])
def test_linear_and_block_are_their_definition(name, n):
    x, y = samples(n, n, 5)
    kernel, formula = KERNELS[name]
    got = pt.mmd(x, y, kernel=kernel, estimator="linear")
    assert got == pytest.approx(in_blocks(formula, x, y, 2), rel=1e-10, abs=1e-13)
    for size in {None, 2, 3, n // 2, n} - {0, 1}:
        if size is not None and size > n:
            continue
        got = pt.mmd(x, y, kernel=kernel, estimator="block", block_size=size)
        expected = in_blocks(formula, x, y, size or max(2, int(n**0.5)))
        assert got == pytest.approx(expected, rel=1e-10, abs=1e-13)


def block_values(k: Any, x: Floats, y: Floats, size: int) -> Floats:
    return np.array(
        [in_blocks(k, x[i : i + size], y[i : i + size], size) for i in range(0, len(x), size)]
    )


@pytest.mark.native  # two billion pairs
def test_blocks_that_are_taken_unasked_are_no_larger_than_1024():
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=(2, 1100**2, 1)).astype(np.float32)
    few = slice(0, 2 * 1024)
    found = pt.mmd(x, y, kernel="linear", estimator="block", block_size=1024)
    assert pt.mmd(x, y, kernel="linear", estimator="block") == found
    assert pt.mmd(x[few], y[few], kernel="linear", estimator="block") != found


# --- their test -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("estimator", "size"), [("linear", None), ("block", 5), ("block", None)])
@pytest.mark.parametrize("name", ["gaussian", "energy"])
def test_the_normal_null_is_a_z_test_of_the_blocks(name, estimator, size):
    x, y = samples(100, 100, 3, shift=0.15)
    kernel, formula = KERNELS[name]
    values = block_values(formula, x, y, 2 if estimator == "linear" else size or 10)
    expected = stats.norm.sf(values.mean() / stats.sem(values))
    for method in (None, "normal"):
        result = pt.mmd_test(
            x, y, kernel=kernel, estimator=estimator, block_size=size, method=method
        )
        assert result.statistic == pytest.approx(values.mean(), rel=1e-9)
        assert result.pvalue == pytest.approx(expected, rel=1e-7)
        assert 0.001 < expected < 0.999
        assert (result.null, result.n_permutations, result.pvalue_interval) == ("normal", 0, None)
        assert result.null_distribution.shape == (0,)
        assert (result.n, result.m) == (100, 100)
    plain = pt.mmd(x, y, kernel=kernel, estimator=estimator, block_size=size, precision="float64")
    assert result.statistic == plain


def test_the_kernel_of_a_block_test_has_the_bandwidth_of_its_rows():
    rng = np.random.default_rng(13)
    x, y = rng.normal(size=(2, 2100, 2))
    draws = np.random.default_rng(0)
    sigma = pt.median_distance(x[draws.permutation(2100)[:2000]], y[draws.permutation(2100)[:2000]])
    result = pt.mmd_test(x, y, estimator="linear")
    assert result.kernel == f"Gaussian(sigma={sigma:.6g})"
    assert result.statistic == pt.mmd(x, y, kernel="gaussian", estimator="linear")


@pytest.mark.parametrize(("estimator", "n"), [("linear", 200), ("block", 225)])
def test_the_normal_null_keeps_its_level(estimator, n):
    rng = np.random.default_rng(14)
    options = {"kernel": pt.Gaussian(1.5), "estimator": estimator, "workers": 1}
    pvalues = np.array(
        [pt.mmd_test(*rng.normal(size=(2, n, 2)), **options).pvalue for _ in range(600)]
    )
    for level in (0.05, 0.1, 0.5):
        assert np.mean(pvalues <= level) == pytest.approx(level, abs=0.2 * level + 0.02)
    x, y = rng.normal(size=(2, 4 * n, 2))
    assert pt.mmd_test(x, y + 1.0, **options).pvalue < 1e-3


def test_samples_without_spread_have_no_small_p():
    x = np.random.default_rng(15).normal(size=(64, 5))
    for estimator in ("linear", "block"):
        same = pt.mmd_test(x, x.copy(), kernel=pt.Gaussian(1.0), estimator=estimator)
        assert (same.statistic, same.pvalue) == (0.0, 1.0)
        apart = pt.mmd_test(0 * x, 0 * x + 1, kernel=pt.Gaussian(1.0), estimator=estimator)
        assert apart.pvalue == 0.0
        assert apart.statistic == pytest.approx(2 - 2 * np.exp(-2.5))


def test_bad_arguments_of_the_normal_null():
    x, y = samples(20, 20, 2)
    for estimator, method in (("linear", "permutation"), ("block", "gamma"), ("biased", "normal")):
        with pytest.raises(ValueError, match=f"'{estimator}' and method='{method}' do not go"):
            pt.mmd_test(x, y, estimator=estimator, method=method)
    with pytest.raises(ValueError, match="'biased' and method='normal' do not go together"):
        pt.energy_test(x, y, method="normal")
    with pytest.raises(ValueError, match="20 rows make 1 block of 15, and a spread needs"):
        pt.mmd_test(x, y, estimator="block", block_size=15)
    with pytest.raises(ValueError, match="block_size is for estimator='block'"):
        pt.mmd_test(x, y, block_size=5)
    with pytest.raises(ValueError, match="pairs row i of x with row i of y"):
        pt.mmd_test(x, y[:19], estimator="linear")
    with pytest.raises(ValueError, match="strata= needs method='permutation'"):
        pt.mmd_test(x, y, estimator="linear", strata=np.zeros(40, int))
    with pytest.raises(ValueError, match="paired= needs method='permutation'"):
        pt.mmd_test(x, y, estimator="block", paired=True)


# --- bandwidth, size and bits ---------------------------------------------------------------------


def test_rules_of_bandwidth_look_at_two_thousand_rows():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 2100, 3)).astype(np.float32)
    draws = np.random.default_rng(0)
    seen, other = x[draws.permutation(2100)[:2000]], y[draws.permutation(2100)[:2000]]
    sigma = pt.median_distance(seen, other)
    for estimator in ("linear", "block"):
        got, right = (
            pt.mmd(x, y, kernel=kernel, estimator=estimator)
            for kernel in ("gaussian", pt.Gaussian(sigma))
        )
        assert got == pytest.approx(right, rel=1e-5)


def test_linear_is_lemma_14():
    x, y = samples(41, 41, 3)
    k = gaussian(1.5)
    total = 0.0
    for i in range(0, 40, 2):
        (a, b), (c, d) = x[i : i + 2, None], y[i : i + 2, None]
        total += (k(a, b) + k(c, d) - k(a, d) - k(b, c)).item()
    expected = total / 20
    got = pt.mmd(x, y, kernel=pt.Gaussian(1.5), estimator="linear")
    assert got == pytest.approx(expected, rel=1e-12)
    root = pt.mmd(x, y, kernel=pt.Gaussian(1.5), estimator="linear", squared=False)
    assert root == pytest.approx(max(expected, 0.0) ** 0.5)


def test_one_block_of_all_rows_is_the_paired_statistic():
    # without k(x_i, y_i) in the mean between samples, else the unbiased estimator
    x, y = samples(80, 80, 4)
    got = pt.mmd(x, y, kernel=pt.Gaussian(2.0), estimator="block", block_size=80)
    unbiased = pt.mmd(x, y, kernel=pt.Gaussian(2.0))
    between = gaussian(2.0)(x, y)
    correction = 2 * (between.mean() - (between.sum() - np.trace(between)) / (80 * 79))
    assert got == pytest.approx(unbiased + correction, rel=1e-11)


@native
@pytest.mark.parametrize("size", [2, 7, 33, 300, 700])
def test_native_blocks_are_the_twins(size):
    x, y = (a.astype(np.float32) for a in samples(700, 700, 20))
    for kernel in (pt.Gaussian(4.0), pt.Polynomial(3), pt.Energy()):
        options = {"kernel": kernel, "estimator": "block", "block_size": size}
        found, twin = native_and_twin(pt.mmd, x, y, **options)
        largest = {pt.Polynomial(3): 30.0, pt.Energy(): 12.0}.get(kernel, 1.0)
        assert found == pytest.approx(twin, abs=2e-6 * largest)
        assert pt.mmd(x, y, workers=1, **options) == pt.mmd(x, y, workers=3, **options)
        with forced_tile(14, 32):
            assert pt.mmd(x, y, **options) == pytest.approx(twin, abs=2e-6 * largest)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "linear", "rows": (8, 9)}, "pairs row i of x with row i of y"),
        ({"estimator": "block", "rows": (1, 1)}, "needs at least 2 rows"),
        ({"estimator": "block", "block_size": 9}, "block_size=9 is more than the 8 rows"),
        ({"estimator": "block", "block_size": 1}, "block_size must be at least 2"),
        ({"estimator": "linear", "block_size": 2}, "block_size is for estimator='block'"),
        ({"estimator": "unbiased", "block_size": 2}, "block_size is for estimator='block'"),
        ({"estimator": "block", "x_weights": np.ones(8)}, "takes no weights"),
        ({"estimator": "none"}, "unknown estimator 'none'"),
    ],
)
def test_bad_arguments_of_blocks(options, message):
    n, m = options.pop("rows", (8, 8))
    x, y = samples(n, m, 2)
    with pytest.raises(ValueError, match=message):
        pt.mmd(x, y, kernel=pt.Gaussian(1.0), **options)


# --- variance -----------------------------------------------------------------------------------


def mean_over_distinct(product: Any, *sizes: int) -> float:
    """Mean of a product over tuples of indices, distinct where they are of one sample.

    `sizes` lists (n, how many indices) pairs flattened.
    """
    ranges = [
        list(itertools.permutations(range(n), count))
        for n, count in zip(sizes[::2], sizes[1::2], strict=True)
    ]
    return float(np.mean([product(*chosen) for chosen in itertools.product(*ranges)]))


def brute_power(k: Any, x: Floats, y: Floats) -> tuple[float, float, float]:
    """MMD² and both variances, every moment a mean over distinct rows."""
    n, m = len(x), len(y)
    kx, ky, kxy = k(x, x), k(y, y), k(x, y)
    mean = mean_over_distinct

    def within(k: Floats) -> tuple[float, float, float]:
        n = len(k)
        return (
            mean(lambda i: k[i[0], i[1]] ** 2, n, 2),
            mean(lambda i: k[i[0], i[1]] * k[i[0], i[2]], n, 3),
            mean(lambda i: k[i[0], i[1]] * k[i[2], i[3]], n, 4),
        )

    square_x, shared_x, apart_x = within(kx)
    square_y, shared_y, apart_y = within(ky)
    square = mean(lambda i, j: kxy[i[0], j[0]] ** 2, n, 1, m, 1)
    by_row = mean(lambda i, j: kxy[i[0], j[0]] * kxy[i[0], j[1]], n, 1, m, 2)
    by_col = mean(lambda i, j: kxy[i[0], j[0]] * kxy[i[1], j[0]], n, 2, m, 1)
    apart = mean(lambda i, j: kxy[i[0], j[0]] * kxy[i[1], j[1]], n, 2, m, 2)
    mixed_x = mean(lambda i, j: kx[i[0], i[1]] * kxy[i[0], j[0]], n, 2, m, 1) - mean(
        lambda i, j: kx[i[0], i[1]] * kxy[i[2], j[0]], n, 3, m, 1
    )
    mixed_y = mean(lambda i, j: ky[j[0], j[1]] * kxy[i[0], j[0]], n, 1, m, 2) - mean(
        lambda i, j: ky[j[0], j[1]] * kxy[i[0], j[2]], n, 1, m, 3
    )
    h0 = (
        2 * (square_x - 2 * shared_x + apart_x) / (n * (n - 1))
        + 2 * (square_y - 2 * shared_y + apart_y) / (m * (m - 1))
        + 4 * (square - by_row - by_col + apart) / (n * m)
    )
    of_x = shared_x - apart_x + by_row - apart - 2 * mixed_x
    of_y = shared_y - apart_y + by_col - apart - 2 * mixed_y
    value = (
        (kx.sum() - np.trace(kx)) / (n * (n - 1))
        + (ky.sum() - np.trace(ky)) / (m * (m - 1))
        - 2 * kxy.mean()
    )
    return float(value), h0, h0 + 4 * of_x / n + 4 * of_y / m


@pytest.mark.parametrize("name", ["gaussian", "polynomial", "energy"])
@pytest.mark.parametrize(("n", "m"), [(4, 4), (6, 5)])
def test_variances_are_means_over_distinct_rows(name, n, m):
    x, y = samples(n, m, 2, shift=1.0)
    kernel, formula = KERNELS[name]
    result = pt.mmd_power(x, y, kernel=kernel)
    np.testing.assert_allclose(result[:3], brute_power(formula, x, y), rtol=1e-9, atol=1e-12)
    if result.variance_h1 > 0:
        assert result.ratio == result.mmd / np.sqrt(result.variance_h1)
    else:
        assert np.isnan(result.ratio)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m", "shift"), [(12, 12, 0.0), (20, 9, 0.0), (15, 25, 0.8)])
def test_variances_are_unbiased(n, m, shift):
    rng = np.random.default_rng(1)
    draws = 3000
    found = np.array(
        [
            pt.mmd_power(
                rng.normal(size=(n, 2)),
                rng.normal(size=(m, 2)) + shift,
                kernel=pt.Gaussian(1.0),
                workers=1,
            )[:3]
            for _ in range(draws)
        ]
    )
    values, h0, h1 = found.T
    true = values.var(ddof=1)
    error = true * np.sqrt(((values - values.mean()) ** 4).mean() / true**2 - 1) / np.sqrt(draws)

    def z(estimates: Floats) -> float:
        spread = np.hypot(estimates.std() / np.sqrt(draws), error)
        return float(abs(estimates.mean() - true) / spread)

    assert z(h1) < 4
    if shift == 0:
        assert z(h0) < 4
    else:
        assert z(h0) > 4  # the first-order part is missing: the simulation would notice


@native
@pytest.mark.parametrize("d", [3, 40])
def test_native_variances_are_the_twins(d):
    x, y = samples(300, 210, d)
    for kernel in (pt.Gaussian(np.sqrt(d)), pt.Polynomial(3), pt.Laplace(2.0, norm="l1")):
        found, twin = native_and_twin(pt.mmd_power, x, y, kernel=kernel)
        np.testing.assert_allclose(found, twin, rtol=1e-7)
        single = x.astype(np.float32), y.astype(np.float32)
        narrow, exact = (
            pt.mmd_power(*single, kernel=kernel, precision=p) for p in ("default", "float64")
        )
        largest = float(np.abs(kernel(*(2 * [np.vstack([x, y])]))).max())
        assert narrow.mmd == pytest.approx(exact.mmd, abs=2e-6 * largest)
        bound = 4e-6 * largest**2 / len(y)
        np.testing.assert_allclose(narrow[1:3], exact[1:3], rtol=0, atol=bound)
        assert pt.mmd_power(x, y, kernel=kernel, workers=1) == pt.mmd_power(
            x, y, kernel=kernel, workers=3
        )
        with forced_tile(14, 32):
            np.testing.assert_allclose(pt.mmd_power(x, y, kernel=kernel), twin, rtol=1e-7)


def test_the_mmd_of_a_power_is_the_mmd():
    x, y = samples(50, 40, 3)
    assert pt.mmd_power(x, y).mmd == pytest.approx(pt.mmd(x, y), rel=1e-11)


def test_bad_arguments_of_the_variance():
    x, y = samples(9, 3, 2)
    with pytest.raises(ValueError, match="y has 3 rows and the variance of an MMD needs at least"):
        pt.mmd_power(x, y)
    with pytest.raises(ValueError, match="read different numbers of a pair"):
        pt.mmd_power(x, x, kernel=pt.Gaussian(1.0) + pt.Cosine())


# --- KID ----------------------------------------------------------------------------------------


def polynomial_mmd(f_real: Floats, f_fake: Floats) -> float:
    """As torch-fidelity and torchmetrics write it (`polynomial_mmd`, `poly_mmd`)."""
    m = f_real.shape[0]
    k_11, k_22, k_12 = (
        (a @ b.T / f_real.shape[1] + 1) ** 3
        for a, b in ((f_real, f_real), (f_fake, f_fake), (f_real, f_fake))
    )
    kt_xx_sum = (k_11.sum(axis=-1) - np.diag(k_11)).sum()
    kt_yy_sum = (k_22.sum(axis=-1) - np.diag(k_22)).sum()
    value = (kt_xx_sum + kt_yy_sum) / (m * (m - 1))
    return float(value - 2 * k_12.sum() / m**2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [2, 50, 300])
def test_kid_is_the_formula_of_the_field(size, dtype):
    real, fake = (a.astype(dtype) for a in samples(400, 300, 30))
    rng = np.random.default_rng(7)
    values = []
    for _ in range(6):
        chosen = rng.choice(400, size, replace=False), rng.choice(300, size, replace=False)
        values.append(
            polynomial_mmd(*(a[i].astype(float) for a, i in zip((real, fake), chosen, strict=True)))
        )
    got = pt.kid(real, fake, subsets=6, subset_size=size, rng=7)
    tolerance = 1e-12 if dtype == "float64" else 2e-6 * 8
    assert got.mean == pytest.approx(np.mean(values), abs=tolerance)
    assert got.std == pytest.approx(np.std(values), abs=tolerance)


@native
def test_one_seed_gives_one_kid():
    real, fake = samples(200, 150, 12)
    options = {"subsets": 5, "subset_size": 100, "rng": 3}
    found, twin = native_and_twin(pt.kid, real, fake, **options)
    np.testing.assert_allclose(found, twin, rtol=1e-10)
    assert pt.kid(real, fake, workers=3, **options) == pt.kid(real, fake, workers=1, **options)


def test_full_kid_is_the_u_statistic():
    real, fake = samples(90, 80, 6)
    result = pt.kid(real, fake, full=True)
    assert result.mean == pt.mmd(real, fake, kernel="polynomial")
    assert np.isnan(result.std)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset_size": 51}, "subset_size=51 is larger than a set: real has 60 rows, fake has 50"),
        ({"subset_size": 1}, "subset_size must be at least 2"),
        ({"subsets": 0, "subset_size": 9}, "subsets must be at least 1"),
    ],
)
def test_bad_arguments_of_kid(options, message):
    real, fake = samples(60, 50, 3)
    with pytest.raises(ValueError, match=message):
        pt.kid(real, fake, **options)


# --- precision ----------------------------------------------------------------------------------


def test_many_gaussians_share_one_pass_without_loss():
    # a polynomial in the distance stands for those wide enough, as good as float32
    rng = np.random.default_rng(8)
    for d in (2, 16, 64):
        x, y = (rng.normal(size=(n, d)).astype(np.float32) for n in (60, 300))
        widths = np.sqrt(2 * d) * np.logspace(-1.5, 1, 10)
        for weights in (np.ones(10), np.array([-1.0, 1.0] * 5)):
            kernel = sum(
                (w * pt.Gaussian(s) for w, s in zip(weights[1:], widths[1:], strict=True)),
                start=weights[0] * pt.Gaussian(widths[0]),
            )
            got = pt.witness(x, y, x[:1], kernel=kernel) * 1.0
            exact = pt.witness(x, y, x[:1], kernel=kernel, precision="float64")
            np.testing.assert_allclose(got, exact, rtol=0, atol=2e-6 * np.abs(weights).sum())


@pytest.mark.parametrize("d", [64, 768, 2048])
def test_cubic_kernels_keep_the_promise_of_default_sums(d):
    rng = np.random.default_rng(9)
    x, y = (rng.normal(size=(n, d)).astype(np.float32) for n in (40, 90))
    exact = pt.Polynomial(3)(x.astype(float), y.astype(float))
    largest = (np.linalg.norm(x, axis=1).max() * np.linalg.norm(y, axis=1).max() / d + 1) ** 3
    for j in range(10):
        got = [pt.kernel_sum(x[i : i + 1], y[j : j + 1], kernel="polynomial") for i in range(10)]
        np.testing.assert_allclose(got, exact[:10, j], rtol=0, atol=2e-6 * largest)
