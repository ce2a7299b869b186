"""One-dimensional and sliced transport, and sliced energy: values, gradients, standard errors."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import linprog

import pairtile as pt
from backends import native_and_twin, on_backend
from processes import PEAK, measures_memory, run_python
from strategies import DTYPES, LAYOUTS, SEEDS, Points, cast, pairs_of_sets

native = pytest.mark.native

ORDERS = (1.0, 1.5, 2.0, 3.0)
# Around the lanes and register blocks, and beyond the 64 or 128 rows that are sorted in registers.
ROWS = st.one_of(
    st.integers(1, 17), st.sampled_from([31, 33, 64, 65, 97, 127, 128, 129, 130, 257, 700])
)
FEATURES = st.sampled_from([1, 2, 3, 5, 8, 17, 64])
# One row far away, which a test gives no weight.
OUTLIER = (
    Points.of([[0.3457]], "float16"),
    Points.of(
        np.array([[0.8218, 0.3303, -1.303, 0.9053, 0.4463, -0.5371, 0.5811, 6e4, 0.2942]]).T,
        "float16",
    ),
)


def transport(u: Any, v: Any, p: float, a: Any = None, b: Any = None) -> float:
    """W_p^p from the two quantile functions, piece by piece."""
    a = np.ones(len(u)) if a is None else np.asarray(a)
    b = np.ones(len(v)) if b is None else np.asarray(b)
    # masses in units in which whole weights are whole: a row that weighs nothing, however far
    # away, gets nothing by rounding
    a, b = a * np.sum(b), b * np.sum(a)
    left, right = np.argsort(u, kind="stable"), np.argsort(v, kind="stable")
    up, down = np.cumsum(a[left]), np.cumsum(b[right])
    levels = np.sort(np.concatenate([[0.0], up, down]))
    middle = (levels[1:] + levels[:-1]) / 2
    at_u = u[left][np.minimum(np.searchsorted(up, middle), len(u) - 1)]
    at_v = v[right][np.minimum(np.searchsorted(down, middle), len(v) - 1)]
    return float(np.sum(np.diff(levels) * np.abs(at_u - at_v) ** p) / levels[-1])


def energy(u: Any, v: Any) -> float:
    """2E|u − v| − E|u − u'| − E|v − v'|."""

    def mean(s: Any, t: Any) -> float:
        return float(np.abs(np.subtract.outer(s, t)).mean())

    return 2 * mean(u, v) - mean(u, u) - mean(v, v)


def c(d: int) -> float:
    """E_d = c_d · mean over directions of E_1."""
    return math.sqrt(math.pi) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))


def sets(n: int, m: int, d: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 1.3 * rng.normal(size=(m, d)) + 0.4


def bound_of(*arrays: Any) -> float:
    """Share of the largest number that rounding may cost."""
    return 1e-12 if any(a.dtype.name == "float64" for a in arrays) else 4e-6


# --- one dimension ------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (40, 40), (40, 60), (200, 200), (300, 129)])
def test_wasserstein_1d_is_scipys(n, m, weighted):
    x, y = (a[:, 0] for a in sets(n, m, 1, n))
    rng = np.random.default_rng(1)
    v, w = (rng.random(n), rng.random(m)) if weighted else (None, None)
    expected = stats.wasserstein_distance(x, y, v, w)
    got = pt.wasserstein_1d(x, y, x_weights=v, y_weights=w)
    assert isinstance(got, float)
    assert got == pytest.approx(expected, rel=1e-12)
    # integers of 8 bits, with many ties
    x, y = np.round(3 * x).astype(np.int8), np.round(3 * y).astype(np.int8)
    expected = stats.wasserstein_distance(x.astype(float), y.astype(float), v, w)
    assert pt.wasserstein_1d(x, y, x_weights=v, y_weights=w) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("p", ORDERS)
@given(
    sets=pairs_of_sets(rows=ROWS, features=st.sampled_from([1, 2, 5])),
    seed=SEEDS,
    weighted=st.sampled_from(["", "x", "y", "xy"]),
)
@example(sets=OUTLIER, seed=0, weighted="y")
def test_wasserstein_1d_column_by_column(p, sets, seed, weighted):
    x, y = sets
    rng = np.random.default_rng(seed)
    # some rows weigh nothing
    v, w = (
        np.append(rng.integers(0, 4, size=len(a.values) - 1), 1.0) if name in weighted else None
        for name, a in (("x", x), ("y", y))
    )
    got = pt.wasserstein_1d(x.array, y.array, p=p, x_weights=v, y_weights=w)
    assert got.shape == (x.array.shape[1],)
    assert got.dtype == np.float64
    for column, value in enumerate(got):
        u, t = x.values[:, column], y.values[:, column]
        expected = transport(u, t, p, v, w) ** (1 / p)
        # columns are taken as they are: no rounding but that of the powers and of the masses
        allowed = 1e-11 * (np.abs(u).max() + np.abs(t).max())
        assert value == pytest.approx(expected, rel=1e-11, abs=allowed if p > 1 else allowed / 10)


@pytest.mark.parametrize("p", ORDERS)
def test_wasserstein_1d_is_the_least_cost_of_any_plan(p):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=6), rng.normal(size=5)
    a, b = rng.random(6), rng.random(5)
    cost = np.abs(np.subtract.outer(x, y)) ** p
    marginals = np.vstack([np.kron(np.eye(6), np.ones(5)), np.kron(np.ones(6), np.eye(5))])
    masses = np.concatenate([a / a.sum(), b / b.sum()])
    plan = linprog(cost.ravel(), A_eq=marginals, b_eq=masses, method="highs")
    got = pt.wasserstein_1d(x, y, p=p, x_weights=a, y_weights=b)
    assert got**p == pytest.approx(plan.fun, rel=1e-9)


def test_wasserstein_1d_of_special_samples():
    rng = np.random.default_rng(3)
    x = rng.normal(size=150)
    assert pt.wasserstein_1d(x, rng.permutation(x)) == 0
    assert pt.wasserstein_1d(x, x + 2.5, p=3) == pytest.approx(2.5)
    assert pt.wasserstein_1d(x, np.repeat(x, 3), p=2) == pytest.approx(0, abs=1e-12)
    assert pt.wasserstein_1d([0.0, 0.0], [0.0, 4.0], p=2) == pytest.approx(math.sqrt(8))
    assert pt.wasserstein_1d([-0.0, 1.0], [0.0, 1.0]) == 0
    # weights are divided by their sum, and a row of weight 0 is not there
    for p in ORDERS:
        got = pt.wasserstein_1d([0.0, 100.0], [1.0], p=p, x_weights=[7.0, 0.0])
        assert got == pytest.approx(1.0)
    # digits that float32 does not have
    far = 1e8 + np.array([0.0, 1.0, 2.0])
    assert pt.wasserstein_1d(far, far + 0.25) == 0.25
    tiny = np.array([5e-324, 1e-310])
    assert pt.wasserstein_1d(tiny, np.zeros(2)) == pytest.approx(5e-311)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_that_agree_in_their_high_bits_are_sorted(dtype):
    # sorts with rows look at the highest bits that vary first
    rng = np.random.default_rng(4)
    for width in (1e-15, 1e-12, 1e-6, 1.0, 1e30):
        x = (1 + width * rng.normal(size=1000)).astype(dtype)
        x[rng.integers(1000, size=100)] *= -1
        y = rng.permutation(x)
        assert pt.wasserstein_1d(x, y, p=2) == 0
        y = np.sort(x).astype(np.float64)
        y = np.concatenate([y, [y[-1]]])
        expected = transport(x.astype(np.float64), y, 1.0)
        assert pt.wasserstein_1d(x, y) == pytest.approx(expected, rel=1e-9, abs=1e-30)


# --- sliced -------------------------------------------------------------------------------------


def brute_costs(x: Any, y: Any, directions: Any, p: float, v: Any = None, w: Any = None) -> Any:
    return np.array(
        [transport(x @ along, y @ along, p, v, w) for along in np.asarray(directions, float).T]
    )


@pytest.mark.parametrize("p", ORDERS)
@given(
    sets=pairs_of_sets(rows=ROWS, features=FEATURES),
    n_slices=st.sampled_from([1, 2, 5, 13, 14, 15, 33]),
    seed=SEEDS,
    weighted=st.booleans(),
)
def test_sliced_wasserstein_is_the_mean_over_directions(p, sets, n_slices, seed, weighted):
    x, y = sets
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(x.array.shape[1], n_slices))
    options = {}
    if weighted:
        options["x_weights"], options["y_weights"] = (rng.random(len(s.values)) for s in sets)
        options["direction_weights"] = rng.random(n_slices)
    directions /= np.linalg.norm(directions, axis=0)
    got = pt.sliced_wasserstein(x.array, y.array, p=p, directions=directions, **options)
    costs = brute_costs(
        x.values, y.values, directions, p, options.get("x_weights"), options.get("y_weights")
    )
    mean = np.average(costs, weights=options.get("direction_weights"))
    spread = np.vstack([x.values, y.values])
    size = np.abs(spread - spread.mean(axis=0)).max() * np.abs(directions).sum(axis=0).max()
    offset = np.abs(spread).max() * 1e-15 * np.abs(directions).sum(axis=0).max()
    reached = abs(got - mean ** (1 / p))
    allowed = bound_of(x.array, y.array) * size + 10 * offset
    # the root magnifies the errors of a distance that is nearly 0
    assert reached <= allowed, f"reached {reached / (size or 1):.3g} of the largest projection"


@pytest.mark.oracle("ot")
@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 85)])
def test_sliced_wasserstein_is_pots(n, m, p):
    import ot

    x, y = sets(n, m, 5, 5)
    directions = pt.sphere_directions(5, 40, rng=5)
    rng = np.random.default_rng(5)
    for v, w in ((None, None), (rng.random(n), rng.random(m))):
        weights = [None if u is None else u / u.sum() for u in (v, w)]
        expected = ot.sliced_wasserstein_distance(x, y, *weights, projections=directions, p=p)
        got = pt.sliced_wasserstein(x, y, p=p, directions=directions, x_weights=v, y_weights=w)
        assert got == pytest.approx(float(expected), rel=1e-10)


def test_given_directions():
    x, y = sets(30, 30, 3, 6)
    directions = pt.sphere_directions(3, 6, rng=6)
    plain = pt.sliced_wasserstein(x, y, directions=directions)
    for layout in (np.asfortranarray(directions), directions[:, ::-1], directions.astype(">f8")):
        assert pt.sliced_wasserstein(x, y, directions=layout) == pytest.approx(plain, rel=1e-14)
    narrow = pt.sliced_wasserstein(x, y, directions=directions.astype(np.float32))
    assert narrow == pytest.approx(plain, rel=1e-6)
    weights = np.array([1.0, 0, 0, 2, 0, 0])
    got = pt.sliced_wasserstein(x, y, directions=directions, direction_weights=weights)
    costs = brute_costs(x, y, directions, 2)
    assert got == pytest.approx(math.sqrt((costs[0] + 2 * costs[3]) / 3), rel=1e-12)


def test_directions_are_drawn_by_the_seed():
    x, y = sets(40, 50, 4, 7)
    for method in ("gaussian", "orthogonal", "sobol"):
        drawn = pt.sphere_directions(4, 24, rng=7, method=method)
        got = pt.sliced_wasserstein(x, y, n_projections=24, method=method, control=None, rng=7)
        assert got == pt.sliced_wasserstein(x, y, directions=drawn), method
        got = pt.sliced_energy(x, y, n_projections=24, method=method, rng=7)
        assert got == pt.sliced_energy(x, y, directions=drawn), method
    default = pt.sliced_energy(x, y, rng=7)
    assert default == pt.sliced_energy(x, y, directions=pt.sphere_directions(4, 128, rng=7))


@pytest.mark.parametrize("d", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("method", ["gaussian", "orthogonal", "sobol"])
def test_sphere_directions(method, d):
    n = 3000
    directions = pt.sphere_directions(d, n, rng=8, method=method)
    assert directions.shape == (d, n)
    assert directions.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 1, rtol=1e-12)
    # mean 0 and covariance I/d, within five standard errors
    assert np.abs(directions.mean(axis=1)).max() < 5 / math.sqrt(n * d)
    covariance = directions @ directions.T / n
    assert np.abs(covariance - np.eye(d) / d).max() < 5 * math.sqrt(2) / (d * math.sqrt(n)) + 1e-12
    if method == "orthogonal":
        for start in range(0, n - d, d):
            basis = directions[:, start : start + d]
            np.testing.assert_allclose(basis.T @ basis, np.eye(d), atol=1e-12)
    other = pt.sphere_directions(d, n, rng=9, method=method)
    assert not np.array_equal(directions, other) or d == 1
    np.testing.assert_array_equal(
        directions, pt.sphere_directions(d, n, rng=np.random.default_rng(8), method=method)
    )


# --- gradients ----------------------------------------------------------------------------------


def numerical_gradient(f: Any, a: Any, step: float = 1e-6) -> Any:
    out = np.empty_like(a)
    for index in np.ndindex(a.shape):
        moved = a.copy()
        moved[index] += step
        above = f(moved)
        moved[index] -= 2 * step
        out[index] = (above - f(moved)) / (2 * step)
    return out


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize(("n", "m", "weighted"), [(7, 7, False), (7, 5, False), (6, 8, True)])
def test_gradients_are_finite_differences(n, m, weighted, p):
    x, y = sets(n, m, 3, 10)
    rng = np.random.default_rng(10)
    options: dict[str, Any] = {"p": p, "directions": pt.sphere_directions(3, 5, rng=10)}
    if weighted:
        options["x_weights"], options["y_weights"] = rng.random(n), rng.random(m)
        options["direction_weights"] = rng.random(5)
    got = pt.sliced_wasserstein(x, y, return_gradient=True, **options)
    assert got.value == pt.sliced_wasserstein(x, y, **options)
    by_x = numerical_gradient(lambda a: pt.sliced_wasserstein(a, y, **options), x)
    by_y = numerical_gradient(lambda b: pt.sliced_wasserstein(x, b, **options), y)
    np.testing.assert_allclose(got.grad_x, by_x, atol=1e-7)
    np.testing.assert_allclose(got.grad_y, by_y, atol=1e-7)


@pytest.mark.parametrize(("n", "m"), [(7, 7), (4, 9)])
def test_energy_gradients_are_finite_differences(n, m):
    x, y = sets(n, m, 3, 11)
    options = {"directions": pt.sphere_directions(3, 6, rng=11)}
    got = pt.sliced_energy(x, y, return_gradient=True, **options)
    assert got.value == pt.sliced_energy(x, y, **options)
    by_x = numerical_gradient(lambda a: pt.sliced_energy(a, y, **options), x)
    by_y = numerical_gradient(lambda b: pt.sliced_energy(x, b, **options), y)
    np.testing.assert_allclose(got.grad_x, by_x, atol=1e-7)
    np.testing.assert_allclose(got.grad_y, by_y, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_energy_gradient_is_that_of_ranks(dtype):
    # lattice data: ties within and between the samples, where the sign is 0
    rng = np.random.default_rng(12)
    x, y = (rng.integers(0, 4, size=(n, 2)).astype(dtype) for n in (40, 30))
    directions = np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]])
    got = pt.sliced_energy(x, y, directions=directions, return_gradient=True)
    expected = np.zeros((40, 2))
    for along in directions.T:
        u, v = x.astype(float) @ along, y.astype(float) @ along
        across = np.sign(np.subtract.outer(u, v)).mean(axis=1)
        own = np.sign(np.subtract.outer(u, u)).mean(axis=1)
        expected += c(2) * 2 * np.outer(across - own, along) / 40 / 3
    np.testing.assert_allclose(got.grad_x, expected, atol=1e-7 if dtype == "float32" else 1e-14)
    assert got.grad_x.dtype == dtype


@pytest.mark.parametrize("p", ORDERS)
def test_gradients_add_up(p):
    # moving everything changes nothing; scaling everything scales the distance
    x, y = sets(150, 220, 6, 13)
    got = pt.sliced_wasserstein(x, y, p=p, n_projections=30, rng=13, return_gradient=True)
    np.testing.assert_allclose(got.grad_x.sum(axis=0) + got.grad_y.sum(axis=0), 0, atol=1e-13)
    along = np.sum(x * got.grad_x) + np.sum(y * got.grad_y)
    assert along == pytest.approx(got.value, rel=1e-10)
    got = pt.sliced_energy(x, y, n_projections=30, rng=13, return_gradient=True)
    np.testing.assert_allclose(got.grad_x.sum(axis=0) + got.grad_y.sum(axis=0), 0, atol=1e-13)
    along = np.sum(x * got.grad_x) + np.sum(y * got.grad_y)
    assert along == pytest.approx(got.value, rel=1e-10)


@pytest.mark.parametrize("p", ORDERS)
def test_gradients_are_zero_where_the_distance_is(p):
    x, _ = sets(20, 1, 3, 14)
    got = pt.sliced_wasserstein(x, x[::-1], p=p, n_projections=8, rng=0, return_gradient=True)
    assert got.value == 0
    assert got.standard_error == 0
    assert not got.grad_x.any()
    assert not got.grad_y.any()


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_gradients_at_any_scale(scale, p):
    # the gradient of a distance does not depend on the unit
    x, y = sets(40, 50, 4, 15)
    options: dict[str, Any] = {"p": p, "n_projections": 10, "rng": 15, "return_gradient": True}
    expected = pt.sliced_wasserstein(x, y, **options)
    for dtype, rtol in (("float64", 1e-9), ("float32", 1e-4)):
        got = pt.sliced_wasserstein((scale * x).astype(dtype), (scale * y).astype(dtype), **options)
        assert got.value == pytest.approx(scale * expected.value, rel=rtol)
        np.testing.assert_allclose(got.grad_x, expected.grad_x, rtol=rtol, atol=rtol * 0.01)
        np.testing.assert_allclose(got.grad_y, expected.grad_y, rtol=rtol, atol=rtol * 0.01)


# --- standard errors ----------------------------------------------------------------------------


@pytest.mark.parametrize("p", ORDERS)
def test_standard_error_is_the_delta_method(p):
    x, y = sets(50, 60, 6, 16)
    directions = pt.sphere_directions(6, 64, rng=16)
    costs = brute_costs(x, y, directions, p)
    value = costs.mean() ** (1 / p)
    expected = costs.std(ddof=1) / 8 * value / (p * costs.mean())
    options = {"method": "gaussian", "control": None, "n_projections": 64, "rng": 16}
    got = pt.sliced_wasserstein(x, y, p=p, full=True, **options)
    assert got.value == pytest.approx(value, rel=1e-11)
    assert got.standard_error == pytest.approx(expected, rel=1e-9)
    assert got.grad_x is got.grad_y is None
    costs = np.array([energy(x @ along, y @ along) for along in directions.T])
    got = pt.sliced_energy(x, y, n_projections=64, rng=16, full=True)
    assert got.value == pytest.approx(c(6) * costs.mean(), rel=1e-11)
    assert got.standard_error == pytest.approx(c(6) * costs.std(ddof=1) / 8, rel=1e-9)


def test_standard_error_of_orthogonal_directions_is_that_of_their_blocks():
    x, y = sets(50, 60, 4, 17)
    directions = pt.sphere_directions(4, 40, rng=17, method="orthogonal")
    blocks = brute_costs(x, y, directions, 2).reshape(10, 4).mean(axis=1)
    options = {"method": "orthogonal", "control": None, "n_projections": 40, "rng": 17}
    got = pt.sliced_wasserstein(x, y, full=True, **options)
    expected = blocks.std(ddof=1) / math.sqrt(10) / (2 * got.value)
    assert got.standard_error == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "how",
    [
        {"method": "sobol", "n_projections": 32},
        {"directions": np.eye(4)},
        {"method": "gaussian", "n_projections": 1},
        {"method": "orthogonal", "n_projections": 4},
    ],
)
def test_standard_error_that_cannot_be_told_is_nan(how):
    x, y = sets(20, 20, 4, 18)
    options = {"rng": 0, "full": True, **how}
    assert math.isnan(pt.sliced_wasserstein(x, y, **options).standard_error)
    assert math.isnan(pt.sliced_energy(x, y, **options).standard_error)


@pytest.mark.parametrize("method", ["gaussian", "orthogonal"])
def test_standard_errors_cover(method):
    # seeds differ by about what one of them says
    x, y = sets(60, 60, 5, 19)
    results = [
        pt.sliced_energy(x, y, n_projections=50, method=method, rng=seed, full=True)
        for seed in range(60)
    ]
    values, errors = np.array([(r.value, r.standard_error) for r in results]).T
    assert 0.6 < values.std(ddof=1) / errors.mean() < 1.6


# --- sliced energy ------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3, 10, 64, 400])
def test_sliced_energy_estimates_energy_distance(d):
    x, y = sets(60, 45, d, 20)
    exact = pt.energy_distance(x, y)
    got = pt.sliced_energy(x, y, n_projections=400, rng=20, full=True)
    if d == 1:
        assert got.value == pytest.approx(exact, rel=1e-11)
        assert got.standard_error == pytest.approx(0, abs=1e-12)
    else:
        assert abs(got.value - exact) < 4 * got.standard_error
        assert got.standard_error < 0.15 * exact
    directions = pt.sphere_directions(d, 400, rng=20)
    costs = [energy(x @ along, y @ along) for along in directions.T[:50]]
    got = pt.sliced_energy(x, y, directions=directions[:, :50])
    assert got == pytest.approx(c(d) * np.mean(costs), rel=1e-10)


def test_the_mean_gradient_of_sliced_energy_is_that_of_energy_distance():
    x, y = sets(12, 9, 3, 20)
    exact = pt.energy_distance(x, y, return_gradient=True)
    runs = [
        pt.sliced_energy(x, y, n_projections=50, rng=seed, return_gradient=True)
        for seed in range(40)
    ]
    for field in ("grad_x", "grad_y"):
        found = np.array([getattr(run, field) for run in runs])
        error = found.std(axis=0, ddof=1) / math.sqrt(len(runs))
        assert (np.abs(found.mean(axis=0) - getattr(exact, field)) < 4.5 * error).all()


def test_sliced_energy_in_one_dimension_is_scipys():
    x, y = sets(40, 70, 1, 21)
    expected = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    assert pt.sliced_energy(x, y, n_projections=3, rng=0) == pytest.approx(expected, rel=1e-11)


@given(sets=pairs_of_sets(rows=ROWS, features=FEATURES), seed=SEEDS)
def test_sliced_energy_is_the_mean_over_directions(sets, seed):
    x, y = sets
    d = x.array.shape[1]
    directions = np.random.default_rng(seed).normal(size=(d, 5))
    directions /= np.linalg.norm(directions, axis=0)
    costs = [energy(x.values @ along, y.values @ along) for along in directions.T]
    got = pt.sliced_energy(x.array, y.array, directions=directions)
    spread = np.vstack([x.values, y.values])
    size = np.abs(spread - spread.mean(axis=0)).max() * np.abs(directions).sum(axis=0).max()
    offset = np.abs(spread).max() * np.abs(directions).sum(axis=0).max()
    reached = abs(got - c(d) * np.mean(costs)) / c(d)
    allowed = 4 * bound_of(x.array, y.array) * size + 1e-14 * offset
    assert reached <= allowed, f"reached {reached / (size or 1):.3g} of the largest projection"
    assert got >= 0


# --- kinds of input -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_layout(dtype):
    rng = np.random.default_rng(22)
    x, y = (cast(3 * rng.normal(size=(n, 6)), dtype) for n in (140, 90))
    wide = x.astype(np.float64), y.astype(np.float64)
    rtol = 1e-12 if dtype == "float64" else 1e-5
    options = {"n_projections": 9, "rng": 22, "return_gradient": True}
    for function in (pt.sliced_wasserstein, pt.sliced_energy):
        expected = function(*wide, **options)
        first = function(x, y, **options)
        assert first.value == pytest.approx(expected.value, rel=rtol)
        assert first.grad_x.dtype == (np.float64 if dtype == "float64" else np.float32)
        if function is pt.sliced_wasserstein:  # ranks may change with the last digit
            largest = np.abs(expected.grad_x).max()
            np.testing.assert_allclose(first.grad_x, expected.grad_x, atol=100 * rtol * largest)
        for left, right in itertools.product(LAYOUTS.values(), repeat=2):
            got = function(left(x), right(y), **options)
            assert got.value == first.value
            np.testing.assert_array_equal(got.grad_x, first.grad_x)
            np.testing.assert_array_equal(got.grad_y, first.grad_y)
    columns = pt.wasserstein_1d(x, y)
    for left, right in itertools.product(LAYOUTS.values(), repeat=2):
        np.testing.assert_array_equal(pt.wasserstein_1d(left(x), right(y)), columns)


def test_an_offset_costs_float32_no_digits():
    rng = np.random.default_rng(23)
    x, y = ((rng.integers(-64, 64, size=(n, 5)) / 8 + 1e6).astype(np.float32) for n in (200, 150))
    for function, rtol in ((pt.sliced_wasserstein, 1e-5), (pt.sliced_energy, 1e-5)):
        expected = function(x.astype(np.float64) - 1e6, y.astype(np.float64) - 1e6, rng=23)
        assert function(x, y, rng=23) == pytest.approx(expected, rel=rtol)


@given(
    sets=pairs_of_sets(
        rows=st.integers(2, 200), features=FEATURES, kinds=["normal", "lattice", "repeated"]
    ),
    p=st.sampled_from(ORDERS),
    seed=SEEDS,
)
def test_distances_do_not_see_order_or_place(sets, p, seed):
    x, y = (s.values for s in sets)
    rng = np.random.default_rng(seed)
    directions = pt.sphere_directions(x.shape[1], 7, rng=rng)
    shift = rng.normal(size=x.shape[1])

    def both(a, b):
        return (
            pt.sliced_wasserstein(a, b, p=p, directions=directions),
            pt.sliced_energy(a, b, directions=directions),
        )

    expected = both(x, y)
    size = np.abs(np.vstack([x, y])).max() + 1
    for what, a, b in (
        ("shuffled", rng.permutation(x), rng.permutation(y)),
        ("swapped", y, x),
        ("moved", x + shift, y + shift),
        ("mirrored", -x, -y),
        ("repeated", np.repeat(x, 2, axis=0), np.repeat(y, 2, axis=0)),
    ):
        np.testing.assert_allclose(both(a, b), expected, rtol=0, atol=1e-11 * size, err_msg=what)


# --- the engine against its twin ----------------------------------------------------------------


@native
@given(
    sets=pairs_of_sets(
        rows=ROWS, features=FEATURES, kinds=["normal", "uneven_columns", "outlier", "offset"]
    ),
    p=st.sampled_from(ORDERS),
    n_slices=st.sampled_from([1, 3, 14, 31]),
    seed=SEEDS,
    weighted=st.booleans(),
)
def test_native_slices_are_the_twins(sets, p, n_slices, seed, weighted):
    # in float64, and away from ties, whose order rounding decides
    x, y = (s.values for s in sets)
    rng = np.random.default_rng(seed)
    x, y = (a * (1 + 1e-3 * rng.random(a.shape)) for a in (x, y))
    options: dict[str, Any] = {"n_projections": n_slices, "rng": seed, "return_gradient": True}
    weights: dict[str, Any] = {"p": p}
    if weighted:
        weights["x_weights"], weights["y_weights"] = (rng.random(len(a)) for a in (x, y))
        weights["direction_weights"] = rng.random(n_slices)
    size = np.abs(np.vstack([x, y])).max()
    for function, more in ((pt.sliced_wasserstein, weights), (pt.sliced_energy, {})):
        got, twin = native_and_twin(function, x, y, **options, **more)
        assert got.value == pytest.approx(twin.value, rel=1e-9, abs=1e-11 * size)
        if twin.value < 1e-6 * size:
            continue  # the root magnifies rounding
        largest = max(np.abs(twin.grad_x).max(), np.abs(twin.grad_y).max())
        for a, b in ((got.grad_x, twin.grad_x), (got.grad_y, twin.grad_y)):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * largest)


@native
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_workers_that_share_one_long_column_find_what_one_finds(dtype):
    rng = np.random.default_rng(46)
    x = np.round(rng.standard_normal(300_000), 3).astype(dtype)
    y = rng.standard_normal(280_000).astype(dtype) + x.dtype.type(0.1)
    weights = rng.uniform(0.5, 1.5, len(x))
    plain = pt.wasserstein_1d(x, y, workers=1)
    assert plain == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-6)
    weighted = pt.wasserstein_1d(x, y, x_weights=weights, workers=1)
    assert weighted == pytest.approx(stats.wasserstein_distance(x, y, weights), rel=1e-6)
    for workers in (2, 3):
        assert pt.wasserstein_1d(x, y, workers=workers) == plain
        assert pt.wasserstein_1d(x, y, x_weights=weights, workers=workers) == weighted


@native
def test_many_rows_and_directions():
    # several batches of directions; all workers give the same bits
    rng = np.random.default_rng(24)
    x, y = (rng.normal(size=(n, 9)).astype(np.float32) for n in (60_000, 50_000))
    options = {"n_projections": 150, "rng": 24}
    with on_backend("native"):
        first = pt.sliced_wasserstein(x, y, workers=1, **options)
        assert pt.sliced_wasserstein(x, y, workers=2, **options) == first
        assert pt.sliced_wasserstein(x, y, workers=3, **options) == first
    directions = pt.sphere_directions(9, 150, rng=24)
    costs = brute_costs(x.astype(float), y.astype(float), directions[:, :20], 2)
    got = pt.sliced_wasserstein(x, y, directions=directions[:, :20])
    assert got == pytest.approx(math.sqrt(costs.mean()), rel=1e-5)


@pytest.mark.native
@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3, 1e-170, 1e170, 1e300])
@pytest.mark.parametrize("p", [1.5, 2, 4, 100, 181, 540, 1000])
def test_any_order_at_any_scale(p, scale, backend):
    """p-th powers leave float64, distances do not."""
    a, b = np.array([1.0, 2, 3, 54]) * scale, np.array([1.0, 2, 3, 4]) * scale
    right = pytest.approx(50 * scale / 4 ** (1 / p), rel=1e-9)
    columns = a[:, None], b[:, None]
    with on_backend(backend):
        assert pt.wasserstein_1d(a, b, p=p) == right
        assert pt.wasserstein_1d(a, b, p=p, x_weights=[3, 3, 3, 3.0]) == right
        assert pt.sliced_wasserstein(*columns, p=p, directions=[[1.0]]) == right
        planes = (np.hstack([column, np.zeros((4, 1))]) for column in columns)
        directions = [[1.0, -1.0, 0.5], [0.0, 0.0, math.sqrt(0.75)]]
        found = pt.sliced_wasserstein(*planes, p=p, directions=directions, return_gradient=True)
        mean = (2 + 0.5**p) / 3
        assert found.value == pytest.approx(50 * scale * (mean / 4) ** (1 / p), rel=1e-9)
        slope = (mean / 4) ** (1 / p)  # of a distance that is so many times the one that moves
        np.testing.assert_allclose(found.grad_x[:, 0], [0, 0, 0, slope], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.grad_y[:, 0], [0, 0, 0, -slope], rtol=1e-9, atol=1e-12)
        assert pt.sliced_wasserstein(*columns, p=p, n_projections=9, full=True).standard_error >= 0


@pytest.mark.native
@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_infinite_order(backend):
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(50, 3)), rng.normal(size=(50, 3)), rng.random(50)
    with on_backend(backend):
        right = np.abs(np.sort(x, axis=0) - np.sort(y, axis=0)).max(axis=0)
        np.testing.assert_allclose(pt.wasserstein_1d(x, y, p=math.inf), right)
        limit = pt.wasserstein_1d(x, y[:20], p=900, x_weights=w)
        np.testing.assert_allclose(pt.wasserstein_1d(x, y[:20], p=np.inf, x_weights=w), limit, 0.02)
        assert pt.wasserstein_1d(x[:, 0], x[:, 0], p=math.inf) == 0


@pytest.mark.native
@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("n", [7, 200, 3001])
def test_weights_that_tie_are_the_same_mass(n, backend):
    """The rounding of cumulated weights joins no points that do not meet: a root would show it."""
    rng = np.random.default_rng(n)
    x, counts = rng.normal(size=n), rng.integers(1, 5, n)
    uniform = np.full(n, 1 / n)
    repeated, shares = np.repeat(x, counts), counts / counts.sum()
    with on_backend(backend):
        for p in (1, 2, 3, 4):
            assert pt.wasserstein_1d(x, x, p=p, x_weights=uniform) == 0
            assert pt.wasserstein_1d(x, x, p=p, x_weights=uniform, y_weights=uniform) == 0
            assert pt.wasserstein_1d(repeated, x, p=p, y_weights=shares) == 0
        assert pt.sliced_wasserstein(x[:, None], x[:, None], x_weights=uniform) == 0
        # a point of next to no weight is one all the same
        found = pt.wasserstein_1d([0.0, 1e6], [0.0], p=4, x_weights=[1.0, 1e-14])
        assert found == pytest.approx(1e6 * 1e-14**0.25, rel=1e-2)


@pytest.mark.parametrize(("d", "n"), [(300, 300), (513, 400), (700, 1000)])
def test_orthogonal_directions_by_panels(d, n):
    """The basis that one decomposition of the whole gives, a panel at a time."""
    found = pt.sphere_directions(d, n, rng=3, method="orthogonal")
    rng = np.random.default_rng(3)
    for start in range(0, n, d):
        q, r = np.linalg.qr(rng.standard_normal((d, min(d, n - start))))
        right = q * np.copysign(1, np.diagonal(r))
        np.testing.assert_allclose(found[:, start : start + d], right, atol=1e-11)
        one = found[:, start : start + d]
        np.testing.assert_allclose(one.T @ one, np.eye(one.shape[1]), atol=1e-13)


def test_directions_of_many_numbers_are_those_of_one_draw():
    points = np.random.default_rng(5).standard_normal((1200, 1300))
    found = pt.sphere_directions(1200, 1300, rng=5)
    np.testing.assert_array_equal(found, points / np.linalg.norm(points, axis=0))


@measures_memory
@pytest.mark.slow
@pytest.mark.native
def test_memory_of_many_threads():
    """Of long lists, eight projections at a time and a list more for each thread."""
    run_python(
        PEAK
        + """
    x, y = rng.normal(size=(2, 1_000_000, 2)).astype(np.float32)
    taken = growth(lambda: pt.sliced_wasserstein(x, y, n_projections=16, rng=0, workers=64))
    assert taken < 8 * 2e6 * 4 + 8 * 1e6 * 4 + 64e6, taken  # 64 threads with small buffers
    """
    )
