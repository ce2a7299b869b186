"""Sets that the device need not hold: the results of whole sets, and how blocks get there."""

import pickle
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import pairtile as pt
from backends import assert_same_bits, blocks_of, on_backend
from gpu_data import data
from pairtile._backends import numpy as twin

pytestmark = pytest.mark.gpu

METRICS = ("euclidean", "sqeuclidean", "cosine", "inner_product", "manhattan")
DTYPES = ("float32", "float64", "float16", "bfloat16", "int8", "uint8")


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


@pytest.fixture
def streaming(cupy: Any) -> Any:
    from pairtile._backends.cuda import streaming

    return streaming


@pytest.fixture
def on_cuda(cupy: Any) -> Iterator[None]:
    with on_backend("cuda"):
        yield


class Stored:
    """Nothing but a shape, a dtype and row slicing."""

    def __init__(self, a: Any) -> None:
        self._a, self.shape, self.dtype = a, a.shape, a.dtype

    def __getitem__(self, rows: slice) -> Any:
        return self._a[rows].copy()


class Held:
    """Most bytes of device memory at a time."""

    def __init__(self, cupy: Any) -> None:
        self.pool = cupy.cuda.MemoryPool()
        self.most = 0

    def __call__(self, size: int) -> Any:
        memory = self.pool.malloc(size)
        self.most = max(self.most, self.pool.used_bytes())
        return memory


@pytest.fixture
def held(cupy: Any) -> Iterator[Held]:
    before = cupy.cuda.get_allocator()
    counted = Held(cupy)
    cupy.cuda.set_allocator(counted)
    yield counted
    cupy.cuda.set_allocator(before)


# --- Neighbours -----------------------------------------------------------------------------------


@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_have_the_bits_of_the_whole(
    streaming: Any, monkeypatch: pytest.MonkeyPatch, dtype: str, metric: str, itself: bool
) -> None:
    monkeypatch.setattr(streaming, "PINNED", 300)  # a few rows
    x = data(70, 5, dtype)
    y = None if itself else data(90, 5, dtype, 1)
    wanted = pt.knn(x, y, 7, metric=metric)
    radius = np.median(pt.kth_distance(x, y, 9, metric=metric))
    stored = Stored(x), None if y is None else Stored(y)
    calls: list[Callable[..., Any]] = [
        lambda *sets: pt.knn(*sets, 7, metric=metric),
        lambda *sets: pt.kth_distance(*sets, (3, 1), metric=metric),
    ]
    if metric != "inner_product":
        calls += [
            lambda *sets: pt.radius_count(*sets, radius, metric=metric),
            lambda *sets: pt.radius_count(*sets, radius, metric=metric, radius_of="reference"),
            lambda *sets: pt.radius_neighbors(*sets, radius, metric=metric),
        ]
    with on_backend("cuda"), blocks_of(33, 33 if itself else 20):
        assert_same_bits(calls[0](*stored), wanted)
    for call in calls[1:]:
        wanted = call(x, y)
        with on_backend("cuda"), blocks_of(33, 33 if itself else 20):
            assert_same_bits(call(*stored), wanted)


@pytest.mark.parametrize("layout", ["file", "columns", "big-endian", "int32", "csr"])
def test_rows_of_any_layout(on_cuda: None, tmp_path: Any, layout: str) -> None:
    x, y = data(40, 6, "float32"), data(70, 6, "float32", 1)
    sets: dict[str, Callable[[], Any]] = {
        "columns": lambda: Stored(np.asfortranarray(y)),
        "big-endian": lambda: Stored(y.astype(">f4")),
        "int32": lambda: Stored((10 * y).astype(np.int32)),
    }
    whole = (10 * y).astype(np.int32) if layout == "int32" else y
    if layout == "file":
        np.save(tmp_path / "y.npy", y)
        given = np.load(tmp_path / "y.npy", mmap_mode="r")
    elif layout == "csr":
        given = pytest.importorskip("scipy.sparse").csr_matrix(y)
    else:
        given = sets[layout]()
    with blocks_of(25, 30):
        found = pt.knn(x, given, 4, metric="cosine")
    with on_backend("auto"):
        assert_same_bits(found, pt.knn(x, whole, 4, metric="cosine"))


