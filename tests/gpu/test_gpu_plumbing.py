"""Limits of memory, errors that say what helps, and calls that are split between devices."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pairtile as pt
from backends import on_backend
from gpu_data import data, list_bytes
from pairtile._backends import numpy as twin

SEARCH: dict[str, Any] = {"dtype": "float32", "precision": "default", "workers": 1}
SHARES = [[0], [0, 0], [0] * 3, [0] * 7]


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


@pytest.fixture
def gpu(cupy: Any) -> Any:
    from pairtile._backends import cuda as cuda_backend

    return cuda_backend


class Held:
    """Most bytes of device memory at a time, beyond those from before."""

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


def same(found: Any, wanted: Any) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(
            a if isinstance(a, np.ndarray) else a.get(), b if isinstance(b, np.ndarray) else b.get()
        )


# --- Limits of memory -----------------------------------------------------------------------------


def test_backend_has_every_function_of_the_seam(gpu: Any) -> None:
    assert set(twin.__all__) <= set(gpu.__all__)
    assert all(callable(getattr(gpu, name)) for name in twin.__all__)


def test_plan_stays_within_a_limit() -> None:
    cuda = pytest.importorskip("pairtile._cuda", exc_type=ImportError)
    for k in (1, 10, 1000):
        least = cuda.workspace("knn", 32, 1, k)
        for limit in (least, least + 1, 7 * least, 1 << 22, 1 << 40):
            if limit < least:
                continue
            for n, m in ((5, 10**6), (10**5, 10**5)):
                first, stop = cuda.batches("knn", n, m, 16, k, limit)[0]
                rows = stop - first
                assert cuda.workspace("knn", rows, m, k, limit) <= min(limit, 1 << 28)
                segments = cuda.segments("knn", rows, m, k, limit)
                assert segments[-1][1] == m
                lists = rows * len(segments)
                assert cuda.workspace("knn", rows, m, k, limit) == lists * list_bytes(k)


GRID = 65_535  # blocks of a launch in any but its first dimension
MANY = [GRID * 32 + 33, 10**8, 10**12]  # references: more tiles of 32 than that


@pytest.mark.parametrize("statistic", ["knn", "sums", "log_sums", "moments", "contraction"])
def test_a_launch_has_no_more_blocks_than_cuda_takes(statistic: str) -> None:
    """The references of the plain sweep are cut into segments, whose blocks are its grid's y."""
    cuda = pytest.importorskip("pairtile._cuda", exc_type=ImportError)
    for m in MANY:
        for n in (1, 33, 5000, 10**6):
            first, stop = cuda.batches(statistic, n, m, 4, 5)[0]
            segments = cuda.segments(statistic, stop - first, m, 5)
            assert len(segments) <= 1024 < GRID
            assert segments[0][0] == 0
            assert segments[-1][1] == m
            assert all(a[1] == b[0] for a, b in itertools.pairwise(segments))


@pytest.mark.gpu
def test_no_more_blocks_of_tensor_cores_either(gpu: Any) -> None:
    for m in (GRID * 128 + 1, 2**31 - 1):
        for n in (1, 300, 10**5):
            for count in ("logit_segments", "tensor_sums_segments", "screened_segments"):
                assert 1 <= getattr(gpu._cuda, count)(n, m) <= GRID


@pytest.mark.gpu
def test_more_tiles_than_a_grid_has_blocks(cupy: Any) -> None:
    x, y = data(1, 1, "float32"), data(MANY[0], 1, "float32", 1)
    same(pt.knn(cupy.asarray(x), cupy.asarray(y), 3), pt.knn(x, y, 3))


