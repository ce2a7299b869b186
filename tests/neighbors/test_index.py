"""Packed references: the results of the functions bit for bit, from any thread, process, file."""

import base64
import contextlib
import copy
import json
import multiprocessing
import os
import pickle
import struct
import subprocess
import sys
import threading
import zlib

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile, on_backend
from metrics import BIT_METRICS, DISTANCES, METRICS, PLAIN_METRICS, named
from processes import run_python
from strategies import DTYPES, KINDS, cast, pairs_of_sets

SCREENS = ["", "float32", "float64", "bfloat16", "int8", "int16", "prefix"]


def assert_same(ours, theirs):
    assert type(ours) is type(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def assert_serves(index, queries, reference, k, *, precision="default", **options):
    """Each method with and without queries, against the function."""
    metric = index.metric
    options |= {"check_finite": False}
    asked = {"metric": metric, "metric_params": index.metric_params}
    call = {**asked, "precision": precision, **options}
    assert_same(index.knn(queries, k, **options), pt.knn(queries, reference, k, **call))
    if metric != "inner_product":
        radius = np.abs(pt.kth_distance(queries, reference, k, **call)).astype(np.float64)
        radius = float(np.nanmedian(np.where(np.isinf(radius), np.nan, radius)))
        radius = 0.0 if np.isnan(radius) else radius
        call = {**asked, **options}
        assert_same(
            (index.radius_count(queries, radius, **options),),
            (pt.radius_count(queries, reference, radius, **call),),
        )
        assert_same(
            index.radius_neighbors(queries, radius, **options),
            pt.radius_neighbors(queries, reference, radius, **call),
        )


@pytest.fixture
def force_screen():
    from pairtile import _native

    yield _native._testing.set_screen
    _native._testing.set_screen("")


def sets(seed=0, n=40, m=700, d=24, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(m, d)).astype(dtype)


# --- packed bits -----------------------------------------------------------------------------


@pytest.mark.parametrize("metric", BIT_METRICS)
def test_packed_bits(metric, tmp_path):
    rng = np.random.default_rng(19)
    x, y = (np.packbits(rng.random((n, 37)) < 0.5, axis=1) for n in (20, 300))
    index = pt.NeighborIndex(y, metric=metric, metric_params={"n_bits": 37})
    index.save(tmp_path / "bits.index")
    for one in (index, pt.NeighborIndex.load(tmp_path / "bits.index")):
        assert_serves(one, x, y, 7)
        with pytest.raises(ValueError, match="must be 0, as np"):
            one.knn(x | np.uint8(1), 7)
        with pytest.raises(TypeError, match="queries must be an array of dtype uint8"):
            one.knn(x.astype(np.float32), 7)


# --- against the functions -------------------------------------------------------------------


@pytest.mark.native
@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize("precision", ["default", "float64"])
@pytest.mark.parametrize("metric", PLAIN_METRICS)
@given(data=st.data(), points=pairs_of_sets())
def test_equals_functions(metric, precision, data, points):
    from pairtile import _native

    x, y = (p.array for p in points)
    k = data.draw(st.one_of(st.just(len(y)), st.integers(1, len(y))), label="k")
    tile = data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")
    packed, asked = (data.draw(st.sampled_from(SCREENS), label="screen") for _ in range(2))
    try:
        _native._testing.set_screen(packed)
        index = pt.NeighborIndex(y, **named(metric, y), precision=precision)
        _native._testing.set_screen(asked)
        with forced_tile(*tile):
            assert_serves(index, x, y, k, precision=precision, workers=2)
    finally:
        _native._testing.set_screen("")


@pytest.mark.host
@pytest.mark.native
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", PLAIN_METRICS)
def test_itself(metric, kind, force_screen):
    points = cast(KINDS[kind](np.random.default_rng(1), 300, 70), "float32")
    for screen in SCREENS:
        force_screen(screen)
        index = pt.NeighborIndex(points, **named(metric, points))
        assert_same(index.knn(k=7), pt.knn(points, k=7, **named(metric, points)))
        np.testing.assert_array_equal(
            index.kth_distance(k=(9, 2)), pt.kth_distance(points, k=(9, 2), **named(metric, points))
        )
        if metric in DISTANCES:
            assert_same(
                index.radius_neighbors(radius=1.5),
                pt.radius_neighbors(points, radius=1.5, **named(metric, points)),
            )


@pytest.mark.host
@pytest.mark.native
@pytest.mark.parametrize("metric", sorted(set(METRICS) - set(PLAIN_METRICS)))
def test_metrics_that_are_not_packed(metric):
    x, y = sets(6)
    index = pt.NeighborIndex(y, **named(metric, y))
    assert_serves(index, x, y, 5)
    assert_same(index.knn(k=7), pt.knn(y, k=7, **named(metric, y)))


@pytest.mark.host
@pytest.mark.native
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("query_dtype", DTYPES)
def test_dtypes(dtype, query_dtype):
    x, y = sets(2, dtype=np.float64)
    x, y = cast(3 * x, query_dtype), cast(3 * y, dtype)
    for metric in METRICS:
        assert_serves(pt.NeighborIndex(y, **named(metric, y)), x, y, 5)


FAR = {
    "huge": lambda x: 1e30 * x,
    "beyond_float32": lambda x: 1e200 * x.astype(np.float64),
    "tiny": lambda x: 1e-30 * x,
    "vanishing": lambda x: 1e-200 * x.astype(np.float64),
    "offset": lambda x: x + np.float32(1e7),
    "one_far_row": lambda x: np.where(np.arange(len(x))[:, None] == 3, np.float32(3e38), x),
    "zeros": np.zeros_like,
    "halves": lambda x: np.rint(x) + np.float32(0.5),
    "large_integers": lambda x: np.rint(1e6 * x),
    "not_float32": lambda x: x.astype(np.float64) + 1e-9,
    "bad_rows": lambda x: np.where(np.arange(len(x))[:, None] % 3 == 0, np.float32(np.nan), x),
}


@pytest.mark.host
@pytest.mark.native
@pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize("integral", [False, True])
@pytest.mark.parametrize("kind", FAR)
@pytest.mark.parametrize("metric", PLAIN_METRICS)
def test_queries_unlike_the_references(metric, kind, integral, force_screen):
    """The frame is that of the references alone: nothing of it may be taken for true of queries."""
    x, y = sets(3, d=70)
    x, y = (np.rint(3 * x), np.rint(3 * y)) if integral else (x, y)
    x = FAR[kind](x)
    for screen in SCREENS:
        force_screen(screen)
        assert_serves(pt.NeighborIndex(y, **named(metric, y)), x, y, 5)
        assert_serves(pt.NeighborIndex(x, **named(metric, x), check_finite=False), y, x, 5)


@pytest.mark.native
def test_many_queries_choose_their_precision():
    """More pairs than a choice is made without; near queries, and such as only float64 can tell."""
    x, y = sets(4, 3000, 3000, 66)
    index = pt.NeighborIndex(y)
    for queries in (x, x[:60], 1e-4 * x, x + np.float32(1e4)):
        assert_same(index.knn(queries), pt.knn(queries, y))
    radii = pt.kth_distance(y, k=5)
    np.testing.assert_array_equal(
        index.radius_count(x, radii, radius_of="reference"),
        pt.radius_count(x, y, radii, radius_of="reference"),
    )


@pytest.mark.native
def test_each_panel_has_its_own_bound(force_screen):
    """Far rows behind near ones: rounding to bfloat16 turns the order of the far ones around."""
    ulp = 2.0**-7
    near = 1e-3 * np.random.default_rng(4).normal(size=(2000, 70))
    far = np.repeat([[1 + 0.6 * ulp], [1 + 0.4 * ulp]], 70, axis=1)
    y = np.vstack([near, np.tile(far, (20, 1))]).astype(np.float32)
    x = np.full((3, 70), 1 + 0.48 * ulp, dtype=np.float32)
    force_screen("bfloat16")
    index = pt.NeighborIndex(y)
    with forced_tile(20, 70):
        np.testing.assert_array_equal(index.knn(x, 1).indices, np.full((3, 1), 2001))


@pytest.mark.native
def test_one_query_in_segments():
    """Few queries split the references into tasks, each of which takes its part of the panels."""
    x, y = sets(5, 3, 20_003, 16)
    for metric in METRICS:
        assert_serves(pt.NeighborIndex(y, **named(metric, y)), x[:1], y, 10, workers=2)


@pytest.mark.native
def test_packs_are_used(force_screen):
    """Searches read the panels, not the references."""
    x, y = sets(6)
    expected = pt.knn(x, y).indices
    for screen in ("float32", "float64", "bfloat16", "int8", "int16"):
        force_screen(screen)
        index = pt.NeighborIndex(y)
        index._index.pack["blocks"]["data"][:] = 0
        assert (index.knn(x).indices != expected).any()
        for pairs in (index.radius_count(x, 5.0), index.radius_neighbors(x, 5.0).indptr):
            assert len(pairs)


def test_predicates():
    x, y = sets(7)
    rng = np.random.default_rng(7)
    for a, b, index in ((x, y, pt.NeighborIndex(y)), (y, None, pt.NeighborIndex(y))):
        m = len(y)
        options = {
            "query_groups": rng.integers(5, size=len(a)).astype(str),
            "reference_groups": rng.integers(5, size=m).astype(str),
            "query_times": rng.integers(50, size=len(a)),
            "reference_times": rng.integers(50, size=m),
            "reference_mask": rng.random(m) < 0.5,
            "distance_dtype": "float64",
        }
        for rule in ("same", "different"):
            ours = index.knn(None if b is None else a, 9, group_rule=rule, **options)
            assert_same(ours, pt.knn(a, b, 9, group_rule=rule, **options))
    groups = np.arange(len(y)) % 50  # those of the references, where none are given
    assert_same(
        index.knn(k=20, query_groups=groups, group_rule="same"),
        pt.knn(y, k=20, query_groups=groups, group_rule="same"),
    )


def test_fast_is_close():
    x, y = sets(8)
    ours, exact = pt.NeighborIndex(y, precision="fast").knn(x), pt.knn(x, y)
    np.testing.assert_allclose(ours.distances, exact.distances, rtol=1e-4)


def test_backends_agree():
    x, y = sets(9)
    with on_backend("numpy"):
        index = pt.NeighborIndex(y)
        twin = index.knn(x)
    assert_same(pt.NeighborIndex(y).knn(x), twin)
    assert_same(index.knn(x), twin)  # served by the backend that made it


# --- what it says ----------------------------------------------------------------------------


def test_attributes():
    _, y = sets()
    index = pt.NeighborIndex(y, metric="cosine", precision="float64")
    assert index.shape == y.shape
    assert len(index) == len(y)
    assert index.metric == "cosine"
    assert repr(index) == "NeighborIndex(shape=(700, 24), metric='cosine', precision='float64')"


def test_references_are_not_copied():
    _, y = sets()
    assert np.shares_memory(pt.NeighborIndex(y)._rows, y)


@pytest.mark.oracle("torch")
def test_tensors():
    import torch

    x, y = map(torch.from_numpy, sets())
    index = pt.NeighborIndex(y)
    assert_same(index.knn(x), pt.knn(x, y))
    assert isinstance(index.knn(x.numpy()).indices, torch.Tensor)
    assert isinstance(pickle.loads(pickle.dumps(index)).knn().indices, torch.Tensor)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i: i.knn(np.ones((2, 3))), ValueError, "queries has 3 columns and reference has"),
        (lambda i: i.knn(np.ones((2, 24)), 701), ValueError, "k=701 is too large: reference has"),
        (lambda i: i.knn(k=700), ValueError, "k=700 is too large: each of the 700 rows"),
        (lambda i: i.knn([[np.nan] * 24]), ValueError, "queries contains NaN or Inf"),
        (lambda i: i.knn(np.ones((2, 24)), k=2.0), TypeError, "k must be an integer"),
        (lambda i: i.kth_distance(k=()), ValueError, "k is an empty sequence"),
        (lambda i: i.kth_distance(np.ones(24)), ValueError, "x must be 2-D"),
        (lambda i: i.radius_count(np.ones((2, 24))), TypeError, "radius_count needs radius="),
        (lambda i: i.radius_count(2.0), TypeError, "write radius=2.0"),
        (lambda i: i.radius_neighbors(radius=-1.0), ValueError, "radius must be 0 or more"),
        (lambda i: i.radius_count(radius=[1.0, 2.0]), ValueError, "radius must be a number or"),
        (lambda i: i.knn(reference_mask=[True]), ValueError, "reference_mask must have shape"),
    ],
)
def test_bad_calls(call, error, message):
    index = pt.NeighborIndex(sets()[1])
    with pytest.raises(error, match=message):
        call(index)


