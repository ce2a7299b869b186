"""Lower bounds from a few coordinates of rotated rows: the same neighbours, and few pairs left."""

import copy
import json
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile
from metrics import named
from strategies import pairs_of_sets

pytestmark = pytest.mark.native

PREFIXES = ["prefix", "prefix_bfloat16"]
METRICS = ["euclidean", "sqeuclidean", "cosine", "inner_product", "correlation", "weuclidean"]


@pytest.fixture
def force_screen():
    from pairtile import _native

    yield _native._testing.set_screen
    _native._testing.set_screen("")


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def power_law(n, d, seed=0, exponent=1.0):
    """Rows whose variance falls along hidden directions."""
    rng = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(d, d)))
    rows = rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -exponent
    return (rows @ turned).astype(np.float32)


# --- the same bits ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize("metric", METRICS)
@given(data=st.data(), points=pairs_of_sets())
def test_same_neighbours(metric, data, points):
    from pairtile import _native

    x, y = (p.array for p in points)
    k = data.draw(st.one_of(st.just(len(y)), st.integers(1, len(y))), label="k")
    tile = data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")
    groups = data.draw(st.sampled_from([None, "same", "different"]), label="groups")
    options = {"check_finite": False, **named(metric, y)}
    if groups:
        options["group_rule"] = groups
        options["query_groups"] = np.arange(len(x)) % 3
        options["reference_groups"] = np.arange(len(y)) % 2
    try:
        for screen in PREFIXES:
            with forced_tile(*tile):
                _native._testing.set_screen(screen)
                ours = pt.knn(x, y, k, workers=2, **options)
                _native._testing.set_screen("float64")
                assert_same(ours, pt.knn(x, y, k, precision="float64", **options))
    finally:
        _native._testing.set_screen("")


@given(points=pairs_of_sets(), data=st.data())
def test_same_neighbours_of_itself(points, data):
    from pairtile import _native

    _, y = (p.array for p in points)
    if len(y) < 2:
        return
    k = data.draw(st.integers(1, len(y) - 1), label="k")
    tile = data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")
    try:
        with forced_tile(*tile):
            _native._testing.set_screen("prefix")
            ours = pt.knn(y, k=k, workers=2, check_finite=False)
            _native._testing.set_screen("")
            assert_same(ours, pt.knn(y, k=k, precision="float64", check_finite=False))
    finally:
        _native._testing.set_screen("")


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@given(data=st.data(), points=pairs_of_sets())
def test_same_radii(metric, data, points):
    from pairtile import _native

    x, y = (p.array for p in points)
    k = data.draw(st.integers(1, len(y)), label="k")
    options = {"metric": metric, "check_finite": False}
    radius = np.nan_to_num(pt.kth_distance(x, y, k, **options), posinf=1.0).astype(np.float64)
    of_reference = data.draw(st.booleans(), label="radius of reference")
    counted = {"radius_of": "reference" if of_reference else "query"}
    counted["radius"] = np.resize(radius, len(y)) if of_reference else radius
    try:
        for screen in [*PREFIXES, "float64"]:
            _native._testing.set_screen(screen)
            found = (
                pt.radius_count(x, y, **counted, **options),
                *pt.radius_neighbors(x, y, radius, **options),
            )
            if screen == "prefix":
                first = found
            assert_same(found, first)
    finally:
        _native._testing.set_screen("")


def hard_rows(name, n, d):
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(n, d))
    if name == "rank one":
        rows = rng.normal(size=(n, 1)) * rng.normal(size=(1, d))
    elif name == "nothing left":  # all in the first few features
        rows[:, 4:] = 0.0
    elif name == "parallel remainders":  # what is left points one way: the bound is the value
        rows[:, 4:] = rng.random((n, 1)) * rng.normal(size=(1, d - 4)) * 0.1
        rows[:, :4] *= 10.0
    elif name == "equally far":  # ties at every threshold
        rows = np.linalg.qr(rng.normal(size=(d, d)))[0][np.arange(n) % d]
    elif name == "denormal":
        rows *= 1e-42
    elif name == "far from the origin":
        rows += 1e8
    elif name == "one far outlier":
        rows[3] *= 1e12
    elif name == "constant features":
        rows[:, ::2] = 7.25
    return rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name",
    [
        "rank one",
        "nothing left",
        "parallel remainders",
        "equally far",
        "denormal",
        "far from the origin",
        "one far outlier",
        "constant features",
    ],
)
def test_hard_rows(name, dtype, force_screen):
    y = hard_rows(name, 600, 72).astype(dtype)
    x = y[::7]
    for metric in ("sqeuclidean", "cosine", "inner_product"):
        expected = pt.knn(x, y, 9, metric=metric, precision="float64")
        for screen in PREFIXES:
            force_screen(screen)
            assert_same(pt.knn(x, y, 9, metric=metric), expected)
            force_screen("")


