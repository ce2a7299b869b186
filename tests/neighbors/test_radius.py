"""Counts and neighbours within a radius, and the distance to the k-th neighbour.

Bit for bit those of the NumPy twin, right by SciPy and scikit-learn. What decides is a pair exactly
at its radius, so most radii here are distances of pairs.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.neighbors import VALID_METRICS, NearestNeighbors

import pairtile as pt
from backends import forced_tile, native_and_twin, on_backend
from metrics import DISTANCES, FINITE, METRICS, by_scipy, named, narrowed, parameters
from pairtile._backends import numpy as twin
from pairtile._front import metrics
from strategies import DTYPES, KINDS, LAYOUTS, SEEDS, cast, pairs_of_sets, point_sets

PLAIN = [metric for metric in DISTANCES if parameters(metric, 1) is None]
# those that scikit-learn computes too
KNOWN = [metric for metric in PLAIN if metric in VALID_METRICS["brute"]]


def right_distances(x, y, metric):
    return by_scipy(x, y, metric)


def as_returned(x, y, metric, dtype):
    """Every distance of these float64 values, rounded once."""
    with np.errstate(over="ignore", under="ignore"):
        return pt.pairwise_distances(x, y, **named(metric, x)).astype(dtype)


def radii_at_pairs(distances, rng):
    """For each row the distance of some pair, a neighbouring float, or a number of its own."""
    n, m = distances.shape
    chosen = distances[np.arange(n), rng.integers(m, size=n)]
    nudged = np.nextafter(chosen, rng.choice([0, np.inf], size=n).astype(chosen.dtype))
    kinds = [chosen, nudged, np.zeros_like(chosen), np.full_like(chosen, np.inf)]
    picks = rng.choice(4, p=[0.7, 0.2, 0.05, 0.05], size=n)
    return np.choose(picks, kinds).astype(chosen.dtype)


def assert_same(native, twin):
    for a, b in zip(native, twin, strict=True):
        if a is None or b is None:
            assert a is b
            continue
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


# --- against the twin ------------------------------------------------------------------------


def both_counts(x, y, metric, query_radii, reference_radii, *, workers=2, **options):
    """All four counts by the seam, native and twin."""
    from pairtile import _native

    measure = metrics.resolve(**named(metric, x), reference=x if y is None else y)
    options |= {"metric_params": measure.params}
    radii = (
        None if radii is None else np.ascontiguousarray(radii)
        for radii in (query_radii, reference_radii)
    )
    call = (x, y, measure.name, *radii)
    native = _native.radius_counts(*call, workers=workers, **options)
    return native, twin.radius_counts(*call, workers=1, **options)


@pytest.mark.native
@pytest.mark.parametrize("metric", DISTANCES)
@given(data=st.data(), sets=pairs_of_sets(), seed=SEEDS)
def test_counts_equal_twin(metric, data, sets, seed):
    """Radii of queries and references at once, which is how precision and recall are counted."""
    x, a, y, b = (narrowed(metric, part) for points in sets for part in points)
    dtype = data.draw(st.sampled_from(["float32", "float64"]), label="dtype")
    closed = data.draw(st.booleans(), label="closed")
    per_reference = data.draw(st.booleans(), label="per reference")
    tile = data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")
    rng = np.random.default_rng(seed)
    every = as_returned(a, b, metric, dtype)
    radii = [radii_at_pairs(every, rng), radii_at_pairs(every.T, rng)]
    missing = data.draw(st.sampled_from([None, 0, 1]), label="not given")
    if missing is not None:
        radii[missing] = None
    with forced_tile(*tile):
        native, twin = both_counts(
            x, y, metric, *radii, closed=closed, dtype=dtype, per_reference=per_reference
        )
    assert_same(native, twin)
    inside = np.less_equal if closed else np.less
    right = []
    for side, of_side in enumerate(radii):
        if of_side is None:
            right += [None, None]
        else:
            within = inside(every, of_side if side else of_side[:, None])
            right += [within.sum(axis=1), within.sum(axis=0) if per_reference else None]
    assert_same(twin, right)


@pytest.mark.native
@pytest.mark.parametrize("metric", DISTANCES)
@given(data=st.data(), points=point_sets(rows=st.integers(1, 70)), seed=SEEDS)
def test_self_join_counts_equal_twin(metric, data, points, seed):
    dtype = data.draw(st.sampled_from(["float32", "float64"]), label="dtype")
    rng = np.random.default_rng(seed)
    x, values = (narrowed(metric, part) for part in points)
    every = as_returned(values, values, metric, dtype)
    radii = radii_at_pairs(every, rng), radii_at_pairs(every, rng)
    for closed in (True, False):
        options = {"closed": closed, "dtype": dtype}
        native, twin = both_counts(x, None, metric, *radii, **options)
        assert_same(native, twin)
        # Each index is left out once on either side.
        assert native[0].sum() == native[1].sum()
        alone, twin = both_counts(x, None, metric, *radii, per_reference=False, **options)
        assert_same(alone, twin)
        assert_same(alone, (native[0], None, native[2], None))


@pytest.mark.native
@pytest.mark.parametrize("metric", DISTANCES)
@given(data=st.data(), sets=pairs_of_sets(rows=st.integers(1, 70)), seed=SEEDS)
def test_neighbours_equal_twin(metric, data, sets, seed):
    x, a, y, b = (narrowed(metric, part) for points in sets for part in points)
    dtype = data.draw(st.sampled_from(["float32", "float64"]), label="dtype")
    closed = data.draw(st.booleans(), label="closed")
    itself = data.draw(st.booleans(), label="self-join")
    tile = data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")
    y, b = (None, a) if itself else (y, b)
    radii = radii_at_pairs(as_returned(a, b, metric, dtype), np.random.default_rng(seed))
    options = {**named(metric, x), "closed": closed, "distance_dtype": dtype}
    with forced_tile(*tile):
        native, twin = native_and_twin(pt.radius_neighbors, x, y, radii, workers=2, **options)
        counts = pt.radius_count(x, y, radii, **options)
    assert_same(native, twin)
    np.testing.assert_array_equal(np.diff(native.indptr), counts)


@pytest.mark.native
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", DISTANCES)
def test_many_pairs_near_their_radius(metric, kind):
    """Radii that the screening arithmetic cannot tell from the distances of most pairs."""
    values = KINDS[kind](np.random.default_rng(1), 620, 11).astype(np.float32)
    x, y = values[:20], values[20:]
    for dtype in ("float32", "float64"):
        every = as_returned(x.astype(np.float64), y.astype(np.float64), metric, dtype)
        radii = np.sort(every, axis=1)[:, 300], np.sort(every, axis=0)[10]
        for closed in (True, False):
            assert_same(*both_counts(x, y, metric, *radii, closed=closed, dtype=dtype))
        assert_same(*native_and_twin(pt.radius_neighbors, x, y, radii[0], **named(metric, x)))


@pytest.mark.native
@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("exponent", [-320, -200, -160, -75, -45, -30, 30, 38, 75, 155, 200, 290])
def test_range_of_floats(metric, exponent):
    """Squares that overflow and vanish, in float64 and in float32."""
    with np.errstate(under="ignore", over="ignore"):
        values = np.random.default_rng(3).normal(size=(90, 9)) * 10.0**exponent
        sets = [values]
        if -46 < exponent < 38:
            sets.append(values.astype(np.float32))
    for points in sets:
        x, y = points[:30], points[30:]
        for dtype in ("float32", "float64"):
            every = as_returned(x.astype(np.float64), y.astype(np.float64), metric, dtype)
            radii = np.sort(every, axis=1)[:, 20], np.sort(every, axis=0)[20]
            for closed in (True, False):
                assert_same(*both_counts(x, y, metric, *radii, closed=closed, dtype=dtype))


@pytest.mark.native
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_layouts(dtype, layout):
    rng = np.random.default_rng(4)
    x, y = (LAYOUTS[layout](cast(4 * rng.normal(size=(n, 7)), dtype)) for n in (40, 90))
    for metric in DISTANCES:
        radius = 0.5 if metric == "cosine" else 9.0
        assert_same(*native_and_twin(pt.radius_neighbors, x, y, radius, **named(metric, x)))
        native, twin = native_and_twin(
            pt.radius_count, x, y, np.full(90, radius), **named(metric, x), radius_of="reference"
        )
        np.testing.assert_array_equal(native, twin)


@pytest.mark.native
@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("d", [3, 70])
def test_workers_make_no_difference(metric, d):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(300, d)), rng.normal(size=(400, d)).astype(np.float32)
    options = named(metric, x)
    radii = pt.kth_distance(x, y, 40, **options), pt.kth_distance(y, x, 30, **options)
    calls = (
        lambda w: pt.radius_neighbors(x, y, radii[0], workers=w, **options),
        lambda w: (pt.radius_count(x, y, radii[0], workers=w, **options),),
        lambda w: (pt.radius_count(x, y, radii[1], radius_of="reference", workers=w, **options),),
        lambda w: (pt.radius_count(y, radius=radii[1], radius_of="reference", workers=w),),
        lambda w: (pt.kth_distance(x, y, (30, 2), workers=w, **options),),
    )
    with on_backend("native"), forced_tile(30, 50):
        for call in calls:
            right = call(1)
            for workers in (2, 3, 7):
                for a, b in zip(call(workers), right, strict=True):
                    assert a.tobytes() == b.tobytes()


# --- against other packages and by definition ------------------------------------------------


@pytest.mark.parametrize("radius_of", ["query", "reference"])
@pytest.mark.parametrize("metric", DISTANCES)
def test_counts_by_brute_force(metric, radius_of):
    """Radii halfway between two distances, where every arithmetic agrees."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(60, 9)), rng.normal(size=(150, 9))
    every = right_distances(x, y, metric)
    axis = 1 if radius_of == "query" else 0
    between = np.sort(every, axis=axis)
    radii = (between.take(19, axis=axis) + between.take(20, axis=axis)) / 2
    right = (every <= (radii[:, None] if radius_of == "query" else radii)).sum(axis=1)
    options = {**named(metric, x), "radius_of": radius_of}
    for closed in (True, False):
        found = pt.radius_count(x, y, radii, closed=closed, **options)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, right)
    if radius_of == "query":
        np.testing.assert_array_equal(right, 20)
    one = float(np.median(every))
    np.testing.assert_array_equal(pt.radius_count(x, y, one, **options), (every <= one).sum(axis=1))


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "manhattan", "chebyshev"])
def test_pairs_exactly_at_the_radius(metric, dtype, closed):
    """Whole numbers, whose distances every arithmetic gets right: a third of the pairs are ties."""
    rng = np.random.default_rng(7)
    x, y = rng.integers(0, 4, size=(50, 4)), rng.integers(0, 4, size=(80, 4))
    every = right_distances(x.astype(float), y.astype(float), metric)
    inside = np.less_equal if closed else np.less
    if dtype != "float64":
        every = every.astype(np.float32)
    for radius in np.unique(every)[::2]:
        assert (every == radius).any()
        right = inside(every, radius)
        options = {"metric": metric, "closed": closed}
        found = pt.radius_count(x.astype(dtype), y.astype(dtype), radius, **options)
        np.testing.assert_array_equal(found, right.sum(axis=1))
        near = pt.radius_neighbors(x.astype(dtype), y.astype(dtype), radius, **options)
        for i in range(50):
            (at,) = np.nonzero(right[i])
            order = np.lexsort((at, every[i, at]))
            part = slice(near.indptr[i], near.indptr[i + 1])
            np.testing.assert_array_equal(near.indices[part], at[order])
            np.testing.assert_array_equal(near.distances[part], every[i, at][order])


