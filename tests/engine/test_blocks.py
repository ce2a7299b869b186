"""Sets that are not in memory: the bits of a search in memory, read a block at a time."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.format import open_memmap

import pairtile as pt
from backends import assert_same_bits, blocks_of, on_backend
from pairtile._backends.blocks import neighbors as blocks
from pairtile._backends.rows import Rows
from processes import PEAK, measures_memory, run_python
from strategies import SEEDS, pairs_of_sets, point_sets

if TYPE_CHECKING:
    pass

METRICS = ("euclidean", "sqeuclidean", "cosine", "inner_product", "manhattan", "chebyshev")
SQUARES = ("euclidean", "sqeuclidean", "inner_product")
DISTANCES = tuple(metric for metric in METRICS if metric != "inner_product")
pytestmark = pytest.mark.host

BACKENDS = [pytest.param("native", marks=pytest.mark.native), "numpy"]

RNG = np.random.default_rng(0)
A = RNG.normal(size=(60, 6)).astype(np.float32)
B = RNG.normal(size=(83, 6)).astype(np.float32)


class Stored:
    """Nothing but a shape, a dtype and row slicing; remembers which rows were read."""

    def __init__(self, a):
        self._a = a
        self.shape = a.shape
        self.dtype = a.dtype
        self.read = []

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        self.read.append(range(len(self._a))[rows])
        return self._a[rows].copy()


# --- the same answer -------------------------------------------------------------------------

SMALL = {"rows": st.integers(2, 45), "features": st.sampled_from([1, 3, 5, 17])}
CUTS = st.tuples(st.integers(1, 50), st.integers(1, 50))


@st.composite
def searches(draw: st.DrawFn, metrics: tuple[str, ...]) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Queries, references or None, the two as stored sets, and options."""
    if draw(st.booleans()):
        x = draw(point_sets(**SMALL)).array
        y, stored = None, (Stored(x), None)
    else:
        x, y = (points.array for points in draw(pairs_of_sets(**SMALL)))
        which = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
        stored = tuple(Stored(a) if store else a for a, store in zip((x, y), which, strict=True))
    options = {
        "metric": draw(st.sampled_from(metrics)),
        "distance_dtype": draw(st.sampled_from([None, "float32", "float64"])),
    }
    return x, y, stored, options


@pytest.mark.parametrize("backend", BACKENDS)
@given(search=searches(METRICS), cut=CUTS, seed=SEEDS, data=st.data())
def test_knn_has_the_bits_of_the_search_in_memory(backend, search, cut, seed, data):
    x, y, stored, options = search
    n, m = len(x), len(x if y is None else y)
    k = data.draw(st.integers(1, m - (y is None)))
    rng = np.random.default_rng(seed)
    predicates = data.draw(st.sets(st.sampled_from(["groups", "times", "mask"])))
    if "groups" in predicates:
        options["query_groups"], options["reference_groups"] = (
            rng.integers(3, size=rows) for rows in (n, m)
        )
        options["group_rule"] = data.draw(st.sampled_from(["same", "different"]))
    if "times" in predicates:
        options["query_times"], options["reference_times"] = (
            rng.integers(5, size=rows) for rows in (n, m)
        )
    if "mask" in predicates:
        options["reference_mask"] = rng.random(m) < 0.5
    options["precision"] = data.draw(st.sampled_from(["default", "float64"]))
    with on_backend(backend):
        expected = pt.knn(x, y, k, **options)
        with blocks_of(*cut):
            assert_same_bits(pt.knn(*stored, k, **options), expected)
            kth = pt.kth_distance(*stored, (k, 1), **options)
    assert_same_bits(kth, expected.distances[:, [k - 1, 0]].copy(order="A"))


