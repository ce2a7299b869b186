"""Nearest neighbours: bit for bit those of the NumPy twin, and right by SciPy and scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

import pairtile as pt
from backends import forced_tile, native_and_twin, on_backend
from metrics import ALL, FINITE, METRICS, by_scipy, named, narrowed
from strategies import DTYPES, KINDS, Points, cast, pairs_of_sets, point_sets

# Of data that no metric finds degenerate, and of what float32 alone gets wrong.
HARD_KINDS = ("clusters", "near_ties", "near_unit_vectors", "offset", "outlier", "uneven_columns")


def brute_force(x, y, metric):
    """Distances by SciPy, smaller is nearer."""
    return (-1 if metric == "inner_product" else 1) * by_scipy(x, y, metric)


def assert_same(native, twin):
    np.testing.assert_array_equal(native.indices, twin.indices)
    np.testing.assert_array_equal(native.distances, twin.distances)
    assert native.distances.dtype == twin.distances.dtype
    assert native.indices.dtype == np.int64


# --- against the twin ------------------------------------------------------------------------


@pytest.mark.native
@pytest.mark.parametrize("precision", ["default", "float64"])
@pytest.mark.parametrize("metric", METRICS)
@given(data=st.data(), sets=pairs_of_sets())
def test_equals_twin(metric, precision, data, sets):
    x, y = (narrowed(metric, s.array) for s in sets)
    k = data.draw(st.one_of(st.just(len(y)), st.integers(1, len(y))), label="k")
    tile = data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")
    with forced_tile(*tile):
        native, twin = native_and_twin(
            pt.knn, x, y, k, **named(metric, x), precision=precision, workers=2
        )
    assert_same(native, twin)


@pytest.mark.native
@pytest.mark.parametrize("metric", METRICS)
@given(data=st.data(), points=point_sets(rows=st.integers(2, 70)))
def test_self_join_equals_twin(metric, data, points):
    k = data.draw(st.integers(1, len(points.array) - 1), label="k")
    x = narrowed(metric, points.array)
    assert_same(*native_and_twin(pt.knn, x, k=k, **named(metric, x)))


@pytest.mark.native
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "inner_product"])
def test_every_tail_of_every_block(metric, dtype):
    """Rows in blocks of 4, 6 or 14, columns of 4 to 32, features of 8 and 256, direct up to 4."""
    rng = np.random.default_rng(0)
    for d in (1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 513):
        points = rng.normal(size=(110, d)).astype(dtype)
        sizes = [(n, 33) for n in (1, 3, 4, 5, 6, 7, 13, 14, 15, 29)]
        sizes += [(5, m) for m in (3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 65)]
        for n, m in sizes:
            assert_same(*native_and_twin(pt.knn, points[:n], points[-m:], 3, metric=metric))


@pytest.mark.native
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_more_near_ties_than_a_list_holds(metric, kind):
    """Far more references than a shortlist has room for, ordered by no float32 arithmetic."""
    points = KINDS[kind](np.random.default_rng(1), 1020, 11).astype(np.float32)
    for k in (1, 37):
        assert_same(*native_and_twin(pt.knn, points[:20], points[20:], k, **named(metric, points)))


@pytest.mark.native
@pytest.mark.parametrize("step", [1.0, 0.1])
@pytest.mark.parametrize("k", [1, 8, 9, 16, 31, 32, 33, 63, 64, 65, 599, 600])
def test_ties_at_the_last_place_of_lists_of_every_size(k, step):
    """Lattices, exact in float32 or not, whose shells hold many more than k; some rows NaN."""
    rng = np.random.default_rng(3)
    points = (step * rng.integers(-2, 3, size=(620, 3))).astype(np.float32)
    points[[5, 60, 300]] = np.nan
    for d in (2, 3):
        for queries, references in ((points[:20], points[20:]), (points[20:], None)):
            most = 600 - (references is None)
            native, twin = native_and_twin(
                pt.knn,
                queries[:, :d],
                None if references is None else references[:, :d],
                min(k, most),
                check_finite=False,
            )
            assert_same(native, twin)


@pytest.mark.native
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "kind", ["bytes", "one_hot", "wide_one_hot", "wide_bytes", "far_bytes", "lattice"]
)
def test_integers_with_massive_ties(metric, kind):
    """Data whose float32 tiles are exact take a path of their own, which cuts ties by index."""
    rng = np.random.default_rng(2)
    side = rng.integers(0, 2, size=(300, 1)) ^ rng.integers(0, 2, size=1024)
    points = {
        "bytes": lambda: rng.integers(0, 3, size=(900, 12), dtype=np.uint8),
        # two clusters, whose squared norms are beyond 2²⁴: no longer exact in float32
        "far_bytes": lambda: np.where(side, 254, 0) + rng.integers(0, 2, size=(300, 1024)),
        "wide_bytes": lambda: rng.integers(0, 256, size=(300, 700), dtype=np.uint8),
        "one_hot": lambda: KINDS["one_hot"](rng, 900, 20).astype(np.float32),
        "wide_one_hot": lambda: KINDS["one_hot"](rng, 900, 80).astype(np.float32),
        "lattice": lambda: rng.integers(-2, 3, size=(900, 3)) + 1_000_000,
    }[kind]()
    points = narrowed(metric, points)
    options = named(metric, points)
    for k in (1, 10, 200):
        assert_same(*native_and_twin(pt.knn, points[:40], points[40:], k, **options))
    assert_same(*native_and_twin(pt.knn, points, k=5, **options))


def order_of(canonical):
    """Neighbours of each row among the others, ties by index."""
    np.fill_diagonal(canonical, np.inf)
    return np.argsort(canonical, axis=1, kind="stable")


@pytest.mark.parametrize("d", [16, 70])
@pytest.mark.parametrize("largest", [255, 256, 257, 300, 1000, 2047])
def test_whole_numbers_that_bfloat16_holds_or_not(d, largest):
    rng = np.random.default_rng(3)
    x = rng.integers(-largest, largest + 1, size=(300, d)).astype(np.float32)
    x[:100] = x[100:200] + rng.integers(-1, 2, size=(100, d))
    x = np.clip(x, -largest, largest)
    order = order_of(((x[:, None].astype(np.float64) - x) ** 2).sum(axis=2))
    for k in (1, 20):
        np.testing.assert_array_equal(pt.knn(x, k=k).indices, order[:, :k])


def test_one_row_that_is_not_whole_where_no_sample_looks():
    x = np.random.default_rng(2).integers(-9, 10, size=(9000, 20)).astype(np.float64)
    x[5] = x[4001] = x[1] = x[0]
    x[1, 0] += 1e-9
    x[4001, 0] -= 2e-9
    found = pt.knn(x[:1], x[1:], k=3)
    np.testing.assert_array_equal(found.indices, [[4, 0, 4000]])
    found = pt.knn(x, k=3)
    np.testing.assert_array_equal(found.indices[5], [0, 1, 4001])


@pytest.mark.parametrize("rows", [64, 700])
def test_rows_that_rounding_makes_whole_numbers(rows):
    """Times the root of the weight they are whole; their canonical distances are not."""
    numbers = np.random.default_rng(1).permutation(np.arange(16, rows))
    numbers = numbers[numbers / np.sqrt(2) * np.sqrt(2) == numbers] / np.sqrt(2)
    x = np.stack([numbers, -numbers], axis=1).reshape(-1, 1)
    difference = x - x.T
    order = order_of(2.0 * difference * difference)
    for k in (1, 2, 9):
        found = pt.knn(x, k=k, metric="weuclidean", metric_params={"w": [2.0]})
        np.testing.assert_array_equal(found.indices, order[:, :k])


@pytest.mark.native
@pytest.mark.parametrize("skip", ["never", "always"])
def test_a_map_under_which_most_of_the_rows_cancels(skip):
    """Features nearly agree, far out: what reading rows through the map rounds is far more than
    rounding its results."""
    from pairtile import _native

    rng = np.random.default_rng(0)
    x = 1e12 * rng.normal(size=(400, 1)) + 1e-3 * rng.integers(2000, size=(400, 3))
    params = {"VI": np.array([[2.0, -1.0, -1.0], [-1.0, 2.0, -1.0], [-1.0, -1.0, 2.0]])}
    options = {"metric": "mahalanobis", "metric_params": params}
    order = order_of(pt.pairwise_distances(x, **options))
    _native._testing.set_skipping(skip)
    try:
        for k in (1, 7, 100):
            np.testing.assert_array_equal(pt.knn(x, k=k, **options).indices, order[:, :k])
    finally:
        _native._testing.set_skipping("")


def unit_vectors(rng, n, d):
    x = rng.normal(size=(1, d)) + 1e-6 * rng.normal(size=(n, d)) / np.sqrt(d)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def on_a_sphere(rng, n, d):
    """All at nearly one distance from the first rows, which lie in the middle."""
    x = rng.normal(size=(n, d))
    x *= (1 + 1e-9 * rng.normal(size=(n, 1))) / np.linalg.norm(x, axis=1, keepdims=True)
    x[:20] *= 1e-7
    return x


ADVERSARIAL = {
    "near_ties": on_a_sphere,
    "clusters_of_near_ties": lambda rng, n, d: (
        10.0 * rng.normal(size=(5, d))[rng.integers(5, size=n)] + 1e-6 * rng.normal(size=(n, d))
    ),
    "offset": lambda rng, n, d: 3e5 + rng.normal(size=(n, d)),
    "scale_ratios": lambda rng, n, d: rng.normal(size=(n, d)) * np.logspace(-15, 15, d),
    "duplicates": lambda rng, n, d: rng.normal(size=(n // 10, d))[rng.integers(n // 10, size=n)],
    "denormals": lambda rng, n, d: 1e-41 * rng.normal(size=(n, d)),
    "unit_vectors": unit_vectors,
}


@pytest.mark.native
@pytest.mark.parametrize(
    "screen", ["int8", "int16", "bfloat16", "float32", "float64", "in_place", "prefix"]
)
@pytest.mark.parametrize("kind", ADVERSARIAL)
@pytest.mark.parametrize(
    "metric", ["euclidean", "cosine", "inner_product", "manhattan", "chebyshev"]
)
def test_bound_holds_on_adversarial_data(metric, kind, screen):
    """A bound that is too small loses neighbours among pairs that the screen cannot tell apart."""
    from pairtile import _native

    rng = np.random.default_rng(7)
    _native._testing.set_screen(screen)
    try:
        for d, dtype in itertools.product((3, 70, 300), (np.float32, np.float64)):
            points = ADVERSARIAL[kind](rng, 420, d).astype(dtype)
            for k in (1, 12):
                assert_same(*native_and_twin(pt.knn, points[:20], points[20:], k, metric=metric))
    finally:
        _native._testing.set_screen("")


@pytest.mark.native
@pytest.mark.parametrize("screen", ["", "in_place"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@given(
    data=st.data(),
    sets=pairs_of_sets(
        rows=st.integers(1, 20) | st.integers(60, 70),
        other_rows=st.sampled_from([1, 7, 255, 256, 257, 300, 515, 4200]),
        features=st.sampled_from([1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 31, 33, 70]),
    ),
)
def test_few_queries_equal_twin(metric, screen, data, sets):
    """References are read as they lie, and where there are many, in segments."""
    from pairtile import _native

    x, y = (s.array for s in sets)
    k = data.draw(st.integers(1, min(12, len(y))), label="k")
    tile = data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")
    _native._testing.set_screen(screen)
    try:
        with forced_tile(*tile):
            assert_same(*native_and_twin(pt.knn, x, y, k, metric=metric, workers=2))
    finally:
        _native._testing.set_screen("")


FEW_FEATURES = {
    "normal": lambda x: x,
    "offset": lambda x: x + 1e8,
    "denormals": lambda x: 1e-40 * x,
    "ties": lambda x: np.rint(2 * x) / 3,
    "gaps": lambda x: np.where(x > 2, np.nan, np.where(x < -2, -np.inf, x)),
}


@pytest.mark.native
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("kind", FEW_FEATURES)
@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_few_features_are_compared_as_they_lie(metric, kind, dtype):
    """Columns are turned 256 at a time, close to one another or with other numbers between."""
    from pairtile import _native

    rng = np.random.default_rng(29)
    wide = cast(FEW_FEATURES[kind](rng.normal(size=(580, 6))), dtype)
    sizes = ((1, 513, 1), (2, 255, 255), (7, 256, 10), (64, 257, 3), (65, 100, 1))
    _native._testing.set_screen("in_place")
    try:
        for d, apart in itertools.product((1, 2, 3, 4), (False, True)):
            points = wide[:, 1 : 1 + d] if apart else np.ascontiguousarray(wide[:, :d])
            for n, m, k in sizes:
                native, twin = native_and_twin(
                    pt.knn, points[:n], points[n : n + m], k, metric=metric, check_finite=False
                )
                assert_same(native, twin)
    finally:
        _native._testing.set_screen("")


@pytest.mark.native
@pytest.mark.parametrize("screen", ["", "in_place"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("exponent", [-44, -30, 25, 38])
def test_few_queries_beyond_the_range_of_float32(metric, screen, exponent):
    """Sums that overflow are not taken for rows with Inf; those that vanish keep their order."""
    from pairtile import _native

    rng = np.random.default_rng(23)
    _native._testing.set_screen(screen)
    try:
        for d in (3, 40):
            points = rng.normal(size=(450, d))
            points[rng.choice(450, 200, replace=False)] *= 10.0**exponent
            points = np.clip(points, -3e38, 3e38).astype(np.float32)
            for n, k in ((1, 1), (1, 449), (5, 230)):
                assert_same(*native_and_twin(pt.knn, points[:n], points[n:], k, metric=metric))
    finally:
        _native._testing.set_screen("")


@pytest.mark.native
@pytest.mark.parametrize("kind", ["far", "farther", "out_of_range", "zero", "near", "fraction"])
@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_the_sample_does_not_show(metric, kind):
    """The frame comes from every third row here; the others may lie anywhere."""
    rng = np.random.default_rng(5)
    integral = kind == "fraction"
    points = rng.integers(-3, 4, size=(9040, 7)) if integral else rng.normal(size=(9040, 7))
    points = points.astype(np.float64 if kind == "farther" else np.float32)
    unseen = np.flatnonzero(np.arange(len(points)) % 3)
    chosen = rng.choice(unseen, 60, replace=False)
    points[chosen] *= {
        "far": 1e6,
        "farther": 1e160,
        "out_of_range": 1e25,
        "zero": 0,
        "near": 1e-20,
    }.get(kind, 0.3)
    points[39] = points[chosen[0]]
    for d in (3, 7):
        x, y = points[:40, :d], points[40:, :d]
        assert_same(*native_and_twin(pt.knn, x, y, 5, **named(metric, x)))


@pytest.mark.native
@pytest.mark.parametrize("exponent", [-320, -200, -160, -140, -75, 75, 140, 155, 200, 290])
@pytest.mark.parametrize("metric", sorted(set(METRICS) - {"inner_product"}))
def test_range_of_float64(metric, exponent):
    """Squares overflow and vanish; what is left of the order is that of the canonical value."""
    rng = np.random.default_rng(3)
    with np.errstate(under="ignore"):
        points = rng.normal(size=(90, 9)) * 10.0**exponent
    for d in (3, 9):
        x, y = points[:30, :d], points[30:, :d]
        for precision in ("default", "float64"):
            assert_same(*native_and_twin(pt.knn, x, y, 4, **named(metric, x), precision=precision))


@pytest.mark.native
@pytest.mark.parametrize("exponent", [-320, -200, -75, 75, 150, 154, 200])
@pytest.mark.parametrize("precision", ["default", "float64"])
def test_range_of_float64_for_dot_products(exponent, precision):
    rng = np.random.default_rng(3)
    with np.errstate(under="ignore"):
        # Infinities of both signs in one sum have no order: one column, or one sign.
        column = rng.normal(size=(330, 1)) * 10.0**exponent
        positive = rng.random(size=(330, 9)) * 10.0**exponent
    for points in (column, positive):
        for k in (1, 4, 100, 300):
            native, twin = native_and_twin(
                pt.knn, points[:30], points[30:], k, metric="inner_product", precision=precision
            )
            assert_same(native, twin)


@pytest.mark.native
@pytest.mark.parametrize("precision", ["default", "float64"])
def test_dot_products_that_vanish_where_they_are_screened(precision):
    """Rows are scaled by the largest of both sets: products of the smallest keep their order."""
    rng = np.random.default_rng(3)
    x, y = 1e-300 * rng.random((5, 3)), 1e100 * rng.random((500, 3))
    for k in (1, 5, 170):
        assert_same(*native_and_twin(pt.knn, x, y, k, metric="inner_product", precision=precision))


@pytest.mark.native
def test_dot_products_without_a_value_are_never_neighbours():
    """∞ − ∞ of finite rows is NaN, and NaN has no place in an order."""
    points = np.random.default_rng(3).normal(size=(430, 3)) * 1e200
    for k in (1, 4, 100, 400):
        assert_same(*native_and_twin(pt.knn, points[:30], points[30:], k, metric="inner_product"))


@pytest.mark.native
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
def test_differences_beyond_float64(metric):
    """x − c overflows for finite x and c; the neighbours are those of the canonical values."""
    points = 1.7e308 * np.random.default_rng(4).uniform(-1, 1, size=(90, 9))
    assert_same(*native_and_twin(pt.knn, points[:30], points[30:], 4, metric=metric))


@pytest.mark.native
@pytest.mark.parametrize("exponent", [8, 17, 19, 20, 21, 22, 25, 37])
@pytest.mark.parametrize("metric", METRICS)
def test_one_huge_row(metric, exponent):
    """Beside it squares of all others are denormal in float32, or nothing."""
    points = np.random.default_rng(18).normal(size=(300, 9)).astype(np.float32)
    points[77] *= np.float32(10.0**exponent)
    for d in (3, 9):
        for k in (1, 5, 100):
            assert_same(*native_and_twin(pt.knn, points[:, :d].copy(), k=k, **named(metric, d)))


@pytest.mark.native
@pytest.mark.parametrize("scale", [3e38, 1e30, 1e-30, 1e-38, 1e-44])
@pytest.mark.parametrize("metric", METRICS)
def test_range_of_float32(metric, scale):
    points = np.random.default_rng(5).uniform(-1, 1, size=(90, 9))
    with np.errstate(under="ignore"):
        points = (points * scale).astype(np.float32)
    native, twin = native_and_twin(
        pt.knn, points[:30], points[30:], 4, **named(metric, points), distance_dtype="float64"
    )
    assert_same(native, twin)


@pytest.mark.native
@pytest.mark.parametrize("metric", METRICS)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_predicates_equal_twin(metric, data, seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 40, size=2) + 1
    itself = data.draw(st.booleans(), label="self-join")
    m = n if itself else m
    points = rng.integers(-2, 3, size=(n + m, 6)).astype(np.float32)
    options = {}
    if data.draw(st.booleans(), label="groups"):
        options |= {
            "query_groups": rng.integers(3, size=n),
            "reference_groups": rng.integers(3, size=m),
            "group_rule": data.draw(st.sampled_from(["same", "different"]), label="rule"),
        }
    if data.draw(st.booleans(), label="times"):
        kind = data.draw(st.sampled_from([np.int64, np.float64]), label="time dtype")
        options |= {
            "query_times": rng.integers(5, size=n).astype(kind),
            "reference_times": rng.integers(5, size=m).astype(kind),
        }
    if data.draw(st.booleans(), label="mask"):
        options["reference_mask"] = rng.random(m) < 0.7
    k = int(rng.integers(1, m))
    reference = None if itself else points[n:]
    assert_same(
        *native_and_twin(
            pt.knn, points[:n], reference, k, **named(metric, points), workers=2, **options
        )
    )


@pytest.mark.native
@pytest.mark.parametrize("metric", METRICS)
@given(sets=pairs_of_sets(rows=st.integers(1, 40)))
def test_pairwise_distances_equal_twin(metric, sets):
    x, y = (narrowed(metric, s.array) for s in sets)
    options = named(metric, x)
    native, twin = native_and_twin(pt.pairwise_distances, x, y, **options, workers=2)
    np.testing.assert_array_equal(native, twin)
    assert native.dtype == twin.dtype
    native, twin = native_and_twin(pt.pairwise_distances, x, **options)
    np.testing.assert_array_equal(native, twin)


@pytest.mark.native
@pytest.mark.parametrize("metric", METRICS)
@given(sets=pairs_of_sets(kinds=HARD_KINDS))
def test_fast_is_near(metric, sets):
    """Unconfirmed, but the distances are those of float32 and never negative."""
    x, y = (s.array for s in sets)
    k = min(5, len(y))
    with on_backend("native"):
        fast = pt.knn(x, y, k, **named(metric, x), precision="fast")
        right = pt.knn(x, y, k, **named(metric, x))
    if metric != "inner_product":
        assert (fast.distances >= 0).all()
    every = pt.pairwise_distances(x, y, **named(metric, x))
    # of squares of what is left after centring; the root of an error may be large
    rooted = 1e-2 * np.abs(every).max()
    span = {
        "euclidean": rooted,
        "weuclidean": rooted,
        "mahalanobis": rooted,
        "cosine": 1e-4,
        "correlation": 1e-4,
        "inner_product": 1e-4
        * np.linalg.norm(sets[0].values, axis=1).max()
        * np.linalg.norm(sets[1].values, axis=1).max(),
    }.get(metric, 1e-4 * np.abs(every).max())
    assert np.abs(fast.distances - right.distances).max() <= span + 1e-30


@pytest.mark.native
def test_fast_cosine_is_not_negative_beside_zero_rows():
    points = np.repeat(np.random.default_rng(6).normal(size=(60, 9)), 2, axis=0)
    points[10:14] = 0
    with on_backend("native"):
        found = pt.knn(points.astype(np.float32), k=3, metric="cosine", precision="fast")
    assert found.distances.min() >= 0


# --- against other packages and by definition ------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@given(
    sets=pairs_of_sets(
        rows=st.integers(1, 40), kinds=("normal", "offset", "huge", "tiny", "constant_columns")
    )
)
@example(sets=(Points.of([[6e4]], "float16"), Points.of([[-6e4]], "float16")))  # braycurtis: inf
def test_distances_by_scipy(metric, sets):
    (x, a), (y, b) = sets
    wide = "float64" in (x.dtype.name, y.dtype.name)
    found = pt.pairwise_distances(x, y, **named(metric, x))
    assert found.dtype == (np.float64 if wide else np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        right = brute_force(a, b, metric)
        if metric == "inner_product":
            right = -right
            slack = 1e-13 * (np.abs(a) @ np.abs(b).T)
        elif ALL[metric].unit_rows:  # as 1 − cos, which is what cancels
            slack = 1e-12
        else:
            slack = 1e-12 * right
        right = right.astype(found.dtype)
    usable = np.isfinite(right)
    if metric != "cosine":  # of which SciPy says nothing where a row is zero
        np.testing.assert_array_equal(found[~usable], right[~usable])
    found, right = found[usable].astype(np.float64), right[usable].astype(np.float64)
    rounding = np.finfo(np.float64 if wide else np.float32)
    slack = np.broadcast_to(slack, usable.shape)[usable]
    allowed = slack + rounding.eps * np.abs(right) + rounding.tiny
    assert (np.abs(found - right) <= allowed).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_by_brute_force(metric, dtype):
    """Ranks by SciPy's distances; pairs it cannot tell apart may swap."""
    rng = np.random.default_rng(7)
    points = cast(20 * rng.normal(size=(130, 10)), dtype)
    x, y = points[:50], points[50:]
    right = brute_force(x.astype(np.float64), y.astype(np.float64), metric)
    for k in (1, 7, 80):
        found = pt.knn(x, y, k, **named(metric, x))
        ranked = np.take_along_axis(right, found.indices, axis=1)
        np.testing.assert_allclose(ranked, np.sort(right, axis=1)[:, :k], rtol=1e-12, atol=1e-12)
        sign = -1 if metric == "inner_product" else 1
        np.testing.assert_allclose(sign * found.distances, ranked, rtol=1e-6, atol=1e-7)
        assert all(len(set(row)) == k for row in found.indices.tolist())


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "cosine"])
def test_neighbours_by_scikit_learn(metric):
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(200, 12)), rng.normal(size=(700, 12))
    peer = NearestNeighbors(n_neighbors=15, metric=metric, algorithm="brute").fit(y)
    distances, indices = peer.kneighbors(x)
    found = pt.knn(x, y, 15, metric=metric)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_lists_are_prefixes(metric):
    rng = np.random.default_rng(9)
    for x in (rng.normal(size=(60, 7)), rng.integers(0, 2, size=(60, 7)).astype(np.float32)):
        longest = pt.knn(x, k=59, **named(metric, x))
        for k in (1, 2, 10, 58):
            found = pt.knn(x, k=k, **named(metric, x))
            np.testing.assert_array_equal(found.indices, longest.indices[:, :k])
            np.testing.assert_array_equal(found.distances, longest.distances[:, :k])


