"""Gradients of the kernel Stein discrepancy, by rows and by scores.

Oracles: finite differences of the returned value in float64, and torch's autograd of the formula.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pairtile as pt
from backends import native_and_twin
from pairtile._definitions.kernels import KERNELS as DEFINITIONS
from pairtile._definitions.kernels import curvature, derivative, evaluate
from processes import PEAK, measures_memory, run_python

native = pytest.mark.native

KERNELS = {
    "gaussian": pt.Gaussian(1.3),
    "inverse_multiquadric": pt.InverseMultiquadric(1.2),
    "rational_quadratic": pt.RationalQuadratic(1.0, 2.0),
    "cauchy": pt.Cauchy(1.2),
    "matern32": pt.Matern(1.5),
    "matern52": pt.Matern(1.5, nu=2.5),
    "sum": 2 * pt.Gaussian(1.0) + pt.Matern(2.0) + pt.Cauchy(1.0),
}
ESTIMATORS = ["biased", "unbiased"]


def sample(n: int, d: int = 3, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 3 * rng.normal(size=(n, d))


def differences(function: Any, at: Any, step: float = 1e-5) -> Any:
    out = np.zeros_like(at)
    for i in np.ndindex(at.shape):
        above, below = at.copy(), at.copy()
        above[i] += step
        below[i] -= step
        out[i] = (function(above) - function(below)) / (2 * step)
    return out


def close(found: Any, expected: Any, tolerance: float) -> None:
    largest = float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", KERNELS)
def test_gradients_are_finite_differences(name, estimator):
    x, scores = sample(7)
    options = {"kernel": KERNELS[name], "estimator": estimator}
    call = pt.kernel_stein_discrepancy
    for result in native_and_twin(call, x, scores, return_gradient=True, **options):
        assert result.value == pytest.approx(call(x, scores, **options), rel=1e-12)
        close(result.grad_x, differences(lambda a: call(a, scores, **options), x), 1e-7)
        close(result.grad_scores, differences(lambda s: call(x, s, **options), scores), 1e-7)


@pytest.mark.parametrize("name", [n for n, one in DEFINITIONS.items() if one.stein is not None])
def test_derivatives_of_kernels_are_kernels(name):
    params = {"gaussian": (0.7,), "rational_quadratic": (0.4, 1.7), "cauchy": (0.6,)}
    term = (1.5, name, params.get(name, (1.1,)))
    x = np.linspace(0.1, 3, 40)[:, None]
    squares, origin = x[:, 0] ** 2, np.zeros((1, 1))
    k, slope, curved = DEFINITIONS[name].stein(squares, *term[2])
    np.testing.assert_allclose(evaluate(x, origin, [term])[:, 0], 1.5 * k, rtol=1e-13)
    np.testing.assert_allclose(evaluate(x, origin, derivative(term))[:, 0], 1.5 * slope, rtol=1e-13)
    by_squares, plain = curvature(term)
    found = squares * evaluate(x, origin, by_squares)[:, 0] + evaluate(x, origin, plain)[:, 0]
    np.testing.assert_allclose(found, 1.5 * curved, rtol=1e-12)


@pytest.mark.oracle("torch")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_rows_far_from_the_origin_are_those_of_autograd(dtype):
    import torch

    x, scores = sample(60, 5)
    x, scores = (np.asarray(v, dtype=dtype) for v in (x + 1e3, 50 * scores))
    x[7] = x[3]
    rows, given = (torch.tensor(v.astype(np.float64)).requires_grad_() for v in (x, scores))
    r = rows[:, None] - rows
    base = 1.5**2 + (r**2).sum(2)
    cross = (r * (given[:, None] - given)).sum(2)
    # of (c² + d²)^(−1/2) by d²
    k, slope, curved = base**-0.5, -0.5 * base**-1.5, 0.75 * base**-2.5
    stein = (given @ given.T) * k - 2 * cross * slope - 2 * 5 * slope - 4 * (base - 2.25) * curved
    stein.mean().backward()
    result = pt.kernel_stein_discrepancy(
        x, scores, kernel=pt.InverseMultiquadric(1.5), return_gradient=True
    )
    assert result.grad_x.dtype == result.grad_scores.dtype == np.dtype(dtype)
    assert result.value == pytest.approx(stein.mean().item(), rel=1e-8)
    close(result.grad_x, rows.grad.numpy(), 1e-6)
    close(result.grad_scores, given.grad.numpy(), 1e-6)


def test_following_the_gradient_fits_a_sample():
    """Rows move to where a standard normal distribution has its own."""
    x = np.random.default_rng(1).normal(size=(60, 2)) * 0.4 + 1.5
    first = pt.kernel_stein_discrepancy(x, -x, kernel=pt.InverseMultiquadric(1.0))
    for _ in range(150):
        step = pt.kernel_stein_discrepancy(
            x, -x, kernel=pt.InverseMultiquadric(1.0), return_gradient=True
        )
        x = x - 10 * (step.grad_x - step.grad_scores)  # the scores move with the rows
    assert step.value < 0.02 * first
    assert np.abs(x.mean(axis=0)).max() < 0.1


def test_bad_calls_are_those_of_the_value():
    x, scores = sample(5)
    with pytest.raises(ValueError, match="scores must have the shape of x"):
        pt.kernel_stein_discrepancy(x, scores[:4], return_gradient=True)
    with pytest.raises(ValueError, match="has no derivative where two rows coincide"):
        pt.kernel_stein_discrepancy(x, scores, kernel="laplace", return_gradient=True)


@measures_memory
@native
def test_no_matrix_is_ever_held():
    """One would take 288 MB."""
    grown = run_python(
        PEAK
        + """
    x = rng.normal(size=(6000, 4))
    pt.kernel_stein_discrepancy(x[:50], -x[:50], return_gradient=True)
    print(growth(lambda: pt.kernel_stein_discrepancy(
        x, -x, kernel=pt.Gaussian(1.0), return_gradient=True)))
    """
    )
    assert int(grown) < 48 << 20
