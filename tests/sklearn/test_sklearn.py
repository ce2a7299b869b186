"""The classes beside scikit-learn's: its checks, its graphs, the estimators that take ours.

Where warnings are errors, an estimator that complains of a graph whose rows are not sorted by
distance fails its test.
"""

import doctest
import inspect
import pickle
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from scipy import sparse

pytest.importorskip("sklearn", minversion="1.6", reason="pairtile.sklearn needs it")

from sklearn.base import clone
from sklearn.cluster import DBSCAN, HDBSCAN, SpectralClustering
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score, pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

import pairtile as pt
import pairtile.sklearn as face
import sklearn
from pairtile.sklearn import (
    KNeighborsTransformer,
    NearestNeighbors,
    RadiusNeighborsTransformer,
    searches,
    transformers,
)
from processes import run_python
from sklearn import neighbors

METRICS = ["euclidean", "l2", "sqeuclidean", "cosine", "manhattan", "l1", "cityblock", "chebyshev"]
METRICS += ["minkowski"]
MODES = ["distance", "connectivity"]
TRANSFORMERS = ["KNeighborsTransformer", "RadiusNeighborsTransformer"]
CLASSES = ["NearestNeighbors", *TRANSFORMERS]

# Gaussian: no two distances are equal.
ROWS = np.random.default_rng(0).normal(size=(80, 6))
QUERIES = np.random.default_rng(1).normal(size=(50, 6))
BLOBS, LABELS = make_blobs(300, n_features=8, centers=3, cluster_std=4.0, random_state=0)


@parametrize_with_checks(
    [
        NearestNeighbors(),
        *(
            transformer(mode=mode)
            for transformer in (KNeighborsTransformer, RadiusNeighborsTransformer)
            for mode in MODES
        ),
    ]
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


# --- the same graphs --------------------------------------------------------------------------


def both(name, **parameters):
    """Our transformer and scikit-learn's, fitted to the same rows."""
    theirs = getattr(neighbors, name)(algorithm="brute", **parameters)
    return getattr(face, name)(**parameters).fit(ROWS), theirs.fit(ROWS)


def assert_same_graph(ours, theirs):
    assert type(ours) is type(theirs)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    np.testing.assert_array_equal(ours.indptr, theirs.indptr)
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    # Theirs are differences of squares: a row's distance to itself need not be 0.
    np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-9, atol=1e-6)


def some_radius(metric):
    return np.quantile(pairwise_distances(QUERIES, ROWS, metric), 0.2)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("metric", METRICS)
def test_graph_of_k_neighbors(metric, mode):
    ours, theirs = both("KNeighborsTransformer", metric=metric, mode=mode, n_neighbors=7)
    assert_same_graph(ours.fit_transform(ROWS), theirs.fit_transform(ROWS))
    assert_same_graph(ours.transform(QUERIES), theirs.transform(QUERIES))
    for asked in [(), (QUERIES,), (None, 3), (QUERIES, 80)]:
        assert_same_graph(
            ours.kneighbors_graph(*asked, mode=mode), theirs.kneighbors_graph(*asked, mode=mode)
        )
        for a, b in zip(ours.kneighbors(*asked), theirs.kneighbors(*asked), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-6)
        indices = ours.kneighbors(*asked, return_distance=False)
        np.testing.assert_array_equal(indices, ours.kneighbors(*asked)[1])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("metric", METRICS)
def test_graph_of_a_radius(metric, mode):
    radius = some_radius(metric)
    ours, theirs = both("RadiusNeighborsTransformer", metric=metric, mode=mode, radius=radius)
    # In connectivity scikit-learn leaves rows in the order of the index.
    graphs = [
        (ours.fit_transform(ROWS), theirs.fit_transform(ROWS)),
        (ours.transform(QUERIES), theirs.transform(QUERIES)),
        *(
            (
                ours.radius_neighbors_graph(*asked, mode=mode),
                theirs.radius_neighbors_graph(*asked, mode=mode, sort_results=True),
            )
            for asked in [(), (QUERIES,), (None, 0.5 * radius)]
        ),
    ]
    for a, b in graphs:
        if mode == "connectivity":
            a.sort_indices()
            b.sort_indices()
        assert_same_graph(a, b)


