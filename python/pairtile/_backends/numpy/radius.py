"""Counts and neighbours within a radius in plain NumPy: the oracle of the counting fold.

A block of pairs at a time: canonical value -> distance as returned -> inside or not -> counts, or
the pairs themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.neighbors import least_memory, ordered_of_finite, widen
from pairtile._backends.refusals import require_memory
from pairtile._backends.rows import spans
from pairtile._definitions.metrics import finish

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pairtile._backends.numpy.neighbors import Index

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]
    Params = dict[str, Any] | None
    Report = Callable[[int, int], object]


def _block(
    queries: NDArray[Any],
    reference: NDArray[Any] | None,
    rows: slice,
    cols: slice,
    metric: str,
    metric_params: Params,
    dtype: str,
) -> tuple[Floats, NDArray[Any]]:
    """Values that order a block of pairs, and their distances as returned; NaN for i == j."""
    other = queries if reference is None else reference
    value = ordered_of_finite(metric, widen(queries, rows), widen(other, cols), metric_params)
    if reference is None:
        i, j = np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop)
        value[i[:, None] == j] = np.nan
    with np.errstate(over="ignore", under="ignore"):
        return value, finish(metric, value, metric_params).astype(dtype)


def radius_counts(
    queries: NDArray[Any],
    reference: NDArray[Any] | None,
    metric: str,
    query_radii: NDArray[Any] | None,
    reference_radii: NDArray[Any] | None,
    *,
    closed: bool,
    dtype: str,
    per_reference: bool = True,
    metric_params: Params = None,
    index: Index | None = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> tuple[Counts | None, Counts | None, Counts | None, Counts | None]:
    """Pairs inside by the radii of queries, then of references; each per query and per reference.

    None where those radii were not given, and in place of counts per reference unless asked for.
    """
    del index, workers
    require_memory(memory_limit, least_memory(queries.shape[1], 0))
    n, m = len(queries), len(queries if reference is None else reference)
    inside = np.less_equal if closed else np.less  # both false for NaN
    by_query = np.zeros(n, np.int64), np.zeros(m, np.int64)
    by_reference = np.zeros(n, np.int64), np.zeros(m, np.int64)
    for rows in spans(n):
        for cols in spans(m):
            _, distance = _block(queries, reference, rows, cols, metric, metric_params, dtype)
            if query_radii is not None:
                within = inside(distance, query_radii[rows, None])
                by_query[0][rows] += within.sum(axis=1)
                by_query[1][cols] += within.sum(axis=0)
            if reference_radii is not None:
                within = inside(distance, reference_radii[None, cols])
                by_reference[0][rows] += within.sum(axis=1)
                by_reference[1][cols] += within.sum(axis=0)
        if progress is not None:
            progress(rows.stop, n)
    return (
        None if query_radii is None else by_query[0],
        None if query_radii is None or not per_reference else by_query[1],
        None if reference_radii is None else by_reference[0],
        None if reference_radii is None or not per_reference else by_reference[1],
    )


def radius_neighbors(
    queries: NDArray[Any],
    reference: NDArray[Any] | None,
    metric: str,
    radii: NDArray[Any],
    *,
    closed: bool,
    dtype: str,
    ordered: bool = False,
    metric_params: Params = None,
    index: Index | None = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> tuple[Counts, Counts, NDArray[Any]]:
    """CSR of the references inside each query's radius, in order of (value, index).

    With `ordered`, the values in place of the distances.
    """
    del index, workers
    require_memory(memory_limit, least_memory(queries.shape[1], 0))
    n, m = len(queries), len(queries if reference is None else reference)
    inside = np.less_equal if closed else np.less
    indptr = np.zeros(n + 1, np.int64)
    indices, distances = [], []
    for rows in spans(n):
        found = []
        for cols in spans(m):
            value, distance = _block(queries, reference, rows, cols, metric, metric_params, dtype)
            i, j = np.nonzero(inside(distance, radii[rows, None]))
            found.append((i, j + cols.start, value[i, j], distance[i, j]))
        i, j, values, near = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((j, values, i))
        indptr[rows.start + 1 : rows.stop + 1] = np.bincount(i, minlength=rows.stop - rows.start)
        indices.append(j[order])
        distances.append(values[order] if ordered else near[order])
        if progress is not None:
            progress(rows.stop, n)
    return np.cumsum(indptr), np.concatenate(indices), np.concatenate(distances)