def test_bad_references():
    for reference, options, error, message in (
        ([1.0, 2.0], {}, ValueError, "reference must be 2-D"),
        ([[np.inf]], {}, ValueError, "reference contains NaN or Inf"),
        ([["a"]], {}, TypeError, "reference must hold real numbers"),
        ([[1.0]], {"metric": "taxi"}, ValueError, "unknown metric 'taxi'"),
        ([[1.0]], {"metric_params": {"p": 3}}, ValueError, "takes no metric_params"),
        ([[1.0]], {"precision": "half"}, ValueError, "unknown precision"),
        ([[1.0]], {"workers": 0}, ValueError, "workers must be at least 1"),
    ):
        with pytest.raises(error, match=message):
            pt.NeighborIndex(reference, **options)
    index = pt.NeighborIndex([[1.0], [2.0]], metric="inner_product")
    with pytest.raises(ValueError, match="a distance is needed here"):
        index.radius_count(radius=1.0)


# --- threads ---------------------------------------------------------------------------------


@pytest.mark.native
def test_many_threads_at_once():
    x, y = sets(10, 200, 3000, 66)
    index = pt.NeighborIndex(y)
    expected = pt.knn(x, y, 64)
    radius = float(np.median(expected.distances))
    counts = pt.radius_count(x, y, radius)
    failures = []

    def search(thread):
        try:
            for k in range(1 + thread, 65, 8):
                rows = slice(thread, None, 1 + k % 3)
                found = index.knn(x[rows], k, workers=1 + thread % 3)
                assert_same(found, pt.Neighbors(*(a[rows, :k] for a in expected)))
                np.testing.assert_array_equal(index.radius_count(x[rows], radius), counts[rows])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=search, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


