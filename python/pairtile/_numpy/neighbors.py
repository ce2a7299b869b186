"""Distances in plain NumPy: the canonical values, nearest neighbours, quantiles of all pairs.

The oracle of the compiled engine: everything is float64, from direct differences, in exactly the
order of operations that defines the canonical value. Blocks of rows keep temporaries at a few MB.

    rows(x) -> widen to float64 -> sq_distance | l1 | linf | dot of a block of pairs -> statistic
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Report = Callable[[int, int], object]

BLOCK = 256  # rows on either side of a block of pairs
GATHER = 1 << 22  # distances a quantile may hold at once


def spans(n: int, block: int = BLOCK) -> Iterator[slice]:
    """The rows 0..n in blocks."""
    return (slice(i, min(i + block, n)) for i in range(0, n, block))


def widen(x: NDArray[Any], rows: slice) -> Floats:
    """A block of rows in native float64."""
    return np.ascontiguousarray(x[rows], dtype=np.float64)


def _accumulate(a: Floats, b: Floats, term: Callable[[Floats, Floats, Floats], object]) -> Floats:
    """Sum of term(a_ij, b_kj) over features j: eight partial sums, added in the canonical tree."""
    partial = np.zeros((8, len(a), len(b)))
    out = np.empty(partial.shape[1:])
    for j in range(a.shape[1]):
        term(a[:, j, None], b[None, :, j], out)
        partial[j % 8] += out
    s = partial
    sums: Floats = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
    return sums


def sq_distance(a: Floats, b: Floats) -> Floats:
    """Canonical squared Euclidean distance of every pair of rows."""

    def term(x: Floats, y: Floats, out: Floats) -> None:
        np.subtract(x, y, out=out)
        np.multiply(out, out, out=out)

    return _accumulate(a, b, term)


def dot(a: Floats, b: Floats) -> Floats:
    """Canonical sum of products of every pair of rows."""
    return _accumulate(a, b, lambda x, y, out: np.multiply(x, y, out=out))


def manhattan(a: Floats, b: Floats) -> Floats:
    """Canonical sum of absolute differences of every pair of rows."""

    def term(x: Floats, y: Floats, out: Floats) -> None:
        np.subtract(x, y, out=out)
        np.abs(out, out=out)

    return _accumulate(a, b, term)


def chebyshev(a: Floats, b: Floats) -> Floats:
    """Largest absolute difference of every pair of rows."""
    largest = np.zeros((len(a), len(b)))
    for j in range(a.shape[1]):
        np.maximum(largest, np.abs(a[:, j, None] - b[None, :, j]), out=largest)
    return largest


def normalised(a: Floats) -> Floats:
    """Rows divided by their norm; a zero row stays zero.

    Each row is first brought to a largest magnitude in [0.5, 1) by a power of two, which changes
    no bit of the result and keeps the squares from overflowing or vanishing.
    """
    size = np.abs(a).max(axis=1)
    _, exponent = np.frexp(np.where(np.isfinite(size), size, 1.0))
    a = np.ldexp(a, -exponent[:, None])
    partial = np.zeros((8, len(a)))
    for j in range(a.shape[1]):
        partial[j % 8] += a[:, j] * a[:, j]
    s = partial
    norm = np.sqrt(((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])))
    return a / np.where(norm == 0, 1.0, norm)[:, None]


def _cosine(a: Floats, b: Floats) -> Floats:
    distance = 0.5 * sq_distance(normalised(a), normalised(b))
    zero = ~np.any(a, axis=1)[:, None] | ~np.any(b, axis=1)
    distance[zero & ~np.isnan(distance)] = 1.0
    return distance


# What neighbours are ordered by, smallest first; `finish` turns it into the distance returned.
ORDER = {
    "euclidean": sq_distance,
    "sqeuclidean": sq_distance,
    "cosine": _cosine,
    "inner_product": lambda a, b: -dot(a, b),
    "manhattan": manhattan,
    "chebyshev": chebyshev,
}


def finish(metric: str, order: Floats) -> Floats:
    if metric == "euclidean":
        return np.sqrt(order)
    return 0.0 - order if metric == "inner_product" else order


def first_nonfinite(x: NDArray[Any], *, workers: int) -> int:
    """First row holding NaN or Inf, -1 if there is none."""
    del workers
    for rows in spans(len(x)):
        bad = ~np.isfinite(widen(x, rows)).all(axis=1)
        if bad.any():
            return int(rows.start + np.argmax(bad))
    return -1


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
        workers: int,
    ) -> None:
        pass


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
    index: Index | None = None,
    workers: int,
    progress: Report | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The k nearest admissible references of each query, in order of (value, index)."""
    del precision, index, workers
    itself = reference is None
    if reference is None:
        reference, reference_groups, reference_times = (
            queries,
            query_groups if reference_groups is None else reference_groups,
            query_times if reference_times is None else reference_times,
        )
    n, m = len(queries), len(reference)
    distances = np.empty((n, k), dtype=dtype)
    indices = np.empty((n, k), dtype=np.int64)
    height = max(1, min(BLOCK, (1 << 18) // k))  # the lists of k stay small too
    for rows in spans(n, height):
        a = widen(queries, rows)
        # NaN marks what may not be a neighbour: it sorts behind everything, infinity included.
        best = np.full((len(a), k), np.nan)
        neighbor = np.full((len(a), k), -1, dtype=np.int64)
        for cols in spans(m, BLOCK * BLOCK // height):
            number = np.arange(cols.start, cols.stop)[None, :]
            with np.errstate(over="ignore", invalid="ignore"):
                value = ORDER[metric](a, widen(reference, cols))
            if itself:
                value[number == np.arange(rows.start, rows.stop)[:, None]] = np.nan
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
        missing = -np.inf if metric == "inner_product" else np.inf
        with np.errstate(over="ignore"):
            distances[rows] = np.where(neighbor < 0, missing, finish(metric, best))
        indices[rows] = neighbor
    return distances, indices


def pairwise_distances(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    metric: str,
    *,
    dtype: str,
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
                value = finish(metric, ORDER[metric](a, widen(y, cols)))
                if itself and rows == cols and metric == "cosine":
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
                with np.errstate(over="ignore", invalid="ignore"):
                    value = np.abs(ORDER[metric](a, widen(right, cols)))
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
