"""Quantiles of distances on the GPU: the same bits as from all distances sorted."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from gpu_data import data
from pairtile._backends import numpy as twin
from strategies import KINDS, SEEDS, pairs_of_sets

DTYPES = ("float16", "bfloat16", "int8", "uint8", "float32", "float64")
METRICS = (
    "euclidean",
    "sqeuclidean",
    "cosine",
    "inner_product",
    "manhattan",
    "chebyshev",
    "canberra",
    "braycurtis",
)
# Around the tile of 32 rows and 32 features; 600 references are cut into two segments.
SHAPES = [(2, 1, 1), (1, 1, 3), (33, 31, 8), (31, 65, 33), (40, 600, 3)]
QUANTILES = (0.0, 0.05, 0.5, 1 / 3, 0.97, 1.0)


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


@pytest.fixture
def gpu(cupy: Any) -> Any:
    from pairtile._backends import cuda as cuda_backend

    return cuda_backend


@pytest.fixture
def engine(gpu: Any) -> Any:
    from pairtile._backends.cuda import quantile

    return quantile


def all_values(x: Any, y: Any, metric: str) -> Any:
    """The canonical values of all pairs of the pooled rows."""
    pooled = np.concatenate([s.astype(np.float64) for s in (x, y) if s is not None])
    name = "sqeuclidean" if metric == "euclidean" else metric
    with np.errstate(all="ignore"):
        every = twin.pairwise_distances(pooled, None, name, dtype="float64", workers=1)
    return every[np.triu_indices(len(pooled), 1)]


def expected(values: Any, metric: str, q: float, squared: bool) -> float:
    """By NumPy, of values that are all there; those of inner_product come largest first."""
    order = np.sort(-values if metric == "inner_product" else values)
    position = (len(order) - 1) * q
    rank = int(position)
    two = order[[rank, min(rank + 1, len(order) - 1)]]
    if metric == "inner_product":
        two = 0.0 - two
    if metric == "euclidean" and not squared:
        two = np.sqrt(two)
    if metric != "euclidean" and squared:
        with np.errstate(over="ignore"):
            two = two * two
    share = position - rank
    if share == 0:
        two[1] = two[0]
    with np.errstate(invalid="ignore"):  # between two infinities lies NaN
        if two[0] > two[1]:  # which np.quantile would sort
            return 0.0 - float(np.quantile(-two, share))
        return float(np.quantile(two, share))


def check(gpu: Any, x: Any, y: Any, metric: str, quantiles: Any = QUANTILES) -> None:
    values = all_values(x, y, metric)
    for q in quantiles:
        for squared in (False, True):
            found = gpu.distance_quantile(x, y, metric, q, squared, workers=1)
            np.testing.assert_equal(found, expected(values, metric, q, squared))


@pytest.fixture
def little(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Room for few keys, so that small sets take every turn of the search."""

    def shrink(sampled: int, kept: int, at_once: int) -> None:
        monkeypatch.setattr(engine, "_FEW", 16)
        monkeypatch.setattr(engine, "_SAMPLED", sampled)
        monkeypatch.setattr(engine, "_KEPT", kept)
        monkeypatch.setattr(engine, "_SORTED", at_once)

    return shrink


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_quantiles(gpu: Any, metric: str, n: int, m: int, d: int) -> None:
    x, y = data(n, d, "float32"), data(m, d, "float32", 1)
    check(gpu, x, y, metric)
    if n > 1:
        check(gpu, x, None, metric, (0.5,))


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_quantiles_of_every_dtype(gpu: Any, metric: str, dtype: str) -> None:
    x, y = data(40, 17, dtype), data(30, 17, "float64" if dtype == "int8" else dtype, 1)
    check(gpu, x, y, metric, (0.5, 0.9))


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", [(300, 100, 40), (300, 5000, 40), (5000, 100, 40), (40, 3000, 9)])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "canberra"])
def test_a_search_in_many_steps(
    gpu: Any, little: Any, metric: str, sizes: tuple[int, int, int]
) -> None:
    """Too many keys to keep, too many to sort, samples that are good or bad."""
    little(*sizes)
    x, y = data(90, 5, "float32"), data(61, 5, "float32", 1)
    check(gpu, x, y, metric)
    check(gpu, x, None, metric)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(200, 60, 20), (1000, 4000, 20)])
def test_quantiles_of_adversarial_data(
    gpu: Any, little: Any, kind: str, sizes: tuple[int, int, int]
) -> None:
    """Values that are equal, or nearly, or of every scale."""
    little(*sizes)
    x = KINDS[kind](np.random.default_rng(1), 100, 4).astype(np.float32)
    for metric in ("euclidean", "manhattan"):
        check(gpu, x, None, metric)


@pytest.mark.gpu
@given(drawn=st.data(), sets=pairs_of_sets(), seed=SEEDS)
def test_quantiles_of_all_kinds(drawn: st.DataObject, sets: Any, seed: int) -> None:
    from pairtile._backends import cuda as cuda_backend

    x, y = (points.array[:60, :70] for points in sets)
    metric = drawn.draw(st.sampled_from(METRICS), label="metric")
    q = float(np.random.default_rng(seed).random())
    check(cuda_backend, x, y, metric, (q,))