@pytest.mark.parametrize("asked", [(), (QUERIES,), (None, 0.0), (QUERIES[:3], 1e3)])
def test_lists_within_a_radius(asked):
    ours, theirs = both("RadiusNeighborsTransformer", radius=2.0)
    distances, indices = ours.radius_neighbors(*asked)
    right = theirs.radius_neighbors(*asked, sort_results=True)
    assert distances.shape == indices.shape == right[0].shape
    for found, expected in [(distances, right[0]), (indices, right[1])]:
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b)
    for a, b in zip(ours.radius_neighbors(*asked, return_distance=False), indices, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("metric", METRICS)
def test_both_searches_of_one_class(metric):
    """`NearestNeighbors` finds what either transformer does, and so what scikit-learn's does."""
    radius = some_radius(metric)
    ours, theirs = both("NearestNeighbors", metric=metric, n_neighbors=6, radius=radius)
    for asked in [(), (QUERIES,), (QUERIES[:1],)]:
        for a, b in zip(ours.kneighbors(*asked), theirs.kneighbors(*asked), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-6)
        found = ours.radius_neighbors(*asked)
        right = theirs.radius_neighbors(*asked, sort_results=True)
        for a, b in zip(found, right, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            for one, other in zip(a, b, strict=True):
                assert one.dtype == other.dtype
                np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-6)
        for mode in MODES:
            assert_same_graph(
                ours.kneighbors_graph(*asked, mode=mode), theirs.kneighbors_graph(*asked, mode=mode)
            )
        assert_same_graph(
            ours.radius_neighbors_graph(*asked, mode="distance"),
            theirs.radius_neighbors_graph(*asked, mode="distance", sort_results=True),
        )


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    ("metric", "p", "params", "effective"),
    [
        ("minkowski", 1, None, "manhattan"),
        ("minkowski", 2, None, "euclidean"),
        ("minkowski", np.inf, None, "chebyshev"),
        ("minkowski", 3, None, "minkowski"),
        ("p", 1.5, None, "minkowski"),
        ("minkowski", None, {"p": 4}, "minkowski"),
        ("minkowski", 2, {"p": 2}, "euclidean"),
        ("infinity", 1, None, "chebyshev"),
        ("manhattan", 7, None, "manhattan"),
    ],
)
def test_exponent(name, metric, p, params, effective):
    ours = getattr(face, name)(metric=metric, p=p, metric_params=params).fit(ROWS)
    exponent = {"chebyshev": np.inf, "manhattan": 1, "euclidean": 2}.get(effective, p or 4)
    apart = np.linalg.norm(QUERIES[:, None] - ROWS, ord=exponent, axis=2)
    assert ours.effective_metric_ == effective
    assert ours.effective_metric_params_ == ({"p": exponent} if effective == "minkowski" else {})
    if name == "RadiusNeighborsTransformer":
        graph = ours.radius_neighbors_graph(QUERIES, radius=100.0, mode="distance")
    else:
        graph = ours.kneighbors_graph(QUERIES, n_neighbors=len(ROWS), mode="distance")
    np.testing.assert_allclose(graph.toarray(), apart, rtol=1e-12)


def test_an_exponent_given_twice_is_told():
    with pytest.warns(SyntaxWarning, match=r"metric_params has p=3; the parameter p=2 is ignored"):
        ours = NearestNeighbors(metric_params={"p": 3}).fit(ROWS)
    assert ours.effective_metric_params_ == {"p": 3}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("algorithm", ["auto", "ball_tree", "kd_tree", "brute"])
