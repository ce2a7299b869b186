"""The searches that the classes share, and the class that is nothing but them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front import scalars
from pairtile.neighbors.radius import RadiusNeighbors, radius_neighbors
from pairtile.neighbors.search import knn
from pairtile.sklearn.base import MODES, NeighborsBase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_array, csr_matrix


class KNeighborsMixin(NeighborsBase):
    """Searches for the k nearest rows."""

    n_neighbors: int | None

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.n_neighbors is not None:
            scalars.count("n_neighbors", self.n_neighbors)

    def kneighbors(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> NDArray[np.int64] | tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
        """Nearest neighbours of each row of X among the rows of `fit`.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, d), optional
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
                f"n_samples = {queries.shape[0]}"
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
        scalars.choice("mode", mode, MODES)
        return self._graph(mode, *self._nearest(X, n_neighbors))

    def _nearest(self, X: ArrayLike | None, n_neighbors: int | None) -> RadiusNeighbors:
        """What `kneighbors` finds, in CSR form."""
        distances, indices = self.kneighbors(X, n_neighbors)
        n, k = indices.shape
        return RadiusNeighbors(np.arange(0, n * k + 1, k), indices.ravel(), distances.ravel())


class RadiusNeighborsMixin(NeighborsBase):
    """Searches for all rows within a radius."""

    radius: float | None

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.radius not in (None, np.inf):
            scalars.real("radius", self.radius, least=0)

    def radius_neighbors(
        self,
        X: ArrayLike | None = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
    ) -> NDArray[np.object_] | tuple[NDArray[np.object_], NDArray[np.object_]]:
        """Neighbours within a radius of each row of X among the rows of `fit`.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, d), optional
            The queries. None: the rows of `fit`, each row's own index excluded.
        radius : float, optional
            By default that of the constructor.
        return_distance : bool, default True
            Whether distances are returned too.
        sort_results : bool, default False
            Results are sorted either way; as in scikit-learn, True needs `return_distance`.

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
            If `radius` is negative, X does not fit the rows of `fit`, or `sort_results` is asked
            for without distances.
        """
        if sort_results and not return_distance:
            raise ValueError("return_distance must be True if sort_results is True.")
        indptr, indices, distances = self._within(X, radius)
        if return_distance:
            return _rows(distances, indptr), _rows(indices, indptr)
        return _rows(indices, indptr)

    def radius_neighbors_graph(
        self,
        X: ArrayLike | None = None,
        radius: float | None = None,
        mode: str = "connectivity",
        sort_results: bool = False,
    ) -> csr_matrix | csr_array:
        """What `radius_neighbors` finds, as a sparse graph.

        Parameters
        ----------
        X, radius
            As in `radius_neighbors`.
        mode : {"connectivity", "distance"}, default "connectivity"
            What the entries of the graph are: ones, or distances.
        sort_results : bool, default False
            Without effect: rows are sorted either way.

        Returns
        -------
        CSR matrix of shape (n, m)
            Nearest first in each row; zero distances are stored.

        Raises
        ------
        NotFittedError, ValueError
            As in `radius_neighbors`, and if `mode` is unknown.
        """
        scalars.choice("mode", mode, MODES)
        return self._graph(mode, *self._within(X, radius))

    def _within(self, X: ArrayLike | None, radius: float | None) -> RadiusNeighbors:
        queries, reference = self._point_sets(X)
        radius = self.radius if radius is None else radius
        return radius_neighbors(queries, reference, radius, **self._options())


def _rows(values: NDArray[Any], indptr: NDArray[np.int64]) -> NDArray[np.object_]:
    """One array per row, in an array of objects even where all of them are of one length."""
    rows = np.empty(len(indptr) - 1, dtype=object)
    rows[:] = np.split(values, indptr[1:-1])
    return rows


class NearestNeighbors(KNeighborsMixin, RadiusNeighborsMixin):
    """Nearest neighbours of rows, exactly, by their number or within a radius.

    Stands wherever `sklearn.neighbors.NearestNeighbors` does and returns the same lists and
    graphs, except that they are always sorted, equal distances by index.

    Parameters
    ----------
    n_neighbors : int or None, default 5
        Neighbours that `kneighbors` looks for when it is not told.
    radius : float or None, default 1.0
        Radius of `radius_neighbors` when it is not told; 0 or more.
    algorithm : {"auto", "ball_tree", "kd_tree", "brute"}, default "auto"
        Without effect: every search visits all pairs.
    leaf_size : int, default 30
        Without effect.
    metric : str, default "minkowski"
        A metric of `knn` that is a distance; "l2" is euclidean, "l1" and "cityblock" are
        manhattan, "infinity" is chebyshev.
    p : float, default 2
        Exponent of minkowski where `metric_params` has none: 1 is manhattan, 2 euclidean, infinity
        chebyshev. Other metrics do not look at it.
    metric_params : mapping, optional
        As in `knn`.
    n_jobs : int, optional
        Threads, as scikit-learn counts them: -1 all allowed cores, -2 all but one. None is the
        setting of `set_num_threads`.

    Attributes
    ----------
    effective_metric_ : str
        The name that `knn` has for the metric: euclidean, not minkowski with p = 2.
    effective_metric_params_ : dict
        Its parameters.
    n_features_in_ : int
        Columns seen by `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, when all are strings.
    n_samples_fit_ : int
        Rows seen by `fit`.

    Notes
    -----
    `fit` keeps a reference to the rows and computes nothing. Every search costs O(n m d)
    operations and the memory of its result, never n x m. Distances are float64 for inputs of
    every dtype.

    Examples
    --------
    >>> from pairtile.sklearn import NearestNeighbors
    >>> search = NearestNeighbors(n_neighbors=1).fit([[0.0], [3.0], [1.0]])
    >>> distances, indices = search.kneighbors([[2.5]])
    >>> distances, indices
    (array([[0.5]]), array([[1]]))
    >>> search.radius_neighbors([[2.0]], radius=1.0, return_distance=False)[0]
    array([1, 2])
    >>> search.kneighbors_graph().toarray()
    array([[0., 0., 1.],
           [0., 0., 1.],
           [1., 0., 0.]])
    """

    def __init__(
        self,
        *,
        n_neighbors: int | None = 5,
        radius: float | None = 1.0,
        algorithm: str = "auto",
        leaf_size: int = 30,
        metric: str = "minkowski",
        p: float | None = 2,
        metric_params: Mapping[str, Any] | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.radius = radius
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.metric = metric
        self.p = p
        self.metric_params = metric_params
        self.n_jobs = n_jobs
