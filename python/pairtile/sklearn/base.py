"""What the classes have in common: parameters, the rows that come in, the graphs that go out."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from joblib import effective_n_jobs
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from pairtile._definitions.metrics import METRICS
from pairtile._front import metrics, scalars, words
from sklearn import get_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

MODES = ("distance", "connectivity")
_ALGORITHMS = ("auto", "ball_tree", "kd_tree", "brute")
_SYNONYMS = {"infinity": "chebyshev", "p": "minkowski"}  # beside those that `knn` takes


class NeighborsBase(BaseEstimator):
    """The rows among which neighbours are looked for, and how they are measured."""

    algorithm: str
    leaf_size: int
    metric: str
    p: float | None
    metric_params: Mapping[str, Any] | None
    n_jobs: int | None

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Keep the rows among which neighbours are looked for.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (m, d)
            Finite real numbers; for nan_euclidean NaN is a feature that is missing. hamming and
            jaccard take bool, which is packed inside, or packed bits (uint8). Sparse rows, which
            cosine takes, become CSR, and dense some at a time.
        y : ignored
            There because scikit-learn passes it.

        Returns
        -------
        self
            This object.

        Raises
        ------
        TypeError, ValueError
            If a parameter is out of range or X is not such a matrix.
        """
        self._check_parameters()
        metric, params = self._measure()
        rows = self._validated(X, metric, reset=True)
        self._of_bool = rows.dtype == bool and METRICS[metric].on_bits
        if self._of_bool:
            params["n_bits"] = _n_bits(params.get("n_bits"), rows.shape[1])
        self._fit_X = self._packed(rows, metric)
        self.effective_metric_, self.effective_metric_params_ = metric, params
        self.n_samples_fit_ = self._fit_X.shape[0]
        return self

    def _check_parameters(self) -> None:
        """Raise unless each parameter but those of the metric is in its range."""
        scalars.choice("algorithm", self.algorithm, _ALGORITHMS)
        scalars.count("leaf_size", self.leaf_size)
        if self.p is not None and self.p != math.inf:
            scalars.real("p", self.p, above=0)

    def _measure(self) -> tuple[str, dict[str, Any]]:
        """The metric and its parameters as `knn` takes them."""
        metric = self.metric
        if isinstance(metric, str):
            metric = _SYNONYMS.get(metric, metric)
        params = dict(self.metric_params or {})
        if metric == "minkowski":
            if "p" not in params:
                params["p"] = self.p
            elif self.p not in (None, params["p"]):
                warnings.warn(
                    f"metric_params has p={params['p']}; the parameter p={self.p} is ignored",
                    SyntaxWarning,
                    stacklevel=3,
                )
        metric = metrics.check_distance(metric, params)
        if metric == "minkowski":
            measure = metrics.minkowski(params["p"])
            return measure.name, dict(measure.params or {})
        return metric, params

    def _validated(self, X: ArrayLike, metric: str, *, reset: bool) -> Any:
        """Rows as scikit-learn checks them: an array, or a CSR matrix."""
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr" if METRICS[metric].takes_sparse else False,
            ensure_all_finite="allow-nan" if METRICS[metric].takes_nan else True,
        )

    def _packed(self, rows: Any, metric: str) -> Any:
        """Rows of bool as packed bits; those of metrics of numbers as they are."""
        if not METRICS[metric].on_bits:
            return rows
        if rows.dtype != (np.bool_ if self._of_bool else np.uint8):
            expected = "bool, as in fit" if self._of_bool else "bool, or uint8 for packed bits"
            raise TypeError(f"metric {metric!r}: X must be of dtype {expected}; got {rows.dtype}")
        return np.packbits(rows, axis=1) if self._of_bool else rows

    def _point_sets(self, X: ArrayLike | None) -> tuple[Any, Any]:
        """Queries and references; for None the rows of `fit` among themselves."""
        check_is_fitted(self)
        if X is None:
            return self._fit_X, None
        metric = self.effective_metric_
        return self._packed(self._validated(X, metric, reset=False), metric), self._fit_X

    def _options(self) -> dict[str, Any]:
        return {
            "metric": self.effective_metric_,
            "metric_params": self.effective_metric_params_,
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        known = METRICS.get(words.METRICS.get(self.metric, self.metric))
        tags.input_tags.allow_nan = known is not None and known.takes_nan
        tags.input_tags.sparse = known is not None and known.takes_sparse
        return tags


def _n_bits(given: int | None, columns: int) -> int:
    if given not in (None, columns):
        raise ValueError(
            f"metric_params['n_bits'] must be {columns}, the columns of rows of bool, or be left "
            f"out; got {given}"
        )
    return columns
