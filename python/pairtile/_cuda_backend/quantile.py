"""Exact quantiles of all distances on the GPU, without ever holding them.

A sample of pairs brackets the wanted rank. One sweep then counts what lies below the bracket and
keeps what lies inside; it also counts what is in each of 4096 cells of the bracket, of which one
is swept again where there is too much to keep. Canonical values are compared as whole numbers that
order like them, so the result does not depend on how it was found.
"""

from __future__ import annotations

import math
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._cuda_backend.memory import address, device_of, paced, where
from pairtile._cuda_backend.neighbors import Join
from pairtile._metrics import PLAIN_METRICS
from pairtile._numpy.neighbors import finish

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pairtile._progress import Report

METRICS = (*PLAIN_METRICS, "canberra", "braycurtis")  # those without parameters
_SAMPLED = 1 << 20  # pairs at most
_KEPT = 1 << 24  # keys of pairs that may be held: 128 MB
_SORTED = 1 << 20  # keys that are sorted rather than counted once more
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
    room = min(capacity, expected) if low < high and expected <= 2 * capacity else 0
    kept = cupy.empty(room, dtype=cupy.uint64)
    tally = cupy.zeros(_cuda.tally_bytes // 8, dtype=cupy.uint64)
    launch(
        keys=(low, high),
        shift=_shift(low, high),
        tally=address(tally),
        kept=(address(kept) if room else 0, room),
    )
    below, _, *cells = tally.get().astype(np.int64)
    found = _Found(int(below), np.array(cells), None)
    return found._replace(keys=kept[: found.inside]) if found.inside <= room else found


class _List:
    """Keys in device memory."""

    def __init__(self, keys: Any) -> None:
        self._keys = keys

    def count(self, low: int, high: int, expected: int) -> _Found:
        def launch(**options: Any) -> None:
            _cuda.count_keys(
                list=address(self._keys), count=len(self._keys), where=where(), **options
            )

        return _count(launch, low, high, expected, _SORTED)


class _Pairs:
    """The distances of all pairs of the pooled rows."""

    def __init__(self, x: Any, y: Any, metric: str, progress: Report | None) -> None:
        self._first = first = Join(x, None, metric, None)
        self._joins = [first]
        if y is not None:
            second = Join(y, None, metric, None)
            self._first = across = copy(first)
            across.itself = False
            across.r, across.scales = second.r, (first.scales[0], second.scales[1])
            self._joins += [second, across]
        self.rows = first.q.n + (0 if y is None else self._first.r.n)
        self.total = self.rows * (self.rows - 1) // 2
        self._progress, self._done = progress, 0

    def sample(self) -> Any:
        """The sorted keys of some pairs; None where all of them are few.

        Of p pairs a sample of s leaves about 5 p / √s in the bracket: more of it is worth while as
        long as that falls by more than s grows.
        """
        if self.total <= _SORTED:
            return None
        count = min(_SAMPLED, math.ceil((2.5 * self.total) ** (2 / 3)))
        keys = cupy.empty(count, dtype=cupy.uint64)
        join = self._first
        _cuda.sample_distances(
            **join.told, pooled=not join.itself, count=count, keys=address(keys), where=where()
        )
        return cupy.sort(keys)

    def count(self, low: int, high: int, expected: int) -> _Found:
        def launch(**options: Any) -> None:
            swept = sum(join.q.n for join in self._joins)
            for join in self._joins:
                batches = join.batches("quantile")
                for batch in paced(batches, self._progress, self._done, self._done + swept):
                    _cuda.count_distances(
                        **join.told, rows=batch, triangle=join.itself, where=where(), **options
                    )
                self._done += join.q.n
                swept -= join.q.n

        return _count(launch, low, high, expected, _KEPT)


class _Search:
    def __init__(self, pairs: _Pairs) -> None:
        self._pairs, self._sample = pairs, pairs.sample()

    def _bracket(self, rank: int) -> tuple[int, int, int]:
        """Keys between which this rank lies with near certainty, and how many pairs do."""
        pairs = self._pairs.total
        if self._sample is None:
            return 0, _LAST, pairs
        size = len(self._sample)
        at = (rank + 0.5) / pairs * size
        margin = 5 * math.sqrt(at * max(0.0, 1 - at / size)) + 6
        first, last = math.floor(at - margin), math.floor(at + margin + 1)
        low = int(self._sample[first]) if first >= 0 else 0
        high = int(self._sample[last]) if last < size else _LAST
        share = (min(last, size) - max(first, 0) + 1) / size
        return low, high, math.ceil(1.25 * share * pairs)

    def order_statistics(self, rank: int) -> tuple[int, int | None]:
        """The key of this rank, and that of the next where it costs nothing."""
        source: _Pairs | _List = self._pairs
        low, high, expected = self._bracket(rank)
        least, most, total = 0, _LAST, self._pairs.total  # what is certain
        while True:
            found = source.count(low, high, expected)
            within = rank - found.below
            if within < 0:
                most, expected = low - 1, found.below
                low, high = least, most
                continue
            if within >= found.inside:
                least, expected = high + 1, total - found.below - found.inside
                low, high = least, most
                continue
            if low == high:
                return low, low if within + 1 < found.inside else None
            if found.keys is not None and found.inside <= _SORTED:
                keys = cupy.sort(found.keys)[within : within + 2].get().tolist()
                return keys[0], keys[1] if len(keys) > 1 else None
            up_to = np.cumsum(found.cells)
            cell = int(np.searchsorted(up_to, within, side="right"))
            if found.keys is not None:  # what is left is not swept any more
                source, rank, total = _List(found.keys), within, found.inside
            width = 1 << _shift(low, high)
            least = low + cell * width
            most = min(high, least + width - 1)
            low, high, expected = least, most, int(found.cells[cell])


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
        pairs = _Pairs(x, y, metric, progress)
        search = _Search(pairs)
        position = (pairs.total - 1) * q
        rank = int(position)
        share = position - rank
        low, high = search.order_statistics(rank)
        if share > 0 and high is None:
            high = search.order_statistics(rank + 1)[0]
    values = _values([low, low if high is None or share == 0 else high])
    if metric != "euclidean" or not squared:
        values = finish(metric, values)
    with np.errstate(over="ignore", invalid="ignore"):
        if metric != "euclidean" and squared:
            values = values * values
        a, b = values
        # as `numpy.quantile`; between two infinities lies NaN
        return float(a + (b - a) * share if share < 0.5 else b - (b - a) * (1 - share))
