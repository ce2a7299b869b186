"""Similarity histograms and retrieval metrics against NumPy, on whole matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile, native_and_twin, on_backend
from strategies import DTYPES, KINDS, LAYOUTS, ROWS, SEEDS, cast, pairs_of_sets, point_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

native = pytest.mark.native
TILES = st.sampled_from([(0, 0), (1, 1), (14, 32), (50, 70)])


def rows_of(n: int, d: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def labels_of(n: int, classes: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed + 1000).integers(classes, size=n)


# --- histograms ---------------------------------------------------------------------------------


def brute_histogram(x: Any, labels: Any, bins: int) -> tuple[Floats, Any, Any]:
    """By np.histogram of the similarities that `pairwise_distances` gives, pair by pair."""
    labels = np.asarray(labels)
    distances = pt.pairwise_distances(x.astype(np.float64), metric="cosine")
    similarities = np.clip(1 - distances, -1, 1)
    i, j = np.triu_indices(len(x), 1)
    same = [
        np.histogram(similarities[i, j][(labels[i] == c) & (labels[j] == c)], bins, (-1, 1))[0]
        for c in np.unique(labels)
    ]
    apart = labels[i] != labels[j]
    different, edges = np.histogram(similarities[i, j][apart], bins, (-1, 1))
    return edges, np.array(same), different


@native
@given(
    points=point_sets(),
    classes=st.sampled_from([1, 2, 5, 300]),
    bins=st.sampled_from([1, 2, 3, 10, 200, 5000]),
    tile=TILES,
    seed=SEEDS,
)
def test_the_histogram_is_numpys(points, classes, bins, tile, seed):
    """Of every kind of data, those whose similarities lie on the edges among them."""
    labels = labels_of(len(points.array), classes, seed)
    with forced_tile(*tile):
        got, twin = native_and_twin(pt.similarity_histogram, points.array, labels, bins=bins)
    edges, same, different = brute_histogram(points.values, labels, bins)
    for found in (got, twin):
        np.testing.assert_array_equal(found.edges, edges)
        np.testing.assert_array_equal(found.same, same)
        np.testing.assert_array_equal(found.different, different)
    assert got.same.dtype == got.different.dtype == np.int64
    n = len(points.array)
    assert got.same.sum() + got.different.sum() == n * (n - 1) // 2


@given(bins=st.integers(1, 400), seed=SEEDS)
def test_similarities_at_the_edges(bins, seed):
    """Pairs of angles whose cosines are the edges themselves, or next to them."""
    edges = np.linspace(-1, 1, bins + 1)
    chosen = np.random.default_rng(seed).choice(edges, size=20)
    x = np.vstack([[[1.0, 0.0]], np.stack([chosen, np.sqrt(1 - chosen**2)], axis=1)])
    labels = np.arange(21) % 3
    _, same, different = pt.similarity_histogram(x, labels, bins=bins)
    _, expected_same, expected_different = brute_histogram(x, labels, bins)
    np.testing.assert_array_equal(same, expected_same)
    np.testing.assert_array_equal(different, expected_different)


def test_a_histogram_by_hand():
    x = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [0.0, 0.0]])
    edges, same, different = pt.similarity_histogram(x, list("bbaba"), bins=4)
    np.testing.assert_array_equal(edges, [-1, -0.5, 0, 0.5, 1])
    # a: rows 2 and 4, the zero row; b: rows 0 and 1 at 1, each with row 3 at -1
    np.testing.assert_array_equal(same, [[0, 0, 1, 0], [2, 0, 0, 1]])
    np.testing.assert_array_equal(different, [0, 0, 6, 0])


def test_counts_beyond_32_bits_are_not_needed_to_see_their_type():
    got = pt.similarity_histogram(rows_of(3000, 3, 1, np.float32), np.zeros(3000, int), bins=1)
    assert got.same.tolist() == [[3000 * 2999 // 2]]
    assert got.different.tolist() == [0]


@pytest.mark.parametrize("labels", [["x"], [3]])
def test_one_row_has_no_pair(labels):
    got = pt.similarity_histogram([[1.0, 2.0]], labels, bins=3)
    assert (got.same.tolist(), got.different.tolist()) == ([[0, 0, 0]], [0, 0, 0])


# --- retrieval ----------------------------------------------------------------------------------


def brute_retrieval(
    scores: Floats, targets: Any, ks: Any
) -> tuple[dict[int, tuple[float, float]], tuple[float, float], tuple[float, float]]:
    """From the order of every row and column; a stable sort lets the smallest index win."""
    n, m = scores.shape
    by_row = np.argsort(-scores, axis=1, kind="stable").argsort(axis=1)[np.arange(n), targets] + 1
    places = np.argsort(-scores, axis=0, kind="stable").argsort(axis=0) + 1
    of_col = [np.sort(places[targets == j, j]) for j in range(m) if (targets == j).any()]
    first = np.array([ranks[0] for ranks in of_col])
    precision = [np.mean(np.arange(1, len(ranks) + 1) / ranks) for ranks in of_col]
    recall = {k: (np.mean(by_row <= k), np.mean(first <= k)) for k in ks}
    reciprocal = np.mean(1 / by_row)
    return recall, (reciprocal, np.mean(1 / first)), (reciprocal, np.mean(precision))


def check(got: pt.Retrieval, expected: Any) -> None:
    recall, mrr, mean = expected
    assert got.recall == {k: pytest.approx(pair, rel=1e-14) for k, pair in recall.items()}
    assert got.mrr == pytest.approx(mrr, rel=1e-12)
    assert got.map == pytest.approx(mean, rel=1e-12)


@native
@given(
    sets=pairs_of_sets(kinds=[kind for kind in KINDS if kind not in ("huge", "tiny")]),
    normalize=st.booleans(),
    tile=TILES,
    seed=SEEDS,
)
def test_retrieval_is_that_of_sorted_scores(sets, normalize, tile, seed):
    x, y = sets
    n, m = len(x.array), len(y.array)
    targets = np.random.default_rng(seed).integers(m, size=n)
    ks = (1, 2, 7, 1000)
    with forced_tile(*tile):
        got, twin = native_and_twin(
            pt.retrieval_metrics, x.array, y.array, k=ks, targets=targets, normalize=normalize
        )
    metric = "cosine" if normalize else "inner_product"
    scores = pt.pairwise_distances(x.values, y.values, metric=metric)
    expected = brute_retrieval(-scores if normalize else scores, targets, ks)
    check(got, expected)
    assert got == twin


@given(n=ROWS, more=st.integers(0, 40), d=st.integers(1, 5), seed=SEEDS)
def test_of_equal_scores_the_smallest_index(n, more, d, seed):
    """On whole numbers nearly everything ties, exactly."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-1, 2, size=(n, d)).astype(np.float32)
    y = rng.integers(-1, 2, size=(n + more, d)).astype(np.float32)
    got = pt.retrieval_metrics(x, y, k=[1, 3])
    check(got, brute_retrieval(x.astype(np.float64) @ y.T, np.arange(n), [1, 3]))