@pytest.mark.parametrize("backend", BACKENDS)
@given(search=searches(DISTANCES), cut=CUTS, seed=SEEDS, closed=st.booleans())
def test_radius_functions_have_the_bits_of_those_in_memory(backend, search, cut, seed, closed):
    x, y, stored, options = search
    rng = np.random.default_rng(seed)
    with on_backend(backend), np.errstate(over="ignore"):
        known = pt.kth_distance(x, y, 1, **options)  # so that many pairs lie at a radius exactly
        of_queries = rng.choice(known, size=len(x)) * rng.choice([0, 1, 2], size=len(x))
        of_references = rng.choice(known, size=len(x if y is None else y))
        calls = [
            (pt.radius_neighbors, {"radius": of_queries}),
            (pt.radius_count, {"radius": of_queries}),
            (pt.radius_count, {"radius": of_references, "radius_of": "reference"}),
        ]
        for call, radius in calls:
            expected = call(x, y, **radius, closed=closed, **options)
            with blocks_of(*cut):
                assert_same_bits(call(*stored, **radius, closed=closed, **options), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_infinite_and_missing_neighbours(metric):
    """A distance beyond float64 still comes before no neighbour at all."""
    x = 10.0 ** RNG.integers(0, 200, size=(30, 2))
    mask = RNG.random(30) < 0.4
    with blocks_of(10, 7):
        found = pt.knn(Stored(x), Stored(x), 20, metric=metric, reference_mask=mask)
    assert_same_bits(found, pt.knn(x, x, 20, metric=metric, reference_mask=mask))
    assert np.isinf(found.distances[found.indices >= 0]).any() == (metric in SQUARES)
    assert (found.indices < 0).any()


@pytest.mark.parametrize("cut", [(1, 1), (7, 11), (100, 100)])
@pytest.mark.parametrize("stored", [(True, True), (True, False), (False, True)])
def test_fidelity_measures_have_the_bits_of_those_in_memory(stored, cut):
    sets = [Stored(a) if store else a for a, store in zip((A, B), stored, strict=True)]
    for call in (
        pt.precision_recall_density_coverage,
        pt.authenticity,
        pt.distance_to_closest_record,
        pt.realism,
    ):
        with blocks_of(*cut):
            found = call(*sets)
        assert_same_bits(found, call(A, B))
    with blocks_of(*cut):
        found = pt.probabilistic_precision_recall(*sets)
    assert found == pytest.approx(pt.probabilistic_precision_recall(A, B), rel=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", METRICS)
def test_ordered_values_become_the_distances(backend, metric):
    """The seam's "ordered": what `finish` turns into the bits that are returned."""
    from pairtile._backends import choose
    from pairtile._definitions.metrics import finish

    # products of 30 features that overflow, vanish and cancel; a row of zeros
    scale = 10.0 ** RNG.integers(-160, 160, size=(40, 1))
    x = np.concatenate([RNG.normal(size=(40, 30)) * scale, np.zeros((1, 30))])
    options = {"precision": "default", "workers": 1}
    mask = RNG.random(len(B)) < 0.03
    with on_backend(backend):
        engine = choose.module()
        ordered, indices = engine.knn(x, None, 40, metric, dtype="ordered", **options)
        distances, same_indices = engine.knn(x, None, 40, metric, dtype="float64", **options)
        few, none = engine.knn(A, B, 9, metric, dtype="ordered", reference_mask=mask, **options)
    assert (indices == same_indices).all()
    found = indices >= 0  # products may be infinity less infinity
    with np.errstate(over="ignore"):
        assert finish(metric, ordered)[found].tobytes() == distances[found].tobytes()
    assert (np.isnan(ordered) == ~found).all()
    assert (none < 0).any()
    assert (np.isnan(few) == (none < 0)).all()


# --- what is read block by block --------------------------------------------------------------


def mapped(path: Path, a: Any, mode: str = "r", **options: Any) -> Any:
    """A memory map of a file that holds these rows behind some other bytes."""
    order = options.get("order", "C")
    path.write_bytes(b"\0" * 12 + a.tobytes(order))
    return np.memmap(path, a.dtype, mode, offset=12, shape=a.shape, **options)


MAPS = {
    "whole": lambda path: mapped(path, B),
    "writable": lambda path: mapped(path, B, "r+"),
    "some rows": lambda path: mapped(path, B)[7:80],
    "every third row": lambda path: mapped(path, B)[1::3],
    "rows backwards": lambda path: mapped(path, B)[::-1],
    "some columns": lambda path: mapped(path, B)[:, 2:5],
    "one column": lambda path: mapped(path, B)[:, 2:3],
    "columns backwards": lambda path: mapped(path, B)[:, ::-1],
    "every other column": lambda path: mapped(path, B)[5:, ::2],
    "transposed": lambda path: mapped(path, np.ascontiguousarray(B.T)).T,
    "fortran": lambda path: mapped(path, B, order="F"),
    "part of fortran": lambda path: mapped(path, B, order="F")[3:50, 1:],
    "big-endian": lambda path: mapped(path, B.astype(">f4")),
    "float64": lambda path: mapped(path, B.astype(np.float64)),
    "float16": lambda path: mapped(path, B.astype(np.float16)),
    "bfloat16": lambda path: mapped(path, B.astype(ml_dtypes.bfloat16)),
    "uint8": lambda path: mapped(path, (10 * B).astype(np.uint8)),
    "int32": lambda path: mapped(path, (10 * B).astype(np.int32)),
    "bool": lambda path: mapped(path, B > 0),
    "one row": lambda path: mapped(path, B)[4:5],
    "far into the file": lambda path: mapped(path, np.repeat(B, 300, axis=0))[-100:],
    "private": lambda path: mapped(path, B, "c"),
}


@pytest.mark.parametrize("name", MAPS)
def test_memory_maps(name, tmp_path):
    rows = MAPS[name](tmp_path / "rows")
    queries = A[:, : rows.shape[1]]
    expected = pt.knn(queries, np.array(rows), 1)
    with blocks_of(11, 13):
        assert_same_bits(pt.knn(queries, rows, 1), expected)


def test_a_private_map_is_read_with_its_changes(tmp_path):
    rows = mapped(tmp_path / "rows", B, "c")
    rows[5] = A[0]
    with blocks_of(100, 10):
        nearest = pt.knn(A[:1], rows, 1)
    assert (nearest.distances[0, 0], nearest.indices[0, 0]) == (0.0, 5)


def test_a_part_of_a_map_that_became_an_array_is_one(tmp_path):
    """Arithmetic on a memory map gives an array in memory of the same type."""
    rows = mapped(tmp_path / "rows", B)
    assert_same_bits(pt.knn(A, rows[[3, 5, 8]], 1), pt.knn(A, B[[3, 5, 8]], 1))
    assert_same_bits(pt.knn(A, rows + 1, 1), pt.knn(A, B + 1, 1))


def test_a_file_that_was_replaced_is_not_read_for_the_mapped_one(tmp_path):
    expected = pt.knn(A, B, 3)
    rows = mapped(tmp_path / "rows", B)
    mapped(tmp_path / "other", B[::-1])
    (tmp_path / "other").rename(tmp_path / "rows")
    assert_same_bits(pt.knn(A, rows, 3), expected)
    (tmp_path / "rows").unlink()
    assert_same_bits(pt.knn(A, rows, 3), expected)


def test_h5py(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        stored = file.create_dataset("rows", data=B, chunks=(10, 6))
        expected = pt.knn(A, B, 3)
        with blocks_of(11, 13):
            assert_same_bits(pt.knn(A, stored, 3), expected)
            assert_same_bits(pt.knn(stored, k=3), pt.knn(B, k=3))
        whole = file.create_dataset("whole", data=np.arange(12).reshape(4, 3))
        assert pt.knn(whole, k=1).distances.dtype == np.float64
        with pytest.raises(ValueError, match="queries must be 2-D"):
            pt.knn(file.create_dataset("line", data=np.zeros(3)), k=1)


@pytest.mark.oracle("zarr")
def test_zarr(tmp_path):
    import zarr

    stored = zarr.create_array(
        str(tmp_path / "rows.zarr"), shape=B.shape, dtype=B.dtype, chunks=(10, 6)
    )
    stored[:] = B
    with blocks_of(11, 13):
        assert_same_bits(pt.knn(stored, k=3), pt.knn(B, k=3))


@pytest.mark.oracle("dask")
def test_dask():
    from dask import array

    with blocks_of(11, 13):
        assert_same_bits(pt.knn(A, array.from_array(B, chunks=(10, 6)), 3), pt.knn(A, B, 3))


def test_every_row_is_read_once_for_each_block_of_queries():
    queries, references = Stored(A), Stored(B)
    with blocks_of(25, 40):
        pt.knn(queries, references, 3)
    assert queries.read == [range(25), range(25, 50), range(50, 60)]
    assert references.read == 3 * [range(40), range(40, 80), range(80, 83)]
    rows = Stored(A)
    with blocks_of(40, 40):
        pt.knn(rows, k=3)
    assert rows.read == [range(40), range(40, 60), range(40, 60), range(40)]


# --- bad input --------------------------------------------------------------------------------


def test_bad_stored_sets():
    class Unreadable(Stored):
        def __getitem__(self, rows):
            raise AssertionError("must not be read")

    for bad, error, message in (
        (np.zeros((0, 6)), ValueError, "reference is empty: it has 0 rows and 6 columns"),
        (np.zeros((4, 5)), ValueError, "queries has 6 columns and reference has 5"),
        (np.zeros((4, 5, 6)), ValueError, r"must be 2-D \(rows, features\), got 3-D"),
        (np.zeros(6), ValueError, r"pass reference\[:, None\]"),
        (np.zeros((4, 6), complex), TypeError, "must hold real numbers, got dtype complex128"),
        (np.zeros((4, 6), object), TypeError, "must hold real numbers, got dtype object"),
        (np.zeros((4, 6)), ValueError, "k=5 is too large: reference has 4 rows"),
    ):
        with pytest.raises(error, match=message):
            pt.knn(A, Unreadable(bad), 5)


def test_a_set_that_gives_other_rows_than_it_was_asked_for():
    class Short(Stored):
        def __getitem__(self, rows):
            return super().__getitem__(rows)[:-1]

    with (
        blocks_of(10, 10),
        pytest.raises(ValueError, match=r"reference\[0:10\] has shape \(9, 6\)"),
    ):
        pt.knn(A, Short(B), 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_in_a_later_block(bad):
    broken = B.copy()
    broken[[37, 45], 2] = bad
    message = "contains NaN or Inf; the first bad row is 37"
    with blocks_of(10, 15):
        with pytest.raises(ValueError, match=f"reference {message}"):
            pt.knn(A, Stored(broken), 3)
        with pytest.raises(ValueError, match=f"queries {message}"):
            pt.radius_neighbors(Stored(broken), A, 1.0)
        with pytest.raises(ValueError, match=f"fake {message}"):
            pt.precision_recall_density_coverage(A, Stored(broken))
        with pytest.raises(ValueError, match=f"fake {message}"):
            pt.realism(A, Stored(broken))
        found = pt.knn(A, Stored(broken), 3, check_finite=False)
    assert_same_bits(found, pt.knn(A, broken, 3, check_finite=False))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("mode", ["r", "c"])
def test_a_file_that_shrinks_while_it_is_read(mode, order, tmp_path):
    """An error, where reading the mapping would kill the process."""
    rows = np.asarray(np.random.default_rng(0).normal(size=(40_000, 6)), order=order)
    np.save(tmp_path / "rows.npy", rows)
    kept = 128 + 10_000 * 6 * 8
    run_python(
        f"""
        import os
        import numpy as np
        import pairtile as pt
        from pairtile._backends.blocks import neighbors as blocks

        blocks._cut = lambda *args, **options: blocks._Cut(100, 15_000, 1000, 0)
        path = {str(tmp_path / "rows.npy")!r}
        rows = np.load(path, mmap_mode={mode!r})

        class Queries:
            shape, dtype = (200, 6), np.dtype(float)

            def __getitem__(self, part):
                if part.start > 0:
                    os.truncate(path, {kept})
                return np.ones((part.stop - part.start, 6))

        try:
            pt.knn(Queries(), rows, 3)
        except ValueError as error:
            said = str(error)
        assert "reference is a memory map of 40000 rows" in said, said
        assert "and holds {10_000 if order == "C" else 0} of them" in said, said
    """,
        PAIRTILE_BACKEND=pt.backend(),
    )


def test_a_file_that_shrinks_after_its_size_was_seen(monkeypatch, tmp_path):
    rows = mapped(tmp_path / "rows", B)

    def shrink(self: Any, file: Any) -> bool:
        os.truncate(tmp_path / "rows", 12 + 30 * B.strides[0] + 5)
        return True

    monkeypatch.setattr(Rows, "_is_mapped", shrink)
    with pytest.raises(ValueError, match=r"a memory map of 83 rows, but .* holds 30 of them"):
        pt.knn(A, rows, 3)


# --- memory -----------------------------------------------------------------------------------

CALLS = {
    "knn": lambda x, y, **options: pt.knn(x, y, 3, **options),
    "self-join": lambda x, y, **options: pt.knn(y, k=3, **options),
    "kth_distance": lambda x, y, **options: pt.kth_distance(x, y, (2, 4), **options),
    "radius_count": lambda x, y, **options: pt.radius_count(x, y, 1.0, **options),
    "radius_neighbors": lambda x, y, **options: pt.radius_neighbors(x, y, 1.0, **options),
    "prdc": pt.precision_recall_density_coverage,
    "authenticity": pt.authenticity,
    "distance_to_closest_record": pt.distance_to_closest_record,
    "near_duplicates": lambda x, y, **options: pt.near_duplicates(x, y, threshold=0.5, **options),
    "near_duplicates of one": lambda x, y, **options: pt.near_duplicates(
        y, threshold=1.0, metric="euclidean", **options
    ),
    "max_similarity": lambda x, y, **options: pt.max_similarity(y, earlier_only=True, **options),
    "top_pairs": lambda x, y, **options: pt.top_pairs(y, 99, **options),
}


@pytest.mark.parametrize("store", [Stored, np.asarray])
@pytest.mark.parametrize("name", CALLS)
def test_the_smallest_limit_that_works_is_named(name, store):
    call = CALLS[name]
    expected = call(A, B)
    with pytest.raises(ValueError, match="memory_limit=1000 is too small") as refused:
        call(A, store(B), memory_limit=1000)
    least = int(re.search(r"at least (\d+) bytes", str(refused.value))[1])
    for _ in range(3):  # a later search of the call may need more
        try:
            found = call(A, store(B), memory_limit=least)
        except ValueError as error:
            least = int(re.search(r"at least (\d+) bytes", str(error))[1])
    assert_same_bits(found, expected)


@pytest.mark.native
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("d", "k"), [(3, 10), (64, 300), (700, 3)])
def test_no_limit_changes_a_result_in_memory(d, k, dtype):
    """The least that the engine works with cuts the work into many more pieces."""
    from pairtile import _native

    x, y = (np.random.default_rng(k).random((n, d)).astype(dtype) for n in (1500, 2500))
    radius = pt.kth_distance(x, y, 5)
    for call, least in (
        (lambda **limit: pt.knn(x, y, k, **limit), _native.least_memory(d, k)),
        (lambda **limit: pt.radius_count(x, y, radius, **limit), _native.least_memory(d, 0)),
        (lambda **limit: pt.radius_neighbors(x, y, radius, **limit), _native.least_memory(d, 0)),
    ):
        assert_same_bits(call(memory_limit=least), call())


@pytest.mark.parametrize("name", CALLS)
def test_bad_limits(name):
    for bad, error in ((0, ValueError), (-1, ValueError), (1e9, TypeError), (True, TypeError)):
        with pytest.raises(error, match="memory_limit must be"):
            CALLS[name](A, B, memory_limit=bad)


@pytest.mark.native
def test_blocks_fill_the_limit():
    """Blocks of both sets take most of what the limit leaves beside the engine."""
    from pairtile import _native

    x, y = (Stored(np.zeros((200_000, 64), np.float32)) for _ in range(2))
    for limit in (16 << 20, 32 << 20):
        for sets in ((x, y), (x, None), (np.zeros((2, 64)), y)):
            cut = blocks._cut(*map(_as_rows, sets), limit, k=3, bytes_per_query=72)
            block = sum(
                64 * 4 * rows
                for s, rows in zip(sets, cut[:2], strict=True)
                if not isinstance(s, np.ndarray)
            )
            merged = blocks.MERGED_BYTES * cut.merged
            assert cut.engine >= _native.least_memory(64, 3)
            assert 0.8 * limit < block + cut.engine + merged + 72 * cut.queries <= limit


def _as_rows(x: Any) -> Any:
    from pairtile._front import validate

    return None if x is None else validate.matrix("x", x, blocks=True)


@measures_memory
@pytest.mark.native
def test_peak_memory(tmp_path):
    """Sets of 51 and 26 MB, in memory and as maps: no call takes more than its limit and result."""
    for name, n in (("x", 100_000), ("y", 50_000)):
        np.save(tmp_path / f"{name}.npy", RNG.random((n, 128), dtype=np.float32))
    run_python(
        textwrap.dedent(PEAK)
        + textwrap.dedent(f"""
        x, y = (np.load(f"{tmp_path}/{{name}}.npy", mmap_mode="r") for name in "xy")
        pt.knn(x[:90], np.array(y[:90]), 3)
        limit = 16 << 20
        few = np.array(x[:300])
        calls = {{
            "few queries": (lambda: pt.knn(few, y, 10, memory_limit=limit), 300 * 120),
            "k=1000": (lambda: pt.knn(few, y, 1000, memory_limit=limit), 300 * 12_000),
            "queries": (lambda: pt.knn(x, few, 10, memory_limit=limit), 100_000 * 120),
            "radii": (lambda: pt.radius_count(few, y, 4.0, memory_limit=limit), 50_300 * 8),
        }}
        in_memory = lambda: pt.knn(few, all_of_y, 1000, memory_limit=limit)
        many = int(pt.radius_count(few, y, 4.4).sum())
        assert many > 1e5
        calls["neighbors"] = (
            lambda: pt.radius_neighbors(few, y, 4.4, memory_limit=limit), many * 20
        )
        used = {{name: growth(call) - size for name, (call, size) in calls.items()}}
        all_of_y = np.array(y)
        used["in memory"] = growth(in_memory) - 300 * 12_000
        assert all(size <= limit for size in used.values()), used
        """)
    )


@measures_memory
@pytest.mark.hand
@pytest.mark.native
def test_five_million_rows_in_a_gigabyte(tmp_path):
    """5M x 128 float32, 2.6 GB in a file, searched with 1 GB."""
    path = Path(os.environ.get("PAIRTILE_TEST_ROWS", tmp_path / "rows.npy"))
    if not path.exists():
        rows = open_memmap(path, "w+", np.float32, (5_000_000, 128))
        for start in range(0, len(rows), 100_000):
            rows[start : start + 100_000] = RNG.standard_normal((100_000, 128), np.float32)
        del rows
    said = run_python(
        textwrap.dedent(PEAK)
        + textwrap.dedent(f"""
        import time
        rows = np.load({str(path)!r}, mmap_mode="r")
        queries = np.array(rows[::5000]) + np.float32(0.1)
        found = []
        for name, call in {{
            "knn": lambda: found.append(pt.knn(queries, rows, 100, memory_limit=10**9)),
            "radius_count": lambda: pt.radius_count(queries, rows, 12.0, memory_limit=10**9),
        }}.items():
            start, cpu = time.monotonic(), time.process_time()
            used = growth(call)
            took, cpu = time.monotonic() - start, time.process_time() - cpu
            print(f"{{name}}: {{took:.1f}} s, {{cpu:.1f}} s of CPU, {{used / 1e6:.0f}} MB")
            assert used <= 10**9
        assert (found[0].indices[:, 0] == np.arange(0, 5_000_000, 5000)).all()
        """)
    )
    print(said)


# --- progress ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_progress_is_one_count_over_all_blocks(name):
    told = []
    with blocks_of(20, 20):
        CALLS[name](A, Stored(B), progress=lambda *now: told.append(now))
    assert len(told) > 3
    assert told == sorted(told)
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1]


def test_a_call_ends_between_two_blocks():
    rows = Stored(B)

    def stop(done, total):
        raise KeyboardInterrupt

    with blocks_of(100, 10), pytest.raises(KeyboardInterrupt):
        pt.knn(A, rows, 3, progress=stop)
    assert rows.read == [range(10)]