@pytest.mark.gpu
@pytest.mark.parametrize("k", [3, 40])
@pytest.mark.parametrize("least", [0, 1000, 30000])
def test_knn_within_a_limit(cupy: Any, gpu: Any, held: Held, k: int, least: int) -> None:
    x, y = data(150, 5, "float32"), data(700, 5, "float32", 1)
    a, b = cupy.asarray(x), cupy.asarray(y)
    limit = gpu.least_memory(5, k) + least
    before = held.pool.used_bytes()
    held.most = before
    found = gpu.knn(a, b, k, "euclidean", memory_limit=limit, **SEARCH)
    results = sum(-(-r.nbytes // 512) * 512 for r in found)
    assert held.most - before <= limit + results
    same(found, twin.knn(x, y, k, "euclidean", **SEARCH))


@pytest.mark.gpu
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize(("kib", "d"), [(1200, 70), (2000, 70), (1800, 500), (16000, 70)])
def test_screened_knn_within_a_limit(
    cupy: Any,
    gpu: Any,
    held: Held,
    monkeypatch: pytest.MonkeyPatch,
    metric: str,
    itself: bool,
    kib: int,
    d: int,
) -> None:
    from pairtile._backends.cuda import panels, screened

    monkeypatch.setattr(panels, "least_work", 0)
    if panels.tensor_path() == "none":
        pytest.skip("this device and build have no tensor cores")
    served = []
    search, sweep = screened.knn, gpu._cuda.screened_sweep
    monkeypatch.setattr(screened, "knn", lambda *args: served.append(search(*args)) or served[-1])
    sweeps = []
    monkeypatch.setattr(gpu._cuda, "screened_sweep", lambda **told: sweeps.append(sweep(**told)))
    rng = np.random.default_rng(kib)
    x = rng.normal(size=(600, d)).astype(np.float32)
    y = None if itself else rng.normal(size=(900, d)).astype(np.float32)
    a, b = cupy.asarray(x), None if y is None else cupy.asarray(y)
    before = held.pool.used_bytes()
    held.most = before
    found = gpu.knn(a, b, 5, metric, memory_limit=kib << 10, **SEARCH)
    results = sum(-(-r.nbytes // 512) * 512 for r in found)
    norms = 16 * 1500 if metric == "cosine" else 0
    assert held.most - before <= (kib << 10) + results + norms
    assert served == [True]
    assert len(sweeps) > 1 or (d == 70 and kib > 1200)
    same(found, twin.knn(x, y, 5, metric, **SEARCH))


@pytest.mark.gpu
@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize(("kib", "served"), [(540, False), (2000, True), (100_000, True)])
def test_long_lists_within_a_limit(
    cupy: Any,
    gpu: Any,
    held: Held,
    monkeypatch: pytest.MonkeyPatch,
    itself: bool,
    limited: bool,
    kib: int,
    served: bool,
) -> None:
    """Lists beyond what shared memory holds, within a limit or the bound without one."""
    from pairtile._backends.cuda import panels, screened

    monkeypatch.setattr(panels, "least_work", 0)
    if panels.tensor_path() == "none":
        pytest.skip("this device and build have no tensor cores")
    bytes_ = kib << 10
    monkeypatch.setattr(screened, "_LONG", 1 << 40 if limited else bytes_)
    ends = []
    search = screened.knn
    monkeypatch.setattr(screened, "knn", lambda *args: ends.append(search(*args)) or ends[-1])
    reports: list[tuple[int, int]] = []
    rng = np.random.default_rng(kib)
    x = rng.normal(size=(1700, 9)).astype(np.float32)
    y = None if itself else rng.normal(size=(2000, 9)).astype(np.float32)
    a, b = cupy.asarray(x), None if y is None else cupy.asarray(y)
    before = held.pool.used_bytes()
    held.most = before
    found = gpu.knn(
        a, b, 200, "euclidean", memory_limit=bytes_ if limited else 0,
        progress=lambda *now: reports.append(now), **SEARCH,
    )  # fmt: skip
    results = sum(-(-r.nbytes // 512) * 512 for r in found)
    packed = 0 if limited else panels.row_bytes(9, 1) * panels.padded(2000) + (1 << 16)
    if limited or served:
        assert held.most - before <= bytes_ + results + packed
    assert ends == [served or not limited]  # without one some queries always fit
    assert (len(reports) == 1) == (kib == 100_000) or not served
    same(found, twin.knn(x, y, 200, "euclidean", **SEARCH))


@pytest.mark.gpu
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize(("kib", "served"), [(500, False), (600, True), (1200, True)])
def test_screened_radii_within_a_limit(
    cupy: Any,
    gpu: Any,
    held: Held,
    monkeypatch: pytest.MonkeyPatch,
    metric: str,
    itself: bool,
    kib: int,
    served: bool,
) -> None:
    from pairtile._backends.cuda import panels, screened_radius

    monkeypatch.setattr(panels, "least_work", 0)
    if panels.tensor_path() == "none":
        pytest.skip("this device and build have no tensor cores")
    ends = []
    counts = screened_radius.counts
    monkeypatch.setattr(
        screened_radius, "counts", lambda *args: ends.append(counts(*args)) or ends[-1]
    )
    rng = np.random.default_rng(kib)
    x = rng.normal(size=(600, 500)).astype(np.float32)
    y = None if itself else rng.normal(size=(900, 500)).astype(np.float32)
    a, b = cupy.asarray(x), None if y is None else cupy.asarray(y)
    radii = rng.normal(30 if metric == "euclidean" else 1, 0.1, size=600)
    options: dict[str, Any] = {"closed": True, "dtype": "float32", "workers": 1}
    before = held.pool.used_bytes()
    held.most = before
    found = gpu.radius_counts(a, b, metric, radii, None, memory_limit=kib << 10, **options)
    beside = 16 * 1500 + 8 * 600 + 8 * 1500 + 4096  # norms, radii and results
    assert held.most - before <= (kib << 10) + beside
    assert ends == [served]
    same(found[:2], twin.radius_counts(x, y, metric, radii, None, **options)[:2])


@pytest.mark.gpu
def test_a_limit_too_small_for_the_screen_is_kept(
    cupy: Any, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairtile._backends.cuda import panels

    monkeypatch.setattr(panels, "least_work", 0)
    x, y = data(300, 70, "float32"), data(500, 70, "float32", 1)
    found = gpu.knn(x, y, 5, "euclidean", memory_limit=gpu.least_memory(70, 5), **SEARCH)
    same(found, twin.knn(x, y, 5, "euclidean", **SEARCH))


@pytest.mark.gpu
@pytest.mark.parametrize("k", [1, 20])
def test_least_limit_is_named(cupy: Any, gpu: Any, k: int) -> None:
    x = cupy.asarray(data(60, 3, "float32"))
    least = gpu.least_memory(3, k)
    same(pt.knn(x, k=k, memory_limit=least), pt.knn(x, k=k))
    with pytest.raises(ValueError, match=f"memory_limit={least - 1} is too small.*{least} bytes"):
        pt.knn(x, k=k, memory_limit=least - 1)
    with pytest.raises(ValueError, match="too small"):
        pt.kth_distance(x, k=k, memory_limit=1000)
    for search in (pt.radius_count, pt.radius_neighbors):
        with pytest.raises(ValueError, match="too small"):
            search(x, radius=1.0, memory_limit=1000)


@pytest.mark.gpu
def test_radii_within_a_limit(cupy: Any, gpu: Any) -> None:
    x, y = data(90, 3, "float32"), data(130, 3, "float32", 1)
    a, b = cupy.asarray(x), cupy.asarray(y)
    limit = gpu.least_memory(3, 0)
    found = pt.radius_count(a, b, 1.5, memory_limit=limit)
    np.testing.assert_array_equal(found.get(), pt.radius_count(x, y, 1.5))
    same(pt.radius_neighbors(a, b, 1.5, memory_limit=limit), pt.radius_neighbors(x, y, 1.5))
    kth = pt.kth_distance(a, b, (1, 5), memory_limit=1 << 20)
    np.testing.assert_array_equal(kth.get(), pt.kth_distance(x, y, (1, 5)))


# --- Errors ---------------------------------------------------------------------------------------


@pytest.mark.gpu
def test_out_of_memory_says_how_much_and_what_helps(
    cupy: Any, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = cupy.zeros((3, 2), dtype=np.float32)
    total = cupy.cuda.runtime.memGetInfo()[1]
    many = np.broadcast_to(np.float32(0), (1 << 50, 2))
    wide = cupy.ndarray((1 << 50, 2), np.float32, x.data, (0, 4))  # rows that are one
    assert wide.shape == many.shape
    with pytest.raises(MemoryError, match=rf"(?s)CUDA device 0 .*of its {total:,} bytes.*limit="):
        gpu.knn(wide, x, 2, "euclidean", **SEARCH)
    with pytest.raises(MemoryError, match="allocating") as caught:
        gpu.kernel_row_sums(
            wide, x, [(1.0, "gaussian", (1.0,))], None, precision="float64", workers=1
        )
    assert "memory_limit" not in str(caught.value)
    same(gpu.knn(x, None, 1, "euclidean", **SEARCH), gpu.knn(x, None, 1, "euclidean", **SEARCH))


@pytest.mark.gpu
def test_out_of_memory_of_a_launch(cupy: Any, gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise gpu._cuda.OutOfMemory("CUDA error in survey: out of memory")

    monkeypatch.setattr("pairtile._backends.cuda.memory._cuda.survey", full)
    with pytest.raises(MemoryError, match=r"CUDA device 0 .*error in survey") as caught:
        pt.knn(cupy.zeros((3, 2)), k=1)
    assert not isinstance(caught.value, gpu._cuda.OutOfMemory)


@pytest.mark.gpu
def test_calls_that_take_a_limit_say_so(
    cupy: Any, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise gpu._cuda.OutOfMemory("CUDA error in project: out of memory")

    monkeypatch.setattr("pairtile._backends.cuda.slices._cuda.project_slices", full)
    x, y = (cupy.asarray(data(n, 3, "float32", n)) for n in (20, 30))
    calls: list[Any] = [
        lambda: pt.sliced_wasserstein(x, y, rng=0),
        lambda: pt.sliced_energy(x, y, rng=0),
        lambda: pt.wasserstein_1d(x, y),
        lambda: pt.column_statistics(x, y),
    ]
    for call in calls:
        with pytest.raises(MemoryError, match=r"error in project.*memory_limit= bounds"):
            call()
    with pytest.raises(MemoryError, match="error in project") as caught:
        pt.max_sliced_wasserstein(x, y, rng=0)
    assert "memory_limit" not in str(caught.value)


@pytest.mark.gpu
def test_a_refused_launch_is_followed_by_right_ones(cupy: Any, gpu: Any) -> None:
    """An error that leaves the context as it was: no kernel was started."""
    from pairtile._backends.cuda.memory import current_stream

    x, y = data(60, 5, "float32"), data(70, 5, "float32", 1)
    numbers = cupy.zeros(4)
    for blocks in (0, 1 << 31):  # a grid has at least one, and not so many
        with pytest.raises(RuntimeError, match="CUDA error in block totals: invalid"):
            gpu._cuda.block_totals(
                numbers.data.ptr, blocks * 8, 1, 1.0, numbers.data.ptr, 1, current_stream()
            )
        same(gpu.knn(cupy.asarray(x), cupy.asarray(y), 4, "euclidean", **SEARCH),
             twin.knn(x, y, 4, "euclidean", **SEARCH))  # fmt: skip


@pytest.mark.gpu
def test_memory_errors_of_the_host_stay_as_they_are(gpu: Any) -> None:
    from pairtile._backends.cuda.memory import device_of

    with pytest.raises(MemoryError, match=r"^no room$"), device_of():
        raise MemoryError("no room")


@pytest.mark.gpu
def test_a_device_that_the_build_does_not_serve(
    cupy: Any, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise gpu._cuda.NotBuilt("CUDA error in survey: no kernel image is available")

    monkeypatch.setattr("pairtile._backends.cuda.memory._cuda.survey", missing)
    found = cupy.cuda.runtime.getDeviceProperties(0)
    capability = f"{found['major']}.{found['minor']}"
    with pytest.raises(RuntimeError, match="PAIRTILE_CUDA_ARCHITECTURES=") as caught:
        pt.knn(cupy.zeros((3, 2)), k=1)
    for part in (found["name"].decode(), capability, *gpu.architectures(), "no kernel image"):
        assert part in str(caught.value)


def test_a_backend_without_a_device(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "device_count", lambda: 0)
    before = pt.backend()
    with pytest.raises(ImportError, match="finds no device"):
        pt.set_backend("cuda")
    assert pt.backend() == before


def test_a_backend_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from pairtile._backends import choose

    monkeypatch.setattr(choose, "_load", lambda name: None)
    spec = "pairtile._backends.choose.importlib.util.find_spec"
    for found, words in ((None, "PAIRTILE_CUDA=ON"), (object(), "CuPy is missing")):
        monkeypatch.setattr(spec, lambda name, found=found: found)
        with pytest.raises(ImportError, match=f"cuda backend is not part of .*{words}"):
            pt.set_backend("cuda")
    with pytest.raises(ImportError, match="native backend is not part of this installation of"):
        pt.set_backend("native")


# --- Several devices ------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("devices", SHARES)
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product", "manhattan"])
def test_knn_over_devices(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, devices: list[int], metric: str
) -> None:
    monkeypatch.setattr("pairtile._backends.cuda.split._AT_ONCE", 300)
    x, y = (cupy.asarray(data(n, 6, "float32", n)) for n in (101, 67))
    for k in (1, 9, 66):
        found = pt.knn(x, y, k, metric=metric, devices=devices)
        same(found, pt.knn(x, y, k, metric=metric))
        assert isinstance(found.indices, cupy.ndarray)
        same(pt.knn(y, k=k, metric=metric, devices=devices), pt.knn(y, k=k, metric=metric))
    kth = pt.kth_distance(x, k=(5, 2), metric=metric, devices=devices)
    same([kth], [pt.kth_distance(x, k=(5, 2), metric=metric)])


@pytest.mark.gpu
@pytest.mark.parametrize("itself", [True, False])
def test_predicates_over_devices(cupy: Any, itself: bool) -> None:
    rng = np.random.default_rng(3)
    x = cupy.asarray(rng.integers(0, 3, size=(90, 2)).astype(np.float32))  # many ties
    y = None if itself else cupy.asarray(rng.integers(0, 3, size=(70, 2)).astype(np.float32))
    m = 90 if itself else 70
    groups, times = rng.integers(0, 4, size=(2, 90))
    of_y = {} if itself else {"reference_groups": groups[:70], "reference_times": times[20:]}
    mask = rng.random(m) < 0.7
    asked: list[dict[str, Any]] = [
        {"query_groups": groups, "group_rule": "same"},
        {"query_groups": groups, "group_rule": "different"},
        {"query_times": times},
        {"query_times": times.astype(np.float64)},
        {"reference_mask": mask},
        {
            "query_groups": groups,
            "group_rule": "same",
            "query_times": times,
            "reference_mask": mask,
        },
    ]
    for options in asked:
        for name in ("groups", "times"):
            if not itself and f"query_{name}" in options:
                options[f"reference_{name}"] = of_y[f"reference_{name}"]
        for k in (1, 40):
            found = pt.knn(x, y, k, devices=[0, 0, 0], **options)
            same(found, pt.knn(x, y, k, **options))


@pytest.mark.gpu
@pytest.mark.parametrize("devices", SHARES)
@pytest.mark.parametrize("radius_of", ["query", "reference"])
def test_radius_count_over_devices(cupy: Any, devices: list[int], radius_of: str) -> None:
    x, y = (cupy.asarray(data(n, 3, "float32", n)) for n in (83, 57))
    for a, b in ((x, y), (x, None), (y, x)):
        n, m = len(a), len(a if b is None else b)
        radii = np.random.default_rng(n).random(n if radius_of == "query" else m) * 3
        for closed in (True, False):
            options: dict[str, Any] = {"radius_of": radius_of, "closed": closed}
            found = pt.radius_count(a, b, radii, devices=devices, **options)
            same([found], [pt.radius_count(a, b, radii, **options)])


@pytest.mark.gpu
@pytest.mark.parametrize("devices", SHARES)
def test_sums_over_devices(cupy: Any, devices: list[int]) -> None:
    x, y = data(83, 5, "float64"), data(57, 5, "float64", 1)
    a, b = cupy.asarray(x), cupy.asarray(y)
    v, w = np.random.default_rng(0).normal(size=83), np.random.default_rng(1).normal(size=57)
    kernel = pt.Gaussian(2.0) + 0.5 * pt.Laplace(1.0)
    calls: list[tuple[Any, tuple[Any, ...], tuple[Any, ...], dict[str, Any]]] = [
        (pt.kernel_sum, (a, b), (x, y), {"x_weights": v, "y_weights": w, "kernel": kernel}),
        (pt.kernel_sum, (a,), (x,), {"x_weights": v, "kernel": kernel}),
        (pt.kernel_sum, (a,), (x,), {"kernel": "gaussian", "exclude_diagonal": True}),
        (pt.mmd, (a, b), (x, y), {}),
        (pt.mmd, (a, b), (x, y), {"x_weights": v**2, "estimator": "biased", "kernel": kernel}),
        (pt.energy_distance, (a, b), (x, y), {}),
        (pt.energy_distance, (a, b), (x, y), {"y_weights": w**2, "squared": False}),
    ]
    for call, on_device, on_host, options in calls:
        found = call(*on_device, devices=devices, **options)
        assert isinstance(found, float)
        assert found == pytest.approx(call(*on_host, **options), rel=1e-11, abs=1e-13)
        assert found == call(*on_device, devices=devices, **options)
        if len(devices) == 1:
            assert found == call(*on_device, **options)


@pytest.mark.gpu
def test_sums_are_added_in_the_order_of_the_devices(cupy: Any, gpu: Any) -> None:
    x, y = (cupy.asarray(data(n, 5, "float64", n)) for n in (40, 30))
    options: dict[str, Any] = {"precision": "float64", "workers": 1}
    terms = [(1.0, "gaussian", (0.1,))]
    parts = [gpu.kernel_total(x[i : i + 20], y, terms, None, None, **options) for i in (0, 20)]
    found = pt.kernel_sum(x, y, kernel=pt.Gaussian(gamma=0.1), devices=[0, 0])
    assert found == parts[0] + parts[1]


@pytest.mark.gpu
def test_fewer_rows_than_devices(cupy: Any) -> None:
    x, y = (cupy.asarray(data(n, 5, "float32", n)) for n in (3, 8))
    devices = [0] * 5
    same(pt.knn(x, y, 4, devices=devices), pt.knn(x, y, 4))
    same(pt.knn(x, k=2, devices=devices), pt.knn(x, k=2))
    same([pt.radius_count(x, radius=2.0, devices=devices)], [pt.radius_count(x, radius=2.0)])
    found = pt.mmd(x, y, kernel="linear", devices=devices)
    assert found == pytest.approx(pt.mmd(x, y, kernel="linear"), rel=1e-5, abs=1e-5)


@pytest.mark.gpu
def test_progress_over_devices(cupy: Any) -> None:
    x, y = (cupy.asarray(data(n, 5, "float32", n)) for n in (80, 70))
    calls: list[Any] = [
        lambda **options: pt.knn(x, y, 3, **options),
        lambda **options: pt.knn(x, k=3, **options),
        lambda **options: pt.radius_count(x, radius=1.0, **options),
        lambda **options: pt.mmd(x, y, kernel="linear", **options),
    ]
    for call in calls:
        told: list[tuple[int, int]] = []
        call(devices=[0, 0, 0], progress=lambda *news, told=told: told.append(news))
        assert told == sorted(told)
        assert len({total for _, total in told}) == 1
        assert told[-1][0] == told[-1][1]


@pytest.mark.gpu
def test_a_call_over_devices_ends_with_its_first_error(
    cupy: Any, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = cupy.asarray(data(80, 5, "float32"))

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pt.knn(x, k=3, devices=[0, 0], progress=interrupted)

    from pairtile._backends.cuda import split

    def failing(queries: Any, *_: Any, **__: Any) -> Any:
        raise RuntimeError(f"share of {len(queries)} rows")

    monkeypatch.setattr(split, "knn", failing)
    with pytest.raises(RuntimeError, match="share of 26 rows"):
        pt.knn(x, k=3, devices=[0, 0, 0])


@pytest.mark.gpu
def test_shares_of_one_device_divide_the_limit(cupy: Any, gpu: Any) -> None:
    x, y = (cupy.asarray(data(n, 5, "float32", n)) for n in (80, 70))
    least = gpu.least_memory(5, 4)
    same(pt.knn(x, y, 4, devices=[0, 0], memory_limit=2 * least), pt.knn(x, y, 4))
    with pytest.raises(ValueError, match=f"at least {2 * least} bytes"):
        pt.knn(x, y, 4, devices=[0, 0], memory_limit=2 * least - 1)
    with pytest.raises(ValueError, match="too small"):
        pt.radius_count(x, y, 1.0, devices=[0, 0], memory_limit=1000)


@pytest.mark.gpu
def test_references_are_checked_over_devices(cupy: Any) -> None:
    x, y = (data(n, 5, "float32", n) for n in (80, 70))
    y[31, 2] = np.nan
    with pytest.raises(ValueError, match="reference contains NaN or Inf; the first bad row is 31"):
        pt.knn(cupy.asarray(x), cupy.asarray(y), 2, devices=[0, 0])


@pytest.mark.gpu
def test_devices_that_are_none(cupy: Any) -> None:
    x = cupy.asarray(data(20, 5, "float32"))
    calls: list[Any] = [
        lambda x, **options: pt.knn(x, k=3, **options),
        lambda x, **options: pt.kth_distance(x, k=3, **options),
        lambda x, **options: pt.radius_count(x, radius=1.0, **options),
        lambda x, **options: pt.kernel_sum(x, kernel="linear", **options),
        lambda x, **options: pt.mmd(x, x, kernel="linear", **options),
        lambda x, **options: pt.energy_distance(x, x, **options),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"devices has 4096, and the CUDA devices here are 0"):
            call(x, devices=[0, 4096])
        with pytest.raises(ValueError, match=r"devices\[1\] must be at least 0"):
            call(x, devices=[0, -1])
        with pytest.raises(ValueError, match="devices is empty"):
            call(x, devices=[])
        with pytest.raises(TypeError, match=r"devices\[0\] must be an integer"):
            call(x, devices=[0.5])
    for options in ({"estimator": "block"}, {"return_gradient": True}):
        with pytest.raises(ValueError, match="devices"):
            pt.mmd(x, x, devices=[0], **options)


def test_devices_are_for_arrays_on_one() -> None:
    x = data(20, 5, "float32")
    for call, options in (
        (pt.knn, {"k": 3}),
        (pt.kth_distance, {"k": 3}),
        (pt.radius_count, {"radius": 1.0}),
        (pt.kernel_sum, {"kernel": "linear"}),
    ):
        name = {pt.knn: "queries", pt.radius_count: "queries"}.get(call, "x")
        with pytest.raises(TypeError, match=f"devices is for .*, and {name} is on none"):
            call(x, devices=[0], **options)
        with pytest.raises(TypeError, match="devices must be a list of device numbers or None"):
            call(x, devices=0, **options)
    for call in (pt.mmd, pt.energy_distance):
        with pytest.raises(TypeError, match="and x is on none"):
            call(x, x, devices=[0])


@pytest.mark.gpu
def test_host_arrays_stay_where_they_are_under_the_cuda_backend() -> None:
    x = data(20, 5, "float32")
    with on_backend("cuda"), pytest.raises(TypeError, match="queries is on none"):
        pt.knn(x, k=3, devices=[0])


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["rows", "columns", "reversed", "vector"])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (3, 300), (5, 3000), (3000, 3), (40, 33)])
def test_bad_rows_are_found_in_any_shape(cupy: Any, n: int, d: int, layout: str) -> None:
    """Every element is looked at, whichever lie together, and the first bad row is named."""
    from pairtile._backends import cuda as gpu

    x = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    as_laid = {
        "rows": lambda a: a, "columns": lambda a: a.T.copy().T,
        "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1], "vector": lambda a: a[:, :1],
    }[layout]  # fmt: skip
    assert gpu.first_nonfinite(as_laid(cupy.asarray(x)), workers=1) == -1
    last = 1 if layout == "vector" else d
    for row, column in ((n - 1, last - 1), (n // 2, 0), (n // 2, last // 2), (0, last - 1)):
        bad = x.copy()
        bad[row, column] = np.inf
        bad[n - 1, last - 1] = np.nan
        assert gpu.first_nonfinite(as_laid(cupy.asarray(bad)), workers=1) == row


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "uint8"])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (7, 3), (300, 40), (90, 1001)])
def test_largest_number_of_every_dtype(cupy: Any, n: int, d: int, dtype: str) -> None:
    import ml_dtypes

    from pairtile._backends.cuda.memory import Rows

    kind = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    x = (100 * np.random.default_rng(n).random(size=(n, d))).astype(kind)
    for row, column in ((0, 0), (n // 2, d // 2), (n - 1, d - 1)):
        large = x.copy()
        large[row, column] = 120 if kind.kind in "iu" else -120
        for laid in (large, large[:, ::-1]):
            assert Rows(laid).survey() == (-1, 120.0)
        if kind.kind not in "iu":
            large[n // 2, d - 1] = np.nan
            others = np.abs(np.delete(large.astype(float).ravel(), n // 2 * d + d - 1))
            assert Rows(large).survey() == (n // 2, others.max(initial=0.0))


# --- Waiting --------------------------------------------------------------------------------------

# How often a call waits for the device, as docs/gpu.md says: with `check_finite=False`, and how
# much more with it. By ordinary cores and by tensor cores; what these search is looked at as it is
# packed, and need not be before.
WAITS: dict[str, tuple[Any, int | None, int, int]] = {
    "`knn`": (lambda x, y, **o: pt.knn(x, y, 5, **o), 0, 2, 1),
    "`radius_count`": (lambda x, y, **o: pt.radius_count(x, y, 9.0, **o), 0, 3, 2),
    "`radius_neighbors`": (lambda x, y, **o: pt.radius_neighbors(x, y, 9.0, **o), 1, 4, 2),
    "`kernel_sum`": (
        lambda x, y, **o: pt.kernel_sum(x, y, kernel=pt.Gaussian(1.0), **o), 3, 4, 2,
    ),
    "`clip_loss`": (lambda x, y, **o: pt.clip_loss(x, y, temperature=1.0, **o), None, 5, 2),
    "`clip_loss`, `grad=True`": (
        lambda x, y, **o: pt.clip_loss(x, y, temperature=1.0, grad=True, **o), None, 7, 2,
    ),
}  # fmt: skip


@pytest.mark.gpu
@pytest.mark.parametrize("name", WAITS)
def test_waits_for_the_device(
    cupy: Any, gpu: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from pairtile._backends.cuda import panels

    if panels.tensor_path() == "none":
        pytest.skip("this device and build have no tensor cores")
    call, plain, tensor, checks = WAITS[name]
    waits: list[str] = []
    fetched, synchronize = cupy.ndarray.get, cupy.cuda.Stream.synchronize

    def get(a: Any, *args: Any, **more: Any) -> Any:
        before = len(waits)
        found = fetched(a, *args, **more)
        waits[before:] = ["get"]  # however it waits
        return found

    def wait(stream: Any) -> None:
        waits.append("synchronize")
        synchronize(stream)

    monkeypatch.setattr(cupy.ndarray, "get", get)
    monkeypatch.setattr(cupy.cuda.Stream, "synchronize", wait)
    x, y = (cupy.asarray(np.random.default_rng(i).normal(size=(300, 70)).astype(np.float32))
            for i in range(2))  # fmt: skip
    for least, wanted, more in ((1 << 40, plain, 2), (0, tensor, checks)):
        monkeypatch.setattr(panels, "least_work", least)
        for check in (False, True) if wanted is not None else ():
            waits.clear()
            call(x, y, check_finite=check)
            assert len(waits) == wanted + more * check, waits
    table = (Path(__file__).parents[2] / "docs" / "gpu.md").read_text()
    assert f"| {name} | {'-' if plain is None else plain} | {tensor} | {checks} |" in table
