"""Distances in plain NumPy: nearest neighbours, matrices, quantiles of all pairs.

The oracle of the compiled engine: the canonical values of `_definitions.metrics`. Blocks of rows
keep temporaries at a few MB.

    rows(x) -> widen to float64 -> `ordered` values of a block of pairs -> statistic -> `finish`

Packed bits go the same way: a byte is a whole number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.refusals import require_finite, require_memory
from pairtile._backends.rows import spans
from pairtile._definitions.metrics import METRICS, finish, ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pairtile._definitions.metrics import Params

    Floats = NDArray[np.float64]
    Report = Callable[[int, int], object]

BLOCK = 256  # rows on either side of a block of pairs
GATHER = 1 << 22  # distances a quantile may hold at once


def widen(x: NDArray[Any], rows: slice) -> Floats:
    """A block of rows in native float64."""
    return np.ascontiguousarray(x[rows], dtype=np.float64)


def ordered_of_finite(metric: str, a: Floats, b: Floats, params: Params = None) -> Floats:
    """`ordered` for searches: NaN where a row holds what the metric does not take."""
    value = ordered(metric, a, b, params)
    for side, rows in ((value, a), (value.T, b)):
        bad = np.isinf(rows) if METRICS[metric].takes_nan else ~np.isfinite(rows)
        side[bad.any(axis=1)] = np.nan
    return value


def first_nonfinite(x: NDArray[Any], *, workers: int) -> int:
    """First row holding NaN or Inf, -1 if there is none."""
    del workers
    for rows in spans(len(x)):
        bad = ~np.isfinite(widen(x, rows)).all(axis=1)
        if bad.any():
            return int(rows.start + np.argmax(bad))
    return -1


def least_memory(d: int, k: int) -> int:
    """What a block of pairs takes at most: workspace does not grow beyond it."""
    return 8 * (3 * BLOCK * d + 16 * BLOCK * BLOCK + 16 * max(k, 1 << 18))


class Index:
    """A packed reference set of the compiled engine; here rows are read as they are."""

    pack = None

    def __init__(
        self,
        reference: NDArray[Any],
        metric: str,
        *,
        precision: str,
        pack: dict[str, Any] | None = None,
        verify: bool = True,
        workers: int,
    ) -> None:
        pass


def knn_plan(
    queries: NDArray[Any],
    reference: NDArray[Any] | None,
    k: int,
    metric: str,
    *,
    precision: str,
    metric_params: Params = None,
    index: Index | None = None,
    workers: int,
    memory_limit: int = 0,
) -> tuple[str, int, list[str]]:
    """What `knn` does: all distances, in float64."""
    del k, metric, precision, metric_params, index, workers, memory_limit
    pairs = len(queries) * len(queries if reference is None else reference)
    return "all pairs", pairs, ["NumPy computes every distance in float64"]


def knn(
    queries: NDArray[Any],
    reference: NDArray[Any] | None,
    k: int,
    metric: str,
    *,
    dtype: str,
    precision: str,
    query_groups: NDArray[np.int64] | None = None,
    reference_groups: NDArray[np.int64] | None = None,
    group_rule: str = "",
    query_times: NDArray[Any] | None = None,
    reference_times: NDArray[Any] | None = None,
    reference_mask: NDArray[np.bool_] | None = None,
    earlier: bool = False,
    metric_params: Params = None,
    index: Index | None = None,
    check_finite: bool = False,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The k nearest admissible references of each query, in order of (value, index).

    With `earlier` only references before it. dtype "ordered" gives the values in place of the
    distances, NaN where there is no neighbour.
    """
    del precision, index
    require_memory(memory_limit, least_memory(queries.shape[1], k))
    if check_finite and reference is not None:
        require_finite("reference", first_nonfinite(reference, workers=workers))
    itself = reference is None
    if reference is None:
        reference, reference_groups, reference_times = (
            queries,
            query_groups if reference_groups is None else reference_groups,
            query_times if reference_times is None else reference_times,
        )
    n, m = len(queries), len(reference)
    distances = np.empty((n, k), dtype="float64" if dtype == "ordered" else dtype)
    indices = np.empty((n, k), dtype=np.int64)
    height = max(1, min(BLOCK, (1 << 18) // k))  # the lists of k stay small too
    for rows in spans(n, height):
        a = widen(queries, rows)
        # NaN marks what may not be a neighbour: it sorts behind everything, infinity included.
        best = np.full((len(a), k), np.nan)
        neighbor = np.full((len(a), k), -1, dtype=np.int64)
        for cols in spans(m, BLOCK * BLOCK // height):
            number = np.arange(cols.start, cols.stop)[None, :]
            value = ordered_of_finite(metric, a, widen(reference, cols), metric_params)
            if itself:
                value[number == np.arange(rows.start, rows.stop)[:, None]] = np.nan
            if earlier:
                value[number >= np.arange(rows.start, rows.stop)[:, None]] = np.nan
            if query_groups is not None and reference_groups is not None:
                same = query_groups[rows, None] == reference_groups[None, cols]
                value[~same if group_rule == "same" else same] = np.nan
            if query_times is not None and reference_times is not None:
                value[reference_times[None, cols] > query_times[rows, None]] = np.nan
            if reference_mask is not None:
                value[:, ~reference_mask[cols]] = np.nan
            # Kept references have smaller indices than new ones: a stable sort settles ties.
            best = np.concatenate([best, value], axis=1)
            neighbor = np.concatenate([neighbor, np.where(np.isnan(value), -1, number)], axis=1)
            order = np.argsort(best, axis=1, kind="stable")[:, :k]
            best = np.take_along_axis(best, order, axis=1)
            neighbor = np.take_along_axis(neighbor, order, axis=1)
            if progress is not None:
                progress(rows.start * m + len(a) * cols.stop, n * m)
        indices[rows] = neighbor
        if dtype == "ordered":
            distances[rows] = best
            continue
        missing = -np.inf if METRICS[metric].largest_first else np.inf
        with np.errstate(over="ignore"):
            distances[rows] = np.where(neighbor < 0, missing, finish(metric, best, metric_params))
    return distances, indices


def pairwise_distances(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    metric: str,
    *,
    dtype: str,
    metric_params: Params = None,
    workers: int,
    progress: Report | None = None,
) -> NDArray[Any]:
    """The n x m matrix of canonical distances; y None: of x to itself."""
    del workers
    itself = y is None
    y = x if y is None else y
    out = np.empty((len(x), len(y)), dtype=dtype)
    for rows in spans(len(x)):
        a = widen(x, rows)
        for cols in spans(len(y)):
            with np.errstate(over="ignore", invalid="ignore"):
                value = ordered(metric, a, widen(y, cols), metric_params)
                value = finish(metric, value, metric_params)
                if itself and rows == cols and METRICS[metric].unit_rows:
                    np.fill_diagonal(value, 0.0 * np.diagonal(value))
                out[rows, cols] = value
        if progress is not None:
            progress(rows.stop, len(x))
    return out


def distance_quantile(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    metric: str,
    q: float,
    squared: bool,
    *,
    workers: int,
    progress: Report | None = None,
) -> float:
    """Linear-interpolation quantile of the distances of pairs i < j of the pooled sample.

    Non-negative floats order like their bit patterns: passes that count the distances per range
    of bit patterns narrow the range that holds the wanted order statistic, until what is left in
    it may be held and sorted.
    """
    del workers
    sets = [x] if y is None else [x, y]
    n = sum(map(len, sets))
    pairs = n * (n - 1) // 2

    blocks = [(s, rows) for s in sets for rows in spans(len(s))]
    sweeps = 1 if pairs <= GATHER else 6  # at most: four that count, one gathers, one looks beyond
    done = 0

    def sweep() -> Iterator[NDArray[np.int64]]:
        """Bit patterns of the ordering values of all pairs i < j, block by block."""
        nonlocal done
        for i, (left, rows) in enumerate(blocks):
            a = widen(left, rows)
            for j in range(i, len(blocks)):
                right, cols = blocks[j]
                value = np.abs(ordered(metric, a, widen(right, cols)))
                upper = value[np.triu_indices(len(a), 1)] if i == j else value.ravel()
                yield upper.view(np.int64)
            done += 1
            if progress is not None:
                progress(done, sweeps * len(blocks))

    def order_statistics(rank: int) -> Floats:
        """The value of this rank and, where there is one, of the next."""
        low, high, below, count = 0, np.iinfo(np.int64).max, 0, pairs
        while count > GATHER and high - low > 1:
            width = -(-(high - low) // (1 << 16))
            histogram = np.zeros(1 << 16, dtype=np.int64)
            for bits in sweep():
                inside = bits[(bits >= low) & (bits < high)]
                histogram += np.bincount((inside - low) // width, minlength=1 << 16)
            before = below + np.concatenate([[0], np.cumsum(histogram)])
            cell = int(np.searchsorted(before, rank, side="right")) - 1
            below, count = int(before[cell]), int(histogram[cell])
            low, high = low + cell * width, min(low + (cell + 1) * width, high)
        if high - low == 1:
            found = np.full(min(2, below + count - rank), low)
        else:
            kept = np.sort(np.concatenate([b[(b >= low) & (b < high)] for b in sweep()]))
            found = kept[rank - below : rank - below + 2]
        if len(found) < 2 and rank + 1 < pairs:
            above = [b[b >= high].min() for b in sweep() if (b >= high).any()]
            found = np.append(found, min(above))
        return found.view(np.float64)

    position = (pairs - 1) * q
    rank = int(position)
    found = order_statistics(rank)
    if metric == "euclidean" and not squared:
        found = np.sqrt(found)
    elif metric != "euclidean" and squared:
        found = found * found
    with np.errstate(invalid="ignore"):  # between two infinities lies NaN
        return float(np.quantile(found, position - rank if len(found) > 1 else 0.0))
