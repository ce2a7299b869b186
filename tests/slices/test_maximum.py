"""The largest one-dimensional transport over directions, and slopes along directions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pairtile as pt
from backends import native_and_twin, on_backend
from pairtile._backends import choose
from strategies import SEEDS, pairs_of_sets

ORDERS = (1.0, 1.5, 2.0, 3.0)


def normal(n: int, m: int, d: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d))


def shifted(n: int, d: int) -> tuple[Any, Any]:
    x, y = normal(n, n, d, 1)
    return x, y + np.linspace(-1, 1, d)


def stretched(n: int, d: int) -> tuple[Any, Any]:
    x, y = normal(n, n, d, 2)
    return x, y * np.where(np.arange(d) == d // 2, 1.5, 1.0)


def mixtures(n: int, d: int) -> tuple[Any, Any]:
    x, y = normal(n, n, d, 3)
    rng = np.random.default_rng(3)
    centres = 2 * rng.normal(size=(4, d))
    return x + centres[rng.integers(4, size=n)], y + centres[rng.integers(3, size=n)]


def heavy(n: int, d: int) -> tuple[Any, Any]:
    x, y = np.random.default_rng(4).standard_t(2, size=(2, n, d))
    return x, y


def lattice(n: int, d: int) -> tuple[Any, Any]:
    x, y = np.random.default_rng(5).integers(0, 3, size=(2, n, d)).astype(float)
    return x, y


def unequal(n: int, d: int) -> tuple[Any, Any]:
    return normal(n, 7 * n // 10, d, 6)


CASES = [shifted, stretched, mixtures, heavy, lattice, unequal]


def weights_of(x: Any, y: Any, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"x_weights": rng.random(len(x)), "y_weights": rng.random(len(y))}


def along(x: Any, y: Any, directions: Any, p: float, **weights: Any) -> Any:
    """W_p along each direction: that of the columns of projections."""
    return pt.wasserstein_1d(x @ directions, y @ directions, p=p, **weights)


def assert_is_that_of_its_direction(found: Any, x: Any, y: Any, p: float, **weights: Any) -> None:
    assert np.linalg.norm(found.direction) == pytest.approx(1, rel=1e-14)
    assert found.direction[np.abs(found.direction).argmax()] > 0
    alone = pt.sliced_wasserstein(x, y, p=p, directions=found.direction[:, None], **weights)
    assert found.value == alone


@pytest.mark.native
@pytest.mark.parametrize("d", [2, 3, 10, 50])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize(("p", "weighted"), [(1.0, False), (1.5, True), (2.0, False), (3.0, True)])
def test_the_maximum_is_at_least_the_best_of_many_directions(case, d, p, weighted):
    x, y = case(90, d)
    weights = weights_of(x, y) if weighted else {}
    found = pt.max_sliced_wasserstein(x, y, p=p, rng=0, **weights)
    assert_is_that_of_its_direction(found, x, y, p, **weights)
    best = along(x, y, pt.sphere_directions(d, 10_000, rng=1), p, **weights).max()
    # within rounding of the sampled best
    assert found.value >= best * (1 - 1e-12)


@pytest.mark.parametrize("p", ORDERS)
def test_a_shift_is_found(p):
    x, _ = normal(200, 200, 30)
    shift = np.linspace(-1, 2, 30)
    found = pt.max_sliced_wasserstein(x, x + shift, p=p, rng=0)
    length = np.linalg.norm(shift)
    assert found.value == pytest.approx(length, rel=1e-12)
    assert found.direction @ shift == pytest.approx(length, rel=1e-6)


def test_a_stretched_axis_is_found():
    x, _ = normal(400, 400, 20)
    y = x * np.where(np.arange(20) == 7, 2.0, 1.0)
    found = pt.max_sliced_wasserstein(x, y, rng=0)
    axis = np.eye(20)[7]
    assert found.value >= along(x, y, axis[:, None], 2)[0]
    assert found.direction @ axis > 0.99


def test_the_maximum_on_a_circle():
    """All directions of the plane, seen closely: also between the points where rows meet."""
    angles = np.linspace(0, np.pi, 20_001)
    directions = np.stack([np.cos(angles), np.sin(angles)])
    for seed, n in enumerate((2, 5, 20)):
        x, y = normal(n, n + 1, 2, seed)
        for p in ORDERS:
            best = along(x, y, directions, p).max()
            found = pt.max_sliced_wasserstein(x, y, p=p, rng=0)
            assert best * (1 - 1e-12) <= found.value <= best * (1 + 1e-3)


def test_an_ascent_from_anywhere_ends_on_a_maximum():
    """Small steps away from what was found lead down, in each direction."""
    for case, p in itertools.product((mixtures, heavy, unequal), (1.0, 2.0)):
        x, y = case(60, 5)
        found = pt.max_sliced_wasserstein(x, y, p=p, n_restarts=1, rng=0)
        for size in (1e-3, 1e-4, 1e-5):
            steps = size * pt.sphere_directions(5, 300, rng=2)
            near = found.direction[:, None] + steps
            near /= np.linalg.norm(near, axis=0)
            assert along(x, y, near, p).max() <= found.value * (1 + 1e-6)


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize(("n", "m", "weighted"), [(9, 9, False), (9, 7, False), (30, 20, True)])
@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.native
def test_slopes_are_finite_differences(backend, n, m, weighted, p):
    x, y = normal(n, m, 3)
    x, y = x + 100, 1.5 * y + 100
    w = tuple(v / v.sum() for v in weights_of(x, y).values()) if weighted else (None, None)
    directions = 2 * pt.sphere_directions(3, 20, rng=1)
    step = 1e-6
    with on_backend(backend):
        module = choose.module(x, y)

        def costs(lines: Any) -> Any:
            return module.sliced_costs(
                x, y, lines, p, *w, gradient=False, direction_weights=None, workers=1
            )[0]

        found, slopes = module.sliced_direction_slopes(x, y, directions, p, *w, workers=2)
        np.testing.assert_allclose(found, costs(directions), rtol=1e-12)
        for axis, slope in enumerate(slopes):
            moved = step * np.eye(3)[:, axis : axis + 1]
            expected = (costs(directions + moved) - costs(directions - moved)) / (2 * step)
            np.testing.assert_allclose(slope, expected, atol=2e-6)


@pytest.mark.native
@settings(max_examples=40)
@given(
    sets=pairs_of_sets(
        rows=st.one_of(st.integers(1, 17), st.sampled_from([129, 255, 257, 600])),
        features=st.sampled_from([1, 2, 3, 8, 17, 33, 64]),
        # without ties, at which slopes jump
        kinds=["normal", "offset", "huge", "tiny", "clusters", "uneven_columns", "outlier"],
        dtypes=["float64"],
    ),
    n_slices=st.sampled_from([1, 2, 8, 13, 15]),
    p=st.sampled_from(ORDERS),
    weighted=st.booleans(),
    seed=SEEDS,
)
def test_slopes_are_those_of_the_twin(sets, n_slices, p, weighted, seed):
    x, y = (s.array for s in sets)
    rng = np.random.default_rng(seed)
    weights = [rng.random(len(s)) for s in (x, y)] if weighted else [None, None]
    directions = pt.sphere_directions(x.shape[1], n_slices, rng=seed)

    def call() -> Any:
        return choose.module(x, y).sliced_direction_slopes(x, y, directions, p, *weights, workers=1)

    (costs, slopes), (right, expected) = native_and_twin(call)
    assert slopes.shape == directions.shape
    pooled = np.vstack([s.values for s in sets])
    size = np.linalg.norm(pooled - pooled.mean(axis=0), axis=1).max()
    # of projections, by the twin, which does not centre
    rounding = 1e-14 * size + 1e-14 * np.abs(pooled).max() * x.shape[1]
    np.testing.assert_allclose(costs, right, atol=p * (2 * size) ** (p - 1) * rounding, rtol=1e-9)
    allowed = 1e-9 * size**p + p * (2 * size) ** (p - 1) * rounding
    np.testing.assert_allclose(slopes, expected, atol=allowed)


@pytest.mark.native
# samples that are packed once for all rounds, and such as are too large for that
@pytest.mark.parametrize(("n", "m", "d"), [(60, 50, 5), (300, 520, 70), (9000, 8000, 17)])
@pytest.mark.parametrize(("p", "weighted"), [(1.5, False), (2.0, True)])
def test_climbs_are_those_of_the_twin(n, m, d, p, weighted):
    x, y = mixtures(max(n, m), d)
    x, y = x[:n] + 3, y[:m]
    weights = [w / w.sum() for w in weights_of(x, y).values()] if weighted else [None, None]
    starts = pt.sphere_directions(d, 13, rng=1).T.copy()
    module = choose.module(x, y)
    units = module.sliced_costs(
        x, y, starts.T, p, *weights, gradient=False, direction_weights=None, workers=1
    )[0] ** (1 / p)

    def climbs(rounds: int, workers: int = 1) -> Any:
        return choose.module(x, y).sliced_climbs(
            x, y, starts, units, p, *weights, rounds=rounds, kept=5, tol=1e-6, workers=workers
        )

    (points, heights), (right, expected) = native_and_twin(lambda: climbs(11))
    np.testing.assert_allclose(heights, expected, rtol=1e-9)
    np.testing.assert_allclose(points, right, atol=1e-7)
    points, heights = climbs(13)
    assert (heights >= np.log(units) * (1 - 1e-12)).all()
    costs = module.sliced_costs(
        x, y, points.T, p, *weights, gradient=False, direction_weights=None, workers=1
    )[0]
    np.testing.assert_allclose(heights, np.log(costs) / p, rtol=1e-12)
    for workers in (2, 3, 7):
        for one, other in zip(climbs(13, workers), (points, heights), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.native
def test_steps_grow_where_slopes_do():
    """From near a minimum: a step is lengthened until the slope is no longer as steep."""
    x, _ = normal(60, 60, 3)
    y = x * [2, 3, 2.5]
    starts = np.array([[1, 1e-4, 1e-4], [1, 0, 1e-3]])
    starts /= np.linalg.norm(starts, axis=1)[:, None]
    units = along(x, y, starts.T, 2)

    def climbs() -> Any:
        return choose.module(x, y).sliced_climbs(
            x, y, starts, units, 2.0, None, None, rounds=9, kept=2, tol=1e-9, workers=1
        )

    (points, heights), (right, expected) = native_and_twin(climbs)
    np.testing.assert_allclose(heights, expected, rtol=1e-9)
    np.testing.assert_allclose(points, right, atol=1e-7)
    assert (points[:, 0] < 0.99).all()


@pytest.mark.native
def test_climbs_end_where_they_were_told_to():
    """So many go on after ten rounds; one that follows another ends, and one without a slope."""
    x, y = heavy(80, 6)
    module = choose.module(x, y)

    def climbs(starts: Any, **limits: Any) -> Any:
        return module.sliced_climbs(
            x, y, starts, units_of(starts), 2.0, None, None, workers=1, **limits
        )

    def units_of(starts: Any) -> Any:
        return along(x, y, starts.T, 2)

    starts = pt.sphere_directions(6, 24, rng=1).T.copy()
    early, few, all_ = (
        climbs(starts, rounds=rounds, kept=kept, tol=1e-9)[1]
        for rounds, kept in ((10, 24), (60, 4), (60, 24))
    )
    went_on = few > early
    assert 1 <= went_on.sum() <= 4
    np.testing.assert_array_equal(few[~went_on], early[~went_on])
    # by height after ten rounds
    assert early[went_on].min() >= np.sort(early)[-4]
    assert (all_ > early).sum() > 4
    # where one climb is, others end
    same = np.repeat(starts[:1], 3, axis=0)
    first, *others = climbs(same, rounds=60, kept=3, tol=1e-9)[1]
    assert others == pytest.approx([early[0]] * 2, rel=1e-9)
    assert first > max(others)
    # the only place to look at, and no slope at all
    points, heights = climbs(starts, rounds=1, kept=24, tol=1e-9)
    np.testing.assert_array_equal(points, starts)
    np.testing.assert_allclose(heights, np.log(units_of(starts)), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_samples_have_no_distance(dtype):
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(dtype)
    for y in (x, x[::-1], np.vstack([x, x])):
        found = pt.max_sliced_wasserstein(x, y, rng=0)
        assert found.value == 0
        assert np.linalg.norm(found.direction) == pytest.approx(1)
    one = np.zeros((1, 3), dtype=dtype)
    assert pt.max_sliced_wasserstein(one, one).value == 0


def test_a_single_feature_has_one_direction():
    x, y = normal(40, 30, 1)
    found = pt.max_sliced_wasserstein(x[:, 0], y, p=3)
    np.testing.assert_array_equal(found.direction, [1.0])
    assert found.value == pytest.approx(pt.wasserstein_1d(x[:, 0], y[:, 0], p=3), rel=1e-14)


def test_two_points_are_as_far_as_they_are():
    x, y = np.array([[1.0, 2.0, 3.0]]), np.array([[4.0, -2.0, 3.0]])
    for p in ORDERS:
        found = pt.max_sliced_wasserstein(x, y, p=p, rng=0)
        assert found.value == pytest.approx(5, rel=1e-12)
        np.testing.assert_allclose(found.direction, [-0.6, 0.8, 0], atol=1e-6)


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e170, 1e300])
@pytest.mark.parametrize("p", [2, 30])
def test_distances_whose_powers_leave_float64(p, scale):
    x, y = mixtures(50, 3)
    right = pt.max_sliced_wasserstein(x, y, p=p, rng=0)
    found = pt.max_sliced_wasserstein(scale * x, scale * y, p=p, rng=0)
    there = along(x, y, found.direction[:, None], p)[0]
    assert found.value == pytest.approx(scale * there, rel=1e-12)
    # rounding may lead to another one of two maxima
    assert there == pytest.approx(right.value, rel=1e-2)


def test_many_features():
    """More than a climb keeps a matrix for."""
    x, y = normal(60, 50, 400)
    found = pt.max_sliced_wasserstein(x, y, rng=0)
    assert_is_that_of_its_direction(found, x, y, 2)
    # far above all that is drawn, and near where the slope ends
    sampled = along(x, y, pt.sphere_directions(400, 2000, rng=1), 2).max()
    assert found.value > 3 * sampled
    # an ascent that holds on to the first ridge it meets ends at 4.2330, and stays there
    assert found.value > 4.2340
    longer, longest = (
        pt.max_sliced_wasserstein(x, y, max_iter=rounds, rng=0) for rounds in (1000, 2000)
    )
    assert longer.value == longest.value
    assert found.value <= longer.value <= found.value * (1 + 1e-4)


@pytest.mark.native
def test_rows_beyond_those_that_are_screened():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 9000, 6)).astype(np.float32)
    y[:, 3] *= 1.1
    weights = weights_of(x, y)
    found = pt.max_sliced_wasserstein(x, y, rng=0, **weights)
    assert_is_that_of_its_direction(found, x, y, 2, **weights)
    best = pt.sphere_directions(6, 1000, rng=1)
    wide = (x.astype(np.float64), y.astype(np.float64))
    assert found.value >= along(*wide, best, 2, **weights).max() * (1 - 1e-6)
    assert abs(found.direction[3]) > 0.9


def test_the_seed_decides_and_nothing_else():
    x, y = mixtures(200, 6)
    first, again, threads = (
        pt.max_sliced_wasserstein(x, y, rng=seed, workers=w)
        for seed, w in ((3, 1), (np.random.default_rng(3), 1), (3, 3))
    )
    for other in (again, threads):
        assert first.value == other.value
        np.testing.assert_array_equal(first.direction, other.direction)
    moved = pt.max_sliced_wasserstein(y, x, rng=3)
    assert moved.value == pytest.approx(first.value, rel=1e-6)


def test_progress_goes_up_to_its_end():
    x, y = mixtures(60, 4)
    seen: list[tuple[int, int]] = []
    pt.max_sliced_wasserstein(x, y, rng=0, progress=lambda *told: seen.append(told))
    assert seen[-1] == (125, 125)
    assert all(a[0] <= b[0] for a, b in itertools.pairwise(seen))


def test_what_is_refused():
    x, y = normal(5, 4, 3)
    for options, message in (
        ({"p": 0.5}, r"p must be finite, >= 1; got 0\.5"),
        ({"p": np.inf}, "p must be finite"),
        ({"n_restarts": 0}, "n_restarts must be at least 1"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"tol": -1.0}, "tol must be finite, >= 0"),
        ({"x_weights": np.ones(4)}, r"x_weights must have shape \(5,\)"),
        ({"y_weights": -np.ones(4)}, "y_weights must not be negative"),
    ):
        with pytest.raises(ValueError, match=message):
            pt.max_sliced_wasserstein(x, y, **options)
