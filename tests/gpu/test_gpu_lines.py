"""What is asked of sorted lines beside their costs, on the GPU against the NumPy twin.

Statistics of columns, slopes by directions, plans in space, angles on circles, parts of the mass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pairtile as pt
from backends import on_backend
from gpu_data import data
from pairtile._backends import numpy as twin

DTYPES = ("float16", "bfloat16", "int8", "uint8", "float32", "float64")
ORDERS = (1.0, 1.5, 2.0, 3.0)
LEVELS = np.array([0.0, 0.05, 0.5, 0.95, 1.0])
# Around the shares of 256, 2048 and 4096 items and the tile of 128 features and 64 lines.
SHAPES = [(1, 1, 1), (1, 300, 2), (257, 257, 3), (700, 900, 2), (2100, 2047, 1), (40, 30, 130)]


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


@pytest.fixture
def gpu(cupy: Any) -> Any:
    from pairtile._backends import cuda as cuda_backend

    return cuda_backend


def lines(d: int, count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng([d, count]).normal(size=(d, count)) / np.sqrt(d)


def weights(n: int, seed: int) -> np.ndarray[Any, Any]:
    """Some rows weigh nothing, one as much as half of all."""
    w = np.random.default_rng([seed, n]).integers(0, 5, size=n) * 1.0
    w[n // 2] = n
    return w / w.sum()


def both_weights(n: int, m: int) -> list[tuple[Any, Any]]:
    return [(None, None), (weights(n, 1), None), (weights(n, 1), weights(m, 2))]


# --- Columns --------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_column_statistics(gpu: Any, n: int, m: int, d: int, dtype: str) -> None:
    x, y = data(n, d, dtype), data(m, d, dtype, 1)
    ties = (np.round(a.astype(np.float64)).astype(x.dtype) for a in (x, y))
    for one, other in ((x, y), tuple(ties)):
        wanted = twin.column_statistics(one, other, LEVELS, workers=1)
        found = gpu.column_statistics(one, other, LEVELS, workers=1)
        size = max(float(np.abs(a.astype(np.float64)).max()) for a in (one, other))
        for name, a, b in zip(("w1", "w2", "ks", "energy", "cvm", "q"), found, wanted, strict=True):
            assert isinstance(a, np.ndarray)
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13 * (1 + size), err_msg=name)


@pytest.mark.gpu
@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1e200, 1.7e308])
def test_columns_of_any_scale(gpu: Any, scale: float) -> None:
    x, y = (np.clip(data(n, 3, "float64", n), -4, 4) / 4 for n in (300, 200))
    wanted = twin.column_statistics(x, y, LEVELS, workers=1)
    found = gpu.column_statistics(x * scale, y * scale, LEVELS, workers=1)
    for power, a, b in zip((1, 1, 0, 1, 0, 1), found, wanted, strict=True):
        np.testing.assert_allclose(a, b * scale**power, rtol=1e-11, atol=1e-13 * scale**power)


@pytest.mark.gpu
def test_batches_of_columns_change_nothing(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(150, 5, "float32"), data(90, 5, "float32", 1)
    whole = gpu.column_statistics(x, y, LEVELS, workers=1)
    monkeypatch.setattr(gpu._cuda, "slice_batches", lambda plan: [(0, 3), (3, 4), (4, plan[3])])
    told: list[tuple[int, int]] = []
    for a, b in zip(
        gpu.column_statistics(x, y, LEVELS, workers=1, progress=lambda *now: told.append(now)),
        whole,
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    assert told == [(3, 5), (4, 5), (5, 5)]


@pytest.mark.gpu
def test_public_column_statistics(cupy: Any) -> None:
    x, y = data(160, 4, "float64"), data(80, 4, "float64", 1)
    wanted = pt.column_statistics(x, y)
    found = pt.column_statistics(cupy.asarray(x), cupy.asarray(y))
    assert found.names == wanted.names
    for a, b in zip(found[1:], wanted[1:], strict=True):
        assert isinstance(a, cupy.ndarray)
        np.testing.assert_allclose(a.get(), b, rtol=1e-11, atol=1e-13)


# --- Directions -----------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("n", "m", "d", "count"),
    [(1, 1, 1, 1), (1, 300, 2, 3), (257, 257, 3, 3), (40, 30, 130, 67), (2500, 90, 7, 1)],
)
def test_slopes_by_directions(gpu: Any, n: int, m: int, d: int, count: int, dtype: str) -> None:
    x, y = data(n, d, "float64"), data(m, d, "float64", 1)
    along = lines(d, count)
    if dtype == "float32":  # whole numbers, whose projections are exact and tie
        x, y = (np.round(4 * a).astype(dtype) for a in (x, y))
        along = np.round(4 * along)
        along[:, ~along.any(axis=0)] = 1
    p = ORDERS[(n + count) % 4]
    for v, w in both_weights(n, m):
        wanted = twin.sliced_direction_slopes(x, y, along, p, v, w, workers=1)
        found = gpu.sliced_direction_slopes(x, y, along, p, v, w, workers=1)
        rtol = 1e-10 if dtype == "float64" else 1e-5
        for a, b in zip(found, wanted, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(np.abs(b).max(), 1e-300))


@pytest.mark.gpu
@pytest.mark.parametrize("order", ["C", "F"])
def test_slopes_of_any_layout_in_batches(
    cupy: Any, gpu: Any, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = data(300, 140, "float64"), 3e6 + data(200, 140, "float64", 1)
    along = lines(140, 5)
    wanted = twin.sliced_direction_slopes(x, y, along, 2.0, None, None, workers=1)
    a = cupy.asarray(np.asarray(x, order=order))
    monkeypatch.setattr(gpu._cuda, "slice_batches", lambda plan: [(0, 3), (3, 4), (4, plan[3])])
    found = gpu.sliced_direction_slopes(a, cupy.asarray(y), along, 2.0, None, None, workers=1)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * np.abs(other).max())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_max_sliced(cupy: Any, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pairtile.slices import maximum

    monkeypatch.setattr(maximum, "_CANDIDATES", 24)
    x, y = data(90, 4, dtype), 2 * data(70, 4, dtype, 1)
    y[:, 1] += 3
    kw: dict[str, Any] = {"rng": 0, "n_restarts": 1, "max_iter": 4}
    if dtype == "float64":
        kw |= {"p": 1.5, "x_weights": weights(90, 1)}
    wanted = pt.max_sliced_wasserstein(x, y, **kw)
    found = pt.max_sliced_wasserstein(cupy.asarray(x), cupy.asarray(y), **kw)
    assert isinstance(found.direction, cupy.ndarray)
    assert found.value == pytest.approx(wanted.value, rel=1e-5)
    assert np.abs(found.direction.get() @ wanted.direction) == pytest.approx(1, rel=1e-4)


# --- Plans ----------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["int8", "float32", "float64"])
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_plans(gpu: Any, n: int, m: int, d: int, dtype: str) -> None:
    x, y = data(n, d, dtype), data(m, d, dtype, 1)
    along = np.round(4 * lines(d, 5)) + np.eye(d, 5)
    for p, (v, w) in zip((2.0, 1.5, 1.0), both_weights(n, m), strict=True):
        asked = x, y, along, p, v, w
        if dtype == "float32":  # projections are rounded otherwise: of whole numbers none are
            asked = np.round(8 * x), np.round(8 * y), along, p, v, w
        wanted = twin.sliced_plan(*asked, workers=1)
        found = gpu.sliced_plan(*asked, workers=1)
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1], wanted[1])
        assert found[0].dtype == found[1].dtype == np.int64
        np.testing.assert_allclose(found[2], wanted[2], rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(found[3], wanted[3], rtol=1e-12)
        alone = gpu.sliced_plan_distances(*asked, workers=1)
        np.testing.assert_array_equal(alone, found[3])


@pytest.mark.gpu
def test_plans_that_come_in_batches(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(150, 3, "float64"), data(90, 3, "float64", 1)
    along = lines(3, 7)
    whole = gpu.sliced_plan(x, y, along, 2.0, None, None, workers=1)
    monkeypatch.setattr(gpu._cuda, "slice_batches", lambda plan: [(0, 3), (3, 4), (4, plan[3])])
    for a, b in zip(gpu.sliced_plan(x, y, along, 2.0, None, None, workers=1), whole, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.gpu
def test_public_plans(cupy: Any) -> None:
    x, y = data(60, 3, "float64"), data(50, 3, "float64", 1)
    a, b = cupy.asarray(x), cupy.asarray(y)
    for p in (1.0, 2.0, 3.0):
        for plan in (pt.min_sliced_plan, pt.expected_sliced_plan):
            wanted, found = (plan(*s, p=p, n_projections=9, rng=0) for s in ((x, y), (a, b)))
            assert found.cost == pytest.approx(wanted.cost, rel=1e-12)
            for one, other in zip(found[1:4], wanted[1:4], strict=True):
                assert isinstance(one, cupy.ndarray)
                np.testing.assert_allclose(one.get(), other, rtol=1e-12)
    far = pt.min_sliced_plan(1e-170 * a, 1e-170 * b, p=3, n_projections=9, rng=0)
    near = pt.min_sliced_plan(x, y, p=3, n_projections=9, rng=0)
    assert far.cost == pytest.approx(1e-170 * near.cost, rel=1e-9)


# --- Circles --------------------------------------------------------------------------------------


def units(n: int, d: int, dtype: str, seed: int) -> np.ndarray[Any, Any]:
    x = np.random.default_rng([seed, n, d]).normal(size=(n, d)) + 0.3 * seed
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x[n // 2] = x[0]
    x[n // 3] = np.eye(d)[0]
    return x.astype(dtype)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("n", "m", "d"), [(1, 1, 2), (1, 7, 3), (300, 300, 3), (12, 8, 2), (299, 513, 5), (70, 40, 200)]
)
def test_circles(gpu: Any, n: int, m: int, d: int, dtype: str) -> None:
    x, y = units(n, d, dtype, 0), units(m, d, dtype, 1)
    frames, _ = np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))
    frames = np.hstack([frames[:, : d // 2 * 2]] * (5 if d < 8 else 1))[:, :10]
    for p in ORDERS:
        for linear in (False, True) if p == 2 else (False,):
            wanted = twin.circle_distances(x, y, frames, p, linear=linear, workers=1)
            found = gpu.circle_distances(x, y, frames, p, linear=linear, workers=1)
            rtol = 1e-9 if dtype == "float64" else 1e-5
            np.testing.assert_allclose(found, wanted, rtol=rtol, atol=0.1 * rtol)


@pytest.mark.gpu
def test_circles_in_batches(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = units(90, 4, "float32", 0), units(50, 4, "float32", 1)
    frames = np.random.default_rng(0).normal(size=(4, 14))
    whole = gpu.circle_distances(x, y, frames, 2.0, linear=False, workers=1)
    for step in (1, 3):
        monkeypatch.setattr(
            gpu._cuda, "slice_batches", lambda plan, step=step: [(0, step), (step, plan[3])][:1]
        )
        told: list[tuple[int, int]] = []
        found = gpu.circle_distances(
            x,
            y,
            frames,
            2.0,
            linear=False,
            workers=1,
            progress=lambda *now, told=told: told.append(now),
        )
        np.testing.assert_array_equal(found, whole)
        assert told == [(c, 7) for c in range(1, 8)]


@pytest.mark.gpu
def test_public_sphere(cupy: Any) -> None:
    x, y = units(60, 3, "float64", 0), units(50, 3, "float64", 1)
    for options in ({}, {"p": 1}, {"method": "linear"}):
        wanted = pt.sliced_wasserstein_sphere(x, y, n_projections=9, rng=0, **options)
        found = pt.sliced_wasserstein_sphere(
            cupy.asarray(x), cupy.asarray(y), n_projections=9, rng=0, **options
        )
        assert isinstance(found, float)
        assert found == pytest.approx(wanted, rel=1e-10)
    with pytest.raises(ValueError, match="rows of length 1"):
        pt.sliced_wasserstein_sphere(cupy.asarray(2 * x), cupy.asarray(y))


# --- Parts of the mass ----------------------------------------------------------------------------


@pytest.mark.gpu
def test_partial_transport(cupy: Any) -> None:
    """On the host, whose very numbers it gives."""
    x, y = data(40, 3, "float32"), data(30, 3, "float32", 1)
    wanted = pt.partial_wasserstein_1d(x, y, 0.7, p=2)
    found = pt.partial_wasserstein_1d(cupy.asarray(x), cupy.asarray(y), 0.7, p=2)
    assert isinstance(found, cupy.ndarray)
    np.testing.assert_array_equal(found.get(), wanted)
    single = pt.partial_wasserstein_1d(cupy.asarray(x[:, 0]), cupy.asarray(y[:, 0]), 0.7, p=2)
    assert single == wanted[0]


# --- Rows that are not on the device --------------------------------------------------------------


class Stored:
    """Nothing but a shape, a dtype and row slicing."""

    def __init__(self, a: Any) -> None:
        self._a, self.shape, self.dtype = a, a.shape, a.dtype

    def __getitem__(self, rows: slice) -> Any:
        return self._a[rows].copy()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["int8", "float32", "float64"])
def test_rows_in_files(cupy: Any, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pairtile._backends.blocks import slices as streamed

    monkeypatch.setattr(streamed, "BLOCK", 1000)  # bytes
    x, y = data(300, 5, dtype), data(200, 5, dtype, 1)
    if dtype == "float64":
        x, y = 1e250 * x, 1e250 * y
    kw: dict[str, Any] = {"n_projections": 7, "rng": 0}
    calls: list[Any] = [
        lambda a, b: pt.sliced_wasserstein(a, b, **kw),
        lambda a, b: pt.sliced_wasserstein(a, b, p=1, x_weights=weights(300, 1), **kw),
        lambda a, b: pt.sliced_energy(a, b, **kw),
        lambda a, b: pt.sliced_wasserstein(a, b, p=40, **kw),
        lambda a, b: pt.wasserstein_1d(a, b, p=np.inf),
        lambda a, b: np.stack(pt.column_statistics(a, b)[1:8]),
    ]
    wanted = [call(x, y) for call in calls]
    chosen = pt.backend()
    pt.set_backend("cuda")
    try:
        for call, right in zip(calls, wanted, strict=True):
            rtol = 1e-10 if dtype == "float64" else 1e-5
            np.testing.assert_allclose(call(Stored(x), Stored(y)), right, rtol=rtol, atol=1e-13)
    finally:
        pt.set_backend(chosen)


@pytest.mark.gpu
@pytest.mark.parametrize("limited", [True, False])
def test_host_arrays_beyond_the_device(
    cupy: Any, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of no call does the device hold more than the limit, or more than the lines of a batch."""
    from pairtile._backends import cuda as cuda_backend
    from pairtile._backends.blocks import slices as streamed

    monkeypatch.setattr(streamed, "BLOCK", 10_000)  # bytes
    most = 250_000
    if not limited:
        monkeypatch.setattr(streamed, "MEMORY_LIMIT", most)
        monkeypatch.setattr(cuda_backend, "host_room", lambda limit: 0)
    more: dict[str, Any] = {"memory_limit": most} if limited else {}
    x, y = data(3000, 24, "float32"), data(2000, 24, "float32", 1)
    kw: dict[str, Any] = {"n_projections": 5, "rng": 0}
    calls: list[Any] = [
        lambda **m: pt.sliced_wasserstein(x, y, **kw, **m),
        lambda **m: pt.sliced_wasserstein(x, y, p=1, x_weights=weights(3000, 1), **kw, **m),
        lambda **m: pt.sliced_energy(x, y, **kw, **m),
        lambda **m: pt.wasserstein_1d(x, y, p=1, **m),
        lambda **m: np.stack(pt.column_statistics(x, y, **m)[1:8]),
    ]
    pool = cupy.cuda.MemoryPool()
    held: list[int] = []

    def counted(size: int) -> Any:
        memory = pool.malloc(size)
        held.append(pool.used_bytes())
        return memory

    before = cupy.cuda.get_allocator()
    for call in calls:
        wanted = call()
        with on_backend("cuda"):
            cupy.cuda.set_allocator(counted)
            try:
                found = call(**more)
            finally:
                cupy.cuda.set_allocator(before)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-13)
        assert 0 < max(held) < most < x.nbytes
        held.clear()


@pytest.mark.gpu
def test_host_arrays_are_looked_at_on_the_host(cupy: Any) -> None:
    x = data(50, 3, "float32")
    x[17, 1] = np.nan
    with on_backend("cuda"), pytest.raises(ValueError, match="first bad row is 17"):
        pt.sliced_energy(x, x, memory_limit=1)


@pytest.mark.gpu
def test_memory_limit_bounds_the_lines(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pairtile import _cuda

    found: list[Any] = []
    cut = _cuda.slice_batches
    monkeypatch.setattr(_cuda, "slice_batches", lambda plan: found.append(cut(plan)) or found[-1])
    x, y = (cupy.asarray(data(n, 6, "float32", n)) for n in (500, 300))
    kw: dict[str, Any] = {"n_projections": 9, "rng": 0}
    free = pt.sliced_wasserstein(x, y, **kw)
    assert pt.sliced_wasserstein(x, y, memory_limit=20_000, **kw) == free
    assert found[0] == [(0, 9)]
    assert len(found[1]) > 2
    with pytest.raises(ValueError, match="one direction needs at least"):
        pt.sliced_energy(x, y, memory_limit=1000, **kw)
