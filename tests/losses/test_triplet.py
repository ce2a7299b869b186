"""Triplet losses against float64 formulas, PyTorch, pytorch-metric-learning and differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

import pairtile as pt
from backends import forced_tile, native_and_twin, on_backend
from strategies import DTYPES, FEATURES, LAYOUTS, ROWS, SEEDS, cast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

native = pytest.mark.native
METRICS = ("euclidean", "sqeuclidean", "cosine")
MINING = ("batch_hard", "semi_hard")


def rows_of(n: int, d: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def labels_of(n: int, classes: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed + 1000).integers(classes, size=n)


class Expected(NamedTuple):
    per_row: Floats
    counts: Any
    gradient: Floats
    triplets: list[tuple[int, int, int]]


def unit(x: Floats) -> Floats:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)


def slope_of(z: Floats, i: int, j: int, metric: str) -> Floats:
    """Derivative of d_ij by row i."""
    difference = z[i] - z[j]
    if metric == "sqeuclidean":
        return 2 * difference
    if metric == "cosine":
        return difference
    length = np.linalg.norm(difference)
    return difference / length if length > 0 else 0 * difference


def brute(
    x: Floats,
    labels: Any,
    *,
    margin: float = 0.2,
    mining: str = "batch_hard",
    metric: str = "euclidean",
    soft: bool = False,
    normalize: bool = False,
    upstream: Floats | None = None,
    weights: Floats | None = None,
) -> Expected:
    """Row by row from the whole matrix of distances; np.argmin and np.argmax take the first."""
    n, labels = len(x), np.asarray(labels)
    z = unit(x) if normalize or metric == "cosine" else x
    squares = cdist(z, z, "sqeuclidean")
    if metric == "cosine":
        # a zero row is at distance 1 of all others
        zero = ~z.any(axis=1)
        squares[zero[:, None] | zero] = 2.0
    d = np.sqrt(squares) if metric == "euclidean" else squares / (2 if metric == "cosine" else 1)
    per_row, counts, triplets = np.zeros(n), np.zeros(n, dtype=bool), []
    for i in range(n):
        positives = np.flatnonzero((labels == labels[i]) & (np.arange(n) != i))
        negatives = np.flatnonzero(labels != labels[i])
        if not len(positives) or not len(negatives):
            continue
        counts[i] = True
        if mining == "batch_hard":
            own = [
                (
                    positives[squares[i, positives].argmax()],
                    negatives[squares[i, negatives].argmin()],
                )
            ]
        else:
            own = []
            for p in positives:
                beyond = negatives[squares[i, negatives] > squares[i, p]]
                chosen = (
                    beyond[squares[i, beyond].argmin()]
                    if len(beyond)
                    else negatives[squares[i, negatives].argmax()]
                )
                own.append((p, chosen))
        apart = np.array([d[i, p] - d[i, q] for p, q in own])
        losses = np.logaddexp(0, apart) if soft else np.maximum(apart + margin, 0)
        per_row[i] = losses.mean()
        triplets += [(i, int(p), int(q)) for p, q in own]
    if upstream is not None:
        u = np.where(counts, upstream, 0)
    else:
        u = np.where(counts, 1.0 if weights is None else weights, 0.0)
        u = u / u.sum() if u.any() else u
    by_unit = np.zeros(x.shape)
    share = np.bincount([i for i, _, _ in triplets], minlength=n)
    for i, p, q in triplets:
        apart = d[i, p] - d[i, q]
        slope = 1 / (1 + np.exp(-apart)) if soft else float(apart + margin > 0)
        slope *= u[i] / share[i]
        toward, away = slope_of(z, i, p, metric), slope_of(z, i, q, metric)
        by_unit[i] += slope * (toward - away)
        by_unit[p] -= slope * toward
        by_unit[q] += slope * away
    if z is not x:
        length = np.linalg.norm(x, axis=1, keepdims=True)
        along = np.einsum("ij,ij->i", z, by_unit)[:, None]
        by_unit = np.where(length > 0, (by_unit - along * z) / np.where(length > 0, length, 1), 0)
    return Expected(per_row, counts, by_unit, triplets)


def near(got: Any, expected: Floats, eps: float) -> None:
    """In units of the largest entry."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=eps * max(np.abs(expected).max(), 1e-30))


