"""Gradients of the distances on lines against finite differences, POT and what moving must do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import pairtile as pt
from backends import on_backend
from strategies import SEEDS, pairs_of_sets

ORDERS = (1.0, 1.5, 2.0, 3.0, 7.0)
BACKENDS = [pytest.param("native", marks=pytest.mark.native), "numpy"]


@pytest.fixture(params=BACKENDS, autouse=True)
def backend(request: Any) -> Any:
    with on_backend(request.param):
        yield


def numerical(f: Any, a: Any, step: float = 1e-6) -> Any:
    """Derivatives of a function with an array of values, by each entry of a."""
    out = []
    for index in np.ndindex(a.shape):
        moved = a.copy()
        moved[index] += step
        above = f(moved)
        moved[index] -= 2 * step
        out.append((above - f(moved)) / (2 * step))
    return np.array(out)


def of_own_columns(slopes: Any, shape: tuple[int, int]) -> Any:
    """From derivatives of all distances by all points those of a column by its own."""
    n, d = shape
    return slopes.reshape(n, d, d)[:, np.arange(d), np.arange(d)]


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize(
    ("n", "m", "weighted"), [(7, 7, ""), (7, 5, ""), (6, 8, "xy"), (6, 6, "x"), (5, 4, "y")]
)
def test_gradients_are_finite_differences(n, m, weighted, p):
    rng = np.random.default_rng(n * m)
    x, y = rng.normal(size=(n, 3)), rng.normal([0.0, 0.5, 4.0], size=(m, 3))
    options = {
        f"{name}_weights": rng.uniform(0.5, 2, size=k)
        for name, k in (("x", n), ("y", m))
        if name in weighted
    }
    got = pt.wasserstein_1d(x, y, p=p, return_gradient=True, **options)
    np.testing.assert_allclose(got.value, pt.wasserstein_1d(x, y, p=p, **options), rtol=1e-13)
    assert math.isnan(got.standard_error)
    assert got.control is None

    by_x = numerical(lambda a: pt.wasserstein_1d(a, y, p=p, **options), x)
    by_y = numerical(lambda b: pt.wasserstein_1d(x, b, p=p, **options), y)
    np.testing.assert_allclose(got.grad_x, of_own_columns(by_x, x.shape), atol=2e-8)
    np.testing.assert_allclose(got.grad_y, of_own_columns(by_y, y.shape), atol=2e-8)
    for name in "xy":
        found = getattr(got, f"grad_{name}_weights")
        if name not in weighted:
            assert found is None
            continue
        key = f"{name}_weights"
        slopes = numerical(
            lambda w, key=key: pt.wasserstein_1d(x, y, p=p, **(options | {key: w})), options[key]
        )
        np.testing.assert_allclose(found, slopes, atol=2e-8)

    # one column alone is a problem of its own
    column = pt.wasserstein_1d(x[:, 1], y[:, 1], p=p, return_gradient=True, **options)
    assert isinstance(column.value, float)
    for one, all_of_them in zip(column[2:6], got[2:6], strict=True):
        if one is not None:
            np.testing.assert_array_equal(one, all_of_them[:, 1])


@pytest.mark.parametrize("p", ORDERS)
@given(sets=pairs_of_sets(rows=st.integers(1, 40), features=st.integers(1, 3)), seed=SEEDS)
def test_what_moving_everything_does(p, sets, seed):
    """A common shift changes nothing, a common factor is one of the distance."""
    x, y = sets
    rng = np.random.default_rng(seed)
    weights = {
        "x_weights": rng.uniform(0.5, 2, len(x.values)),
        "y_weights": rng.uniform(0.5, 2, len(y.values)),
    }
    got = pt.wasserstein_1d(x.values, y.values, p=p, return_gradient=True, **weights)
    np.testing.assert_allclose(got.grad_x.sum(axis=0) + got.grad_y.sum(axis=0), 0, atol=1e-11)
    along = np.sum(x.values * got.grad_x, axis=0) + np.sum(y.values * got.grad_y, axis=0)
    size = max(np.abs(x.values).max(), np.abs(y.values).max())
    np.testing.assert_allclose(along, got.value, rtol=1e-9, atol=1e-11 * size)
    # weights count by their shares
    for w, slopes in zip(weights.values(), got[4:6], strict=True):
        left = np.abs(w @ slopes)
        assert np.all(left <= 1e-9 * (np.abs(w) @ np.abs(slopes) + size))


@pytest.mark.oracle("ot")
@pytest.mark.parametrize("p", [1, 2, 3])
def test_gradients_are_those_of_pot(p):
    import ot
    import torch

    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(12, 2)), rng.normal(size=(9, 2))
    u, v = rng.random(12), rng.random(9)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, y)]
    masses = [torch.tensor(w / w.sum()) for w in (u, v)]
    cost = ot.wasserstein_1d(*tensors, *masses, p=p)
    (cost ** (1 / p)).sum().backward()
    got = pt.wasserstein_1d(x, y, p=p, x_weights=u, y_weights=v, return_gradient=True)
    np.testing.assert_allclose(got.grad_x, tensors[0].grad, atol=1e-10)
    np.testing.assert_allclose(got.grad_y, tensors[1].grad, atol=1e-10)


@pytest.mark.parametrize("p", [1, 2])
def test_weights_may_be_of_any_size_and_equal(p):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=11), rng.normal(size=8)
    w = rng.random(11)
    one, other = (
        pt.wasserstein_1d(x, y, p=p, x_weights=c * w, return_gradient=True) for c in (1, 1e300)
    )
    np.testing.assert_allclose(1e300 * other.grad_x_weights, one.grad_x_weights, rtol=1e-12)
    # equal weights: to the right of a step of both functions mass costs other than to the left
    equal = pt.wasserstein_1d(x, y, p=p, x_weights=np.full(11, 2.0), return_gradient=True)
    slopes = numerical(lambda u: pt.wasserstein_1d(x, y, p=p, x_weights=u), np.full(11, 2.0))
    np.testing.assert_allclose(equal.grad_x_weights, slopes, atol=2e-8)
    # a row without mass has the slope of what mass would cost there
    w[3] = 0
    bare = pt.wasserstein_1d(x, y, p=p, x_weights=w, return_gradient=True)
    assert bare.grad_x[3] == 0
    some = w.copy()
    some[3] = 1e-7
    slope = (pt.wasserstein_1d(x, y, p=p, x_weights=some) - bare.value) / 1e-7
    assert bare.grad_x_weights[3] == pytest.approx(slope, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("p", ORDERS)
def test_gradients_are_zero_where_the_distance_is(p):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(20, 2))
    y = x[::-1] + np.array([0.0, 1.0])
    w = rng.uniform(0.5, 1, size=20)
    got = pt.wasserstein_1d(x, y, p=p, x_weights=w, y_weights=w[::-1], return_gradient=True)
    assert got.value[0] == 0
    assert got.value[1] == pytest.approx(1)
    for gradient in got[2:6]:
        assert not gradient[:, 0].any()
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 400.0])
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_gradients_where_powers_leave_float64(scale, p):
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(9, 2)), rng.normal(size=(7, 2))
    options = {"p": p, "return_gradient": True}
    w = rng.random(9)
    w[4] = 0  # what mass there would cost is asked all the same
    options |= {"x_weights": w, "y_weights": rng.random(7)}
    right = pt.wasserstein_1d(x, y, **options)
    # one column is in reach and the other is not
    got = pt.wasserstein_1d(x * [scale, 1], y * [scale, 1], **options)
    np.testing.assert_allclose(got.value / [scale, 1], right.value, rtol=1e-12)
    for found, expected in zip(got[2:4], right[2:4], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    for found, expected in zip(got[4:6], right[4:6], strict=True):
        np.testing.assert_allclose(found / [scale, 1], expected, rtol=1e-9, atol=1e-9)


def test_a_high_order_follows_the_farthest_pair():
    x, y = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 5.0])
    got = pt.wasserstein_1d(x, y, p=500, return_gradient=True)
    assert got.value == pytest.approx(3 * (1 / 3) ** (1 / 500))
    np.testing.assert_allclose(got.grad_x, [0, 0, -((1 / 3) ** (1 / 500))], atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_have_the_working_dtype(dtype):
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 300, 3)).astype(dtype)
    w = rng.random(300).astype(np.float32)
    got = pt.wasserstein_1d(x, y, p=2, x_weights=w, return_gradient=True)
    assert got.value.dtype == got.grad_x_weights.dtype == np.float64
    assert got.grad_x.dtype == got.grad_y.dtype == dtype
    wide = pt.wasserstein_1d(
        x.astype(float), y.astype(float), p=2, x_weights=w, return_gradient=True
    )
    np.testing.assert_allclose(got.grad_x, wide.grad_x, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_bits(p):
    rng = np.random.default_rng(8)
    x, y, w = rng.normal(size=(300, 20)), rng.normal(size=(200, 20)), rng.random(300)
    one, two = (
        pt.wasserstein_1d(x, y, p=p, x_weights=w, return_gradient=True, workers=workers)
        for workers in (1, 3)
    )
    for a, b in zip(one[2:5], two[2:5], strict=True):
        assert a.tobytes() == b.tobytes()


def test_steps_against_the_gradient_bring_samples_together():
    rng = np.random.default_rng(9)
    x, y = rng.gamma(2.0, size=50), rng.normal(size=50)
    for _ in range(200):
        got = pt.wasserstein_1d(x, y, p=2, return_gradient=True)
        y = y - 50 * got.value * got.grad_y  # half of the way to where each point goes
    assert stats.wasserstein_distance(x, y) < 1e-6


def test_infinite_order_has_no_gradient():
    with pytest.raises(ValueError, match="p=inf has no gradient"):
        pt.wasserstein_1d([0.0], [1.0], p=math.inf, return_gradient=True)


def test_progress_counts_the_columns_of_both_passes():
    seen: list[tuple[int, int]] = []
    x = np.random.default_rng(10).normal(size=(20, 6))
    pt.wasserstein_1d(x, x + 1, p=3, return_gradient=True, progress=lambda *a: seen.append(a))
    assert seen[-1] == (12, 12)