@pytest.mark.parametrize("metric", METRICS)
def test_ties_go_by_index(metric):
    """Every reference is there three times; equal ones come in ascending order."""
    rng = np.random.default_rng(10)
    x, y = rng.random(size=(20, 6)), np.tile(rng.random(size=(25, 6)), (3, 1))
    found = pt.knn(x, y, 75, **named(metric, x))
    triples = found.indices.reshape(20, 25, 3)
    np.testing.assert_array_equal(triples[:, :, 1], triples[:, :, 0] + 25)
    np.testing.assert_array_equal(triples[:, :, 2], triples[:, :, 0] + 50)


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "manhattan", "chebyshev", "cosine"])
def test_self_join_excludes_the_index_only(metric):
    points = np.repeat(np.random.default_rng(11).normal(size=(20, 5)), 3, axis=0)
    found = pt.knn(points, k=2, metric=metric)
    own = np.arange(60)[:, None]
    assert (found.indices != own).all()
    np.testing.assert_array_equal(found.indices // 3, np.broadcast_to(own // 3, (60, 2)))
    np.testing.assert_array_equal(found.distances, 0)


def predicates(rng, n):
    times, groups = rng.integers(9, size=n), rng.integers(4, size=n)
    grouped = {"query_groups": groups, "reference_groups": groups}
    return [
        {},
        grouped | {"group_rule": "same"},
        grouped | {"group_rule": "different", "reference_mask": rng.random(n) < 0.5},
        {"query_times": times, "reference_times": rng.permutation(times)},
    ]


@pytest.mark.native
@pytest.mark.parametrize("precision", ["default", "float64"])
@pytest.mark.parametrize("metric", METRICS)
def test_halved_self_join_has_the_bits_of_all_tiles(metric, precision):
    """Tiles that serve their rows and their columns, on data with ties, in several super-blocks."""
    rng = np.random.default_rng(13)
    # a super-block is 3 blocks, of 224 rows at most
    x = np.round(4 * rng.random(size=(1000, 6)))[rng.integers(1000, size=1000)]
    x = x.astype(np.float32) if precision == "default" else x + rng.normal(size=6)
    for predicate in predicates(rng, len(x)):
        options = {"k": 7, "precision": precision} | predicate | named(metric, x)
        plain = pt.knn(x, **options)
        with forced_tile(1, 1):
            assert_same(pt.knn(x, workers=3, **options), plain)


@pytest.mark.native
@pytest.mark.parametrize("screen", ["int8", "int16", "bfloat16", "float32", "float64", "prefix"])
def test_large_self_join_has_the_bits_of_a_search_of_two_sets(screen):
    """Large enough that `plan` halves it; ids exclude a row's own index in the other search."""
    from pairtile import _native

    n, d = 4500, 64
    rng = np.random.default_rng(14)
    x = rng.standard_normal((n, d), dtype=np.float32)
    x[n // 2 :] = x[: n - n // 2] + np.float32(1e-5) * rng.standard_normal((n - n // 2, d))
    ids = np.arange(n)
    plain = pt.knn(x, x, 3, query_groups=ids, reference_groups=ids, group_rule="different")
    _native._testing.set_screen(screen)
    try:
        for workers in (1, 3):
            assert_same(pt.knn(x, k=3, workers=workers), plain)
        assert_same(pt.knn(x, k=3, memory_limit=_native.least_memory(d, 3)), plain)
    finally:
        _native._testing.set_screen("")


@pytest.mark.native
@pytest.mark.parametrize("metric", ["hamming", "jaccard"])
def test_halved_self_join_of_bits(metric):
    x = np.random.default_rng(16).integers(256, size=(1000, 3), dtype=np.uint8)
    plain = pt.knn(x, k=7, metric=metric)
    with forced_tile(1, 1):
        assert_same(pt.knn(x, k=7, metric=metric, workers=3), plain)


@pytest.mark.native
@pytest.mark.parametrize("k", [1, 6, 40])
@pytest.mark.parametrize("way", ["all tiles", "small tiles", "near tiles"])
def test_copies_of_a_common_row_that_come_in_any_order(way, k):
    """Of so many that no list holds them all the first count, whichever were met before."""
    from pairtile import _native

    rng = np.random.default_rng(9)
    x = rng.normal(size=(2400, 3)).astype(np.float32)
    often = rng.random(2400) < 0.5
    x[often] = x[0]
    x[::7] = x[1]
    wide = x.astype(np.float64)
    canonical = sum((column[:, None] - column) ** 2 for column in wide.T)
    order = order_of(canonical)[:, :k]
    _native._testing.set_skipping("always" if way == "near tiles" else "never")
    try:
        with forced_tile(*((20, 70) if way == "small tiles" else (0, 0))):
            for workers in (1, 2):
                found = pt.knn(x, k=k, workers=workers)
                np.testing.assert_array_equal(found.indices, order)
    finally:
        _native._testing.set_skipping("")


@pytest.mark.native
@pytest.mark.parametrize(
    ("metric", "row"), [("euclidean", 0), ("euclidean", 1), ("cosine", 0), ("inner_product", 1)]
)
def test_copies_of_a_common_row_are_not_rescored(metric, row):
    """Most of the references are one row, zeros or not; its copies go by index all the same."""
    from pairtile import _native

    rng = np.random.default_rng(15)
    x, y = (rng.normal(size=(n, 6)).astype(np.float32) for n in (700, 6000))
    y[rng.random(len(y)) < 0.9] = row * x[0]
    x[::2] = y[: len(x) // 2]
    for k in (1, 10):
        assert_same(*native_and_twin(pt.knn, x, y, k, metric=metric))
    assert _native._testing.rescored_pairs(x, y, 10, metric, workers=2) < 1500 * len(x)
    own = y[:2100]
    plain = pt.knn(own, k=10, metric=metric)
    with forced_tile(1, 1):
        assert_same(pt.knn(own, k=10, metric=metric, workers=3), plain)


@pytest.mark.native
@pytest.mark.parametrize("d", [8, 128])
def test_few_pairs_of_gaussian_rows_are_rescored(d):
    from pairtile import _native

    x, y = (
        np.random.default_rng(n).standard_normal((n, d), dtype=np.float32) for n in (500, 20_000)
    )
    for k, most in ((1, 16), (10, 48), (100, 260)):
        rescored = _native._testing.rescored_pairs(x, y, k, "euclidean", workers=2)
        assert 500 * k <= rescored <= 500 * most
    integers = np.round(10 * y)
    assert (
        _native._testing.rescored_pairs(integers[:500], integers, 10, "euclidean", workers=2) == 0
    )


def test_given_as_reference_a_row_finds_itself():
    x = np.random.default_rng(12).normal(size=(30, 4)).astype(np.float32)
    found = pt.knn(x, x, 1)
    np.testing.assert_array_equal(found.indices.ravel(), np.arange(30))
    np.testing.assert_array_equal(found.distances, 0)


def test_zero_rows_have_cosine_distance_one():
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [-3.0, 0.0]])
    found = pt.knn(x, k=3, metric="cosine")
    np.testing.assert_array_equal(found.indices[0], [1, 2, 3])
    np.testing.assert_array_equal(found.distances[0], [1, 1, 1])
    np.testing.assert_array_equal(found.distances[1], [1, 1, 2])
    every = pt.pairwise_distances(x, metric="cosine")
    np.testing.assert_array_equal(every, [[0, 1, 1, 1], [1, 0, 1, 2], [1, 1, 0, 1], [1, 2, 1, 0]])


def expected_neighbours(values, admissible, k):
    """Indices by (value, index) among the admissible, −1 for what is missing."""
    out = np.full((len(values), k), -1)
    for i, row in enumerate(values):
        order = [j for j in np.argsort(row, kind="stable") if admissible[i, j]][:k]
        out[i, : len(order)] = order
    return out


def predicate_cases(n, m, rng):
    groups = rng.integers(3, size=n), rng.integers(3, size=m)
    names = np.array(["a", "bb", "ccc"])
    times = rng.integers(6, size=n), rng.integers(6, size=m)
    same = groups[0][:, None] == groups[1]
    earlier = times[1] <= times[0][:, None]
    mask = rng.random(m) < 0.4
    grouped = {"query_groups": groups[0], "reference_groups": groups[1]}
    timed = {"query_times": times[0], "reference_times": times[1]}
    strings = getattr(np.dtypes, "StringDType", lambda: object)()  # NumPy 2 has it
    named = {
        "query_groups": names[groups[0]].astype(strings),
        "reference_groups": names[groups[1]].tolist(),
    }
    return {
        "same": ({**grouped, "group_rule": "same"}, same),
        "different": ({**grouped, "group_rule": "different"}, ~same),
        "strings": ({**named, "group_rule": "same"}, same),
        "times": (timed, earlier),
        "float times": ({name: t + 0.5 for name, t in timed.items()}, earlier),
        "mask": ({"reference_mask": mask}, np.broadcast_to(mask, (n, m))),
        "all": (
            {**grouped, **timed, "group_rule": "different", "reference_mask": mask},
            ~same & earlier & mask,
        ),
        "nobody": ({"reference_mask": np.zeros(m, bool)}, np.zeros((n, m), bool)),
    }


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("case", predicate_cases(1, 1, np.random.default_rng(0)))
def test_predicates(metric, case):
    rng = np.random.default_rng(13)
    x, y = rng.normal(size=(2, 40, 5)).round(1)
    options, admissible = predicate_cases(40, 40, rng)[case]
    found = pt.knn(x, y, 12, **named(metric, x), **options)
    values = pt.pairwise_distances(x, y, **named(metric, x))
    ordered = -values if metric == "inner_product" else values
    right = expected_neighbours(ordered, admissible, 12)
    # Two values may tie after the root where their squares do not.
    same = found.indices == right
    at = np.take_along_axis(ordered, np.maximum(found.indices, 0), axis=1)
    tied = np.isclose(at, np.take_along_axis(ordered, np.maximum(right, 0), axis=1), rtol=1e-15)
    np.testing.assert_array_equal(found.indices < 0, right < 0)
    assert (same | tied).all()
    assert same.mean() > 0.9
    missing = -np.inf if metric == "inner_product" else np.inf
    np.testing.assert_array_equal(found.distances[right < 0], missing)


def test_groups_and_times_default_to_the_queries():
    rng = np.random.default_rng(14)
    x, groups, times = rng.normal(size=(30, 4)), rng.integers(3, size=30), rng.integers(4, size=30)
    found = pt.knn(x, k=4, query_groups=groups, group_rule="different", query_times=times)
    given_twice = pt.knn(
        x,
        k=4,
        query_groups=groups,
        reference_groups=groups,
        group_rule="different",
        query_times=times,
        reference_times=times,
    )
    np.testing.assert_array_equal(found.indices, given_twice.indices)
    kept = found.indices >= 0
    rows = np.broadcast_to(np.arange(30)[:, None], kept.shape)[kept]
    assert (groups[found.indices[kept]] != groups[rows]).all()
    assert (times[found.indices[kept]] <= times[rows]).all()


def test_nanosecond_times_stay_apart():
    """Consecutive stamps of 2⁶² ns are one float64."""
    stamp = 1 << 62
    x = np.zeros((2, 1))
    found = pt.knn(x, x, 1, query_times=[stamp, stamp + 1], reference_times=[stamp + 1, stamp + 2])
    np.testing.assert_array_equal(found.indices, [[-1], [0]])


@pytest.mark.parametrize("first", [0, 1 << 53, (1 << 63) - 2, (1 << 64) - 4])
@pytest.mark.parametrize(
    "dtypes", [("u8", "u8"), ("i8", "u8"), ("u8", "i8"), ("i8", "f8"), ("f8", "u8"), ("f4", "i8")]
)
def test_times_of_any_two_types_stay_apart(dtypes, first):
    def times(dtype):
        if dtype == "i8":
            return np.array([-5, *(min(first + k, (1 << 63) - 1) for k in (2, 0, 3, 1))], np.int64)
        return np.array([first + k for k in (0, 2, 0, 3, 1)], np.uint64).astype(dtype)

    of_queries, of_references = map(times, dtypes)
    x = np.zeros((5, 1))
    found = pt.knn(x, x, 5, query_times=of_queries, reference_times=of_references)
    for i, now in enumerate(of_queries.tolist()):
        admitted = [j for j, time in enumerate(of_references.tolist()) if time <= now]
        np.testing.assert_array_equal(found.indices[i], admitted + [-1] * (5 - len(admitted)))


def test_an_all_equal_set_lists_by_index():
    x = np.full((50, 3), 0.1, np.float32)
    found = pt.knn(x, k=3)
    np.testing.assert_array_equal(found.distances, 0)
    np.testing.assert_array_equal(found.indices[0], [1, 2, 3])
    np.testing.assert_array_equal(found.indices[49], [0, 1, 2])


@pytest.mark.parametrize("metric", FINITE)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("precision", ["default", "float64", "fast"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_with_nan_are_never_neighbours(metric, dtype, precision, value):
    rng = np.random.default_rng(15)
    for d in (3, 20):
        x, y = rng.normal(size=(2, 60, d)).astype(dtype)
        x[5, 1] = value
        bad = [0, 7, 8, 59]
        y[bad, rng.integers(d, size=4)] = value
        y[8] = value
        options = {**named(metric, x), "check_finite": False}
        found = pt.knn(x, y, 60, precision=precision, workers=2, **options)
        assert not np.isin(found.indices, bad).any()
        assert (found.indices[5] == -1).all()
        others = np.delete(found.indices, 5, axis=0)
        assert (np.sum(others < 0, axis=1) == len(bad)).all()
        np.testing.assert_array_equal(
            pt.knn(x[4:7], y, 60, precision=precision, **options).indices, found.indices[4:7]
        )
        assert not np.isnan(found.distances).any()
        only_nan = pt.knn(np.full((3, d), value, dtype), k=2, **options)
        assert (only_nan.indices == -1).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distance_dtype(dtype):
    x = np.random.default_rng(16).normal(size=(20, 5)).astype(np.float32)
    found = pt.knn(x, k=3, distance_dtype=dtype)
    assert found.distances.dtype == np.dtype(dtype)
    right = np.sort(cdist(x.astype(float), x.astype(float)), axis=1)[:, 1:4]
    np.testing.assert_allclose(found.distances, right, rtol=np.finfo(dtype).eps)


def test_k_in_the_thousands():
    rng = np.random.default_rng(17)
    x, y = rng.normal(size=(30, 6)), rng.normal(size=(4000, 6))
    found = pt.knn(x, y, 3000)
    np.testing.assert_array_equal(found.indices, np.argsort(cdist(x, y), axis=1)[:, :3000])


@pytest.mark.parametrize("n", [2, 3, 9, 33])
@pytest.mark.parametrize("d", [2, 20])
def test_every_order_statistic_of_the_distances(n, d):
    """Quantiles that fall on one distance each give all of them, no pair lost or counted twice."""
    x = np.random.default_rng(19).normal(size=(n, d))
    distances = np.sort(pt.pairwise_distances(x)[np.triu_indices(n, 1)])
    ranks = np.unique(np.linspace(0, len(distances) - 1, 36).astype(int))
    found = [
        pt.median_distance(x, quantile=rank / max(1, len(distances) - 1), workers=2)
        for rank in ranks
    ]
    np.testing.assert_allclose(found, distances[ranks], rtol=1e-12)
