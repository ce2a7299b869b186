"""What losses and analyses of embeddings ask of neighbours, in plain NumPy.

Canonical values of all pairs, a block of rows at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.neighbors import ordered_of_finite, widen
from pairtile._backends.rows import spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]
    Report = Callable[[int, int], object]


def _blocks(
    x: NDArray[Any], y: NDArray[Any], metric: str, progress: Report | None
) -> Iterator[tuple[slice, slice, Floats]]:
    """Rows, columns and ordered values of every block of pairs."""
    for rows in spans(len(x)):
        a = widen(x, rows)
        for cols in spans(len(y)):
            yield rows, cols, ordered_of_finite(metric, a, widen(y, cols))
        if progress is not None:
            progress(rows.stop, len(x))


def farthest_of_group(
    x: NDArray[Any],
    metric: str,
    groups: Counts,
    *,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Counts]:
    """Ordered value and index of the farthest other row of the same group; NaN and -1 for none."""
    del workers
    values, indices = np.full(len(x), np.nan), np.full(len(x), -1, dtype=np.int64)
    for rows, cols, ordered in _blocks(x, x, metric, progress):
        if rows == cols:
            np.fill_diagonal(ordered, np.nan)
        ordered[groups[rows, None] != groups[None, cols]] = np.nan
        ordered[np.isnan(ordered)] = -np.inf
        best = ordered.argmax(axis=1)  # the first of equal ones
        found = ordered[np.arange(len(best)), best]
        farther = (found > -np.inf) & ~(found <= values[rows])
        values[rows] = np.where(farther, found, values[rows])
        indices[rows] = np.where(farther, cols.start + best, indices[rows])
    return values, indices


def next_beyond(
    x: NDArray[Any],
    metric: str,
    groups: Counts,
    anchors: Counts,
    indptr: Counts,
    listed: Counts,
    *,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, Counts]:
    """Of anchors and rows listed for each, the row of another group that is next farther.

    The anchor's ordered value with the listed row, with the row of another group that has the least
    value above it, or where none has, the largest, and that row; of equal values the smallest
    index. NaN and -1 where there is none.
    """
    del workers
    to_listed, to_next = np.empty(len(listed)), np.full(len(listed), np.nan)
    following = np.full(len(listed), -1, dtype=np.int64)
    for number, anchor in enumerate(anchors):
        ordered = np.concatenate(
            [
                ordered_of_finite(metric, widen(x, slice(anchor, anchor + 1)), widen(x, cols))[0]
                for cols in spans(len(x))
            ]
        )
        mine = slice(indptr[number], indptr[number + 1])
        to_listed[mine] = ordered[listed[mine]]
        others = np.flatnonzero((groups != groups[anchor]) & ~np.isnan(ordered))
        if len(others):
            others = others[np.argsort(ordered[others], kind="stable")]
            values = ordered[others]
            at = np.searchsorted(values, to_listed[mine], side="right")
            farthest = np.searchsorted(values, values[-1])  # the first of equal ones
            at = np.where(at < len(values), at, farthest)
            to_next[mine], following[mine] = values[at], others[at]
        if progress is not None:
            progress(number + 1, len(anchors))
    return to_listed, to_next, following


def distance_histogram(
    x: NDArray[Any],
    metric: str,
    groups: Counts,
    n_groups: int,
    limits: Floats,
    *,
    workers: int,
    progress: Report | None = None,
) -> tuple[Counts, Counts]:
    """Pairs i < j by ordered value, within each group and between groups.

    Bin b is limits[b - 1] < v <= limits[b], open at either end.
    """
    del workers
    bins = len(limits) + 1
    same = np.zeros((n_groups, bins), dtype=np.int64)
    different = np.zeros(bins, dtype=np.int64)
    for rows, cols, ordered in _blocks(x, x, metric, progress):
        i, j = np.nonzero(
            ~np.isnan(ordered) & (np.arange(len(x))[rows, None] < np.arange(len(x))[None, cols])
        )
        which = np.searchsorted(limits, ordered[i, j], side="left")
        group = groups[rows][i]
        alike = group == groups[cols][j]
        np.add.at(same, (group[alike], which[alike]), 1)
        different += np.bincount(which[~alike], minlength=bins)
    return same, different


def pair_ranks(
    queries: NDArray[Any],
    reference: NDArray[Any],
    metric: str,
    targets: Counts,
    *,
    workers: int,
    progress: Report | None = None,
) -> tuple[Counts, Counts]:
    """Rank of targets[i] among the references of query i, and of i among the queries of it."""
    del workers
    n = len(queries)
    own = np.empty(n)
    for i in range(n):
        one, other = (slice(at, at + 1) for at in (i, int(targets[i])))
        own[i] = ordered_of_finite(metric, widen(queries, one), widen(reference, other))[0, 0]
    by_row, by_col = np.ones((2, n), dtype=np.int64)
    everyone = np.arange(n)
    for rows, cols, ordered in _blocks(queries, reference, metric, progress):
        of_row, col = own[rows, None], np.arange(cols.start, cols.stop)
        before = ordered < of_row
        before |= (ordered == of_row) & (col < targets[rows, None])
        by_row[rows] += before.sum(axis=1)
        asking = everyone[(targets >= cols.start) & (targets < cols.stop)]
        values, of_col = ordered[:, targets[asking] - cols.start], own[asking]
        before = values < of_col
        before |= (values == of_col) & (everyone[rows, None] < asking)
        by_col[asking] += before.sum(axis=0)
    bad = np.isnan(own)
    by_row[bad], by_col[bad] = len(reference), n  # NaN comes last
    return by_row, by_col
