"""Sliced transport on the sphere: on one circle against all plans, then over random planes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import linprog

import pairtile as pt
from backends import native_and_twin, on_backend
from pairtile._backends import choose
from strategies import LAYOUTS, SEEDS

native = pytest.mark.native

SIZES = st.one_of(st.integers(1, 17), st.sampled_from([63, 64, 127, 128, 129, 300]))
ORDERS = (1.0, 1.5, 2.0, 3.0)


def units(a: Any) -> Any:
    return a / np.linalg.norm(a, axis=1, keepdims=True)


def points(turns: Any) -> Any:
    """On the circle."""
    radians = 2 * np.pi * np.asarray(turns)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def samples(n: int, m: int, d: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return units(rng.normal(size=(n, d))), units(rng.normal(size=(m, d)) + 0.5)


def arcs(u: Any, v: Any) -> Any:
    """Of all pairs of angles, in turns."""
    apart = np.abs(np.subtract.outer(u, v)) % 1
    return np.minimum(apart, 1 - apart)


def least_cost(u: Any, v: Any, p: float) -> float:
    """W_p^p over all plans whatsoever."""
    n, m = len(u), len(v)
    marginals = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    masses = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    plan = linprog((arcs(u, v) ** p).ravel(), A_eq=marginals, b_eq=masses, method="highs")
    return float(plan.fun)


def by_all_shifts(u: Any, v: Any, p: float) -> float:
    """W_p of samples of one size, of whose cyclic shifts one is the best."""
    u, v = np.sort(u), np.sort(v)
    shifts = np.arange(len(u))
    apart = np.abs(u - v[(shifts + shifts[:, None]) % len(u)])
    ways = np.minimum(apart, 1 - apart)
    top = ways.max(axis=1, initial=1e-300)
    return float((top * np.mean((ways / top[:, None]) ** p, axis=1) ** (1 / p)).min())


def by_way_of_uniform(u: Any, v: Any, steps: int = 200_000) -> float:
    """Linear circular transport, from both embeddings on a grid."""
    t = (np.arange(steps) + 0.5) / steps

    def embedding(s: Any) -> Any:
        s = np.sort(s)
        level = t - s.mean() + 0.5
        turns = np.floor(level)
        return s[np.floor((level - turns) * len(s)).astype(int)] + turns - t

    apart = embedding(u) - embedding(v)
    return float(np.sqrt(np.mean((apart - np.rint(apart)) ** 2)))


# --- one circle ----------------------------------------------------------------------------------


@pytest.mark.parametrize("p", ORDERS)
@given(n=st.integers(1, 8), m=st.integers(1, 8), seed=SEEDS, grid=st.sampled_from([0, 4, 12]))
@example(n=4, m=4, seed=0, grid=4)
def test_no_plan_is_cheaper(p, n, m, seed, grid):
    """With `grid`, points that are equal or opposite."""
    rng = np.random.default_rng(seed)
    u, v = (rng.integers(grid, size=k) / grid if grid else rng.random(k) for k in (n, m))
    got = pt.sliced_wasserstein_sphere(points(u), points(v), p=p)
    assert got**p == pytest.approx(least_cost(u, v, p), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("p", [1.0, 2.0, 7.5, 300.0])
@pytest.mark.parametrize("n", [2, 33, 200, 501])
def test_the_best_of_all_cyclic_shifts(n, p):
    rng = np.random.default_rng(n)
    u, v = rng.random(n), 0.3 * rng.random(n) + 0.4 * (rng.random(n) < 0.5)
    got = pt.sliced_wasserstein_sphere(points(u), points(v), p=p)
    assert got == pytest.approx(by_all_shifts(u, v, p), rel=1e-11)


@given(n=SIZES, m=SIZES, seed=SEEDS)
def test_linear_goes_by_way_of_the_uniform_distribution(n, m, seed):
    rng = np.random.default_rng(seed)
    u, v = rng.random(n), 0.6 * rng.random(m) ** 2
    found = pt.sliced_wasserstein_sphere(points(u), points(v), method="linear")
    # a grid is off by a step at each of n + m jumps
    assert found**2 == pytest.approx(by_way_of_uniform(u, v) ** 2, abs=1e-6 * (n + m))
    # it is the cost of a plan
    assert found >= pt.sliced_wasserstein_sphere(points(u), points(v)) - 1e-12


@pytest.mark.parametrize("method", ["circle", "linear"])
def test_special_samples(method):
    rng = np.random.default_rng(0)
    x = points(rng.random(150))

    def distance(a, b):
        return pt.sliced_wasserstein_sphere(a, b, method=method)

    assert distance(x, rng.permutation(x)) == 0
    assert distance(x, np.repeat(x, 3, axis=0)) == pytest.approx(0, abs=1e-8)
    assert distance(points([0.1]), points([0.35])) == pytest.approx(0.25)
    assert distance(points([0.9]), points([0.2])) == pytest.approx(0.3)  # the short way
    assert distance(points([0.2] * 5), points([0.7] * 3)) == pytest.approx(0.5)
    # one point against many: there is only one plan
    ways = arcs(np.array([0.25]), np.linspace(0, 1, 1000, endpoint=False))
    many = points(np.linspace(0, 1, 1000, endpoint=False))
    assert distance(points([0.25]), many) == pytest.approx(np.sqrt(np.mean(ways**2)), rel=1e-6)
    # on either side of where angles begin again
    cut = points(np.array([0.5 - 1e-9, 0.5 + 1e-9]))
    assert distance(cut, points([0.5, 0.5])) == pytest.approx(1e-9, rel=1e-5)


@pytest.mark.parametrize("method", ["circle", "linear"])
@given(n=SIZES, m=SIZES, seed=SEEDS)
def test_where_a_circle_begins_does_not_matter(method, n, m, seed):
    rng = np.random.default_rng(seed)
    u, v, by = rng.random(n), 0.3 * rng.random(m), rng.random()
    here, there, mirrored, swapped = (
        pt.sliced_wasserstein_sphere(points(a), points(b), method=method)
        for a, b in ((u, v), (u + by, v + by), (-u, -v), (v, u))
    )
    assert here == pytest.approx(there, abs=1e-9)
    assert here == pytest.approx(mirrored, abs=1e-9)
    assert here == pytest.approx(swapped, abs=1e-9)


@given(seed=SEEDS, p=st.sampled_from(ORDERS))
def test_it_is_a_distance(seed, p):
    rng = np.random.default_rng(seed)
    a, b, c = (points(rng.random(k) * rng.random()) for k in (6, 9, 4))
    w = [pt.sliced_wasserstein_sphere(s, t, p=p) for s, t in ((a, b), (b, c), (a, c))]
    assert w[2] <= w[0] + w[1] + 1e-12
    assert max(w) <= 0.5 + 1e-12
    assert pt.sliced_wasserstein_sphere(a, b, p=p) <= (
        pt.sliced_wasserstein_sphere(a, b, p=p + 1) + 1e-12
    )


# --- the sphere ----------------------------------------------------------------------------------


@native
@pytest.mark.parametrize("linear", [False, True])
@given(
    n=SIZES,
    m=SIZES,
    d=st.sampled_from([2, 3, 8, 17, 65]),
    seed=SEEDS,
    p=st.sampled_from(ORDERS),
    dtype=st.sampled_from(["float32", "float64"]),
    layout=st.sampled_from(sorted(LAYOUTS)),
)
def test_native_is_the_twin(linear, n, m, d, seed, p, dtype, layout):
    x, y = (LAYOUTS[layout](s.astype(dtype)) for s in samples(n, m, d, seed))
    frames = np.random.default_rng(seed).normal(size=(d, 14))
    p = 2.0 if linear else p
    found, expected = native_and_twin(
        lambda: choose.module(x, y).circle_distances(x, y, frames, p, linear=linear, workers=2)
    )
    # float32 angles are off by its rounding over the length in the plane
    np.testing.assert_allclose(found, expected, atol=1e-8 if dtype == "float64" else 3e-4)


@native
def test_planes_in_several_batches():
    x, y = (s.astype(np.float32) for s in samples(30_000, 20_001, 3))
    frames = np.random.default_rng(0).normal(size=(3, 420))
    circles = choose.module(x, y).circle_distances
    whole = circles(x, y, frames, 2.0, linear=False, workers=2)
    parts = [circles(x, y, frames[:, at : at + 6], 2.0, linear=False, workers=1) for at in (0, 414)]
    assert whole.shape == (210,)
    np.testing.assert_array_equal(np.r_[whole[:3], whole[-3:]], np.concatenate(parts))


@pytest.mark.oracle("ot")
@pytest.mark.parametrize(("n", "m"), [(40, 40), (60, 40), (90, 37)])
def test_pot_agrees(n, m):
    import ot

    d, L = 5, 12
    x, y = samples(n, m, d)
    drawn = pt.sphere_directions(d, 2 * L, rng=3)
    planes = np.stack([np.linalg.qr(drawn[:, 2 * i : 2 * i + 2])[0] for i in range(L)])
    for p in (1, 2, 3):
        expected = ot.sliced_wasserstein_sphere(x, y, p=p, projections=planes, n_projections=L)
        found = pt.sliced_wasserstein_sphere(x, y, p=p, n_projections=L, rng=3)
        assert found == pytest.approx(expected, rel=1e-6)
    # from 100 points of the embeddings
    expected = ot.linear_sliced_wasserstein_sphere(x, y, projections=planes, n_projections=L)
    found = pt.sliced_wasserstein_sphere(x, y, method="linear", n_projections=L, rng=3)
    assert found == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("method", ["circle", "linear"])
@pytest.mark.parametrize("d", [3, 20])
def test_antipodes_are_half_a_turn_apart_in_every_plane(d, method):
    (x, _) = samples(1, 1, d)
    found = pt.sliced_wasserstein_sphere(x, np.repeat(-x, 7, axis=0), method=method, rng=0)
    assert found == pytest.approx(0.5)


def test_rotations_change_the_estimate_only_within_its_error():
    x, y = samples(60, 80, 4)
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    found = [
        [
            pt.sliced_wasserstein_sphere(a, b, n_projections=40, rng=k)
            for k in range(start, start + 25)
        ]
        for a, b, start in ((x, y, 0), (x @ turned, y @ turned, 100))
    ]
    error = np.std(found, axis=1, ddof=1) / 5
    assert abs(np.mean(found[0]) - np.mean(found[1])) < 4 * np.hypot(*error)


def test_planes_are_orthonormal_and_uniform():
    from pairtile.slices.sphere import _frames

    frames = _frames(3, 4000, 0)
    first, second = frames[:, ::2], frames[:, 1::2]
    for a, b, expected in ((first, first, 1), (second, second, 1), (first, second, 0)):
        np.testing.assert_allclose(np.sum(a * b, axis=0), expected, atol=1e-15)
    # the normals of planes in space: the mean of nnᵀ is I/3
    normals = np.cross(first.T, second.T)
    np.testing.assert_allclose(normals.T @ normals / len(normals), np.eye(3) / 3, atol=0.03)


@pytest.mark.parametrize("backend", [pytest.param("native", marks=native), "numpy"])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_row_without_an_angle_gets_0(backend, zero):
    x, y = np.array([[zero, zero, 1.0]]), np.array([[0.0, 1.0, 0.0], [-0.0, 1.0, 0.0]])
    with on_backend(backend):
        found = choose.module(x, y).circle_distances(
            x, y, np.eye(3)[:, :2], 1.0, linear=False, workers=1
        )
    assert found == pytest.approx([0.25])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_narrow_rows_are_as_long_as_they_can_be(dtype):
    x, y = (s.astype(dtype) for s in samples(200, 200, 6))
    found = pt.sliced_wasserstein_sphere(x, y, rng=0)
    wide = [units(s.astype(np.float64)) for s in (x, y)]
    assert found == pytest.approx(pt.sliced_wasserstein_sphere(*wide, rng=0), rel=1e-4)


@pytest.mark.oracle("pandas")
def test_columns_of_frames_go_by_name():
    import pandas as pd

    x, y = samples(20, 30, 3)
    names = ["a", "b", "c"]
    found = pt.sliced_wasserstein_sphere(
        pd.DataFrame(x, columns=names), pd.DataFrame(y, columns=names)[["c", "a", "b"]], rng=0
    )
    assert found == pt.sliced_wasserstein_sphere(x, y, rng=0)


def test_progress_counts_circles():
    seen: list[tuple[int, int]] = []
    x, y = samples(20, 30, 3)
    pt.sliced_wasserstein_sphere(x, y, n_projections=5, progress=lambda *done: seen.append(done))
    assert seen[-1] == (5, 5)


X, Y = samples(5, 6, 3)
BAD = {
    "length": ({"x": 1.5 * X}, "x must have rows of length 1, got 1.5 in row 0; pass x / np"),
    "length of y": ({"y": np.r_[Y, 2 * Y[:1]]}, "y must have rows of length 1, got 2 in row 6"),
    "zero row": ({"x": np.zeros((1, 3))}, "got 0 in row 0"),
    "nearly": ({"x": X * (1 + 1e-9)}, "x must have rows of length 1"),
    "nearly, float32": ({"x": (X * 1.0001).astype(np.float32)}, "x must have rows of length 1"),
    "one column": ({"x": [[1.0], [-1.0]], "y": [[1.0]]}, "x has 1 column; points on a circle"),
    "columns": ({"y": samples(3, 3, 4)[0]}, "x has 3 columns and y has 4"),
    "NaN": ({"x": np.full((1, 3), np.nan)}, "x contains NaN or Inf"),
    "NaN unlooked for": (
        {"x": np.full((1, 3), np.nan), "check_finite": False},
        "x must have rows of length 1, got nan",
    ),
    "p": ({"p": 0.5}, "p must be finite, >= 1"),
    "p inf": ({"p": math.inf}, "p must be finite"),
    "p of linear": ({"method": "linear", "p": 1}, "method='linear' has p=2"),
    "method": ({"method": "square"}, "unknown method 'square'; known: circle, linear"),
    "projections": ({"n_projections": 0}, "n_projections must be at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_calls(name):
    changed, message = BAD[name]
    with pytest.raises(ValueError) as caught:
        pt.sliced_wasserstein_sphere(**{"x": X, "y": Y, **changed})
    assert message in str(caught.value)
