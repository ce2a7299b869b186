"""Every kernel's value, logarithm, gradient and Stein kernel, from its value alone.

`formulas` states what a kernel is. Derivatives are taken of that numerically, by complex steps and
by Cauchy's integrals, as exact as float64 is: no derivative that the product states is used.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pairtile as pt
from backends import on_backend
from formulas import KERNELS, OF_DOTS, Formula, Pairs, by_distance, energy, stein_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3)) + 0.3
FACTS = {name: make(np.random.default_rng(3), 1.3) for name, make in KERNELS.items()}
FACTS["energy"] = energy(None, 1.0, exponent=1.0)

BACKENDS = [pytest.param("native", marks=pytest.mark.native), "numpy"]


@pytest.fixture(params=BACKENDS, autouse=True)
def backend(request: pytest.FixtureRequest) -> Any:
    with on_backend(request.param):
        yield


class Analytic(Pairs):
    """`Pairs` of complex rows, each number an analytic function of theirs."""

    def __init__(self, x: NDArray[Any], y: NDArray[Any]):
        super().__init__(x, y)
        apart = x[:, None] - y[None]
        self.squares = (apart**2).sum(axis=2)
        self.absolutes = np.sqrt(apart**2).sum(axis=2)  # of the sign that apart has
        self.cosines = (x @ y.T) / np.sqrt(np.outer((x**2).sum(axis=1), (y**2).sum(axis=1)))


def gradient(fact: Formula, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """∂k(x, y)/∂x_f of one pair."""
    step = 1e-30

    def moved(f: int) -> Any:
        return x + 1j * step * np.eye(len(x))[f]

    return np.array(
        [fact.matrix(Analytic(moved(f)[None], y[None])).item().imag / step for f in range(len(x))]
    )


def close(got: Any, expected: Any, size: float = 1.0) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12 * size)


@pytest.mark.native
def test_every_kernel_has_a_formula() -> None:
    from pairtile import _native

    assert set(_native.build_config()["kernels"].split()) <= set(KERNELS)
    public = (getattr(pt, name) for name in dir(pt))
    classes = {c for c in public if isinstance(c, type) and issubclass(c, pt.Kernel)}
    assert classes - {pt.Kernel} == {type(fact.kernel) for fact in FACTS.values()}


@pytest.mark.parametrize("name", FACTS)
def test_values(name: str) -> None:
    fact = FACTS[name]
    matrix = fact.matrix(Pairs(X, Y))
    close(fact.kernel(X, Y), matrix)
    close(pt.kernel_matvec(X, Y, np.eye(len(Y)), kernel=fact.kernel), matrix, np.abs(matrix).max())
    own = pt.kernel_sum(X, kernel=fact.kernel)
    others = pt.kernel_sum(X, kernel=fact.kernel, exclude_diagonal=True)
    close(own - others, np.trace(fact.matrix(Pairs(X, X))), 10 * abs(own))


@pytest.mark.parametrize("name", FACTS)
def test_logarithms(name: str) -> None:
    fact = FACTS[name]
    if (fact.matrix(Pairs(np.linspace(-3, 3, 20)[:, None], np.ones((1, 1)))) <= 0).any():
        with pytest.raises(ValueError, match="zero or negative"):
            pt.kernel_logsumexp(X, Y, kernel=fact.kernel)
        return
    for j in range(len(Y)):
        got = pt.kernel_logsumexp(X, Y[j : j + 1], kernel=fact.kernel)
        close(got, np.log(fact.matrix(Pairs(X, Y[j : j + 1]))[:, 0]))


@pytest.mark.parametrize("name", FACTS)
def test_gradients(name: str) -> None:
    fact = FACTS[name]
    n, m = len(X), len(Y)
    found = pt.mmd(X, Y, kernel=fact.kernel, estimator="unbiased", return_gradient=True)
    expected = np.zeros_like(X)
    for i, j in itertools.permutations(range(n), 2):
        expected[i] += 2 * gradient(fact, X[i], X[j]) / (n * (n - 1))
    for i, j in itertools.product(range(n), range(m)):
        expected[i] -= 2 * gradient(fact, X[i], Y[j]) / (n * m)
    close(found.grad_x, expected, np.abs(expected).max())


@pytest.mark.parametrize("name", FACTS)
def test_stein_kernels(name: str) -> None:
    fact = FACTS[name]
    radial = name not in (*OF_DOTS, "laplace_l1")
    if not radial or abs(by_distance(fact, np.zeros(1), 1, 0.3)) > 1e-6:  # a kink at 0
        with pytest.raises(ValueError, match=r"no derivative|not a function of the distance"):
            pt.kernel_stein_discrepancy(X, X, kernel=fact.kernel)
        return
    scores = np.random.default_rng(1).normal(size=X.shape)
    matrix = stein_matrix(fact, X, scores)
    got = pt.kernel_stein_discrepancy(X, scores, kernel=fact.kernel)
    np.testing.assert_allclose(got, matrix.mean(), rtol=1e-11)
    np.fill_diagonal(matrix, 0)
    got = pt.kernel_stein_discrepancy(X, scores, kernel=fact.kernel, estimator="unbiased")
    np.testing.assert_allclose(got, matrix.sum() / (matrix.size - len(X)), rtol=1e-11)


@pytest.mark.parametrize("name", sorted(name for name, fact in FACTS.items() if fact.slope))
def test_slopes_of_the_formulas(name: str) -> None:
    """The gradients that `soak_statistics` holds results to."""
    fact = FACTS[name]
    slopes = fact.slope(Pairs(X, Y))
    for i, j in itertools.product(range(len(X)), range(len(Y))):
        by_argument = Y[j] if fact.of_dots else 2 * (X[i] - Y[j])
        close(slopes[i, j] * by_argument, gradient(fact, X[i], Y[j]))
