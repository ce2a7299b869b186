"""Transport plans that lines give: of the best line, and the mean over lines."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog

import pairtile as pt
from backends import native_and_twin
from strategies import SEEDS, pairs_of_sets

PLANS = {"min": pt.min_sliced_plan, "expected": pt.expected_sliced_plan}
ORDERS = (1, 1.5, 2, 3)


def dense(plan: Any, n: int, m: int) -> Any:
    """The plan as a matrix; each pair of rows is there once, in order, with mass."""
    places = plan.rows * m + plan.columns
    assert (np.diff(places) > 0).all()
    assert (plan.mass > 0).all()
    assert plan.rows.dtype == plan.columns.dtype == np.int64
    matrix = np.zeros((n, m))
    matrix[plan.rows, plan.columns] = plan.mass
    return matrix


def price(matrix: Any, x: Any, y: Any, p: float) -> float:
    apart = np.linalg.norm(x[:, None] - y, axis=2)
    return float(np.sum(matrix * apart**p)) ** (1 / p)


def coupling(u: Any, v: Any, a: Any, b: Any) -> Any:
    """The monotone coupling of two lines by brute force; ties by number."""
    left, right = list(a), list(b)
    matrix = np.zeros((len(u), len(v)))
    i_order, j_order = np.argsort(u, kind="stable"), np.argsort(v, kind="stable")
    i = j = 0
    while i < len(u) and j < len(v):
        row, column = i_order[i], j_order[j]
        mass = min(left[row], right[column])
        matrix[row, column] += mass
        left[row] -= mass
        right[column] -= mass
        # masses of the tests are whole numbers: nothing is left by rounding
        i += left[row] == 0
        j += right[column] == 0
    return matrix / np.sum(a)


def sets(n: int, m: int, d: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 1.3 * rng.normal(size=(m, d)) + 0.4


def test_the_plans_of_two_axes():
    """A case small enough for paper, which POT's documentation has too."""
    x, y = np.array([[3.0, 3.0], [1.0, 1.0]]), np.array([[2.0, 2.5], [3.0, 2.0]])
    best = pt.min_sliced_plan(x, y, directions=np.eye(2))
    np.testing.assert_array_equal(dense(best, 2, 2), [[0, 0.5], [0.5, 0]])
    assert best.cost**2 == pytest.approx(2.125, rel=1e-15)
    np.testing.assert_array_equal(best.direction, [1, 0])
    mean = pt.expected_sliced_plan(x, y, directions=np.eye(2))
    np.testing.assert_array_equal(dense(mean, 2, 2), np.full((2, 2), 0.25))
    assert mean.cost**2 == pytest.approx(2.625, rel=1e-15)
    assert mean.direction is None


@pytest.mark.parametrize("weighted", ["", "x", "xy"])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 9), (8, 8), (13, 9), (7, 21), (150, 140)])
@pytest.mark.parametrize("p", ORDERS)
def test_the_plans_are_those_of_the_lines(p, n, m, weighted):
    x, y = sets(n, m, 3, n)
    rng = np.random.default_rng(n)
    # whole weights, none and equal ones included; in units in which both sides are whole
    v = rng.integers(0, 3, n) + (np.arange(n) == 0) if "x" in weighted else np.ones(n, dtype=int)
    w = rng.integers(1, 5, m) if "y" in weighted else np.ones(m, dtype=int)
    options = {"x_weights": v if "x" in weighted else None,
               "y_weights": w if "y" in weighted else None}  # fmt: skip
    directions = pt.sphere_directions(3, 11, rng=n)
    lines = [coupling(x @ along, y @ along, v * w.sum(), w * v.sum()) for along in directions.T]
    costs = np.array([price(line, x, y, p) for line in lines])

    best = pt.min_sliced_plan(x, y, p=p, directions=directions, **options)
    (chosen,) = np.flatnonzero((best.direction == directions.T).all(axis=1))
    np.testing.assert_allclose(dense(best, n, m), lines[chosen], atol=1e-15)
    assert best.cost == pytest.approx(costs.min(), rel=1e-12)
    assert costs[chosen] == pytest.approx(costs.min(), rel=1e-12)

    mean = pt.expected_sliced_plan(x, y, p=p, directions=directions, **options)
    np.testing.assert_allclose(dense(mean, n, m), np.mean(lines, axis=0), atol=1e-15)
    assert mean.cost == pytest.approx(price(np.mean(lines, axis=0), x, y, p), rel=1e-12)


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_no_plan_is_cheaper_than_the_best_assignment(p, n):
    x, y = sets(n, n, 2, n)
    apart = np.linalg.norm(x[:, None] - y, axis=2) ** p
    least = apart[linear_sum_assignment(apart)].mean() ** (1 / p)
    best = pt.min_sliced_plan(x, y, p=p, rng=0)
    mean = pt.expected_sliced_plan(x, y, p=p, rng=0)
    assert least <= best.cost * (1 + 1e-12)
    assert best.cost <= mean.cost * (1 + 1e-12)
    # a plan of the line is the best one, where points lie on one
    on_line = np.outer(x[:, 0], [1.0, 2.0]), np.outer(y[:, 0], [1.0, 2.0])
    found = pt.min_sliced_plan(*on_line, p=p, directions=np.array([[1.0], [0.0]]))
    assert found.cost == pytest.approx(5**0.5 * pt.wasserstein_1d(x[:, 0], y[:, 0], p=p), rel=1e-12)


