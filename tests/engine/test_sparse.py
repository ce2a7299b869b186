"""Sparse CSR rows: the bits of the same rows made dense, which are never all dense at once."""

import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import pairtile as pt
from backends import assert_same_bits, blocks_of, on_backend
from pairtile._backends.rows import Rows
from processes import PEAK, measures_memory, run_python
from strategies import SEEDS

pytestmark = pytest.mark.host

BACKENDS = [pytest.param("native", marks=pytest.mark.native), "numpy"]
METRICS = ("cosine", "inner_product")
DTYPES = ("float64", "float32", "uint8", "int8", "int32", "uint64", "bool")


def rows(rng, n, d, density=0.3, dtype="float64"):
    """CSR rows, some of them without an entry, columns in no order."""
    dense = np.where(rng.random((n, d)) < density, rng.normal(size=(n, d)) * 9, 0)
    dense[rng.random(n) < 0.2] = 0
    if dtype.startswith(("bool", "uint")):
        dense = abs(dense)
    csr = sparse.csr_array(dense.astype(dtype))
    for i in range(n):
        at = slice(csr.indptr[i], csr.indptr[i + 1])
        order = rng.permutation(at.stop - at.start)
        csr.indices[at], csr.data[at] = csr.indices[at][order], csr.data[at][order]
    csr.has_sorted_indices = False
    return csr


def flat(found):
    return found.keep, found.group, *found.pairs


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    seed=SEEDS,
    shape=st.tuples(st.integers(2, 24), st.integers(2, 24), st.sampled_from([1, 4, 17])),
    cut=st.tuples(st.integers(3, 30), st.integers(3, 30)),
    dtype=st.sampled_from(DTYPES),
    metric=st.sampled_from(METRICS),
    which=st.sampled_from(["both", "queries", "reference", "self"]),
)
def test_neighbours_have_the_bits_of_dense_rows(backend, seed, shape, cut, dtype, metric, which):
    rng = np.random.default_rng(seed)
    n, m, d = shape
    x, y = rows(rng, n, d, dtype=dtype), rows(rng, m, d, dtype=dtype)
    dense = x.toarray(), None if which == "self" else y.toarray()
    sets = {
        "both": (x, y),
        "queries": (x, dense[1]),
        "reference": (dense[0], y),
        "self": (x, None),
    }[which]
    k = min(3, n - 1 if which == "self" else m)
    with on_backend(backend), blocks_of(*cut):
        assert_same_bits(pt.knn(*sets, k, metric=metric), pt.knn(*dense, k, metric=metric))
        assert_same_bits(
            pt.kth_distance(*sets, [k, 1], metric=metric),
            pt.kth_distance(*dense, [k, 1], metric=metric),
        )
        threshold = 0.3 if metric == "cosine" else 5.0
        for keep in ("first", "medoid"):
            assert_same_bits(
                flat(pt.deduplicate(sets[0], threshold=threshold, metric=metric, keep=keep)),
                flat(pt.deduplicate(dense[0], threshold=threshold, metric=metric, keep=keep)),
            )
        assert_same_bits(
            pt.near_duplicates(*sets, threshold=threshold, metric=metric),
            pt.near_duplicates(*dense, threshold=threshold, metric=metric),
        )
        assert_same_bits(
            pt.max_similarity(*sets, metric=metric), pt.max_similarity(*dense, metric=metric)
        )
        assert_same_bits(
            pt.top_pairs(sets[0], 1, metric=metric), pt.top_pairs(dense[0], 1, metric=metric)
        )
        if metric == "cosine":
            for call in (pt.radius_neighbors, pt.radius_count):
                assert_same_bits(
                    call(*sets, radius=0.8, metric=metric), call(*dense, radius=0.8, metric=metric)
                )


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_kinds_of_csr(kind, index):
    rng = np.random.default_rng(0)
    x, y = (kind(rows(rng, 30, 7)) for _ in range(2))
    for one in (x, y):
        one.indices, one.indptr = one.indices.astype(index), one.indptr.astype(index)
    expected = pt.knn(x.toarray(), y.toarray(), 4, metric="cosine")
    with blocks_of(7, 11):
        assert_same_bits(pt.knn(x, y, 4, metric="cosine"), expected)


def test_entries_of_one_place_are_added_and_zeros_may_be_stored():
    x = sparse.csr_array(([1.0, 2.0, 0.0, 5.0], [1, 1, 0, 2], [0, 3, 4]), shape=(2, 3))
    found = pt.knn(x, k=1, metric="inner_product")
    np.testing.assert_array_equal(found.distances, [[0], [0]])
    found = pt.knn(x, np.eye(3), 1, metric="inner_product")
    np.testing.assert_array_equal(found.distances, [[3], [5]])
    np.testing.assert_array_equal(found.indices, [[1], [2]])


