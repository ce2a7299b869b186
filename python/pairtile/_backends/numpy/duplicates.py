"""Pairs of rows that are near, and what follows from them, in plain NumPy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.neighbors import BLOCK, least_memory, ordered_of_finite, widen
from pairtile._backends.pairs import first_of, no_pairs, together
from pairtile._backends.refusals import require_memory
from pairtile._backends.rows import spans
from pairtile._definitions.metrics import METRICS, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pairtile._backends.pairs import Pairs

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]
    Params = dict[str, Any] | None
    Report = Callable[[int, int], object]


def _blocks_within(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    metric: str,
    metric_params: Params,
    limit: list[float],
    progress: Report | None,
) -> Iterator[Pairs]:
    """Pairs of a value up to the limit of the moment, a block at a time; with y None of i < j."""
    other = x if y is None else y
    for rows in spans(len(x)):
        a = widen(x, rows)
        for cols in spans(len(other)):
            if y is None and cols.stop <= rows.start:
                continue
            value = ordered_of_finite(metric, a, widen(other, cols), metric_params)
            i, j = np.nonzero(value <= limit[0])
            values = value[i, j]
            i, j = i + rows.start, j + cols.start
            looked_at = j > i if y is None else slice(None)
            yield i[looked_at], j[looked_at], values[looked_at]
        if progress is not None:
            progress(rows.stop, len(x))


def pairs_within(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    metric: str,
    limit: float,
    *,
    metric_params: Params = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> Pairs:
    """Pairs (i, j) of a value up to the limit, in order; with y None those of i < j."""
    del workers
    require_memory(memory_limit, least_memory(x.shape[1], 0))
    found = _blocks_within(x, y, metric, metric_params, [limit], progress)
    i, j, values = together(list(found))
    order = np.lexsort((j, i))
    return i[order], j[order], values[order]


def nearest_pairs(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    count: int,
    metric: str,
    *,
    metric_params: Params = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> Pairs:
    """The first pairs by (value, i, j), in order; with y None of those of i < j."""
    del workers
    require_memory(memory_limit, least_memory(x.shape[1], 0))
    best = no_pairs()
    limit = [math.inf]
    for some in _blocks_within(x, y, metric, metric_params, limit, progress):
        if not len(some[0]):
            continue
        best = first_of([best, some], count)
        if len(best[0]) == count:
            limit[0] = best[2][-1]
    return best


def keep_first(rows: int, i: Counts, j: Counts) -> NDArray[np.bool_]:
    """The rows that no kept one before them is paired with; pairs i < j in the order of (i, j)."""
    keep = np.ones(rows, np.bool_)
    for first, second in zip(i.tolist(), j.tolist(), strict=True):
        if keep[first]:
            keep[second] = False
    return keep


def connected_rows(rows: int, i: Counts, j: Counts) -> Counts:
    """The smallest row that pairs lead to from each row."""
    smallest = np.arange(rows)
    while True:
        a, b = smallest[i], smallest[j]
        apart = a != b
        if not apart.any():
            return smallest
        i, j = i[apart], j[apart]
        np.minimum.at(smallest, np.maximum(a, b)[apart], np.minimum(a, b)[apart])
        while (smallest[smallest] != smallest).any():
            smallest = smallest[smallest]


def group_medoids(
    x: NDArray[Any],
    metric: str,
    indptr: Counts,
    members: Counts,
    *,
    metric_params: Params = None,
    workers: int,
    progress: Report | None = None,
) -> Counts:
    """The member of each group with the least sum of distances to the others, the first of ties."""
    del workers
    medoids = np.empty(len(indptr) - 1, np.int64)
    for g in range(len(medoids)):
        group = members[indptr[g] : indptr[g + 1]]
        sums = np.concatenate(
            [_sums(x, group, some, metric, metric_params) for some in spans(len(group))]
        )
        medoids[g] = group[sums.argmin()]
        if progress is not None:
            progress(int(indptr[g + 1]), len(members))
    return medoids


def _sums(
    x: NDArray[Any], group: Counts, some: slice, metric: str, metric_params: Params
) -> Floats:
    """Compensated sums of the distances of some members to the others, in their order."""
    a = np.ascontiguousarray(x[group[some]], dtype=np.float64)
    total, lost = np.zeros(len(a)), np.zeros(len(a))
    for others in spans(len(group), BLOCK):
        b = np.ascontiguousarray(x[group[others]], dtype=np.float64)
        value = ordered_of_finite(metric, a, b, metric_params)
        if not METRICS[metric].largest_first:
            value = finish(metric, value, metric_params)
        own = np.arange(some.start, some.stop)[:, None] == np.arange(others.start, others.stop)
        for column in np.where(own, 0.0, value).T:
            after = total + column
            added = after - total
            lost += (total - (after - added)) + (column - added)
            total = after
    return total + lost
