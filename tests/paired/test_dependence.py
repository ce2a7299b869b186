"""Distance covariance and correlation, HSIC, CKA; Cauchy–Schwarz divergence.

Oracles: the definitions over explicit matrices, dcor, and exact arithmetic: fractions where
distances are rational, 50 decimals where they are roots.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from scipy.spatial.distance import cdist

import pairtile as pt
from backends import forced_tile, native_and_twin, on_backend
from pairtile._backends import numpy as twin
from processes import of_dcor
from strategies import SEEDS, point_sets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

native = pytest.mark.native

G = pt.Gaussian(1.0)

ESTIMATORS = ("biased", "unbiased")
ROWS = st.one_of(st.integers(4, 18), st.sampled_from([29, 33, 65]))
FEATURES = st.sampled_from([1, 1, 2, 3, 5, 8, 17, 64])


def product(k: Any, other: Any, estimator: str) -> Any:
    """The mean product of two matrices after centring, by its definition; also of exact numbers."""
    k, other = np.asarray(k), np.asarray(other)
    n = len(k)
    if estimator == "biased":
        rows, others = k.sum(axis=1), other.sum(axis=1)
        centred = k - (rows[:, None] + rows) / n + k.sum() / n / n
        centred_other = other - (others[:, None] + others) / n + other.sum() / n / n
        return (centred * centred_other).sum() / n / n
    # Song et al. (2012), equation 4
    k, other = k.copy(), other.copy()
    for i in range(n):
        k[i, i] = other[i, i] = k[i, i] * 0
    traces = (k * other).sum()
    sums = k.sum() * other.sum() / ((n - 1) * (n - 2))
    return (traces + sums - k.sum(axis=0) @ other.sum(axis=0) * 2 / (n - 2)) / (n * (n - 3))


def alignment(k: Floats, other: Floats, estimator: str) -> float:
    sizes = product(k, k, estimator) * product(other, other, estimator)
    return float(product(k, other, estimator) / np.sqrt(sizes))


def distances(x: Floats, exponent: float = 1.0) -> Floats:
    return cdist(x, x) ** exponent


KERNELS: dict[str, tuple[Any, Callable[[Floats], Floats]]] = {
    "gaussian": (pt.Gaussian(gamma=0.25), lambda x: np.exp(-0.25 * cdist(x, x, "sqeuclidean"))),
    "laplace_l1": (pt.Laplace(3.0, norm="l1"), lambda x: np.exp(-cdist(x, x, "cityblock") / 3)),
    "polynomial": (pt.Polynomial(2), lambda x: (x @ x.T / x.shape[1] + 1) ** 2),
    "linear": ("linear", lambda x: x @ x.T),
    "energy": (pt.Energy(1.5), lambda x: -distances(x, 1.5)),
    "sum": (
        2 * pt.Gaussian(gamma=0.25) + 0.5 * pt.Linear() + pt.Laplace(gamma=2.0),
        lambda x: (
            2 * np.exp(-0.25 * cdist(x, x, "sqeuclidean"))
            + 0.5 * x @ x.T
            + np.exp(-2 * cdist(x, x))
        ),
    ),
}


def dependent(n: int, d: int, e: int, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, x[:, :1] ** 2 + rng.normal(size=(n, e))


# --- statistics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("d", "e"), [(1, 1), (1, 4), (5, 3), (70, 90)])
def test_distance_covariance_is_its_definition(d, e, estimator):
    x, y = dependent(60, d, e)
    for exponent in (0.5, 1.0, 1.7, 2.0):
        a, b = distances(x, exponent), distances(y, exponent)
        options = {"exponent": exponent, "estimator": estimator}
        got = pt.distance_covariance(x, y, **options)
        assert isinstance(got, float)
        # large distances that differ little cancel in the oracle
        bound = 1e-14 * a.max() * b.max()
        assert got == pytest.approx(product(a, b, estimator), abs=bound)
        got = pt.distance_correlation(x, y, **options)
        assert got == pytest.approx(alignment(a, b, estimator), rel=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("first", "second"), list(itertools.product(KERNELS, KERNELS)))
def test_hsic_and_cka_are_their_definitions(first, second, estimator):
    x, y = dependent(50, 3, 4)
    (x_kernel, k), (y_kernel, other) = KERNELS[first], KERNELS[second]
    options = {"x_kernel": x_kernel, "y_kernel": y_kernel, "estimator": estimator}
    expected = product(k(x), other(y), estimator)
    assert pt.hsic(x, y, **options) == pytest.approx(expected, rel=1e-10)
    expected = alignment(k(x), other(y), estimator)
    assert pt.cka(x, y, **options) == pytest.approx(expected, rel=1e-10)


def test_the_default_bandwidths_are_those_of_each_sample():
    x, y = dependent(40, 2, 3)
    k, other = (
        np.exp(-(cdist(s, s) ** 2) / (2 * pt.median_distance(s) ** 2)) for s in (x, 100 * y)
    )
    assert pt.hsic(x, 100 * y) == pytest.approx(product(k, other, "biased"), rel=1e-11)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("n", "d", "e"), [(40, 3, 5), (40, 200, 5), (12, 50, 300), (200, 100, 9)])
def test_linear_kernels_by_features_and_by_pairs(n, d, e, estimator):
    """The same numbers whichever is cheaper, and far from the origin too."""
    x, y = dependent(n, d, e)
    for move in (0.0, 1e5):
        expected = alignment(x @ x.T, y @ y.T, estimator)
        assert pt.cka(x + move, y - move, estimator=estimator) == pytest.approx(expected, abs=1e-9)
        expected = product(x @ x.T, y @ y.T, estimator)
        got = pt.hsic(x + move, y, x_kernel="linear", y_kernel=3 * pt.Linear(), estimator=estimator)
        assert got == pytest.approx(3 * expected, rel=1e-9 if move else 1e-11)


@pytest.mark.oracle("dcor")
@pytest.mark.parametrize("d", [1, 3])
def test_distance_covariance_is_dcors(d):
    x, y = dependent(200, d, d, seed=1)
    functions = {
        "distance_covariance_sqr": pt.distance_covariance,
        "distance_correlation_sqr": pt.distance_correlation,
    }
    cases = [(exponent, name) for exponent in (0.5, 1.0, 1.5) for name in functions]
    texts = [
        f'dcor.{kind}{name}(x, y, exponent={exponent}, method="naive")'
        for exponent, name in cases
        for kind in ("", "u_")
    ]
    values = iter(of_dcor(texts, x=x, y=y))
    for exponent, name in cases:
        ours, biased, unbiased = functions[name], next(values), next(values)
        assert ours(x, y, exponent=exponent) == pytest.approx(biased, rel=1e-11)
        root = ours(x, y, exponent=exponent, squared=False)
        assert root == pytest.approx(math.sqrt(biased), rel=1e-11)
        got = ours(x, y, exponent=exponent, estimator="unbiased")
        assert got == pytest.approx(unbiased, rel=1e-10)


def fractions(x: Sequence[int]) -> Any:
    """Distances of whole numbers, exactly."""
    return np.array([[Fraction(abs(int(a) - int(b))) for b in x] for a in x])


@given(
    n=st.integers(4, 12),
    values=st.sampled_from([2, 3, 10, 10**6]),
    seed=SEEDS,
    move=st.sampled_from([0, 0, 2**40]),
)
def test_whole_numbers_on_a_line_are_exact(n, values, seed, move):
    """Sums of whole numbers have no rounding: only the divisions at the end do."""
    x, y = np.random.default_rng(seed).integers(values, size=(2, n))
    a, b = fractions(x), fractions(y)
    largest = float(a.max() * b.max()) or 1.0
    for estimator in ESTIMATORS:
        expected = float(product(a, b, estimator))
        got = pt.distance_covariance(x[:, None] + move, y[:, None] - move, estimator=estimator)
        assert got == pytest.approx(expected, abs=4e-15 * largest)


@st.composite
def paired_sets(draw: st.DrawFn) -> tuple[Any, Any]:
    """Two sets with the same number of rows and nothing else in common."""
    rows = st.just(draw(ROWS))
    return draw(point_sets(rows=rows, features=FEATURES)), draw(
        point_sets(rows=rows, features=FEATURES)
    )


@given(sets=paired_sets(), exponent=st.sampled_from([0.5, 1.0, 2.0]))
def test_dependence_of_any_data(sets, exponent):
    """The stated bound: 1e-12 of the largest products that are added, for inputs of any dtype."""
    x, y = sets
    a, b = (distances(s.values, exponent) for s in sets)
    scale = a.max() * b.max() or 1.0
    for estimator in ESTIMATORS:
        options = {"exponent": exponent, "estimator": estimator}
        got = pt.distance_covariance(x.array, y.array, **options)
        assert got == pytest.approx(product(a, b, estimator), abs=1e-12 * scale)
        correlation = pt.distance_correlation(x.array, y.array, **options)
        assert -1 <= correlation <= 1
        if a.max() == 0 or b.max() == 0:
            assert correlation == 0


@given(x=point_sets(rows=ROWS, features=FEATURES, kinds=["all_equal"]), seed=SEEDS)
def test_what_does_not_vary_depends_on_nothing(x, seed):
    y = np.random.default_rng(seed).normal(size=(len(x.array), 2))
    for estimator in ESTIMATORS:
        for kernel in ("linear", pt.Gaussian(1.0), pt.Energy(0.5)):
            assert pt.cka(x.array, y, x_kernel=kernel, estimator=estimator) == 0
            assert pt.cka(y, x.array, y_kernel=kernel, estimator=estimator) == 0
        assert pt.distance_correlation(x.array, y, estimator=estimator) == 0
    # distances that are all equal do not vary either, pairs i = i left out
    simplex = 0.1 * np.eye(len(y))
    assert pt.distance_correlation(simplex, y, estimator="unbiased") == 0
    assert pt.independence_test(x.array, y, n_permutations=9, rng=0).pvalue == 1


@given(sets=paired_sets(), seed=SEEDS, tile=st.sampled_from([(0, 0), (1, 1), (20, 64)]))
@native
def test_native_joint_sums_are_the_twins(sets, seed, tile):
    from pairtile import _native

    x, y = sets
    rng = np.random.default_rng(seed)
    n = len(x.array)
    orders = np.concatenate([np.arange(n), rng.permutation(n), rng.permutation(n)])
    k, other = distances(x.values), distances(y.values)
    typical = float(np.median(k)) or 1.0
    x_terms = [(1.0, "energy", (1.0,)), (2.0 * typical, "laplace_l1", (1 / typical,))]
    y_terms = [(0.5, "energy", (1.0,))]
    shifts = {"x_shift": -typical, "y_shift": 0.25 * float(np.median(other))}
    arguments = (x.array, y.array[orders], x_terms, y_terms)
    expected = twin.joint_kernel_sums(*arguments, **shifts, workers=2)
    with forced_tile(*tile):
        got = _native.joint_kernel_sums(*arguments, **shifts, workers=2)
    of_x, of_y = 4 * (k.max() or 1.0), 2 * (other.max() or 1.0)
    scales = (n * n * of_x * of_y, n * of_x, n * of_y, n * n * of_x**2, n * n * of_y**2)
    for a, b, scale in zip(got, expected, scales, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * scale)


@native
@given(sets=paired_sets(), count=st.integers(1, 35), seed=SEEDS)
def test_products_from_held_matrices_are_those_of_each_order(sets, count, seed):
    from pairtile import _native

    x, y = sets
    rng = np.random.default_rng(seed)
    n = len(x.array)
    orders = np.stack([rng.permutation(n) for _ in range(count)])
    k, other = distances(x.values), distances(y.values)
    x_terms = [(1.0, "energy", (1.0,)), (2.0, "laplace_l1", (1.0,))]
    y_terms = [(0.5, "energy", (1.0,))]
    shifts = {"x_shift": -float(np.median(k)), "y_shift": 0.25 * float(np.median(other))}
    reordered = y.array[orders.ravel()]
    expected = twin.joint_kernel_sums(x.array, reordered, x_terms, y_terms, **shifts, workers=1)[0]
    scale = n * n * (4 * k.max() + 2) * (2 * other.max() or 1.0)
    for module in (_native, twin):
        got = module.permuted_kernel_products(
            x.array, y.array, x_terms, y_terms, orders, **shifts, workers=2
        )
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * scale)


@native
@given(n=st.integers(1, 70), count=st.integers(1, 9), ties=st.booleans(), seed=SEEDS)
def test_native_line_products_are_the_twins(n, count, ties, seed):
    from pairtile import _native

    rng = np.random.default_rng(seed)
    x, y = rng.integers(-9, 9, size=(2, n)).astype(float) if ties else rng.normal(size=(2, n))
    orders = np.stack([rng.permutation(n) for _ in range(count)])
    x.sort()
    a = np.abs(x[:, None] - x)
    expected = [np.sum(a * np.abs(y[o][:, None] - y[o])) for o in orders]
    for module in (_native, twin):
        got = module.line_products(x, y, orders, workers=2)
        # sums of whole numbers are exact
        np.testing.assert_allclose(got, expected, rtol=0, atol=0 if ties else 1e-12 * n * n)


# --- what theory says ----------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2])
def test_unbiased_estimators_are_u_statistics(d):
    """The value of a sample is the mean over its parts, and 0 on average over all orders."""
    x, y = dependent(6, d, d, seed=2)
    for statistic in (
        lambda a, b: pt.distance_covariance(a, b, estimator="unbiased"),
        lambda a, b: pt.hsic(a, b, x_kernel=G, y_kernel=pt.Laplace(2.0), estimator="unbiased"),
    ):
        parts = [list(rows) for rows in itertools.combinations(range(6), 5)]
        of_parts = np.mean([statistic(x[rows], y[rows]) for rows in parts])
        assert statistic(x, y) == pytest.approx(of_parts, rel=1e-11)
    values = [
        pt.distance_covariance(x[:5], y[list(order)], estimator="unbiased")
        for order in itertools.permutations(range(5))
    ]
    assert abs(np.mean(values)) < 1e-14 < np.std(values)


@given(sets=paired_sets(), seed=SEEDS)
def test_dependence_does_not_see_order_place_or_orientation(sets, seed):
    x, y = (s.values for s in sets)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    rotation = np.linalg.qr(rng.normal(size=(x.shape[1], x.shape[1])))[0]
    size = 1 + max(np.abs(x).max(), np.abs(y).max())
    shift = size * rng.normal(size=y.shape[1])
    scale = size * size * math.sqrt(x.shape[1] * y.shape[1])
    for estimator in ESTIMATORS:
        expected = pt.distance_covariance(x, y, estimator=estimator)
        for what, a, b in (
            ("shuffled", x[order], y[order]),
            ("swapped", y, x),
            ("moved", x, y + shift),
            ("turned", x @ rotation, y),
        ):
            got = pt.distance_covariance(a, b, estimator=estimator)
            assert got == pytest.approx(expected, abs=1e-11 * scale), what
    if estimator == "biased":
        assert expected >= -1e-12 * scale


def test_a_representation_is_like_itself_moved_turned_and_scaled():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(80, 20))
    rotation = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    for estimator in ESTIMATORS:
        assert pt.cka(x, 7 * x @ rotation + 3, estimator=estimator) == pytest.approx(1, abs=1e-12)
        assert pt.distance_correlation(x, 2 - 3 * x, estimator=estimator) == pytest.approx(1)
    # many features of nothing look alike to the biased estimator alone
    noise = rng.normal(size=(2, 80, 2000))
    assert pt.cka(*noise) > 0.9
    assert abs(pt.cka(*noise, estimator="unbiased")) < 0.1


def test_far_from_independence_of_clusters_far_apart():
    """Distances of 1e4 that cancel to a covariance of the size of a cluster."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300, 6)) + 1e4 * (np.arange(300)[:, None] % 2)
    y = rng.normal(size=(300, 4))
    for dtype in (np.float32, np.float64):
        a, b = x.astype(dtype), y.astype(dtype)
        k, other = distances(a.astype(float)), distances(b.astype(float))
        for estimator in ESTIMATORS:
            got = pt.distance_covariance(a, b, estimator=estimator)
            assert got == pytest.approx(product(k, other, estimator), abs=1e-13 * 1e4 * 4)