def test_workers_change_nothing(force_screen):
    y = power_law(3000, 64)
    force_screen("prefix")
    one = pt.knn(y, k=5, workers=1)
    assert_same(pt.knn(y, k=5, workers=3), one)


# --- it decides ------------------------------------------------------------------------------


def test_few_pairs_are_finished(force_screen):
    from pairtile import _native

    x, y = power_law(300, 128), power_law(6000, 128, seed=2)
    force_screen("prefix")
    finished = _native._testing.finished_pairs(x, y, 10, "euclidean", workers=2)
    assert 10 * len(x) <= finished < 0.02 * len(x) * len(y)
    force_screen("float32")
    assert _native._testing.finished_pairs(x, y, 10, "euclidean", workers=2) == -1


# So many rows that asking pays, whatever else the processor has to screen with.
def many_rows():
    """Of so few directions that a prefix is worth more than bytes, however fast these are."""
    return power_law(8000, 384, exponent=1.5), power_law(40000, 384, seed=2, exponent=1.5)


def test_the_plan_says_what_is_done():
    from pairtile import _native

    x, y = power_law(8000, 256), power_law(40000, 256, seed=2)
    plan = pt.NeighborIndex(y).plan(x, 10)
    assert plan.strategy == "prefix"
    assert any(reason.startswith("a prefix of ") for reason in plan.reasons)
    finished = _native._testing.finished_pairs(x, y, 10, "euclidean", workers=2)
    assert 0 < finished < 0.1 * len(x) * len(y)
    assert finished < 3 * plan.expected_pairs
    assert_same(pt.knn(x, y, 10), pt.NeighborIndex(y).knn(x, 10))


def test_rows_that_spread_out_have_none():
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(n, 256)).astype(np.float32) for n in (8000, 40000))
    plan = pt.NeighborIndex(y).plan(x, 10)
    assert plan.strategy == "all pairs"
    assert any("spread over about" in reason for reason in plan.reasons)


def test_no_rotation_beyond_the_memory():
    from pairtile import _native

    x, y = many_rows()
    call = {"precision": "default", "workers": 2}
    strategy, pairs, reasons = _native.knn_plan(x, y, 10, "euclidean", memory_limit=8 << 20, **call)
    assert strategy == "all pairs"
    assert pairs == len(x) * len(y)
    assert any("memory_limit" in reason for reason in reasons)
    assert_same(pt.knn(x, y, 10, memory_limit="8MB"), pt.knn(x, y, 10))


# --- of an index -----------------------------------------------------------------------------

TURNED = ("directions", "turned_data", "turned_norms", "turned_extents", "turned_whole")
TURNED = (*TURNED, "turned_more", "guess_data", "guess_norms", "guess_extents")


def test_an_index_turns_its_references_once(force_screen):
    x, y = power_law(300, 128), power_law(6000, 128, seed=2)
    expected = pt.knn(x, y, 5)
    for screen in PREFIXES:
        force_screen(screen)
        index = pt.NeighborIndex(y)
        assert not set(TURNED) & set(index._index.pack["blocks"])
        assert_same(index.knn(x, 5), expected)
        blocks = index._index.pack["blocks"]
        assert set(TURNED) < set(blocks)
        start = {name: blocks[name].ctypes.data for name in TURNED}
        assert_same(index.knn(x, 5), expected)
        assert_same(index.knn(k=3), pt.knn(y, k=3))
        radius = float(np.median(expected.distances))
        np.testing.assert_array_equal(index.radius_count(x, radius), pt.radius_count(x, y, radius))
        blocks = index._index.pack["blocks"]
        assert start == {name: blocks[name].ctypes.data for name in TURNED}


@pytest.mark.parametrize(
    ("block", "factor"), [("turned_data", -1), ("turned_whole", -1), ("turned_more", 100)]
)
def test_searches_read_the_turned_references(block, factor, force_screen):
    x, y = power_law(300, 128), power_law(6000, 128, seed=2)
    expected = pt.knn(x, y, 5).indices
    force_screen("prefix")
    index = pt.NeighborIndex(y)
    index.knn(x, 5)
    numbers = index._index.pack["blocks"][block]
    numbers *= factor
    assert (index.knn(x, 5).indices != expected).any()