def test_no_plan_of_weighted_rows_is_cheaper_than_the_best():
    x, y = sets(6, 5, 2)
    rng = np.random.default_rng(0)
    a, b = (s / s.sum() for s in (rng.random(6), rng.random(5)))
    apart = np.linalg.norm(x[:, None] - y, axis=2)
    marginals = np.vstack([np.kron(np.eye(6), np.ones(5)), np.kron(np.ones(6), np.eye(5))])
    least = linprog(apart.ravel(), A_eq=marginals, b_eq=np.r_[a, b], method="highs").fun
    costs = [
        plan(x, y, p=1, x_weights=a, y_weights=b, n_projections=500, rng=0).cost
        for plan in PLANS.values()
    ]
    assert least * (1 - 1e-9) <= costs[0] <= costs[1]


@pytest.mark.parametrize("name", PLANS)
@settings(max_examples=30)
@given(
    sets=pairs_of_sets(
        rows=st.one_of(st.integers(1, 17), st.sampled_from([64, 129, 300])),
        features=st.sampled_from([1, 2, 3, 17]),
    ),
    n_slices=st.sampled_from([1, 2, 9, 33]),
    weighted=st.sampled_from(["", "x", "y", "xy"]),
    seed=SEEDS,
)
def test_rows_are_shared_out_whole(name, sets, n_slices, weighted, seed):
    """Marginals are the weights of the rows, and the cost is that of the plan."""
    x, y = sets
    n, m = len(x.values), len(y.values)
    rng = np.random.default_rng(seed)
    v, w = (
        np.append(rng.integers(0, 4, size=size - 1), 1.0) if side in weighted else None
        for side, size in (("x", n), ("y", m))
    )
    plan = PLANS[name](x.array, y.array, n_projections=n_slices, rng=seed, x_weights=v, y_weights=w)
    matrix = dense(plan, n, m)
    for axis, weights, size in ((1, v, n), (0, w, m)):
        shares = np.full(size, 1 / size) if weights is None else weights / weights.sum()
        np.testing.assert_allclose(matrix.sum(axis=axis), shares, atol=1e-13)
    assert plan.cost == pytest.approx(price(matrix, x.values, y.values, 2), rel=1e-9)


@pytest.mark.native
@pytest.mark.parametrize("name", PLANS)
@settings(max_examples=25)
@given(
    sets=pairs_of_sets(
        rows=st.sampled_from([1, 2, 5, 40, 129, 200]),
        features=st.sampled_from([1, 2, 5]),
        kinds=["normal", "lattice", "repeated", "all_equal", "zero_rows"],
        dtypes=["int8", "float64"],
    ),
    p=st.sampled_from(ORDERS),
    weighted=st.booleans(),
    seed=SEEDS,
)
def test_the_engine_joins_what_its_twin_joins(name, sets, p, weighted, seed):
    x, y = (s.array.astype(np.float64) for s in sets)
    rng = np.random.default_rng(seed)
    # along axes, where ties are many and projections exact
    directions = np.eye(x.shape[1])
    options = {"p": p, "directions": directions}
    if weighted:
        options["x_weights"], options["y_weights"] = rng.random(len(x)), rng.random(len(y))
    native, twin = native_and_twin(PLANS[name], x, y, **options)
    assert native.cost == pytest.approx(twin.cost, rel=1e-12)
    a, b = (dense(plan, len(x), len(y)) for plan in (native, twin))
    np.testing.assert_allclose(a, b, atol=1e-14)