def test_predicates_go_with_their_rows(on_cuda: None) -> None:
    x, y = data(60, 4, "float32"), data(80, 4, "float32", 1)
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {
        "query_groups": rng.integers(0, 3, 60), "reference_groups": rng.integers(0, 3, 80),
        "group_rule": "different", "reference_mask": rng.random(80) < 0.5,
        "query_times": rng.integers(0, 9, 60), "reference_times": rng.integers(0, 9, 80),
    }  # fmt: skip
    with blocks_of(17, 23):
        found = pt.knn(Stored(x), Stored(y), 12, **options)
    assert (found.indices < 0).any()
    with on_backend("auto"):
        assert_same_bits(found, pt.knn(x, y, 12, **options))


def test_near_duplicates_and_generated_sets(on_cuda: None) -> None:
    x, y = data(60, 4, "float32"), data(80, 4, "float32", 1)
    calls: list[Callable[[Any, Any], Any]] = [
        lambda a, b: pt.near_duplicates(a, b, threshold=0.9),
        lambda a, _: pt.deduplicate(a, threshold=0.9, keep="medoid").keep,
        lambda a, _: pt.top_pairs(a, 20),
        lambda a, b: pt.max_similarity(a, b),
        lambda a, b: pt.precision_recall_density_coverage(a, b),
        lambda a, b: pt.authenticity(a, b),
        lambda a, b: pt.realism(a, b),
        lambda a, b: pt.distance_to_closest_record(a, b),
    ]
    for call in calls:
        with blocks_of(25, 30):
            found = call(Stored(x), Stored(y))
        with on_backend("auto"):
            assert_same_bits(found, call(x, y))
    with blocks_of(25, 30):
        found = pt.probabilistic_precision_recall(Stored(x), Stored(y))
    assert found == pytest.approx(pt.probabilistic_precision_recall(x, y), rel=1e-11)


