"""Gradients of HSIC and CKA.

Oracles: finite differences of the returned value in float64, torch's autograd of the explicit
matrices, and the NumPy twin, which takes differences of rows one feature at a time.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile, native_and_twin
from pairtile._backends import numpy as twin
from processes import PEAK, measures_memory, run_python
from strategies import SEEDS, point_sets

native = pytest.mark.native

KERNELS = {
    "gaussian": pt.Gaussian(1.3),
    "laplace": pt.Laplace(1.2),
    "laplace_l1": pt.Laplace(2.0, norm="l1"),
    "inverse_multiquadric": pt.InverseMultiquadric(1.1),
    "polynomial": pt.Polynomial(2),
    "linear": pt.Linear(),
    "cosine": pt.Cosine(),
    "energy": pt.Energy(1.0),
    "mixed": 2 * pt.Gaussian(1.0) + 0.3 * pt.Linear() + pt.Laplace(2.0, norm="l1"),
}
FUNCTIONS = [pt.hsic, pt.cka]
ESTIMATORS = ["biased", "unbiased"]
PAIRS = list(itertools.zip_longest(KERNELS, list(KERNELS)[1:], fillvalue="gaussian"))


def samples(n: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return x, rng.normal(size=(n, 2)) + 0.5 * x[:, :2]


def differences(function: Any, at: Any, step: float = 1e-6) -> Any:
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


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=["hsic", "cka"])
def test_gradients_are_finite_differences(function, estimator, names):
    x, y = samples(7)
    x_kernel, y_kernel = (KERNELS[name] for name in names)
    options = {"x_kernel": x_kernel, "y_kernel": y_kernel, "estimator": estimator}
    for result in native_and_twin(function, x, y, return_gradient=True, **options):
        assert result.value == pytest.approx(function(x, y, **options), rel=1e-11, abs=1e-14)
        close(result.grad_x, differences(lambda a: function(a, y, **options), x), 1e-7)
        close(result.grad_y, differences(lambda b: function(x, b, **options), y), 1e-7)


@pytest.mark.oracle("torch")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=["hsic", "cka"])
def test_gradients_of_rows_far_from_the_origin_are_those_of_autograd(function, estimator, dtype):
    import torch

    x, y = samples(60)
    x, y = (np.asarray(v + 1e4, dtype=dtype) for v in (x, y))
    x[7], y[9] = x[3], y[4]
    leaves = [torch.tensor(v.astype(np.float64)).requires_grad_() for v in (x, y)]

    def gaussian(v: Any) -> Any:
        return torch.exp(-((v[:, None] - v) ** 2).sum(2) / 2)

    def linear(v: Any) -> Any:
        v = v - v.mean(0)
        return v @ v.T

    def product(k: Any, other: Any) -> Any:
        n = len(k)
        if estimator == "biased":
            h = torch.eye(n, dtype=k.dtype) - 1 / n
            return (h @ k @ h * other).sum() / n**2
        apart = 1 - torch.eye(n, dtype=k.dtype)
        k, other = k * apart, other * apart
        sums = k.sum() * other.sum() / ((n - 1) * (n - 2))
        rows = k.sum(0) @ other.sum(0) * 2 / (n - 2)
        return ((k * other).sum() + sums - rows) / (n * (n - 3))

    k, other = gaussian(leaves[0]), linear(leaves[1])
    expected = product(k, other)
    if function is pt.cka:
        expected = expected / torch.sqrt(product(k, k) * product(other, other))
    expected.backward()
    result = function(
        x, y, x_kernel=pt.Gaussian(1.0), y_kernel="linear", estimator=estimator,
        return_gradient=True,
    )  # fmt: skip
    assert result.value == pytest.approx(expected.item(), rel=1e-7)
    assert result.grad_x.dtype == result.grad_y.dtype == np.dtype(dtype)
    for found, leaf in zip(result[1:], leaves, strict=True):
        close(found, leaf.grad.numpy(), 1e-6)


@native
@given(
    sets=point_sets(),
    features=st.integers(1, 20),
    diagonal=st.booleans(),
    tile=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    seed=SEEDS,
)
def test_native_weighted_gradients_are_the_twins(sets, features, diagonal, tile, seed):
    from pairtile import _native

    x = sets.array
    rng = np.random.default_rng(seed)
    y, by_row = rng.normal(size=(len(x), features)), rng.normal(size=len(x))
    size = float(np.abs(sets.values).max()) or 1.0
    x_terms = [(1.0, "gaussian", (1 / size**2,)), (0.5 / size, "linear", ())]
    y_terms = [(1.0, "energy", (1.0,)), (0.3, "linear", ())]
    arguments = (x, y, x_terms, y_terms, by_row)
    expected = twin.joint_kernel_gradient(*arguments, diagonal=diagonal, workers=1)
    with forced_tile(*tile):
        found = [
            _native.joint_kernel_gradient(*arguments, diagonal=diagonal, workers=workers)
            for workers in (1, 3)
        ]
    np.testing.assert_array_equal(*found)
    # each entry sums n weights of about this size times slopes times rows
    bound = len(x) * 10 * (1 + np.abs(by_row).max() + np.abs(y).max() ** 2 * features) / size
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-12 * bound)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_does_not_vary_has_no_gradient(estimator):
    x, y = samples(6)
    result = pt.cka(np.ones_like(x), y, estimator=estimator, return_gradient=True)
    assert result.value == 0
    assert not result.grad_x.any()
    assert not result.grad_y.any()


def test_gradients_are_of_numbers_of_any_unit():
    x, y = samples(9)
    plain = pt.hsic(x, y, return_gradient=True)
    huge = pt.hsic(x * 1e200, y, return_gradient=True)
    assert huge.value == pytest.approx(plain.value, rel=1e-9)
    np.testing.assert_allclose(huge.grad_x * 1e200, plain.grad_x, rtol=1e-7)
    np.testing.assert_allclose(huge.grad_y, plain.grad_y, rtol=1e-7)


def test_bad_calls_are_those_of_the_value():
    x, y = samples(5)
    with pytest.raises(ValueError, match="x has 5 rows and y has 4"):
        pt.hsic(x, y[:4], return_gradient=True)
    with pytest.raises(ValueError, match="needs at least 4"):
        pt.cka(x[:3], y[:3], estimator="unbiased", return_gradient=True)
    with pytest.raises(ValueError, match="unknown estimator 'u'"):
        pt.cka(x, y, estimator="u", return_gradient=True)


@measures_memory
@native
def test_the_matrices_are_never_held():
    """Each would take 288 MB."""
    grown = run_python(
        PEAK
        + """
    x, y = rng.normal(size=(6000, 4)), rng.normal(size=(6000, 3))
    pt.cka(x[:50], y[:50], return_gradient=True)
    print(growth(lambda: pt.hsic(x, y, x_kernel=pt.Gaussian(1.0), y_kernel=pt.Gaussian(1.0),
                                 return_gradient=True)))
    """
    )
    assert int(grown) < 48 << 20