def test_algorithm_and_leaf_size_change_nothing(name, algorithm):
    plain = getattr(face, name)().fit(ROWS)
    ours = getattr(face, name)(algorithm=algorithm, leaf_size=2).fit(ROWS)
    graph = "radius_neighbors_graph" if "Radius" in name else "kneighbors_graph"
    found, right = (getattr(one, graph)(QUERIES, mode="distance") for one in (ours, plain))
    assert_same_graph(found, right)


def test_what_is_not_looked_for_may_be_none():
    """As Isomap and DBSCAN of scikit-learn ask for one search of both."""
    distances, _ = NearestNeighbors(radius=None).fit(ROWS).kneighbors(QUERIES)
    assert distances.shape == (len(QUERIES), 5)
    found = NearestNeighbors(n_neighbors=None).fit(ROWS)
    assert len(found.radius_neighbors(QUERIES)[0]) == len(QUERIES)
    with pytest.raises(TypeError, match="n_neighbors must be an integer, got None"):
        found.kneighbors(QUERIES)
    with pytest.raises(TypeError, match="needs radius="):
        NearestNeighbors(radius=None).fit(ROWS).radius_neighbors(QUERIES)
    with pytest.raises(TypeError, match="n_neighbors must be an integer, got None"):
        KNeighborsTransformer(n_neighbors=None).fit(ROWS).transform(QUERIES)


def test_a_radius_of_infinity_has_all_rows():
    distances, indices = NearestNeighbors(radius=np.inf).fit(ROWS).radius_neighbors(QUERIES)
    assert {len(one) for one in indices} == {len(ROWS)}
    assert all((np.diff(one) >= 0).all() for one in distances)


def test_a_pair_at_the_radius_is_in_the_graph():
    graph = RadiusNeighborsTransformer(radius=2.0).fit_transform([[0.0], [2.0], [5.0]])
    np.testing.assert_array_equal(graph.toarray(), [[0, 2, 0], [2, 0, 0], [0, 0, 0]])
    assert graph.nnz == 5  # zero distances are stored


def test_duplicates_are_neighbours_of_each_other():
    transformer = KNeighborsTransformer(n_neighbors=1).fit([[1.0], [1.0], [5.0]])
    distances, indices = transformer.kneighbors()
    np.testing.assert_array_equal(indices, [[1], [0], [0]])
    np.testing.assert_array_equal(distances, [[0], [0], [4]])
    graph = transformer.transform([[1.0], [5.0]])
    np.testing.assert_array_equal(graph.indices, [0, 1, 2, 0])
    np.testing.assert_array_equal(graph.data, [0, 0, 0, 4])


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8", "int64", ">f8"])
def test_distances_are_float64_for_every_dtype(dtype):
    rows = (40 * ROWS).clip(0, 255).astype(dtype)
    graph = KNeighborsTransformer(n_neighbors=4).fit_transform(rows)
    right = pt.knn(rows.astype(np.float64), rows.astype(np.float64), k=5)
    assert graph.dtype == np.float64
    np.testing.assert_array_equal(graph.indices, right.indices.ravel())
    np.testing.assert_array_equal(graph.data, right.distances.ravel())


# --- as scikit-learn's users know it ----------------------------------------------------------


@pytest.mark.parametrize("name", CLASSES)
def test_parameters_are_those_of_scikit_learn(name):
    """In their order, too, by which a saved set of them is read."""
    ours, theirs = getattr(face, name)(), getattr(neighbors, name)()
    own = {} if name == "NearestNeighbors" else {"symmetric": False}
    assert ours.get_params() == theirs.get_params() | own
    assert [*inspect.signature(type(ours)).parameters] == [
        *inspect.signature(type(theirs)).parameters,
        *own,
    ]
    for method in ("fit", "kneighbors", "kneighbors_graph", "radius_neighbors"):
        if hasattr(theirs, method):
            known = inspect.signature(getattr(theirs, method)).parameters
            assert list(inspect.signature(getattr(ours, method)).parameters) == list(known)
    saved = theirs.set_params(metric="minkowski", p=1, algorithm="kd_tree").get_params()
    assert ours.set_params(**saved).fit(ROWS).effective_metric_ == "manhattan"


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_clones_pickles_and_features(name):
    ours, theirs = both(name)
    own = {"KNeighborsTransformer": "n_neighbors", "RadiusNeighborsTransformer": "radius"}[name]
    copy = clone(ours.set_params(metric="manhattan", **{own: 2}))
    assert copy.get_params() == ours.get_params()
    assert not hasattr(copy, "n_samples_fit_")

    copy.fit(ROWS)
    assert_same_graph(pickle.loads(pickle.dumps(copy)).transform(QUERIES), copy.transform(QUERIES))
    assert (copy.n_samples_fit_, copy.n_features_in_) == ROWS.shape
    np.testing.assert_array_equal(copy.get_feature_names_out(), theirs.get_feature_names_out())