# --- files and processes ---------------------------------------------------------------------


@pytest.mark.host
@pytest.mark.parametrize("dtype", DTYPES)
def test_file_keeps_everything(tmp_path, dtype):
    x, y = sets(11, dtype=np.float64)
    x, y = cast(3 * x, dtype), cast(3 * y, dtype)
    for metric in METRICS:
        index = pt.NeighborIndex(y, **named(metric, y), precision="float64")
        index.save(tmp_path / "a.index")
        loaded = pt.NeighborIndex.load(tmp_path / "a.index")
        assert repr(loaded) == repr(index)
        assert loaded._rows.dtype == y.dtype
        assert_serves(loaded, x, y, 5, precision="float64")


@pytest.mark.native
@pytest.mark.parametrize("screen", SCREENS)
def test_loaded_packs_are_the_file(tmp_path, screen, force_screen):
    x, y = sets(12, d=70)
    force_screen(screen)
    path = tmp_path / "a.index"
    pt.NeighborIndex(y).save(path)
    loaded = pt.NeighborIndex.load(path)
    assert_serves(loaded, x, y, 5)
    start = loaded._rows.ctypes.data
    size = path.stat().st_size
    for name in ("data", "norms", "extents"):
        block = loaded._index.pack["blocks"][name]
        assert start < block.ctypes.data < start + size
        assert block.ctypes.data % 64 == 0
    assert not loaded._rows.flags.writeable