@pytest.mark.parametrize("metric", DISTANCES)
def test_counts_agree_with_the_distances_of_knn(metric):
    """A radius that is itself a distance holds that neighbour if closed, and not if open."""
    x = np.random.default_rng(8).normal(size=(70, 12)).astype(np.float32)
    for dtype in ("float32", "float64"):
        options = {**named(metric, x), "distance_dtype": dtype}
        found = pt.knn(x, k=69, **options).distances
        radii = found[:, 9]
        closed = pt.radius_count(x, radius=radii, **options)
        opened = pt.radius_count(x, radius=radii, closed=False, **options)
        np.testing.assert_array_equal(closed, (found <= radii[:, None]).sum(axis=1))
        np.testing.assert_array_equal(opened, (found < radii[:, None]).sum(axis=1))
        assert (closed >= 10).all()
        assert (opened <= 9).all()


def test_radii_are_rounded_like_distances():
    """0.1 is not a float32: the distance and the radius become the same one."""
    x, y = np.zeros((1, 1), np.float32), np.full((1, 1), 0.1, np.float32)
    assert pt.radius_count(x, y, 0.1) == 1
    assert pt.radius_count(x, y, 0.1, closed=False) == 0
    assert pt.radius_count(x, y, 0.1, distance_dtype="float64") == 0
    assert pt.radius_count(x, y, float(np.float32(0.1)), distance_dtype="float64") == 1
    # beyond float32, and below it
    assert pt.radius_count(x, y, 1e300) == 1
    assert pt.radius_count(x, x, 1e-300) == 1
    assert pt.radius_count(x, x, 1e-300, closed=False) == 0
    assert pt.radius_count(x, x.astype(np.float64), 1e-300, closed=False) == 1