@native
def test_backends_agree():
    for d, e in ((1, 1), (1, 3), (9, 5)):
        x, y = (s.astype(np.float32) for s in dependent(90, d, e))
        for call in (pt.distance_correlation, pt.hsic, pt.cka):
            a, b = native_and_twin(call, x, y)
            assert a == pytest.approx(b, rel=1e-12)
        a, b = native_and_twin(pt.independence_test, x, y, n_permutations=20, rng=0)
        np.testing.assert_allclose(a.null_distribution, b.null_distribution, rtol=1e-11)
        assert (a.pvalue, a.statistic) == (b.pvalue, pytest.approx(b.statistic, rel=1e-12))


# --- divergence ----------------------------------------------------------------------------------


def test_cauchy_schwarz_divergence_is_its_definition():
    rng = np.random.default_rng(11)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(45, 3)) + 0.5
    for kernel, k in (
        (pt.Gaussian(1.5), lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / 4.5)),
        (pt.Laplace(2.0) + 3 * pt.Matern(1.0), None),
        (pt.InverseMultiquadric(2.0), lambda a, b: (4 + cdist(a, b, "sqeuclidean")) ** -0.5),
    ):
        k = k or kernel
        expected = math.log(k(x, x).mean() * k(y, y).mean() / k(x, y).mean() ** 2)
        for a, b in ((x, y), (y, x)):
            got = pt.cauchy_schwarz_divergence(a, b, kernel=kernel)
            assert got == pytest.approx(expected, rel=1e-12)
        assert pt.cauchy_schwarz_divergence(x, x[::-1], kernel=kernel) == pytest.approx(
            0, abs=1e-14
        )
    sigma = pt.median_distance(x, y)
    expected = pt.cauchy_schwarz_divergence(x, y, kernel=pt.Gaussian(sigma))
    assert pt.cauchy_schwarz_divergence(x, y) == expected
    narrow = pt.cauchy_schwarz_divergence(x.astype(np.float32), y.astype(np.float32))
    assert narrow == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("far", [1e-3, 1.0, 10.0, 37.0])