@pytest.mark.gpu
@pytest.mark.parametrize("where", ["below", "above", "one value", "one key"])
def test_a_bracket_that_misses(
    gpu: Any, engine: Any, little: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    little(300, 2000, 20)
    x = data(80, 3, "float64")
    values = np.sort(all_values(x, None, "euclidean"))
    keys = [int(v.view(np.uint64)) | 1 << 63 for v in values]
    bracket = {
        "below": (keys[0], keys[100]),
        "above": (keys[-100], keys[-1]),
        "one value": (keys[500], keys[500]),
        "one key": (keys[500] + 1, keys[500] + 1),
    }[where]
    plain, asked = engine._Search._bracket, []

    def first_misses(self: Any, rank: int, known: Any) -> Any:
        asked.append(known)
        return (*bracket, 100) if known.inside == len(values) else plain(self, rank, known)

    monkeypatch.setattr(engine._Search, "_bracket", first_misses)
    check(gpu, x, None, "euclidean", (0.0, 0.3, 0.5, 1.0))
    for known in asked:  # whatever is known is so
        below, up_to = (
            np.searchsorted(keys, end, s) for end, s in ((known[0], "left"), (known[1], "right"))
        )
        assert (below, up_to - below) == known[2:]


@pytest.mark.gpu
def test_a_sample_of_every_metric_brackets(gpu: Any, engine: Any, little: Any) -> None:
    """The sampled keys are keys of pairs; of rows of both sets."""
    little(4000, 4000, 20)
    x, y = data(40, 9, "float32"), data(30, 9, "float32", 1)
    for metric in METRICS:
        for other in (None, y):
            values = all_values(x, other, metric)
            values = -values if metric == "inner_product" else values
            pairs = engine._Pairs(x, other, metric, None)
            keys = pairs.sample()
            assert pairs.total == len(values)
            assert (keys[:-1] <= keys[1:]).all()
            sampled = engine._values(keys.tolist())
            assert np.isin(sampled, values + 0.0).all()
            assert len(np.unique(sampled)) > 0.1 * len(np.unique(values))


@pytest.mark.gpu
def test_one_sweep_is_enough(gpu: Any, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a rule a bracket holds both order statistics, and there is room for what it holds."""
    monkeypatch.setattr(engine, "_SORTED", 3000)
    x = data(300, 3, "float32")
    sweeps = []
    plain = gpu._cuda.count_distances
    monkeypatch.setattr(
        gpu._cuda, "count_distances", lambda **told: (sweeps.append(told["keys"]), plain(**told))
    )
    check(gpu, x, None, "euclidean", (0.05, 0.5, 0.95))
    assert len(sweeps) == 6  # for d and for d²
    sweeps.clear()
    check(gpu, np.round(x), None, "euclidean", (0.5,))  # many pairs share few values
    assert len(sweeps) <= 4


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
def test_quantiles_of_extreme_rows(gpu: Any, little: Any, metric: str) -> None:
    little(100, 200, 20)
    x = data(40, 9, "float64")
    x[1] *= 1e200
    x[2] *= 1e-200
    x[3] = 5e-324
    x[5, 7] = np.inf
    x[6, 7] = np.inf  # NaN between the two; it comes last
    check(gpu, x, None, metric)


@pytest.mark.gpu
def test_zeros_of_either_sign_are_equal(gpu: Any) -> None:
    x = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])  # products 0 and −0
    assert gpu.distance_quantile(x, None, "inner_product", 0.0, False, workers=1) == 0.0
    check(gpu, x, None, "inner_product")


@pytest.mark.gpu
def test_only_metrics_without_parameters(gpu: Any) -> None:
    x = data(5, 2, "float32")
    for metric in ("minkowski", "mahalanobis", "hamming"):
        with pytest.raises(ValueError, match="no quantile of"):
            gpu.distance_quantile(x, None, metric, 0.5, False, workers=1)


@pytest.mark.gpu
def test_quantiles_in_batches(gpu: Any, little: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def batches(statistic: str, rows: int, *_: int) -> list[tuple[int, int]]:
        return [(first, min(first + 32, rows)) for first in range(0, rows, 32)]

    little(300, 400, 20)
    monkeypatch.setattr(gpu._cuda, "batches", batches)
    check(gpu, data(90, 5, "float32"), data(61, 5, "float32", 1), "euclidean")


@pytest.mark.gpu
def test_public_medians(cupy: Any) -> None:
    x, y = data(90, 5, "float32"), data(70, 5, "float64", 1)
    a, b = cupy.asarray(x), cupy.asarray(y)
    for options in ({}, {"squared": True}, {"quantile": 0.9}):
        assert pt.median_distance(a, **options) == pt.median_distance(x, **options)
        assert pt.median_distance(a, b, **options) == pt.median_distance(x, y, **options)
    many = data(2500, 2, "float32")
    found = pt.median_distance(cupy.asarray(many), exact=False, rng=3)
    assert found == pt.median_distance(many, exact=False, rng=3)
    found = pt.median_distance(cupy.asarray(many[:2000]), cupy.asarray(many), exact=False, rng=3)
    assert found == pt.median_distance(many[:2000], many, exact=False, rng=3)


@pytest.mark.gpu
def test_medians_report_progress_and_can_be_aborted(cupy: Any) -> None:
    x = cupy.asarray(data(100, 4, "float32"))
    told: list[tuple[int, int]] = []
    pt.median_distance(x, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (5000, 5000)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pt.median_distance(x, progress=stop)
    assert pt.median_distance(x) == pt.median_distance(x.get())