@pytest.mark.parametrize("layout", ["fortran", "reversed", "big_endian", "memmap"])
def test_file_of_any_layout(tmp_path, layout):
    x, y = sets(13)
    if layout == "memmap":
        np.save(tmp_path / "y.npy", y)
        y = np.load(tmp_path / "y.npy", mmap_mode="r")
    y = {
        "fortran": np.asfortranarray,
        "reversed": lambda a: a[::-1, ::-1],
        "big_endian": lambda a: a.astype(">f4"),
        "memmap": lambda a: a,
    }[layout](y)
    index = pt.NeighborIndex(y)
    index.save(tmp_path / "a.index")
    assert_serves(index, x, y, 5)
    assert_serves(pt.NeighborIndex.load(tmp_path / "a.index"), x, y, 5)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("a.index.")]


def test_saving_over_a_loaded_file(tmp_path):
    x, y = sets(14)
    path = tmp_path / "a.index"
    pt.NeighborIndex(y).save(path)
    loaded = pt.NeighborIndex.load(path)
    pickled = pickle.dumps(loaded)
    pt.NeighborIndex(y[:10]).save(path)
    assert_serves(loaded, x, y, 5)
    with pytest.raises(ValueError, match="another index than the one pickled"):
        pickle.loads(pickled)


def test_failed_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        pt.NeighborIndex([[1.0], [2.0]]).save(tmp_path / "a.index")
    assert os.listdir(tmp_path) == []


def test_pickle_and_copy(tmp_path):
    x, y = sets(15)
    index = pt.NeighborIndex(y, metric="manhattan")
    for other in (pickle.loads(pickle.dumps(index)), copy.deepcopy(index)):
        assert_serves(other, x, y, 5)
    index.save(tmp_path / "a.index")
    loaded = pt.NeighborIndex.load(tmp_path / "a.index")
    assert len(pickle.dumps(loaded)) < 500
    assert_serves(pickle.loads(pickle.dumps(loaded)), x, y, 5)
    (tmp_path / "a.index").unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickle.dumps(loaded))


def _indices(index, x, results):
    results.put(index.knn(x, 5).indices)


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_processes_share_a_file(tmp_path, start):
    x, y = sets(16)
    path = tmp_path / "a.index"
    pt.NeighborIndex(y).save(path)
    loaded = pt.NeighborIndex.load(path)
    context = multiprocessing.get_context(start)
    results = context.Queue()
    process = context.Process(target=_indices, args=(loaded, x, results))
    process.start()
    found = results.get(timeout=60)
    process.join()
    np.testing.assert_array_equal(found, pt.knn(x, y, 5).indices)


@pytest.mark.native
def test_file_of_another_instruction_set(tmp_path):
    """Block widths and bfloat16 differ from one instruction set to the next, results do not."""
    from pairtile import _native

    x, y = sets(17, d=66)
    np.savez(tmp_path / "sets.npz", x=x, y=y)
    expected = pt.knn(x, y)
    script = (
        "import sys, numpy as np, pairtile as pt\n"
        "isa, *files = sys.argv[1:]\n"
        "data = np.load('sets.npz')\n"
        "pt.NeighborIndex(data['y']).save(isa + '.index')\n"
        "for file in files:\n"
        "    found = pt.NeighborIndex.load(file).knn(data['x'])\n"
        "    np.savez(isa + '-' + file, *found)\n"
    )
    written = []
    for isa in _native.isas():
        subprocess.run(
            [sys.executable, "-c", script, isa, *written],
            check=True,
            cwd=tmp_path,
            env={**os.environ, "PAIRTILE_ISA": isa},
        )
        for file in written:
            found = np.load(tmp_path / f"{isa}-{file}.npz")
            assert_same(pt.Neighbors(found["arr_0"], found["arr_1"]), expected)
        written.append(f"{isa}.index")
    for file in written:
        assert_same(pt.NeighborIndex.load(tmp_path / file).knn(x), expected)
    with on_backend("numpy"):
        assert_same(pt.NeighborIndex.load(tmp_path / written[0]).knn(x), expected)


