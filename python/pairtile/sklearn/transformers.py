"""Transformers from rows to the graph of their neighbours, for pipelines.

They stand before an estimator that takes a precomputed graph (``metric="precomputed"``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from pairtile._front import scalars
from pairtile.sklearn.base import MODES, NeighborsBase
from pairtile.sklearn.searches import KNeighborsMixin, RadiusNeighborsMixin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike
    from scipy.sparse import csr_array, csr_matrix


class _Transformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NeighborsBase):
    """What both have in common: a graph with a column for each row of `fit`."""

    mode: str

    def _check_parameters(self) -> None:
        super()._check_parameters()
        scalars.choice("mode", self.mode, MODES)

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        super().fit(X)
        self._n_features_out = self.n_samples_fit_
        return self

    fit.__doc__ = NeighborsBase.fit.__doc__


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
    ) -> None:
        self.mode = mode
        self.n_neighbors = n_neighbors
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.metric = metric
        self.p = p
        self.metric_params = metric_params
        self.n_jobs = n_jobs

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
        k = scalars.count("n_neighbors", self.n_neighbors) + (self.mode == "distance")
        return self.kneighbors_graph(X, k, self.mode)


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
    ) -> None:
        self.mode = mode
        self.radius = radius
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.metric = metric
        self.p = p
        self.metric_params = metric_params
        self.n_jobs = n_jobs

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
