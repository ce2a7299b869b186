"""Realism and products of distances in plain NumPy: the oracle of the two folds.

A block of pairs at a time: canonical value -> distance -> largest ratio, or products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.neighbors import ordered_of_finite, widen
from pairtile._backends.rows import spans
from pairtile._definitions.metrics import finish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pairtile._definitions.metrics import Params

    Floats = NDArray[np.float64]
    Report = Callable[[int, int], object]


def _blocks(
    queries: NDArray[Any],
    reference: NDArray[Any],
    metric: str,
    params: Params,
    progress: Report | None,
) -> Iterator[tuple[slice, slice, Floats]]:
    """Rows, columns and canonical distances of each block of pairs."""
    for rows in spans(len(queries)):
        for cols in spans(len(reference)):
            value = ordered_of_finite(metric, widen(queries, rows), widen(reference, cols), params)
            yield rows, cols, finish(metric, value, params)
        if progress is not None:
            progress(rows.stop, len(queries))


def largest_radius_ratios(
    queries: NDArray[Any],
    reference: NDArray[Any],
    metric: str,
    radii: Floats,
    *,
    metric_params: Params = None,
    workers: int,
    progress: Report | None = None,
) -> Floats:
    """For each query the largest radius / distance over the references, inf at distance 0.

    References of negative radius are left out; 0 where nothing remains.
    """
    del workers
    largest = np.zeros(len(queries))
    for rows, cols, distance in _blocks(queries, reference, metric, metric_params, progress):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = np.where(distance == 0, np.inf, radii[cols] / distance)
        ratio[:, radii[cols] < 0] = 0.0
        np.fmax(largest[rows], np.fmax.reduce(ratio, axis=1), out=largest[rows])  # ignores NaN
    return largest


def distance_products(
    queries: NDArray[Any],
    reference: NDArray[Any],
    metric: str,
    query_radius: float,
    reference_radius: float,
    *,
    metric_params: Params = None,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats]:
    """Products of min(1, distance / radius) over all pairs of a query, and of a reference."""
    del workers
    of_queries, of_references = np.ones(len(queries)), np.ones(len(reference))

    def product(distance: Floats, radius: float, axis: int) -> Floats:
        factors = np.ones_like(distance)
        np.divide(distance, radius, out=factors, where=distance < radius)
        whole: Floats = np.prod(factors, axis=axis)
        return whole

    with np.errstate(under="ignore"):
        for rows, cols, distance in _blocks(queries, reference, metric, metric_params, progress):
            of_queries[rows] *= product(distance, query_radius, 1)
            of_references[cols] *= product(distance, reference_radius, 0)
    return of_queries, of_references