# --- files that are not what they should be ---------------------------------------------------

PREAMBLE = struct.Struct("<8sIIQI")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "a.index"
    pt.NeighborIndex(sets()[1]).save(path)
    return path


def rewrite(path, change):
    """Change the header of a file in a way that its checksum does not betray."""
    data = path.read_bytes()
    magic, version, length, size, _ = PREAMBLE.unpack_from(data)
    header = json.loads(data[PREAMBLE.size : PREAMBLE.size + length])
    change(header)
    text = json.dumps(header).encode()
    assert len(text) <= length, "no room"
    text = text.ljust(length)
    checksum = zlib.crc32(struct.pack("<IQ", length, size) + text)
    rest = data[PREAMBLE.size + length :]
    path.write_bytes(PREAMBLE.pack(magic, version, length, size, checksum) + text + rest)


def test_truncated_anywhere(saved):
    data = saved.read_bytes()
    for length in {*range(1, 40), 64, 300, 1000, len(data) // 2, len(data) - 1}:
        saved.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"a\.index is truncated"):
            pt.NeighborIndex.load(saved)


def test_not_an_index(saved):
    data = saved.read_bytes()
    for other in (b"", b"PK\x03\x04", b"\x93NUMPY" + data[6:], data[1:]):
        saved.write_bytes(other)
        with pytest.raises(ValueError, match=r"a\.index is not a file of a NeighborIndex"):
            pt.NeighborIndex.load(saved)


def test_another_version(saved):
    data = bytearray(saved.read_bytes())
    for version, how in ((1, "build"), (2, "build"), (4, "it is of a later pairtile")):
        data[8] = version
        saved.write_bytes(data)
        message = rf"a\.index has format version {version}; this pairtile reads version 3: {how}"
        with pytest.raises(ValueError, match=message):
            pt.NeighborIndex.load(saved)


def test_every_flipped_byte_of_the_header(saved):
    data = saved.read_bytes()
    length = PREAMBLE.unpack_from(data)[2]
    for at in range(PREAMBLE.size + length):
        saved.write_bytes(data[:at] + bytes([data[at] ^ 0x15]) + data[at + 1 :])
        with pytest.raises(ValueError, match=r"a\.index"):
            pt.NeighborIndex.load(saved)


def test_longer_than_it_says(saved):
    saved.write_bytes(saved.read_bytes() + b"more")
    with pytest.raises(ValueError, match=r"a\.index is damaged"):
        pt.NeighborIndex.load(saved)


def _set(where, value):
    def change(header):
        for key in where[:-1]:
            header = header[key]
        header[where[-1]] = value

    return change


BAD_HEADERS = {
    "no blocks": lambda h: h.pop("blocks"),
    "blocks no mapping": _set(["blocks"], 3),
    "no reference": lambda h: h["blocks"].pop("reference"),
    "block without offset": lambda h: h["blocks"]["reference"].pop("offset"),
    "offset beyond": _set(["blocks", "reference", "offset"], 1 << 40),
    "offset negative": _set(["blocks", "reference", "offset"], -64),
    "offset between lines": _set(["blocks", "reference", "offset"], 65),
    "offset no number": _set(["blocks", "reference", "offset"], "0"),
    "shape beyond": _set(["blocks", "reference", "shape"], [1 << 40, 24]),
    "shape overflowing": _set(["blocks", "reference", "shape"], [1 << 32, 1 << 32]),
    "shape negative": _set(["blocks", "reference", "shape"], [-700, -24]),
    "shape empty": _set(["blocks", "reference", "shape"], [0, 24]),
    "shape not 2-D": _set(["blocks", "reference", "shape"], [700]),
    "dtype of objects": _set(["blocks", "reference", "dtype"], "object"),
    "metric": _set(["metric"], "taxi"),
    "metric no string": _set(["metric"], []),
    "no id": lambda h: h.pop("id"),
    "precision": _set(["precision"], "half"),
}
BAD_PACKS = {
    "fewer references": _set(["blocks", "reference", "shape"], [20, 24]),
    "pack no mapping": _set(["pack"], 3),
    "no block of a pack": lambda h: h["blocks"].pop("norms"),
    "packing": _set(["pack", "packing"], "int4"),
    "another packing": _set(["pack", "packing"], "float64"),
    "width no number": _set(["pack", "width"], "a"),
    "scale no number": _set(["pack", "scale"], None),
    "short panels": lambda h: h["blocks"].update(data=h["blocks"]["centre"]),
    "short norms": lambda h: h["blocks"].update(norms=h["blocks"]["centre"]),
    "short extents": lambda h: h["blocks"].update(extents=h["blocks"]["centre"]),
    "short centre": lambda h: h["blocks"].update(centre=h["blocks"]["extents"]),
}


@pytest.mark.parametrize("what", BAD_HEADERS)
def test_headers_are_not_trusted(saved, what):
    rewrite(saved, BAD_HEADERS[what])
    with pytest.raises(ValueError, match=r"a\.index is damaged"):
        pt.NeighborIndex.load(saved)


