"""Kernel values, sums of them over pairs, and quantiles of distances.

The oracle is the formula in float64 from direct differences, scikit-learn, or `numpy.quantile` of
canonical distances. What native sums may miss is stated: 2e-6 of the largest term for inputs of at
most 32 bits, 1e-12 as soon as one is float64.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile, on_backend
from pairtile._backends import numpy as twin
from strategies import DTYPES, LAYOUTS, SEEDS, cast, pairs_of_sets, point_sets

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

with contextlib.suppress(ImportError):  # tests that use it carry the marker `native`
    from pairtile import _native

native = pytest.mark.native

# Sizes at which the whole pair matrix is cheap, still beyond one block.
ROWS = st.one_of(st.integers(1, 18), st.sampled_from([28, 29, 33, 65, 97]))
FEATURES = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 33, 64, 257]))


# --- the oracle ---------------------------------------------------------------------------------


class Pairs:
    """The numbers of a pair that kernels read, in float64."""

    def __init__(self, x: Floats, y: Floats):
        shape = (len(x), len(y))
        self.squares, self.absolutes = np.empty(shape), np.empty(shape)
        for i, row in enumerate(x):
            difference = row - y
            self.squares[i] = np.sum(difference**2, axis=1)
            self.absolutes[i] = np.sum(np.abs(difference), axis=1)
        self.distances = np.sqrt(self.squares)
        self.dots = np.einsum("ij,kj->ik", x, y)
        self.cosines = np.einsum("ij,kj->ik", unit_rows(x), unit_rows(y))


def unit_rows(a: Floats) -> Floats:
    largest = np.abs(a).max(axis=1, keepdims=True)
    a = a / np.where(largest == 0, 1, largest)
    length = np.sqrt(np.sum(a**2, axis=1, keepdims=True))
    return a / np.where(length == 0, 1, length)


class Case(NamedTuple):
    """A kernel for data of a typical length, and its formula."""

    kernel: Callable[[float], pt.Kernel]
    formula: Callable[[Pairs, float], Floats]


def _matern52(p: Pairs, length: float) -> Floats:
    z = np.sqrt(5) * p.distances / length
    return (1 + z + z**2 / 3) * np.exp(-z)


CASES = {
    "gaussian": Case(
        lambda length: pt.Gaussian(length),
        lambda p, length: np.exp(-p.squares / (2 * length**2)),
    ),
    "gaussian_gamma": Case(
        lambda length: pt.Gaussian(gamma=3 / length**2),
        lambda p, length: np.exp(-3 * (p.squares / length**2)),
    ),
    "laplace": Case(
        lambda length: pt.Laplace(length),
        lambda p, length: np.exp(-p.distances / length),
    ),
    "laplace_l1": Case(
        lambda length: pt.Laplace(length, norm="l1"),
        lambda p, length: np.exp(-p.absolutes / length),
    ),
    "laplace_gamma": Case(
        lambda length: pt.Laplace(gamma=0.5 / length),
        lambda p, length: np.exp(-0.5 * p.distances / length),
    ),
    "rational_quadratic": Case(
        lambda length: pt.RationalQuadratic(length, alpha=1.5),
        lambda p, length: (1 + p.squares / (3 * length**2)) ** -1.5,
    ),
    "inverse_multiquadric": Case(
        lambda length: pt.InverseMultiquadric(length),
        lambda p, length: (length**2 + p.squares) ** -0.5,
    ),
    "inverse_multiquadric_2": Case(
        lambda length: pt.InverseMultiquadric(length, beta=2.0),
        lambda p, length: (length**2 + p.squares) ** -2.0,
    ),
    "matern32": Case(
        lambda length: pt.Matern(length, nu=1.5),
        lambda p, length: (
            (1 + np.sqrt(3) * p.distances / length) * np.exp(-np.sqrt(3) * p.distances / length)
        ),
    ),
    "matern52": Case(lambda length: pt.Matern(length, nu=2.5), _matern52),
    "polynomial": Case(
        lambda length: pt.Polynomial(3, gamma=1 / length**2, coef0=0.5),
        lambda p, length: (p.dots / length**2 + 0.5) ** 3,
    ),
    "polynomial_7": Case(
        lambda length: pt.Polynomial(7, gamma=1 / length**2, coef0=-0.25),
        lambda p, length: (p.dots / length**2 - 0.25) ** 7,
    ),
    "linear": Case(lambda length: pt.Linear(), lambda p, length: p.dots),
    "cosine": Case(lambda length: pt.Cosine(), lambda p, length: p.cosines),
    "energy": Case(lambda length: pt.Energy(), lambda p, length: -p.distances),
    "energy_half": Case(lambda length: pt.Energy(0.5), lambda p, length: -(p.distances**0.5)),
    "energy_1.7": Case(lambda length: pt.Energy(1.7), lambda p, length: -(p.distances**1.7)),
    "energy_2": Case(lambda length: pt.Energy(2.0), lambda p, length: -p.squares),
    "several_bandwidths": Case(
        lambda length: (
            0.5 * pt.Gaussian(length) + 2 * pt.Gaussian(3 * length) + -1 * pt.Laplace(length / 2)
        ),
        lambda p, length: (
            0.5 * np.exp(-p.squares / (2 * length**2))
            + 2 * np.exp(-p.squares / (18 * length**2))
            - np.exp(-2 * p.distances / length)
        ),
    ),
    "all_arguments": Case(
        lambda length: (
            pt.Gaussian(length)
            + 0.25 * pt.Laplace(length, norm="l1")
            + pt.Cosine()
            + 0.5 * pt.Polynomial(2, gamma=1 / length**2)
        ),
        lambda p, length: (
            np.exp(-p.squares / (2 * length**2))
            + 0.25 * np.exp(-p.absolutes / length)
            + p.cosines
            + 0.5 * (p.dots / length**2 + 1) ** 2
        ),
    ),
}
OF_DOTS = {"polynomial", "polynomial_7", "all_arguments"}
EACH_CASE = pytest.mark.parametrize("name", CASES)


def typical_length(name: str, x: Floats, y: Floats) -> float:
    """A length at which the kernel varies over the data: the median distance, or the largest norm.

    A float32, so that it is the same number for every dtype.
    """
    if name in OF_DOTS:
        length = max(np.sqrt(np.sum(a**2, axis=1)).max() for a in (x, y))
    else:
        length = np.median(Pairs(x[:64], y[:64]).distances)
    return float(np.float32(length)) or 1.0


def largest_term(name: str, p: Pairs, length: float) -> float:
    """Of the kernel over these pairs; a kernel that decays with distance counts from its peak."""
    here = float(np.abs(CASES[name].formula(p, length)).max())
    origin = Pairs(np.zeros((1, 1)), np.zeros((1, 1)))
    return max(here, float(np.abs(CASES[name].formula(origin, length)).max()))


def stated_bound(*arrays: NDArray[Any], precision: str = "default") -> float:
    wide = precision == "float64" or any(a.dtype.name == "float64" for a in arrays)
    return 1e-12 if wide else 2e-6


def check_sum(
    got: Any, terms: Floats, largest: float, bound: float, what: str, weights: Any = 1.0
) -> None:
    """Sums along the last axis, with the error of each as a share of its largest possible sum."""
    weights = np.broadcast_to(weights, terms.shape)
    expected = np.sum(weights * terms, axis=-1)
    allowed = largest * np.sum(np.abs(weights), axis=-1) + np.finfo(float).tiny
    assert np.shape(got) == expected.shape
    assert np.isfinite(got).all(), f"{what}: {got}"
    reached = float(np.max(np.abs(got - expected) / allowed))
    assert reached <= bound, f"{what}: reached {reached:.3g} of the largest term, bound {bound:g}"


TILES = st.sampled_from([(0, 0), (1, 1), (14, 32), (28, 64), (50, 300)])


# --- values -------------------------------------------------------------------------------------


@EACH_CASE
def test_a_kernel_called_on_arrays_is_its_formula(name):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 5)), rng.normal(size=(7, 5))
    got = CASES[name].kernel(1.5)(x, y)
    np.testing.assert_allclose(got, CASES[name].formula(Pairs(x, y), 1.5), rtol=1e-12, atol=1e-14)
    assert got.dtype == np.float64
    assert CASES[name].kernel(1.5)(x.astype(np.float32), y.astype(np.float32)).dtype == np.float32


@given(sets=pairs_of_sets(rows=ROWS, features=FEATURES), seed=SEEDS)
def test_kernel_sums_are_formulas_summed(sets, seed):
    x, y = sets
    pairs = Pairs(x.values, y.values)
    rng = np.random.default_rng(seed)
    v, w = rng.normal(size=len(x.values)), rng.normal(size=len(y.values))
    bound = stated_bound(x.array, y.array)
    for name, case in CASES.items():
        length = typical_length(name, x.values, y.values)
        terms = case.formula(pairs, length).ravel()
        largest = largest_term(name, pairs, length)
        kernel = case.kernel(length)
        got = pt.kernel_sum(x.array, y.array, kernel=kernel)
        check_sum(got, terms, largest, bound, name)
        got = pt.kernel_sum(x.array, y.array, kernel=kernel, x_weights=v, y_weights=w)
        check_sum(got, terms, largest, bound, f"{name}, weighted", np.outer(v, w).ravel())


@given(x=point_sets(rows=ROWS, features=FEATURES), seed=SEEDS)
def test_kernel_sums_within_one_set(x, seed):
    pairs = Pairs(x.values, x.values)
    w = np.random.default_rng(seed).normal(size=len(x.values))
    bound = stated_bound(x.array)
    others = (1 - np.eye(len(w))).ravel()
    for name, case in CASES.items():
        length = typical_length(name, x.values, x.values)
        terms = case.formula(pairs, length).ravel()
        largest = largest_term(name, pairs, length)
        kernel = case.kernel(length)
        for weights, products in ((None, np.ones_like(terms)), (w, np.outer(w, w).ravel())):
            got = pt.kernel_sum(x.array, kernel=kernel, x_weights=weights)
            check_sum(got, terms, largest, bound, f"{name}, with diagonal", products)
            got = pt.kernel_sum(x.array, kernel=kernel, x_weights=weights, exclude_diagonal=True)
            check_sum(got, terms, largest, bound, f"{name}, i != j", others * products)


def test_sums_are_those_of_scikit_learn():
    from sklearn.gaussian_process import kernels as gp
    from sklearn.metrics import pairwise

    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(70, 6)), rng.normal(size=(50, 6))
    for ours, theirs in (
        (pt.Gaussian(gamma=0.3), pairwise.rbf_kernel(x, y, gamma=0.3)),
        (pt.Gaussian(2.0), gp.RBF(2.0)(x, y)),
        (pt.Laplace(gamma=0.3, norm="l1"), pairwise.laplacian_kernel(x, y, gamma=0.3)),
        (pt.Laplace(1.7), gp.Matern(1.7, nu=0.5)(x, y)),
        (pt.RationalQuadratic(1.3, 0.7), gp.RationalQuadratic(1.3, 0.7)(x, y)),
        (pt.Matern(1.3, nu=1.5), gp.Matern(1.3, nu=1.5)(x, y)),
        (pt.Matern(1.3, nu=2.5), gp.Matern(1.3, nu=2.5)(x, y)),
        (pt.Polynomial(), pairwise.polynomial_kernel(x, y)),
        (pt.Polynomial(4, 0.2, -1.0), pairwise.polynomial_kernel(x, y, 4, 0.2, -1.0)),
        (pt.Linear(), pairwise.linear_kernel(x, y)),
        (pt.Cosine(), pairwise.cosine_similarity(x, y)),
        (pt.Energy(), -pairwise.euclidean_distances(x, y)),
    ):
        np.testing.assert_allclose(ours(x, y), theirs, rtol=1e-9, atol=1e-12, err_msg=str(ours))
        got = pt.kernel_sum(x, y, kernel=ours)
        assert got == pytest.approx(theirs.sum(), rel=1e-10, abs=1e-8), ours


def test_kernel_algebra():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
    a, b = pt.Gaussian(1.0), pt.Laplace(2.0)
    for kernel, weights in (
        (a + b, (1, 1)),
        (2 * a + b * 3, (2, 3)),
        (0.5 * (a + 4 * b), (0.5, 2)),
        (np.float64(2.0) * a + -1 * b, (2, -1)),
        (0 * a + b, (0, 1)),
    ):
        expected = weights[0] * a(x, y) + weights[1] * b(x, y)
        np.testing.assert_allclose(kernel(x, y), expected, rtol=1e-13)
        np.testing.assert_allclose(pt.kernel_sum(x, y, kernel=kernel), expected.sum(), rtol=1e-12)


def test_witness_is_the_difference_of_mean_kernel_rows():
    rng = np.random.default_rng(4)
    z, x, y = (rng.normal(size=(n, 4)) for n in (37, 60, 45))
    k = pt.Gaussian(1.5)
    expected = k(z, x).mean(axis=1) - k(z, y).mean(axis=1)
    got = pt.witness(z, x, y, kernel=k)
    np.testing.assert_allclose(got, expected, atol=1e-13)
    assert got.dtype == np.float64
    narrow = pt.witness(*(a.astype(np.float32) for a in (z, x, y)), kernel=k)
    np.testing.assert_allclose(narrow, expected, atol=3e-6)
    assert narrow.dtype == np.float32
    # the median is that of x and y, whatever z is
    length = float(np.median(upper(np.sqrt(canonical_squares(np.vstack([x, y]))))))
    k = pt.Gaussian(length)
    np.testing.assert_allclose(
        pt.witness(z, x, y), k(z, x).mean(axis=1) - k(z, y).mean(axis=1), atol=1e-13
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_layout_changes_no_bit(dtype):
    rng = np.random.default_rng(5)
    x, y = (cast(2 * rng.normal(size=(n, 19)), dtype) for n in (40, 33))
    kernel = pt.Gaussian(5.0) + 0.1 * pt.Cosine()
    expected = pt.kernel_sum(x, y, kernel=kernel)
    for left, right in itertools.product(LAYOUTS, LAYOUTS):
        got = pt.kernel_sum(LAYOUTS[left](x), LAYOUTS[right](y), kernel=kernel)
        assert got == expected, (left, right)


# --- the engine against its twin ----------------------------------------------------------------


def check_against_twin(
    got: Any, twin: Any, largest: float, weight: Any, bound: float, what: str
) -> None:
    """Sums of terms whose weights have the sizes `weight` in all."""
    assert np.shape(got) == np.shape(twin)
    assert np.isfinite(got).all(), f"{what}: {got}"
    allowed = largest * weight + np.finfo(float).tiny
    reached = float(np.max(np.abs(np.subtract(got, twin)) / allowed))
    assert reached <= bound, f"{what}: reached {reached:.3g} of the largest term, bound {bound:g}"


@native
@given(sets=pairs_of_sets(), seed=SEEDS, tile=TILES)
def test_native_sums_are_the_twins(sets, seed, tile):
    x, y = sets
    pairs = Pairs(x.values, y.values)
    rng = np.random.default_rng(seed)
    v, w = rng.normal(size=len(x.values)), rng.normal(size=len(y.values))
    for name, case in CASES.items():
        length = typical_length(name, x.values, y.values)
        terms = case.kernel(length)._terms(x.array.shape[1], {})
        largest = largest_term(name, pairs, length)
        arguments = (x.array, y.array, terms)
        options = {"precision": "float64", "workers": 2}
        rows = twin.kernel_row_sums(*arguments, w, **options)
        total = twin.kernel_total(*arguments, v, w, **options)
        # the twin is held to the formula, so that the two cannot be wrong together
        check_sum(rows, case.formula(pairs, length), largest, 1e-12, f"{name}, twin", w)
        for precision in ("default", "float64"):
            options["precision"] = precision
            bound = stated_bound(x.array, y.array, precision=precision)
            with forced_tile(*tile):
                got = _native.kernel_row_sums(*arguments, w, **options)
                got_total = _native.kernel_total(*arguments, v, w, **options)
            size = np.abs(w).sum()
            check_against_twin(got, rows, largest, size, bound, f"{name}, {precision}, rows")
            size *= np.abs(v).sum()
            check_against_twin(got_total, total, largest, size, bound, f"{name}, {precision}")


@native
@given(x=point_sets(), seed=SEEDS, tile=TILES)
def test_native_self_sums_are_the_twins(x, seed, tile):
    pairs = Pairs(x.values, x.values)
    w = np.random.default_rng(seed).normal(size=len(x.values))
    options = {"precision": "default", "workers": 2}
    for name, case in CASES.items():
        length = typical_length(name, x.values, x.values)
        arguments = (x.array, None, case.kernel(length)._terms(x.array.shape[1], {}), w, None)
        with forced_tile(*tile):
            got = _native.kernel_total(*arguments, **options)
        total = twin.kernel_total(*arguments, **options)
        largest, size = largest_term(name, pairs, length), np.abs(w).sum() ** 2
        check_against_twin(got, total, largest, size, stated_bound(x.array), name)


@native
@pytest.mark.parametrize("paired", [False, True], ids=["rows", "pairs"])
@given(
    n=st.integers(1, 150),
    n_labels=st.sampled_from([1, 4, 7, 33]),
    seed=SEEDS,
    tile=TILES,
)
def test_whole_steps_are_added_exactly(paired, n, n_labels, seed, tile):
    # multiples of 1/4 up to 2⁴⁰, which no sum of 32 bits holds, beside small ones, which one does
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-3, 4, size=(2, n, 2)).astype(np.float32) / 2
    x[rng.random(n) < 0.05] *= 2.0**19
    rows = n if paired else 2 * n
    labels = rng.integers(2**64 - 1, size=((rows + 63) // 64, n_labels), dtype=np.uint64)
    kernels = [pt.Linear()._terms(2, {})] * 3
    rounding_steps = [
        0.25,
        0.0,
        2.0,
    ]  # nothing to round; nothing rounded; half and quarter steps gone
    options = {"paired": paired, "rounding_steps": rounding_steps, "workers": 2}
    expected = twin.kernel_label_sums(x, y, labels, kernels, **options)
    with forced_tile(*tile):
        got = _native.kernel_label_sums(x, y, labels, kernels, **options)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a[0], a[1])


@native
@pytest.mark.parametrize("paired", [False, True], ids=["rows", "pairs"])
@given(
    sets=pairs_of_sets(rows=ROWS, features=FEATURES),
    n_labels=st.sampled_from([1, 2, 3, 4, 5, 8, 31, 33, 64, 100]),
    seed=SEEDS,
    tile=TILES,
)
def test_native_label_sums_are_the_twins(paired, sets, n_labels, seed, tile):
    x, y = sets
    least = min(len(x.array), len(y.array))
    n, m = (least, least) if paired else (len(x.array), len(y.array))
    pooled = np.vstack([x.values[:n], y.values[:m]])
    pairs = Pairs(pooled, pooled)
    rows = n if paired else n + m
    # bits beyond the last row are anything
    labels = np.random.default_rng(seed).integers(
        2**64 - 1, size=((rows + 63) // 64, n_labels), dtype=np.uint64
    )
    lengths = {name: typical_length(name, x.values, y.values) for name in CASES}
    kernels = [
        case.kernel(lengths[name])._terms(x.array.shape[1], {}) for name, case in CASES.items()
    ]
    arguments = (x.array[:n], y.array[:m], labels, kernels)
    expected = twin.kernel_label_sums(*arguments, paired=paired, workers=2)
    with forced_tile(*tile):
        got = _native.kernel_label_sums(*arguments, paired=paired, workers=2)
    for q, name in enumerate(CASES):
        largest = largest_term(name, pairs, lengths[name])
        sizes = dict.fromkeys(("within", "row", "total"), len(pooled) ** 2)
        for (what, size), a, b in zip(sizes.items(), got, expected, strict=True):
            check_against_twin(a[q], b[q], largest, size, 2e-12, f"{name}, {what}")


def test_fast_sums_of_tame_data_are_close():
    rng = np.random.default_rng(7)
    x, y = (rng.normal(size=(n, 30)).astype(np.float32) for n in (300, 200))
    for name, case in CASES.items():
        kernel = case.kernel(5.0)
        exact = pt.kernel_sum(x, y, kernel=kernel, precision="float64")
        size = abs(pt.kernel_sum(x, y, kernel=kernel)) + len(x) * len(y) * 0.01
        got = pt.kernel_sum(x, y, kernel=kernel, precision="fast")
        assert abs(got - exact) / size < 1e-4, name


# --- hostile data -------------------------------------------------------------------------------


def _hostile(rng: np.random.Generator, kind: str, n: int, d: int) -> Floats:
    x = rng.normal(size=(n, d))
    if kind == "two clusters":
        x[n // 2 :] += 1e4 * unit_rows(rng.normal(size=(1, d)))
    elif kind == "repeated":
        x[n // 10 :] = x[rng.integers(n // 10, size=n - n // 10)]
    elif kind == "offset":
        x += 1e6
    elif kind == "huge":
        x *= 1e15
    elif kind == "tiny":
        x *= 1e-15
    elif kind == "near copies":
        x[n // 2 :] = x[: n - n // 2] + 1e-6 * rng.normal(size=(n - n // 2, d))
    elif kind == "outlier":
        x[n // 3] *= 1e8
    return x


HOSTILE = ["tame", "two clusters", "repeated", "offset", "huge", "tiny", "near copies", "outlier"]


@pytest.mark.parametrize("d", [2, 8, 70])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_sums_stay_within_the_bound(kind, dtype, d):
    rng = np.random.default_rng(8)
    values = _hostile(rng, kind, 120, d)[rng.permutation(120)].astype(dtype)
    sets = {"x": values[:70], "y": values[70:]}
    wide = {name: a.astype(np.float64) for name, a in sets.items()}
    bound = stated_bound(values)
    missed = []

    def check(got, terms, largest, what, weights=1.0):
        try:
            check_sum(got, terms, largest, bound, what, weights)
        except AssertionError as error:
            missed.append(str(error).partition("\n")[0])

    for left, right in ("xy", "xx", "yy"):
        a, b = sets[left], sets[right]
        pairs = Pairs(wide[left], wide[right])
        for (name, case), share in itertools.product(CASES.items(), (1.0, 1e-3)):
            if name in OF_DOTS and share != 1.0:
                continue  # no bandwidth
            length = share * typical_length(name, wide["x"], wide["y"])
            kernel = case.kernel(length)
            terms = case.formula(pairs, length)
            largest = largest_term(name, pairs, length)
            what = f"{kernel}, {left}{right}"
            check(pt.kernel_sum(a, b, kernel=kernel), terms.ravel(), largest, what)
            # a single row: errors that a large sum would average away
            got = pt.kernel_sum(a[1:2], b, kernel=kernel)
            check(got, terms[1], largest, f"{what}, one row")
            if left == right:
                got = pt.kernel_sum(a, kernel=kernel, exclude_diagonal=True)
                others = (1 - np.eye(len(a))).ravel()
                check(got, terms.ravel(), largest, f"{what}, i != j", others)
    assert not missed, "\n".join(missed)


@pytest.mark.parametrize("scale", [1e-15, 1e-6, 1e6, 1e15])
@pytest.mark.parametrize("beta", [0.5, 2.0, 4.0])
def test_inverse_multiquadric_far_from_the_scale_of_the_data(beta, scale):
    rng = np.random.default_rng(9)
    x = (scale * rng.normal(size=(60, 8))).astype(np.float32)
    x[30:] = x[:30]  # at distance 0 the kernel is c^(-2 beta)
    pairs = Pairs(*[x.astype(np.float64)] * 2)
    terms = (1 + pairs.squares) ** -beta
    got = pt.kernel_sum(x, kernel=pt.InverseMultiquadric(1.0, beta))
    check_sum(got, terms.ravel(), 1.0, 2e-6, "reached")


def test_inverse_multiquadric_of_values_beyond_float64():
    with pytest.raises(ValueError, match="c=1e-100 is too small"):
        pt.InverseMultiquadric(1e-100, beta=2.0)([[0.0]], [[1.0]])


@pytest.mark.parametrize("scale", [1e3, 1e7, 1e15])
@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_polynomials_beyond_the_range_of_float32(degree, scale):
    rng = np.random.default_rng(10)
    x, y = ((scale * rng.normal(size=(n, 8))).astype(np.float32) for n in (50, 40))
    pairs = Pairs(x.astype(np.float64), y.astype(np.float64))
    terms = (pairs.dots / 8 + 1) ** degree
    got = pt.kernel_sum(x, y, kernel=pt.Polynomial(degree))
    check_sum(got, terms.ravel(), np.abs(terms).max(), 2e-6, "reached")


@pytest.mark.parametrize("length", [1e2, 1e4])
def test_polynomial_of_nearly_orthogonal_rows(length):
    # The dot products cancel from length² down to about 1.
    rng = np.random.default_rng(11)
    q, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    x, y = np.zeros((50, 8)), np.zeros((40, 8))
    x[:, :4], y[:, 4:] = length * rng.normal(size=(50, 4)), length * rng.normal(size=(40, 4))
    x, y = (x @ q).astype(np.float32), (y @ q).astype(np.float32)
    terms = (Pairs(x.astype(np.float64), y.astype(np.float64)).dots / 8 + 1) ** 3
    got = pt.kernel_sum(x, y, kernel=pt.Polynomial(3))
    check_sum(got, terms.ravel(), np.abs(terms).max(), 2e-6, "reached")


@pytest.mark.parametrize(
    "kernel",
    [
        pt.Gaussian(1e-20),
        pt.Laplace(1e-38),
        pt.Laplace(1e-38, norm="l1"),
        pt.RationalQuadratic(1e-20),
        pt.Matern(1e-38, nu=1.5),
        pt.Matern(1e-38, nu=2.5),
    ],
    ids=repr,
)
def test_a_bandwidth_below_every_distance_counts_the_repeated_rows(kernel):
    x = np.repeat(np.random.default_rng(12).normal(size=(6, 5)), 10, axis=0).astype(np.float32)
    assert pt.kernel_sum(x, kernel=kernel, exclude_diagonal=True) == 6 * 10 * 9
    assert pt.kernel_sum(x, x, kernel=kernel) == 6 * 10 * 10


OF_ONE_LENGTH = [
    pt.Gaussian(1.0),
    pt.Laplace(1.0),
    pt.Laplace(1.0, norm="l1"),
    pt.RationalQuadratic(1.0),
    pt.InverseMultiquadric(1.0),
    pt.Cauchy(1.0),
    pt.Matern(1.0, nu=1.5),
    pt.Matern(1.0, nu=2.5),
]


@pytest.mark.parametrize("backend", [pytest.param("native", marks=native), "numpy"])
@pytest.mark.parametrize("size", [1e-310, 1e-200, 1e-160, 1e155, 1e200, 1e300])
@pytest.mark.parametrize("kernel", OF_ONE_LENGTH, ids=repr)
def test_rows_whose_squares_leave_float64(kernel, size, backend):
    """Beside the length of the kernel they are all one, or each the only one of its kind."""
    x, y = np.random.default_rng(13).uniform(0.1, 1, size=(2, 30, 3)) * size
    y[:2] = x[5]
    near = np.ones((30, 30)) if size < 1 else (x[:, None] == y).all(axis=2) * 1.0
    with on_backend(backend):
        assert pt.kernel_sum(x, y, kernel=kernel) == pytest.approx(near.sum(), rel=1e-12)
        product = pt.kernel_matvec(x, y, np.arange(30.0), kernel=kernel)
        np.testing.assert_allclose(product, near @ np.arange(30), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(kernel(x, y), near, atol=1e-12)
        if size < 1 and isinstance(kernel, pt.Laplace):
            return  # whose slope is as steep everywhere
        found = pt.mmd(x, y, kernel=kernel, estimator="biased", return_gradient=True)
        np.testing.assert_allclose(found.grad_x, np.zeros_like(x), atol=1e-9)
        np.testing.assert_allclose(found.grad_y, np.zeros_like(y), atol=1e-9)


@native
@pytest.mark.parametrize("d", [1, 3, 9])
@pytest.mark.parametrize("kernel", OF_ONE_LENGTH, ids=repr)
def test_rows_of_all_sizes_are_apart(kernel, d):
    """Also those whose difference is nothing beside the largest row, or has no square."""
    sizes = 10.0 ** np.arange(20, 301, 20)
    directions = np.random.default_rng(17).uniform(0.5, 1, size=(2, len(sizes), d))
    x, y = directions * sizes[:, None]
    y[3] = x[4]
    expected = np.zeros((len(x), len(y)))
    expected[4, 3] = 1
    assert pt.kernel_sum(x, y, kernel=kernel) == pytest.approx(1, rel=1e-12)
    np.testing.assert_allclose(kernel(x, y), expected, atol=1e-12)

    logs = pt.kernel_logsumexp(x, y, kernel=kernel)
    near = np.arange(len(x)) == 4
    assert logs[near] == pytest.approx(0, abs=1e-12)
    power = {"RationalQuadratic": 2, "Cauchy": 2, "InverseMultiquadric": 1}.get(
        type(kernel).__name__
    )
    if power is None:  # kernels that fall faster than any power
        assert (logs[~near] < -1e19).all()
        return
    difference = (x[:, None] - y)[~near]
    largest = np.abs(difference).max(axis=2)  # norms in units of it, squares leave float64
    distances = largest * np.linalg.norm(difference / largest[..., None], axis=2)
    terms = math.log(2) * isinstance(kernel, pt.RationalQuadratic) - power * np.log(distances)
    np.testing.assert_allclose(logs[~near], np.logaddexp.reduce(terms, axis=1), rtol=1e-12)


@native
@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("size", [1e-290, 1e-200, 1e-155, 1e-30])
def test_gradients_of_a_cusp_do_not_depend_on_the_size_of_the_rows(norm, size):
    x, y = np.random.default_rng(16).normal(size=(2, 25, 3))
    kernel = pt.Laplace(1.0, norm=norm)
    found, right = (pt.mmd(x * s, y * s, kernel=kernel, return_gradient=True) for s in (size, 1e-9))
    np.testing.assert_allclose(found.grad_x, right.grad_x, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.grad_y, right.grad_y, rtol=0, atol=1e-8)


@native
@pytest.mark.parametrize("kernel", [pt.Gaussian(1.0), pt.Matern(1.0, nu=2.5)], ids=repr)
@pytest.mark.parametrize("size", [1e-250, 1e-100, 1e-60, 1e-20])
def test_gradients_of_rows_much_nearer_than_the_bandwidth(kernel, size):
    """They are proportional to the rows, however small."""
    x, y = np.random.default_rng(14).normal(size=(2, 40, 3))
    y += 1
    found = pt.mmd(x * size, y * size, kernel=kernel, return_gradient=True)
    steep = 2.0 if isinstance(kernel, pt.Gaussian) else 10 / 3  # −4 ∂k/∂d² at 0
    expected = steep / 40 * ((x.sum(axis=0) - 40 * x) / 39 - (y.mean(axis=0) - x))
    np.testing.assert_allclose(found.grad_x / size, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", [pytest.param("native", marks=native), "numpy"])
@pytest.mark.parametrize("nu", [1.5, 2.5])
def test_a_length_so_small_that_squares_of_ratios_leave_float64(nu, backend):
    x = np.random.default_rng(15).normal(size=(30, 3)) * 1e100
    x[7] = x[8]
    kernel = pt.Matern(1e-60, nu=nu)
    with on_backend(backend):
        assert pt.kernel_sum(x, kernel=kernel) == 32
        logs = pt.kernel_logsumexp(x[:1], x[1:2], kernel=kernel)
        distance = np.sqrt(((x[0] / 1e100 - x[1] / 1e100) ** 2).sum()) * 1e100
        np.testing.assert_allclose(logs, -math.sqrt(2 * nu) * distance / 1e-60, rtol=1e-12)
        found = pt.mmd(x[:15], x[15:], kernel=kernel, return_gradient=True)
        np.testing.assert_array_equal(found.grad_x, np.zeros((15, 3)))


@pytest.mark.parametrize(
    ("kernel", "what"),
    [
        (pt.Laplace(1e-160), "sigma=1e-160 is too small"),
        (pt.Laplace(1e160), r"sigma=1e\+160 is too large"),
        (pt.Laplace(gamma=1e160), r"gamma=1e\+160 is too large"),
        (pt.Laplace(gamma=1e-170), "gamma=1e-170 is too small"),
        (pt.Matern(1e-160), "length_scale=1e-160 is too small"),
        (pt.Matern(1e160, nu=2.5), r"length_scale=1e\+160 is too large"),
    ],
)
def test_lengths_whose_squares_leave_float64(kernel, what):
    """Distances are roots of numbers of that size; of absolute differences they are not."""
    x = np.ones((3, 2))
    with pytest.raises(ValueError, match=what):
        pt.kernel_sum(x, kernel=kernel)
    assert pt.kernel_sum(x * 1e-200, kernel=pt.Laplace(1e-200, norm="l1")) == 9


# --- medians ------------------------------------------------------------------------------------


def canonical_squares(a: Floats) -> Floats:
    """Squared distances of all rows, summed in the documented order."""
    n, d = a.shape
    padded = np.zeros((n, -(-d // 8) * 8))
    padded[:, :d] = a
    out = np.empty((n, n))
    for i in range(n):
        lanes = np.zeros((n, 8))
        for block in range(0, padded.shape[1], 8):
            difference = padded[i, block : block + 8] - padded[:, block : block + 8]
            lanes += difference * difference
        s = lanes.T
        out[i] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
    return out


def upper(a: Floats) -> Floats:
    return a[np.triu_indices(len(a), 1)]


def check_quantiles(arrays: tuple[Any, ...], values: Floats, quantiles: Any) -> None:
    squares = upper(canonical_squares(values))
    for q in quantiles:
        for squared, of in ((False, np.sqrt(squares)), (True, squares)):
            got = pt.median_distance(*arrays, quantile=q, squared=squared, progress=Patience())
            expected = float(np.quantile(of, q, method="linear"))
            assert got == expected, f"q={q}, squared={squared}: {got!r}, not {expected!r}"


class Patience:
    """A progress callback that gives up: a search that goes in circles fails instead of hanging."""

    def __init__(self, seconds: float = 20.0):
        self.end = time.monotonic() + seconds

    def __call__(self, done: int, total: int) -> None:
        assert time.monotonic() < self.end, f"still at {done} of {total}"


QUANTILES = (0.0, 0.01, 0.25, 1 / 3, 0.5, 0.9, 1.0)


@given(x=point_sets(rows=st.integers(2, 60), features=FEATURES), q=st.floats(0, 1))
def test_quantiles_of_one_set_have_the_bits_of_numpys(x, q):
    check_quantiles((x.array,), x.values, (0.5, q))


@given(sets=pairs_of_sets(rows=st.integers(1, 40), features=FEATURES), q=st.floats(0, 1))
def test_quantiles_of_a_pooled_sample_have_the_bits_of_numpys(sets, q):
    x, y = sets
    check_quantiles((x.array, y.array), np.vstack([x.values, y.values]), (0.5, q))


def test_quantiles_of_two_rows():
    check_quantiles(([[0.1, 0.2], [3.3, -4.7]],), np.array([[0.1, 0.2], [3.3, -4.7]]), QUANTILES)
    assert pt.median_distance([[0.0], [3.0]]) == 3.0
    assert pt.median_distance([[0.0]], [[3.0]], squared=True) == 9.0


LARGE = {
    "normal": lambda rng, n: rng.normal(size=(n, 5)),
    "lattice": lambda rng, n: rng.integers(0, 3, size=(n, 2)).astype(np.float64),
    "repeated": lambda rng, n: rng.normal(size=(n // 100, 3))[rng.integers(n // 100, size=n)],
    "sorted clusters": lambda rng, n: np.sort(rng.normal(size=(n, 1)) ** 3, axis=0) * [1e3, 1.0],
    "two clusters": lambda rng, n: rng.normal(size=(n, 6)) + 1e4 * (np.arange(n)[:, None] % 2),
    "offset": lambda rng, n: 1e6 + rng.normal(size=(n, 7)),
    "tiny": lambda rng, n: 1e-15 * rng.normal(size=(n, 2)),
    "one odd row": lambda rng, n: np.arange(n)[:, None] == np.full((1, 3), n // 2),
}


@pytest.mark.parametrize("kind", LARGE)
def test_quantiles_found_by_bracketing(kind):
    # enough pairs that they are not collected at once
    n, dtype = 2200, "float64" if kind in ("normal", "tiny") else "float32"
    x = cast(np.asarray(LARGE[kind](np.random.default_rng(13), n), np.float64), dtype)
    squares = np.sort(upper(canonical_squares(x.astype(np.float64))))
    for q in (0.0, 0.5, 0.999, 1.0):
        got = pt.median_distance(x, quantile=q, squared=True, progress=Patience())
        assert got == np.quantile(squares, q), q
    assert pt.median_distance(x[:800], x[800:], progress=Patience()) == np.quantile(
        np.sqrt(squares), 0.5
    )


@pytest.mark.parametrize("zeros", [1830, 1770])
def test_median_between_two_values_that_millions_of_pairs_share(zeros):
    # 1830 rows at 0 and 1770 at 1: exactly half of all pairs are equal, the other half differ.
    x = np.ones((3600, 1), dtype=np.float32)
    x[:zeros] = 0
    assert pt.median_distance(x, progress=Patience(20)) == 0.5


@pytest.mark.parametrize("kind", ["normal", "repeated", "offset"])
def test_a_sampled_median_is_close(kind):
    rng = np.random.default_rng(14)
    x = LARGE[kind](rng, 5000) + 0.0
    exact = pt.median_distance(x)
    sampled = [pt.median_distance(x, exact=False, rng=seed) for seed in (1, 1, 2)]
    assert sampled[0] == sampled[1]
    assert sampled[0] != sampled[2] or kind == "repeated"
    np.testing.assert_allclose(sampled, exact, rtol=0.05)
    # few rows are all taken
    assert pt.median_distance(x[:2000], exact=False) == pt.median_distance(x[:2000])


def test_a_median_bandwidth_is_the_median_distance():
    rng = np.random.default_rng(15)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(35, 3))
    pooled = np.vstack([x, y])
    length = pt.median_distance(x, y)
    absolutes = float(np.median(upper(Pairs(pooled, pooled).absolutes)))
    for asked, given_ in (
        ("gaussian", pt.Gaussian(length)),
        (pt.Gaussian("median"), pt.Gaussian(length)),
        ("laplace", pt.Laplace(length)),
        (pt.Laplace("median", norm="l1"), pt.Laplace(absolutes, norm="l1")),
        (pt.RationalQuadratic("median", 2.0), pt.RationalQuadratic(length, 2.0)),
        (pt.InverseMultiquadric("median"), pt.InverseMultiquadric(length)),
        (pt.Matern("median"), pt.Matern(length)),
        (
            pt.Matern("median", nu=2.5) + pt.Gaussian(2.0),
            pt.Matern(length, nu=2.5) + pt.Gaussian(2.0),
        ),
        ("polynomial", pt.Polynomial()),
        ("linear", pt.Linear()),
        ("cosine", pt.Cosine()),
        ("energy", pt.Energy()),
    ):
        expected = pt.kernel_sum(x, y, kernel=given_)
        assert pt.kernel_sum(x, y, kernel=asked) == pytest.approx(expected, rel=1e-14), asked


@native
@given(
    sets=pairs_of_sets(rows=st.integers(1, 40), features=FEATURES),
    metric=st.sampled_from(["euclidean", "sqeuclidean", "manhattan", "chebyshev", "cosine"]),
    q=st.floats(0, 1),
    squared=st.booleans(),
    tile=TILES,
)
def test_native_quantiles_are_the_twins(sets, metric, q, squared, tile):
    x, y = sets
    arguments = (x.array, y.array, metric, q, squared)
    expected = twin.distance_quantile(*arguments, workers=1)
    with forced_tile(*tile):
        for workers in (1, 3):
            assert _native.distance_quantile(*arguments, workers=workers) == expected


@pytest.mark.parametrize("name", ["mmd", "kid", "kernel_sum", "kernel_matvec"])
def test_kernel_values_beyond_float32(name):
    """Their tiles are of float64, and the bound is that of any other value."""
    rng = np.random.default_rng(0)
    x, y = ((12345678 + 100 * rng.normal(size=(n, 1))).astype(np.float32) for n in (21, 11))
    call = {
        "mmd": lambda **o: pt.mmd(x, y, kernel="polynomial", **o),
        "kid": lambda **o: pt.kid(x, y, full=True, **o).mean,
        "kernel_sum": lambda **o: pt.kernel_sum(x, y, kernel="polynomial", **o) / 231,
        "kernel_matvec": lambda **o: pt.kernel_matvec(
            x, y, np.full(11, 1e-20), kernel="polynomial", **o
        )[0],
    }[name]
    largest = (12346000.0**2 + 1) ** 3 * (1e-19 if name == "kernel_matvec" else 1)
    assert call() == pytest.approx(call(precision="float64"), abs=8e-6 * largest)