def test_divergence_of_samples_far_apart(far):
    # one point each: k(x, y)² = exp(−far²)
    for offset in (0.0, 1e3):
        got = pt.cauchy_schwarz_divergence([[offset]], [[offset + far]], kernel=pt.Gaussian(1.0))
        assert got == pytest.approx((offset + far - offset) ** 2, rel=1e-12, abs=1e-12)


def test_divergence_beyond_the_range_of_kernel_values():
    x = np.zeros((3, 2))
    assert pt.cauchy_schwarz_divergence(x, x + 40, kernel=pt.Gaussian(1.0)) == 3200
    assert pt.cauchy_schwarz_divergence(x, x + 40, kernel=pt.RationalQuadratic()) < 20


def test_divergence_of_clusters_and_a_narrow_kernel():
    """Within clusters far apart, d² has to be right to its own last digits."""
    rng = np.random.default_rng(0)
    x, y = (1e4 * (np.arange(40) % 2)[:, None] + rng.normal(size=(40, 100)) for _ in range(2))
    for sigma in (1.0, 3.0):
        logs = [-cdist(a, b, "sqeuclidean") / (2 * sigma**2) for a, b in ((x, x), (y, y), (x, y))]
        xx, yy, xy = (special.logsumexp(a) for a in logs)
        expected = xx + yy - 2 * xy
        got = pt.cauchy_schwarz_divergence(x, y, kernel=pt.Gaussian(sigma))
        assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.native
@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("size", [1e-200, 1e100, 1e154, 1e300])
@pytest.mark.parametrize("d", [1, 3])
def test_distances_of_any_size(size, d, backend):
    x = np.random.default_rng(0).normal(size=(20, d))
    with on_backend(backend):
        assert pt.distance_correlation(x * size, -x * size) == pytest.approx(1)
        assert pt.distance_covariance(x * size, x) == pytest.approx(
            size * pt.distance_covariance(x, x)
        )
        test = pt.independence_test(x * size, x, n_permutations=19, rng=0)
        assert test.pvalue == pt.independence_test(x, x, n_permutations=19, rng=0).pvalue
        assert pt.hsic(x * size, x) == pytest.approx(pt.hsic(x, x))
        linear = {"x_kernel": "linear", "y_kernel": 2 * pt.Linear()}
        right = pt.hsic(x, x, **linear)
        if 1e-300 < size * size * right < 1e300:
            assert pt.hsic(x * size, x, **linear) == pytest.approx(size * size * right)
        assert pt.cka(x * size, x) == pytest.approx(1)


def test_constant_rows_of_any_size():
    x = np.full((9, 2), 1e250)
    assert pt.distance_covariance(x, x) == 0
    assert pt.distance_correlation(x, x) == 0