@pytest.mark.native
@pytest.mark.parametrize("what", BAD_PACKS)
def test_packs_are_not_trusted(saved, what):
    rewrite(saved, BAD_PACKS[what])
    if what == "another packing":  # of another width, so packed anew
        assert_serves(pt.NeighborIndex.load(saved), *sets(), 5)
        return
    with pytest.raises(ValueError, match=r"a\.index is damaged"):
        pt.NeighborIndex.load(saved)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        pt.NeighborIndex.load(tmp_path / "none.index")


def test_bfloat16_reference_of_a_file(saved):
    x, y = sets()
    y = y.astype(ml_dtypes.bfloat16)
    pt.NeighborIndex(y).save(saved)
    assert_serves(pt.NeighborIndex.load(saved), x, y, 5)


def test_every_flipped_number_is_found(saved):
    data = saved.read_bytes()
    start = PREAMBLE.size + PREAMBLE.unpack_from(data)[2]
    for at in {start, *np.random.default_rng(0).integers(start, len(data), 40), len(data) - 1}:
        saved.write_bytes(data[:at] + bytes([data[at] ^ 0x15]) + data[at + 1 :])
        with pytest.raises(ValueError, match=r"a\.index is damaged: bytes \d+ to \d+ do not match"):
            pt.NeighborIndex.load(saved)
        pt.NeighborIndex.load(saved, verify=False)


def test_checksums_that_are_none(saved):
    for value in (3, [], ["0"], None):
        rewrite(saved, _set(["checksums"], value))
        with pytest.raises(ValueError, match=r"a\.index is damaged"):
            pt.NeighborIndex.load(saved)


@pytest.mark.native
@pytest.mark.parametrize("integral", [False, True])
def test_damage_that_nobody_looked_for_crashes_nothing(tmp_path, integral):
    """Any neighbours, or an error; in a process of its own, which would be gone."""
    run_python(f"""
        import json, struct
        import numpy as np
        import pairtile as pt

        rng = np.random.default_rng(0)
        x = rng.normal(size=(60, 5)).astype(np.float32)
        if {integral}:
            x = rng.integers(0, 60, x.shape).astype(np.float32)
        path = {str(tmp_path / "a.index")!r}
        pt.NeighborIndex(x).save(path)
        data = open(path, "rb").read()
        length = struct.unpack("<8sIIQI", data[:28])[2]
        for block in json.loads(data[28 : 28 + length])["blocks"].values():
            for at in rng.integers(0, 200, 12):
                for bad in (b"\\xff" * 4, b"\\x00\\x00\\x80\\x7f", b"\\xff\\xff\\x7f\\x7f" * 2):
                    copy = bytearray(data)
                    copy[block["offset"] + at : block["offset"] + at + len(bad)] = bad
                    open(path, "wb").write(copy[: len(data)])
                    index = pt.NeighborIndex.load(path, verify=False)
                    for k in (1, 10):
                        found = index.knn(k=k).indices
                        assert found.min() >= -1 and found.max() < 60
                        index.knn(x[:7], k)
                    index.radius_count(radius=9.0)
                    index.radius_neighbors(x[:20], radius=9.0)
    """)


# Written by version 2, before the order of rows was in the file: `[[0.0], [1.0], [5.0]]`.
OLD_FILE = """
eNq1kEFOwzAQRS3EgiULDhBlXaEmLVHKhrDjDlVVTZ1JY9V1iu2oQFWp1+A0sIarsOAIeJxSVIQELTCLJPPz33i+ZyC0FRIP
GGMv7nF1yHzdz5+fFqHIw/MgbH9TYSsIp2i14OTGmkuRI6gPeTgDDVPj/i6WTpxp5MKISpE9xwJqacnMK1lPFdlULSUZgU8I
8h9CjclfyApsJyb/XOS2dFqUuMZwkEjNadt1CrSu5q4tQBp0glAWxxqkk6yuSZGgx2isEzoeWfdDc12Dpkk9L5dghneoq2Ez
bw3jjdU4xfcDKNVIVnziM4YaC9SoOPout7cz3KyedGl1U4LX+p1WEA2cUBWFQVom7cQ0LQcLX9BN8A0dJdtsLyFWVbq57J3g
XtJeNslQWfP95lEriLcGRO24SxO44/UPokef6DRderxEd4+1T9APR2dxlEejNBwsg/8s9if1etG8T7IdoEfGVg+MZdl+Z64c
t3LnHl/uv/dR9svg2Rvwxds/
"""


def test_a_file_of_an_earlier_version_is_refused(tmp_path):
    path = tmp_path / "old.index"
    path.write_bytes(zlib.decompress(base64.b64decode(OLD_FILE)))
    for verify in (True, False):
        with pytest.raises(ValueError, match=r"old\.index has format version 2; .*: build the"):
            pt.NeighborIndex.load(path, verify=verify)


