"""Near-duplicates against loops over all pairs, in float64.

Which numbers are compared, and that they are right, is `test_metrics`; here every pair has the
distance of `pairwise_distances` in float64, and what follows from them is found by plain loops.
"""

import contextlib
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import blocks_of, forced_tile, native_and_twin, on_backend
from metrics import FINITE, named
from pairtile._backends.blocks import neighbors as blocks
from pairtile._front import validate
from strategies import KINDS, SEEDS, cast, point_sets

RNG = np.random.default_rng(7)
SIMILAR = ("cosine", "inner_product")


def similarities(x, metric, y=None):
    """What a threshold is compared with, of every pair."""
    with np.errstate(all="ignore"):
        values = pt.pairwise_distances(
            x.astype(np.float64), None if y is None else y.astype(np.float64), **named(metric, x)
        )
    return 1.0 - values if metric == "cosine" else values


def near(values, metric, threshold):
    return values >= threshold if metric in SIMILAR else values <= threshold


def some_threshold(values, metric, rng):
    """Of the pairs, so that many lie exactly at it, or next to one of theirs."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.5
    chosen = np.quantile(known, rng.random(), method="nearest")
    chosen = rng.choice([chosen, np.nextafter(chosen, -np.inf), np.nextafter(chosen, np.inf)])
    if metric == "cosine":
        return float(np.clip(chosen, -1, 1))
    return float(chosen if metric in SIMILAR else max(chosen, 0.0))


def pairs_by_loops(values, metric, threshold, *, itself=True):
    i, j = np.nonzero(near(values, metric, threshold))
    if itself:
        i, j = i[i < j], j[i < j]
    return i, j, values[i, j]


def kept_in_order(n, order, i, j):
    partners = {row: set() for row in range(n)}
    for a, b in zip(i.tolist(), j.tolist(), strict=True):
        partners[a].add(b)
        partners[b].add(a)
    kept = set()
    for row in order:
        if not partners[row] & kept:
            kept.add(row)
    return np.isin(np.arange(n), list(kept))


def groups_by_search(n, i, j):
    group = np.full(n, -1)
    partners = [[] for _ in range(n)]
    for a, b in zip(i.tolist(), j.tolist(), strict=True):
        partners[a].append(b)
        partners[b].append(a)
    for row in range(n):
        waiting = [row] if group[row] < 0 else []
        while waiting:
            one = waiting.pop()
            if group[one] < 0:
                group[one] = row
                waiting += partners[one]
    return group


def medoids_by_loops(group, distances):
    keep = np.zeros(len(group), bool)
    for one in np.unique(group):
        rows = np.flatnonzero(group == one)
        sums = [math.fsum(distances[a, b] for b in rows if b != a) for a in rows]
        keep[rows[int(np.argmin(sums))]] = True
    return keep


def assert_pairs(found, i, j, similarity):
    assert isinstance(found, pt.NearDuplicates)
    assert [part.dtype for part in found] == [np.int64, np.int64, np.float64]
    np.testing.assert_array_equal(found.i, i)
    np.testing.assert_array_equal(found.j, j)
    np.testing.assert_array_equal(found.similarity, similarity)


@pytest.mark.parametrize("metric", FINITE)
@given(points=point_sets(rows=st.integers(1, 70)), seed=SEEDS, data=st.data())
def test_pairs_are_those_of_loops(metric, points, seed, data):
    x, values = points.array[:, :40], points.values[:, :40]
    every = similarities(values, metric)
    threshold = some_threshold(every, metric, np.random.default_rng(seed))
    found = pt.near_duplicates(x, threshold=threshold, workers=2, **named(metric, x))
    assert_pairs(found, *pairs_by_loops(every, metric, threshold))


@pytest.mark.parametrize("metric", FINITE)
@given(points=point_sets(rows=st.integers(2, 70)), seed=SEEDS)
def test_pairs_of_two_sets(metric, points, seed):
    x, values = points.array[:, :40], points.values[:, :40]
    n = max(1, len(x) // 3)
    every = similarities(values[:n], metric, values[n:])
    threshold = some_threshold(every, metric, np.random.default_rng(seed))
    found = pt.near_duplicates(x[:n], x[n:], threshold=threshold, **named(metric, x))
    assert_pairs(found, *pairs_by_loops(every, metric, threshold, itself=False))


@pytest.mark.native
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product", "correlation"])
def test_many_pairs_near_the_threshold(metric, kind):
    """Thresholds that the screening arithmetic cannot tell from most pairs, on every tile."""
    values = KINDS[kind](np.random.default_rng(1), 420, 17).astype(np.float32)
    every = similarities(values, metric)
    upper = every[np.triu_indices(len(every), 1)]
    for quantile in (0.02, 0.5):
        threshold = float(np.quantile(upper, quantile, method="nearest"))
        threshold = float(np.clip(threshold, -1, 1)) if metric == "cosine" else threshold
        right = pairs_by_loops(every, metric, threshold)
        for tile in ((0, 0), (1, 1), (20, 70)):
            with forced_tile(*tile):
                found = pt.near_duplicates(values, threshold=threshold, metric=metric, workers=2)
            assert_pairs(found, *right)


@pytest.mark.native
@pytest.mark.parametrize(
    "screen",
    ["in_place", "prefix", "prefix_bfloat16", "int8", "int16", "bfloat16", "float32", "float64"],
)
@pytest.mark.parametrize("kind", ["normal", "near_ties", "lattice", "falling_spectrum"])
def test_every_screen_finds_the_same_pairs(kind, screen):
    """Also by radii of their own for each row, and by a bound that falls."""
    from pairtile import _native

    rng = np.random.default_rng(4)
    if kind == "falling_spectrum":
        values = rng.normal(size=(500, 96)) / np.arange(1, 97)
        values[250:] = values[:250] + 0.02 * rng.normal(size=(250, 96))
    else:
        values = KINDS[kind](rng, 500, 96)
    x = values.astype(np.float32)
    radii = rng.choice(pt.kth_distance(x, k=9), size=500)
    for metric in ("cosine", "euclidean", "inner_product"):
        every = similarities(x, metric)
        upper = every[np.triu_indices(500, 1)]
        threshold = float(np.quantile(upper, 0.99 if metric in SIMILAR else 0.01, method="nearest"))
        calls = [
            lambda t=threshold, m=metric: pt.near_duplicates(x, threshold=t, metric=m, workers=2),
            lambda t=threshold, m=metric: pt.near_duplicates(x[:9], x, threshold=t, metric=m),
            lambda m=metric: pt.top_pairs(x, 700, metric=m, workers=2),
            lambda m=metric: pt.max_similarity(x, metric=m, earlier_only=True),
            lambda: pt.radius_neighbors(x, radius=radii, workers=2),
        ]
        for call in calls:
            with on_backend("numpy"):
                right = call()
            _native._testing.set_screen(screen)
            try:
                found = call()
            finally:
                _native._testing.set_screen("")
            for a, b in zip(found, right, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


@pytest.mark.native
@pytest.mark.parametrize("d", [2, 3, 9])
@pytest.mark.parametrize("kind", ["normal", "near_ties", "lattice", "all_equal"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan", "chebyshev"])
def test_skipped_tiles_hold_no_pairs(kind, d, metric):
    from pairtile import _native

    x = KINDS[kind](np.random.default_rng(6), 1500, d).astype(np.float32)
    every = similarities(x, metric)[np.triu_indices(1500, 1)]
    t = float(np.quantile(every, 0.999 if metric in SIMILAR else 0.001, method="nearest"))
    t = min(t, 1.0) if metric == "cosine" else t
    radii = np.random.default_rng(7).choice(pt.kth_distance(x, k=5, metric=metric), size=1500)
    calls = [
        lambda: pt.near_duplicates(x, threshold=t, metric=metric, workers=3),
        lambda: pt.near_duplicates(x[:400], x[300:], threshold=t, metric=metric, workers=2),
        lambda: pt.radius_neighbors(x, radius=radii, metric=metric, workers=3),
        lambda: pt.radius_neighbors(x[:400], x[300:], radii[:400], metric=metric, workers=2),
    ]
    for call in calls:
        found = []
        for skipping in ("always", "never"):
            _native._testing.set_skipping(skipping)
            try:
                found.append(call())
            finally:
                _native._testing.set_skipping("")
        for a, b in zip(*found, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@given(
    points=point_sets(rows=st.integers(1, 60)),
    seed=SEEDS,
    keep=st.sampled_from(["first", "scores", "equal scores", "medoid"]),
    metric=st.sampled_from(["cosine", "euclidean", "inner_product", "manhattan"]),
)
def test_rows_that_are_kept(points, seed, keep, metric):
    x, values = points.array[:, :40], points.values[:, :40]
    n, rng = len(x), np.random.default_rng(seed)
    every = similarities(values, metric)
    threshold = some_threshold(every, metric, rng)
    right = pairs_by_loops(every, metric, threshold)
    group = groups_by_search(n, *right[:2])
    rule = {"scores": rng.normal(size=n), "equal scores": rng.integers(3, size=n)}.get(keep, keep)
    found = pt.deduplicate(x, threshold=threshold, metric=metric, keep=rule)
    assert_pairs(found.pairs, *right)
    assert found.group.dtype == np.int64
    np.testing.assert_array_equal(found.group, group)
    if keep == "medoid":
        apart = -every if metric == "inner_product" else every
        apart = 1.0 - every if metric == "cosine" else apart
        distances = pt.pairwise_distances(values, metric="cosine")
        expected = medoids_by_loops(group, distances if metric == "cosine" else apart)
    else:
        order = np.arange(n) if keep == "first" else sorted(range(n), key=lambda i: -rule[i])
        expected = kept_in_order(n, order, *right[:2])
    assert found.keep.dtype == np.bool_
    np.testing.assert_array_equal(found.keep, expected)


def chain(n):
    """Rows on a line, each within 1 of its neighbours alone."""
    return np.arange(float(n))[:, None]


@pytest.mark.parametrize("n", [1, 2, 3, 1000])
def test_a_chain_is_one_group(n):
    """Long dependencies: row after row decides the next one."""
    found = pt.deduplicate(chain(n), threshold=1.0, metric="euclidean")
    np.testing.assert_array_equal(found.keep, np.arange(n) % 2 == 0)
    np.testing.assert_array_equal(found.group, np.zeros(n))
    back = pt.deduplicate(chain(n), threshold=1.0, metric="euclidean", keep=np.arange(n))
    np.testing.assert_array_equal(back.keep, np.arange(n) % 2 == (n - 1) % 2)
    middle = pt.deduplicate(chain(n), threshold=1.0, metric="euclidean", keep="medoid")
    assert np.flatnonzero(middle.keep).tolist() == [(n - 1) // 2]


@pytest.mark.parametrize(("metric", "kept"), [("euclidean", 2), ("sqeuclidean", 3)])
def test_a_medoid_is_by_the_distance_that_is_named(metric, kept):
    """The median of a line by distances, the row next to its mean by their squares."""
    x = np.array([[0.0], [1.0], [2.0], [3.0], [10.0]])
    found = pt.deduplicate(x, threshold=49.0, metric=metric, keep="medoid")
    assert np.flatnonzero(found.keep).tolist() == [kept]


@pytest.mark.parametrize("keep", ["first", "medoid", "scores"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product"])
def test_rethreshold_is_a_fresh_call(metric, keep):
    x = RNG.normal(size=(150, 5))
    x[100:] = x[:50] + 0.3 * RNG.normal(size=(50, 5))
    rule = RNG.integers(4, size=150) if keep == "scores" else keep
    every = similarities(x, metric)[np.triu_indices(150, 1)]
    loose, strict = np.quantile(every, [0.98, 0.995] if metric in SIMILAR else [0.02, 0.005])
    options = {"metric": metric, "keep": rule}
    found = pt.deduplicate(x, threshold=loose, **options)
    for result in (found, pickle.loads(pickle.dumps(found))):
        for t in (loose, strict):
            again, fresh = result.rethreshold(t), pt.deduplicate(x, threshold=t, **options)
            np.testing.assert_array_equal(again.keep, fresh.keep)
            np.testing.assert_array_equal(again.group, fresh.group)
            assert_pairs(again.pairs, *fresh.pairs)
    assert len(fresh.pairs.i) < len(found.pairs.i)
    looser = np.nextafter(loose, -np.inf if metric in SIMILAR else np.inf)
    with pytest.raises(ValueError, match="is looser than that of this result"):
        found.rethreshold(looser)
    with pytest.raises(ValueError, match="is looser"):  # the new result has a threshold of its own
        again.rethreshold(loose)
    with pytest.raises(TypeError, match="threshold must be a number"):
        found.rethreshold("0.9")


@pytest.mark.parametrize("metric", FINITE)
@given(points=point_sets(rows=st.integers(1, 70)), earlier=st.booleans())
def test_best_matches(metric, points, earlier):
    x, values = points.array[:, :40], points.values[:, :40]
    every = similarities(values, metric)
    missing = -np.inf if metric in SIMILAR else np.inf
    found = pt.max_similarity(x, earlier_only=earlier, workers=2, **named(metric, x))
    assert [part.dtype for part in found] == [np.float64, np.int64]
    # by the canonical distance, which 1 - d rounds
    order = pt.pairwise_distances(values, **named(metric, x))
    order = -order if metric == "inner_product" else order
    for i in range(len(x)):
        others = [j for j in range(i if earlier else len(x)) if j != i]
        if not others:
            assert (found.similarity[i], found.index[i]) == (missing, -1)
            continue
        best = found.index[i]
        assert best in others
        assert order[i, best] == min(order[i, j] for j in others)
        assert found.similarity[i] == every[i, best]


@pytest.mark.native
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product", "canberra"])
@pytest.mark.parametrize("kind", ["normal", "repeated", "lattice", "all_equal"])
@pytest.mark.parametrize("tile", [(0, 0), (1, 1), (20, 70)])
def test_earlier_matches_have_the_bits_of_the_twin(metric, kind, tile):
    x = KINDS[kind](np.random.default_rng(3), 700, 9).astype(np.float32)
    with forced_tile(*tile):
        native, twin = native_and_twin(pt.max_similarity, x, metric=metric, earlier_only=True)
    np.testing.assert_array_equal(native.similarity, twin.similarity)
    np.testing.assert_array_equal(native.index, twin.index)


def test_a_match_is_the_smallest_index_of_copies():
    x = np.repeat(RNG.normal(size=(3, 4)), 3, axis=0)
    assert pt.max_similarity(x).index.tolist() == [1, 0, 0, 4, 3, 3, 7, 6, 6]
    assert pt.max_similarity(x, earlier_only=True).index.tolist()[1:3] == [0, 0]
    np.testing.assert_array_equal(pt.max_similarity(x).similarity, np.ones(9))


@pytest.mark.parametrize("metric", FINITE)
@given(points=point_sets(rows=st.integers(2, 60)), seed=SEEDS)
def test_top_pairs_are_the_first_of_all(metric, points, seed):
    x, values = points.array[:, :40], points.values[:, :40]
    n = len(x)
    count = int(np.random.default_rng(seed).integers(1, n * (n - 1) // 2 + 1))
    found = pt.top_pairs(x, count, workers=2, **named(metric, x))
    i, j = np.triu_indices(n, 1)
    order = pt.pairwise_distances(values, **named(metric, x))[i, j]
    order = -order if metric == "inner_product" else order
    if metric in ("euclidean", "weuclidean", "mahalanobis", "minkowski", "nan_euclidean"):
        # ordered before the root, which may make equal numbers of different ones
        place = {pair: at for at, pair in enumerate(zip(i.tolist(), j.tolist(), strict=True))}
        chosen = [place[pair] for pair in zip(found.i.tolist(), found.j.tolist(), strict=True)]
        assert len(set(chosen)) == count
        np.testing.assert_array_equal(np.sort(order)[:count], order[chosen])
    else:
        first = np.lexsort((j, i, order))[:count]
        np.testing.assert_array_equal(found.i, i[first])
        np.testing.assert_array_equal(found.j, j[first])
    np.testing.assert_array_equal(found.similarity, similarities(values, metric)[found.i, found.j])


@pytest.mark.native
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 300, 20_000])
def test_top_pairs_have_the_bits_of_the_twin(kind, count):
    """On every tile and any number of threads, whose bounds fall at different times."""
    x = KINDS[kind](np.random.default_rng(3), 450, 17).astype(np.float32)
    for metric in ("cosine", "sqeuclidean", "inner_product"):
        native, twin = native_and_twin(pt.top_pairs, x, count, metric=metric, workers=3)
        assert_pairs(native, *twin)
        for tile in ((1, 1), (20, 70)):
            with forced_tile(*tile):
                assert_pairs(pt.top_pairs(x, count, metric=metric, workers=2), *twin)


def test_top_pairs_of_equal_rows():
    """All pairs tie: the first of them count, and no more are looked at than need be."""
    x = np.full((3000, 40), 1.5, np.float32)
    found = pt.top_pairs(x, 4000)
    i, j = np.triu_indices(3000, 1)
    assert_pairs(found, i[:4000], j[:4000], np.ones(4000))


def test_all_rows_equal():
    x = np.full((300, 7), 0.1)
    found = pt.deduplicate(x, threshold=1.0)
    assert len(found.pairs.i) == 300 * 299 // 2
    assert np.flatnonzero(found.keep).tolist() == [0]
    assert np.flatnonzero(pt.deduplicate(x, threshold=1.0, keep="medoid").keep).tolist() == [0]
    scores = RNG.permutation(300)
    kept = pt.deduplicate(x, threshold=1.0, keep=scores).keep
    assert np.flatnonzero(kept).tolist() == [scores.argmax()]


def test_scores_beyond_float64_and_unsigned():
    x = np.ones((3, 2))
    for scores in (
        np.array([2**53, 2**53 + 1, 0]), np.array([0, 255, 3], np.uint8), [False, True, False]
    ):  # fmt: skip
        assert pt.deduplicate(x, keep=scores).keep.tolist() == [False, True, False]


def test_a_single_row():
    x = np.ones((1, 3))
    assert [len(part) for part in pt.near_duplicates(x)] == [0, 0, 0]
    found = pt.deduplicate(x)
    assert (found.keep.tolist(), found.group.tolist()) == ([True], [0])
    for earlier in (False, True):
        assert pt.max_similarity(x, earlier_only=earlier)[0].tolist() == [-np.inf]
    assert pt.max_similarity(x, metric="euclidean")[0].tolist() == [np.inf]
    with pytest.raises(ValueError, match=r"n=1 is too large: 1 rows have 0 pairs"):
        pt.top_pairs(x, 1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_narrow_rows_decide_as_wide_ones(dtype):
    x = cast(KINDS["near_unit_vectors"](np.random.default_rng(0), 300, 64), dtype)
    wide = x.astype(np.float64)
    threshold = float(np.quantile(similarities(wide, "cosine"), 0.6, method="nearest"))
    assert_pairs(
        pt.near_duplicates(x, threshold=threshold), *pt.near_duplicates(wide, threshold=threshold)
    )
    assert_pairs(pt.top_pairs(x, 999), *pt.top_pairs(wide, 999))


class Stored:
    """Rows that are not in memory."""

    def __init__(self, a):
        self.a, self.shape, self.dtype = a, a.shape, a.dtype

    def __getitem__(self, rows):
        return self.a[rows].copy()


@pytest.mark.parametrize("backend", [pytest.param("native", marks=pytest.mark.native), "numpy"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product"])
@pytest.mark.parametrize("cut", [(1, 1), (7, 11), (40, 40), (300, 300)])
def test_stored_rows_have_the_results_of_those_in_memory(backend, metric, cut):
    n = 30 if cut == (1, 1) else 90  # a call per pair
    x = KINDS["repeated"](np.random.default_rng(5), n, 6).astype(np.float32)
    x[n // 2 :] += np.float32(0.1) * RNG.normal(size=(n - n // 2, 6)).astype(np.float32)
    y = x[n // 3 : n - n // 4] * np.float32(1.25)
    every = similarities(x, metric)
    threshold = float(np.quantile(every, 0.9 if metric in SIMILAR else 0.1, method="nearest"))
    calls = [
        lambda x, y: pt.near_duplicates(x, threshold=threshold, metric=metric),
        lambda x, y: pt.near_duplicates(x, y, threshold=threshold, metric=metric),
        lambda x, y: pt.top_pairs(x, 50, metric=metric),
        lambda x, y: pt.top_pairs(x, n * (n - 1) // 2, metric=metric),
        lambda x, y: pt.max_similarity(x, metric=metric),
        lambda x, y: pt.max_similarity(x, y, metric=metric),
        lambda x, y: pt.max_similarity(x, metric=metric, earlier_only=True),
        *(
            lambda x, y, keep=keep: pt.deduplicate(x, threshold=threshold, metric=metric, keep=keep)
            for keep in ("first", "medoid")
        ),
    ]
    with on_backend(backend):
        for call in calls:
            right = call(x, y)
            with blocks_of(*cut):
                found = call(Stored(x), Stored(y))
            for a, b in zip(plain(found), plain(right), strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


def plain(found):
    return [part for one in found for part in (one if isinstance(one, tuple) else [one])]


def test_groups_larger_than_the_memory_are_refused():
    x = np.ones((50_000, 50), np.float32)
    x[:, 0] = np.arange(50_000) // 25_000 * 1000
    stored = Stored(x[::10])
    right = pt.deduplicate(x[::10], threshold=0.99, metric="cosine", keep="medoid")
    limit = 6 << 20
    found = pt.deduplicate(stored, threshold=0.99, keep="medoid")
    np.testing.assert_array_equal(found.keep, right.keep)
    rows = validate.matrix("x", Stored(x), blocks=True)
    with pytest.raises(ValueError, match="the largest group has 40000 rows"):
        blocks.group_medoids(
            rows, "cosine", np.array([0, 40_000]), np.arange(40_000), workers=1, memory_limit=limit
        )


@pytest.mark.oracle("torch")
def test_tensors_in_tensors_out():
    import torch

    x = RNG.normal(size=(40, 3))
    x[20:] = x[:20]
    t = torch.from_numpy(x)
    found, right = pt.deduplicate(t), pt.deduplicate(x)
    assert found.keep.dtype == torch.bool
    assert torch.equal(t[found.keep], torch.from_numpy(x[right.keep]))
    stricter = found.rethreshold(1.0)
    assert isinstance(stricter.pairs.similarity, torch.Tensor)
    assert isinstance(pt.max_similarity(t).index, torch.Tensor)
    assert isinstance(pt.top_pairs(t, 3).i, torch.Tensor)


BAD = {
    "a percentage": (lambda x: pt.near_duplicates(x, threshold=95), ValueError, "threshold must"),
    "a negative distance": (
        lambda x: pt.near_duplicates(x, threshold=-0.5, metric="euclidean"),
        ValueError,
        "threshold must be finite, >= 0",
    ),
    "NaN": (lambda x: pt.deduplicate(x, threshold=math.nan), ValueError, "must be finite"),
    "text": (lambda x: pt.deduplicate(x, threshold="high"), TypeError, "must be a number"),
    "another rule": (lambda x: pt.deduplicate(x, keep="last"), ValueError, "unknown keep 'last'"),
    "scores of text": (
        lambda x: pt.deduplicate(x, keep=["a"] * len(x)), TypeError, "keep must be 'first', "
    ),
    "too few scores": (
        lambda x: pt.deduplicate(x, keep=np.ones(3)), ValueError, r"keep must have shape \(12,\)"
    ),
    "scores with NaN": (
        lambda x: pt.deduplicate(x, keep=[*[0.0] * 11, math.nan]), ValueError, "first bad row is 11"
    ),
    "earlier of a reference": (
        lambda x: pt.max_similarity(x, x, earlier_only=True), ValueError, "takes no reference"
    ),
    "earlier as a number": (
        lambda x: pt.max_similarity(x, earlier_only=1), TypeError, "must be True or False"
    ),
    "no pairs": (lambda x: pt.top_pairs(x, 0), ValueError, "n must be at least 1"),
    "half a pair": (lambda x: pt.top_pairs(x, 1.5), TypeError, "n must be an integer"),
    "more pairs than there are": (
        lambda x: pt.top_pairs(x, 67), ValueError, "n=67 is too large: 12 rows have 66 pairs"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call(np.ones((12, 3)))


def test_missing_values_are_refused():
    x = np.ones((9, 3))
    x[4, 1] = np.nan
    for call in (
        pt.near_duplicates, pt.deduplicate, pt.max_similarity, lambda x: pt.top_pairs(x, 2)
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"x contains NaN or Inf; the first bad row is 4"):
            call(x)
    found = pt.near_duplicates(x, threshold=-1.0, check_finite=False)
    assert 4 not in (*found.i, *found.j)
    assert 4 not in pt.top_pairs(x, 36, check_finite=False).i
    assert len(pt.top_pairs(x, 36, check_finite=False).i) == 28


@pytest.mark.native
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
@pytest.mark.parametrize("uniform", [True, False])
def test_radius_neighbors_of_a_set_with_itself(metric, uniform):
    """Each pair is computed once, by one radius or by those of either row."""
    x = KINDS["near_ties"](np.random.default_rng(2), 900, 20).astype(np.float32)
    every = pt.pairwise_distances(x, metric=metric)
    radius = float(np.quantile(every, 0.05, method="nearest"))
    radii = np.full(900, radius) if uniform else RNG.choice(every[:, 7], size=900)
    np.fill_diagonal(every, np.inf)
    found = pt.radius_neighbors(x, radius=radii, metric=metric, workers=3)
    for i in range(900):
        inside = np.flatnonzero(every[i] <= np.float32(radii[i]))
        mine = found.indices[found.indptr[i] : found.indptr[i + 1]]
        np.testing.assert_array_equal(np.sort(mine), inside)
        distances = found.distances[found.indptr[i] : found.indptr[i + 1]]
        np.testing.assert_array_equal(distances, every[i, mine])
        assert (np.diff(distances) >= 0).all()


# --- the most similar pairs, where tiles are skipped ---------------------------------------------


@contextlib.contextmanager
def tiles_skipped(how="always"):
    from pairtile import _native

    _native._testing.set_skipping(how)
    try:
        yield _native
    finally:
        _native._testing.set_skipping("")


BOUNDED = ("chebyshev", "correlation", "cosine", "euclidean", "mahalanobis", "manhattan")
BOUNDED = (*BOUNDED, "minkowski", "sqeuclidean", "weuclidean")


@pytest.mark.native
@pytest.mark.parametrize("metric", BOUNDED)
@given(data=st.data(), points=point_sets(rows=st.sampled_from([2, 31, 33, 64, 97, 300])))
def test_top_pairs_of_near_tiles_have_the_bits_of_the_twin(metric, data, points):
    x = points.array[:, :40]
    n = len(x)
    most = n * (n - 1) // 2
    count = data.draw(st.one_of(st.integers(1, min(most, 40)), st.just(most)), label="count")
    workers = data.draw(st.integers(1, 3), label="workers")
    with tiles_skipped():
        native, twin = native_and_twin(pt.top_pairs, x, count, workers=workers, **named(metric, x))
    assert_pairs(native, *twin)


@pytest.mark.native
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 300, 20_000])
def test_top_pairs_of_near_tiles(kind, count):
    x = KINDS[kind](np.random.default_rng(3), 450, 5).astype(np.float32)
    for metric in ("cosine", "sqeuclidean", "manhattan"):
        with tiles_skipped("never"):
            plain = pt.top_pairs(x, count, metric=metric)
        with tiles_skipped():
            for workers in (1, 3):
                assert_pairs(pt.top_pairs(x, count, metric=metric, workers=workers), *plain)


@pytest.mark.native
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [1, 40, 300, 1500])
def test_ties_of_one_row_whose_columns_come_last_first(count, workers):
    """All as far from one row, in an order from the last to the first: a tie in the row of the last
    pair so far may still come before it."""
    y = np.stack([np.ones(2000), np.linspace(1, -1, 2000)], axis=1).astype(np.float32)
    call = {"metric_params": None, "workers": workers}
    with tiles_skipped() as native:
        i, j, values = native.nearest_pairs(np.zeros((1, 2)), y, count, "chebyshev", **call)
    np.testing.assert_array_equal(i, np.zeros(count))
    np.testing.assert_array_equal(j, np.arange(count))
    np.testing.assert_array_equal(values, np.ones(count))


@pytest.mark.native
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("count", [1, 300, 1400])
def test_ties_of_many_rows_with_few_others(count, workers):
    """Every pair is of one value, rows come in any order, and that of the last pair that counts is
    beyond all columns."""
    side = np.random.default_rng(2).permutation(np.linspace(-1, 1, 3000))
    x = np.stack([side, np.ones(3000)], axis=1).astype(np.float32)
    call = {"metric_params": None, "workers": workers}
    with tiles_skipped() as native:
        i, j, _ = native.nearest_pairs(x, np.zeros((2, 2)), count, "chebyshev", **call)
    np.testing.assert_array_equal(i, np.arange(count) // 2)
    np.testing.assert_array_equal(j, np.arange(count) % 2)


@pytest.mark.native
@pytest.mark.parametrize(("n", "count"), [(700, 600), (9000, 7000)])
def test_copies_of_early_rows_anywhere(n, count):
    """Of equal pairs the first rows count, which may come late in the order: a place, or the row
    there, says nothing of the pairs of a set with itself. More than 8192 rows: parts of the order
    are sorted in copies, where equal rows are in no order."""
    place = np.random.default_rng(1).integers(3, size=n)
    x = np.array([[0.7, 0.1], [0.2, 0.3], [0.5, 0.9]], np.float32)[place]
    rows, cols = [], []
    for i in range(n):
        later = i + 1 + np.flatnonzero(place[i + 1 :] == place[i])
        rows += [i] * len(later)
        cols += later.tolist()
        if len(rows) >= count:
            break
    for workers in (1, 2):
        with tiles_skipped():
            found = pt.top_pairs(x, count, metric="euclidean", workers=workers)
        assert_pairs(found, rows[:count], cols[:count], np.zeros(count))


@pytest.mark.native
@given(seed=SEEDS, side=st.integers(12, 40), count=st.integers(1, 400))
def test_ties_of_top_pairs_in_any_order(seed, side, count):
    """Rows of a lattice, shuffled: columns of a row come in the order of their nearness, and the
    last pair that counts is one of many of its value and its row."""
    lattice = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    x = np.random.default_rng(seed).permutation(lattice).astype(np.float32) / 3
    with tiles_skipped():
        native, twin = native_and_twin(pt.top_pairs, x, count, metric="euclidean", workers=1)
    assert_pairs(native, *twin)


@pytest.mark.native
@pytest.mark.parametrize(("d", "most"), [(2, 48), (3, 150), (5, 1200)])
def test_top_pairs_compute_few(d, most):
    """Of each row with those near it: a bound that stops falling is right, and useless."""
    x = np.random.default_rng(0).random((20_000, d)).astype(np.float32)
    for count in (1, 100):
        with tiles_skipped() as native:
            computed = native._testing.computed_of_nearest(x, None, count, "euclidean", workers=1)
            assert 16 * len(x) * 0.9 < computed < len(x) * most
            also = native._testing.computed_of_nearest(
                x[::2], x[1::2], count, "euclidean", workers=1
            )
            assert also < len(x) * most
        with tiles_skipped("never") as native:
            every = native._testing.computed_of_nearest(x, None, count, "euclidean", workers=1)
            assert every >= len(x) * (len(x) - 1) // 2


@pytest.mark.native
def test_top_pairs_skip_tiles_where_it_pays():
    from pairtile import _native

    rng = np.random.default_rng(1)
    near, far = rng.random((30_000, 3)), rng.normal(size=(6000, 32))
    assert (
        _native._testing.computed_of_nearest(near, None, 50, "euclidean", workers=2)
        < 0.01 * 30_000**2
    )
    far = far.astype(np.float32)
    assert (
        _native._testing.computed_of_nearest(far, None, 50, "euclidean", workers=2)
        >= 6000 * 5999 // 2
    )
    near[5] = np.nan
    options = {"metric": "euclidean", "check_finite": False}
    with tiles_skipped():
        native, twin = native_and_twin(pt.top_pairs, near[:900], 9, **options)
    assert_pairs(native, *twin)