def test_rows_that_tie_are_joined_in_their_order():
    x = np.array([[1.0, 5.0], [0.0, 2.0], [1.0, 3.0], [0.0, 1.0]])
    y = np.array([[2.0, 0.0], [2.0, 1.0], [2.0, 2.0], [2.0, 3.0]])
    plan = pt.min_sliced_plan(x, y, directions=np.array([[1.0], [0.0]]))
    np.testing.assert_array_equal(plan.columns, [2, 0, 3, 1])
    # equal costs: the first direction
    both = np.array([[0.0, 0.0], [1.0, -1.0]])
    found = pt.min_sliced_plan(x, x, directions=both)
    assert found.cost == 0
    np.testing.assert_array_equal(found.direction, [0, 1])


@pytest.mark.parametrize("name", PLANS)
def test_the_order_of_rows_is_that_of_the_plan(name):
    x, y = sets(90, 60, 4)
    rng = np.random.default_rng(1)
    plan = PLANS[name](x, y, n_projections=20, rng=0)
    v, w = rng.permutation(90), rng.permutation(60)
    moved = PLANS[name](x[v], y[w], n_projections=20, rng=0)
    np.testing.assert_allclose(dense(moved, 90, 60), dense(plan, 90, 60)[v][:, w], atol=1e-16)
    # from y to x
    back = PLANS[name](y, x, n_projections=20, rng=0)
    np.testing.assert_allclose(dense(back, 60, 90).T, dense(plan, 90, 60), atol=1e-16)
    # all is in units of the data
    shifted = PLANS[name](4 * x + 7, 4 * y + 7, n_projections=20, rng=0)
    assert shifted.cost == pytest.approx(4 * plan.cost, rel=1e-12)


@pytest.mark.native
def test_many_directions_are_merged_as_few_are():
    """Those of several batches, more than are merged at once."""
    x, y = sets(40_000, 30_000, 2)
    directions = pt.sphere_directions(2, 80, rng=0)
    whole = pt.expected_sliced_plan(x, y, directions=directions)
    assert len(whole.mass) > 1 << 20
    places, sums = [], []
    for along in directions.T:
        one = pt.min_sliced_plan(x, y, directions=along[:, None])
        places.append(one.rows * len(y) + one.columns)
        sums.append(one.mass)
    pairs, inverse = np.unique(np.concatenate(places), return_inverse=True)
    np.testing.assert_array_equal(whole.rows * len(y) + whole.columns, pairs)
    mass = np.bincount(inverse, np.concatenate(sums)) / 80
    np.testing.assert_allclose(whole.mass, mass, rtol=1e-14)


def test_one_row_against_many():
    x, y = sets(1, 1000, 5)
    for plan in PLANS.values():
        found = plan(x, y, n_projections=9, rng=0)
        np.testing.assert_allclose(dense(found, 1, 1000), np.full((1, 1000), 1e-3), rtol=1e-14)
        assert found.cost == pytest.approx(price(np.full((1, 1000), 1e-3), x, y, 2), rel=1e-13)


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e150, 1e300])
@pytest.mark.parametrize("p", [1, 2, 40])
def test_distances_whose_powers_leave_float64(p, scale):
    x, y = sets(30, 20, 3)
    for plan in PLANS.values():
        right = plan(x, y, p=p, n_projections=9, rng=0)
        found = plan(scale * x, scale * y, p=p, n_projections=9, rng=0)
        assert found.cost == pytest.approx(scale * right.cost, rel=1e-12)
        np.testing.assert_allclose(found.mass, right.mass)


def test_a_large_order_is_the_largest_distance():
    x, y = sets(30, 30, 3)
    directions = pt.sphere_directions(3, 1, rng=0)
    plan = pt.min_sliced_plan(x, y, p=5000, directions=directions)
    apart = np.linalg.norm(x[plan.rows] - y[plan.columns], axis=1)
    assert plan.cost == pytest.approx(apart.max(), rel=1e-3)