def test_predicates_and_generated_sets():
    rng = np.random.default_rng(1)
    x, y = rows(rng, 50, 6), rows(rng, 60, 6)
    dense = x.toarray(), y.toarray()
    options = {"metric": "cosine", "group_rule": "different"}
    options |= {"query_groups": np.arange(50) % 3, "reference_groups": np.arange(60) % 3}
    with blocks_of(9, 13):
        assert_same_bits(pt.knn(x, y, 5, **options), pt.knn(*dense, 5, **options))
        for call in (
            pt.distance_to_closest_record,
            pt.precision_recall_density_coverage,
            pt.authenticity,
        ):
            assert_same_bits(call(x, y, metric="cosine"), call(*dense, metric="cosine"))


def test_a_memory_mapped_csr(tmp_path):
    x = rows(np.random.default_rng(2), 40, 9)
    parts = []
    for name in ("data", "indices", "indptr"):
        np.save(tmp_path / f"{name}.npy", getattr(x, name))
        parts.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    mapped = sparse.csr_array(tuple(parts), shape=x.shape)
    with blocks_of(7, 7):
        assert_same_bits(
            pt.knn(mapped, k=3, metric="cosine"), pt.knn(x.toarray(), k=3, metric="cosine")
        )


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "correlation", "nan_euclidean"])
def test_other_metrics_want_dense_rows(metric):
    x = rows(np.random.default_rng(3), 9, 4)
    message = rf"is a sparse csr_array, which metric '{metric}' does not take \(cosine and inner_"
    for sets, at_fault in [((x,), "queries"), ((x.toarray(), x), "reference")]:
        for call, options in [(pt.knn, {"k": 1}), (pt.radius_neighbors, {"radius": 1.0})]:
            with pytest.raises(TypeError, match=rf"^{at_fault} {message}.*{at_fault}\.toarray\(\)"):
                call(*sets, metric=metric, **options)


def test_other_forms_are_told_of_csr():
    x = rows(np.random.default_rng(3), 9, 4)
    for form in (x.tocsc(), x.tocoo(), x.tolil(), x.tobsr()):
        with pytest.raises(TypeError, match=r"^queries is a sparse \w+; .*queries\.tocsr\(\)"):
            pt.knn(form, k=1, metric="cosine")
    with pytest.raises(TypeError, match=r"reference is a sparse csr_array; pass .*toarray"):
        pt.NeighborIndex(x, metric="cosine")
    with pytest.raises(TypeError, match=r"x is a sparse csr_array; pass x\.toarray"):
        pt.pairwise_distances(x, metric="cosine")


def test_bad_rows():
    rng = np.random.default_rng(4)
    x = rows(rng, 30, 5, density=0.9)
    bad = x.copy()
    bad.data[bad.indptr[21]] = np.nan
    with blocks_of(8, 8):
        with pytest.raises(ValueError, match=r"^queries contains NaN or Inf; .* row is 21$"):
            pt.knn(bad, k=1, metric="cosine")
        for column in (-1, 5):
            damaged = x.copy()
            damaged.indices[damaged.indptr[21]] = column
            with pytest.raises(ValueError, match=r"^reference is damaged: rows 16 to 23 have col"):
                pt.knn(x.toarray(), damaged, 1, metric="cosine")
    with pytest.raises(ValueError, match=r"queries has 5 columns and reference has 4"):
        pt.knn(x, rows(rng, 9, 4), 1, metric="cosine")
    with pytest.raises(ValueError, match=r"queries is empty"):
        pt.knn(x[:0], x, 1, metric="cosine")
    with pytest.raises(TypeError, match=r"queries must hold real numbers, got dtype complex128"):
        pt.knn(x * 1j, k=1, metric="cosine")


# --- memory -----------------------------------------------------------------------------------


def test_blocks_leave_room_for_what_scipy_copies():
    x = rows(np.random.default_rng(5), 4, 100)
    narrow = Rows("x", x, x.dtype, check_finite=True).row_bytes
    x.indices, x.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    assert (narrow, Rows("x", x, x.dtype, check_finite=True).row_bytes) == (800, 1200)


@measures_memory
@pytest.mark.native
def test_peak_memory():
    """Rows that would take 128 MB, with what a call takes beside them and its result."""
    run_python(
        textwrap.dedent(PEAK)
        + textwrap.dedent("""
        from scipy import sparse

        def some(n, d, filled):
            indices = rng.integers(0, d, size=n * filled)
            return sparse.csr_array(
                (rng.random(n * filled), indices, np.arange(0, n * filled + 1, filled)), (n, d)
            )

        limit = 16 << 20
        x, y = some(8_000, 2000, 8), some(30, 2000, 8)
        options = {"metric": "cosine", "memory_limit": limit}
        pt.knn(y, k=3, **options)
        used = {
            "knn": growth(lambda: pt.knn(y, x, 10, **options)) - 30 * 160,
            "queries": growth(lambda: pt.knn(x, y, 2, **options)) - 8_000 * 32,
            "count": growth(lambda: pt.radius_count(y, x, 0.9, **options)) - 30 * 8,
        }
        assert all(size <= limit for size in used.values()), used
        """)
    )
