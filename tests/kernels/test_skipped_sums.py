"""Sums of narrow kernels leave out tiles in which these have vanished, within the stated errors."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from strategies import SEEDS

pytestmark = pytest.mark.native

# a reach of about a third of the square, or less
NARROW = {
    "gaussian": pt.Gaussian(0.04),
    "laplace": pt.Laplace(0.01),
    "laplace_l1": pt.Laplace(0.01, norm="l1"),
    "matern32": pt.Matern(0.02, 1.5),
    "matern52": pt.Matern(0.02, 2.5),
    "sum": pt.Gaussian(0.02) + 2.0 * pt.Laplace(0.005),
}
LARGEST = 3.0  # of any of them


@contextlib.contextmanager
def skipping(how):
    from pairtile import _native

    _native._testing.set_skipping(how)
    try:
        yield
    finally:
        _native._testing.set_skipping("")


def calls(x, y, v, kernel, **options):
    """What leaves out tiles, as one list of numbers, and what each is a sum over."""
    yield [pt.kernel_sum(x, y, kernel=kernel, **options)], len(x) * len(y)
    yield [pt.kernel_sum(x, kernel=kernel, **options)], len(x) ** 2
    yield [pt.mmd(x, y, kernel=kernel, estimator="biased", **options)], 4
    for of_columns in (v[:, :1], v):
        product = pt.kernel_matvec(x, y, of_columns, kernel=kernel, **options)
        yield product.ravel(), np.abs(of_columns).sum(axis=0).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NARROW)
@given(seed=SEEDS, n=st.sampled_from([1, 31, 33, 64, 300]), d=st.sampled_from([1, 2, 3, 18]))
def test_within_the_error_of_the_others(name, dtype, seed, n, d):
    kernel = NARROW[name]
    rng = np.random.default_rng(seed)
    places = rng.random((9, d))
    x = (places[rng.integers(9, size=n)] + 0.03 * rng.normal(size=(n, d))).astype(dtype)
    y = rng.random((290, d)).astype(dtype)
    y[::2] = x[rng.integers(n, size=145)]  # values of 1, and of nearly nothing
    v = rng.normal(size=(290, 7))
    with skipping("never"):
        plain = list(calls(x, y, v, kernel, precision="float64"))
    with skipping("always"):
        found = [list(calls(x, y, v, kernel, workers=workers)) for workers in (1, 2, 3)]
    error = 2e-6 if dtype == np.float32 else 1e-12
    for (expected, terms), *got in zip(plain, *found, strict=True):
        first = got[0][0]
        np.testing.assert_allclose(first, expected, rtol=0, atol=LARGEST * error * terms)
        for other, _ in got[1:]:
            np.testing.assert_array_equal(other, first)


HARD = {
    "all equal": lambda rng: np.full((300, 3), 0.3),
    "few places": lambda rng: rng.integers(3, size=(400, 2)) / 3,
    "line": lambda rng: np.linspace(0, 1, 400)[:, None] * [[1.0, 2.0, -3.0]],
    "faces of boxes": lambda rng: np.stack(np.divmod(np.arange(400), 20), axis=1) / 20,
    "one outlier": lambda rng: np.vstack([rng.random((300, 2)), [[1e9, -1e9]]]),
    "offset": lambda rng: 1e8 + rng.random((300, 2)),
    "denormals beside": lambda rng: rng.random((300, 2)) * [1.0, 1e-310],
    "uneven": lambda rng: rng.random((300, 4)) * [1.0, 1e-3, 1e-30, 0.0],
    "far clusters": lambda rng: 1e6 * rng.integers(3, size=(300, 1)) + rng.random((300, 2)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["gaussian", "laplace_l1", "matern52"])
@pytest.mark.parametrize("kind", HARD)
def test_hard_data(kind, name, dtype):
    """Against sums in long double."""
    rng = np.random.default_rng(8)
    x = HARD[kind](rng).astype(dtype)
    y = x[rng.permutation(len(x))[:-7]]
    kernel = NARROW[name]
    apart = x.astype(np.longdouble)[:, None] - y.astype(np.longdouble)
    distance = np.sqrt((apart**2).sum(axis=2))
    if name == "gaussian":
        values = np.exp(-(distance**2) / (2 * np.longdouble(0.04) ** 2))
    elif name == "laplace_l1":
        values = np.exp(-np.abs(apart).sum(axis=2) / np.longdouble(0.01))
    else:
        scaled = np.sqrt(np.longdouble(5)) * distance / np.longdouble(0.02)
        values = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    weights = rng.normal(size=(len(y), 3))
    with skipping("always"):
        found = [
            pt.kernel_matvec(x, y, weights, kernel=kernel, workers=workers) for workers in (1, 3)
        ]
        total = pt.kernel_sum(x, y, kernel=kernel)
    np.testing.assert_array_equal(*found)
    error = 2e-6 if dtype == np.float32 else 1e-12
    expected = (values @ weights).astype(np.float64)
    terms = np.abs(weights).sum(axis=0)
    assert (np.abs(found[0] - expected) <= error * terms).all()
    assert abs(total - float(values.sum())) <= error * values.size


def test_rows_that_are_not_finite_have_no_place():
    x = np.random.default_rng(0).random((200, 2))
    y = x.copy()
    y[7] = np.nan
    with skipping("always"):
        total = pt.kernel_sum(x, y, kernel=pt.Gaussian(0.01), check_finite=False)
    assert np.isnan(total)
