"""Exact quantiles of all distances on the GPU, without ever holding them.

A sample of pairs brackets the wanted rank. One sweep then counts what lies below the bracket and
keeps what lies inside; it also counts what is in each of 4096 cells of the bracket, of which one
takes its place where there is too much to keep. Canonical values are compared as whole numbers that
order like them, so the result does not depend on how it was found.
"""

from __future__ import annotations

import math
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda.memory import address, current_stream, device_of, in_launches
from pairtile._backends.cuda.neighbors import PairOfSets
from pairtile._backends.cuda.streaming import meetings, too_large
from pairtile._backends.rows import Rows as RowsOfFile
from pairtile._definitions import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

# those without parameters
METRICS = tuple(
    name for name, metric in metrics.METRICS.items() if not (metric.parameters or metric.takes_nan)
)
_SAMPLED = 1 << 20  # pairs at most
_SAMPLED_ROWS = 1 << 15  # of sets that the device does not hold
_KEPT = 1 << 24  # keys of pairs that may be held: 128 MB
_SORTED = 1 << 20  # keys that are sorted rather than counted once more
_FEW = 64  # sampled keys that say nothing about where a rank lies between them
_LAST = 2**64 - 1  # the key of NaN


class _Found(NamedTuple):
    below: int
    cells: NDArray[np.int64]
    keys: Any  # all that are inside, in any order; None where they are too many

    @property
    def inside(self) -> int:
        return int(self.cells.sum())


def _shift(low: int, high: int) -> int:
    """Bits of a key within its cell."""
    return max(0, (high - low).bit_length() - (_cuda.quantile_cells - 1).bit_length())