@pytest.mark.parametrize(
    ("n_jobs", "workers"), [(None, None), (2, 2), (-1, joblib.effective_n_jobs(-1))]
)
@pytest.mark.parametrize(
    ("transformer", "search"),
    [(KNeighborsTransformer, "knn"), (RadiusNeighborsTransformer, "radius_neighbors")],
)
def test_parameters_reach_the_search(transformer, search, n_jobs, workers, monkeypatch):
    asked = []

    def recorded(*arguments, **options):
        asked.append((options["workers"], options["metric_params"]))
        return getattr(pt, search)(*arguments, **options)

    monkeypatch.setattr(searches, search, recorded)
    transformer(n_jobs=n_jobs, metric_params={}).fit_transform(ROWS)
    assert asked == [(workers, {})]


def test_the_sparse_interface_is_the_one_configured():
    if "sparse_interface" not in sklearn.get_config():
        pytest.skip("scikit-learn has no such setting before 1.9")
    for interface, kind in [("sparray", sparse.csr_array), ("spmatrix", sparse.csr_matrix)]:
        with sklearn.config_context(sparse_interface=interface):
            assert type(KNeighborsTransformer().fit_transform(ROWS)) is kind


def with_nan(rows):
    return np.where(np.arange(rows.size).reshape(rows.shape) == 9, np.nan, rows)


def assert_same_error(ours, theirs, call):
    with pytest.raises((TypeError, ValueError)) as expected:
        call(theirs)
    with pytest.raises(expected.type) as raised:
        call(ours)
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize(
    "call",
    [
        lambda transformer: transformer.fit(ROWS[0]),
        lambda transformer: transformer.fit(ROWS[:0]),
        lambda transformer: transformer.fit(with_nan(ROWS)),
        lambda transformer: transformer.fit(ROWS + 1j),
        lambda transformer: transformer.transform(ROWS[:, 1:]),
        lambda transformer: transformer.transform(with_nan(QUERIES)),
        lambda transformer: clone(transformer).transform(QUERIES),
    ],
)
def test_errors_are_those_of_scikit_learn(name, call):
    assert_same_error(*both(name), call)


@pytest.mark.parametrize(
    "call",
    [
        lambda transformer: transformer.set_params(n_neighbors=80).transform(QUERIES),
        lambda transformer: transformer.kneighbors(None, 80),
    ],
)
def test_too_few_rows(call):
    assert_same_error(*both("KNeighborsTransformer"), call)


