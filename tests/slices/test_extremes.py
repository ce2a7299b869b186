"""Sliced statistics of what is at the ends: of float64, of weights, of orders."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pairtile as pt
from backends import on_backend


@pytest.mark.native
@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("far", [1e20, -1e20, 1e160, -1e160, 1e300, -1e300])
@pytest.mark.parametrize("p", [1, 2, 3, 50, math.inf])
def test_rows_without_mass_may_be_anywhere(p, far, backend):
    """Zero times a power that leaves float64 is no number, and of such a row there is nothing."""
    right = pytest.approx(0.5 ** (1 / p), rel=1e-12)
    with on_backend(backend):
        for scale in (1.0, 1e-300):
            x, y = [0.0, scale], [0.0, far]
            assert pt.wasserstein_1d(x, y, p=p, y_weights=[1, 0]) / scale == right
            assert pt.wasserstein_1d(y, x, p=p, x_weights=[1, 0]) / scale == right
        if p == math.inf:
            return
        x, y = np.array([[0.0], [1.0]]), np.array([[0.0], [far]])
        found = pt.sliced_wasserstein(
            x, y, p=p, directions=[[1.0]], y_weights=[1, 0], return_gradient=True
        )
        assert found.value == right
        np.testing.assert_allclose(found.grad_x, [[0.0], [found.value]], rtol=1e-12)
        np.testing.assert_allclose(found.grad_y, [[-found.value], [0.0]], rtol=1e-12)


@pytest.mark.native
@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("far", [1e12, -1e12])
def test_gradients_beside_rows_without_mass(far, backend):
    """Mass that went there would cost more than float64 holds; of the other rows all is told."""
    x, y = np.array([0.0, 1.0, 2.0]), np.array([0.5, 3.0])
    with on_backend(backend):
        for p in (2, 3, 50):
            alone = pt.wasserstein_1d(x, y, p=p, y_weights=[1, 2], return_gradient=True)
            found = pt.wasserstein_1d(
                x, [0.5, far, 3.0], p=p, y_weights=[1, 0, 2], return_gradient=True
            )
            assert found.value == pytest.approx(alone.value, rel=1e-12)
            np.testing.assert_allclose(found.grad_x, alone.grad_x, rtol=1e-9)
            np.testing.assert_allclose(found.grad_y[::2], alone.grad_y, rtol=1e-9)
            by_mass = found.grad_y_weights
            np.testing.assert_allclose(by_mass[::2], alone.grad_y_weights, rtol=1e-9)
            assert found.grad_y[1] == 0
            assert by_mass[1] > 1e12


@pytest.mark.native
@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("scale", [1e-40, 1e-25, 1e25])
@pytest.mark.parametrize("p", [1.5, 2, 3])
def test_gradients_of_float32_at_any_scale(p, scale, backend):
    """Derivatives of costs leave float32, those of distances do not."""
    rng = np.random.default_rng(0)
    x, y = ((scale * rng.normal(size=(9, 3))).astype("float32") for _ in range(2))
    wide = x.astype("float64"), y.astype("float64")
    for control in (None, "moments") if p == 2 else (None,):
        options = {"p": p, "method": "gaussian", "control": control, "n_projections": 64, "rng": 0}
        right = pt.sliced_wasserstein(*wide, return_gradient=True, **options)
        with on_backend(backend):
            found = pt.sliced_wasserstein(x, y, return_gradient=True, **options)
        assert found.control == right.control == control
        assert found.value == pytest.approx(right.value, rel=1e-4)
        for narrow, exact in ((found.grad_x, right.grad_x), (found.grad_y, right.grad_y)):
            assert np.linalg.norm(narrow - exact) <= 1e-3 * np.linalg.norm(exact)


@pytest.mark.native
@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_where_the_first_direction_sees_little(dtype, backend):
    """Its distance is no unit for the powers of the others."""
    x, y = np.array([[0.0, 0.0], [1.0, 1e-7]]), np.array([[0.0, 0.0], [3.0, 5e-7]])
    axes = np.eye(2)[:, ::-1]
    with on_backend(backend):
        found = pt.sliced_wasserstein(
            x.astype(dtype), y.astype(dtype), p=50, directions=axes.astype(dtype),
            return_gradient=True,
        )  # fmt: skip
    assert found.value == pytest.approx(2 / 4 ** (1 / 50), rel=1e-5)
    np.testing.assert_allclose(found.grad_y, [[0, 0], [4 ** (-1 / 50), 0]], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.grad_x, -found.grad_y, atol=1e-12)


@pytest.mark.native
@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("far", [1e6, 1e12, -1e100])
def test_moments_do_not_see_rows_without_mass(far, backend):
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(50, 4)), 1.5 * rng.normal(size=(400, 4)) + 0.3, rng.random(50)
    padded, weights = np.full((200, 4), far), np.zeros(200)
    padded[120:170], weights[120:170] = x, w
    options = {"method": "gaussian", "control": "moments", "n_projections": 60, "rng": 0}
    with on_backend(backend):
        for first, second in (((x, y), (padded, y)), ((y, x), (y, padded))):
            name = "x_weights" if first[0] is x else "y_weights"
            right = pt.sliced_wasserstein(*first, full=True, **{name: w}, **options)
            found = pt.sliced_wasserstein(*second, full=True, **{name: weights}, **options)
            assert found.control == right.control == "moments"
            assert found.value == pytest.approx(right.value, rel=1e-11)
            assert found.standard_error == pytest.approx(right.standard_error, rel=1e-8)


@pytest.mark.parametrize(
    ("dtype", "far"), [("float32", -9999.0), ("float32", 1e6), ("float64", 1e12)]
)
def test_padding_without_mass_costs_no_digits(dtype, far):
    """However many rows of it there are: lines are counted from the middle of what has mass."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(50, 4)).astype(dtype) for _ in range(2))
    padded = np.concatenate([np.full((150, 4), far, dtype), x])
    weights = np.concatenate([np.zeros(150), np.ones(50)])
    options = {"rng": 0, "method": "gaussian", "control": None}
    right = pt.sliced_wasserstein(x, y, **options)
    found = pt.sliced_wasserstein(padded, y, x_weights=weights, **options)
    assert found == pytest.approx(right, rel=1e-6 if dtype == "float32" else 1e-12)