def test_retrieval_by_hand():
    # three captions of two images, and an image that has none
    x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    y = np.array([[1.0, 0.0], [0.1, 1.0], [0.7, 0.7]])
    # scores: [1, .1, .7], [.6, .86, .98], [0, 1, .7]; targets 0, 0, 1
    got = pt.retrieval_metrics(x, y, targets=[0, 0, 1], k=(1, 2))
    # ranks in y: 1, 3, 1; in x: of image 0 its captions are 1st and 2nd, of image 1 1st
    assert got.recall == {1: (pytest.approx(2 / 3), 1.0), 2: (pytest.approx(2 / 3), 1.0)}
    assert got.mrr == (pytest.approx((1 + 1 / 3 + 1) / 3), 1.0)
    assert got.map == (got.mrr[0], 1.0)
    # of one score, the first row is the nearest
    got = pt.retrieval_metrics(np.ones((4, 2)), np.ones((4, 2)), k=2)
    assert got.recall == {2: (0.5, 0.5)}
    assert got.mrr == pytest.approx(((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4,) * 2)


def test_retrieval_of_itself_is_perfect():
    x = rows_of(500, 30, 3, np.float32)
    got = pt.retrieval_metrics(x, x, normalize=True)
    assert got.recall == {1: (1.0, 1.0), 5: (1.0, 1.0), 10: (1.0, 1.0)}
    assert got.mrr == got.map == (1.0, 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_layout(dtype):
    x, y = cast(3 * rows_of(40, 9, 4), dtype), cast(3 * rows_of(50, 9, 5), dtype)
    labels = labels_of(40, 4, 4)
    first = pt.retrieval_metrics(x, y), *pt.similarity_histogram(x, labels)
    assert first[0] == pt.retrieval_metrics(x.astype(np.float64), y.astype(np.float64))
    for layout in LAYOUTS.values():
        assert pt.retrieval_metrics(layout(x), layout(y)) == first[0]
        for got, right in zip(pt.similarity_histogram(layout(x), labels), first[1:], strict=True):
            np.testing.assert_array_equal(got, right)


@native
def test_the_same_counts_on_any_number_of_threads():
    x, y = rows_of(2500, 30, 6, np.float32), rows_of(2600, 30, 7, np.float32)
    labels, targets = labels_of(2500, 30, 6), labels_of(2500, 2600, 7)
    with on_backend("native"):
        first = pt.similarity_histogram(x, labels, workers=1)
        for got, right in zip(pt.similarity_histogram(x, labels, workers=3), first, strict=True):
            np.testing.assert_array_equal(got, right)
        found = pt.retrieval_metrics(x, y, targets=targets, workers=1)
        assert pt.retrieval_metrics(x, y, targets=targets, workers=3) == found


def test_a_bad_row_is_never_a_good_result():
    # check_finite=False: the pairs of a NaN are in no bin, and come last in every ranking
    x, labels = rows_of(12, 3, 8), labels_of(12, 2, 8)
    x[4, 1] = np.nan
    _, same, different = pt.similarity_histogram(x, labels, check_finite=False)
    assert same.sum() + different.sum() == 11 * 10 // 2
    got = pt.retrieval_metrics(x[4:5], rows_of(7, 3, 9), k=6, check_finite=False)
    assert got.recall[6][0] == 0.0
    assert got.mrr[0] == pytest.approx(1 / 7)


@pytest.mark.oracle("torch")
def test_tensors():
    import torch

    x, y = rows_of(20, 3, 10, np.float32), rows_of(20, 3, 11, np.float32)
    labels = labels_of(20, 3, 10)
    found = pt.similarity_histogram(torch.tensor(x), torch.tensor(labels), bins=7)
    for got, right in zip(found, pt.similarity_histogram(x, labels, bins=7), strict=True):
        np.testing.assert_array_equal(got.numpy(), right)
    got = pt.retrieval_metrics(torch.tensor(x), torch.tensor(y))
    assert got == pt.retrieval_metrics(x, y)


X = np.ones((4, 2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pt.similarity_histogram(X, [0, 1]), ValueError, r"labels must have shape \(4,\)"),
        (lambda: pt.similarity_histogram(X, [0] * 4, bins=0), ValueError, "bins must be at least"),
        (lambda: pt.similarity_histogram(X, [0] * 4, bins=2.0), TypeError, "bins must be an int"),
        (lambda: pt.retrieval_metrics(X, X[:3]), ValueError, "x has 4 rows and y has 3"),
        (lambda: pt.retrieval_metrics(X, X, k=0), ValueError, "k must be at least 1"),
        (lambda: pt.retrieval_metrics(X, X, k=()), ValueError, "k is an empty sequence"),
        (lambda: pt.retrieval_metrics(X, X, k=(1, 2.5)), TypeError, "k must be an integer"),
        (lambda: pt.retrieval_metrics(X, X, targets=[0] * 3), ValueError, "targets must have sha"),
        (lambda: pt.retrieval_metrics(X, X, targets=[9] * 4), ValueError, r"targets\[0\] is 9"),
        (lambda: pt.retrieval_metrics(X, X, targets=[0.0] * 4), TypeError, "must be integers"),
        (lambda: pt.retrieval_metrics(X, np.ones((4, 3))), ValueError, "y has 3"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