@pytest.mark.parametrize("metric", KNOWN)
def test_neighbours_by_scikit_learn(metric):
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(80, 6)), rng.normal(size=(300, 6))
    if metric == "braycurtis":  # scikit-learn divides by the sum of |x| + |y|
        x, y = np.abs(x), np.abs(y)
    radius = float(np.quantile(right_distances(x, y, metric), 0.1))
    peer = NearestNeighbors(metric=metric, algorithm="brute").fit(y)
    distances, indices = peer.radius_neighbors(x, radius, sort_results=True)
    found = pt.radius_neighbors(x, y, radius, metric=metric)
    np.testing.assert_array_equal(np.diff(found.indptr), list(map(len, indices)))
    np.testing.assert_array_equal(found.indices, np.concatenate(indices))
    np.testing.assert_allclose(found.distances, np.concatenate(distances), rtol=1e-9)
    np.testing.assert_array_equal(
        pt.radius_count(x, y, radius, metric=metric), list(map(len, indices))
    )


def test_self_join_by_scikit_learn():
    x = np.random.default_rng(10).normal(size=(200, 3))
    graph = NearestNeighbors(radius=0.8).fit(x).radius_neighbors_graph(mode="distance")
    found = pt.radius_neighbors(x, radius=0.8)
    assert found.indptr.dtype == found.indices.dtype == np.int64
    ours = sparse.csr_array((found.distances, found.indices, found.indptr), shape=(200, 200))
    assert ours.nnz == graph.nnz > 200
    np.testing.assert_allclose(ours.toarray(), graph.toarray(), rtol=1e-12)
    np.testing.assert_array_equal(ours.toarray(), ours.toarray().T)