def test_guesses_read_the_turned_references(force_screen):
    """They decide how many pairs are finished, not which rows are neighbours."""
    from pairtile import _native

    x, y = power_law(300, 128), power_law(6000, 128, seed=2)
    force_screen("prefix")
    index = pt.NeighborIndex(y)

    def finished():
        return _native._testing.finished_pairs(x, y, 5, "euclidean", index=index._index, workers=1)

    before = finished()
    assert finished() == before
    index._index.pack["blocks"]["guess_data"][:] *= -1
    assert finished() > before


@pytest.mark.parametrize("screen", PREFIXES)
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product"])
def test_a_file_brings_the_turned_references(screen, metric, tmp_path, force_screen):
    from pairtile import _native

    x, y = power_law(300, 100), power_law(3000, 100, seed=2)
    expected = pt.knn(x, y, 5, metric=metric)
    force_screen(screen)
    index = pt.NeighborIndex(y, metric=metric)
    index.save(tmp_path / "a.index")
    loaded = pt.NeighborIndex.load(tmp_path / "a.index")
    blocks, made = loaded._index.pack["blocks"], index._index.pack["blocks"]
    start, size = loaded._rows.ctypes.data, (tmp_path / "a.index").stat().st_size
    for name in TURNED:
        assert start < blocks[name].ctypes.data < start + size or name == "directions"
        np.testing.assert_array_equal(blocks[name], made[name])
    counts = set()
    for one in (index, loaded, pickle.loads(pickle.dumps(index)), copy.deepcopy(loaded)):
        assert_same(one.knn(x, 5), expected)
        counts.add(_native._testing.finished_pairs(x, y, 5, metric, index=one._index, workers=1))
    assert len(counts) == 1
    assert 5 * len(x) <= counts.pop() < 0.1 * len(x) * len(y)


def test_many_searches_are_worth_a_rotation():
    """None of them alone: as if all queries so far came at once."""
    x, y = many_rows()
    index = pt.NeighborIndex(y)
    strategies = [index.plan(x[:500], 10).strategy for _ in range(40)]
    assert strategies[0] == "all pairs"
    assert strategies[-1] == "prefix"
    assert "the references are turned already" in index.plan(x[:500], 10).reasons
    assert_same(index.knn(x[:500]), pt.knn(x[:500], y))
    alone = pt.NeighborIndex(y[:30])  # too few pairs, however often
    assert {alone.plan(x[:500], 10).strategy for _ in range(40)} == {"all pairs"}


def test_batches_too_small_for_a_sample_count():
    """Nothing is asked of any of them, and all are remembered: of the next one, which is hardly
    larger, references are turned as if all had come at once."""
    x, y = many_rows()

    def asked(index):
        """How often, until it has turned its references."""
        return [index.plan(x[:500], 10).strategy for _ in range(40)].index("prefix")

    fresh, served = asked(pt.NeighborIndex(y)), pt.NeighborIndex(y)
    small = (1 << 22) // len(y)
    for i in range(0, 1000 * fresh + 1000, small):
        at = i % (len(x) - small)
        assert served.plan(x[at : at + small], 10).strategy == "all pairs"
    assert served.plan(x[: small + 9], 10).strategy == "prefix"
    assert pt.NeighborIndex(y).plan(x[: small + 9], 10).strategy == "all pairs"
    assert fresh > 0


def test_a_saved_index_has_its_references_turned_where_it_pays(tmp_path):
    x, y = many_rows()
    pt.NeighborIndex(y).save(tmp_path / "a.index")
    loaded = pt.NeighborIndex.load(tmp_path / "a.index")
    plan = loaded.plan(x[:500], 10)
    assert plan.strategy == "prefix"
    assert "the references are turned already" in plan.reasons
    spread = np.random.default_rng(0).normal(size=(5000, 64)).astype(np.float32)
    pt.NeighborIndex(spread).save(tmp_path / "a.index")
    assert "rotation" not in pt.NeighborIndex.load(tmp_path / "a.index")._index.pack


def test_turned_references_beyond_the_memory_are_not_kept(force_screen):
    from pairtile import _native

    x, y = power_law(300, 128), power_law(6000, 128, seed=2)
    force_screen("prefix")
    index = pt.NeighborIndex(y)
    for limit in (8 << 20, 1 << 30):
        call = {"precision": "default", "workers": 2, "index": index._index}
        *_, reasons = _native.knn_plan(x, y, 5, "euclidean", memory_limit=limit, **call)
        why = [reason for reason in reasons if "turned references are not kept" in reason]
        assert len(why) == (limit == 8 << 20)
        assert all(reason.endswith(" MB, more than half of memory_limit") for reason in why)
        assert ("rotation" in index._index.pack) == (limit == 1 << 30)


