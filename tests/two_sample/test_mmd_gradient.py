"""Gradients of MMD and energy distance.

Oracles: finite differences of the returned value in float64, torch's autograd, and the NumPy twin,
which takes differences of rows one feature at a time.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile, native_and_twin
from strategies import DTYPES, SEEDS, cast, pairs_of_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

native = pytest.mark.native

KERNELS: dict[str, Any] = {
    "gaussian": pt.Gaussian(2.0),
    "laplace": pt.Laplace(2.0),
    "laplace_l1": pt.Laplace(3.0, norm="l1"),
    "rational_quadratic": pt.RationalQuadratic(1.5, alpha=0.7),
    "inverse_multiquadric": pt.InverseMultiquadric(1.3),
    "matern32": pt.Matern(2.0),
    "matern52": pt.Matern(2.0, nu=2.5),
    "polynomial": pt.Polynomial(3),
    "polynomial_1": pt.Polynomial(1),
    "linear": pt.Linear(),
    "cosine": pt.Cosine(),
    "energy": pt.Energy(),
    "energy_0.7": pt.Energy(0.7),
    "energy_2": pt.Energy(2.0),
    "gaussians": pt.Gaussian(1.0) + 2 * pt.Gaussian(2.0) + -0.5 * pt.Gaussian(4.0),
    "mixed": pt.Gaussian(2.0) + 0.5 * pt.Cosine() + 0.1 * pt.Polynomial(2) + pt.Energy(),
}
NAMES = ("grad_x", "grad_y", "grad_x_weights", "grad_y_weights")


def samples(n: int, m: int, d: int, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.3


def finite_differences(function: Any, arrays: list[Floats], which: int, step: float) -> Floats:
    out = np.zeros_like(arrays[which])
    for i in np.ndindex(out.shape):
        values = []
        for sign in (1, -1):
            moved = [a.copy() for a in arrays]
            moved[which][i] += sign * step
            values.append(function(*moved))
        out[i] = (values[0] - values[1]) / (2 * step)
    return out


@pytest.mark.parametrize("name", KERNELS)
def test_gradients_are_finite_differences(name):
    x, y = samples(7, 5, 3)
    rng = np.random.default_rng(1)
    arrays = [x, y, rng.random(7) + 0.2, rng.normal(size=5) + 2]
    for estimator, squared in itertools.product(("unbiased", "biased"), (True, False)):
        options = {"kernel": KERNELS[name], "estimator": estimator, "squared": squared}

        def value(x, y, v, w, options=options):
            return pt.mmd(x, y, x_weights=v, y_weights=w, **options)

        result = pt.mmd(
            x, y, x_weights=arrays[2], y_weights=arrays[3], return_gradient=True, **options
        )
        assert result.value == pytest.approx(value(*arrays), rel=1e-12, abs=1e-14)
        if not squared and result.value == 0:
            assert all(not np.any(g) for g in result[1:])
            continue
        for which, gradient in enumerate(result[1:]):
            expected = finite_differences(value, arrays, which, 1e-5)
            size = np.abs(expected).max()
            np.testing.assert_allclose(
                gradient, expected, rtol=0, atol=1e-7 * size, err_msg=NAMES[which]
            )


def test_gradients_of_the_energy_distance_are_finite_differences():
    x, y = samples(8, 6, 2)
    rng = np.random.default_rng(2)
    arrays = [x, y, rng.random(8) + 0.1, rng.random(6) + 0.1]

    def value(x, y, v, w, **options):
        return pt.energy_distance(
            x, y, exponent=1.3, x_weights=v, y_weights=w, squared=False, **options
        )

    result = value(*arrays, return_gradient=True)
    for which, gradient in enumerate(result[1:]):
        expected = finite_differences(value, arrays, which, 1e-5)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("kernel", [pt.Gaussian(1.0), pt.Laplace(1.0), pt.Matern(1.0, nu=2.5)])
def test_gradients_of_a_kernel_far_below_the_distances_are_numbers(kernel):
    rng = np.random.default_rng(0)
    x, y = (np.float32(1e13) * rng.normal(size=(30, 20)).astype(np.float32) for _ in range(2))
    found = pt.mmd(x, y, kernel=kernel, return_gradient=True)
    assert not found.grad_x.any()
    assert not found.grad_y.any()


def test_without_weights_they_count_as_ones():
    x, y = samples(6, 9, 4)
    plain = pt.mmd(x, y, kernel=pt.Laplace(1.0), return_gradient=True)
    ones = pt.mmd(
        x,
        y,
        kernel=pt.Laplace(1.0),
        x_weights=np.ones(6),
        y_weights=np.ones(9),
        return_gradient=True,
    )
    for a, b in zip(plain, ones, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-16)


@pytest.mark.oracle("torch")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_autograds(dtype):
    import torch

    x, y = (torch.tensor(a).to(getattr(torch, dtype)) for a in samples(70, 50, 9))
    found = pt.mmd(x, y, kernel=pt.Gaussian(3.0), estimator="biased", return_gradient=True)
    assert found.grad_x.dtype == x.dtype
    wide = [a.double().requires_grad_() for a in (x, y)]

    def mean(a, b):
        return torch.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / 18).mean()

    value = mean(wide[0], wide[0]) + mean(wide[1], wide[1]) - 2 * mean(*wide)
    tolerance = 1e-12 if dtype == "float64" else 2e-6
    for got, expected in zip(found[1:3], torch.autograd.grad(value, wide), strict=True):
        error = (got.double() - expected).abs().max() / expected.abs().max()
        assert error < tolerance


def test_the_gradient_of_a_root_is_0_where_it_is_0():
    x, _ = samples(9, 1, 3)
    result = pt.mmd(x, x, kernel=pt.Gaussian(1.0), squared=False, return_gradient=True)
    assert result.value == 0
    assert all(not np.any(gradient) for gradient in result[1:])


@pytest.mark.parametrize("kernel", [pt.Energy(), pt.Energy(0.5), pt.Laplace(1.0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_rows_contribute_nothing(kernel, dtype):
    # all rows of x are one point, and y is that point and another one
    x = np.full((4, 5), 0.1, dtype=dtype)
    y = np.vstack([x[:2], x[:1] + 1])
    result = pt.mmd(x, y, kernel=kernel, estimator="biased", return_gradient=True)
    alone = pt.mmd(x, y[2:], kernel=kernel, estimator="biased", return_gradient=True)
    assert np.isfinite(result.grad_x).all()
    np.testing.assert_allclose(result.grad_x, alone.grad_x / 3, rtol=1e-5)


@native
@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("name", ["energy", "laplace", "gaussian"])
def test_nearly_equal_rows_keep_their_direction(name, distance):
    # The difference of two rows far shorter than they are: W·x − W·y has no digits of it left.
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 20)).astype(np.float32)
    y = (x + distance * rng.normal(size=x.shape)).astype(np.float32)
    kernel = KERNELS[name]
    found, twin = native_and_twin(pt.mmd, x, y, kernel=kernel, return_gradient=True)
    scale = max(np.abs(twin.grad_x).max(), 1e-3 / 40)  # what a single pair can contribute
    np.testing.assert_allclose(found.grad_x, twin.grad_x, rtol=0, atol=2e-5 * scale)


@native
@given(sets=pairs_of_sets(rows=st.integers(2, 40)), seed=SEEDS, name=st.sampled_from([*KERNELS]))
def test_native_gradients_are_the_twins(sets, seed, name):
    rng = np.random.default_rng(seed)
    x, y = (p.values / (1 + np.abs(p.values).max()) for p in sets)
    weights = {"x_weights": rng.random(len(x)) + 0.1, "y_weights": rng.random(len(y)) + 0.1}
    for estimator in ("unbiased", "biased"):
        with forced_tile(14, 32):
            found, twin = native_and_twin(
                pt.mmd,
                x,
                y,
                kernel=KERNELS[name],
                estimator=estimator,
                return_gradient=True,
                **weights,
            )
        # of the largest term: a contribution can be as large as the steepest slope met
        size = 1 + max(np.abs(g).max() for g in twin[1:])
        for got, expected in zip(found, twin, strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11 * size)


@native
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [3, 40])
def test_float32_gradients_and_threads(name, d):
    x, y = (a.astype(np.float32) for a in samples(300, 280, d))
    options = {"kernel": KERNELS[name], "estimator": "biased", "return_gradient": True}
    found, twin = native_and_twin(pt.mmd, x, y, **options)
    for got, expected in zip(found[1:], twin[1:], strict=True):
        size = np.abs(expected).max()
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * size)
    again = pt.mmd(x, y, workers=3, **options)
    alone = pt.mmd(x, y, workers=1, **options)
    for a, b in zip(again, alone, strict=True):
        np.testing.assert_array_equal(a, b)


@native
def test_clusters_far_apart_keep_the_gradient_within_them():
    rng = np.random.default_rng(5)
    x, y = (
        (rng.normal(size=(60, 8)) + 1e4 * (np.arange(60)[:, None] % 2)).astype(np.float32)
        for _ in range(2)
    )
    found, twin = native_and_twin(pt.mmd, x, y, kernel=pt.Gaussian(2.0), return_gradient=True)
    np.testing.assert_allclose(
        found.grad_x, twin.grad_x, rtol=0, atol=1e-5 * np.abs(twin.grad_x).max()
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype):
    x, y = (cast(a, dtype) for a in samples(20, 15, 4))
    result = pt.energy_distance(x, y, return_gradient=True)
    assert result.grad_x.shape == x.shape
    assert result.grad_x.dtype == ("float64" if dtype == "float64" else "float32")
    assert result.grad_y_weights.shape == (15,)
    assert result.value == pytest.approx(pt.energy_distance(x, y), rel=1e-6, abs=1e-7)


def test_a_gradient_step_lowers_the_statistic():
    x, y = samples(50, 40, 2)
    before = pt.energy_distance(x, y, return_gradient=True)
    after = pt.energy_distance(x - 5 * before.grad_x, y)
    assert after < before.value


def test_estimators_of_blocks_have_no_gradient():
    x, y = samples(8, 8, 2)
    with pytest.raises(ValueError, match="return_gradient=True needs estimator='unbiased'"):
        pt.mmd(x, y, estimator="linear", return_gradient=True)


@pytest.mark.parametrize("nu", [1.5, 2.5])
def test_gradients_of_kernels_far_narrower_than_the_data(nu):
    """Their slopes hold the square of 1/length, which float32 does not."""
    x = np.random.default_rng(12).random((40, 6)).astype(np.float32)
    y = np.concatenate([x, x[:5]])  # equal rows, at which the slope is not 0
    options = {"kernel": pt.Matern(1e-20, nu=nu), "estimator": "biased", "return_gradient": True}
    found = pt.mmd(x, y, **options)
    assert found.value == pytest.approx(pt.mmd(x, y, kernel=pt.Gaussian(1e-9), estimator="biased"))
    assert not found.grad_x.any()
    assert not found.grad_y.any()


@pytest.mark.parametrize(
    ("kernel", "bend"),
    [(pt.Gaussian(1e-20), 1 / 2), (pt.Matern(1e-20), 3 / 2), (pt.Matern(1e-20, nu=2.5), 5 / 6)],
)
def test_small_weights_times_small_slopes_keep_their_digits(kernel, bend):
    """Of rows as near as denormal numbers: slopes times two weights are no float32 numbers."""
    rng = np.random.default_rng(17)
    x, y = (1e-40 * rng.normal(size=(rows, 20)) for rows in (9, 300))
    x, y = x.astype(np.float32), y.astype(np.float32)
    v, w = 10.0 ** rng.uniform(-5, 0, size=9), 10.0 ** rng.uniform(-5, 0, size=300)
    got = pt.mmd(
        x, y, kernel=kernel, x_weights=v, y_weights=w, estimator="biased", return_gradient=True
    )
    # the kernel is 1 - bend (distance/length)² there, and its gradient a difference of two means
    p, q = v / v.sum(), w / w.sum()
    apart = q @ y.astype(np.float64) - p @ x.astype(np.float64)
    for gradient, shares, sign in ((got.grad_x, p, -1), (got.grad_y, q, 1)):
        right = sign * 4 * bend * 1e40 * shares[:, None] * apart
        size = 4 * bend * 1e40 * shares[:, None] * max(np.abs(x).max(), np.abs(y).max())
        assert (np.abs(gradient - right) <= 1e-6 * size).all()
