"""Partial transport on a line against linear programs, POT and what must hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

import pairtile as pt
from backends import native_and_twin, on_backend
from strategies import SEEDS

BACKENDS = [pytest.param("native", marks=pytest.mark.native), "numpy"]
SIZES = st.integers(1, 7)
MASSES = st.one_of(st.floats(0.01, 1.0), st.sampled_from([0.25, 1 / 3, 0.5, 2 / 3, 1.0]))
ORDERS = st.sampled_from([1.0, 1.3, 2.0, 3.0, 6.0])
# How the points lie: apart, among each other, on a lattice with ties, in clusters.
KINDS = {
    "normal": lambda rng, n, m: (rng.normal(size=n), rng.normal(size=m)),
    "apart": lambda rng, n, m: (rng.normal(size=n), rng.normal(size=m) + 3),
    "lattice": lambda rng, n, m: (rng.integers(0, 6, size=n), rng.integers(0, 6, size=m)),
    "clusters": lambda rng, n, m: tuple(
        9 * rng.integers(0, 3, size=k) + rng.normal(size=k) for k in (n, m)
    ),
    "around": lambda rng, n, m: (
        rng.choice([-1, 1], size=n) * rng.gamma(3, size=n),
        rng.normal(size=m),
    ),
}


@pytest.fixture(params=BACKENDS, autouse=True)
def backend(request: Any) -> Any:
    with on_backend(request.param):
        yield


def program(x: Any, y: Any, mass: float, p: float) -> float:
    """The least cost, as a linear program of the whole plan."""
    n, m = len(x), len(y)
    cost = np.abs(np.subtract.outer(x, y).astype(float)) ** p
    rows = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    most = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    found = linprog(
        cost.ravel(), A_ub=rows, b_ub=most + 1e-15, A_eq=np.ones((1, n * m)), b_eq=[mass],
        method="highs",
    )  # fmt: skip
    assert found.success
    return float(found.fun)


@given(n=SIZES, m=SIZES, mass=MASSES, p=ORDERS, kind=st.sampled_from(sorted(KINDS)), seed=SEEDS)
def test_the_cost_is_that_of_the_linear_program(n, m, mass, p, kind, seed):
    x, y = KINDS[kind](np.random.default_rng(seed), n, m)
    found = pt.partial_wasserstein_1d(x, y, mass, p=p)
    assert isinstance(found, float)
    size = np.abs(np.subtract.outer(x, y)).max() ** p
    assert found**p == pytest.approx(program(x, y, mass, p), rel=1e-7, abs=1e-7 * size)


def test_many_small_programs():
    """Every way in which few points can lie, more of them than hypothesis draws."""
    rng = np.random.default_rng(0)
    for _ in range(150):
        n, m = rng.integers(1, 6, size=2)
        x, y = KINDS[rng.choice(sorted(KINDS))](rng, n, m)
        mass, p = rng.choice([0.2, 0.45, 0.5, 0.8, 0.95]), rng.choice([1.0, 2.0, 4.0])
        found = pt.partial_wasserstein_1d(x, y, mass, p=p) ** p
        assert found == pytest.approx(program(x, y, mass, p), rel=1e-7, abs=1e-9), (x, y, mass, p)


only_native = pytest.mark.parametrize(
    "backend", [pytest.param("native", marks=pytest.mark.native)], indirect=True
)


@only_native
@given(
    n=st.integers(1, 60),
    m=st.one_of(st.none(), st.integers(1, 60)),
    mass=MASSES,
    p=ORDERS,
    kind=st.sampled_from(sorted(KINDS)),
    seed=SEEDS,
)
def test_the_engine_is_its_twin(n, m, mass, p, kind, seed):
    x, y = KINDS[kind](np.random.default_rng(seed), n, m or n)
    native, twin = native_and_twin(pt.partial_wasserstein_1d, x, y, mass, p=p)
    assert native == pytest.approx(twin, rel=1e-9, abs=1e-12)


@only_native
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 30), (41, 37)])
def test_prices_by_gaps_are_those_by_steps(n, m, kind):
    """Of p = 1 the lengths of gaps are counted, of p > 1 the steps of the matching."""
    x, y = KINDS[kind](np.random.default_rng(n + m), n, m)
    for mass in np.linspace(0.01, 0.99, 60):
        by_gaps = pt.partial_wasserstein_1d(x, y, mass)
        by_steps = pt.partial_wasserstein_1d(x, y, mass, p=1 + 1e-12)
        assert by_gaps == pytest.approx(by_steps, rel=1e-9, abs=1e-9), mass


@pytest.mark.oracle("ot")
@pytest.mark.parametrize("p", [1, 2])
def test_the_cost_is_that_of_pot(p):
    import ot

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=40), rng.normal(size=40) + 0.5
    *_, prices = ot.partial.partial_wasserstein_1d(x, y, p=p)
    costs = np.cumsum(prices) / 40
    for k in range(1, 41):
        assert pt.partial_wasserstein_1d(x, y, k / 40, p=p) ** p == pytest.approx(costs[k - 1])


@pytest.mark.parametrize("p", [1, 2, 3.5])
@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 42), (17, 23)])
def test_the_cost_grows_faster_and_faster_up_to_all(n, m, p):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=n), rng.gamma(2.0, size=m)
    masses = np.linspace(0.02, 1, 50)
    costs = np.array([pt.partial_wasserstein_1d(x, y, mass, p=p) ** p for mass in masses])
    slopes = np.diff(costs, prepend=0)
    assert np.all(slopes >= -1e-14)
    assert np.all(np.diff(slopes) >= -1e-12)
    assert costs[-1] == pytest.approx(pt.wasserstein_1d(x, y, p=p) ** p)
    nearly = pt.partial_wasserstein_1d(x, y, 1 - 1e-12, p=p) ** p
    assert nearly == pytest.approx(costs[-1], rel=1e-9)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_shift_scale_mirror_and_exchange(p):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=31), rng.normal(size=25)
    right = pt.partial_wasserstein_1d(x, y, 0.7, p=p)
    near = pytest.approx(right, rel=1e-10)
    assert pt.partial_wasserstein_1d(y, x, 0.7, p=p) == near
    assert pt.partial_wasserstein_1d(-x, -y, 0.7, p=p) == near
    assert pt.partial_wasserstein_1d(x + 5, y + 5, 0.7, p=p) == near
    for scale in (1e-300, 1e-12, 1e12, 1e300):
        assert pt.partial_wasserstein_1d(scale * x, scale * y, 0.7, p=p) / scale == near
    assert pt.partial_wasserstein_1d(rng.permutation(x), y[::-1], 0.7, p=p) == right
    columns = pt.partial_wasserstein_1d(np.stack([x, 2 * x], 1), np.stack([y, 2 * y], 1), 0.7, p=p)
    np.testing.assert_allclose(columns, [right, 2 * right], rtol=1e-12)


def test_high_orders_see_what_is_near():
    """Beside an outlier the powers of all other differences are nothing."""
    x, y = np.array([0.0, 10.0, 20.0, 1e6]), np.array([4.0, 12.0, 21.0, -1e6])
    for share, farthest in ((0.25, 1.0), (0.5, 2.0), (0.75, 4.0)):
        found = pt.partial_wasserstein_1d(x, y, share, p=300)
        assert found == pytest.approx(farthest * 4 ** (-1 / 300), rel=1e-12)


def test_what_meets_moves_first():
    x = np.array([0.0, 1.0, 1.0, 5.0])
    assert pt.partial_wasserstein_1d(x, x[::-1], 0.9) == 0
    # a fifth of the mass is at both, and the next tenth goes one step
    assert pt.partial_wasserstein_1d([0.0, 1, 2, 3, 4], [4.0, 5, 6, 7, 8], 0.2) == 0
    assert pt.partial_wasserstein_1d([0.0, 1, 2, 3, 4], [4.0, 5, 6, 7, 8], 0.3) == pytest.approx(
        0.2
    )


@pytest.mark.parametrize("p", [1, 2])
def test_one_point_against_many(p):
    y = np.linspace(-1, 1, 301)
    found = pt.partial_wasserstein_1d([0.0], y, 0.5, p=p)
    assert found**p == pytest.approx(0.5 * {1: 0.25, 2: 1 / 12}[p], rel=1e-2)


@only_native
def test_long_samples_take_little_time():
    """Where the points of a block were counted again for each of them, these would take hours."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=100_000), rng.normal(size=100_000) + 4
    found = pt.partial_wasserstein_1d(x, y, 0.5)
    assert 0 < found < 0.5 * pt.wasserstein_1d(x, y)
    y = rng.uniform(-1, 1, size=300_000)
    for one, many in (([0.0], y), (y, [0.0])):
        found = pt.partial_wasserstein_1d(one, many, 0.5, p=2)
        assert found == pytest.approx(0.5 * math.sqrt(1 / 6), rel=1e-2)


def test_faults_are_named():
    for mass in (0, -0.5, 1.5, np.nan):
        with pytest.raises(ValueError, match="mass must be finite, > 0, <= 1; got"):
            pt.partial_wasserstein_1d([1.0], [2.0], mass)
    for p in (0.5, np.inf):
        with pytest.raises(ValueError, match="p must be finite, >= 1; got"):
            pt.partial_wasserstein_1d([1.0], [2.0], 0.5, p=p)
    with pytest.raises(ValueError, match="y contains NaN or Inf"):
        pt.partial_wasserstein_1d([1.0], [np.inf], 0.5)
    with pytest.raises(ValueError, match="x has 2 columns and y has 3"):
        pt.partial_wasserstein_1d(np.ones((4, 2)), np.ones((4, 3)), 0.5)
