"""Sliced transport and energy on the GPU against the NumPy twin."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import pairtile as pt
from pairtile._backends import numpy as twin

DTYPES = ("float16", "bfloat16", "int8", "uint8", "float32", "float64")
ORDERS = (1.0, 1.5, 2.0, 3.0)
# Around the tile of 128 rows, 64 lines and 16 features, and the shares of 256 and 2048 items.
SHAPES = [
    (1, 1, 1, 1),
    (1, 300, 3, 5),
    (700, 2, 17, 3),
    (127, 129, 16, 65),
    (128, 128, 15, 64),
    (257, 257, 33, 9),
    (1100, 1300, 5, 2),
]
CASES = [
    *((*shape, ORDERS[i % 4]) for i, shape in enumerate(SHAPES)),
    *((40, 55, 7, 3, p) for p in ORDERS),
    (3, 900, 2, 4, 1.0),
    (3, 900, 2, 4, 1.5),
]
COSTS: dict[str, Any] = {"gradient": False, "direction_weights": None, "workers": 1}


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


@pytest.fixture
def gpu(cupy: Any) -> Any:
    from pairtile._backends import cuda as cuda_backend

    return cuda_backend


def data(n: int, d: int, dtype: str, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng([seed, n, d])
    x = rng.normal(size=(n, d)) * (20 if "int" in dtype else 1) + 0.3 * seed
    x = np.abs(x) if dtype == "uint8" else x
    x[n // 2] = x[0]  # a repeated row
    x[n // 3] = 0  # a zero row
    return x.astype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)


def lines(d: int, count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng([d, count]).normal(size=(d, count)) / np.sqrt(d)


def weights(n: int, seed: int) -> np.ndarray[Any, Any]:
    """Some rows weigh nothing, one as much as half of all."""
    w = np.random.default_rng([seed, n]).integers(0, 5, size=n) * 1.0
    w[n // 2] = n
    return w / w.sum()


def bound_of(*arrays: Any) -> float:
    """Share of the largest projection that rounding may cost."""
    return 1e-13 if any(a.dtype.name == "float64" for a in arrays) else 1e-6


def size_of(x: Any, y: Any, directions: Any) -> float:
    both = np.vstack([x.astype(np.float64), y.astype(np.float64)])
    return float(np.abs(both - both.mean(axis=0)).max() * np.abs(directions).sum(axis=0).max())


def check_costs(found: Any, wanted: Any, p: float, allowed: float) -> None:
    assert found.dtype == np.float64
    np.testing.assert_allclose(found ** (1 / p), wanted ** (1 / p), rtol=1e-12, atol=allowed)


# --- The plan, without a GPU ----------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 64, 10**5])
@pytest.mark.parametrize("n", [1, 1000, 10**5, 10**6, 10**8])
def test_batches_cover_the_slices_within_the_workspace(n: int, d: int) -> None:
    cuda = pytest.importorskip("pairtile._cuda", exc_type=ImportError)
    for slices in (1, 7, 128, 10**4):
        for wide, ranked, weighted, gradient in (
            (False, False, False, False),
            (False, True, False, True),
            (True, True, True, True),
        ):
            m = 2 * n
            plan = n, m, d, slices, wide, ranked, weighted, gradient, 0, 0
            batches = cuda.slice_batches(plan)
            starts, stops = zip(*batches, strict=True)
            assert starts[0] == 0
            assert stops[-1] == slices
            assert stops[:-1] == starts[1:]
            step = stops[0]
            key, item = (8 if wide else 4), (8 if wide else 4) + (4 if ranked else 0)
            lists = 2 * step + cuda.slice_spares(plan, step)
            longest = cuda.slice_stride(m)
            used = lists * longest * item + step * longest * (16 * weighted + key * gradient)
            assert used <= 1 << 28 or step == 1
            least = cuda.slice_least(plan)
            bounded = (*plan[:-1], least)
            assert cuda.slice_batches(bounded)[0] == (0, 1)
            assert cuda.slice_lanes(bounded, 1) == cuda.slice_spares(bounded, 1) == 1
            assert 1 <= cuda.slice_lanes(plan, step) <= cuda.slice_spares(plan, step)
    with pytest.raises(ValueError, match="at most 2\\^31 - 1 rows"):
        cuda.slice_batches((2**31, 1, 1, 1, False, False, False, False, 0, 0))


# --- With a GPU -----------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "m", "d", "count", "p"), CASES)
def test_costs(gpu: Any, n: int, m: int, d: int, count: int, dtype: str, p: float) -> None:
    x, y = data(n, d, dtype), data(m, d, dtype, 1)
    directions = lines(d, count)
    allowed = bound_of(x) * size_of(x, y, directions)
    for v, w in ((None, None), (weights(n, 1), None), (weights(n, 1), weights(m, 2))):
        wanted, *_ = twin.sliced_costs(x, y, directions, p, v, w, **COSTS)
        found, grad_x, grad_y, *_ = gpu.sliced_costs(x, y, directions, p, v, w, **COSTS)
        assert grad_x is grad_y is None
        check_costs(found, wanted, p, allowed)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_costs_of_every_dtype(gpu: Any, dtype: str) -> None:
    x, y = data(150, 19, dtype), data(90, 19, dtype, 1)
    directions = lines(19, 5).astype(np.float32)
    for one, other in ((x, y), (x, y.astype("float64")), (x.T.copy().T, y[:, ::-1])):
        wanted, *_ = twin.sliced_costs(one, other, directions, 2.0, None, None, **COSTS)
        found, *_ = gpu.sliced_costs(one, other, directions, 2.0, None, None, **COSTS)
        check_costs(found, wanted, 2.0, bound_of(one, other) * size_of(one, other, directions))
        wanted, _, _ = twin.sliced_energy_costs(one, other, directions, gradient=False, workers=1)
        found, _, _ = gpu.sliced_energy_costs(one, other, directions, gradient=False, workers=1)
        check_costs(found, wanted, 1.0, 4 * bound_of(one, other) * size_of(one, other, directions))


@pytest.mark.gpu
@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_are_taken_as_they_are(gpu: Any, dtype: str, p: float) -> None:
    for n, m, d in ((90, 90, 3), (40, 70, 40), (1, 33, 1)):
        x, y = data(n, d, dtype), data(m, d, dtype, 1)
        for v, w in ((None, None), (None, weights(m, 1))):
            options = {**COSTS, "gradient": True, "direction_weights": np.arange(1.0, d + 1)}
            wanted = twin.sliced_costs(x, y, None, p, v, w, **options)
            found = gpu.sliced_costs(x, y, None, p, v, w, **options)
            np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)
            for a, b in zip(found[1:3], wanted[1:3], strict=True):
                assert a.dtype == b.dtype
                rtol = 1e-11 if dtype == "float64" else 1e-6
                np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "m", "d", "count", "p"), CASES)
def test_gradients(gpu: Any, n: int, m: int, d: int, count: int, dtype: str, p: float) -> None:
    x, y = data(n, d, "float64"), data(m, d, "float64", 1)
    if dtype == "float32":  # whole numbers, whose projections are exact and tie
        x, y = (np.round(4 * a).astype(dtype) for a in (x, y))
        directions = np.round(4 * lines(d, count))
    else:
        directions = lines(d, count)
    share = np.random.default_rng(count).random(count)
    options = {**COSTS, "gradient": True, "direction_weights": share}
    for v, w in ((None, None), (None, weights(m, 2)), (weights(n, 1), weights(m, 2))):
        wanted = twin.sliced_costs(x, y, directions, p, v, w, **options)
        found = gpu.sliced_costs(x, y, directions, p, v, w, **options)
        alone, *_ = gpu.sliced_costs(x, y, directions, p, v, w, **COSTS)
        np.testing.assert_array_equal(found[0], alone)
        for a, b in zip(found[1:3], wanted[1:3], strict=True):
            assert a.dtype == b.dtype == dtype
            rtol = 1e-11 if dtype == "float64" else 1e-5
            np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(np.abs(b).max(), 1e-300))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_of_lines(gpu: Any, dtype: str) -> None:
    x, y = data(150, 7, dtype), 1 + 2 * data(90, 7, dtype, 1)
    v = weights(150, 1)
    for one, other in ((None, None), (v, None)):
        for along in (lines(7, 5), None):
            options = {**COSTS, "moments": True}
            wanted = twin.sliced_costs(x, y, along, 2.0, one, other, **options)[5]
            found = gpu.sliced_costs(x, y, along, 2.0, one, other, **options)[5]
            assert wanted is not None
            apart = [np.c_[s[:, 0] - s[:, 1], s[:, 2:]] for s in (found, wanted)]
            rtol = 1e-11 if dtype == "float64" else 1e-5
            np.testing.assert_allclose(*apart, rtol=rtol, atol=rtol)


@pytest.mark.gpu
def test_slopes_by_mass(gpu: Any) -> None:
    x, y = data(50, 3, "float64"), data(40, 3, "float64", 1)
    for along in (lines(3, 5), None):
        options = {**COSTS, "weight_gradient": True}
        wanted = twin.sliced_costs(x, y, along, 2.0, weights(50, 1), None, **options)[3:5]
        found = gpu.sliced_costs(x, y, along, 2.0, weights(50, 1), None, **options)[3:5]
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "m", "d", "count"), SHAPES)
def test_energies(gpu: Any, n: int, m: int, d: int, count: int, dtype: str) -> None:
    x, y = data(n, d, dtype), data(m, d, dtype, 1)
    directions = lines(d, count)
    lattice = [np.round(a).astype(dtype) for a in (x, y)]
    for one, other, along in ((x, y, directions), (*lattice, np.round(directions * 3))):
        wanted = twin.sliced_energy_costs(one, other, along, gradient=True, workers=1)
        found = gpu.sliced_energy_costs(one, other, along, gradient=True, workers=1)
        allowed = 4 * bound_of(x) * size_of(one, other, along)
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12, atol=allowed)
        if dtype == "float32" and one is x:
            continue  # the order of near neighbours depends on rounding
        for a, b in zip(found[1:3], wanted[1:3], strict=True):
            assert a.dtype == dtype
            rtol = 1e-11 if dtype == "float64" else 1e-6
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


@pytest.mark.gpu
@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "m", "d"), [(4200, 4300, 1), (8200, 8301, 2), (4500, 40, 1)])
def test_long_lists_are_sorted_by_all_blocks(
    gpu: Any, n: int, m: int, d: int, dtype: str, ranked: bool
) -> None:
    """From 4096 rows for each slice; several of them on streams of their own."""
    x, y = data(n, d, dtype), data(m, d, dtype, 1)
    x[: n // 2] = np.round(x[: n // 2])
    v = weights(n, 1) if ranked else None
    options = {**COSTS, "gradient": ranked}
    wanted = twin.sliced_costs(x, y, None, 2.0, v, None, **options)
    found = gpu.sliced_costs(x, y, None, 2.0, v, None, **options)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)
    if ranked:
        for a, b in zip(found[1:3], wanted[1:3], strict=True):
            rtol = 1e-11 if dtype == "float64" else 1e-6
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())
    wanted = twin.sliced_energy_costs(x, y, None, gradient=ranked, workers=1)
    found = gpu.sliced_energy_costs(x, y, None, gradient=ranked, workers=1)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)


@pytest.mark.gpu
def test_many_features_are_summed_in_pieces(gpu: Any) -> None:
    x, y = data(140, 700, "float32"), data(130, 700, "float32", 1)
    directions = lines(700, 3)
    wanted, *_ = twin.sliced_costs(x, y, directions, 2.0, None, None, **COSTS)
    found, *_ = gpu.sliced_costs(x, y, directions, 2.0, None, None, **COSTS)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0.0, 3e6])
def test_offsets_and_outliers_cost_no_digits(gpu: Any, dtype: str, offset: float) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-50, 50, size=(n, 6)) + offset for n in (300, 200))
    x[7] *= 1e6 if dtype == "float64" else 16
    x, y = x.astype(dtype), y.astype(dtype)
    directions = np.round(4 * lines(6, 7))
    wanted = twin.sliced_energy_costs(x, y, directions, gradient=True, workers=1)
    found = gpu.sliced_energy_costs(x, y, directions, gradient=True, workers=1)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b).max())


@pytest.mark.gpu
@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("scale", [1e-40, 1e-15, 1e15, 1e35])
def test_any_scale(cupy: Any, scale: float, p: float) -> None:
    x, y = data(60, 8, "float64"), data(70, 8, "float64", 1)
    options: dict[str, Any] = {"p": p, "n_projections": 6, "rng": 1}
    wanted = pt.sliced_wasserstein(x, y, return_gradient=True, **options)
    assert isinstance(wanted, pt.SlicedResult)
    for dtype, rtol in (("float64", 1e-9), ("float32", 1e-4)):
        a, b = (cupy.asarray((scale * one).astype(dtype)) for one in (x, y))
        if dtype == "float32" and scale == 1e-40:  # where numbers have few digits left
            found = pt.sliced_wasserstein(a, b, **options)
            assert found == pytest.approx(scale * wanted.value, rel=1e-3)
            continue
        found = pt.sliced_wasserstein(a, b, return_gradient=True, **options)
        assert isinstance(found, pt.SlicedResult)
        assert found.value == pytest.approx(scale * wanted.value, rel=rtol)
        for one, other in ((found.grad_x, wanted.grad_x), (found.grad_y, wanted.grad_y)):
            np.testing.assert_allclose(one.get(), other, rtol=rtol, atol=0.1 * rtol)


@pytest.mark.gpu
def test_batches_change_no_cost(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(150, 5, "float32"), data(90, 5, "float32", 1)
    directions, v = lines(5, 7), weights(150, 1)

    def results() -> list[Any]:
        options = {**COSTS, "gradient": True, "direction_weights": np.arange(7.0)}
        return [
            *gpu.sliced_costs(x, y, directions, 2.0, None, None, **options)[:3],
            *gpu.sliced_costs(x, y, directions, 3.0, v, None, **options)[:3],
            *gpu.sliced_costs(x, y, None, 1.0, None, None, **COSTS)[:1],
            *gpu.sliced_energy_costs(x, y, directions, gradient=True, workers=1),
        ]

    whole = results()
    monkeypatch.setattr(gpu._cuda, "slice_batches", lambda plan: [(0, 3), (3, 4), (4, plan[3])])
    for a, b in zip(results(), whole, strict=True):
        if a.ndim == 1:
            np.testing.assert_array_equal(a, b)
        else:  # batches are added one after the other
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b).max())


@pytest.mark.gpu
def test_same_bits_every_time_and_on_any_stream(cupy: Any, gpu: Any) -> None:
    x, y = (cupy.asarray(data(n, 6, "float32", n)) for n in (300, 500))
    directions, w = lines(6, 9), weights(500, 1)

    def results() -> list[Any]:
        options = {**COSTS, "gradient": True}
        found = [
            *gpu.sliced_costs(x, y, directions, 2.0, None, w, **options)[:3],
            *gpu.sliced_costs(x, y, directions, 1.5, None, None, **options)[:3],
            *gpu.sliced_energy_costs(x, y, directions, gradient=True, workers=1),
        ]
        return [one if isinstance(one, np.ndarray) else one.get() for one in found]

    first = results()
    cupy.cuda.Device().synchronize()
    with cupy.cuda.Stream(non_blocking=True):
        second = results()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.gpu
def test_strides_are_read_in_place(cupy: Any, gpu: Any) -> None:
    whole = data(140, 26, "float32")
    on_device = cupy.asarray(whole)
    for view in (np.s_[::2, ::2], np.s_[::-1, 3:], np.s_[:70, ::-1], np.s_[7:9, :]):
        for x, a in ((whole[view], on_device[view]), (whole[view].T, on_device[view].T)):
            for along in (None, lines(x.shape[1], 3)):
                wanted, *_ = twin.sliced_costs(x, x[:1], along, 2.0, None, None, **COSTS)
                found, *_ = gpu.sliced_costs(a, a[:1], along, 2.0, None, None, **COSTS)
                np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_array_equal(on_device.get(), whole)


@pytest.mark.gpu
def test_values_that_are_not_finite_harm_nothing(gpu: Any) -> None:
    x, y = data(140, 3, "float32"), data(90, 3, "float32", 1)
    x[3, 1], x[5, 0], y[7, 2] = np.nan, np.inf, -np.inf
    for along in (None, lines(3, 4)):
        for w in (None, weights(90, 1)):
            options = {**COSTS, "gradient": True}
            costs, *_ = gpu.sliced_costs(x, y, along, 2.0, None, w, **options)
            assert not np.isfinite(costs).any()
        costs, _, _ = gpu.sliced_energy_costs(x, y, along, gradient=True, workers=1)
        assert not np.isfinite(costs).any()
    clean = gpu.sliced_costs(x[8:], y[8:], None, 2.0, None, None, **COSTS)[0]
    assert np.isfinite(clean).all()


@pytest.mark.gpu
def test_progress_reports_and_can_abort(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pairtile import _cuda

    monkeypatch.setattr(_cuda, "slice_batches", lambda plan: [(0, 2), (2, plan[3])])
    x = cupy.asarray(data(100, 4, "float32"))
    told: list[tuple[int, int]] = []
    pt.sliced_wasserstein(x, x[:50], n_projections=5, progress=lambda *now: told.append(now))
    assert told == [(2, 5), (5, 5)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pt.sliced_energy(x, x[:50], n_projections=5, progress=stop)


@pytest.mark.gpu
def test_public_functions(cupy: Any) -> None:
    x, y = data(160, 5, "float64"), data(80, 5, "float64", 1)
    a, b = cupy.asarray(x), cupy.asarray(y)
    options: dict[str, Any] = {"n_projections": 12, "rng": 3}
    for p in ORDERS:
        for weighted in (False, True):
            kw: dict[str, Any] = {"p": p, **options}
            given: dict[str, Any] = {}
            if weighted:
                kw["x_weights"], kw["y_weights"] = weights(160, 1), weights(80, 2)
                kw["direction_weights"] = np.arange(12.0)
                given["y_weights"] = cupy.asarray(kw["y_weights"])
            wanted = pt.sliced_wasserstein(x, y, return_gradient=True, **kw)
            found = pt.sliced_wasserstein(a, b, return_gradient=True, **{**kw, **given})
            assert found.value == pytest.approx(wanted.value, rel=1e-12)
            assert found.standard_error == pytest.approx(
                wanted.standard_error, rel=1e-9, nan_ok=True
            )
            for one, other in ((found.grad_x, wanted.grad_x), (found.grad_y, wanted.grad_y)):
                assert isinstance(one, cupy.ndarray)
                np.testing.assert_allclose(one.get(), other, rtol=1e-10, atol=1e-14)
            assert pt.sliced_wasserstein(a, b, **kw) == found.value
            along = pt.wasserstein_1d(a, b, p=p, x_weights=kw.get("x_weights"))
            assert isinstance(along, cupy.ndarray)
            theirs = pt.wasserstein_1d(x, y, p=p, x_weights=kw.get("x_weights"))
            np.testing.assert_allclose(along.get(), theirs, rtol=1e-12)
            single = pt.wasserstein_1d(a[:, 0], b[:, 0], p=p)
            assert isinstance(single, float)
            assert single == pytest.approx(pt.wasserstein_1d(x[:, 0], y[:, 0], p=p), rel=1e-12)
    unit = lines(5, 6) / np.linalg.norm(lines(5, 6), axis=0)
    for chosen in (
        {"method": "orthogonal"},
        {"method": "sobol"},
        {"directions": cupy.asarray(unit.astype(np.float32))},
    ):
        kw = {**chosen, "full": True, **options}
        assert pt.sliced_energy(a, b, **kw).value == pytest.approx(
            pt.sliced_energy(x, y, **kw).value, rel=1e-12
        )
    wanted = pt.sliced_energy(x, y, return_gradient=True, **options)
    found = pt.sliced_energy(a, b, return_gradient=True, **options)
    assert found.value == pytest.approx(wanted.value, rel=1e-12)
    np.testing.assert_allclose(found.grad_x.get(), wanted.grad_x, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(found.grad_y.get(), wanted.grad_y, rtol=1e-10, atol=1e-15)
    same = pt.sliced_wasserstein(a, a[::-1], return_gradient=True, **options)
    assert same.value == 0
    assert not same.grad_x.get().any()
    with pytest.raises(TypeError, match="both must be on one device"):
        pt.sliced_wasserstein(a, y)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_sliced_test(cupy: Any, dtype: str) -> None:
    """On the host, whose very numbers it gives."""
    x, y = data(60, 5, dtype), data(50, 5, dtype, 1)
    for statistic in ("energy", "wasserstein", "max"):
        options: dict[str, Any] = {"statistic": statistic, "n_permutations": 19, "rng": 0}
        wanted = pt.sliced_test(x, y, **options)
        found = pt.sliced_test(cupy.asarray(x), cupy.asarray(y), **options)
        assert isinstance(found.null_distribution, cupy.ndarray)
        np.testing.assert_array_equal(found.null_distribution.get(), wanted.null_distribution)
        assert found[:2] == wanted[:2]


@pytest.mark.gpu
def test_host_arrays_when_cuda_is_chosen(cupy: Any) -> None:
    x, y = data(60, 5, "float64"), data(50, 5, "float64", 1)
    options: dict[str, Any] = {"n_projections": 5, "rng": 0, "return_gradient": True}
    wanted = pt.sliced_wasserstein(x, y, **options)
    chosen = pt.backend()
    pt.set_backend("cuda")
    try:
        for one in (x, x.astype(">f8"), np.asfortranarray(x)):
            found = pt.sliced_wasserstein(one, y, **options)
            assert isinstance(found.grad_x, np.ndarray)
            assert found.value == pytest.approx(wanted.value, rel=1e-12)
            np.testing.assert_allclose(found.grad_x, wanted.grad_x, rtol=1e-10, atol=1e-14)
    finally:
        pt.set_backend(chosen)