@pytest.mark.parametrize("metric", DISTANCES)
def test_self_join_excludes_the_index_only(metric):
    points = np.repeat(np.random.default_rng(11).normal(size=(20, 5)), 3, axis=0)
    options = named(metric, points)
    np.testing.assert_array_equal(pt.radius_count(points, radius=0, **options), 2)
    np.testing.assert_array_equal(pt.radius_count(points, radius=0, **options, closed=False), 0)
    np.testing.assert_array_equal(pt.radius_count(points, points, 0, **options), 3)
    np.testing.assert_array_equal(pt.radius_count(points, radius=np.inf, **options), 59)
    found = pt.radius_neighbors(points, radius=0, **options)
    own = np.arange(60)[:, None]
    triple = own // 3 * 3 + np.arange(3)
    np.testing.assert_array_equal(found.indices, triple[triple != own])
    assert (found.distances == 0).all()


def test_nobody_inside():
    x = np.arange(4.0)[:, None]
    for dtype in ("float32", "float64"):
        found = pt.radius_neighbors(x.astype(dtype), radius=0.5)
        assert found.indptr.tolist() == [0, 0, 0, 0, 0]
        assert found.indices.shape == found.distances.shape == (0,)
        assert (found.indices.dtype, found.distances.dtype) == (np.int64, np.dtype(dtype))
    one = pt.radius_neighbors(x[:1], radius=np.inf)
    assert one.indptr.tolist() == [0, 0]
    assert pt.radius_count(x[:1], radius=1.0).tolist() == [0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("metric", [metric for metric in DISTANCES if metric in FINITE])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_with_nan_are_nowhere(metric, dtype, value):
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=(2, 60, 7)).astype(dtype)
    x[5, 1] = y[8, 0] = y[59] = value
    options = {**named(metric, x), "check_finite": False}
    counts = pt.radius_count(x, y, np.inf, **options)
    np.testing.assert_array_equal(counts, np.where(np.arange(60) == 5, 0, 58))
    found = pt.radius_neighbors(x, y, np.inf, **options)
    np.testing.assert_array_equal(np.diff(found.indptr), counts)
    assert not np.isin(found.indices, [8, 59]).any()


