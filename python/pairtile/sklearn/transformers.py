"""Transformers from rows to the graph of their neighbours, for pipelines.

They stand before an estimator that takes a precomputed graph (``metric="precomputed"``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from pairtile._front import scalars
from pairtile.neighbors.radius import RadiusNeighbors
from pairtile.sklearn.base import MODES, NeighborsBase
from pairtile.sklearn.searches import KNeighborsMixin, RadiusNeighborsMixin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike
    from scipy.sparse import csr_array, csr_matrix


class _Transformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NeighborsBase):
    """What both have in common: a graph with a column for each row of `fit`."""

    mode: str
    symmetric: bool

    def _check_parameters(self) -> None:
        super()._check_parameters()
        scalars.choice("mode", self.mode, MODES)
        if not isinstance(self.symmetric, (bool, np.bool_)):
            raise TypeError(f"symmetric must be True or False, got {self.symmetric!r}")

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        super().fit(X)
        self._n_features_out = self.n_samples_fit_
        return self

    fit.__doc__ = NeighborsBase.fit.__doc__

    def _check_queries(self, X: ArrayLike | None) -> None:
        """ValueError where the graph is to be symmetric, and X are not the rows of `fit`."""
        if self.symmetric and X is not None and not _equal(*self._point_sets(X)):
            raise ValueError(
                "symmetric=True is for the graph of the rows of fit among themselves, but X holds "
                "other rows; use symmetric=False for them"
            )


def _equal(a: Any, b: Any) -> bool:
    """Whether two sets, each an array or a CSR matrix, have the same rows, NaN being equal."""
    if a.shape != b.shape or issparse(a) != issparse(b):
        return False
    if issparse(a):
        return bool((a != b).nnz == 0)
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f"))


def _either(lists: RadiusNeighbors) -> RadiusNeighbors:
    """Neighbours of n rows among themselves, and for each also the rows that it is one of."""
    n = len(lists.indptr) - 1
    row = np.repeat(np.arange(n), np.diff(lists.indptr))
    row, other = np.concatenate([row, lists.indices]), np.concatenate([lists.indices, row])
    distances = np.concatenate([lists.distances, lists.distances])
    # Those of a pair that lists each other are equal in all three, so they come to lie together.
    order = np.lexsort((other, distances, row))
    row, other = row[order], other[order]
    once = np.ones(len(row), dtype=bool)
    once[1:] = (row[1:] != row[:-1]) | (other[1:] != other[:-1])
    counts = np.bincount(row[once], minlength=n)
    return RadiusNeighbors(
        np.concatenate([[0], np.cumsum(counts)]), other[once], distances[order][once]
    )


class KNeighborsTransformer(_Transformer, KNeighborsMixin):
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
    algorithm, leaf_size, metric, p, metric_params, n_jobs
        As in `NearestNeighbors`.
    symmetric : bool, default False
        Whether rows are neighbours as soon as either has the other among its nearest, which some
        estimators want of distances. Such a graph is of the rows of `fit` among themselves.

    Attributes
    ----------
    effective_metric_, effective_metric_params_, n_features_in_, feature_names_in_, n_samples_fit_
        As in `NearestNeighbors`.

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
        algorithm: str = "auto",
        leaf_size: int = 30,
        metric: str = "minkowski",
        p: float | None = 2,
        metric_params: Mapping[str, Any] | None = None,
        n_jobs: int | None = None,
        symmetric: bool = False,
    ) -> None:
        self.mode = mode
        self.n_neighbors = n_neighbors
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.metric = metric
        self.p = p
        self.metric_params = metric_params
        self.n_jobs = n_jobs
        self.symmetric = symmetric

    def transform(self, X: ArrayLike | None) -> csr_matrix | csr_array:
        """Graph from the rows of X to their neighbours among the rows of `fit`.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, d)
            The queries.

        Returns
        -------
        CSR matrix of shape (n, m)
            ``n_neighbors + 1`` entries per row when `mode` is "distance", ``n_neighbors`` when it
            is "connectivity", or more where `symmetric` adds some; nearest first. Zero distances
            are stored.

        Raises
        ------
        ValueError
            As in `kneighbors`; if `symmetric` is true and X are not the rows of `fit`.
        """
        k = scalars.count("n_neighbors", self.n_neighbors) + (self.mode == "distance")
        self._check_queries(X)
        lists = self._nearest(X, k)
        return self._graph(self.mode, *(_either(lists) if self.symmetric else lists))


class RadiusNeighborsTransformer(_Transformer, RadiusNeighborsMixin):
    """Transform rows into the sparse graph of all neighbours within a radius, exactly.

    Stands wherever `sklearn.neighbors.RadiusNeighborsTransformer` does and returns the same
    graph; a neighbour exactly at the radius is in it.

    Parameters
    ----------
    mode : {"distance", "connectivity"}, default "distance"
        What the entries of the graph are: distances, or ones.
    radius : float, default 1.0
        How far a neighbour may be; 0 or more.
    algorithm, leaf_size, metric, p, metric_params, n_jobs
        As in `NearestNeighbors`.
    symmetric : bool, default False
        The graph of the rows of `fit` among themselves is symmetric either way; True refuses
        other rows.

    Attributes
    ----------
    effective_metric_, effective_metric_params_, n_features_in_, feature_names_in_, n_samples_fit_
        As in `NearestNeighbors`.

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
        algorithm: str = "auto",
        leaf_size: int = 30,
        metric: str = "minkowski",
        p: float | None = 2,
        metric_params: Mapping[str, Any] | None = None,
        n_jobs: int | None = None,
        symmetric: bool = False,
    ) -> None:
        self.mode = mode
        self.radius = radius
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.metric = metric
        self.p = p
        self.metric_params = metric_params
        self.n_jobs = n_jobs
        self.symmetric = symmetric

    def transform(self, X: ArrayLike | None) -> csr_matrix | csr_array:
        """Graph from the rows of X to their neighbours among the rows of `fit`.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, d)
            The queries.

        Returns
        -------
        CSR matrix of shape (n, m)
            Nearest first in each row; zero distances are stored, for the rows of `fit` that of
            each row to itself.

        Raises
        ------
        ValueError
            As in `radius_neighbors`; if `symmetric` is true and X are not the rows of `fit`.
        """
        self._check_queries(X)
        return self.radius_neighbors_graph(X, mode=self.mode)