def check(got: pt.ContrastiveResult, expected: Expected, eps: float) -> None:
    assert got.per_row.dtype == np.float64
    np.testing.assert_allclose(got.per_row, expected.per_row, rtol=1e-12, atol=1e-12)
    near(got.grad_x, expected.gradient, eps)


# --- values and gradients -----------------------------------------------------------------------


@given(
    n=ROWS,
    d=FEATURES,
    classes=st.sampled_from([1, 2, 3, 10, 200]),
    metric=st.sampled_from(METRICS),
    mining=st.sampled_from(MINING),
    soft=st.booleans(),
    normalize=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=SEEDS,
)
def test_the_loss_and_its_gradient_are_their_formulas(
    n, d, classes, metric, mining, soft, normalize, dtype, seed
):
    x, labels = rows_of(n, d, seed, dtype), labels_of(n, classes, seed)
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {
        "metric": metric, "mining": mining, "soft": soft, "normalize": normalize,
        "margin": float(rng.choice([0.0, 0.2, 1.5])),
    }  # fmt: skip
    upstream = rng.normal(size=n)
    got = pt.triplet_loss(x, labels, grad=True, grad_rows=upstream, **options)
    wide = x.astype(np.float64)
    expected = brute(wide, labels, upstream=upstream, **options)
    assert got.grad_x.dtype == np.dtype(dtype)
    check(got, expected, 1e-11 if dtype == "float64" else 1e-6)
    counted = expected.per_row[expected.counts]
    assert got.loss == pytest.approx(counted.mean() if len(counted) else 0.0, rel=1e-12)
    assert all(vars(got)[name] is None for name in vars(got) if name.startswith("lse"))
    without = pt.triplet_loss(x, labels, **options)
    np.testing.assert_array_equal(without.per_row, got.per_row)
    assert without.grad_x is without.grad_weights is None


