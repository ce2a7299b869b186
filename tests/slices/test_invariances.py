"""What distances along lines owe to being distances, and to lines: laws, exact plans, extremes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import pairtile as pt
from backends import on_backend
from strategies import SEEDS

ORDERS = (1.0, 1.5, 2.0, 3.0)
BACKENDS = [pytest.param("native", marks=pytest.mark.native), "numpy"]
KINDS = ("normal", "lattice", "equal", "heavy")


@pytest.fixture(params=BACKENDS, autouse=True)
def backend(request: Any) -> Any:
    with on_backend(request.param):
        yield


def sample(rng: np.random.Generator, kind: str, n: int, d: int) -> Any:
    """Of numbers that tie, too, and whole lines of them."""
    if kind == "lattice":
        return rng.integers(-2, 3, size=(n, d)).astype(float)
    if kind == "equal":
        return np.repeat(rng.normal(size=(1, d)), n, axis=0)
    if kind == "heavy":
        return rng.standard_t(1.5, size=(n, d))
    return rng.normal(size=(n, d))


def distances_of(x: Any, y: Any, p: float, directions: Any, v: Any, w: Any) -> dict[str, Any]:
    """All that are distances: between samples of any sizes and weights."""
    found = {
        "1-D": pt.wasserstein_1d(x, y, p=p, x_weights=v, y_weights=w),
        "largest": pt.wasserstein_1d(x, y, p=math.inf, x_weights=v, y_weights=w),
        "sliced": pt.sliced_wasserstein(x, y, p=p, directions=directions, x_weights=v, y_weights=w),
    }
    if v is None and w is None:
        found["energy"] = math.sqrt(max(0.0, pt.sliced_energy(x, y, directions=directions)))
    return found


@given(
    sizes=st.tuples(*[st.sampled_from([1, 2, 5, 40, 129])] * 3),
    kinds=st.tuples(*[st.sampled_from(KINDS)] * 3),
    d=st.sampled_from([1, 2, 7]),
    p=st.sampled_from([*ORDERS, 20.0]),
    weighted=st.booleans(),
    scale=st.sampled_from([-3.0, 0.5, 1e-6, 1e9]),
    seed=SEEDS,
)
def test_laws_of_distances(sizes, kinds, d, p, weighted, scale, seed):
    """Symmetry, the triangle inequality, scales, and a turn of the points and lines together."""
    rng = np.random.default_rng(seed)
    x, y, z = (sample(rng, kind, n, d) for kind, n in zip(kinds, sizes, strict=True))
    u, v, w = (rng.random(n) + 0.01 if weighted else None for n in sizes)
    lines = pt.sphere_directions(d, 9, rng=rng)
    size = np.abs(np.vstack([x, y, z])).max()
    allowed = 1e-11 * size if weighted or p < 3 else 1e-10 * size
    direct, first, second, back, itself = (
        distances_of(a, b, p, lines, s, t)
        for a, b, s, t in ((x, z, u, w), (x, y, u, v), (y, z, v, w), (z, x, w, u), (x, x, u, u))
    )
    scaled = distances_of(scale * x, scale * z, p, lines, u, w)
    for name, distance in direct.items():
        # the root magnifies what rounding leaves of 0
        small = allowed + (1e-7 * size if name == "energy" else 0)
        assert np.all(distance >= 0), name
        assert np.all(np.abs(itself[name]) <= small), name
        assert np.all(distance <= first[name] + second[name] + small), name
        np.testing.assert_allclose(distance, back[name], atol=small, rtol=1e-9, err_msg=name)
        by = math.sqrt(abs(scale)) if name == "energy" else abs(scale)
        np.testing.assert_allclose(
            scaled[name], by * distance, atol=by * small, rtol=1e-9, err_msg=name
        )
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    turned = distances_of(x @ turn, z @ turn, p, turn.T @ lines, u, w)
    for name in set(direct) - {"1-D", "largest"}:
        np.testing.assert_allclose(
            turned[name], direct[name], atol=100 * allowed + 1e-6 * size * (name == "energy"),
            rtol=1e-7, err_msg=name,
        )  # fmt: skip


@pytest.mark.parametrize("method", ["gaussian", "orthogonal"])
def test_drawn_lines_see_no_rotation(method):
    """In law: means over many draws, of points and of the same points turned."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(30, 4)) * [1, 2, 3, 4], rng.normal(size=(25, 4)) + 1
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]

    def squares(a: Any, b: Any, first: int) -> Any:
        return np.array(
            [
                pt.sliced_wasserstein(a, b, n_projections=8, method=method, control=None, rng=seed)
                ** 2
                for seed in range(first, first + 300)
            ]
        )

    here, there = squares(x, y, 0), squares(x @ turn, y @ turn, 1000)
    error = math.sqrt((here.var() + there.var()) / 300)
    assert abs(here.mean() - there.mean()) < 4 * error
    assert there.std() == pytest.approx(here.std(), rel=0.3)