# --- the order of rows in the file -----------------------------------------------------------

ORDER = ("order_rows", "order_keys", "order_boxes")


@contextlib.contextmanager
def tiles_skipped():
    from pairtile import _native

    _native._testing.set_skipping("always")
    try:
        yield _native
    finally:
        _native._testing.set_skipping("")


@pytest.fixture
def skipping():
    with tiles_skipped() as native:
        yield native


def near_rows(n=900, d=3, seed=20):
    return np.random.default_rng(seed).random((n, d)).astype(np.float32)


def saved_with_order(path, rows=None):
    """Of a search that leaves out tiles, whether it pays or not."""
    index = pt.NeighborIndex(near_rows() if rows is None else rows)
    index.save(path)
    return index


@pytest.mark.native
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "cosine"])
@given(points=pairs_of_sets())
def test_the_order_of_a_file_changes_no_bit(metric, points, tmp_path_factory):
    x, y = (p.array for p in points)
    path = tmp_path_factory.mktemp("order") / "a.index"
    with tiles_skipped():
        index = pt.NeighborIndex(y, metric=metric)
        index.save(path)
        for one in (index, pt.NeighborIndex.load(path), pt.NeighborIndex.load(path, verify=False)):
            assert_serves(one, x, y, min(3, len(y)))


@pytest.mark.native
def test_a_file_brings_its_order(tmp_path, skipping):
    """The same pairs are computed, and so the order is the same; nothing is sorted again."""
    x = near_rows(20_000)
    index = saved_with_order(tmp_path / "a.index", x)
    loaded = pt.NeighborIndex.load(tmp_path / "a.index")
    blocks = loaded._index.pack["blocks"]
    start, size = loaded._rows.ctypes.data, (tmp_path / "a.index").stat().st_size
    for name in ORDER:
        assert start < blocks[name].ctypes.data < start + size
        np.testing.assert_array_equal(blocks[name], index._index.pack["blocks"][name])
    plain = pt.knn(x, k=5)
    count = skipping._testing.computed_pairs(x, None, 10, "euclidean", workers=1)
    assert 20 * len(x) < count < 700 * len(x)
    for one in (index, loaded, pickle.loads(pickle.dumps(index)), copy.deepcopy(loaded)):
        for workers in (1, 2):
            pairs = skipping._testing.computed_pairs(
                one._rows, None, 10, "euclidean", index=one._index, workers=workers
            )
            assert pairs == count
        assert_same(one.knn(k=5), plain)


@pytest.mark.native
def test_the_order_is_in_the_file_where_it_pays(tmp_path):
    from pairtile import _native

    x = near_rows(25_000)
    pt.NeighborIndex(x).save(tmp_path / "near.index")
    loaded = pt.NeighborIndex.load(tmp_path / "near.index")
    assert set(ORDER) < set(loaded._index.pack["blocks"])
    computed = _native._testing.computed_pairs(
        loaded._rows, None, 5, "euclidean", index=loaded._index, workers=2
    )
    assert computed < 0.05 * len(x) ** 2
    far = np.random.default_rng(1).normal(size=(4000, 32)).astype(np.float32)
    for rows in (far, x[:1], x[:2]):
        pt.NeighborIndex(rows).save(tmp_path / "far.index")
        loaded = pt.NeighborIndex.load(tmp_path / "far.index")
        assert not set(ORDER) & set(loaded._index.pack["blocks"])


def forge(path, block, change):
    """Change the numbers of a block in a way that no checksum betrays."""
    data = bytearray(path.read_bytes())
    length = PREAMBLE.unpack_from(data)[2]
    entry = json.loads(data[PREAMBLE.size : PREAMBLE.size + length])["blocks"][block]
    numbers = np.frombuffer(
        data, entry["dtype"], offset=entry["offset"], count=np.prod(entry["shape"])
    )
    change(numbers)
    path.write_bytes(data)
    start, chunk = PREAMBLE.size + length, 1 << 24
    parts = [data[at : at + chunk] for at in range(start, len(data), chunk)]
    rewrite(path, _set(["checksums"], [f"{zlib.crc32(part):08x}" for part in parts]))


BAD_ORDERS = {
    "order_rows": [-1, 900, 1 << 40, -(1 << 62), 0],
    "order_keys": [np.nan, np.inf, -np.inf, 1e30, 7.0],
    "order_boxes": [np.nan, np.inf, -np.inf, 1e30, 7.0],
}


