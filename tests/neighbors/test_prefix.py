"""Lower bounds from a few coordinates of rotated rows: the same neighbours, and few pairs left."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile
from metrics import named
from strategies import pairs_of_sets

pytestmark = pytest.mark.native

PREFIXES = ["prefix", "prefix_bfloat16"]
METRICS = ["euclidean", "sqeuclidean", "cosine", "inner_product", "correlation", "weuclidean"]


@pytest.fixture
def force_screen():
    from pairtile import _native

    yield _native.set_screen
    _native.set_screen("")


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def power_law(n, d, seed=0, exponent=1.0):
    """Rows whose variance falls along hidden directions."""
    rng = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(d, d)))
    rows = rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -exponent
    return (rows @ turned).astype(np.float32)


# --- the same bits ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize("metric", METRICS)
@given(data=st.data(), points=pairs_of_sets())
def test_same_neighbours(metric, data, points):
    from pairtile import _native

    x, y = (p.array for p in points)
    k = data.draw(st.one_of(st.just(len(y)), st.integers(1, len(y))), label="k")
    tile = data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")
    groups = data.draw(st.sampled_from([None, "same", "different"]), label="groups")
    options = {"check_finite": False, **named(metric, y)}
    if groups:
        options["group_rule"] = groups
        options["query_groups"] = np.arange(len(x)) % 3
        options["reference_groups"] = np.arange(len(y)) % 2
    try:
        for screen in PREFIXES:
            with forced_tile(*tile):
                _native.set_screen(screen)
                ours = pt.knn(x, y, k, workers=2, **options)
                _native.set_screen("float64")
                assert_same(ours, pt.knn(x, y, k, precision="float64", **options))
    finally:
        _native.set_screen("")


@given(points=pairs_of_sets(), data=st.data())
def test_same_neighbours_of_itself(points, data):
    from pairtile import _native

    _, y = (p.array for p in points)
    if len(y) < 2:
        return
    k = data.draw(st.integers(1, len(y) - 1), label="k")
    tile = data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")
    try:
        with forced_tile(*tile):
            _native.set_screen("prefix")
            ours = pt.knn(y, k=k, workers=2, check_finite=False)
            _native.set_screen("")
            assert_same(ours, pt.knn(y, k=k, precision="float64", check_finite=False))
    finally:
        _native.set_screen("")


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@given(data=st.data(), points=pairs_of_sets())
def test_same_radii(metric, data, points):
    from pairtile import _native

    x, y = (p.array for p in points)
    k = data.draw(st.integers(1, len(y)), label="k")
    options = {"metric": metric, "check_finite": False}
    radius = np.nan_to_num(pt.kth_distance(x, y, k, **options), posinf=1.0).astype(np.float64)
    of_reference = data.draw(st.booleans(), label="radius of reference")
    counted = {"radius_of": "reference" if of_reference else "query"}
    counted["radius"] = np.resize(radius, len(y)) if of_reference else radius
    try:
        for screen in [*PREFIXES, "float64"]:
            _native.set_screen(screen)
            found = (
                pt.radius_count(x, y, **counted, **options),
                *pt.radius_neighbors(x, y, radius, **options),
            )
            if screen == "prefix":
                first = found
            assert_same(found, first)
    finally:
        _native.set_screen("")


def hard_rows(name, n, d):
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(n, d))
    if name == "rank one":
        rows = rng.normal(size=(n, 1)) * rng.normal(size=(1, d))
    elif name == "nothing left":  # all in the first few features
        rows[:, 4:] = 0.0
    elif name == "parallel remainders":  # what is left points one way: the bound is the value
        rows[:, 4:] = rng.random((n, 1)) * rng.normal(size=(1, d - 4)) * 0.1
        rows[:, :4] *= 10.0
    elif name == "equally far":  # ties at every threshold
        rows = np.linalg.qr(rng.normal(size=(d, d)))[0][np.arange(n) % d]
    elif name == "denormal":
        rows *= 1e-42
    elif name == "far from the origin":
        rows += 1e8
    elif name == "one far outlier":
        rows[3] *= 1e12
    elif name == "constant features":
        rows[:, ::2] = 7.25
    return rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name",
    [
        "rank one",
        "nothing left",
        "parallel remainders",
        "equally far",
        "denormal",
        "far from the origin",
        "one far outlier",
        "constant features",
    ],
)
def test_hard_rows(name, dtype, force_screen):
    y = hard_rows(name, 600, 72).astype(dtype)
    x = y[::7]
    for metric in ("sqeuclidean", "cosine", "inner_product"):
        expected = pt.knn(x, y, 9, metric=metric, precision="float64")
        for screen in PREFIXES:
            force_screen(screen)
            assert_same(pt.knn(x, y, 9, metric=metric), expected)
            force_screen("")


def test_workers_change_nothing(force_screen):
    y = power_law(3000, 64)
    force_screen("prefix")
    one = pt.knn(y, k=5, workers=1)
    assert_same(pt.knn(y, k=5, workers=3), one)


# --- it decides ------------------------------------------------------------------------------


def test_few_pairs_are_finished(force_screen):
    from pairtile import _native

    x, y = power_law(300, 128), power_law(6000, 128, seed=2)
    force_screen("prefix")
    finished = _native.finished_pairs(x, y, 10, "euclidean", workers=2)
    assert 10 * len(x) <= finished < 0.02 * len(x) * len(y)
    force_screen("float32")
    assert _native.finished_pairs(x, y, 10, "euclidean", workers=2) == -1


# So many rows that asking pays, whatever else the processor has to screen with.
def many_rows():
    return power_law(8000, 256), power_law(40000, 256, seed=2)


def test_the_plan_says_what_is_done():
    from pairtile import _native

    x, y = many_rows()
    plan = pt.NeighborIndex(y).plan(x, 10)
    assert plan.strategy == "prefix"
    assert any(reason.startswith("a prefix of ") for reason in plan.reasons)
    finished = _native.finished_pairs(x, y, 10, "euclidean", workers=2)
    assert 0 < finished < 0.1 * len(x) * len(y)
    assert finished < 3 * plan.expected_pairs
    assert_same(pt.knn(x, y, 10), pt.NeighborIndex(y).knn(x, 10))


def test_rows_that_spread_out_have_none():
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(n, 256)).astype(np.float32) for n in (8000, 40000))
    plan = pt.NeighborIndex(y).plan(x, 10)
    assert plan.strategy == "all pairs"
    assert any("spread over about" in reason for reason in plan.reasons)


def test_no_rotation_beyond_the_memory():
    from pairtile import _native

    x, y = many_rows()
    call = {"precision": "default", "workers": 2}
    strategy, pairs, reasons = _native.knn_plan(x, y, 10, "euclidean", memory_limit=8 << 20, **call)
    assert strategy == "all pairs"
    assert pairs == len(x) * len(y)
    assert any("memory_limit" in reason for reason in reasons)
    assert_same(pt.knn(x, y, 10, memory_limit="8MB"), pt.knn(x, y, 10))
