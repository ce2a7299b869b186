"""Pairs of rows that are near: counted by screens, then only rows that have one are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile._backends import choose
from pairtile._backends.cuda.memory import (
    device_of,
    stable_order,
    to_input_namespace,
    workspace_within,
)
from pairtile._backends.cuda.neighbors import PairOfSets, inside, knn, radius_counts_of
from pairtile._definitions.metrics import METRICS, finish

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Counts = NDArray[np.int64]
    Params = dict[str, Any] | None

# Pairs that are held at a time while the nearest ones are chosen; tests set it.
most_pairs = 1 << 25


def pairs_within(
    x: Any,
    y: Any,
    metric: str,
    limit: float,
    *,
    metric_params: Params = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> tuple[Any, Any, Any]:
    """Pairs (i, j) of a value up to the limit, in order; with y None those of i < j."""
    del workers
    room = workspace_within(memory_limit, x.shape[1], 0)
    largest_first = METRICS[metric].largest_first
    with device_of(x, y, limited=True):
        if limit < 0 and not largest_first:
            return to_input_namespace(x, *_no_pairs())
        radius = limit if largest_first else _radius(metric, limit, metric_params)
        join = PairOfSets(x, y, metric, metric_params)
        near = _Near(join, radius, largest_first, room, progress)
        i, j, values = near.pairs(0, near.rows)
        # by rows, whose own come by value; what the radius rounded in is none
        some = values <= limit
        i, j, values = i[some], j[some], values[some]
        order = cupy.argsort(i * len(x if y is None else y) + j)
        return to_input_namespace(x, i[order], j[order], values[order])


def _radius(metric: str, ordered: float, params: Params) -> float:
    """What the user sees of an ordered value."""
    return float(finish(metric, np.array([ordered]), params)[0])


def _no_pairs() -> tuple[Any, Any, Any]:
    nothing = cupy.empty(0, dtype=cupy.int64)
    return nothing, nothing.copy(), cupy.empty(0, dtype=cupy.float64)


class _Near:
    """The rows that have a pair within a radius, and their pairs."""

    def __init__(
        self,
        join: PairOfSets,
        radius: float,
        largest_first: bool,
        limit: int,
        progress: Report | None,
    ) -> None:
        n = join.q.n
        self._radius, self._negated = radius, largest_first
        radii = cupy.full(n, radius, dtype=cupy.float64)
        of_q, of_r = radius_counts_of(join, radii, largest_first, limit, progress)
        if join.itself:
            of_r = of_q
        self._own, self._others = (cupy.nonzero(counts)[0] for counts in (of_q, of_r))
        self.counts = of_q[self._own]
        self.rows = len(self._own)
        self._itself = join.itself
        # searches of the rows that are left are of two sets, a row of one being in both
        self._join = join.taken(self._own, self._others) if self.rows else None

    def pairs(self, first: int, stop: int) -> tuple[Any, Any, Any]:
        """Those of some of the rows, by row and value: i, j and ordered values."""
        if self._join is None or first == stop:
            return _no_pairs()
        some = self._join.of_rows(first, stop)
        radii = cupy.full(some.q.n, self._radius, dtype=cupy.float64)
        indptr, indices, values, _ = inside(some, radii, negated=self._negated)
        places = cupy.searchsorted(indptr[1:], cupy.arange(len(indices)), side="right")
        i, j = self._own[first:stop][places], self._others[indices]
        if self._itself:
            later = j > i
            i, j, values = i[later], j[later], values[later]
        return i, j, values


def nearest_pairs(
    x: Any,
    y: Any,
    count: int,
    metric: str,
    *,
    metric_params: Params = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> tuple[Any, Any, Any]:
    """The first pairs by (value, i, j), in order; with y None of those of i < j.

    Some neighbours of each row bound the value of the last pair; what is within it is sorted.
    """
    n, m = len(x), len(x if y is None else y)
    # each pair of one set is among the neighbours of two rows at most
    k = min(-(-count * (2 if y is None else 1) // n), m - (y is None))
    room = workspace_within(memory_limit, x.shape[1], k)
    largest_first = METRICS[metric].largest_first
    distances, _ = knn(
        x, y, k, metric, dtype="float64", precision="default", metric_params=metric_params,
        workers=workers, memory_limit=memory_limit, progress=progress,
    )  # fmt: skip
    with device_of(x, y, limited=True):
        found = cupy.asarray(distances).ravel()
        found = cupy.sort(-found if largest_first else found)
        # neighbours of one set show a pair twice at most
        last = min(len(found), count * (2 if y is None else 1)) - 1
        radius = float(found[last])
        near = _Near(PairOfSets(x, y, metric, metric_params), radius, largest_first, room, None)
        best = _no_pairs()
        for first, stop in _together(near.counts.get(), max(most_pairs, 2 * count)):
            some = near.pairs(first, stop)
            i, j, values = (
                cupy.concatenate([one, more]) for one, more in zip(best, some, strict=True)
            )
            # sorts keep the order of what is equal; rows come in order
            order = cupy.argsort(i * m + j)
            i, j, values = i[order], j[order], values[order]
            order = stable_order(values)[:count]
            best = i[order], j[order], values[order]
        return to_input_namespace(x, *best)


def _together(counts: Counts, most: int) -> list[tuple[int, int]]:
    """Rows in ranges that have at most so many pairs, or are one row."""
    ranges, first, total = [], 0, 0
    for row, pairs in enumerate(counts.tolist()):
        if total and total + pairs > most:
            ranges.append((first, row))
            first, total = row, 0
        total += pairs
    if total:
        ranges.append((first, len(counts)))
    return ranges


def keep_first(rows: int, i: Counts, j: Counts) -> NDArray[np.bool_]:
    """The rows that no kept one before them is paired with; pairs are on the host."""
    kept: NDArray[np.bool_] = choose.host_module().keep_first(rows, i, j)
    return kept


def connected_rows(rows: int, i: Counts, j: Counts) -> Counts:
    """The smallest row that pairs lead to from each row; pairs are on the host."""
    smallest: Counts = choose.host_module().connected_rows(rows, i, j)
    return smallest


def group_medoids(
    x: Any,
    metric: str,
    indptr: Counts,
    members: Counts,
    *,
    metric_params: Params = None,
    workers: int,
    progress: Report | None = None,
) -> Counts:
    """The member of each group with the least sum of distances to the others, on the host.

    Groups are small, and their rows are all that is fetched.
    """
    rows = x[members] if isinstance(x, np.ndarray) else x[cupy.asarray(members)].get()
    found = choose.host_module().group_medoids(
        np.ascontiguousarray(rows), metric, indptr, np.arange(len(members)),
        metric_params=metric_params, workers=workers, progress=progress,
    )  # fmt: skip
    medoids: Counts = members[found]
    return medoids