def aligned(block):
    """As the memory of a file lies."""
    room = np.empty(block.nbytes + 64, np.uint8)
    copy = room[-room.ctypes.data % 64 :][: block.nbytes].view(block.dtype)
    copy[:] = block.ravel()
    return copy


def scale_directions(pack, factor):
    pack["blocks"]["directions"] = aligned(factor * pack["blocks"]["directions"])


def unlinked(pack):
    """The same, to be changed."""
    blocks = {name: aligned(block) for name, block in pack["blocks"].items()}
    return {**pack, "rotation": dict(pack["rotation"]), "blocks": blocks}


BAD_ROTATIONS = {
    "no mapping": lambda p: p.update(rotation=3),
    "packing": lambda p: p["rotation"].update(packing="int8"),
    "unknown packing": lambda p: p["rotation"].update(packing="int4"),
    "nothing kept": lambda p: p["rotation"].update(kept=0),
    "too much kept": lambda p: p["rotation"].update(kept=1 << 40),
    "fewer kept": lambda p: p["rotation"].update(kept=p["rotation"]["kept"] - 1),
    "more": lambda p: p["rotation"].update(more=p["rotation"]["more"] + 16),
    "negative more": lambda p: p["rotation"].update(more=-1),
    "guess": lambda p: p["rotation"].update(guess=0),
    "kept no number": lambda p: p["rotation"].update(kept="a"),
    "no width": lambda p: p["rotation"].pop("width"),
    "fewer directions": lambda p: p["blocks"].update(
        directions=aligned(p["blocks"]["directions"][:128])
    ),
    "not orthonormal": lambda p: scale_directions(p, 1.01),
    "not finite": lambda p: scale_directions(p, np.nan),
    **{f"no {name}": lambda p, name=name: p["blocks"].pop(name) for name in TURNED},
    **{
        f"short {name}": lambda p, name=name: p["blocks"].update({name: p["blocks"]["centre"]})
        for name in TURNED
    },
}


@pytest.mark.parametrize("what", BAD_ROTATIONS)
def test_rotations_are_not_trusted(what, force_screen):
    from pairtile import _native

    y = power_law(600, 128)
    force_screen("prefix")
    index = pt.NeighborIndex(y)
    index.knn(k=3)
    pack = unlinked(index._index.pack)
    call = {"precision": "default", "workers": 1}
    assert "rotation" in _native.Index(y, "euclidean", pack=pack, **call).pack
    BAD_ROTATIONS[what](pack)
    with pytest.raises((ValueError, KeyError, TypeError)):
        _native.Index(y, "euclidean", pack=pack, **call)


def test_turned_references_of_other_panels_are_made_anew(force_screen):
    from pairtile import _native

    y = power_law(600, 128)
    force_screen("prefix")
    index = pt.NeighborIndex(y)
    index.knn(k=3)
    pack = unlinked(index._index.pack)
    pack["rotation"]["width"] = 1
    again = _native.Index(y, "euclidean", pack=pack, precision="default", workers=1)
    assert "rotation" not in again.pack
    assert_same(index.knn(k=4), pt.knn(y, k=4, precision="float64"))


def test_damage_of_turned_references_crashes_nothing(tmp_path, force_screen):
    """Any neighbours, or an error, of a file that nobody verified."""
    y = power_law(600, 64)
    path = tmp_path / "a.index"
    force_screen("prefix")
    pt.NeighborIndex(y).save(path)
    data = path.read_bytes()
    length = struct.unpack_from("<8sIIQI", data)[2]
    rng = np.random.default_rng(0)
    entries = json.loads(data[28 : 28 + length])["blocks"]
    for name in TURNED:
        size = np.prod(entries[name]["shape"]) * np.dtype(entries[name]["dtype"]).itemsize
        for bad in (b"\xff" * 4, b"\x00\x00\x80\x7f", b"\xff\xff\x7f\x7f" * 2):
            at = entries[name]["offset"] + int(rng.integers(size - 8)) // 4 * 4
            path.write_bytes(data[:at] + bad + data[at + len(bad) :])
            with pytest.raises(ValueError, match="do not match their checksum"):
                pt.NeighborIndex.load(path)
            try:
                loaded = pt.NeighborIndex.load(path, verify=False)
            except ValueError:
                assert name == "directions"
                continue
            found = loaded.knn(k=5).indices
            assert found.min() >= -1
            assert found.max() < 600
            loaded.knn(y[:30], 5)
            loaded.radius_count(radius=1.0)
