"""Samples that are not in memory: the bits of those in memory, a batch of directions at a time."""

from __future__ import annotations

import math
import re
import textwrap
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.format import open_memmap

import pairtile as pt
from backends import on_backend
from pairtile._backends import choose
from pairtile._backends.blocks import slices as streamed
from pairtile._front import validate
from pairtile.slices.moments import ColumnMoments
from processes import PEAK, measures_memory, run_python
from strategies import SEEDS, pairs_of_sets

BACKENDS = [pytest.param("native", marks=pytest.mark.native), "numpy"]
pytestmark = pytest.mark.host


class Stored:
    """Nothing but a shape, a dtype and row slicing; remembers which rows were read."""

    def __init__(self, a: Any, chunk: int | None = None) -> None:
        self._a, self.shape, self.dtype = a, a.shape, a.dtype
        self.read: list[range] = []
        if chunk:
            self.chunks = (chunk, *a.shape[1:])

    def __getitem__(self, rows: slice) -> Any:
        assert isinstance(rows, slice)
        self.read.append(range(len(self._a))[rows])
        return self._a[rows].copy()


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few rows, whatever memory there is."""
    monkeypatch.setattr(streamed, "BLOCK", 1000)


def sets(n: int, m: int, d: int, dtype: Any = np.float32, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(n, d)).astype(dtype),
        (1.3 * rng.normal(size=(m, d)) + 0.4).astype(dtype),
    )


def both(call: Any, x: Any, y: Any, **options: Any) -> tuple[Any, Any]:
    """Results of the samples in memory and of the same ones read block by block."""
    return call(x, y, **options), call(Stored(x), Stored(y), **options)


# --- the same answer ----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    sets=pairs_of_sets(
        rows=st.one_of(st.integers(1, 40), st.sampled_from([129, 300])),
        features=st.sampled_from([1, 3, 8, 17]),
    ),
    n_slices=st.sampled_from([1, 5, 13, 15, 33]),
    which=st.sampled_from([(True, True), (True, False), (False, True)]),
    p=st.sampled_from([1.0, 1.5, 2.0]),
    weighted=st.booleans(),
    block=st.integers(1, 3000),
    seed=SEEDS,
)
def test_results_are_those_in_memory(backend, sets, n_slices, which, p, weighted, block, seed):
    x, y = (points.array for points in sets)
    stored = [Stored(a) if store else a for a, store in zip((x, y), which, strict=True)]
    rng = np.random.default_rng(seed)
    directions = pt.sphere_directions(x.shape[1], n_slices, rng=rng)
    options: dict[str, Any] = {"directions": directions, "full": True}
    weights: dict[str, Any] = {"p": p}
    if weighted:
        weights["x_weights"], weights["y_weights"] = rng.random(len(x)), rng.random(len(y))
    before, streamed.BLOCK = streamed.BLOCK, block
    try:
        with on_backend(backend):
            size = max(np.abs(points.values).max() for points in sets)
            line = 8 * (len(x) + len(y))
            limit = rng.choice([0, 40 * line, 60 * line]) * 8 or None
            for call, more in ((pt.sliced_wasserstein, weights), (pt.sliced_energy, {})):
                expected = call(x, y, **options, **more)
                found = call(*stored, **options, **more, memory_limit=limit)
                assert found.value == pytest.approx(expected.value, rel=1e-13, abs=1e-13 * size)
                if backend == "native":
                    assert found.value == expected.value
    finally:
        streamed.BLOCK = before


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "bfloat16", "int8", ">f4", "i8"]
)
@pytest.mark.usefixtures("small_blocks")
def test_every_dtype(dtype):
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x, y = sets(700, 500, 6)
    x, y = ((20 * a).astype(kind) for a in (x, y))
    for call in (pt.sliced_wasserstein, pt.sliced_energy):
        expected, found = both(call, x, y, n_projections=20, rng=0)
        assert found == (
            expected if pt.backend() == "native" else pytest.approx(expected, rel=1e-13)
        )


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.usefixtures("small_blocks")
def test_memory_maps(order, tmp_path):
    x, y = sets(900, 400, 5)
    maps = []
    for name, a in (("x", x), ("y", y)):
        rows = open_memmap(tmp_path / name, "w+", a.dtype, a.shape, fortran_order=order == "F")
        rows[:] = a
        rows.flush()
        maps.append(np.load(tmp_path / name, mmap_mode="r"))
    weights = np.random.default_rng(0).random(900)
    for options in ({}, {"x_weights": weights}, {"p": 3}):
        expected = pt.sliced_wasserstein(x, y, rng=0, **options)
        assert pt.sliced_wasserstein(*maps, rng=0, **options) == expected
        assert pt.sliced_wasserstein(maps[0][::-1], y, rng=0, **options) == pytest.approx(
            pt.sliced_wasserstein(x[::-1], y, rng=0, **options), rel=1e-12
        )
    column = pt.sliced_wasserstein(maps[0][:, 0], maps[1][:, 0], directions=[[1.0]])
    assert column == pt.sliced_wasserstein(x[:, 0], y[:, 0], directions=[[1.0]])
    # gradients are of rows that are read whole
    expected = pt.sliced_wasserstein(x, y, rng=0, return_gradient=True)
    found = pt.sliced_wasserstein(*maps, rng=0, return_gradient=True)
    assert found.value == expected.value
    assert found.grad_x.tobytes() == expected.grad_x.tobytes()


@pytest.mark.oracle("h5py")
def test_arrays_of_h5py(tmp_path):
    import h5py

    x, y = sets(2500, 1500, 5)
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        stored = [
            file.create_dataset(name, data=a, chunks=(512, 5)) for name, a in (("x", x), ("y", y))
        ]
        column = file.create_dataset("column", data=x[:, 0])
        assert pt.sliced_wasserstein(*stored, rng=0) == pt.sliced_wasserstein(x, y, rng=0)
        assert pt.sliced_energy(*stored, rng=0) == pt.sliced_energy(x, y, rng=0)
        found = pt.sliced_energy(column, y[:, 0], directions=[[1.0]])
        assert found == pt.sliced_energy(x[:, 0], y[:, 0], directions=[[1.0]])


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("control", ["moments", "harmonics", None])
@pytest.mark.parametrize(("weighted", "scale"), [(False, 1), (True, 1), (False, 2.0**60)])
def test_control_variates_are_those_in_memory(backend, control, weighted, scale):
    """Moments of the columns come from the pass that projects them."""
    x, y = (np.float32(scale) * a for a in sets(5000, 300, 6))
    options: dict[str, Any] = {"n_projections": 200, "rng": 0, "control": control, "full": True}
    if weighted:
        options["x_weights"] = np.arange(5000) % 3
    with on_backend(backend):
        expected = pt.sliced_wasserstein(x, y, method="gaussian", **options)
        stored = Stored(x)
        found = pt.sliced_wasserstein(stored, Stored(y), method="gaussian", **options)
    assert found.control == expected.control == control
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-9)
    assert sum(map(len, stored.read)) <= 5000 + 2048


# --- digits -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "first",
    ["far away", "constant", "zero", "huge", "tiny"],
)
def test_first_rows_that_are_not_typical(first, dtype):
    """The frame is not that of the first block: no digits are lost that are kept in memory."""
    x, y = sets(6000, 5000, 4, np.float64)
    x[:100] = {
        "far away": 1e7 + x[:100],
        "constant": 3.0,
        "zero": 0.0,
        "huge": x[:100] * 1e25,
        "tiny": x[:100] * 1e-25,
    }[first]
    x, y = x.astype(dtype), y.astype(dtype)
    for call in (pt.sliced_wasserstein, pt.sliced_energy):
        expected, found = both(call, x, y, n_projections=10, rng=0)
        assert found == pytest.approx(expected, rel=1e-12, abs=0)
        expected, found = both(call, x[::-1], y, n_projections=10, rng=0)
        assert found == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("store", [Stored, np.asarray])
def test_first_rows_far_away_cost_the_others_no_digits(store):
    """Rows that weigh next to nothing, but are the first ones."""
    x, y = sets(6000, 5000, 4)
    weights = np.ones(6000)
    weights[:100] = 1e-13
    options: dict[str, Any] = {"p": 1, "x_weights": weights, "n_projections": 10, "rng": 0}
    x[:100] += 1e7
    wide = pt.sliced_wasserstein(x.astype(np.float64), y.astype(np.float64), **options)
    found = pt.sliced_wasserstein(store(x), store(y), **options)
    assert found == pytest.approx(wide, rel=1e-6)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e30, 1e37])
def test_numbers_near_the_ends_of_float32(scale):
    x, y = sets(400, 300, 4, np.float64)
    x[:200] *= 1e-6  # so that the largest number grows on the way
    x, y = ((scale * a).astype(np.float32) for a in (x, y))
    for p in (1, 1.5, 2, 9):
        expected, found = both(pt.sliced_wasserstein, x, y, p=p, n_projections=10, rng=0)
        assert 0.01 * scale < found < 10 * scale
        assert found == pytest.approx(expected, rel=1e-6)
        wide = pt.sliced_wasserstein(
            x.astype(np.float64), y.astype(np.float64), p=p, n_projections=10, rng=0
        )
        assert found == pytest.approx(wide, rel=1e-5)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("scale", [1e-306, 1e-200, 1e200, 1e306])
def test_numbers_near_the_ends_of_float64(scale):
    x, y = sets(400, 300, 4, np.float64)
    for p in (1, 2, 30):
        plain = pt.sliced_wasserstein(x, y, p=p, n_projections=10, rng=0)
        found = pt.sliced_wasserstein(
            Stored(scale * x), Stored(scale * y), p=p, n_projections=10, rng=0
        )
        assert found / scale == pytest.approx(plain, rel=1e-9)


def test_an_offset_costs_no_digits():
    """Rows far from 0 are projected about their middle, in float32 as well."""
    rng = np.random.default_rng(5)
    x, y = (rng.integers(-8, 9, size=(n, 3)) * 8.0 for n in (3000, 2500))
    options = {"n_projections": 8, "rng": 0}
    plain = pt.sliced_wasserstein(x, y, **options)
    far = [(1e8 + a).astype(np.float32) for a in (x, y)]  # exact: multiples of 8
    assert pt.sliced_wasserstein(*map(Stored, far), **options) == pytest.approx(plain, rel=1e-6)
    assert pt.sliced_wasserstein(*far, **options) == pytest.approx(plain, rel=1e-6)


@pytest.mark.usefixtures("small_blocks")
def test_an_offset_that_leaves_float64():
    """Where x − centre overflows the pass is begun again, about 0."""
    x = np.full((3000, 4), -1e308)
    x[-5:, ::2] *= -1
    y = np.full((10, 4), -1e308)
    directions = np.full((4, 1), 0.5)
    expected, found = both(pt.sliced_wasserstein, x, y, p=1, directions=directions)
    assert math.isfinite(expected)
    assert found == pytest.approx(expected, rel=1e-12)


def test_powers_that_leave_float64():
    x, y = sets(200, 150, 3, np.float64)
    expected, found = both(pt.sliced_wasserstein, x, y, p=900, n_projections=5, rng=0)
    assert found == pytest.approx(expected, rel=1e-12)
    # the same rows: every cost is 0
    assert pt.sliced_wasserstein(Stored(x), Stored(x), n_projections=5, rng=0) == 0


def test_directions_of_any_length():
    """As distances of large orders are found with: in the unit of each line."""
    x, y = sets(200, 150, 3)
    rows = validate.matrix("x", Stored(x), blocks=True)
    directions = pt.sphere_directions(3, 5, rng=0)
    costs = choose.module(rows).sliced_energy_costs
    plain, *_ = costs(rows, y, directions, gradient=False, workers=1)
    for scale in (1e-300, 1e-30, 1e30, 1e300):
        found, *_ = costs(rows, y, scale * directions, gradient=False, workers=1)
        np.testing.assert_allclose(found / scale, plain, rtol=1e-6)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [1, 2, 40])
def test_rows_without_mass_may_be_of_any_size(dtype, p):
    x, y = sets(400, 300, 4, dtype)
    weights = np.arange(400) % 3 + 0.0
    options: dict[str, Any] = {"p": p, "x_weights": weights, "n_projections": 6, "rng": 0}
    kept = pt.sliced_wasserstein(Stored(x), Stored(y), **options)
    x[weights == 0] = 3e38 if dtype == "float32" else 1.7e308
    assert pt.sliced_wasserstein(Stored(x), Stored(y), **options) == pytest.approx(kept, rel=1e-6)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("call", [pt.sliced_wasserstein, pt.wasserstein_1d])
def test_rows_that_decide_the_centre_may_all_be_without_mass(call):
    x, y = sets(6000, 300, 4)
    weights = np.ones(6000)
    weights[choose.host_module().centre_rows(6000, 4)] = 0
    assert weights.any()
    options = {"rng": 0, "n_projections": 6} if call is pt.sliced_wasserstein else {}
    expected, found = both(call, 1e3 + x, 1e3 + y, x_weights=weights, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_least_limit_is_named_and_works(backend, weighted):
    x, y = sets(3000, 2000, 4)
    options: dict[str, Any] = {"n_projections": 20, "rng": 0}
    if weighted:
        options["x_weights"] = np.random.default_rng(0).random(3000)
    with on_backend(backend):
        expected = pt.sliced_wasserstein(x, y, **options)
        for store in (Stored, np.asarray):
            with pytest.raises(ValueError, match=r"memory_limit=1000 is too small: one") as refused:
                pt.sliced_wasserstein(store(x), store(y), memory_limit=1000, **options)
            found = re.search(r"at least (\d+) bytes", str(refused.value))
            assert found
            least = int(found[1])
            stored = store(x), store(y)
            got = pt.sliced_wasserstein(*stored, memory_limit=least, **options)
            assert got == pytest.approx(expected, rel=1e-13)
            with pytest.raises(ValueError, match="too small"):
                pt.sliced_wasserstein(*stored, memory_limit=least - 1, **options)
            if store is Stored:  # once for each direction
                assert sum(len(rows) for rows in stored[0].read if rows.start == 0) >= 20
                assert len([rows for rows in stored[0].read if rows.stop == 3000]) >= 20
            for bad, error in ((0, ValueError), (1.5, TypeError), ("many", ValueError)):
                with pytest.raises(error, match="memory_limit must be"):
                    pt.sliced_wasserstein(*stored, memory_limit=bad, **options)


@pytest.mark.native
def test_rows_are_read_once_for_a_batch():
    x, y = sets(9000, 10, 4)
    stored = Stored(x)
    pt.sliced_wasserstein(stored, y, n_projections=50, rng=0)
    # the rows that decide the centre come before
    assert sum(map(len, stored.read)) == 2048 + 9000
    stored.read.clear()
    line = 4 * 9010
    pt.sliced_wasserstein(stored, y, n_projections=50, rng=0, memory_limit=26 * line)
    passes = (sum(map(len, stored.read)) - 2048) / 9000
    assert passes in (2, 3)  # a quarter or less is for blocks of rows and for sorting


def test_blocks_are_whole_chunks():
    x, y = sets(9000, 10, 4)
    stored = Stored(x, chunk=700)
    streamed_block, streamed.BLOCK = streamed.BLOCK, 16 * 1500
    try:
        pt.sliced_energy(stored, y, n_projections=3, rng=0)
    finally:
        streamed.BLOCK = streamed_block
    blocks = [rows for rows in stored.read if len(rows) > 64]
    assert {rows.start % 700 for rows in blocks} == {0}
    assert max(map(len, blocks)) == 1400


@measures_memory
@pytest.mark.native
def test_peak_memory(tmp_path):
    """Two samples of 26 MB, and as much of projections, within a limit of 10 MB."""
    rng = np.random.default_rng(0)
    for name in "xy":
        np.save(tmp_path / f"{name}.npy", rng.random((100_000, 64), dtype=np.float32))
    run_python(
        textwrap.dedent(PEAK)
        + textwrap.dedent(f"""
        x, y = (np.load(f"{tmp_path}/{{name}}.npy", mmap_mode="r") for name in "xy")
        pt.sliced_wasserstein(x[:90], y[:90], n_projections=4)
        limit = 10 << 20
        weights = rng.random(len(x))
        of_x, of_y = (np.array(a) for a in (x, y))
        directions = pt.sphere_directions(64, 32, rng=0)
        options = {{"directions": directions, "memory_limit": limit, "workers": 2}}
        small = {{**options, "memory_limit": 4 << 20}}
        in_memory = growth(lambda: pt.sliced_wasserstein(of_x, of_y, **small))
        more = 2 << 20  # of threads and of the allocator
        assert in_memory <= (4 << 20) + more, in_memory
        used = {{
            "maps": growth(lambda: pt.sliced_wasserstein(x, y, **options)),
            "weights": growth(lambda: pt.sliced_wasserstein(x, y, x_weights=weights, **options)),
            "energy": growth(lambda: pt.sliced_energy(x, y, **options)),
            "one of them": growth(lambda: pt.sliced_energy(x, of_y, **options)),
        }}
        assert all(size <= limit + more for size in used.values()), used
        assert pt.sliced_energy(x, y, **options) == pt.sliced_energy(
            of_x, of_y, directions=directions
        )
        """)
    )


# --- what is said -------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("call", [pt.sliced_wasserstein, pt.sliced_energy])
def test_a_bad_row_is_named(call):
    x, y = sets(4000, 3000, 5)
    bad = y.copy()
    bad[[2901, 2950], 3] = np.inf
    with pytest.raises(ValueError, match="y contains NaN or Inf; the first bad row is 2901"):
        call(Stored(x), Stored(bad), rng=0)
    bad[2900, 2] = np.nan
    with pytest.raises(ValueError, match="x contains NaN or Inf; the first bad row is 2900"):
        call(Stored(bad), y, rng=0)


def test_other_shapes_are_refused():
    x, y = sets(40, 30, 5)
    with pytest.raises(ValueError, match="x has 5 columns and y has 4"):
        pt.sliced_wasserstein(Stored(x), Stored(y[:, :4]))
    with pytest.raises(ValueError, match="x must be 2-D"):
        pt.sliced_wasserstein(Stored(np.zeros((3, 4, 5))), y)
    with pytest.raises(ValueError, match="x is empty"):
        pt.sliced_wasserstein(Stored(x[:0]), y)
    with pytest.raises(TypeError, match="x must hold real numbers"):
        pt.sliced_wasserstein(Stored(x.astype(complex)), y)


@pytest.mark.parametrize("call", [pt.sliced_wasserstein, pt.sliced_energy])
def test_progress_moves_within_a_pass(call):
    told: list[tuple[int, int]] = []
    x, y = sets(4000, 3000, 5)
    before, streamed.BLOCK = streamed.BLOCK, 20 * 500
    try:
        call(
            Stored(x), Stored(y), n_projections=60, rng=0, memory_limit=1_000_000,
            progress=lambda *now: told.append(now),
        )  # fmt: skip
    finally:
        streamed.BLOCK = before
    assert told == sorted(told)
    assert {total for _, total in told} == {60 * 7000}
    assert told[-1] == (60 * 7000, 60 * 7000)
    # several passes, and several blocks of each
    assert len({done for done, _ in told}) > 20


@pytest.mark.usefixtures("small_blocks")
def test_a_call_ends_between_two_blocks():
    x, y = sets(4000, 3000, 5)
    stored = Stored(x)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pt.sliced_wasserstein(stored, y, rng=0, progress=stop)
    assert len([rows for rows in stored.read if len(rows) != 64]) == 1


def test_column_moments_come_from_the_same_pass():
    x, y = sets(9000, 10, 4)
    stored = Stored(x)
    rows = validate.matrix("x", stored, blocks=True)
    moments = ColumnMoments(rows, None, workers=1)
    directions = pt.sphere_directions(4, 3, rng=0)
    found = choose.module(rows).sliced_costs(
        rows, y, directions, 2.0, None, None, gradient=False, moments=True,
        direction_weights=None, workers=1,
    )  # fmt: skip
    read = len(stored.read)
    mean, variance = moments.value()
    assert len(stored.read) == read
    np.testing.assert_allclose(mean, x.astype(float).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(variance, x.astype(float).var(axis=0), rtol=1e-12)
    # moments of the lines are those of the projections
    lines = x.astype(float) @ directions
    np.testing.assert_allclose(found[5][:, 2], lines.var(axis=0), rtol=1e-5)
    of_y = y.astype(float) @ directions
    np.testing.assert_allclose(
        found[5][:, 0] - found[5][:, 1], lines.mean(axis=0) - of_y.mean(axis=0), atol=1e-5
    )


# --- by hand ------------------------------------------------------------------------------------


@measures_memory
@pytest.mark.hand
@pytest.mark.native
def test_ten_million_rows_in_six_gigabytes(tmp_path):
    """10M + 10M x 64 float32, 5.1 GB in files, along 64 directions."""
    rng = np.random.default_rng(0)
    for name, shift in (("x", 0.0), ("y", 0.1)):
        rows = open_memmap(tmp_path / f"{name}.npy", "w+", np.float32, (10_000_000, 64))
        for start in range(0, len(rows), 100_000):
            some = rng.standard_normal((100_000, 64), np.float32)
            rows[start : start + 100_000] = some + np.float32(shift)
        del rows
    print(
        run_python(
            textwrap.dedent(PEAK)
            + textwrap.dedent(f"""
            import time
            x, y = (np.load(f"{tmp_path}/{{name}}.npy", mmap_mode="r") for name in "xy")
            told, found = [], []
            start = time.monotonic()
            used = growth(lambda: found.append(pt.sliced_wasserstein(
                x, y, n_projections=64, rng=0, memory_limit="6GB",
                progress=lambda *now: told.append(now),
            )))
            took = time.monotonic() - start
            print(f"{{found[0]}} in {{took:.1f}} s, {{used / 1e6:.0f}} MB, {{len(told)}} reports")
            assert used <= 6e9
            """)
        )
    )


# --- columns ------------------------------------------------------------------------------------


def assert_alike(found: pt.ColumnStatistics, expected: pt.ColumnStatistics, exact: bool) -> None:
    assert found.names == expected.names
    for one, other in zip(found[1:], expected[1:], strict=True):
        if exact:
            np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    sets=pairs_of_sets(
        rows=st.one_of(st.integers(1, 40), st.sampled_from([129, 300])),
        features=st.sampled_from([1, 3, 8, 17]),
    ),
    which=st.sampled_from([(True, True), (True, False), (False, True)]),
    p=st.sampled_from([1.0, 1.5, 2.0, 30.0, math.inf]),
    weighted=st.booleans(),
    block=st.integers(1, 3000),
    seed=SEEDS,
)
def test_columns_are_those_in_memory(backend, sets, which, p, weighted, block, seed):
    x, y = (points.array for points in sets)
    stored = [Stored(a) if store else a for a, store in zip((x, y), which, strict=True)]
    rng = np.random.default_rng(seed)
    weights: dict[str, Any] = {}
    if weighted:
        weights = {"x_weights": rng.random(len(x)), "y_weights": rng.random(len(y))}
    before, streamed.BLOCK = streamed.BLOCK, block
    try:
        with on_backend(backend):
            line = 8 * (len(x) + len(y))
            limit = int(rng.choice([0, 40 * line, 60 * line])) * 8 or None
            expected = pt.wasserstein_1d(x, y, p=p, **weights)
            found = pt.wasserstein_1d(*stored, p=p, memory_limit=limit, **weights)
            assert found.shape == expected.shape
            np.testing.assert_array_equal(found, expected)
            assert_alike(
                pt.column_statistics(*stored, memory_limit=limit),
                pt.column_statistics(x, y),
                exact=True,
            )
    finally:
        streamed.BLOCK = before


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.usefixtures("small_blocks")
def test_columns_of_memory_maps(order, tmp_path):
    x, y = sets(900, 400, 5)
    maps = []
    for name, a in (("x", x), ("y", y)):
        rows = open_memmap(tmp_path / name, "w+", a.dtype, a.shape, fortran_order=order == "F")
        rows[:] = a
        rows.flush()
        maps.append(np.load(tmp_path / name, mmap_mode="r"))
    np.testing.assert_array_equal(pt.wasserstein_1d(*maps), pt.wasserstein_1d(x, y))
    assert_alike(pt.column_statistics(*maps), pt.column_statistics(x, y), exact=True)
    one, other = maps[0][:, 0], maps[1][:, 0]
    value = pt.wasserstein_1d(one, other)
    assert isinstance(value, float)
    assert value == pt.wasserstein_1d(x[:, 0], y[:, 0])
    assert pt.column_statistics(one, y[:, 0]).w1[0] == pytest.approx(value, rel=1e-12)
    with pytest.raises(ValueError, match="x is 1-D and y is 2-D"):
        pt.wasserstein_1d(one, maps[1])
    # gradients are of rows that are read whole
    expected = pt.wasserstein_1d(x, y, return_gradient=True)
    found = pt.wasserstein_1d(*maps, return_gradient=True)
    np.testing.assert_array_equal(found.grad_x, expected.grad_x)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("p", [1, 2, 40, math.inf])
@pytest.mark.parametrize("scale", [1e-306, 1e-200, 1e200, 1e306])
def test_columns_near_the_ends_of_float64(scale, p):
    """Columns whose powers leave float64 are looked at again, each by itself."""
    x, y = sets(400, 300, 3, np.float64)
    x[:, 1] *= scale
    y[:, 1] *= scale
    expected, found = both(pt.wasserstein_1d, x, y, p=p)
    np.testing.assert_array_equal(found, expected)
    assert 0.01 * scale < found[1] < 10 * scale


@pytest.mark.native
@pytest.mark.parametrize("call", [pt.wasserstein_1d, pt.column_statistics])
def test_columns_are_read_once_for_a_batch(call):
    x, y = sets(9000, 10, 4)
    stored = Stored(x)
    call(stored, y)
    assert sum(map(len, stored.read)) == 9000
    stored.read.clear()
    told: list[tuple[int, int]] = []
    line = 4 * 9010
    call(stored, y, memory_limit=5 * line, progress=lambda *now: told.append(now))
    passes = sum(map(len, stored.read)) / 9000
    assert passes in (2, 4)
    assert told == sorted(told)
    assert told[-1] == (4 * 9010, 4 * 9010)


@pytest.mark.native
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", ["sliced_costs", "column_statistics"])
def test_lines_of_columns_and_what_sorts_them_share_the_limit(name, monkeypatch):
    """And progress goes on from batch to batch: rows once as they are read, once sorted."""
    x, y = sets(9000, 10, 4)
    n, given, told = 9010, [], []
    engine = choose.module()
    whole = getattr(engine, name)

    def spied(a, b, *arguments, memory_limit, progress, **options):
        progress(1, 1)
        given.append((a.nbytes + b.nbytes, memory_limit))
        return whole(a, b, *arguments, memory_limit=memory_limit, progress=None, **options)

    monkeypatch.setattr(engine, name, spied)
    limit = 3 * 4 * n
    arguments = (np.linspace(0, 1, 3),) if name == "column_statistics" else (None, 1.0, None, None)
    options = {} if name == "column_statistics" else {"gradient": False, "direction_weights": None}
    getattr(streamed, name)(
        streamed.Rows("x", Stored(x), x.dtype, check_finite=True), y, *arguments, workers=1,
        memory_limit=limit, progress=lambda *now: told.append(now), **options,
    )  # fmt: skip
    assert len(given) > 1
    for lines, engines in given:
        assert 0 < engines <= limit - lines
    done = [now for now, _ in told]
    assert done == sorted(set(done))
    assert told[-1] == (2 * 4 * n, 2 * 4 * n)
    assert {total for _, total in told} == {2 * 4 * n}


@pytest.mark.parametrize("call", [pt.wasserstein_1d, pt.column_statistics])
def test_the_least_limit_of_columns_is_named_and_works(call):
    x, y = sets(3000, 2000, 4)
    for store in (Stored, np.asarray):
        with pytest.raises(ValueError, match=r"memory_limit=1000 is too small: one") as refused:
            call(store(x), store(y), memory_limit=1000)
        found = re.search(r"at least (\d+) bytes", str(refused.value))
        assert found
        expected, got = call(x, y), call(store(x), store(y), memory_limit=int(found[1]))
        np.testing.assert_array_equal(
            np.ravel(got[1] if isinstance(got, tuple) else got),
            np.ravel(expected[1] if isinstance(expected, tuple) else expected),
        )
        with pytest.raises(ValueError, match="too small"):
            call(store(x), store(y), memory_limit=int(found[1]) - 1)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("call", [pt.wasserstein_1d, pt.column_statistics])
def test_a_bad_row_of_columns_is_named(call):
    x, y = sets(4000, 3000, 5)
    bad = y.copy()
    bad[[2901, 2950], 3] = np.inf
    with pytest.raises(ValueError, match="y contains NaN or Inf; the first bad row is 2901"):
        call(Stored(x), Stored(bad))
    with pytest.raises(ValueError, match="x has 5 columns and y has 4"):
        call(Stored(x), Stored(y[:, :4]))
    with pytest.raises(ValueError, match="x is empty"):
        call(Stored(x[:0]), y)


@pytest.mark.oracle("zarr")
def test_columns_of_zarr(tmp_path):
    import zarr

    x, y = sets(700, 500, 4)
    stored = zarr.create_array(str(tmp_path / "x"), shape=x.shape, dtype=x.dtype, chunks=(90, 3))
    stored[:] = x
    np.testing.assert_array_equal(pt.wasserstein_1d(stored, y), pt.wasserstein_1d(x, y))
    assert_alike(pt.column_statistics(stored, y), pt.column_statistics(x, y), exact=True)
    options: dict[str, Any] = {"n_projections": 9, "rng": 0}
    assert pt.sliced_wasserstein(stored, y, **options) == pt.sliced_wasserstein(x, y, **options)


@pytest.mark.oracle("dask")
def test_columns_of_dask():
    from dask import array

    x, y = sets(700, 500, 4)
    stored = array.from_array(x, chunks=((300, 400), (4,)))
    np.testing.assert_array_equal(pt.wasserstein_1d(stored, y), pt.wasserstein_1d(x, y))
    assert_alike(pt.column_statistics(stored, y), pt.column_statistics(x, y), exact=True)
    options: dict[str, Any] = {"n_projections": 9, "rng": 0}
    assert pt.sliced_wasserstein(stored, y, **options) == pt.sliced_wasserstein(x, y, **options)


@measures_memory
@pytest.mark.native
def test_peak_memory_of_columns(tmp_path):
    """Two samples of 32 MB in files within a limit of 10 MB."""
    rng = np.random.default_rng(0)
    for name in "xy":
        np.save(tmp_path / f"{name}.npy", rng.random((400_000, 20), dtype=np.float32))
    run_python(
        textwrap.dedent(PEAK)
        + textwrap.dedent(f"""
        x, y = (np.load(f"{tmp_path}/{{name}}.npy", mmap_mode="r") for name in "xy")
        pt.wasserstein_1d(x[:90], y[:90]), pt.column_statistics(x[:90], y[:90])
        limit = 10 << 20
        options = {{"memory_limit": limit, "workers": 2}}
        more = 2 << 20  # of threads and of the allocator
        used = {{
            "distances": growth(lambda: pt.wasserstein_1d(x, y, **options)),
            "statistics": growth(lambda: pt.column_statistics(x, y, **options)),
        }}
        assert all(size <= limit + more for size in used.values()), used
        """),
        MALLOC_MMAP_THRESHOLD_="65536",  # else malloc keeps what the column before had
    )