@pytest.mark.parametrize(
    "radius", [2, 2.0, np.float32(2), np.full(5, 2), [2.0] * 5, np.full(10, 2.0)[::2]]
)
def test_forms_of_the_radius(radius):
    x = np.arange(5.0)[:, None]
    assert pt.radius_count(x, radius=radius).tolist() == [2, 3, 4, 3, 2]
    assert pt.radius_neighbors(x, radius=radius).indptr.tolist() == [0, 2, 5, 9, 12, 14]


@pytest.mark.oracle("torch")
def test_torch_tensors_stay_torch_tensors():
    import torch

    x = np.random.default_rng(13).normal(size=(30, 4)).astype(np.float32)
    tensor = torch.as_tensor(x)
    radii = pt.kth_distance(x, k=3)
    for function, options in (
        (pt.radius_neighbors, {"radius": torch.as_tensor(radii)}),
        (pt.radius_count, {"radius": torch.as_tensor(radii)}),
        (pt.kth_distance, {"k": (2, 5)}),
    ):
        found = function(tensor, **options)
        parts = found if isinstance(found, tuple) else (found,)
        right = function(x, **options)
        rights = right if isinstance(right, tuple) else (right,)
        for part, expected in zip(parts, rights, strict=True):
            assert isinstance(part, torch.Tensor)
            np.testing.assert_array_equal(part.numpy(), expected)


# --- the distance to the k-th neighbour ------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_kth_distance(metric):
    rng = np.random.default_rng(14)
    x, y = rng.normal(size=(50, 6)).astype(np.float32), rng.normal(size=(80, 6))
    options = named(metric, x)
    every = pt.knn(x, y, 80, **options).distances
    for k in (1, 7, 80, np.int64(3)):
        found = pt.kth_distance(x, y, k, **options)
        assert found.shape == (50,)
        np.testing.assert_array_equal(found, every[:, k - 1])
    for ks in ((5, 1, 80, 5), [2], range(1, 4), np.array([9, 4])):
        found = pt.kth_distance(x, y, ks, **options)
        assert found.shape == (50, len(ks))
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, every[:, np.array(ks) - 1])
    np.testing.assert_array_equal(pt.kth_distance(x, y, **options), every[:, 9])
    own = pt.kth_distance(x, k=[49, 2], **options, distance_dtype="float64")
    assert own.dtype == np.float64
    if metric != "inner_product":
        right = np.sort(right_distances(*2 * [x.astype(np.float64)], metric), axis=1)
        np.testing.assert_allclose(own, right[:, [49, 2]], rtol=1e-9)


def test_kth_distance_takes_the_options_of_knn():
    rng = np.random.default_rng(15)
    x, groups = rng.normal(size=(40, 3)), rng.integers(4, size=40)
    for options in (
        {"query_groups": groups, "group_rule": "different"},
        {"query_times": groups, "precision": "float64"},
        {"reference_mask": groups == 1, "metric": "manhattan"},
    ):
        right = pt.knn(x, k=30, **options).distances
        assert np.isinf(right).any()  # fewer than 30 admissible
        np.testing.assert_array_equal(pt.kth_distance(x, k=(30, 1), **options), right[:, [29, 0]])


# --- what is not taken -----------------------------------------------------------------------