@pytest.mark.parametrize("p", ORDERS)
def test_a_line_is_paid_as_by_the_best_of_all_assignments(p):
    rng = np.random.default_rng(4)
    for n in (1, 2, 5, 6):
        x, y = rng.integers(-3, 4, size=(2, n)).astype(float)
        orders = [list(order) for order in itertools.permutations(range(n))]
        best = min(np.mean(np.abs(x - y[order]) ** p) for order in orders)
        assert pt.wasserstein_1d(x, y, p=p) ** p == pytest.approx(best, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("p", ORDERS)
def test_slices_are_paid_as_by_assignments_and_no_more_than_one_in_space(p):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(40, 3)), rng.standard_t(3, size=(40, 3))
    lines = pt.sphere_directions(3, 12, rng=6)

    def assigned(gaps: Any) -> float:
        costs = gaps**p
        return float(costs[linear_sum_assignment(costs)].mean())

    expected = [assigned(np.abs(np.subtract.outer(x @ line, y @ line))) for line in lines.T]
    got = pt.sliced_wasserstein(x, y, p=p, directions=lines)
    assert got**p == pytest.approx(np.mean(expected), rel=1e-11)
    in_space = assigned(np.linalg.norm(x[:, None] - y[None], axis=2)) ** (1 / p)
    found = pt.max_sliced_wasserstein(x, y, p=p, max_iter=30, rng=0)
    assert max(expected) ** (1 / p) <= found.value * (1 + 1e-12) <= in_space * (1 + 1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_row_against_a_million(dtype):
    rng = np.random.default_rng(7)
    x, y = np.array([[0.5]], dtype=dtype), rng.normal(size=(1_000_000, 1)).astype(dtype)
    gaps = np.abs(0.5 - y.astype(np.float64))
    for p in (1.0, 2.0, 3.0):
        expected = np.mean(gaps**p) ** (1 / p)
        for a, b in ((x, y), (y, x)):
            assert pt.wasserstein_1d(a, b, p=p)[0] == pytest.approx(expected, rel=1e-11)
    assert pt.wasserstein_1d(x, y, p=math.inf)[0] == pytest.approx(gaps.max(), rel=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lines_on_which_all_values_are_equal(dtype):
    """Of both samples, of one, and of zeros of either sign and the smallest numbers."""
    tiny = 16 * np.finfo(dtype).smallest_subnormal
    x = np.array([[1, -0.0, 2], [1, 0.0, 3], [1, -0.0, 5]], dtype=dtype)
    y = np.array([[1, 0.0, 4], [1, -0.0, 4]], dtype=dtype)
    np.testing.assert_array_equal(pt.wasserstein_1d(x, y)[:2], [0, 0])
    assert pt.wasserstein_1d(x, y, p=1)[2] == pytest.approx(4 / 3, rel=1e-12)
    assert pt.sliced_wasserstein(x, y, directions=np.eye(3)[:, :2]) == 0
    assert pt.sliced_energy(x, y, directions=np.eye(3)[:, :2]) == 0
    one, other = np.zeros(4, dtype=dtype), np.full(4, tiny, dtype=dtype)
    for p in (1.0, 2.0):
        assert pt.wasserstein_1d(one, -one, p=p) == 0
        assert pt.wasserstein_1d(one, other, p=p) == float(tiny)


# --- what POT asks of itself (its test_sliced.py and test_1d_solver.py) ---------------------------


@pytest.mark.oracle("ot")
@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 30), (1, 7)])
def test_lines_are_pots(n, m, p):
    import ot

    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + 1
    for v, w in ((None, None), (rng.random(n) + 0.1, rng.random(m) + 0.1)):
        a, b = (None if u is None else u / u.sum() for u in (v, w))
        expected = ot.wasserstein_1d(x, y, a, b, p=p)
        got = pt.wasserstein_1d(x, y, p=p, x_weights=v, y_weights=w)
        np.testing.assert_allclose(got**p, expected, rtol=1e-9)
        for j in range(3):
            alone = ot.emd2_1d(x[:, j], y[:, j], a, b, metric="minkowski", p=p)
            assert got[j] ** p == pytest.approx(float(alone), rel=1e-9)


@pytest.mark.oracle("ot")
def test_slices_of_one_feature_and_of_one_sample_are_what_pot_says():
    import ot

    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(20, 1)), rng.normal(size=(30, 1))
    line = float(np.sqrt(ot.emd2_1d(x[:, 0], y[:, 0])))
    assert pt.sliced_wasserstein(x, y, rng=0) == pytest.approx(line, rel=1e-12)
    assert pt.max_sliced_wasserstein(x, y, rng=0).value == pytest.approx(line, rel=1e-12)
    x = rng.normal(size=(25, 2))
    assert pt.sliced_wasserstein(x, rng.permutation(x), n_projections=10, rng=0) == 0
    y = rng.normal(size=(25, 2))
    lines = pt.sphere_directions(2, 50, rng=1)
    best = ot.max_sliced_wasserstein_distance(x, y, projections=lines)
    found = pt.max_sliced_wasserstein(x, y, rng=0)
    assert float(best) <= found.value * (1 + 1e-12)
    with pytest.raises(ValueError, match="x has 2 columns and y has 3"):
        pt.sliced_wasserstein(x, rng.normal(size=(25, 3)))
