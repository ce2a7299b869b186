"""Tiles that are left out change no bit: against the twin, against the sweep of all tiles."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import native_and_twin, parts
from metrics import METRICS, named, narrowed
from strategies import pairs_of_sets, point_sets

BOUNDED = ("chebyshev", "correlation", "cosine", "euclidean", "mahalanobis", "manhattan")
BOUNDED = (*BOUNDED, "minkowski", "sqeuclidean", "weuclidean")
# around the columns of a tile, the rows of a panel and the leaves of a node
SIZES = st.one_of(
    st.integers(1, 18),
    st.sampled_from([31, 32, 33, 63, 64, 65, 96, 97, 255, 256, 257, 288, 289, 320, 700]),
)
FEW_FEATURES = st.sampled_from([1, 2, 3, 4, 5, 8, 15, 16, 17, 40])

pytestmark = pytest.mark.native


@contextlib.contextmanager
def skipping(how):
    from pairtile import _native

    _native._testing.set_skipping(how)
    try:
        yield _native
    finally:
        _native._testing.set_skipping("")


@contextlib.contextmanager
def screen(name):
    from pairtile import _native

    _native._testing.set_screen(name)
    try:
        yield
    finally:
        _native._testing.set_screen("")


def assert_same(one, other):
    np.testing.assert_array_equal(one.indices, other.indices)
    np.testing.assert_array_equal(one.distances, other.distances)


def assert_nothing_changes(*args, **options):
    """The neighbours of the sweep of all tiles, on any number of threads."""
    with skipping("never"):
        plain = pt.knn(*args, **options)
    with skipping("always"):
        for workers in (1, 2, 3):
            assert_same(pt.knn(*args, workers=workers, **options), plain)


@pytest.mark.parametrize("metric", METRICS)
@given(data=st.data(), sets=pairs_of_sets(rows=SIZES, other_rows=SIZES, features=FEW_FEATURES))
def test_equals_twin(metric, data, sets):
    x, y = (narrowed(metric, s.array) for s in sets)
    k = data.draw(st.one_of(st.just(len(y)), st.integers(1, min(len(y), 12))), label="k")
    with skipping("always"):
        assert_same(*native_and_twin(pt.knn, x, y, k, **named(metric, x), workers=2))


@pytest.mark.parametrize("metric", BOUNDED)
@given(data=st.data(), points=point_sets(rows=SIZES.filter(lambda n: n > 1)))
def test_self_join_equals_twin(metric, data, points):
    x = narrowed(metric, points.array)
    k = data.draw(st.integers(1, min(len(x) - 1, 12)), label="k")
    with skipping("always"):
        assert_same(*native_and_twin(pt.knn, x, k=k, **named(metric, x)))


@pytest.mark.parametrize("name", ["", "float32", "float64", "bfloat16", "int8", "int16"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "cosine"])
@given(
    data=st.data(),
    points=point_sets(rows=st.sampled_from([97, 320, 1100]), features=FEW_FEATURES),
)
def test_any_screen(name, metric, data, points):
    k = data.draw(st.integers(1, 20), label="k")
    with screen(name):
        assert_nothing_changes(points.array, k=k, metric=metric)


def _grid(side, d):
    return np.stack(np.meshgrid(*[np.arange(side)] * d), axis=-1).reshape(-1, d).astype(float)


HARD = {
    "grid": lambda rng: _grid(24, 2),  # faces of boxes touch; every k-th best has ties
    "grid that is no whole numbers": lambda rng: 0.1 * _grid(24, 2) + 1.0 / 3,
    "grid of three": lambda rng: _grid(9, 3) / 7,
    "shuffled grid": lambda rng: rng.permutation(_grid(24, 2) / 3),
    "all equal": lambda rng: np.full((500, 3), 0.3),
    "two points": lambda rng: rng.integers(2, size=(600, 1)) * np.ones((1, 4)),
    "few distinct": lambda rng: rng.integers(4, size=(900, 2)) / 3,
    "line": lambda rng: np.linspace(0, 1, 800)[:, None] * [[1.0, 2.0, -3.0]],
    "one outlier": lambda rng: np.vstack([rng.random((700, 3)), [[1e12, -1e12, 1e12]]]),
    "far outliers": lambda rng: np.vstack([rng.random((700, 3)), 1e30 * rng.random((9, 3))]),
    "offset": lambda rng: 1e8 + rng.random((800, 3)),
    "offset of float32": lambda rng: 1e4 + rng.random((800, 3)),
    "denormals": lambda rng: 1e-310 * rng.random((700, 2)),
    "denormals of float32": lambda rng: 1e-41 * rng.random((700, 2)),
    "squares vanish": lambda rng: 1e-170 * rng.random((700, 2)),
    "tiny beside large": lambda rng: rng.random((700, 2)) * 10.0 ** rng.integers(-30, 2, (700, 1)),
    "clusters": lambda rng: (
        rng.normal(size=(20, 6))[rng.integers(20, size=900)] + 1e-3 * rng.normal(size=(900, 6))
    ),
    "far clusters": lambda rng: 1e6 * rng.integers(3, size=(900, 1)) + rng.random((900, 3)),
    "zero rows": lambda rng: rng.normal(size=(700, 3)) * (rng.random((700, 1)) < 0.8),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "cosine", "minkowski"])
@pytest.mark.parametrize("kind", HARD)
def test_hard_data(kind, metric, dtype):
    rng = np.random.default_rng(3)
    with np.errstate(over="ignore", under="ignore"):
        x = HARD[kind](rng).astype(dtype)
    x = np.nan_to_num(x)
    for k in (1, 4, 9):
        assert_nothing_changes(x, k=k, **named(metric, x))
        assert_nothing_changes(x[::3], x[1::2], k=k, **named(metric, x))


@pytest.mark.parametrize(
    ("d", "metric"),
    [(2, "euclidean"), (6, "euclidean"), (3, "manhattan"), (5, "cosine"), (3, "mahalanobis")],
)
@given(data=st.data())
def test_predicates(d, metric, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    n, m = data.draw(SIZES, label="n"), data.draw(SIZES, label="m")
    x, y = (rng.random((rows, d)).astype(np.float32) for rows in (n, m))
    options = named(metric, d)
    if data.draw(st.booleans(), label="groups"):
        options["query_groups"], options["reference_groups"] = (
            rng.integers(4, size=rows) for rows in (n, m)
        )
        options["group_rule"] = data.draw(st.sampled_from(["same", "different"]), label="rule")
    if data.draw(st.booleans(), label="times"):
        kind = data.draw(st.sampled_from([float, int]), label="times are")
        options["query_times"], options["reference_times"] = (
            (9 * rng.random(rows)).astype(kind) for rows in (n, m)
        )
    if data.draw(st.booleans(), label="mask"):
        options["reference_mask"] = rng.random(m) < 0.5
    assert_nothing_changes(x, y, k=data.draw(st.integers(1, min(m, 9)), label="k"), **options)


def test_rows_that_are_not_finite():
    """Where a row has no place in the order all tiles are computed."""
    x = np.random.default_rng(5).random((900, 3))
    x[3], x[500] = np.nan, np.inf
    with skipping("always") as native:
        assert native._testing.computed_pairs(x, None, 5, "euclidean", workers=2) >= 900 * 899 // 2
    assert_nothing_changes(x, k=5, check_finite=False)


# --- within radii ------------------------------------------------------------------------------


def assert_same_counts(*args, **options):
    with skipping("never"):
        plain = pt.radius_count(*args, **options)
    with skipping("always"):
        for workers in (1, 3):
            np.testing.assert_array_equal(pt.radius_count(*args, workers=workers, **options), plain)
    return plain


@pytest.mark.parametrize("metric", BOUNDED)
@given(data=st.data(), sets=pairs_of_sets(rows=SIZES, other_rows=SIZES, features=FEW_FEATURES))
def test_radius_counts_equal_twin(metric, data, sets):
    """The radius is often the distance of a pair: inside, unless it is open."""
    x, y = (narrowed(metric, s.array) for s in sets)
    some = pt.knn(x[:1], y, k=len(y), **named(metric, x)).distances[0]
    radius = some[data.draw(st.integers(0, len(y) - 1), label="which")]
    closed = data.draw(st.booleans(), label="closed")
    with skipping("always"):
        native, twin = native_and_twin(
            pt.radius_count, x, y, radius=radius, closed=closed, **named(metric, x), workers=2
        )
    np.testing.assert_array_equal(native, twin)


@pytest.mark.parametrize("metric", BOUNDED)
@given(data=st.data(), points=point_sets(rows=SIZES.filter(lambda n: n > 1), features=FEW_FEATURES))
def test_radii_of_rows_equal_twin(metric, data, points):
    """Each row has its own, which is often the distance of a pair; the earlier rows have one."""
    x = narrowed(metric, points.array)
    call = {**named(metric, x), "workers": data.draw(st.integers(1, 3), label="workers")}
    rng = np.random.default_rng(data.draw(st.integers(0, 99), label="seed"))
    some = pt.knn(x[:20], x, k=len(x), **named(metric, x)).distances
    radii = rng.choice(some.ravel(), size=len(x))
    closed = data.draw(st.booleans(), label="closed")
    with skipping("always"):
        results = [
            native_and_twin(pt.radius_neighbors, x, radius=radii, closed=closed, **call),
            native_and_twin(pt.max_similarity, x, earlier_only=True, **call),
            native_and_twin(pt.kth_distance, x, k=1, **call),
        ]
    for native, twin in results:
        for one, other in zip(*map(parts, (native, twin)), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "cosine"])
@pytest.mark.parametrize("kind", HARD)
def test_radius_counts_of_hard_data(kind, metric):
    rng = np.random.default_rng(4)
    x = np.nan_to_num(HARD[kind](rng))
    radii = pt.kth_distance(x, k=5, metric=metric)
    assert_same_counts(x, radius=float(np.median(radii)), metric=metric)
    assert_same_counts(x[::2], x[1::2], radius=float(radii[3]), metric=metric)


@pytest.mark.parametrize("kind", ["clusters", "grid of three", "one outlier"])
def test_radii_of_their_own(kind):
    """Of rows that share a tile some reach much farther than others."""
    rng = np.random.default_rng(7)
    x = HARD[kind](rng)
    radii = pt.kth_distance(x, k=5) * rng.choice([0.1, 1.0, 3.0], len(x))
    counts = assert_same_counts(x, radius=radii)
    assert len(set(counts.tolist())) > 5
    with skipping("never"):
        plain = pt.radius_neighbors(x, radius=radii)
    with skipping("always"):
        found = pt.radius_neighbors(x, radius=radii)
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.diff(found.indptr), counts)


def test_fidelity_of_generated_rows():
    """Radii of their own on both sides, counted both ways."""
    rng = np.random.default_rng(6)
    x, y = rng.random((900, 3)), rng.random((700, 3)) ** 1.1
    with skipping("never"):
        plain = pt.precision_recall_density_coverage(x, y, k=4)
    with skipping("always"):
        assert pt.precision_recall_density_coverage(x, y, k=4) == plain


@pytest.mark.parametrize(("d", "radius", "most"), [(2, 0.01, 300), (3, 0.06, 1500)])
def test_share_of_pairs_computed_within_a_radius(d, radius, most):
    x = np.random.default_rng(0).random((20_000, d)).astype(np.float32)
    with skipping("always") as native:
        computed = native._testing.computed_pairs_within(x, None, radius, "euclidean", workers=2)
        assert len(x) * 20 < computed < len(x) * most
    with skipping("never") as native:
        every = native._testing.computed_pairs_within(x, None, radius, "euclidean", workers=2)
        assert every >= len(x) * (len(x) - 1) // 2


# --- how much is left out ----------------------------------------------------------------------


@pytest.mark.parametrize(("d", "most"), [(1, 140), (2, 260), (3, 700), (5, 5000)])
def test_share_of_computed_pairs(d, most):
    """Of near rows alone: a sweep that stops leaving out tiles is right, and useless."""
    x = np.random.default_rng(0).random((20_000, d)).astype(np.float32)
    with skipping("always") as native:
        computed = native._testing.computed_pairs(x, None, 10, "euclidean", workers=2)
        assert len(x) * 20 < computed < len(x) * most
        assert native._testing.computed_pairs(x, None, 10, "euclidean", workers=1) == computed
    with skipping("never") as native:
        assert (
            native._testing.computed_pairs(x, None, 10, "euclidean", workers=2) >= len(x) ** 2 // 2
        )


@pytest.mark.parametrize(
    "metric", [m for m in BOUNDED if m not in ("mahalanobis", "minkowski", "weuclidean")]
)
def test_every_bounded_metric_leaves_out_tiles(metric):
    x = np.random.default_rng(1).random((6000, 3)).astype(np.float32)
    with skipping("always") as native:
        computed = native._testing.computed_pairs(x, None, 5, metric, workers=2)
    assert computed < 0.15 * len(x) ** 2


def test_metrics_with_parameters_leave_out_tiles():
    """They take as long as a few tiles do, not as long as all."""
    x = np.random.default_rng(2).random((4000, 3))
    for metric in ("mahalanobis", "minkowski", "weuclidean"):
        assert_nothing_changes(x, k=3, **named(metric, x))


# --- when it is done ---------------------------------------------------------------------------


def sheet(rng, n):
    return (rng.random((n, 3)) @ rng.normal(size=(3, 12))).astype(np.float32)


def clustered(rng, n):
    centres = rng.normal(size=(40, 16))[rng.integers(40, size=n)]
    return (centres + 0.2 * rng.normal(size=(n, 16))).astype(np.float32)


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda rng: rng.random((25_000, 3)).astype(np.float32), 0.05),
        (lambda rng: rng.random((3_000, 3)).astype(np.float32), 0.2),
        (lambda rng: rng.random((20_000, 6)), 0.3),
        (lambda rng: rng.random((40_000, 4)), 0.1),
        (lambda rng: sheet(rng, 60_000), 0.1),
        (lambda rng: clustered(rng, 60_000), 0.1),
    ],
    ids=["cube", "small cube", "cube of six", "cube of four", "sheet", "clusters"],
)
def test_chosen_where_it_pays(make, most):
    from pairtile import _native

    x = make(np.random.default_rng(0))
    computed = _native._testing.computed_pairs(x, None, 5, "euclidean", workers=2)
    assert computed < most * len(x) ** 2


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.standard_normal((20_000, 32), dtype=np.float32),
        lambda rng: np.full((25_000, 3), 0.1, np.float32),  # no tile is farther than another
        lambda rng: rng.random((600, 2)).astype(np.float32),
    ],
    ids=["isotropic", "all equal", "small"],
)
def test_not_chosen_where_it_does_not(make):
    from pairtile import _native

    x = make(np.random.default_rng(0))
    computed = _native._testing.computed_pairs(x, None, 3, "euclidean", workers=2)
    assert computed >= len(x) * (len(x) - 1) // 2


def test_chosen_for_many_neighbors_of_few_features():
    """Their lists cost a sweep of all tiles more than the pairs do."""
    from pairtile import _native

    x = np.random.default_rng(0).standard_normal((20_000, 3), dtype=np.float32)
    assert (
        _native._testing.computed_pairs(x, None, 100, "euclidean", workers=2) < 0.25 * len(x) ** 2
    )


def test_an_order_that_does_not_fit_is_not_made():
    from pairtile import _native

    x = np.random.default_rng(0).random((25_000, 3)).astype(np.float32)
    plain = pt.knn(x, k=5)
    least = _native.least_memory(3, 5)
    assert_same(pt.knn(x, k=5, memory_limit=least), plain)
    for limit, strategy in ((least, "all pairs"), (1 << 30, "near tiles"), (0, "near tiles")):
        found, _, reasons = _native.knn_plan(
            x, None, 5, "euclidean", precision="default", workers=2, memory_limit=limit
        )
        assert found == strategy
        why = "no order of rows: it would take 3 MB, more than half of memory_limit"
        assert (why in reasons) == (limit == least)


# --- of an index -------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "cosine"])
@given(data=st.data(), sets=pairs_of_sets(rows=SIZES, other_rows=SIZES, features=FEW_FEATURES))
def test_searches_of_an_index(metric, data, sets):
    """All share the order that the first of them makes."""
    x, y = (s.array for s in sets)
    k = data.draw(st.integers(1, min(len(y), 12)), label="k")
    index = pt.NeighborIndex(y, metric=metric)
    with skipping("never"):
        plain = pt.knn(x, y, k, metric=metric)
        own = pt.knn(y, k=min(k, len(y) - 1), metric=metric) if len(y) > 1 else None
        counts = pt.radius_count(x, y, radius=0.5, metric=metric)
    with skipping("always"):
        assert_same(index.knn(x, k), plain)
        if own is not None:
            assert_same(index.knn(k=own.indices.shape[1]), own)
        np.testing.assert_array_equal(index.radius_count(x, radius=0.5), counts)
        assert_same(index.knn(x, k, workers=3), plain)


def test_threads_that_search_an_index_at_once():
    rng = np.random.default_rng(8)
    x = rng.random((3000, 3)).astype(np.float32)
    plain = pt.knn(x, k=5)
    index = pt.NeighborIndex(x)
    with skipping("always"), ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: index.knn(k=5, workers=1), range(8)):
            assert_same(found, plain)


def test_plan_says_that_tiles_are_left_out():
    rng = np.random.default_rng(9)
    near, far = rng.random((30_000, 3)), rng.normal(size=(4000, 32))
    plan = pt.NeighborIndex(near).plan(k=5)
    assert plan.strategy == "near tiles"
    assert any("too far away" in reason for reason in plan.reasons)
    with skipping("never"):
        assert pt.NeighborIndex(near).plan(k=5).strategy == "all pairs"
    assert pt.NeighborIndex(far).plan(k=5).strategy == "all pairs"
