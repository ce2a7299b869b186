"""Distances in plain NumPy: the canonical values, nearest neighbours, quantiles of all pairs.

The oracle of the compiled engine: everything is float64, from direct differences, in exactly the
order of operations that defines the canonical value. Blocks of rows keep temporaries at a few MB.

    rows(x) -> widen to float64 -> `ordered` values of a block of pairs -> statistic -> `finish`

Packed bits go the same way: a byte is a whole number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Params = dict[str, Any] | None
    Report = Callable[[int, int], object]

BLOCK = 256  # rows on either side of a block of pairs
GATHER = 1 << 22  # distances a quantile may hold at once


def spans(n: int, block: int = BLOCK) -> Iterator[slice]:
    """The rows 0..n in blocks."""
    return (slice(i, min(i + block, n)) for i in range(0, n, block))


def widen(x: NDArray[Any], rows: slice) -> Floats:
    """A block of rows in native float64."""
    return np.ascontiguousarray(x[rows], dtype=np.float64)


def _tree(s: Floats) -> Floats:
    sums: Floats = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
    return sums


def _accumulate(a: Floats, b: Floats, term: Callable[[Floats, Floats, Floats], object]) -> Floats:
    """Sum of term(a_ij, b_kj) over features j: eight partial sums, added in the canonical tree."""
    partial = np.zeros((8, len(a), len(b)))
    out = np.empty(partial.shape[1:])
    for j in range(a.shape[1]):
        term(a[:, j, None], b[None, :, j], out)
        partial[j % 8] += out
    return _tree(partial)


def _sum(
    a: Floats, b: Floats, term: Callable[[Floats, Floats, int], NDArray[np.floating[Any]]]
) -> Floats:
    """`_accumulate` of terms that depend on the feature too."""
    partial = np.zeros((8, len(a), len(b)))
    for j in range(a.shape[1]):
        partial[j % 8] += term(a[:, j, None], b[None, :, j], j)
    return _tree(partial)


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
    norm = np.sqrt(_tree(partial))
    return a / np.where(norm == 0, 1.0, norm)[:, None]


def _cosine(a: Floats, b: Floats) -> Floats:
    distance = 0.5 * sq_distance(normalised(a), normalised(b))
    zero = ~np.any(a, axis=1)[:, None] | ~np.any(b, axis=1)
    distance[zero & ~np.isnan(distance)] = 1.0
    return distance


def power(x: Floats, exponent: float) -> Floats:
    """x^exponent for x >= 0, by roots where no more than one is needed."""
    halves = exponent * 2.0 == int(exponent * 2.0)
    return power_by_roots(x, exponent) if halves else _power_by_logarithm(x, exponent)


def _chop(x: Floats) -> Floats:
    """Without the last 27 bits: the product of two such numbers is exact."""
    chopped: Floats = (x.view(np.uint64) & np.uint64(0xFFFFFFFFF8000000)).view(np.float64)
    return chopped


def _power_by_logarithm(x: Floats, exponent: float) -> Floats:
    """2^(exponent log2 x), the logarithm in two parts; +, -, * and / alone.

    x = m 2^n with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh s with s = (m - 1) / (m + 1).
    """
    m, n = np.frexp(x)
    low = m < 0.70710678118654757
    m, n = np.where(low, 2.0 * m, m), np.where(low, n - 1.0, n)
    f, g = m - 1.0, m + 1.0
    s = f / g
    s_high, g_high = _chop(s), _chop(g)
    s_low = ((f - s_high * g_high) - s_high * (m - (g_high - 1.0))) / g
    z = s * s
    tail = np.full_like(s, 2.0 / 25.0)
    for odd in range(23, 1, -2):
        tail = tail * z + 2.0 / odd
    log_high, log_low = 2.0 * s_high, 2.0 * s_low + s * z * tail
    part = 1.4426950216293335 * log_high
    rest = 1.9259629911266175e-08 * log_high + 1.4426950408889634 * log_low
    high = n + part
    low_part = ((n - high) + part) + rest
    chopped = _chop(high)
    low_part = (high - chopped) + low_part
    front = float(_chop(np.array([exponent]))[0])
    product = front * chopped
    rest = exponent * low_part + (exponent - front) * chopped
    total = np.minimum(np.maximum(product + rest, -1100.0), 1100.0)
    whole = np.rint(total)
    w = ((product - whole) + rest) * 0.69314718055994531
    series = np.full_like(w, 1.0 / math.factorial(13))
    for k in range(12, 1, -1):
        series = series * w + 1.0 / math.factorial(k)
    result = (w * w * series + w) + 1.0
    half = np.rint(0.5 * whole)
    result = np.ldexp(result, half.astype(np.int64))
    result = np.ldexp(result, (whole - half).astype(np.int64))
    result = np.where(total == 1100.0, np.inf, np.where(total == -1100.0, 0.0, result))
    return np.where(x == 0, 0.0, np.where(x < np.inf, result, x))


def power_by_roots(x: Floats, exponent: float) -> Floats:
    """x^exponent for x >= 0, by multiplications and square roots alone: it never falls.

    The whole part by repeated squaring, the binary digits of the fraction from the last to the
    first: x^0.b1b2... = x^(b1/2) sqrt(x^0.b2...).
    """
    whole = int(exponent)
    result, square, bits = np.ones_like(x), x, whole
    while bits:
        if bits & 1:
            result = result * square
        square = square * square
        bits >>= 1
    digits, fraction = 62, int((exponent - whole) * 2.0**62)
    if fraction == 0:
        return result
    while not fraction & 1:
        fraction >>= 1
        digits -= 1
    half = np.sqrt(x)
    part = half
    for _ in range(digits - 1):
        fraction >>= 1
        part = np.sqrt(part)
        if fraction & 1:
            part = part * half
    return result * part


def _minkowski(a: Floats, b: Floats, p: float) -> Floats:
    return _sum(a, b, lambda x, y, j: power(np.abs(x - y), p))


def _canberra(a: Floats, b: Floats) -> Floats:
    def term(x: Floats, y: Floats, j: int) -> Floats:
        size = np.abs(x) + np.abs(y)
        share: Floats = np.where(size == 0, 0.0, np.abs(x - y) / size)
        return share

    return _sum(a, b, term)


def _braycurtis(a: Floats, b: Floats) -> Floats:
    apart = manhattan(a, b)
    together = manhattan(a, -b)
    return np.where((apart == 0) & (together == 0), 0.0, apart / together)


def _weuclidean(a: Floats, b: Floats, w: Floats) -> Floats:
    def term(x: Floats, y: Floats, j: int) -> Floats:
        difference = x - y
        return float(w[j]) * difference * difference

    return _sum(a, b, term)


def _mahalanobis(a: Floats, b: Floats, transform: Floats) -> Floats:
    partial = np.zeros((8, len(a), len(b)))
    for i, row in enumerate(transform):
        z = _sum(a, b, lambda x, y, j, row=row: row[j] * (x - y))  # type: ignore[misc]
        partial[i % 8] += z * z
    return _tree(partial)


def _gower(a: Floats, b: Floats, ranges: Floats) -> Floats:
    def term(x: Floats, y: Floats, j: int) -> Floats:
        difference = x - y
        if ranges[j] > 0:
            return np.abs(difference) / float(ranges[j])
        differs: Floats = np.where(difference == 0, 0.0, difference * 0.0 + 1.0)  # NaN stays NaN
        return differs

    return _sum(a, b, term)


def _unpacked(a: Floats) -> Floats:
    """Bytes as eight numbers each, 0 or 1."""
    return np.unpackbits(a.astype(np.uint8), axis=1).astype(np.float64)


def _hamming(a: Floats, b: Floats) -> Floats:
    x, y = _unpacked(a), _unpacked(b)
    differing: Floats = x @ (1 - y).T + (1 - x) @ y.T  # whole numbers, so in any order
    return differing


def _jaccard(a: Floats, b: Floats) -> Floats:
    common = _unpacked(a) @ _unpacked(b).T
    differing = _hamming(a, b)
    return differing / np.maximum(common + differing, 1.0)


# What neighbours are ordered by, smallest first; `finish` turns it into the distance returned.
_ORDER: dict[str, Callable[..., Floats]] = {
    "euclidean": sq_distance,
    "sqeuclidean": sq_distance,
    "cosine": _cosine,
    "inner_product": lambda a, b: -dot(a, b),
    "manhattan": manhattan,
    "chebyshev": chebyshev,
    "minkowski": _minkowski,
    "canberra": _canberra,
    "braycurtis": _braycurtis,
    "weuclidean": _weuclidean,
    "mahalanobis": _mahalanobis,
    "gower": _gower,
    "hamming": lambda a, b, n_bits: _hamming(a, b),
    "jaccard": lambda a, b, n_bits: _jaccard(a, b),
}


def ordered(metric: str, a: Floats, b: Floats, params: Params = None) -> Floats:
    """The canonical value of every pair of rows."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        return _ORDER[metric](a, b, **(params or {}))