@pytest.mark.native
@given(data=st.data())
def test_an_order_is_not_trusted(data, tmp_path_factory):
    """What is wrong in it is found, or does no worse than change results: no page is lost."""
    path = tmp_path_factory.mktemp("order") / "a.index"
    block = data.draw(st.sampled_from(ORDER), label="block")
    bad = data.draw(st.sampled_from(BAD_ORDERS[block]), label="number")
    many = data.draw(st.sampled_from([1, 2, 50]), label="many")
    seed = data.draw(st.integers(0, 99), label="seed")

    def change(numbers):
        at = np.random.default_rng(seed).choice(len(numbers), many, replace=False)
        if bad == 0:  # a row that has its place already
            at = at[numbers[at] != 0]
        numbers[at] = bad

    with tiles_skipped():
        saved_with_order(path)
        before = path.read_bytes()
        forge(path, block, change)
        if path.read_bytes() == before:
            return
        with pytest.raises(ValueError, match=r"a\.index is damaged: its order is not one of its"):
            pt.NeighborIndex.load(path)
        loaded = pt.NeighborIndex.load(path, verify=False)
        for search in (
            lambda: loaded.knn(k=3).indices,
            lambda: loaded.knn(near_rows(40), 3).indices,
            lambda: loaded.radius_neighbors(radius=0.1).indices,
        ):
            if block == "order_rows":
                with pytest.raises(ValueError, match="index is damaged: its order is not one of"):
                    search()
            else:
                found = search()
                assert len(found) == 0 or (found.min() >= -1 and found.max() < 900)


@pytest.mark.native
def test_boxes_that_are_too_small_are_found(tmp_path, skipping):
    """By a last bit: a box must hold its rows as they are rounded."""
    path = tmp_path / "a.index"
    for by in (1, -1):
        saved_with_order(path)

        def change(boxes, by=by):
            boxes[5] = np.nextafter(boxes[5], np.float32(by * np.inf))

        forge(path, "order_boxes", change)
        with pytest.raises(ValueError, match="its order is not one of its rows"):
            pt.NeighborIndex.load(path)


BAD_RULES = {
    "no mapping": _set(["pack", "order"], 3),
    "no leaf": lambda h: h["pack"]["order"].pop("leaf"),
    "leaf no number": _set(["pack", "order", "leaf"], "a"),
    "feature beyond": _set(["pack", "order", "features"], [0, 1, 3]),
    "feature negative": _set(["pack", "order", "features"], [-1, 1, 2]),
    "feature twice": _set(["pack", "order", "features"], [0, 1, 1]),
    "feature no number": _set(["pack", "order", "features"], [0, 1, "a"]),
    "fewer features": _set(["pack", "order", "features"], [0, 1]),
    "no features": lambda h: h["pack"]["order"].update(features=[], centre=[]),
    "fewer centres": _set(["pack", "order", "centre"], [0.5]),
    "centre not finite": _set(["pack", "order", "centre"], [0.5, np.nan, 0.5]),
    "scale": _set(["pack", "order", "scale"], 0.0),
    "scale not finite": _set(["pack", "order", "scale"], np.inf),
    "no rows": lambda h: h["blocks"].pop("order_rows"),
    "no keys": lambda h: h["blocks"].pop("order_keys"),
    "no boxes": lambda h: h["blocks"].pop("order_boxes"),
    "rows of another type": lambda h: h["blocks"].update(order_rows=h["blocks"]["order_keys"]),
    "short boxes": lambda h: h["blocks"].update(order_boxes=h["blocks"]["norms"]),
    "metric without boxes": _set(["metric"], "inner_product"),
}


@pytest.mark.native
@pytest.mark.parametrize("what", BAD_RULES)
def test_rules_of_orders_are_not_trusted(tmp_path, skipping, what):
    path = tmp_path / "a.index"
    saved_with_order(path)
    rewrite(path, BAD_RULES[what])
    for verify in (True, False):
        with pytest.raises(ValueError, match=r"a\.index is damaged"):
            pt.NeighborIndex.load(path, verify=verify)


@pytest.mark.native
def test_another_rule_is_found(tmp_path, skipping):
    for where, value in ((["features"], [1, 0, 2]), (["scale"], 0.125)):
        saved_with_order(tmp_path / "a.index")
        rewrite(tmp_path / "a.index", _set(["pack", "order", *where], value))
        with pytest.raises(ValueError, match="its order is not one of its rows"):
            pt.NeighborIndex.load(tmp_path / "a.index")


@pytest.mark.native
def test_an_order_of_other_leaves_is_made_anew(tmp_path, skipping):
    """As a processor with wider panels makes it."""
    index = saved_with_order(tmp_path / "a.index")
    rewrite(tmp_path / "a.index", _set(["pack", "order", "leaf"], 96))
    loaded = pt.NeighborIndex.load(tmp_path / "a.index")
    assert "order_rows" not in loaded._index.pack["blocks"]
    assert_same(loaded.knn(k=4), index.knn(k=4))
    assert "order_rows" in loaded._index.pack["blocks"]


@pytest.mark.native
def test_saving_while_an_order_is_made(tmp_path, skipping):
    """Who makes it asks for the interpreter meanwhile, which who saves must not hold."""
    x = near_rows(40_000)
    for _ in range(3):
        index = pt.NeighborIndex(x)
        thread = threading.Thread(target=index.knn, kwargs={"k": 2, "progress": lambda *_: None})
        thread.start()
        index.save(tmp_path / "a.index")
        thread.join()
        assert "order_rows" in pt.NeighborIndex.load(tmp_path / "a.index")._index.pack["blocks"]