A, B = np.arange(24.0).reshape(6, 4), np.arange(32.0).reshape(8, 4)
NEGATIVE, NAN = np.array([1.0, 2, -0.5, -1, 0, 1]), np.array([1.0, np.nan, 2, -1, 0, 1])
BAD_CALLS = {
    "no radius": (lambda: pt.radius_count(A, B), TypeError, ["radius_count needs radius="]),
    "no radius, neighbours": (
        lambda: pt.radius_neighbors(A),
        TypeError,
        ["radius_neighbors needs radius="],
    ),
    "radius_count(x, 0.5)": (lambda: pt.radius_count(A, 0.5), TypeError, ["write radius=0.5"]),
    "radius_neighbors(x, 2)": (lambda: pt.radius_neighbors(A, 2), TypeError, ["write radius=2"]),
    "negative": (lambda: pt.radius_count(A, B, -1.5), ValueError, ["radius must be 0", "-1.5"]),
    "NaN": (lambda: pt.radius_neighbors(A, B, np.nan), ValueError, ["radius must be 0", "nan"]),
    "first negative": (
        lambda: pt.radius_count(A, B, NEGATIVE),
        ValueError,
        ["radius must be 0 or more, got -0.5 at position 2"],
    ),
    "first NaN": (
        lambda: pt.radius_neighbors(A, B, NAN),
        ValueError,
        ["radius must be 0 or more, got nan at position 1"],
    ),
    "negative below float32": (
        lambda: pt.radius_count(A.astype("f4"), radius=-1e-60),
        ValueError,
        ["radius must be 0 or more", "-1e-60"],
    ),
    "length": (
        lambda: pt.radius_count(A, B, np.ones(8)),
        ValueError,
        ["radius", "(6,), one per row of queries", "(8,)"],
    ),
    "length, of references": (
        lambda: pt.radius_count(A, B, np.ones(6), radius_of="reference"),
        ValueError,
        ["radius", "(8,), one per row of reference", "(6,)"],
    ),
    "length, neighbours": (
        lambda: pt.radius_neighbors(A, B, np.ones(8)),
        ValueError,
        ["(6,), one per row of queries", "(8,)"],
    ),
    "2-D": (lambda: pt.radius_count(A, B, np.ones((6, 8))), ValueError, ["(6,)", "(6, 8)"]),
    "string": (
        lambda: pt.radius_count(A, B, "0.5"),
        TypeError,
        ["radius must hold real numbers", "<U3"],
    ),
    "complex": (
        lambda: pt.radius_count(A, B, 1j),
        TypeError,
        ["radius must hold real numbers", "complex128"],
    ),
    "bool": (
        lambda: pt.radius_count(A, B, True),
        TypeError,
        ["radius must hold real numbers", "bool"],
    ),
    "inner_product": (
        lambda: pt.radius_count(A, B, 1.0, metric="inner_product"),
        ValueError,
        ["'inner_product'", "a distance is needed", "euclidean, sqeuclidean, cosine"],
    ),
    "inner_product, neighbours": (
        lambda: pt.radius_neighbors(A, B, 1.0, metric="inner_product"),
        ValueError,
        ["'inner_product'", "a distance is needed"],
    ),
    "metric": (
        lambda: pt.radius_count(A, B, 1.0, metric="euclid"),
        ValueError,
        ["'euclid'", "euclidean"],
    ),
    "metric_params": (
        lambda: pt.radius_neighbors(A, B, 1.0, metric_params={"p": 3}),
        ValueError,
        ["takes no metric_params", "['p']"],
    ),
    "radius_of": (
        lambda: pt.radius_count(A, B, 1.0, radius_of="queries"),
        ValueError,
        ["radius_of", "'queries'", "query, reference"],
    ),
    "distance_dtype": (
        lambda: pt.radius_count(A, B, 1.0, distance_dtype="float16"),
        ValueError,
        ["distance_dtype", "'float16'"],
    ),
    "kth_distance(x, 5)": (lambda: pt.kth_distance(A, 5), TypeError, ["reference", "k=5"]),
    "no k": (lambda: pt.kth_distance(A, k=[]), ValueError, ["k is an empty sequence"]),
    "k=0 among others": (
        lambda: pt.kth_distance(A, k=(3, 0)),
        ValueError,
        ["k must be at least 1", "0"],
    ),
    "k too large among others": (
        lambda: pt.kth_distance(A, B, k=(3, 9, 1)),
        ValueError,
        ["k=9", "reference has 8 rows"],
    ),
    "k>n-1": (lambda: pt.kth_distance(A, k=6), ValueError, ["k=6", "6 rows", "5 others"]),
    "k of floats": (
        lambda: pt.kth_distance(A, k=[1.0, 2.0]),
        TypeError,
        ["k must be an integer", "1.0"],
    ),
    "groups of x": (
        lambda: pt.kth_distance(A, k=1, query_groups=[1, 2], group_rule="same"),
        ValueError,
        ["query_groups", "(6,), one per row of x", "(2,)"],
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls(name):
    call, error, fragments = BAD_CALLS[name]
    with pytest.raises(error) as caught:
        call()
    for fragment in fragments:
        assert fragment in str(caught.value)
