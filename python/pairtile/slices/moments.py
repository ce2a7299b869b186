"""Means and variances of the columns of a sample: what control variates know beside projections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._backends.rows import Rows, spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 24  # bytes of rows read at a time


class ColumnMoments:
    """Weighted moments of the columns, ddof 0; of rows not in memory while others read them.

    Make it before such rows are projected, and ask for `value` afterwards: no pass over them is
    its own.
    """

    def __init__(self, a: Any, weights: NDArray[np.float64] | None, *, workers: int) -> None:
        self._a, self._weights, self._workers = a, weights, workers
        self._weight = 0.0
        self._mean = self._square = np.zeros(a.shape[1])
        if isinstance(a, Rows):
            a.listener, a.heard = self._add, 0

    def value(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and variances, each of shape (d,)."""
        a = self._a
        if not isinstance(a, Rows):
            mean, variance = choose.module(a).column_moments(
                a, self._weights, workers=self._workers
            )
            return mean, variance
        for span in spans(len(a), max(1, _BLOCK // a.row_bytes)):
            if span.stop > a.heard:
                a.read(span)
        a.listener = None
        return self._mean, self._square / self._weight

    def _add(self, rows: slice, block: NDArray[Any]) -> None:
        """Some more rows, by the formula for two parts of a sample (Chan, Golub and LeVeque)."""
        weights = None if self._weights is None else self._weights[rows]
        weight = float(len(block) if weights is None else weights.sum())
        if weight == 0:
            return
        mean, variance = choose.module().column_moments(block, weights, workers=self._workers)
        total = self._weight + weight
        apart = mean - self._mean
        self._mean = self._mean + apart * (weight / total)
        with np.errstate(over="ignore"):
            self._square = (
                self._square + weight * variance + apart**2 * (self._weight * (weight / total))
            )
        self._weight = total
