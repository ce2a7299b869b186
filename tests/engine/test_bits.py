"""Hamming and Jaccard distance on packed bits: the twin, SciPy, scikit-learn and FAISS agree."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

import pairtile as pt
from backends import forced_tile, native_and_twin, on_backend
from metrics import BIT_METRICS
from strategies import LAYOUTS, ROWS, SEEDS

# Words hold 4 bytes, canonical ones 8; counters of a byte hold 31 words, sums are cut every 256.
BYTES = st.one_of(st.integers(1, 40), st.sampled_from([123, 124, 125, 128, 1023, 1024, 1025, 1100]))

DENSITIES = {
    "half": lambda rng, shape: rng.random(shape) < 0.5,
    "sparse": lambda rng, shape: rng.random(shape) < 0.03,
    "nothing_or_everything": lambda rng, shape: np.repeat(
        rng.random((shape[0], 1)) < 0.5, shape[1], axis=1
    ),
    "repeated": lambda rng, shape: (rng.random((3, shape[1])) < 0.5)[
        rng.integers(3, size=shape[0])
    ],
}


def some_bits(rng, n, n_bits, kind="half"):
    """Booleans of shape (n, n_bits), about one row in eight without a bit."""
    return DENSITIES[kind](rng, (n, n_bits)) & (rng.random((n, 1)) < 0.875)


@st.composite
def bit_sets(draw, *, least_rows=1, n_bytes=BYTES):
    """Packed queries and references in some memory layout, the same as booleans, and n_bits."""
    n, m = (draw(ROWS.filter(lambda rows: rows >= least_rows)) for _ in range(2))
    n_bits = 8 * draw(n_bytes) - draw(st.integers(0, 7))
    rng = np.random.default_rng(draw(SEEDS))
    bits = some_bits(rng, n + m, n_bits, draw(st.sampled_from(sorted(DENSITIES))))
    packed = np.packbits(bits, axis=1, bitorder=draw(st.sampled_from(["big", "little"])))
    layouts = [LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))] for _ in range(2)]
    return layouts[0](packed[:n]), layouts[1](packed[n:]), bits[:n], bits[n:], n_bits


def assert_same(native, twin):
    for one, other in zip(native, twin, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


# --- against the twin ------------------------------------------------------------------------


@pytest.mark.native
@pytest.mark.parametrize("metric", BIT_METRICS)
@given(data=st.data(), sets=bit_sets())
def test_knn_equals_twin(metric, data, sets):
    x, y, _, _, n_bits = sets
    k = data.draw(st.one_of(st.just(len(y)), st.integers(1, len(y))), label="k")
    options = {
        "metric": metric,
        "metric_params": data.draw(st.sampled_from([None, {"n_bits": n_bits}])),
        "precision": data.draw(st.sampled_from(["default", "float64", "fast"])),
        "distance_dtype": data.draw(st.sampled_from([None, "float64"])),
    }
    with forced_tile(*data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")):
        assert_same(*native_and_twin(pt.knn, x, y, k, workers=2, **options))


@pytest.mark.native
@pytest.mark.parametrize("metric", BIT_METRICS)
@given(data=st.data(), sets=bit_sets(least_rows=2, n_bytes=st.integers(1, 40)))
def test_self_join_and_predicates_equal_twin(metric, data, sets):
    x = sets[0]
    k = data.draw(st.integers(1, len(x) - 1), label="k")
    rng = np.random.default_rng(data.draw(SEEDS))
    predicates = data.draw(
        st.sampled_from(
            [
                {},
                {"query_groups": rng.integers(3, size=len(x)), "group_rule": "same"},
                {"query_groups": rng.integers(3, size=len(x)), "group_rule": "different"},
                {"query_times": rng.integers(9, size=len(x))},
                {"reference_mask": rng.random(len(x)) < 0.5},
            ]
        )
    )
    assert_same(*native_and_twin(pt.knn, x, k=k, metric=metric, **predicates))


@pytest.mark.native
@pytest.mark.parametrize("metric", BIT_METRICS)
@given(data=st.data(), sets=bit_sets(least_rows=3))
def test_radii_equal_twin(metric, data, sets):
    x, y, _, _, n_bits = sets
    options = {
        "metric": metric,
        "metric_params": {"n_bits": n_bits},
        "closed": data.draw(st.booleans(), label="closed"),
        "distance_dtype": data.draw(st.sampled_from([None, "float64"])),
    }
    distances = pt.pairwise_distances(x, y, metric=metric, metric_params={"n_bits": n_bits})
    # radii at which pairs lie exactly
    with forced_tile(*data.draw(st.sampled_from([(0, 0), (20, 70)]), label="tile")):
        for radius_of, radius in (("query", distances[:, 0]), ("reference", distances[0])):
            native, twin = native_and_twin(
                pt.radius_count, x, y, radius, radius_of=radius_of, **options
            )
            np.testing.assert_array_equal(native, twin)
        assert_same(*native_and_twin(pt.radius_neighbors, x, y, distances[:, 1], **options))


@pytest.mark.native
@pytest.mark.parametrize("metric", BIT_METRICS)
@given(sets=bit_sets(least_rows=3, n_bytes=st.integers(1, 40)))
def test_fidelity_equals_twin(metric, sets):
    real, fake, _, _, n_bits = sets
    options = {"metric": metric, "metric_params": {"n_bits": n_bits}}
    prdc = pt.precision_recall_density_coverage
    np.testing.assert_array_equal(*native_and_twin(prdc, real, fake, k=2, **options))
    np.testing.assert_array_equal(*native_and_twin(pt.authenticity, real, fake, **options))
    assert_same(*native_and_twin(pt.distance_to_closest_record, fake, real, **options))
    np.testing.assert_array_equal(*native_and_twin(pt.kth_distance, real, k=(2, 1), **options))
    np.testing.assert_array_equal(*native_and_twin(pt.pairwise_distances, real, fake, **options))


@pytest.mark.native
@pytest.mark.parametrize("metric", BIT_METRICS)
def test_every_tail_of_every_block(metric):
    rng = np.random.default_rng(0)
    for n_bytes in (1, 4, 5, 9, 125, 1028):
        bits = rng.integers(0, 256, size=(110, n_bytes), dtype=np.uint8)
        bits[::9], bits[1::9] = 0, 255  # the largest count there is
        sizes = [(n, 33) for n in (1, 3, 4, 5, 6, 7, 13, 14, 15, 29)]
        sizes += [(5, m) for m in (3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 65)]
        for n, m in sizes:
            assert_same(*native_and_twin(pt.knn, bits[:n], bits[-m:], 3, metric=metric))


@pytest.mark.native
@pytest.mark.parametrize("metric", BIT_METRICS)
def test_more_ties_than_a_list_holds(metric):
    bits = np.packbits(some_bits(np.random.default_rng(1), 1520, 20, "sparse"), axis=1)
    for k in (1, 10, 300):
        assert_same(*native_and_twin(pt.knn, bits[:20], bits[20:], k, metric=metric))


@pytest.mark.native
@pytest.mark.parametrize("n_bits", [2048, 2888, 2896, 2904, 16384])
def test_fractions_that_float32_may_not_tell_apart(n_bits):
    """Differing bits over bits in the union as near to one number as whole numbers come."""
    rng = np.random.default_rng(2)
    ones = n_bits // 2
    added = rng.integers(0, n_bits - ones, size=600)
    removed = np.rint((ones + added) / np.e).astype(int) - added
    order = rng.permutation(np.flatnonzero((removed >= 0) & (removed <= ones)))
    position = np.arange(n_bits)
    query = position < ones
    references = ((position >= removed[order, None]) & query) | (
        (position >= ones) & (position < ones + added[order, None])
    )
    x, y = np.packbits(query[None], axis=1), np.packbits(references, axis=1)
    assert len(y) > 200
    native, twin = native_and_twin(pt.knn, x, y, len(y), metric="jaccard", distance_dtype="float64")
    assert_same(native, twin)
    for k in range(1, len(y)):  # whichever fractions the last place lies between
        found = pt.knn(x, y, k, metric="jaccard", distance_dtype="float64")
        assert_same(found, tuple(part[:, :k] for part in twin))
    radius = np.median(pt.pairwise_distances(x, y, metric="jaccard"))
    for closed in (True, False):
        for dtype in ("float32", "float64"):
            options = {"metric": "jaccard", "closed": closed, "distance_dtype": dtype}
            np.testing.assert_array_equal(
                *native_and_twin(pt.radius_count, x, y, radius, **options)
            )


@pytest.mark.native
@pytest.mark.parametrize("metric", BIT_METRICS)
def test_rows_of_more_bits_than_float32_counts(metric):
    n_bytes = (1 << 21) + 8
    order = np.random.default_rng(3).permutation(8)
    references = np.full((8, n_bytes), 255, dtype=np.uint8)
    references[:, 0] = 255 >> order  # one bit fewer in each
    query = np.zeros((1, n_bytes), dtype=np.uint8)
    query[0, -1] = 1
    differing = 8 * n_bytes - 1 - order
    union = differing + 1 if metric == "jaccard" else 8 * n_bytes
    expected = differing / union
    nearest = np.argsort(expected)
    for k in (3, 8):
        found = pt.knn(query, references, k, metric=metric, distance_dtype="float64")
        np.testing.assert_array_equal(found.indices[0], nearest[:k])
        np.testing.assert_array_equal(found.distances[0], expected[nearest[:k]])


# --- against other packages ------------------------------------------------------------------


@pytest.mark.parametrize("backend", [pytest.param("native", marks=pytest.mark.native), "numpy"])
@pytest.mark.parametrize("metric", BIT_METRICS)
@given(sets=bit_sets())
def test_equals_scipy(backend, metric, sets):
    x, y, x_bits, y_bits, n_bits = sets
    expected = cdist(x_bits, y_bits, metric)
    options = {"metric": metric, "metric_params": {"n_bits": n_bits}}
    with on_backend(backend):
        distances = pt.pairwise_distances(x, y, **options)
        found = pt.knn(x, y, len(y), distance_dtype="float64", **options)
    assert distances.dtype == np.float32
    np.testing.assert_array_equal(distances, expected.astype(np.float32))
    order = np.argsort(expected, axis=1, kind="stable")
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_array_equal(found.distances, np.take_along_axis(expected, order, axis=1))


@pytest.mark.parametrize("metric", BIT_METRICS)
def test_equals_scikit_learn(metric):
    rng = np.random.default_rng(4)
    x, y = some_bits(rng, 60, 166), some_bits(rng, 400, 166)
    theirs = NearestNeighbors(n_neighbors=7, algorithm="brute", metric=metric).fit(y)
    expected, _ = theirs.kneighbors(x)
    found = pt.knn(
        np.packbits(x, axis=1),
        np.packbits(y, axis=1),
        7,
        metric=metric,
        metric_params={"n_bits": 166},
        distance_dtype="float64",
    )
    np.testing.assert_allclose(found.distances, expected, rtol=1e-15)


@pytest.mark.oracle("faiss")
def test_equals_faiss():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SWIG's own
        import faiss
    rng = np.random.default_rng(5)
    x, y = (rng.integers(0, 256, size=(n, 32), dtype=np.uint8) for n in (50, 3000))
    index = faiss.IndexBinaryFlat(256)
    index.add(y)
    expected, _ = index.search(x, 20)
    np.testing.assert_array_equal(256 * pt.knn(x, y, 20, metric="hamming").distances, expected)


# --- definitions and bad input ---------------------------------------------------------------


def test_n_bits_is_what_hamming_divides_by():
    x, y = np.array([[0b11100000]], np.uint8), np.array([[0b10000000]], np.uint8)
    for n_bits in range(3, 9):
        options = {"metric": "hamming", "metric_params": {"n_bits": n_bits}}
        assert pt.pairwise_distances(x, y, **options)[0, 0] == np.float32(2 / n_bits)
    assert pt.pairwise_distances(x, y, metric="hamming")[0, 0] == 2 / 8


def test_two_rows_without_a_bit_are_equal():
    zeros = np.zeros((3, 2), np.uint8)
    for metric in BIT_METRICS:
        np.testing.assert_array_equal(pt.pairwise_distances(zeros, metric=metric), 0)
        np.testing.assert_array_equal(pt.knn(zeros, k=2, metric=metric).distances, 0)


def test_bytes_are_read_where_they_lie():
    """At any address, without writing to them."""
    memory = np.random.default_rng(6).integers(0, 256, size=4001, dtype=np.uint8)
    memory.flags.writeable = False
    x = memory[1:].reshape(400, 10)[:, 1:8]
    for metric in BIT_METRICS:
        assert_same(pt.knn(x, k=3, metric=metric), pt.knn(x.copy(), k=3, metric=metric))


A = np.array([[0b10100000, 0b01000000], [0, 0b11100000], [1, 2]], np.uint8)

# What is asked, the error, and what its message must name.
BAD_CALLS = {
    "booleans": (
        lambda: pt.knn(A > 1, k=1, metric="hamming"),
        TypeError,
        ["'hamming'", "queries", "uint8", "np.packbits(queries, axis=1)"],
    ),
    "int8": (lambda: pt.knn(A.astype(np.int8), k=1, metric="jaccard"), TypeError, ["uint8"]),
    "reference not packed": (
        lambda: pt.knn(A, A > 1, k=1, metric="jaccard"),
        TypeError,
        ["'jaccard'", "reference", "np.packbits(reference, axis=1)"],
    ),
    "fake not packed": (
        lambda: pt.authenticity(A, A.astype(float), metric="hamming"),
        TypeError,
        ["fake", "np.packbits"],
    ),
    "too few n_bits": (
        lambda: pt.kth_distance(A, k=1, metric="hamming", metric_params={"n_bits": 8}),
        ValueError,
        ["['n_bits'] must be 9 to 16", "2 bytes", "got 8"],
    ),
    "too many n_bits": (
        lambda: pt.knn(A, k=1, metric="jaccard", metric_params={"n_bits": 17}),
        ValueError,
        ["['n_bits'] must be 9 to 16", "got 17"],
    ),
    "n_bits of float": (
        lambda: pt.knn(A, k=1, metric="hamming", metric_params={"n_bits": 16.0}),
        TypeError,
        ["['n_bits'] must be an integer", "16.0"],
    ),
    "bits beyond n_bits": (
        lambda: pt.radius_count(A, radius=1.0, metric="hamming", metric_params={"n_bits": 11}),
        ValueError,
        ["['n_bits']=11", "5 bits of the last byte", "np.packbits"],
    ),
    "bits beyond n_bits in the reference": (
        lambda: pt.knn(A[:2], A, 1, metric="jaccard", metric_params={"n_bits": 11}),
        ValueError,
        ["['n_bits']=11"],
    ),
    "unknown parameter": (
        lambda: pt.knn(A, k=1, metric="hamming", metric_params={"p": 1}),
        ValueError,
        ["'hamming' takes the metric_params ['n_bits']", "['p']"],
    ),
    "n_bits of a metric of numbers": (
        lambda: pt.knn(A, k=1, metric="euclidean", metric_params={"n_bits": 16}),
        ValueError,
        ["'euclidean' takes no metric_params", "['n_bits']"],
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls(name):
    call, error, fragments = BAD_CALLS[name]
    with pytest.raises(error) as caught:
        call()
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize("order", ["big", "little"])
def test_padding_may_lie_at_either_end_of_the_last_byte(order):
    bits = np.random.default_rng(7).random((40, 13)) < 0.5
    packed = np.packbits(bits, axis=1, bitorder=order)
    options = {"metric": "hamming", "metric_params": {"n_bits": 13}}
    np.testing.assert_array_equal(
        pt.pairwise_distances(packed, **options), cdist(bits, bits, "hamming").astype(np.float32)
    )
    packed[17, 1] ^= 0b00100100  # the third bit from either end: one of them is padding
    packed[18, 1] |= 0b10000001
    with pytest.raises(ValueError, match="3 bits of the last byte"):
        pt.pairwise_distances(packed, **options)
