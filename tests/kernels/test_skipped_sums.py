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

    _native.set_skipping(how)
    try:
        yield
    finally:
        _native.set_skipping("")


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


def test_rows_that_are_not_finite_have_no_place():
    x = np.random.default_rng(0).random((200, 2))
    y = x.copy()
    y[7] = np.nan
    with skipping("always"):
        total = pt.kernel_sum(x, y, kernel=pt.Gaussian(0.01), check_finite=False)
    assert np.isnan(total)