@given(n=ROWS, d=st.integers(1, 9), mining=st.sampled_from(MINING), seed=SEEDS)
def test_of_equal_distances_the_smallest_index(n, d, mining, seed):
    """On whole numbers nearly everything ties, and the gradient tells who was chosen."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-1, 2, size=(n, d)).astype(np.float64)
    labels, upstream = labels_of(n, 3, seed), rng.normal(size=n)
    options: dict[str, Any] = {"metric": "sqeuclidean", "mining": mining, "margin": 0.5}
    got = pt.triplet_loss(x, labels, grad=True, grad_rows=upstream, **options)
    check(got, brute(x, labels, upstream=upstream, **options), 1e-12)


def test_weights_are_those_of_the_mean():
    x, labels = rows_of(40, 5, 1), labels_of(40, 30, 1)
    weights = np.random.default_rng(1).random(40)
    got = pt.triplet_loss(x, labels, weights=weights, grad=True, margin=2.0)
    expected = brute(x, labels, weights=weights, margin=2.0)
    assert 0 < expected.counts.sum() < 40
    check(got, expected, 1e-12)
    share = np.where(expected.counts, weights, 0)
    assert got.loss == pytest.approx(share @ expected.per_row / share.sum())
    by_weights = np.where(expected.counts, expected.per_row - got.loss, 0) / share.sum()
    np.testing.assert_allclose(got.grad_weights, by_weights, atol=1e-14)


@pytest.mark.oracle("torch")
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("mining", MINING)
def test_gradients_are_pytorchs(mining, metric, soft):
    import torch

    x, labels = 2 * rows_of(60, 7, 2), labels_of(60, 6, 2)
    options: dict[str, Any] = {"mining": mining, "metric": metric, "soft": soft, "margin": 0.7}
    leaf = torch.tensor(x, requires_grad=True)
    z = torch.nn.functional.normalize(leaf) if metric == "cosine" else leaf
    anchor, positive, negative = (
        torch.tensor(part) for part in zip(*brute(x, labels, **options).triplets, strict=True)
    )

    def distance(i, j):
        squares = (z[i] - z[j]).square().sum(dim=1)
        return {"euclidean": squares.sqrt(), "sqeuclidean": squares, "cosine": squares / 2}[metric]

    apart = distance(anchor, positive) - distance(anchor, negative)
    losses = torch.nn.functional.softplus(apart) if soft else (apart + 0.7).clamp(min=0)
    # the mean over triplets of an anchor, then over anchors
    number = torch.bincount(anchor, minlength=60)
    per_row = torch.zeros(60, dtype=torch.float64).index_add(0, anchor, losses / number[anchor])
    loss = per_row[number > 0].mean()
    loss.backward()
    got = pt.triplet_loss(x, labels, grad=True, **options)
    assert got.loss == pytest.approx(loss.item(), rel=1e-12)
    near(got.grad_x, leaf.grad.numpy(), 1e-12)


@pytest.mark.oracle("torch", "pytorch_metric_learning")
def test_batch_hard_is_that_of_pytorch_metric_learning():
    import torch
    from pytorch_metric_learning import distances, losses, miners, reducers

    x, labels = rows_of(120, 16, 3), labels_of(120, 10, 3)
    leaf, classes = torch.tensor(x, requires_grad=True), torch.tensor(labels)
    for normalize in (False, True):
        leaf.grad = None
        distance = distances.LpDistance(normalize_embeddings=normalize)
        loss = losses.TripletMarginLoss(
            margin=0.5, distance=distance, reducer=reducers.MeanReducer()
        )
        triplets = miners.BatchHardMiner(distance=distance)(leaf, classes)
        value = loss(leaf, classes, triplets)
        value.backward()
        got = pt.triplet_loss(x, labels, margin=0.5, normalize=normalize, grad=True)
        assert got.loss == pytest.approx(value.item(), rel=1e-9)
        near(got.grad_x, leaf.grad.numpy(), 1e-9)


def test_semi_hard_is_that_of_facenet():
    # the positive at 2; negatives at 1, 3 and 5: the one at 3 is next beyond
    x = [[0.0], [2.0], [-1.0], [3.0], [5.0]]
    got = pt.triplet_loss(x, [0, 0, 1, 1, 1], mining="semi_hard", margin=2.0)
    assert got.per_row[0] == pytest.approx(2 - 3 + 2)
    # no negative is beyond a positive at 9: the farthest
    x[1] = [9.0]
    got = pt.triplet_loss(x, [0, 0, 1, 1, 1], mining="semi_hard", margin=2.0)
    assert got.per_row[0] == pytest.approx(9 - 5 + 2)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("mining", MINING)
def test_gradients_are_finite_differences(mining, metric, normalize):
    x, labels = rows_of(9, 3, 4), labels_of(9, 3, 4)
    x[2] *= 30  # lengths differ
    w = np.random.default_rng(4).normal(size=9)
    options: dict[str, Any] = {
        "mining": mining, "metric": metric, "normalize": normalize, "soft": True,
    }  # fmt: skip
    got = pt.triplet_loss(x, labels, grad=True, grad_rows=w, **options)
    right = np.empty_like(x)
    for index in np.ndindex(x.shape):
        moved = [x.copy(), x.copy()]
        moved[0][index] += 1e-6
        moved[1][index] -= 1e-6
        above, below = (w @ pt.triplet_loss(m, labels, **options).per_row for m in moved)
        right[index] = (above - below) / 2e-6
    near(got.grad_x, right, 1e-7)


# --- extremes -----------------------------------------------------------------------------------


def test_who_lacks_a_side_leaves_the_mean():
    x = rows_of(6, 3, 5)
    got = pt.triplet_loss(x, list("aabbcd"), margin=5.0, grad=True, grad_rows=np.ones(6))
    assert not got.per_row[4:].any()
    assert got.loss == pytest.approx(got.per_row[:4].mean())
    for labels in ([7] * 6, range(6)):  # one class only; nobody has a positive
        got = pt.triplet_loss(x, labels, margin=5.0, grad=True)
        assert got.loss == 0.0
        assert not got.per_row.any()
        assert not got.grad_x.any()
    got = pt.triplet_loss(x[:1], [0], grad=True)
    assert (got.loss, got.per_row.shape, got.grad_x.shape) == (0.0, (1,), (1, 3))


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("metric", METRICS)
def test_equal_rows_have_no_direction(metric, mining):
    x = np.ones((6, 4))
    got = pt.triplet_loss(x, [0, 0, 0, 1, 1, 1], metric=metric, mining=mining, grad=True)
    np.testing.assert_allclose(got.per_row, 0.2)
    assert not got.grad_x.any()


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("metric", METRICS)
def test_normalize_of_any_lengths_and_zero_rows(metric, mining):
    x, labels = rows_of(30, 5, 6), labels_of(30, 4, 6)
    options: dict[str, Any] = {
        "metric": metric, "mining": mining, "normalize": True, "grad": True, "margin": 0.7,
    }  # fmt: skip
    first = pt.triplet_loss(x, labels, **options)
    lengths = 10.0 ** np.random.default_rng(6).integers(-150, 150, size=(30, 1))
    got = pt.triplet_loss(x * lengths, labels, **options)
    np.testing.assert_allclose(got.per_row, first.per_row, rtol=1e-12)
    np.testing.assert_allclose(got.grad_x * lengths, first.grad_x, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(np.einsum("ij,ij->i", x, first.grad_x), 0, atol=1e-13)
    x[[4, 9]] = 0  # stay zero: they have no direction to move in
    del options["grad"]
    got = pt.triplet_loss(x, labels, grad=True, **options)
    check(got, brute(x, labels, **options), 1e-12)
    assert not got.grad_x[[4, 9]].any()


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("size", [1e-200, 1e-20, 1e20, 1e200])
def test_rows_of_any_size(size, mining):
    x, labels = rows_of(40, 6, 13), labels_of(40, 4, 13)
    options: dict[str, Any] = {"mining": mining, "grad": True}
    got = pt.triplet_loss(x * size, labels, margin=0.5 * size, **options)
    expected = pt.triplet_loss(x, labels, margin=0.5, **options)
    np.testing.assert_allclose(got.per_row / size, expected.per_row, rtol=1e-12)
    near(got.grad_x, expected.grad_x, 1e-12)


def test_rows_far_from_the_origin_keep_their_digits():
    x = rows_of(200, 20, 7)
    labels = labels_of(200, 7, 7)
    shifted = (x + 1e4).astype(np.float32)
    got = pt.triplet_loss(shifted, labels, grad=True)
    check(got, brute(shifted.astype(np.float64), labels), 1e-6)


def test_a_bad_row_is_never_a_good_loss():
    # check_finite=False: a NaN must come out as NaN, not as a number
    x, labels = rows_of(12, 3, 8), labels_of(12, 2, 8)
    x[4, 1] = np.nan
    for mining in MINING:
        got = pt.triplet_loss(x, labels, mining=mining, check_finite=False, grad=True)
        assert np.isnan(got.per_row[4])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mining", MINING)
def test_every_dtype_and_layout(mining, dtype):
    x, labels = cast(3 * rows_of(40, 9, 9), dtype), labels_of(40, 4, 9)
    options: dict[str, Any] = {"mining": mining, "grad": True, "margin": 1.0}
    first = pt.triplet_loss(x, labels, **options)
    check(first, brute(x.astype(np.float64), labels, mining=mining, margin=1.0), 1e-6)
    for layout in LAYOUTS.values():
        got = pt.triplet_loss(layout(x), labels, **options)
        np.testing.assert_array_equal(got.per_row, first.per_row)
        np.testing.assert_array_equal(got.grad_x, first.grad_x)


# --- the engine ---------------------------------------------------------------------------------


@native
@given(
    n=ROWS,
    d=FEATURES,
    classes=st.sampled_from([2, 5, 40]),
    kind=st.sampled_from(["normal", "lattice", "repeated", "offset"]),
    metric=st.sampled_from(METRICS),
    mining=st.sampled_from(MINING),
    dtype=st.sampled_from(["float32", "float64"]),
    tile=st.sampled_from([(0, 0), (1, 1), (14, 32), (50, 70)]),
    seed=SEEDS,
)
def test_the_engine_has_the_bits_of_its_twin(
    n, d, classes, kind, metric, mining, dtype, tile, seed
):
    from strategies import KINDS

    x = KINDS[kind](np.random.default_rng(seed), n, d).astype(dtype)
    with forced_tile(*tile):
        got, twin = native_and_twin(
            pt.triplet_loss, x, labels_of(n, classes, seed), metric=metric, mining=mining, grad=True
        )
    np.testing.assert_array_equal(got.per_row, twin.per_row)
    np.testing.assert_array_equal(got.grad_x, twin.grad_x)


@native
def test_the_same_bits_on_any_number_of_threads():
    x, labels = rows_of(2500, 30, 10, np.float32), labels_of(2500, 30, 10)
    with on_backend("native"):
        for mining in MINING:
            first = pt.triplet_loss(x, labels, mining=mining, grad=True, workers=1)
            again = pt.triplet_loss(x, labels, mining=mining, grad=True, workers=3)
            np.testing.assert_array_equal(first.per_row, again.per_row)
            np.testing.assert_array_equal(first.grad_x, again.grad_x)


@pytest.mark.oracle("torch")
def test_tensors_come_back_as_tensors():
    import torch

    x, labels = rows_of(12, 3, 11, np.float32), labels_of(12, 3, 11)
    right = pt.triplet_loss(x, labels, grad=True)
    got = pt.triplet_loss(torch.tensor(x), torch.tensor(labels), grad=True)
    assert (got.per_row.dtype, got.grad_x.dtype) == (torch.float64, torch.float32)
    np.testing.assert_array_equal(got.per_row.numpy(), right.per_row)
    np.testing.assert_array_equal(got.grad_x.numpy(), right.grad_x)


def test_progress_ends_where_all_is_done():
    x, labels = rows_of(700, 4, 12), labels_of(700, 5, 12)
    for mining in MINING:
        done, total = [], set()

        def report(*at, done=done, total=total):
            done.append(at[0])
            total.add(at[1])

        pt.triplet_loss(x, labels, mining=mining, progress=report)
        assert total == {done[-1]}
        assert done == sorted(done)


X = np.ones((4, 2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pt.triplet_loss(X, [0, 1]), ValueError, r"labels must have shape \(4,\)"),
        (lambda: pt.triplet_loss(X, [0.5] * 4), TypeError, "labels must be integers or strings"),
        (lambda: pt.triplet_loss(X, [0] * 4, mining="all"), ValueError, "unknown mining 'all'"),
        (lambda: pt.triplet_loss(X, [0] * 4, metric="l1"), ValueError, "unknown metric 'l1'"),
        (lambda: pt.triplet_loss(X, [0] * 4, margin=np.inf), ValueError, "margin must be finite"),
        (lambda: pt.triplet_loss(X, [0] * 4, soft="yes"), TypeError, "soft must be True or False"),
        (lambda: pt.triplet_loss(X, [0] * 4, grad_rows=[1] * 4), ValueError, "needs grad=True"),
        (lambda: pt.triplet_loss(X, [0] * 4, weights=[0] * 4), ValueError, "weights sums to 0"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