@pytest.mark.parametrize("limited", [True, False])
def test_host_arrays_beyond_the_device(
    cupy: Any, streaming: Any, held: Held, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device holds less than the limit and less than the sets, and the result is the same."""
    from pairtile._backends import cuda as backend

    most = 500_000
    if not limited:
        monkeypatch.setattr(backend, "host_room", lambda limit: most)
        monkeypatch.setattr(backend, "block_memory", lambda: (most, most))
    unlimited = [] if limited else [pt.realism]
    more: dict[str, Any] = {"memory_limit": most} if limited else {}
    x, y = data(60, 600, "float32"), data(400, 600, "float32", 1)
    for call in (
        lambda a, b, **m: pt.knn(a, b, 3, **m),
        lambda _, b, **m: pt.knn(b, k=3, **m),
        lambda a, b, **m: pt.radius_count(a, b, 34.0, **m),
        lambda a, b, **m: pt.radius_neighbors(a, b, 33.5, **m),
        *unlimited,
    ):
        wanted = call(x, y)
        held.most = held.pool.used_bytes()
        before = held.most
        with on_backend("cuda"):
            found = call(x, y, **more)
        assert 0 < held.most - before < most < y.nbytes
        assert_same_bits(found, wanted)


def searches_of_index(index: Any, queries: Any, metric: str) -> Iterator[Any]:
    """What every search of an index finds."""
    rows = index.shape[0] if queries is None else len(queries)
    groups = {"query_groups": np.arange(rows) % 3, "group_rule": "different"}
    if queries is not None:
        groups["reference_groups"] = np.arange(index.shape[0]) % 3
    yield index.knn(queries, k=5)
    yield index.knn(queries, k=5, **groups)
    yield index.kth_distance(queries, k=(4, 2))
    if metric != "inner_product":
        radius = np.median(index.kth_distance(queries, k=6))
        yield index.radius_count(queries, radius)
        yield index.radius_count(queries, radius, radius_of="reference", closed=False)
        yield index.radius_neighbors(queries, radius)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product", "braycurtis"])
def test_an_index_of_references_beyond_the_device(
    held: Held, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, metric: Any
) -> None:
    """They stay on the host, whatever is done with the index."""
    from pairtile._backends import cuda as backend

    most = 200_000
    monkeypatch.setattr(backend, "host_room", lambda limit: most)
    monkeypatch.setattr(backend, "block_memory", lambda: (most, most))
    x, y = data(20, 600, "float32"), data(100, 600, "float32", 1)
    before = pt.NeighborIndex(y, metric=metric)
    wanted = [list(searches_of_index(before, queries, metric)) for queries in (x, None)]
    held.most = held.pool.used_bytes()
    start = held.most
    with on_backend("cuda"):
        index = pt.NeighborIndex(y, metric=metric)
        assert held.most == start
        index.save(tmp_path / "index")
        loaded = pt.NeighborIndex.load(tmp_path / "index")
        indices = [loaded, *(pickle.loads(pickle.dumps(one)) for one in (index, loaded))]
        indices.append(pt.NeighborIndex(np.load(_saved(tmp_path, y), mmap_mode="r"), metric=metric))
        found = [list(searches_of_index(index, queries, metric)) for queries in (x, None)]
        same = [one.knn(x, k=5) for one in indices]
        assert index.plan(x, 5).expected_pairs == len(x) * len(y)
    assert start < held.most < start + most < start + y.nbytes
    same.append(index.knn(x, k=5))  # on another backend by now
    for one in same:
        assert_same_bits(one, wanted[0][0])
    for results, expected in zip(found, wanted, strict=True):
        for one, other in zip(results, expected, strict=True):
            assert_same_bits(one, other)


def _saved(folder: Any, y: Any) -> Any:
    np.save(folder / "y.npy", y)
    return folder / "y.npy"


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "braycurtis"])
def test_queries_beyond_the_device_of_an_index_that_it_holds(
    held: Held, monkeypatch: pytest.MonkeyPatch, metric: Any
) -> None:
    from pairtile._backends import cuda as backend

    most = 200_000
    x, y = data(100, 600, "float32"), data(20, 600, "float32", 1)
    wanted = list(searches_of_index(pt.NeighborIndex(y, metric=metric), x, metric))
    with on_backend("cuda"):
        index = pt.NeighborIndex(y, metric=metric)
        monkeypatch.setattr(backend, "host_room", lambda limit: most)
        monkeypatch.setattr(backend, "block_memory", lambda: (most, most))
        start = held.most
        found = list(searches_of_index(index, x, metric))
        assert start < held.most < start + most < start + x.nbytes
    for one, other in zip(found, wanted, strict=True):
        assert_same_bits(one, other)


def test_references_are_looked_at_when_they_are_read(on_cuda: None) -> None:
    x, y = data(30, 400, "float32"), data(90, 400, "float32", 1)
    y[57, 2] = np.nan
    for given in (y, Stored(y)):
        with blocks_of(10, 20), pytest.raises(ValueError, match="first bad row is 57"):
            pt.knn(x, given, 3, memory_limit=200_000)
    with blocks_of(10, 20):  # and what comes after is served
        assert len(pt.knn(x, Stored(y[:50]), 3).indices) == 30


def test_a_limit_too_small_says_what_is_needed(on_cuda: None) -> None:
    x = Stored(data(60, 5, "float32"))
    with pytest.raises(ValueError, match="needs at least") as caught:
        pt.knn(x, k=3, memory_limit=1)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    found = pt.knn(x, k=3, memory_limit=least)
    with on_backend("auto"):
        assert_same_bits(found, pt.knn(x, k=3))


# --- Kernel sums ----------------------------------------------------------------------------------


@pytest.fixture
def small_device(streaming: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[slice]]:
    """A device with room for blocks of so many bytes together, and the rows that went there."""
    from pairtile._backends import cuda as backend

    def shrink(blocks: int) -> list[slice]:
        served: list[slice] = []
        copied = streaming.uploaded
        monkeypatch.setattr(
            streaming, "uploaded", lambda *told: served.extend(told[1]) or copied(*told)
        )
        for module in (streaming, backend):
            monkeypatch.setattr(module, "host_room", lambda limit: 2_000)
        monkeypatch.setattr(streaming, "block_memory", lambda: (blocks, 0))
        monkeypatch.setattr(streaming, "PINNED", 1000)
        return served

    return shrink


def in_blocks(call: Callable[[Any, Any], Any], served: list[slice], x: Any, y: Any) -> Any:
    """What a call finds on the device, where no set was whole; of rows in files the same."""
    served.clear()
    with on_backend("cuda"):
        found = call(x, y)
        assert len(served) > 3
        assert max(rows.stop - rows.start for rows in served) < len(x)
        assert_same_bits(call(Stored(x), Stored(y)), found)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_kernel_sums_beyond_the_device(
    small_device: Callable[[int], list[slice]], dtype: str
) -> None:
    # an eighth is for a block
    served = small_device(80_000 if dtype == "float64" else 40_000)
    x, y = data(300, 16, dtype), data(400, 16, dtype, 1)
    rng = np.random.default_rng(0)
    v, w = rng.random(300), rng.random(400)
    kernel = pt.Gaussian(3.0) + 0.5 * pt.Laplace(2.0)
    calls: list[Callable[[Any, Any], Any]] = [
        lambda a, b: pt.mmd(a, b, kernel=kernel),
        lambda a, b: pt.mmd(a, b, kernel=kernel, x_weights=v, y_weights=w, estimator="biased"),
        lambda a, b: pt.energy_distance(a, b, y_weights=w),
        lambda a, b: pt.kernel_sum(a, b, kernel="linear", x_weights=v, y_weights=w),
        lambda a, _: pt.kernel_sum(a, kernel=kernel, x_weights=v, exclude_diagonal=True),
        lambda a, _: pt.kernel_sum(a, kernel="linear"),
        lambda a, b: pt.witness(b, a, b, kernel=kernel),
        lambda a, b: pt.kernel_matvec(a, b, np.stack([w, w**2], axis=1), kernel=kernel),
        lambda a, b: pt.kernel_logsumexp(a, b, kernel=pt.Gaussian(3.0), log_weights=w),
        lambda a, _: pt.kernel_logsumexp(a, kernel=pt.Gaussian(3.0)),
    ]
    rtol, atol = (1e-11, 1e-13) if dtype == "float64" else (2e-5, 1e-7)
    for call in calls:
        wanted, found = call(x, y), in_blocks(call, served, x, y)
        assert type(found) is type(wanted)
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_gradients_beyond_the_device(
    small_device: Callable[[int], list[slice]], dtype: str, estimator: Any
) -> None:
    x, y = data(150, 8, dtype), data(200, 8, dtype, 1)
    w = np.random.default_rng(0).random(200)
    more: dict[str, Any] = {"estimator": estimator, "y_weights": w, "return_gradient": True}
    calls: list[Callable[[Any, Any], Any]] = [
        lambda a, b: pt.mmd(a, b, kernel=pt.Gaussian(3.0) + 0.5 * pt.Cosine(), **more),
        lambda a, b: pt.mmd(a, b, kernel="polynomial", squared=False, **more),
        lambda a, b: pt.energy_distance(a, b, **more),
    ]
    with on_backend("cuda"):
        wanted = [call(x, y) for call in calls]
    served = small_device(100_000)
    rtol = 1e-12 if dtype == "float64" else 2e-7
    for call, whole in zip(calls, wanted, strict=True):
        found = in_blocks(call, served, x, y)
        for one, other in zip(found, whole, strict=True):
            assert type(one) is type(other)
            np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-13 * np.abs(other).max())


def test_rules_of_bandwidths_read_files(small_device: Callable[[int], list[slice]]) -> None:
    served = small_device(40_000)
    x, y = data(300, 16, "float64"), data(400, 16, "float64", 1)
    for unit in (1.0, 2.0**300):
        for rule in ("median", "mean:alibi", "scale:sklearn"):

            def call(a: Any, b: Any, rule: str = rule) -> Any:
                return pt.witness(a[:30], a, b, kernel=pt.Gaussian(rule))

            found = in_blocks(call, served, unit * x, unit * y)
            np.testing.assert_allclose(found, call(unit * x, unit * y), rtol=1e-10)
        with on_backend("cuda"):
            found = pt.median_distance(Stored(unit * x), Stored(unit * y))
            few = pt.median_distance(Stored(unit * x), exact=False, rng=0)
        assert found == pt.median_distance(unit * x, unit * y)
        assert few == pt.median_distance(unit * x)


def test_rows_of_files_are_looked_at_first(small_device: Callable[[int], list[slice]]) -> None:
    served = small_device(40_000)
    x, y = data(300, 16, "float32"), data(400, 16, "float32", 1)
    y[257, 3] = np.nan
    with on_backend("cuda"):
        for call in (pt.mmd, pt.energy_distance, lambda a, b: pt.median_distance(a, b)):
            with pytest.raises(ValueError, match="y contains NaN or Inf; the first bad row is 257"):
                call(Stored(x), Stored(y))
        assert not served
        assert np.isnan(pt.mmd(Stored(x), Stored(y), kernel=pt.Gaussian(1.0), check_finite=False))


class Readable(Stored):
    """The same of what NumPy can read whole."""

    def __array__(self, *args: Any, **options: Any) -> Any:
        return np.array(self._a)


def test_columns_of_files_are_sorted(small_device: Callable[[int], list[slice]]) -> None:
    small_device(40_000)
    x, y = data(3000, 1, "float32"), data(4000, 1, "float32", 1)
    with on_backend("cuda"):
        found = pt.energy_distance(Readable(x), Readable(y))
    assert found == pt.energy_distance(x, y)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("few", [True, False])
def test_quantiles_beyond_the_device(
    streaming: Any, metric: Any, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bits of the whole; where few keys may be held, cells are counted in several sweeps."""
    from pairtile._backends import cuda as backend
    from pairtile._backends.cuda import quantile

    monkeypatch.setattr(streaming, "host_room", lambda limit: 2_000)
    monkeypatch.setattr(streaming, "block_memory", lambda: (40_000, 0))
    monkeypatch.setattr(quantile, "_SAMPLED_ROWS", 60)
    if few:
        monkeypatch.setattr(quantile, "_KEPT", 500)
        monkeypatch.setattr(quantile, "_SORTED", 100)
    x, y = data(150, 8, "float32"), data(200, 8, "float32", 1)
    for second in (None, y):
        for q in (0.0, 0.1, 0.5, 1.0):
            told = x, second, metric, q, False
            wanted = twin.distance_quantile(*told, workers=1)
            assert backend.distance_quantile(*told, workers=1) == wanted
    reports: list[tuple[int, int]] = []
    with on_backend("cuda"):
        found = pt.mmd(x, y, kernel="gaussian", progress=lambda *now: reports.append(now))
    assert found == pytest.approx(pt.mmd(x, y, kernel="gaussian"), abs=1e-6)
    assert reports == sorted(reports)


# --- Tests and other sums -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relabellings_beyond_the_device(
    small_device: Callable[[int], list[slice]], dtype: str
) -> None:
    """Sums of whole numbers: the bits of the whole."""
    x, y, z = data(150, 8, dtype), data(200, 8, dtype, 1), data(60, 8, dtype, 2)
    more: dict[str, Any] = {"n_permutations": 70, "rng": 0}
    of_groups = {**more, "groups": np.arange(350) // 5}
    several = pt.Gaussian(3.0) + 0.5 * pt.Laplace(2.0) + 0.25 * pt.Cosine()
    calls: list[Callable[[], Any]] = [
        lambda: pt.mmd_test(x, y, kernel=several, **more),
        lambda: pt.mmd_test(x, y, **of_groups),
        lambda: pt.mmd_test(x, y, kernel=pt.Gaussian(3.0), method="gamma"),
        lambda: pt.mmd_test(x, y, kernel=pt.Gaussian(3.0), method="spectrum", **more),
        lambda: pt.energy_test(x, y, **more),
        lambda: pt.disco_test([x, y, z], **more),
        lambda: pt.mmd_aggregated_test(x, y, n_permutations=30, rng=0),
    ]
    with on_backend("cuda"):
        wanted = [call() for call in calls]
        served = small_device(5_000 * x.itemsize)
        for call, whole in zip(calls, wanted, strict=True):
            served.clear()
            found = call()
            assert len(served) > 3
            assert max(rows.stop - rows.start for rows in served) < len(x)
            if getattr(found, "null", "") == "gamma":
                assert found.statistic == pytest.approx(whole.statistic, rel=1e-9)
                assert found.pvalue == pytest.approx(whole.pvalue, rel=1e-9)
                continue
            assert repr(found) == repr(whole)
            if hasattr(found, "null_distribution"):
                assert_same_bits(found.null_distribution, whole.null_distribution)


def test_relabellings_report_what_is_done(small_device: Callable[[int], list[slice]]) -> None:
    x, y = data(150, 8, "float32"), data(200, 8, "float32", 1)
    reports: list[tuple[int, int]] = []
    small_device(80_000)
    with on_backend("cuda"):
        pt.mmd_test(
            x, y, kernel=pt.Gaussian(3.0), n_permutations=20, rng=0,
            progress=lambda *now: reports.append(now),
        )  # fmt: skip
    assert len(reports) > 3
    assert reports == sorted(reports)
    assert reports[-1][0] == reports[-1][1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_and_subsets_beyond_the_device(
    small_device: Callable[[int], list[slice]], dtype: str
) -> None:
    x, y = data(200, 8, dtype), data(200, 8, dtype, 1)
    several = pt.Gaussian(3.0) + 0.25 * pt.Laplace(1.0)
    calls: list[Callable[[], Any]] = [
        lambda: pt.mmd_power(x, y, kernel=pt.Gaussian(3.0)),
        lambda: pt.mmd_power(x, y, kernel=several),
        lambda: pt.mmd(x, y, estimator="block", kernel=pt.Gaussian(3.0)),
        lambda: pt.kid(x, y, subsets=7, subset_size=40, rng=0),
    ]
    with on_backend("cuda"):
        wanted = [call() for call in calls]
        small_device(10_000 * x.itemsize)
        for call, whole in zip(calls, wanted, strict=True):
            np.testing.assert_allclose(call(), whole, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_dependence_beyond_the_device(
    small_device: Callable[[int], list[slice]], dtype: str
) -> None:
    x, y = data(150, 8, dtype), data(150, 5, "float32", 1)
    x[:, :3] += y[:, :3].astype(x.dtype)
    of_kernels: dict[str, Any] = {"x_kernel": pt.Gaussian(2.0), "y_kernel": pt.Laplace(2.0)}
    calls: list[Callable[[], Any]] = [
        lambda: pt.hsic(x, y, **of_kernels),
        lambda: pt.cka(x, y, x_kernel=pt.Gaussian(2.0), y_kernel="cosine"),
        lambda: pt.distance_covariance(x, y),
        lambda: pt.distance_correlation(x, y, estimator="unbiased"),
        lambda: pt.independence_test(x, y, n_permutations=5, rng=0).statistic,
    ]
    with on_backend("cuda"):
        wanted = [call() for call in calls]
        served = small_device(30_000)
        for call, whole in zip(calls, wanted, strict=True):
            served.clear()
            found = call()
            assert len(served) > 3
            assert max(rows.stop - rows.start for rows in served) < len(x)
            assert found == pytest.approx(whole, rel=1e-11)


def test_orders_beyond_the_device(small_device: Callable[[int], list[slice]]) -> None:
    from pairtile._backends import cuda as backend

    x, y = data(90, 8, "float32"), data(90, 5, "float32", 1)
    rng = np.random.default_rng(0)
    orders = np.concatenate([y, y[rng.permutation(90)], y[rng.permutation(90)]])
    terms: list[Any] = [(1.0, "gaussian", (0.2,))], [(1.0, "cosine", ())]
    more = {"x_shift": 0.25, "y_shift": -0.5, "workers": 1}
    wanted = twin.joint_kernel_sums(x, orders, *terms, **more)
    small_device(20_000)
    found = backend.joint_kernel_sums(x, orders, *terms, **more)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stein_kernels_beyond_the_device(
    small_device: Callable[[int], list[slice]], dtype: str
) -> None:
    x = data(290, 6, dtype)
    scores = -1.1 * x
    of_kernel: dict[str, Any] = {"kernel": pt.InverseMultiquadric(2.0) + 0.5 * pt.Gaussian(1.5)}
    calls: list[Callable[[], Any]] = [
        lambda: pt.kernel_stein_discrepancy(x, scores, **of_kernel),
        lambda: pt.kernel_stein_discrepancy(x, scores, estimator="unbiased"),
        lambda: pt.stein_test(x, scores, n_bootstrap=70, rng=0, **of_kernel),
    ]
    with on_backend("cuda"):
        wanted = [call() for call in calls]
        served = small_device(1_500 * 12 * x.itemsize // 2)
        for call, whole in zip(calls, wanted, strict=True):
            served.clear()
            found = call()
            assert len(served) > 3
            assert max(rows.stop - rows.start for rows in served) < len(x)
            if isinstance(found, float):
                assert found == pytest.approx(whole, rel=1e-11)
                continue
            assert (found.statistic, found.pvalue) == pytest.approx(whole[:2], rel=1e-11)
            np.testing.assert_allclose(found.null_distribution, whole.null_distribution, rtol=1e-10)


def test_subsets_go_to_the_device_alone(
    small_device: Callable[[int], list[slice]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairtile._backends.cuda import moments

    x, y = data(2000, 8, "float32"), data(2000, 8, "float32", 1)
    sent: list[int] = []
    rows = moments.Rows
    monkeypatch.setattr(moments, "Rows", lambda a: sent.append(len(a)) or rows(a))
    small_device(12_000)
    with on_backend("cuda"):
        found = pt.kid(x, y, subsets=7, subset_size=40, rng=0)
    assert sent == [80, 80] * 3 + [40, 40]
    assert found == pytest.approx(pt.kid(x, y, subsets=7, subset_size=40, rng=0), rel=1e-5)


# --- Blocks ---------------------------------------------------------------------------------------


class Late:
    """Streams and events of which nothing is done before somebody has to wait for it."""

    def __init__(self, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        late = self
        self.copied = 0  # bytes, on a stream
        stream_of, event_of = cupy.cuda.Stream, cupy.cuda.Event
        fill = cupy.ndarray.set

        class Event(event_of):
            queue: Any = None
            marked = False

            def synchronize(self) -> None:
                if self.queue is not None:
                    late.run(self.queue, self)

        class Stream(stream_of):
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                self.queue: deque[Any] = deque()

            def record(self, event: Any = None) -> Any:
                event = event or Event()
                event.queue = self.queue
                self.queue.append(event)
                return event

            def wait_event(self, event: Any) -> None:
                pass

            def synchronize(self) -> None:
                late.run(self.queue, None)

        def set_later(a: Any, values: Any, stream: Any = None) -> None:
            late.copied += values.nbytes
            stream.queue.append(lambda: fill(a, values))

        now = type(cupy.cuda.get_current_stream())
        monkeypatch.setattr(cupy.cuda, "Stream", Stream)
        monkeypatch.setattr(cupy.cuda, "Event", Event)
        monkeypatch.setattr(cupy.ndarray, "set", set_later)
        monkeypatch.setattr(now, "wait_event", lambda _, event: event.synchronize(), raising=False)

    @staticmethod
    def run(queue: Any, until: Any) -> None:
        """What was queued, up to an event; one that is passed stays passed."""
        if until is not None and until not in queue:
            return
        while queue:
            step = queue.popleft()
            if step is until:
                return
            if callable(step):
                step()


@pytest.mark.parametrize("pinned", [64, 100, 10_000])
def test_copies_may_come_late(
    cupy: Any, streaming: Any, monkeypatch: pytest.MonkeyPatch, pinned: int
) -> None:
    """A buffer is filled again when its copy is done, and a block is used when it is there."""
    monkeypatch.setattr(streaming, "PINNED", pinned)
    late = Late(cupy, monkeypatch)
    x = data(200, 4, "float32")
    parts = [slice(0, 50), slice(50, 100), slice(100, 133), slice(133, 134), slice(150, 200)]
    with closing(streaming.uploaded(lambda rows: x[rows], parts, 4, x.dtype)) as blocks:
        for part, block in zip(parts, blocks, strict=True):
            np.testing.assert_array_equal(block.get(), x[part])
    assert late.copied == 16 * sum(part.stop - part.start for part in parts)


def test_a_block_is_overwritten_after_the_work_on_it(
    cupy: Any, streaming: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copies wait for what was launched before the next block was asked for."""
    told: list[Any] = []
    stream_of = cupy.cuda.Stream

    class Stream(stream_of):
        def wait_event(self, event: Any) -> None:
            told.append(("waits for", event))

    current = cupy.cuda.get_current_stream()
    record = type(current).record

    def recorded(self: Any, event: Any = None) -> Any:
        event = record(self, event)
        if self is current:
            told.append(("work until", event))
        return event

    monkeypatch.setattr(type(current).__mro__[-2], "record", recorded)
    monkeypatch.setattr(cupy.cuda, "Stream", Stream)
    x = data(40, 4, "float32")
    parts = [slice(i, i + 10) for i in range(0, 40, 10)]
    with closing(streaming.uploaded(lambda rows: x[rows], parts, 4, x.dtype)) as blocks:
        for part, _ in zip(parts, blocks, strict=True):
            told.append(("works on", part.start))
    work = [event for what, event in told if what == "work until"]
    waits = [event for what, event in told if what == "waits for"]
    # two that were free from the start, then each after the block before last
    assert waits == work[: len(parts)]
    assert told.index(("works on", 0)) < told.index(("work until", work[2]))
    assert told.index(("works on", 10)) < told.index(("work until", work[3]))


def test_the_next_block_is_read_beside_the_work_on_one(cupy: Any, streaming: Any) -> None:
    import threading

    x = data(30, 4, "float32")
    second = threading.Event()

    def read(rows: slice) -> Any:
        if rows.start == 10:
            second.set()
        return x[rows]

    parts = [slice(i, i + 10) for i in range(0, 30, 10)]
    with closing(streaming.uploaded(read, parts, 4, x.dtype)) as blocks:
        next(blocks)
        assert second.wait(30)  # which nobody has asked for


def test_two_blocks_and_two_buffers_are_held(
    cupy: Any, streaming: Any, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def allocate(size: int) -> Any:
        asked.append(size)
        return bytearray(size)

    monkeypatch.setattr(cupy.cuda, "alloc_pinned_memory", allocate, raising=False)
    x = data(1000, 4, "float32")
    parts = [slice(i, i + 100) for i in range(0, 1000, 100)]
    before = held.pool.used_bytes()
    with closing(streaming.uploaded(lambda rows: x[rows], parts, 4, x.dtype)) as blocks:
        for part, block in zip(parts, blocks, strict=True):
            np.testing.assert_array_equal(block.get(), x[part])
    assert held.most - before <= 2 * 2048  # as CuPy rounds it up
    assert asked == [800, 800]


def test_chunks_are_read_whole(cupy: Any, streaming: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PINNED", 16 * 25)
    x, seen = data(100, 4, "float32"), []

    def read(rows: slice) -> Any:
        seen.append((rows.start, rows.stop))
        return x[rows]

    with closing(streaming.uploaded(read, [slice(0, 100)], 4, x.dtype, 10)) as blocks:
        np.testing.assert_array_equal(next(blocks).get(), x)
    assert seen == [(i, i + 20) for i in range(0, 100, 20)]


def test_errors_of_reading_and_of_work_end_it(cupy: Any, streaming: Any) -> None:
    x = data(40, 4, "float32")
    parts = [slice(i, i + 10) for i in range(0, 40, 10)]

    def read(rows: slice) -> Any:
        if rows.start == 20:
            raise OSError("no such sector")
        return x[rows]

    with pytest.raises(OSError, match="no such sector"):
        for _ in streaming.uploaded(read, parts, 4, x.dtype):
            pass
    blocks = streaming.uploaded(lambda rows: x[rows], parts, 4, x.dtype)
    next(blocks)
    blocks.close()
    assert list(streaming.uploaded(read, [], 4, x.dtype)) == []


def test_bfloat16_is_widened(cupy: Any, streaming: Any) -> None:
    x = data(20, 4, "bfloat16")
    assert streaming.held_as(x.dtype) == np.float32
    found = next(streaming.uploaded(lambda rows: x[rows], [slice(0, 20)], 4, x.dtype))
    np.testing.assert_array_equal(found.get(), x.astype(np.float32))
    assert x.dtype == ml_dtypes.bfloat16
