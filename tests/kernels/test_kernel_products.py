"""K·v and the logarithm of kernel row sums, without the matrix.

The oracle is the explicit matrix in float64 from direct differences: its product with v, or
`scipy.special.logsumexp` of its logarithm. What may be missed is stated: of products 2e-6 of the
largest term for inputs of at most 32 bits, of logarithms 2e-6 of their terms' size, 1e-12 of both
as soon as one is float64.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import logsumexp

import pairtile as pt
from backends import forced_tile
from pairtile._backends import numpy as twin
from strategies import SEEDS, Points, pairs_of_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

with contextlib.suppress(ImportError):  # tests that use it carry the marker `native`
    from pairtile import _native

native = pytest.mark.native

ROWS = st.one_of(st.integers(1, 18), st.sampled_from([28, 29, 33, 65, 97]))
FEATURES = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 33, 64, 257]))
TILES = st.sampled_from([(0, 0), (1, 1), (14, 32), (50, 300)])
MIXTURE = 0.5 * pt.Gaussian(1.0) + 2 * pt.Laplace(0.5) + 0.1 * pt.Laplace(2.0, norm="l1")


def squares_of(x: Floats, y: Floats) -> Floats:
    return np.array([((row - y) ** 2).sum(axis=1) for row in x])


def absolutes_of(x: Floats, y: Floats) -> Floats:
    return np.array([np.abs(row - y).sum(axis=1) for row in x])


# Positive kernels for data of a typical length, and their logarithms.
LOGARITHMS = {
    "gaussian": (pt.Gaussian, lambda x, y, r: -squares_of(x, y) / (2 * r**2)),
    "laplace": (pt.Laplace, lambda x, y, r: -np.sqrt(squares_of(x, y)) / r),
    "laplace_l1": (
        lambda r: pt.Laplace(r, norm="l1"),
        lambda x, y, r: -absolutes_of(x, y) / r,
    ),
    "rational_quadratic": (
        lambda r: pt.RationalQuadratic(r, alpha=1.5),
        lambda x, y, r: -1.5 * np.log1p(squares_of(x, y) / (3 * r**2)),
    ),
    "inverse_multiquadric": (
        lambda r: pt.InverseMultiquadric(r, beta=2.0),
        lambda x, y, r: -2 * np.log(r**2 + squares_of(x, y)),
    ),
    "matern32": (
        lambda r: pt.Matern(r, nu=1.5),
        lambda x, y, r: (lambda z: np.log1p(z) - z)(np.sqrt(3 * squares_of(x, y)) / r),
    ),
    "matern52": (
        lambda r: pt.Matern(r, nu=2.5),
        lambda x, y, r: (lambda z: np.log1p(z + z**2 / 3) - z)(np.sqrt(5 * squares_of(x, y)) / r),
    ),
    "mixture": (
        lambda r: 3 * pt.Gaussian(r) + 0.25 * pt.Gaussian(5 * r) + pt.Laplace(r, norm="l1"),
        lambda x, y, r: logsumexp(
            [
                np.log(3) - squares_of(x, y) / (2 * r**2),
                np.log(0.25) - squares_of(x, y) / (50 * r**2),
                -absolutes_of(x, y) / r,
            ],
            axis=0,
        ),
    ),
}


def bound_of(*arrays: NDArray[Any]) -> float:
    # by name: a dtype of the other byte order is not equal to float64
    return 1e-12 if any(a.dtype.name == "float64" for a in arrays) else 2e-6


def check_logarithms(got: Any, terms: Floats, bound: float, what: str = "") -> None:
    """Against log-sum-exp over rows of `terms`, with what their size allows."""
    expected = logsumexp(terms, axis=1)
    assert np.isfinite(got).all(), what
    # the terms that matter are within a few of the largest
    error = np.abs(got - expected) / np.maximum(1, np.abs(expected) + 10)
    assert error.max() <= bound, f"{what}: reached {error.max():.3g}, bound {bound:g}"


# --- K·v ----------------------------------------------------------------------------------------


@given(
    sets=pairs_of_sets(rows=ROWS, features=FEATURES),
    columns=st.sampled_from([None, 1, 2, 7, 16, 17, 40]),
    seed=SEEDS,
)
@example(sets=(Points.of([[0.125]], ">f2"), Points.of([[-0.13]], ">f8")), columns=None, seed=0)
def test_a_product_is_that_of_the_matrix(sets, columns, seed):
    x, y = sets
    shape = (len(y.values),) if columns is None else (len(y.values), columns)
    v = np.random.default_rng(seed).normal(size=shape)
    length = float(np.sqrt(np.median(squares_of(x.values, y.values)))) or 1.0
    got = pt.kernel_matvec(x.array, y.array, v, kernel=pt.Gaussian(length))
    matrix = np.exp(-squares_of(x.values, y.values) / (2 * length**2))
    assert got.shape == (len(x.values), *shape[1:])
    assert got.dtype == (np.float64 if bound_of(x.array, y.array) < 1e-6 else np.float32)
    allowed = bound_of(x.array, y.array) * np.abs(v).sum(axis=0) + np.abs(matrix @ v) * 6e-8 * (
        got.dtype == np.float32
    )
    assert (np.abs(got - matrix @ v) <= allowed).all()


def test_a_product_of_every_kind_of_kernel():
    rng = np.random.default_rng(0)
    x, y, v = rng.normal(size=(37, 6)), rng.normal(size=(300, 6)), rng.normal(size=(300, 5))
    for kernel in (MIXTURE, pt.Polynomial(2), pt.Cosine() + pt.Energy(), pt.Linear()):
        matrix = kernel(x, y)
        np.testing.assert_allclose(
            pt.kernel_matvec(x, y, v, kernel=kernel), matrix @ v, atol=1e-11 * np.abs(matrix).max()
        )
    sums = pt.kernel_matvec(x, y, np.ones(300), kernel=MIXTURE)
    assert np.isclose(sums.sum(), pt.kernel_sum(x, y, kernel=MIXTURE), rtol=1e-13)


def test_a_product_keeps_far_clusters_and_narrow_bandwidths():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 8)) + 1e4 * (np.arange(200) % 2)[:, None]
    v = rng.normal(size=(200, 3))
    for dtype, bound in ((np.float32, 2e-6), (np.float64, 1e-12)):
        a = x.astype(dtype)
        for sigma in (1e-2, 1.0, 1e3):
            matrix = np.exp(-squares_of(*(2 * [a.astype(float)])) / (2 * sigma**2))
            error = np.abs(pt.kernel_matvec(a, a, v, kernel=pt.Gaussian(sigma)) - matrix @ v)
            assert (error <= bound * np.abs(v).sum(axis=0)).all()


@native
@given(
    sets=pairs_of_sets(rows=ROWS, features=FEATURES),
    columns=st.sampled_from([1, 3, 8, 16, 17, 33]),
    seed=SEEDS,
    tile=TILES,
)
def test_native_products_are_the_twins(sets, columns, seed, tile):
    x, y = sets
    v = np.random.default_rng(seed).normal(size=(len(y.values), columns))
    length = float(np.sqrt(np.median(squares_of(x.values, y.values)))) or 1.0
    arguments = (x.array, y.array, v, (pt.Gaussian(length) + -1 * pt.Laplace(length))._terms(1, {}))
    expected = twin.kernel_matvec(*arguments, precision="default", workers=1)
    for precision, bound in (("float64", 1e-12), ("default", bound_of(x.array, y.array))):
        results = []
        for workers in (1, 3):
            with forced_tile(*tile):
                results.append(
                    _native.kernel_matvec(*arguments, precision=precision, workers=workers)
                )
        assert results[0].tobytes() == results[1].tobytes()
        assert (np.abs(results[0] - expected) <= bound * np.abs(v).sum(axis=0)).all()


def test_products_of_many_columns_need_no_matrix_of_pairs():
    # (n + m) c numbers come and go: 16 MB, where the matrix has 128 MB
    import tracemalloc

    rng = np.random.default_rng(2)
    x, v = rng.normal(size=(4000, 3)).astype(np.float32), rng.normal(size=(4000, 100))
    tracemalloc.start()
    got = pt.kernel_matvec(x, x, v, kernel=pt.Gaussian(1.0))
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()
    matrix = np.exp(-squares_of(x[:5].astype(float), x.astype(float)) / 2)
    np.testing.assert_allclose(got[:5], matrix @ v, atol=1e-3)


@pytest.mark.parametrize(
    ("v", "error", "words"),
    [
        (np.ones(4), ValueError, ["(5,)", "(4,)"]),
        (np.ones((5, 0)), ValueError, ["(5, 0)"]),
        (np.ones((5, 2, 2)), ValueError, ["(5, 2, 2)"]),
        (["a"] * 5, TypeError, ["v must hold real numbers"]),
        ([1, 2, np.nan, 4, 5], ValueError, ["row is 2"]),
    ],
)
def test_vectors_that_are_refused(v, error, words):
    with pytest.raises(error) as raised:
        pt.kernel_matvec(np.ones((3, 2)), np.ones((5, 2)), v, kernel=pt.Linear())
    assert all(word in str(raised.value) for word in words)


# --- log-sum-exp --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOGARITHMS)
@given(sets=pairs_of_sets(rows=ROWS, features=st.sampled_from([1, 3, 8, 33])), seed=SEEDS)
def test_logarithms_of_row_sums(name, sets, seed):
    x, y = sets
    rng = np.random.default_rng(seed)
    weights = 20 * rng.normal(size=len(y.values))
    kernel, formula = LOGARITHMS[name]
    length = float(np.sqrt(np.median(squares_of(x.values, y.values)))) or 1.0
    for r in (length, 1e-2 * length):
        terms = formula(x.values, y.values, r)
        bound = bound_of(x.array, y.array)
        got = pt.kernel_logsumexp(x.array, y.array, kernel=kernel(r))
        check_logarithms(got, terms, bound, f"{name}, {r}")
        got = pt.kernel_logsumexp(x.array, y.array, kernel=kernel(r), log_weights=weights)
        # a term's own size is what it may miss
        error = np.abs(got - logsumexp(terms + weights, axis=1))
        assert (error <= bound * (70 + np.abs(terms).min(axis=1) + np.abs(got))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["two clusters", "offset", "huge", "tiny", "near copies"])
def test_logarithms_of_hostile_data(kind, dtype):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(150, 8))
    if kind == "two clusters":
        x[::2] += 1e4
    elif kind == "near copies":
        x[::2] = x[1::2] + 1e-6 * rng.normal(size=(75, 8))
    else:
        x = {"offset": x + 1e6, "huge": 1e15 * x, "tiny": 1e-15 * x}[kind]
    x = x.astype(dtype)
    wide = x.astype(np.float64)
    typical = float(np.sqrt(np.median(squares_of(wide, wide))))
    for share in (1.0, 1e-3, 1e-6):
        for name, (kernel, formula) in LOGARITHMS.items():
            r = share * typical
            terms = formula(wide, wide, r)
            got = pt.kernel_logsumexp(x, kernel=kernel(r))
            check_logarithms(got, terms, bound_of(x), f"{name}, {share:g}")
            np.fill_diagonal(terms, -np.inf)
            got = pt.kernel_logsumexp(x, kernel=kernel(r), exclude_diagonal=True)
            check_logarithms(got, terms, bound_of(x), f"{name}, {share:g}, leave one out")


def test_a_bandwidth_for_each_reference_row_makes_a_density():
    rng = np.random.default_rng(4)
    x, y, h = rng.normal(size=(20, 3)), rng.normal(size=(50, 3)), rng.uniform(0.1, 2.0, size=50)
    weights = -3 * np.log(h) - 1.5 * np.log(2 * np.pi) - np.log(50)
    got = pt.kernel_logsumexp(x, y, kernel="gaussian", bandwidths=h, log_weights=weights)
    terms = -squares_of(x, y) / (2 * h**2) + weights
    np.testing.assert_allclose(got, logsumexp(terms, axis=1), rtol=1e-12)
    for norm, d in (("l2", np.sqrt(squares_of(x, y))), ("l1", absolutes_of(x, y))):
        got = pt.kernel_logsumexp(x, y, kernel=pt.Laplace(1.0, norm=norm), bandwidths=h)
        np.testing.assert_allclose(got, logsumexp(-d / h, axis=1), rtol=1e-12)
    # a bandwidth far below all others still is the one of its row
    h[7] = 1e-150
    got = pt.kernel_logsumexp(
        x.astype(np.float32), y.astype(np.float32), kernel="gaussian", bandwidths=h
    )
    terms = -squares_of(x.astype(np.float32), y.astype(np.float32)).astype(float) / (2 * h**2)
    np.testing.assert_allclose(got, logsumexp(terms, axis=1), rtol=2e-6, atol=2e-6)


def test_scikit_learn_estimates_the_same_density():
    from sklearn.neighbors import KernelDensity

    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(200, 2))
    theirs = KernelDensity(bandwidth=0.3, rtol=1e-12).fit(y).score_samples(x)
    ours = pt.kernel_logsumexp(x, y, kernel=pt.Gaussian(0.3))
    np.testing.assert_allclose(ours - np.log(200 * 2 * np.pi * 0.3**2), theirs, rtol=1e-9)


def test_weights_of_minus_infinity_leave_rows_out():
    x, y = np.arange(4.0)[:, None], np.arange(6.0)[:, None]
    weights = np.array([0, -np.inf, 1, -np.inf, 0, 0])
    kept = np.isfinite(weights)
    ours = pt.kernel_logsumexp(x, y, kernel=pt.Gaussian(0.1), log_weights=weights)
    theirs = pt.kernel_logsumexp(x, y[kept], kernel=pt.Gaussian(0.1), log_weights=weights[kept])
    np.testing.assert_allclose(ours, theirs, rtol=1e-15)
    none = pt.kernel_logsumexp(x, y, kernel=pt.Gaussian(0.1), log_weights=np.full(6, -np.inf))
    assert (none == -np.inf).all()
    # a common factor is not rounded away
    far = pt.kernel_logsumexp(x, y, kernel=pt.Gaussian(0.1), log_weights=weights + 2.0**40)
    np.testing.assert_allclose(far - 2.0**40, ours, atol=2.0**-10)


def test_a_set_with_itself():
    x = np.random.default_rng(6).normal(size=(9, 2))
    for options in ({}, {"kernel": "gaussian"}):
        options = {"kernel": pt.Gaussian(0.5), **options}
        assert np.array_equal(
            pt.kernel_logsumexp(x, x, exclude_diagonal=True, **options),
            pt.kernel_logsumexp(x, exclude_diagonal=True, **options),
        )


@native
@given(sets=pairs_of_sets(rows=ROWS, features=FEATURES), seed=SEEDS, tile=TILES)
def test_native_logarithms_are_the_twins(sets, seed, tile):
    x, y = sets
    rng = np.random.default_rng(seed)
    weights = -np.abs(rng.normal(size=len(y.values)))
    exponents = rng.uniform(0.1, 1, len(y.values))
    length = float(np.sqrt(np.median(squares_of(x.values, y.values)))) or 1.0
    for name, (kernel, _) in LOGARITHMS.items():
        terms = kernel(length)._terms(1, {})
        rates = exponents if name in ("gaussian", "laplace", "laplace_l1", "mixture") else None
        with forced_tile(*tile):
            got = [
                _native.kernel_logsumexp(
                    x.array, y.array, terms, weights, rates, precision="default", workers=workers
                )
                for workers in (1, 3)
            ]
        expected = twin.kernel_logsumexp(
            x.array, y.array, terms, weights, rates, precision="default", workers=1
        )
        assert got[0].tobytes() == got[1].tobytes()
        error = np.abs(got[0] - expected) / (10 + np.abs(expected))
        assert error.max() <= bound_of(x.array, y.array), name


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"kernel": pt.Polynomial()}, ValueError, ["Polynomial", "zero or negative"]),
        ({"kernel": "energy"}, ValueError, ["Energy", "zero or negative"]),
        ({"kernel": pt.Gaussian(1.0) + pt.Linear()}, ValueError, ["Linear"]),
        ({"kernel": pt.Gaussian(1.0) + -1 * pt.Laplace(1.0)}, ValueError, ["Laplace", "-1"]),
        ({"exclude_diagonal": True}, ValueError, ["exclude_diagonal", "y=None"]),
        ({"log_weights": np.zeros(4)}, ValueError, ["log_weights", "(5,)", "(4,)"]),
        ({"log_weights": [0, 1, np.nan, 0, 0]}, ValueError, ["row is 2"]),
        ({"log_weights": [0, np.inf, 1, 0, 0]}, ValueError, ["row is 1"]),
        ({"bandwidths": [1, 1, 0, 1, 1]}, ValueError, ["bandwidths", "row 2"]),
        ({"bandwidths": np.ones(3)}, ValueError, ["bandwidths", "(5,)"]),
        ({"bandwidths": np.ones(5), "kernel": pt.Matern()}, ValueError, ["Gaussian", "Matern"]),
    ],
)
def test_arguments_of_the_logarithm_that_are_refused(options, error, words):
    with pytest.raises(error) as raised:
        pt.kernel_logsumexp(
            np.ones((3, 2)), np.ones((5, 2)), **{"kernel": pt.Gaussian(1.0), **options}
        )
    assert all(word in str(raised.value) for word in words)


def test_nothing_is_left_of_one_row():
    with pytest.raises(ValueError, match="single row"):
        pt.kernel_logsumexp(np.ones((1, 2)), kernel=pt.Gaussian(1.0), exclude_diagonal=True)
