"""What the classes take as rows: bits, sparse rows, rows with gaps, frames; symmetric graphs."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

pytest.importorskip("sklearn", minversion="1.6", reason="pairtile.sklearn needs it")

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import nan_euclidean_distances
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import pairtile as pt
import pairtile.sklearn as face
from backends import blocks_of
from pairtile.sklearn import KNeighborsTransformer, NearestNeighbors, RadiusNeighborsTransformer
from sklearn import neighbors
from strategies import SEEDS

CLASSES = ["NearestNeighbors", "KNeighborsTransformer", "RadiusNeighborsTransformer"]
ROWS = np.random.default_rng(0).normal(size=(40, 6))
QUERIES = np.random.default_rng(1).normal(size=(25, 6))


def bits(rng, n, d):
    """Rows of bool, the first without any that is set."""
    rows = rng.random((n, d)) < rng.choice([0.05, 0.5])
    rows[0] = False
    return rows


@parametrize_with_checks(
    [KNeighborsTransformer(metric="cosine"), NearestNeighbors(metric="nan_euclidean")]
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


# --- bits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["hamming", "jaccard"])
@given(seed=SEEDS, d=st.sampled_from([1, 7, 8, 9, 33]), n=st.integers(2, 30))
def test_distances_of_bool_are_those_of_scikit_learn(metric, seed, d, n):
    rng = np.random.default_rng(seed)
    x, y = bits(rng, n, d), bits(rng, 9, d)
    options = {"metric": metric, "n_neighbors": n}
    ours = NearestNeighbors(**options).fit(x)
    theirs = neighbors.NearestNeighbors(algorithm="brute", **options).fit(x)
    found, right = (one.kneighbors_graph(y, mode="distance").toarray() for one in (ours, theirs))
    np.testing.assert_array_equal(found, right)
    ours, theirs = (one.radius_neighbors_graph(y, 0.5, "distance") for one in (ours, theirs))
    np.testing.assert_array_equal(ours.toarray(), theirs.toarray())
    assert ours.nnz == theirs.nnz


@pytest.mark.parametrize("name", CLASSES)
def test_bool_is_packed(name):
    x, y = bits(np.random.default_rng(0), 40, 13), bits(np.random.default_rng(1), 25, 13)
    ours = getattr(face, name)(metric="jaccard").fit(x)
    assert ours._fit_X.nbytes == 40 * 2
    assert ours.effective_metric_params_ == {"n_bits": 13}
    assert ours.n_features_in_ == 13
    assert ours.metric_params is None
    packed = NearestNeighbors(metric="jaccard").fit(np.packbits(x, axis=1))
    if name == "RadiusNeighborsTransformer":
        found = ours.radius_neighbors_graph(y, 0.9, "distance")
        right = packed.radius_neighbors_graph(np.packbits(y, axis=1), 0.9, "distance")
    else:
        found = ours.kneighbors_graph(y, 4, "distance")
        right = packed.kneighbors_graph(np.packbits(y, axis=1), 4, "distance")
    np.testing.assert_array_equal(found.indices, right.indices)
    np.testing.assert_array_equal(found.data, right.data)  # padding is no part of a union


@pytest.mark.oracle("pandas")
def test_frames_of_bool_are_bits():
    import pandas as pd

    x = bits(np.random.default_rng(0), 40, 5)
    ours = NearestNeighbors(metric="hamming").fit(pd.DataFrame(x, columns=list("abcde")))
    assert ours.effective_metric_params_ == {"n_bits": 5}
    right = NearestNeighbors(metric="hamming").fit(x).kneighbors()
    for a, b in zip(ours.kneighbors(), right, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("metric", ["hamming", "jaccard"])
def test_what_are_no_bits(metric):
    x = bits(np.random.default_rng(0), 12, 8)
    for given_ in (x.astype(float), x.astype(np.int64)):
        with pytest.raises(TypeError, match="must be of dtype bool, or uint8 for packed bits; got"):
            NearestNeighbors(metric=metric).fit(given_)
    with pytest.raises(TypeError, match="must be of dtype bool, as in fit; got uint8"):
        NearestNeighbors(metric=metric).fit(x).kneighbors(x.astype(np.uint8))
    with pytest.raises(TypeError, match="or uint8 for packed bits; got bool"):
        NearestNeighbors(metric=metric).fit(x.astype(np.uint8)).kneighbors(x)
    with pytest.raises(ValueError, match=r"'n_bits'\] must be 8, the columns of rows of bool"):
        NearestNeighbors(metric=metric, metric_params={"n_bits": 7}).fit(x)
    NearestNeighbors(metric=metric, metric_params={"n_bits": 8}).fit(x)


def test_bool_is_numbers_to_other_metrics():
    x = bits(np.random.default_rng(0), 12, 8)
    found = NearestNeighbors(metric="manhattan").fit(x).kneighbors()
    for a, b in zip(found, pt.knn(x.astype(float), k=5, metric="manhattan"), strict=True):
        np.testing.assert_array_equal(a, b)


# --- sparse rows --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csr", "csc", "lil"])
@pytest.mark.parametrize("name", CLASSES)
def test_sparse_rows(name, form):
    x, y = (sparse.csr_array(np.where(a > 0.5, a, 0)) for a in (ROWS, QUERIES))
    options = {"metric": "cosine"} | ({} if name == "KNeighborsTransformer" else {"radius": 0.7})
    ours, dense = getattr(face, name)(**options), getattr(face, name)(**options)
    ours.fit(x.asformat(form))
    dense.fit(x.toarray())
    search = "radius_neighbors_graph" if "Radius" in name else "kneighbors_graph"
    with blocks_of(7, 9):
        for asked in [(), (y.asformat(form),), (y.toarray(),)]:
            rows = [one.toarray() if sparse.issparse(one) else one for one in asked]
            found, right = getattr(ours, search)(*asked), getattr(dense, search)(*rows)
            np.testing.assert_array_equal(found.indptr, right.indptr)
            np.testing.assert_array_equal(found.indices, right.indices)
            np.testing.assert_array_equal(found.data, right.data)


def test_sparse_rows_as_scikit_learn_has_them():
    """In a pipeline behind what makes such rows."""
    rng = np.random.default_rng(3)
    words = [" ".join(f"w{w}" for w in rng.zipf(1.3, size=30) if w < 50) for _ in range(60)]
    ours, theirs = (
        make_pipeline(TfidfVectorizer(), transformer).fit_transform(words)
        for transformer in (
            KNeighborsTransformer(n_neighbors=4, metric="cosine"),
            neighbors.KNeighborsTransformer(n_neighbors=4, metric="cosine"),
        )
    )
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    np.testing.assert_allclose(ours.data, theirs.data, atol=1e-12)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("metric", ["minkowski", "l1", "correlation"])
def test_sparse_rows_are_for_cosine(name, metric):
    with pytest.raises(TypeError, match=r"Sparse data was passed for X.*toarray"):
        getattr(face, name)(metric=metric).fit(sparse.csr_array(ROWS))
    assert not getattr(face, name)(metric=metric).__sklearn_tags__().input_tags.sparse
    for alias in ("cosine", "cos"):
        assert getattr(face, name)(metric=alias).__sklearn_tags__().input_tags.sparse


# --- rows with gaps -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSES)
def test_missing_features(name):
    rng = np.random.default_rng(2)
    x, y = (np.where(rng.random(a.shape) < 0.2, np.nan, a) for a in (ROWS, QUERIES))
    ours = getattr(face, name)(metric="nan_euclidean").fit(x)
    assert ours.__sklearn_tags__().input_tags.allow_nan
    right = nan_euclidean_distances(y, x)
    none = np.isnan(right)
    assert none.any()
    right[none] = 0 if name == "RadiusNeighborsTransformer" else np.inf
    if name == "RadiusNeighborsTransformer":
        found = ours.radius_neighbors_graph(y, 100.0, "distance")
    else:
        found = ours.kneighbors_graph(y, len(x), "distance")
    np.testing.assert_allclose(found.toarray(), right, rtol=1e-12)
    with pytest.raises(ValueError, match="infinity"):
        getattr(face, name)(metric="nan_euclidean").fit(np.where(np.isnan(x), np.inf, x))
    with pytest.raises(ValueError, match="contains NaN"):
        getattr(face, name)().fit(x)
    assert not getattr(face, name)().__sklearn_tags__().input_tags.allow_nan


# --- frames -------------------------------------------------------------------------------------


def frames(package):
    if package == "pandas":
        import pandas as pd

        return pd.DataFrame(ROWS, columns=list("abcdef"))
    import polars as pl

    return pl.DataFrame(ROWS, schema=list("abcdef"))


@pytest.mark.parametrize(
    "package", [pytest.param(p, marks=pytest.mark.oracle(p)) for p in ("pandas", "polars")]
)
@pytest.mark.parametrize("name", CLASSES[1:])
def test_output_is_set_as_with_scikit_learn(name, package):
    """No frame holds a graph: theirs and ours say so in the same words."""
    frame = frames(package)
    ours, theirs = getattr(face, name)().fit(frame), getattr(neighbors, name)().fit(frame)
    assert ours.feature_names_in_.tolist() == theirs.feature_names_in_.tolist() == list("abcdef")
    names = ours.get_feature_names_out()
    assert names.tolist() == [f"{name.lower()}{i}" for i in range(len(ROWS))]
    np.testing.assert_array_equal(names, theirs.get_feature_names_out())
    plain = ours.transform(frame)
    with pytest.raises(ValueError) as expected:
        theirs.set_output(transform=package).transform(frame)
    with pytest.raises(ValueError) as raised:
        ours.set_output(transform=package).transform(frame)
    assert str(raised.value) == str(expected.value)
    again = ours.set_output(transform="default").transform(frame)
    np.testing.assert_array_equal(plain.toarray(), again.toarray())


@pytest.mark.oracle("pandas")
@pytest.mark.parametrize("name", CLASSES)
def test_names_of_queries_are_compared(name):
    frame = frames("pandas")
    ours = getattr(face, name)().fit(frame)
    search = ours.radius_neighbors if "Radius" in name else ours.kneighbors
    with pytest.raises(ValueError, match="feature names should match"):
        search(frame[list("fedcba")])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        search(ROWS)


# --- symmetric graphs ---------------------------------------------------------------------------


def either(graph):
    """An edge where either row lists the other, one pair at a time."""
    edges = {}
    for i in range(graph.shape[0]):
        for at in range(graph.indptr[i], graph.indptr[i + 1]):
            j = graph.indices[at]
            edges[i, j] = edges[j, i] = graph.data[at]
    return edges


@pytest.mark.parametrize("mode", ["distance", "connectivity"])
@given(
    seed=SEEDS,
    n=st.integers(2, 30),
    k=st.integers(1, 6),
    metric=st.sampled_from(["euclidean", "cosine", "manhattan", "canberra", "braycurtis"]),
    levels=st.sampled_from([2, 5, 10**6]),
)
def test_an_edge_if_either_row_lists_the_other(mode, seed, n, k, metric, levels):
    """Also between duplicates, whose distance is a zero that is stored."""
    x = np.random.default_rng(seed).integers(1, 1 + levels, size=(n, 3)).astype(float)
    options = {"mode": mode, "metric": metric, "n_neighbors": min(k, n - 1)}
    listed = KNeighborsTransformer(**options).fit_transform(x)
    transformer = KNeighborsTransformer(symmetric=True, **options)
    graph = transformer.fit_transform(x)
    assert type(graph) is type(listed)
    expected = either(listed)
    rows = np.repeat(np.arange(n), np.diff(graph.indptr))
    edges = zip(rows.tolist(), graph.indices.tolist(), graph.data, strict=True)
    found = {(i, j): value for i, j, value in edges}
    assert len(graph.data) == len(found)
    assert found == expected
    by_distance = KNeighborsTransformer(**(options | {"n_neighbors": n - 1})).fit(x)
    apart = by_distance.kneighbors_graph(x, n, "distance").toarray()
    for i in range(n):
        mine = graph.indices[graph.indptr[i] : graph.indptr[i + 1]]
        assert mine.tolist() == sorted(mine.tolist(), key=lambda j: (apart[i, j], j))
    for again in (transformer.transform(x.copy()), transformer.transform(x.tolist())):
        np.testing.assert_array_equal(again.toarray(), graph.toarray())


@pytest.mark.parametrize("name", CLASSES[1:])
def test_symmetric_graphs_are_of_the_rows_of_fit(name):
    gaps = np.where(ROWS > 1, np.nan, ROWS)
    text = sparse.csr_array(np.where(ROWS > 0, ROWS, 0))
    flags = ROWS > 0
    for rows, metric in [
        (ROWS, "euclidean"),
        (gaps, "nan_euclidean"),
        (text, "cosine"),
        (flags, "jaccard"),
    ]:
        transformer = getattr(face, name)(metric=metric, symmetric=True)
        graph = transformer.fit_transform(rows)
        assert (graph != graph.T).nnz == 0
        for same in (rows, rows.copy(), None):
            assert transformer.transform(same).shape == graph.shape
        changed = rows.toarray() if sparse.issparse(rows) else rows.copy()
        changed[3, 2] = ~changed[3, 2] if changed.dtype == bool else 7.0
        other = sparse.csr_array(changed) if sparse.issparse(rows) else changed
        for different in (rows[:-1], rows[::-1], other):
            with pytest.raises(ValueError, match="symmetric=True is for the graph of the rows of"):
                transformer.transform(different)
    with pytest.raises(TypeError, match="symmetric must be True or False, got 'yes'"):
        getattr(face, name)(symmetric="yes").fit(ROWS)


def test_a_graph_within_a_radius_is_symmetric_already():
    options = {"radius": 2.5}
    plain = RadiusNeighborsTransformer(**options).fit_transform(ROWS)
    graph = RadiusNeighborsTransformer(symmetric=True, **options).fit_transform(ROWS)
    np.testing.assert_array_equal(graph.indices, plain.indices)
    np.testing.assert_array_equal(graph.data, plain.data)
    assert (graph != graph.T).nnz == 0


def test_nothing_is_told_without_need():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KNeighborsTransformer(symmetric=True).fit_transform(ROWS)
        NearestNeighbors(p=None, metric="cosine").fit(ROWS).kneighbors()
