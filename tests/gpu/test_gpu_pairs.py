"""Pairs, matches, histograms, ranks and triplets on the GPU: the same bits as on the CPU."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import pairtile as pt
from backends import on_backend
from metrics import FINITE, named

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


@pytest.fixture(params=["screened", "canonical"])
def path(request: Any, cupy: Any, monkeypatch: Any) -> str:
    """Counts by tensor cores, or all by canonical values."""
    from pairtile._backends.cuda import panels

    monkeypatch.setattr(panels, "least_work", 0 if request.param == "screened" else 1 << 60)
    return str(request.param)


def host(value: Any) -> Any:
    return value.get() if hasattr(value, "get") else value


def equal(found: Any, right: Any) -> None:
    """Results of the two, field by field."""
    for mine, wanted in zip(found, right, strict=True):
        mine, wanted = host(mine), host(wanted)
        assert mine.dtype == wanted.dtype
        np.testing.assert_array_equal(mine, wanted)


def clustered(n: int, d: int, metric: str, dtype: str = "float32", seed: int = 0) -> Any:
    """Rows near one another, some the same, a zero row; what the metric takes."""
    rng = np.random.default_rng([seed, n, d])
    centres = rng.normal(size=(max(1, n // 4), d))
    x = centres[rng.integers(len(centres), size=n)] + 0.05 * rng.normal(size=(n, d))
    x[n // 2] = x[0]
    if metric in ("hamming", "jaccard"):
        return rng.integers(0, 4, size=(n, d)).astype(np.uint8)
    x = np.abs(x) if metric in ("braycurtis", "canberra") else x
    x[n // 3] = 0
    if "int" in dtype:
        x *= 20
    return x.astype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)


def threshold_of(x: Any, metric: str, share: float, y: Any = None) -> float:
    """Exactly that of a pair, so that many lie at it or below."""
    values = pt.pairwise_distances(x.astype(np.float64), y, **named(metric, x))
    values = 1.0 - values if metric == "cosine" else values
    if y is None:
        values = values[np.triu_indices(len(x), 1)]
    chosen = float(np.quantile(values[np.isfinite(values)], share, method="nearest"))
    return min(max(chosen, -1.0), 1.0) if metric == "cosine" else chosen


@pytest.mark.parametrize("metric", FINITE)
def test_near_duplicates_of_every_metric(path: str, cupy: Any, metric: str) -> None:
    x = clustered(67, 9, metric)
    share = 0.9 if metric in ("cosine", "inner_product") else 0.1
    options = {"threshold": threshold_of(x, metric, share), **named(metric, x)}
    right = pt.near_duplicates(x, **options)
    assert len(right.i) > 0
    found = pt.near_duplicates(cupy.asarray(x), **options)
    assert isinstance(found.i, cupy.ndarray)
    equal(found, right)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product", "correlation"])
def test_near_duplicates_of_two_sets(path: str, cupy: Any, metric: str) -> None:
    x, y = clustered(40, 33, metric), clustered(129, 33, metric, seed=1)
    y[:7] = x[:7]
    share = 0.97 if metric in ("cosine", "inner_product") else 0.03
    options = {"threshold": threshold_of(x, metric, share, y.astype(np.float64)), "metric": metric}
    right = pt.near_duplicates(x, y, **options)
    assert len(right.i) > 0
    equal(pt.near_duplicates(cupy.asarray(x), cupy.asarray(y), **options), right)


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint8", "float64"])
def test_near_duplicates_of_every_dtype(path: str, cupy: Any, dtype: str) -> None:
    x = clustered(130, 20, "cosine", dtype)
    right = pt.near_duplicates(x, threshold=0.95)
    assert 0 < len(right.i) < 130 * 129 / 2
    equal(pt.near_duplicates(cupy.asarray(x), threshold=0.95), right)


def test_no_pairs_and_nothing_but_pairs(path: str, cupy: Any) -> None:
    x = np.eye(40, dtype=np.float32)
    a = cupy.asarray(x)
    for threshold in (0.5, 1.0):
        found = pt.near_duplicates(a, threshold=threshold)
        equal(found, pt.near_duplicates(x, threshold=threshold))
        assert len(found.i) == 0
    found = pt.near_duplicates(a, metric="euclidean", threshold=0.0)
    assert len(found.i) == 0
    every = pt.near_duplicates(a, threshold=-1.0)
    equal(every, pt.near_duplicates(x, threshold=-1.0))
    assert len(every.i) == 40 * 39 // 2
    one = pt.near_duplicates(a[:1], threshold=0.0)
    assert len(one.i) == 0


@pytest.mark.parametrize("keep", ["first", "medoid", "scores"])
def test_deduplicate(path: str, cupy: Any, keep: str) -> None:
    x = clustered(90, 12, "euclidean")
    rule: Any = np.random.default_rng(0).integers(5, size=90) if keep == "scores" else keep
    options = {"threshold": 0.4, "metric": "euclidean", "keep": rule}
    right = pt.deduplicate(x, **options)
    assert 0 < right.keep.sum() < 90
    found = pt.deduplicate(cupy.asarray(x), **options)
    for mine, wanted in ((found, right), (found.rethreshold(0.2), right.rethreshold(0.2))):
        equal((mine.keep, mine.group), (wanted.keep, wanted.group))
        equal(mine.pairs, wanted.pairs)
    with on_backend("cuda"):  # of host arrays, too
        again = pt.deduplicate(x, **options)
    assert isinstance(again.keep, np.ndarray)
    equal((again.keep, again.group, *again.pairs), (right.keep, right.group, *right.pairs))


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product", "manhattan"])
@pytest.mark.parametrize("count", [1, 40, 300, 66 * 65 // 2])
def test_top_pairs(path: str, cupy: Any, monkeypatch: Any, metric: str, count: int) -> None:
    from pairtile._backends.cuda import duplicates

    monkeypatch.setattr(duplicates, "most_pairs", 500)
    # whole numbers, so that many pairs are equal and only rows tell them apart
    x = np.random.default_rng(1).integers(0, 3, size=(66, 4)).astype(np.float32)
    x[:, 0] += 1
    equal(
        pt.top_pairs(cupy.asarray(x), count, metric=metric), pt.top_pairs(x, count, metric=metric)
    )


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
@pytest.mark.parametrize("far", [2.0, 2.0**39, 1e110, 1e145])
def test_top_pairs_beside_rows_very_far_away(path: str, cupy: Any, metric: str, far: float) -> None:
    rng = np.random.default_rng(0)
    x = 1e-75 * rng.permutation(130)[:, None] * np.array([[1.0, 0.5]])
    x[-1] = -far
    for count in (1, 3, 200):
        found = pt.top_pairs(cupy.asarray(x), count, metric=metric)
        equal(found, pt.top_pairs(x, count, metric=metric))


@pytest.mark.parametrize("step", [1e-170, 1e-150])
def test_top_pairs_of_rows_that_are_almost_parallel(path: str, cupy: Any, step: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((80, 1)) * [[1.0, 0.0, 0.0]]
    x[:, 1:] = step * rng.integers(9, size=(80, 2))
    for count in (1, 30, 900):
        found = pt.top_pairs(cupy.asarray(x), count, metric="cosine")
        equal(found, pt.top_pairs(x, count, metric="cosine"))


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product"])
@pytest.mark.parametrize("earlier_only", [False, True])
def test_max_similarity(path: str, cupy: Any, metric: str, earlier_only: bool) -> None:
    x = clustered(130, 17, metric)
    a = cupy.asarray(x)
    options = {"metric": metric, "earlier_only": earlier_only}
    equal(pt.max_similarity(a, **options), pt.max_similarity(x, **options))
    if not earlier_only:
        y = clustered(33, 17, metric, seed=2)
        equal(
            pt.max_similarity(a, cupy.asarray(y), metric=metric),
            pt.max_similarity(x, y, metric=metric),
        )


@pytest.mark.parametrize("metric", [*FINITE, "nan_euclidean"])
def test_ordered_values_of_neighbours(path: str, cupy: Any, metric: str) -> None:
    """What a search gives in place of distances; NaN where a query has no neighbour."""
    from pairtile._backends import cuda as gpu
    from pairtile._backends import numpy as twin
    from pairtile._front import metrics

    x = clustered(70, 8, metric)
    if metric == "nan_euclidean":
        x[3] = np.nan
    options = named(metric, x)
    measure = metrics.resolve(metric, options.get("metric_params"), x=x)
    given = {
        "dtype": "ordered", "precision": "default", "metric_params": measure.params, "workers": 1,
        "query_groups": np.arange(70) // 69, "reference_groups": np.arange(70) // 69,
        "group_rule": "same",
    }  # fmt: skip
    values, indices = twin.knn(x, None, 2, metric, **given)
    found = gpu.knn(cupy.asarray(x), None, 2, metric, **given)
    np.testing.assert_array_equal(host(found[1]), indices)
    np.testing.assert_array_equal(host(found[0]), values)
    assert np.isnan(values[69]).all()


@pytest.mark.parametrize("shape", [(2, 1), (33, 5), (130, 70)])
@pytest.mark.parametrize("bins", [1, 20, 3000])
def test_similarity_histogram(cupy: Any, shape: Any, bins: int) -> None:
    x = clustered(*shape, "cosine")
    labels = np.random.default_rng(0).integers(1 + len(x) // 8, size=len(x))
    equal(
        pt.similarity_histogram(cupy.asarray(x), labels, bins=bins),
        pt.similarity_histogram(x, labels, bins=bins),
    )


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (40, 40), (130, 33), (33, 300)])
def test_retrieval_metrics(cupy: Any, n: int, m: int, normalize: bool) -> None:
    rng = np.random.default_rng(n)
    # few different rows, so that many are equally near
    x = rng.integers(-1, 2, size=(n, 3)).astype(np.float32)
    y = rng.integers(-1, 2, size=(m, 3)).astype(np.float32)
    options = {"k": (1, 3, 20), "normalize": normalize}
    if n > m or n == 33:
        options["targets"] = rng.integers(m, size=n)
    found = pt.retrieval_metrics(cupy.asarray(x), cupy.asarray(y), **options)
    assert found == pt.retrieval_metrics(x, y, **options)


def test_ranks_of_bad_rows_come_last(cupy: Any) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    y = x.copy()
    y[7, 1] = np.nan
    options: dict[str, Any] = {"check_finite": False}
    found = pt.retrieval_metrics(cupy.asarray(x), cupy.asarray(y), **options)
    assert found == pt.retrieval_metrics(x, y, **options)


@pytest.mark.parametrize("metric", ["sqeuclidean", "cosine", "inner_product"])
@pytest.mark.parametrize(("n", "groups"), [(1, 1), (33, 1), (64, 5), (300, 2), (700, 1), (700, 90)])
def test_the_farthest_of_a_group(
    cupy: Any, monkeypatch: Any, metric: str, n: int, groups: int
) -> None:
    """A pair is computed once for both of its rows, in launches of 256 rows too."""
    from pairtile._backends import cuda as gpu
    from pairtile._backends import numpy as twin
    from pairtile._backends.cuda import embeddings

    rng = np.random.default_rng(n)
    # whole numbers, so that many are equally far
    x = rng.integers(-1, 2, size=(n, 4)).astype(np.float32)
    x[n // 2, 1] = np.nan
    labels = rng.integers(groups, size=n)
    wanted = twin.farthest_of_group(x, metric, labels, workers=1)
    told: list[tuple[int, int]] = []
    for most in (1 << 27, 1):
        monkeypatch.setattr(embeddings, "_COLUMNS", most)
        found = gpu.farthest_of_group(
            cupy.asarray(x), metric, labels, workers=1, progress=lambda *now: told.append(now)
        )
        equal(found, wanted)
    assert len(told) == 1 + -(-n // 256)


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine"])
@pytest.mark.parametrize("mining", ["batch_hard", "semi_hard"])
@pytest.mark.parametrize("normalize", [False, True])
def test_triplet_loss(path: str, cupy: Any, metric: str, mining: str, normalize: bool) -> None:
    x = clustered(67, 9, metric)
    labels = np.random.default_rng(3).integers(9, size=67)
    options = {
        "metric": metric, "mining": mining, "normalize": normalize, "grad": True,
        "soft": metric == "cosine", "weights": np.random.default_rng(4).random(67),
    }  # fmt: skip
    right = pt.triplet_loss(x, labels, **options)
    found = pt.triplet_loss(cupy.asarray(x), labels, **options)
    assert isinstance(found.grad_x, cupy.ndarray)
    assert right.loss > 0
    assert found.loss == right.loss
    equal((found.per_row, found.grad_x), (right.per_row, right.grad_x))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_alignment_and_uniformity(cupy: Any, dtype: str, normalize: bool) -> None:
    x = clustered(70, 9, "euclidean", dtype)
    y = (x + clustered(70, 9, "euclidean", dtype, seed=5)).astype(dtype)
    a, b = cupy.asarray(x), cupy.asarray(y)
    options = {"normalize": normalize, "grad": True}
    found, right = pt.alignment(a, b, **options), pt.alignment(x, y, **options)
    assert found[0] == right[0]
    equal(found[1:], right[1:])
    # the usual sums, those in float64, and the nearest pairs where kernel values vanish
    for t in (2.0, 400.0, 1e5):
        rows = cupy.asarray(x[::4]), x[::4]
        value, gradient = pt.uniformity(rows[0], t=t, **options)
        wanted, expected = pt.uniformity(rows[1].astype(np.float64), t=t, **options)
        assert value == pytest.approx(wanted, rel=1e-6)
        assert gradient.dtype == dtype
        largest = np.abs(expected).max()
        np.testing.assert_allclose(host(gradient), expected, atol=2e-5 * largest)