def finish(metric: str, order: Floats, params: Params = None) -> Floats:
    """What is returned for a canonical value."""
    if metric in ("euclidean", "weuclidean", "mahalanobis"):
        return np.sqrt(order)
    if metric == "minkowski" and params:
        with np.errstate(over="ignore", under="ignore"):
            return power_by_roots(order, 1.0 / params["p"])
    if metric == "gower" and params:
        return order / len(params["ranges"])
    if metric == "hamming" and params:
        return order / float(params["n_bits"])
    return 0.0 - order if metric == "inner_product" else order


def first_nonfinite(x: NDArray[Any], *, workers: int) -> int:
    """First row holding NaN or Inf, -1 if there is none."""
    del workers
    for rows in spans(len(x)):
        bad = ~np.isfinite(widen(x, rows)).all(axis=1)
        if bad.any():
            return int(rows.start + np.argmax(bad))
    return -1


def require_finite(name: str, first_bad: int, start: int = 0) -> None:
    """ValueError if there is a bad row, counted from the row `start` of the argument."""
    if first_bad >= 0:
        raise ValueError(f"{name} contains NaN or Inf; the first bad row is {start + first_bad}")


def least_memory(d: int, k: int) -> int:
    """What a block of pairs takes at most: workspace does not grow beyond it."""
    return 8 * (3 * BLOCK * d + 16 * BLOCK * BLOCK + 16 * max(k, 1 << 18))


def enough_memory(memory_limit: int, d: int, k: int) -> None:
    """ValueError if there is a limit and a block of pairs does not fit in it."""
    require_memory(memory_limit, least_memory(d, k))


def require_memory(memory_limit: int, least: int) -> None:
    """ValueError if there is a limit and it is less than the least bytes of workspace."""
    if 0 < memory_limit < least:
        raise ValueError(
            f"memory_limit={memory_limit} is too small: this search needs at least {least} bytes "
            "beside inputs and results"
        )


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
    metric_params: Params = None,
    index: Index | None = None,
    check_finite: bool = False,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The k nearest admissible references of each query, in order of (value, index).

    dtype "ordered" gives the values in place of the distances, NaN where there is no neighbour.
    """
    del precision, index
    enough_memory(memory_limit, queries.shape[1], k)
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
            value = ordered(metric, a, widen(reference, cols), metric_params)
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
        indices[rows] = neighbor
        if dtype == "ordered":
            distances[rows] = best
            continue
        missing = -np.inf if metric == "inner_product" else np.inf
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