@pytest.mark.oracle("ot")
@pytest.mark.parametrize(("n", "m", "weighted"), [(60, 60, False), (60, 85, False), (50, 40, True)])
def test_the_plans_are_pots(n, m, weighted):
    import ot

    x, y = sets(n, m, 5, 5)
    directions = pt.sphere_directions(5, 40, rng=5)
    rng = np.random.default_rng(5)
    v, w = (s / s.sum() for s in (rng.random(n), rng.random(m))) if weighted else (None, None)
    options = {"directions": directions, "x_weights": v, "y_weights": w}
    for metric, p in (("sqeuclidean", 2), ("euclidean", 1)):
        matrix, cost = ot.expected_sliced_plan(x, y, v, w, projections=directions, metric=metric)
        found = pt.expected_sliced_plan(x, y, p=p, **options)
        np.testing.assert_allclose(dense(found, n, m), matrix, atol=1e-15)
        assert found.cost**p == pytest.approx(float(cost), rel=1e-10)
        best = pt.min_sliced_plan(x, y, p=p, **options)
        if n == m:
            matrix, cost = ot.min_sliced_transport_plan(x, y, projections=directions, metric=metric)
            np.testing.assert_allclose(dense(best, n, m), matrix, atol=1e-15)
            assert best.cost**p == pytest.approx(float(cost), rel=1e-10)
            continue
        # POT 0.9.7 pays other plans than one to one by wrong masses, and so picks another line
        plans, _ = ot.sliced.sliced_plans(x, y, v, w, projections=directions)
        prices = []
        for plan in plans:
            matrix = np.zeros((n, m))
            np.add.at(matrix, (plan.rows, plan.cols), plan.data)
            prices.append(price(matrix, x, y, p))
        assert best.cost == pytest.approx(min(prices), rel=1e-10)
        np.testing.assert_array_equal(best.direction, directions[:, np.argmin(prices)])


def test_plans_are_those_of_the_dtype_that_came():
    x, y = sets(40, 30, 3)
    narrow = pt.min_sliced_plan(x.astype(np.float32), y.astype(np.float32), rng=0)
    wide = pt.min_sliced_plan(
        x.astype(np.float32).astype(np.float64), y.astype(np.float32).astype(np.float64), rng=0
    )
    assert narrow.cost == pytest.approx(wide.cost, rel=1e-12)
    assert narrow.mass.dtype == narrow.direction.dtype == np.float64


def test_progress_goes_up_to_its_end():
    x, y = sets(300, 200, 3)
    for plan in PLANS.values():
        seen: list[tuple[int, int]] = []
        plan(x, y, rng=0, progress=lambda done, total, seen=seen: seen.append((done, total)))
        assert seen[-1][0] == seen[-1][1]
        assert all(a[0] <= b[0] for a, b in itertools.pairwise(seen))


@pytest.mark.parametrize("name", PLANS)
def test_directions_are_drawn_as_they_are_elsewhere(name):
    x, y = sets(30, 20, 3)
    for method in ("gaussian", "orthogonal", "spiral"):
        drawn = pt.sphere_directions(3, 12, rng=4, method=method)
        found = PLANS[name](x, y, n_projections=12, method=method, rng=4)
        assert found.cost == PLANS[name](x, y, directions=drawn).cost
    longer = PLANS[name](x, y, directions=2 * drawn, normalize_directions=True)
    assert longer.cost == pytest.approx(found.cost, rel=1e-12)
    with pytest.raises(ValueError, match="length"):
        PLANS[name](x, y, directions=2 * drawn)


@pytest.mark.parametrize("name", PLANS)
def test_what_is_refused(name):
    x, y = sets(5, 4, 3)
    plan = PLANS[name]
    with pytest.raises(ValueError, match=r"p must be finite, >= 1; got 0\.5"):
        plan(x, y, p=0.5)
    with pytest.raises(ValueError, match="p must be finite"):
        plan(x, y, p=np.inf)
    with pytest.raises(ValueError, match="n_projections must be at least 1"):
        plan(x, y, n_projections=0)
    with pytest.raises(ValueError, match="directions has 2 rows and x has 3 columns"):
        plan(x, y, directions=np.eye(2))
    with pytest.raises(ValueError, match=r"y_weights must have shape \(4,\)"):
        plan(x, y, y_weights=np.ones(5))
    with pytest.raises(ValueError, match="x_weights sums to 0"):
        plan(x, y, x_weights=np.zeros(5))
