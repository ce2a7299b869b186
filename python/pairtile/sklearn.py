"""Neighbour graphs as scikit-learn transformers, for every estimator that takes a precomputed one.

`KNeighborsTransformer` and `RadiusNeighborsTransformer` mean what the classes of these names in
`sklearn.neighbors` mean: they stand in a pipeline before an estimator with
``metric="precomputed"``. scikit-learn checks what comes in, `knn` and `radius_neighbors` search,
and what goes out is a sparse CSR matrix whose rows are sorted by (distance, index). No other
module imports scikit-learn (extra ``sklearn``).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pairtile._front import scalars
from pairtile._front.extras import MissingExtraError
from pairtile._front.metrics import check_distance
from pairtile.neighbors.radius import RadiusNeighbors, radius_neighbors
from pairtile.neighbors.search import knn

try:
    from joblib import effective_n_jobs
    from scipy.sparse import csr_array, csr_matrix
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.validation import check_is_fitted, validate_data

    from sklearn import get_config
except ImportError as error:
    raise MissingExtraError(
        'pairtile.sklearn needs scikit-learn 1.6 or later: pip install "pairtile[sklearn]"'
    ) from error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["KNeighborsTransformer", "RadiusNeighborsTransformer"]

_MODES = ("distance", "connectivity")
_SYNONYMS = {"cityblock": "manhattan", "l1": "manhattan", "l2": "euclidean"}


class _NeighborsTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What both have in common: the rows searched, and a graph made of what was found."""

    mode: str
    metric: str
    metric_params: Mapping[str, Any] | None
    n_jobs: int | None

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Keep the rows among which neighbours are looked for.

        Parameters
        ----------
        X : array_like of shape (m, d)
            Finite real numbers.
        y : ignored
            There because scikit-learn passes it.

        Returns
        -------
        self
            This object.

        Raises
        ------
        TypeError, ValueError
            If a parameter is out of range or X is not a finite matrix, sparse ones included.
        """
        self._check_extent()
        scalars.choice("mode", self.mode, _MODES)
        metric = _SYNONYMS.get(self.metric, self.metric)
        check_distance(metric, self.metric_params)
        self._fit_X = validate_data(self, X)
        self.effective_metric_ = metric
        self.n_samples_fit_ = self._n_features_out = len(self._fit_X)
        return self

    @abstractmethod
    def _check_extent(self) -> None:
        """Raise unless `n_neighbors` or `radius` is in its range."""

    def _point_sets(self, X: ArrayLike | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Queries and references; for None the rows of `fit` among themselves."""
        check_is_fitted(self)
        if X is None:
            return self._fit_X, None
        return validate_data(self, X, reset=False), self._fit_X

    def _options(self) -> dict[str, Any]:
        return {
            "metric": self.effective_metric_,
            "metric_params": self.metric_params,
            # As scikit-learn has it. Some estimators convert a graph of float32, and SciPy then
            # sorts its rows by index.
            "distance_dtype": "float64",
            "workers": None if self.n_jobs is None else effective_n_jobs(self.n_jobs),
        }

    def _graph(
        self,
        mode: str,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int64],
        distances: NDArray[np.floating[Any]],
    ) -> csr_matrix | csr_array:
        data = distances if mode == "distance" else np.ones(len(indices))
        # From 1.9 on scikit-learn lets its user choose; before, there were only matrices.
        csr = csr_array if get_config().get("sparse_interface") == "sparray" else csr_matrix
        return csr((data, indices, indptr), shape=(len(indptr) - 1, self.n_samples_fit_))