@pytest.mark.parametrize(
    ("transformer", "error", "message"),
    [
        (KNeighborsTransformer(mode="both"), ValueError, "unknown mode 'both'; known: distance"),
        (KNeighborsTransformer(n_neighbors=0), ValueError, "n_neighbors must be at least 1"),
        (KNeighborsTransformer(n_neighbors=2.5), TypeError, "n_neighbors must be an integer"),
        (KNeighborsTransformer(metric="precomputed"), ValueError, "unknown metric 'precomputed'"),
        (KNeighborsTransformer(metric="inner_product"), ValueError, "a distance is needed"),
        (KNeighborsTransformer(metric=np.dot), TypeError, "metric must be a string"),
        (NearestNeighbors(metric_params={"w": 1}), ValueError, r"takes the metric_params \['p'\]"),
        (NearestNeighbors(metric="cosine", metric_params={"w": 1}), ValueError, "takes no metric"),
        (
            NearestNeighbors(algorithm="trees"),
            ValueError,
            "unknown algorithm 'trees'",
        ),
        (NearestNeighbors(leaf_size=0), ValueError, "leaf_size must be at least 1"),
        (NearestNeighbors(p=0), ValueError, "p must be finite, > 0"),
        (NearestNeighbors(p=-1, metric="cosine"), ValueError, "p must be finite, > 0"),
        (NearestNeighbors(p="2"), TypeError, "p must be a number"),
        (NearestNeighbors(p=None), ValueError, "needs metric_params={'p'"),
        (NearestNeighbors(p=5000), ValueError, "must be from 1/1024 to 1024"),
        (RadiusNeighborsTransformer(radius=-1.0), ValueError, "radius must be finite, >= 0"),
        (RadiusNeighborsTransformer(radius=np.nan), ValueError, "radius must be finite"),
        (RadiusNeighborsTransformer(radius="far"), TypeError, "radius must be a number"),
    ],
)
def test_fit_rejects_parameters(transformer, error, message):
    with pytest.raises(error, match=message):
        transformer.fit(ROWS)
    with pytest.raises(NotFittedError):
        check_is_fitted(transformer)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: KNeighborsTransformer(n_jobs=0).fit_transform(ROWS), "n_jobs == 0"),
        (lambda: KNeighborsTransformer().fit(ROWS).kneighbors(QUERIES, 0), "n_neighbors must be"),
        (lambda: KNeighborsTransformer().fit(ROWS).kneighbors_graph(mode="x"), "unknown mode 'x'"),
        (
            lambda: RadiusNeighborsTransformer().fit(ROWS).radius_neighbors(QUERIES, -1.0),
            "radius must be 0 or more",
        ),
        (
            lambda: (
                NearestNeighbors()
                .fit(ROWS)
                .radius_neighbors(return_distance=False, sort_results=True)
            ),
            "return_distance must be True if sort_results is True",
        ),
        (
            lambda: RadiusNeighborsTransformer().fit(ROWS).radius_neighbors_graph(mode="x"),
            "unknown mode 'x'",
        ),
    ],
)
def test_searches_reject_parameters(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    for name in [n for n in sys.modules if n.startswith("pairtile.sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pairtile\[sklearn\]"):
        import pairtile.sklearn  # noqa: F401


@pytest.mark.parametrize("module", [searches, transformers])
def test_examples_in_docstrings(module):
    failures, attempted = doctest.testmod(module)
    assert attempted
    assert not failures


# --- estimators that take the graph: each finds what it finds without ---------------------------


def test_classifier_in_a_cached_pipeline(tmp_path, monkeypatch):
    """A grid over k searches the training rows of each fold once."""
    among_training_rows = []

    def counted(queries, reference, k, **options):
        among_training_rows.append(len(queries) == len(reference))
        return pt.knn(queries, reference, k, **options)

    monkeypatch.setattr(searches, "knn", counted)
    grid = {"kneighborsclassifier__n_neighbors": [1, 4, 12]}
    with_graph = make_pipeline(
        KNeighborsTransformer(n_neighbors=12),
        KNeighborsClassifier(metric="precomputed"),
        memory=str(tmp_path),
    )
    plain = make_pipeline(KNeighborsClassifier(algorithm="brute"))
    ours = GridSearchCV(with_graph, grid, cv=3, refit=False).fit(BLOBS, LABELS)
    theirs = GridSearchCV(plain, grid, cv=3, refit=False).fit(BLOBS, LABELS)
    assert sum(among_training_rows) == 3
    for fold in range(3):
        score = f"split{fold}_test_score"
        np.testing.assert_array_equal(ours.cv_results_[score], theirs.cv_results_[score])
    assert ours.best_score_ > 0.8


def test_dbscan():
    model = make_pipeline(
        RadiusNeighborsTransformer(radius=9.0), DBSCAN(eps=8.0, metric="precomputed")
    )
    labels = model.fit_predict(BLOBS)
    np.testing.assert_array_equal(labels, DBSCAN(eps=8.0).fit_predict(BLOBS))
    assert len(set(labels)) > 2


def test_spectral_clustering():
    options = {"n_clusters": 3, "n_neighbors": 15, "random_state": 0}
    model = make_pipeline(
        KNeighborsTransformer(n_neighbors=15),
        SpectralClustering(affinity="precomputed_nearest_neighbors", **options),
    )
    labels = model.fit_predict(BLOBS)
    plain = SpectralClustering(affinity="nearest_neighbors", **options)
    np.testing.assert_array_equal(labels, plain.fit_predict(BLOBS))
    assert len(set(labels)) == 3


def test_spectral_clustering_of_a_symmetric_graph():
    options = {"n_clusters": 3, "random_state": 0}
    model = make_pipeline(
        KNeighborsTransformer(n_neighbors=15, mode="connectivity", symmetric=True),
        SpectralClustering(affinity="precomputed", **options),
    )
    theirs = neighbors.kneighbors_graph(BLOBS, 15, include_self=True)
    plain = SpectralClustering(affinity="precomputed", **options)
    labels = model.fit_predict(BLOBS)
    np.testing.assert_array_equal(labels, plain.fit_predict(theirs.maximum(theirs.T)))
    by_average = SpectralClustering(affinity="nearest_neighbors", n_neighbors=15, **options)
    assert adjusted_rand_score(labels, by_average.fit_predict(BLOBS)) > 0.95


@pytest.mark.parametrize("n_neighbors", [12, 60])
def test_hdbscan(n_neighbors):
    """A graph that is connected has the tree that the rows have; as it is listed it is refused.

    Which of several edges of one length joins a row to its cluster is NumPy's sort's to say: of
    the tree the lengths are compared, of the labels nearly all.
    """
    options = {"min_cluster_size": 10, "copy": True}
    estimator = HDBSCAN(metric="precomputed", **options)
    transformer = KNeighborsTransformer(n_neighbors=n_neighbors, symmetric=True)
    model = make_pipeline(transformer, estimator)
    plain = HDBSCAN(**options).fit(BLOBS)
    same = model.fit_predict(BLOBS) == plain.labels_
    assert same.mean() > 0.99
    np.testing.assert_allclose(model[-1].probabilities_[same], plain.probabilities_[same])
    ours, theirs = (of._single_linkage_tree_["value"] for of in (model[-1], plain))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert len(set(plain.labels_)) > 2
    with pytest.raises(ValueError, match="symmetric"):
        make_pipeline(transformer.set_params(symmetric=False), estimator).fit(BLOBS)


def test_tsne():
    options = {"perplexity": 10, "init": "random", "max_iter": 250, "random_state": 0}
    model = make_pipeline(
        KNeighborsTransformer(n_neighbors=31), TSNE(metric="precomputed", **options)
    )
    model.fit(BLOBS)
    plain = TSNE(**options).fit(BLOBS)
    assert model[-1].kl_divergence_ == pytest.approx(plain.kl_divergence_, rel=1e-3)


# In a process of its own, and as it is: numba's threads beside PyTorch's have aborted one.
@pytest.mark.oracle("umap")
def test_umap():
    script = """
        import warnings
        warnings.simplefilter("ignore")
        import umap
        from sklearn.datasets import make_blobs
        from pairtile.sklearn import KNeighborsTransformer

        blobs, _ = make_blobs(200, centers=3, random_state=0)
        distances, indices = KNeighborsTransformer().fit(blobs).kneighbors(blobs, 15)
        options = {"n_neighbors": 15, "n_epochs": 1, "random_state": 0}
        model = umap.UMAP(precomputed_knn=(indices, distances), **options).fit(blobs)
        plain = umap.UMAP(**options).fit(blobs)
        print(abs(model.graph_ - plain.graph_).max())

        graph = KNeighborsTransformer(n_neighbors=15, symmetric=True).fit_transform(blobs)
        model = umap.UMAP(metric="precomputed", **options).fit(graph)
        print(abs(model.graph_ - plain.graph_).max())
    """
    differences = run_python(script, NUMBA_DISABLE_JIT="1").split()
    assert len(differences) == 2
    assert all(float(one) < 1e-4 for one in differences)


@pytest.mark.oracle("cleanlab")
@pytest.mark.filterwarnings("ignore")
def test_cleanlab():
    from cleanlab import data_valuation as valuation

    graph = KNeighborsTransformer(n_neighbors=10).fit(BLOBS).kneighbors_graph(mode="distance")
    np.testing.assert_array_equal(
        valuation.data_shapley_knn(LABELS, knn_graph=graph),
        valuation.data_shapley_knn(LABELS, features=BLOBS, metric="euclidean"),
    )


# --- tools that take ours by their own protocol: stand-ins for what they do with it -------------


class Scanpy:
    """`scanpy.pp.neighbors(transformer=)`: what it asks of a transformer, and reads off a graph."""

    def neighbors(self, adata, *, use_rep, transformer):
        n, k = len(adata.obsm[use_rep]), transformer.get_params()["n_neighbors"]
        graph = transformer.fit_transform(adata.obsm[use_rep])
        assert graph.format == "csr"
        assert set(np.diff(graph.indptr)) == {k + 1}  # else it takes a slow path
        indices, distances = (a.reshape(n, k + 1) for a in (graph.indices, graph.data))
        assert (indices[:, 0] == np.arange(n)).all()  # or it would put each row before the others
        adata.found = indices[:, :k], distances[:, :k]


class NeighborsResults:
    """scib-metrics' dataclass of this name: arrays of one shape, whose first columns it takes."""

    def __init__(self, indices, distances):
        assert indices.shape == distances.shape
        self.indices, self.distances = indices, distances

    def subset(self, k):
        return NeighborsResults(self.indices[:, :k], self.distances[:, :k])


class Benchmarker:
    def prepare(self, neighbor_computer):
        found = neighbor_computer(BLOBS, 90)
        self.found = {k: found.subset(k) for k in (15, 50, 90)}


def example_of(package):
    """The block of docs/sklearn.md that imports a package."""
    text = (Path(__file__).parents[2] / "docs" / "sklearn.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"```python\n((?:(?!```).)*import {package}.*?)```", text, re.DOTALL)
    return block


def exactly(k, rows=BLOBS):
    distances = pairwise_distances(rows)
    indices = distances.argsort(axis=1)[:, :k]
    return indices, np.take_along_axis(distances, indices, axis=1)


def test_scanpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scanpy", SimpleNamespace(pp=Scanpy()))
    adata = SimpleNamespace(obsm={"X_pca": BLOBS.astype(np.float32)})
    exec(example_of("scanpy"), {"adata": adata, "KNeighborsTransformer": KNeighborsTransformer})
    indices, distances = exactly(15, adata.obsm["X_pca"].astype(np.float64))
    np.testing.assert_array_equal(adata.found[0], indices)
    np.testing.assert_allclose(adata.found[1], distances, atol=1e-6)


def test_scib_metrics(monkeypatch):
    module = SimpleNamespace(NeighborsResults=NeighborsResults)
    monkeypatch.setitem(sys.modules, "scib_metrics", SimpleNamespace(nearest_neighbors=module))
    monkeypatch.setitem(sys.modules, "scib_metrics.nearest_neighbors", module)
    benchmarker = Benchmarker()
    exec(example_of("pairtile as pt\nfrom scib_metrics"), {"benchmarker": benchmarker})
    for k, found in benchmarker.found.items():
        indices, distances = exactly(k)
        np.testing.assert_array_equal(found.indices, indices)
        np.testing.assert_allclose(found.distances, distances, atol=1e-6)