def _count(
    launch: Callable[..., object], low: int, high: int, expected: int, capacity: int
) -> _Found:
    """What `launch` counts of the keys in [low, high]; those that are kept, unless too many."""
    room = min(capacity, 4 * expected) if low < high and expected <= 2 * capacity else 0
    kept = cupy.empty(room, dtype=cupy.uint64)
    tally = cupy.zeros(_cuda.tally_bytes // 8, dtype=cupy.uint64)
    launch(
        keys=(low, high),
        shift=_shift(low, high),
        tally=address(tally),
        kept=(address(kept) if room else 0, room),
    )
    counted = tally.get().astype(np.int64)
    found = _Found(int(counted[0]), counted[2:], None)
    return found._replace(keys=kept[: found.inside]) if found.inside <= room else found


class _List:
    """Keys in device memory, all that follow after the first so many."""

    def __init__(self, keys: Any, before: int) -> None:
        self._keys, self._before = keys, before

    def count(self, low: int, high: int, expected: int) -> _Found:
        def launch(**options: Any) -> None:
            _cuda.count_keys(
                list=address(self._keys),
                count=len(self._keys),
                stream=current_stream(),
                **options,
            )

        found = _count(launch, low, high, expected, _SORTED)
        return found._replace(below=self._before + found.below)


class _Pairs:
    """The distances of all pairs of the pooled rows."""

    def __init__(self, x: Any, y: Any, metric: str, progress: Report | None) -> None:
        self._first = first = PairOfSets(x, None, metric, None)
        self._joins = [first]
        if y is not None:
            second = PairOfSets(y, None, metric, None)
            self._first = across = copy(first)
            across.itself = False
            across.r, across.scales = second.r, (first.scales[0], second.scales[1])
            self._joins += [second, across]
        self.rows = first.q.n + (0 if y is None else self._first.r.n)
        self.total = self.rows * (self.rows - 1) // 2
        self._progress, self._done = progress, 0

    def sample(self) -> NDArray[np.uint64]:
        """The sorted keys of some pairs; none where all of them are few.

        Of p pairs a sample of s leaves about 5 p / √s in the bracket: more of it is worth while as
        long as that falls by more than s grows.
        """
        if self.total <= _SORTED:
            return np.empty(0, dtype=np.uint64)
        count = min(_SAMPLED, math.ceil((2.5 * self.total) ** (2 / 3)))
        keys = cupy.empty(count, dtype=cupy.uint64)
        join = self._first
        _cuda.sample_distances(
            **join.arguments,
            pooled=not join.itself,
            count=count,
            keys=address(keys),
            stream=current_stream(),
        )
        ordered: NDArray[np.uint64] = cupy.sort(keys).get()
        return ordered

    def count(self, low: int, high: int, expected: int) -> _Found:
        def launch(**options: Any) -> None:
            swept = sum(join.q.n for join in self._joins)
            for join in self._joins:
                batches = join.batches("quantile")
                for batch in in_launches(batches, self._progress, self._done, self._done + swept):
                    _cuda.count_distances(
                        **join.arguments,
                        rows=batch,
                        triangle=join.itself,
                        stream=current_stream(),
                        **options,
                    )
                self._done += join.q.n
                swept -= join.q.n

        return _count(launch, low, high, expected, _KEPT)


class _PairsOfBlocks(_Pairs):
    """The same of sets that the device does not hold: blocks of rows meet in every count."""

    def __init__(self, x: Any, y: Any, metric: str, progress: Report | None) -> None:
        self._sets, self._metric = (x, y), metric
        self.rows = len(x) + (0 if y is None else len(y))
        self.total = self.rows * (self.rows - 1) // 2
        self._progress, self._done = progress, 0

    def sample(self) -> NDArray[np.uint64]:
        """Keys of pairs of some rows; no more of them than rows, which is what was drawn."""
        step = -(-self.rows // _SAMPLED_ROWS)
        x, y = (None if one is None else _every(one, step) for one in self._sets)
        keys = _Pairs(x, y, self._metric, None).sample()
        return keys[:: -(-len(keys) // _SAMPLED_ROWS)] if len(keys) else keys

    def count(self, low: int, high: int, expected: int) -> _Found:
        x, y = self._sets
        others = [] if y is None else [(y, None), (x, y)]

        def launch(**options: Any) -> None:
            visited = 0
            for first, second in [(x, None), *others]:
                for _, _, mine, theirs in meetings(first, second, ordered=False):
                    join = PairOfSets(mine, theirs, self._metric, None)
                    for batch in in_launches(join.batches("quantile"), None):
                        _cuda.count_distances(
                            **join.arguments,
                            rows=batch,
                            triangle=join.itself,
                            stream=current_stream(),
                            **options,
                        )
                    n = len(mine)
                    visited += n * (n - 1) // 2 if theirs is None else n * len(theirs)
                    if self._progress is not None:
                        self._progress(self._done + visited, self._done + self.total)
            self._done += visited

        return _count(launch, low, high, expected, _KEPT)


def _every(rows: Any, step: int) -> Any:
    if isinstance(rows, RowsOfFile):
        return rows.taken(np.arange(0, len(rows), step))
    return rows[::step]


class _Range(NamedTuple):
    """Keys from `least` to `most`: so many pairs lie before them, so many inside."""

    least: int
    most: int
    before: int
    inside: int


class _Search:
    def __init__(self, pairs: _Pairs) -> None:
        self._pairs, self._sample = pairs, pairs.sample()

    def _bracket(self, rank: int, known: _Range) -> tuple[int, int, int]:
        """Keys between which this rank lies with near certainty, and how many pairs may do."""
        low, high, count = known.least, known.most, known.inside
        ends = np.array([low, high], dtype=np.uint64)
        first = int(np.searchsorted(self._sample, ends[0], side="left"))
        sample = self._sample[first : int(np.searchsorted(self._sample, ends[1], side="right"))]
        size = len(sample)
        if size < _FEW:
            return low, high, count
        at = (rank - known.before + 0.5) / count * size
        margin = 5 * math.sqrt(at * max(0.0, 1 - at / size)) + 6
        start, stop = math.floor(at - margin), math.floor(at + margin + 1)
        if start >= 0:
            low = int(sample[start])
        if stop < size:
            high = int(sample[stop])
        share = (min(stop, size) - max(start, 0)) / size
        return low, high, min(count, math.ceil(share * count))

    def order_statistics(self, rank: int) -> tuple[int, int | None]:
        """The key of this rank, and that of the next where it costs nothing."""
        source: _Pairs | _List = self._pairs
        known = _Range(0, _LAST, 0, self._pairs.total)
        while True:
            low, high, expected = self._bracket(rank, known)
            found = source.count(low, high, expected)
            up_to = found.below + found.inside
            if rank < found.below:
                inside = found.below - known.before
                known = known._replace(most=low - 1, inside=inside)
                continue
            if rank >= up_to:
                inside = known.before + known.inside - up_to
                known = known._replace(least=high + 1, before=up_to, inside=inside)
                continue
            within = rank - found.below
            if low == high:
                return low, low if rank + 1 < up_to else None
            if found.keys is not None:
                if found.inside <= _SORTED:
                    keys = cupy.sort(found.keys)[within : within + 2].get().tolist()
                    return keys[0], keys[1] if len(keys) > 1 else None
                source = _List(found.keys, found.below)  # the rest is not swept any more
            cells = np.cumsum(found.cells)
            cell = int(np.searchsorted(cells, within, side="right"))
            count = int(found.cells[cell])
            width = 1 << _shift(low, high)
            least = low + cell * width
            before = found.below + int(cells[cell]) - count
            known = _Range(least, min(high, least + width - 1), before, count)


def _values(keys: list[int]) -> NDArray[np.float64]:
    """What has these keys."""
    ordered = np.array(keys, dtype=np.uint64)
    positive = ordered >> np.uint64(63) == 1
    bits = np.where(positive, ordered & np.uint64(2**63 - 1), ~ordered)
    values: NDArray[np.float64] = bits.view(np.float64)
    return values


def distance_quantile(
    x: Any,
    y: Any,
    metric: str,
    q: float,
    squared: bool,
    *,
    workers: int,
    progress: Report | None = None,
) -> float:
    """Linear-interpolation quantile of the distances of pairs i < j of the pooled sample."""
    del workers
    if metric not in METRICS:
        raise ValueError(f"no quantile of {metric!r} distances; known: {', '.join(METRICS)}")
    with device_of(x, y):
        of = _PairsOfBlocks if too_large(x, y) else _Pairs
        pairs = of(x, y, metric, progress)
        search = _Search(pairs)
        position = (pairs.total - 1) * q
        rank = int(position)
        share = position - rank
        low, high = search.order_statistics(rank)
        if share > 0 and high is None:
            high = search.order_statistics(rank + 1)[0]
    values = _values([low, low if high is None or share == 0 else high])
    if metric != "euclidean" or not squared:
        values = metrics.finish(metric, values)
    with np.errstate(over="ignore", invalid="ignore"):
        if metric != "euclidean" and squared:
            values = values * values
        a, b = values
        # as `numpy.quantile`; between two infinities lies NaN
        return float(a + (b - a) * share if share < 0.5 else b - (b - a) * (1 - share))