class KNeighborsTransformer(_NeighborsTransformer):
    """Transform rows into the sparse graph of their k nearest neighbours, exactly.

    Stands wherever `sklearn.neighbors.KNeighborsTransformer` does and returns the same graph,
    except that equal distances are ordered by index.

    Parameters
    ----------
    mode : {"distance", "connectivity"}, default "distance"
        What the entries of the graph are: distances, or ones.
    n_neighbors : int, default 5
        Neighbours of each row. `transform` returns one more when `mode` is "distance": for the
        rows of `fit` that is the row itself, which estimators expect there and leave out again.
    metric : str, default "euclidean"
        A metric of `knn` that is a distance; "l2" is euclidean, "l1" and "cityblock" are
        manhattan.
    metric_params : mapping, optional
        As in `knn`.
    n_jobs : int, optional
        Threads, as scikit-learn counts them: -1 all allowed cores, -2 all but one. None is the
        setting of `set_num_threads`.

    Attributes
    ----------
    effective_metric_ : str
        The name that `knn` has for the metric.
    n_features_in_ : int
        Columns seen by `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, when all are strings.
    n_samples_fit_ : int
        Rows seen by `fit`.

    Notes
    -----
    `fit` keeps a reference to the rows and computes nothing. Every search costs O(n m d)
    operations and O(n k) memory for the graph, never n x m. Distances are float64 for inputs of
    every dtype.

    Examples
    --------
    >>> from pairtile.sklearn import KNeighborsTransformer
    >>> graph = KNeighborsTransformer(n_neighbors=1).fit_transform([[0.0], [3.0], [1.0]])
    >>> graph.toarray()
    array([[0., 0., 1.],
           [0., 0., 2.],
           [1., 0., 0.]])
    >>> graph.indices.tolist()
    [0, 2, 1, 2, 2, 0]
    """

    def __init__(
        self,
        *,
        mode: str = "distance",
        n_neighbors: int = 5,
        metric: str = "euclidean",
        metric_params: Mapping[str, Any] | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.mode = mode
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.metric_params = metric_params
        self.n_jobs = n_jobs

    def _check_extent(self) -> None:
        scalars.count("n_neighbors", self.n_neighbors)

    def transform(self, X: ArrayLike | None) -> csr_matrix | csr_array:
        """Graph from the rows of X to their neighbours among the rows of `fit`.

        Parameters
        ----------
        X : array_like of shape (n, d)
            The queries.

        Returns
        -------
        CSR matrix of shape (n, m)
            ``n_neighbors + 1`` entries per row when `mode` is "distance", ``n_neighbors`` when it
            is "connectivity", nearest first; zero distances are stored.

        Raises
        ------
        ValueError
            As in `kneighbors`.
        """
        return self.kneighbors_graph(X, self.n_neighbors + (self.mode == "distance"), self.mode)

    def kneighbors(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> NDArray[np.int64] | tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
        """Nearest neighbours of each row of X among the rows of `fit`.

        Parameters
        ----------
        X : array_like of shape (n, d), optional
            The queries. None: the rows of `fit`, each row's own index excluded.
        n_neighbors : int, optional
            Neighbours per row; by default those of the constructor.
        return_distance : bool, default True
            Whether distances are returned too.

        Returns
        -------
        distances : ndarray of shape (n, n_neighbors), float64
            Nearest first; absent when `return_distance` is false.
        indices : ndarray of shape (n, n_neighbors), int64
            Rows of `fit`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If there are fewer rows than `n_neighbors`, or X does not fit the rows of `fit`.
        """
        queries, reference = self._point_sets(X)
        k = scalars.count("n_neighbors", self.n_neighbors if n_neighbors is None else n_neighbors)
        if k > self.n_samples_fit_ - (reference is None):
            raise ValueError(
                f"Expected n_neighbors {'<' if reference is None else '<='} n_samples_fit, but "
                f"n_neighbors = {k}, n_samples_fit = {self.n_samples_fit_}, "
                f"n_samples = {len(queries)}"
            )
        found = knn(queries, reference, k, **self._options())
        return (found.distances, found.indices) if return_distance else found.indices

    def kneighbors_graph(
        self, X: ArrayLike | None = None, n_neighbors: int | None = None, mode: str = "connectivity"
    ) -> csr_matrix | csr_array:
        """What `kneighbors` finds, as a sparse graph.

        Parameters
        ----------
        X, n_neighbors
            As in `kneighbors`.
        mode : {"connectivity", "distance"}, default "connectivity"
            What the entries of the graph are: ones, or distances.

        Returns
        -------
        CSR matrix of shape (n, m)
            ``n_neighbors`` entries per row, nearest first; zero distances are stored.

        Raises
        ------
        NotFittedError, ValueError
            As in `kneighbors`, and if `mode` is unknown.
        """
        scalars.choice("mode", mode, _MODES)
        distances, indices = self.kneighbors(X, n_neighbors)
        n, k = indices.shape
        indptr = np.arange(0, n * k + 1, k)
        return self._graph(mode, indptr, indices.ravel(), distances.ravel())


class RadiusNeighborsTransformer(_NeighborsTransformer):
    """Transform rows into the sparse graph of all neighbours within a radius, exactly.

    Stands wherever `sklearn.neighbors.RadiusNeighborsTransformer` does and returns the same
    graph; a neighbour exactly at the radius is in it.

    Parameters
    ----------
    mode : {"distance", "connectivity"}, default "distance"
        What the entries of the graph are: distances, or ones.
    radius : float, default 1.0
        How far a neighbour may be; 0 or more.
    metric, metric_params, n_jobs
        As in `KNeighborsTransformer`.

    Attributes
    ----------
    effective_metric_, n_features_in_, feature_names_in_, n_samples_fit_
        As in `KNeighborsTransformer`.

    Notes
    -----
    As in `KNeighborsTransformer`, with 8 bytes of memory for each neighbour found beside the graph.

    Examples
    --------
    >>> from pairtile.sklearn import RadiusNeighborsTransformer
    >>> graph = RadiusNeighborsTransformer(radius=1.0).fit_transform([[0.0], [3.0], [1.0]])
    >>> graph.toarray()
    array([[0., 0., 1.],
           [0., 0., 0.],
           [1., 0., 0.]])
    >>> graph.indices.tolist()
    [0, 2, 1, 2, 0]
    """

    def __init__(
        self,
        *,
        mode: str = "distance",
        radius: float = 1.0,
        metric: str = "euclidean",
        metric_params: Mapping[str, Any] | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.mode = mode
        self.radius = radius
        self.metric = metric
        self.metric_params = metric_params
        self.n_jobs = n_jobs

    def _check_extent(self) -> None:
        scalars.real("radius", self.radius, least=0)

    def transform(self, X: ArrayLike | None) -> csr_matrix | csr_array:
        """Graph from the rows of X to their neighbours among the rows of `fit`.

        Parameters
        ----------
        X : array_like of shape (n, d)
            The queries.

        Returns
        -------
        CSR matrix of shape (n, m)
            Nearest first in each row; zero distances are stored, for the rows of `fit` that of
            each row to itself.

        Raises
        ------
        ValueError
            As in `radius_neighbors`.
        """
        return self.radius_neighbors_graph(X, mode=self.mode)

    def radius_neighbors(
        self, X: ArrayLike | None = None, radius: float | None = None, return_distance: bool = True
    ) -> NDArray[np.object_] | tuple[NDArray[np.object_], NDArray[np.object_]]:
        """Neighbours within a radius of each row of X among the rows of `fit`.

        Parameters
        ----------
        X : array_like of shape (n, d), optional
            The queries. None: the rows of `fit`, each row's own index excluded.
        radius : float, optional
            By default that of the constructor.
        return_distance : bool, default True
            Whether distances are returned too.

        Returns
        -------
        distances : ndarray of shape (n,), object
            An array of float64 per row, nearest first; absent when `return_distance` is false.
        indices : ndarray of shape (n,), object
            An array of int64 per row: rows of `fit`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `radius` is negative or X does not fit the rows of `fit`.
        """
        indptr, indices, distances = self._search(X, radius)
        if return_distance:
            return _rows(distances, indptr), _rows(indices, indptr)
        return _rows(indices, indptr)

    def radius_neighbors_graph(
        self, X: ArrayLike | None = None, radius: float | None = None, mode: str = "connectivity"
    ) -> csr_matrix | csr_array:
        """What `radius_neighbors` finds, as a sparse graph.

        Parameters
        ----------
        X, radius
            As in `radius_neighbors`.
        mode : {"connectivity", "distance"}, default "connectivity"
            What the entries of the graph are: ones, or distances.

        Returns
        -------
        CSR matrix of shape (n, m)
            Nearest first in each row; zero distances are stored.

        Raises
        ------
        NotFittedError, ValueError
            As in `radius_neighbors`, and if `mode` is unknown.
        """
        scalars.choice("mode", mode, _MODES)
        return self._graph(mode, *self._search(X, radius))

    def _search(self, X: ArrayLike | None, radius: float | None) -> RadiusNeighbors:
        queries, reference = self._point_sets(X)
        radius = self.radius if radius is None else radius
        return radius_neighbors(queries, reference, radius, **self._options())


def _rows(values: NDArray[Any], indptr: NDArray[np.int64]) -> NDArray[np.object_]:
    """One array per row, in an array of objects even where all of them are of one length."""
    rows = np.empty(len(indptr) - 1, dtype=object)
    rows[:] = np.split(values, indptr[1:-1])
    return rows
