"""Exact neighbours by tensor cores: screened in bfloat16, decided by canonical values.

Queries and references are packed in batches, so that what is held beside inputs and results is
bounded; each batch of queries meets every batch of references, and then its candidates are decided.
Where lists are long, it first meets a sample of the references, which says where to begin.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda import panels
from pairtile._backends.cuda.memory import Rows, address, current_stream
from pairtile._backends.cuda.panels import Findings, Packed, padded

if TYPE_CHECKING:
    from pairtile._front.progress import Report

METRICS = (*panels.TRANSLATED, "cosine", "inner_product")
_CANDIDATES = 1 << 29  # bytes of candidates of one batch of queries
_LONG = 1 << 30  # of all that a batch of queries takes where lists of neighbours are long
_SAMPLE_BYTES = 1 << 25  # of a sample's rows
_LEAST_ROWS = 32  # of a batch
_BLOCKS = 2  # of a multiprocessor that decide about long lists


def serves(metric: str, q: Rows, r: Rows) -> bool:
    """Whether a search is screened at all, as far as its shape tells."""
    return (
        metric in METRICS
        and r.n < 2**31
        and q.n * r.n * q.d >= panels.least_work
        and panels.tensor_path() != "none"
    )


class _Cut:
    """Batches of queries and of references, of a size that is bounded.

    Half of a limit is for packed references, or what they need; the rest for packed queries,
    candidates and lists. Without one either has a bound of its own.
    """

    def __init__(self, q: Rows, r: Rows, k: int, itself: bool, limit: int) -> None:
        self._k = k
        self._long = k > _cuda.screened_short_k
        self.list_room: int = _cuda.list_room(k, r.n)
        self._row = panels.row_bytes(q.d, 1) + panels.BESIDE
        self.of_r = panels.packable(r, 1, limit // 2, panels.BESIDE)
        self._most_packed = panels.packable(q, 1)[0][1]
        self._sizes = [stop - first for first, stop in self.of_r]
        self.shared = itself and len(self.of_r) == 1
        packed = padded(max(self._sizes)) * self._row
        self._left = limit - packed if limit else _LONG if self._long else 0
        self.sample = 0  # references
        if self._long and len(self.of_r) == 1 and self._overflows(self._segments(q.n)):
            self.sample = self._sample_size(q, r)
            self._left -= self._sample_bytes(q)
        if self._left:
            step = _cuda.rows_together
            self.shared = self.shared and self._bytes(step, self._segments(step, 1)) <= self._left
        least = self._bytes(min(q.n, _LEAST_ROWS), self._segments(1, 1))
        if self._long and not limit:
            self._left = max(self._left, least)
        self.fits = self._left >= least or not (limit or self._long)

    def _sample_size(self, q: Rows, r: Rows) -> int:
        """Rows of which a few dozen are among the k nearest, if there may be so many."""
        bytes_ = _SAMPLE_BYTES if self._left > 8 * _SAMPLE_BYTES else max(0, self._left // 8)
        of_row = q.d * 8 + _cuda.scale_bytes + 8 + self._row
        size: int = min(int(_expected(self._k) * r.n / self._k), bytes_ // of_row)
        return size if size >= _rank(self._k * size / r.n) else 0

    def _sample_bytes(self, q: Rows) -> int:
        bytes_: int = self.sample * (q.d * 8 + _cuda.scale_bytes + 8)
        return bytes_ + padded(self.sample) * self._row

    def _segments(self, rows: int, *most: int) -> list[int]:
        return [_cuda.screened_segments(rows, size, *most) for size in self._sizes]

    def _widths(self, segments: list[int]) -> list[int]:
        """References of a segment of each batch, in whole tiles."""
        step = _cuda.tile_columns
        return [
            -(-size // (step * own)) * step for size, own in zip(self._sizes, segments, strict=True)
        ]

    def room(self, segments: list[int]) -> int:
        """Candidates of a row in a segment that there is room for."""
        room: int = _cuda.candidate_room(self._k, max(self._widths(segments)))
        return room

    def _overflows(self, segments: list[int]) -> bool:
        """Whether a row may have more candidates in a segment than there is room for."""
        return self.room(segments) < max(self._widths(segments)) + _cuda.tile_columns

    def scratch(self, rows: int, segments: list[int]) -> int:
        """Numbers that all warps of a sweep sort in, when there is no more room."""
        blocks = padded(rows) // _cuda.rows_together * max(segments)
        return blocks * 8 * self.room(segments) if self._overflows(segments) else 0

    def lists(self, rows: int) -> int:
        """Blocks that decide about long lists, each with two of them."""
        share = (self._left or _LONG) // 4 // (32 * self.list_room)
        return max(1, min(rows, share, _BLOCKS * _cuda.multiprocessors())) if self._long else 0

    def _candidates(self, segments: list[int]) -> int:
        """Bytes of the candidates of a row."""
        candidates: int = self.room(segments) * _cuda.candidate_bytes * sum(segments)
        return candidates

    def _bytes(self, rows: int, segments: list[int]) -> int:
        """Of a batch: candidates, their numbers, packed rows unless shared, what is sorted in."""
        beside = padded(rows) * 4 * (sum(segments) + 1)
        if not self.shared:
            beside += padded(rows) * self._row
        beside += 8 * self.scratch(rows, segments) + 32 * self.list_room * self.lists(rows)
        return rows * self._candidates(segments) + beside

    def next(self, left: int) -> tuple[int, list[int]]:
        """How many of the rows left come next, and segments of each batch of references."""
        step = _cuda.rows_together
        segments = self._segments(left)
        of_row = self._candidates(segments)
        if self._left:
            most = self._left // (of_row + (0 if self.shared else self._row))
        else:
            most = min(_CANDIDATES // of_row, left if self.shared else self._most_packed)
        rows = left if most >= left else min(left, max(step, most // step * step))
        segments = self._segments(rows)
        while self._left and self._bytes(rows, segments) > self._left:
            if max(segments) > 1:  # few rows have many
                segments = self._segments(rows, max(segments) // 2)
            else:
                rows = (rows - 1) // step * step or rows // 2
        return rows, segments


def _expected(k: int) -> float:
    """Of the k nearest so many in a sample: more would cost more than a better limit saves."""
    return min(max(k / 32, 8.0), 64.0)


def _rank(expected: float) -> int:
    """More of the k nearest than a sample has but once in a million rows."""
    return math.ceil(expected + 5 * math.sqrt(expected) + 4)


class _Sample:
    """Some references, one drawn from each of as many equal parts: which limit to begin with."""

    def __init__(self, join: Any, size: int, k: int, centre: Any, row_map: Any) -> None:
        n = join.r.n
        draw = np.random.default_rng(size).random(size)
        numbers = ((np.arange(size) + draw) * (n / size)).astype(np.int64)
        self.numbers = cupy.asarray(np.minimum(numbers, n - 1))
        self._join = join.taken(None, self.numbers)
        self._packed = Packed(
            self._join.r, 0, size, self._join.scales[1], centre, Findings().memory, row_map=row_map
        )
        self._rank = _rank(k * size / n)
        self._size = size

    def guess(
        self,
        packed_rows: tuple[Any, int],
        workspace: tuple[Any, Any, Any],
        limits: Any,
        arguments: dict[str, Any],
        path: str,
    ) -> None:
        """Fill the limits of a batch of queries, in the memory that its candidates will take."""
        rows, first = packed_rows
        candidates, counts, scratch = workspace
        all_of_them = padded(self._size) + _cuda.tile_columns
        fits = all_of_them * _cuda.candidate_bytes * len(limits) <= candidates.nbytes
        k = self._size if fits else self._rank
        room = all_of_them if fits else _cuda.candidate_room(k, self._size)
        told: dict[str, Any] = {
            **arguments,
            **self._join.arguments,
            "k": k,
            "packed": (rows, self._packed.arguments, (first, 0)),
            "segments": (0, 1, 1),
            "workspace": (address(candidates), address(counts), room, address(scratch), 0),
            "numbers": address(self.numbers),
        }
        _cuda.screened_sweep(**told, path=path)
        _cuda.guess_limits(**told, rank=self._rank, limits=address(limits))


def knn(
    join: Any,
    k: int,
    predicate: dict[str, Any],
    wide: bool,
    distances: Any,
    indices: Any,
    limit: int,
    progress: Report | None,
) -> bool:
    """Fill the results; False if this is none for a screen, which then has written nothing.

    `join` has the two sets, their scales and the metric; `predicate` is what launches take.
    Workspace is at most `limit` bytes, 0 for what is usual.
    """
    q, r = join.q, join.r
    metric = join.arguments["measure"][0]
    best = panels.tensor_path()
    centre = join.centre()
    row_map = join.row_map(centre, limit)
    if limit and row_map is not None:
        limit -= row_map.bytes
        if limit <= 0:
            return False
    cut = _Cut(q, r, k, join.itself, limit)
    if not cut.fits:
        return False
    of_queries, of_references = join.scales
    packed = sample = None
    # of all references: the decision is about candidates from every batch of them
    learnt = Findings()
    first_rows = 0
    while first_rows < q.n:
        mine = candidates = counts = scratch = limits = lists = (
            None  # no batch is held while the next one is made
        )
        rows, segments = cut.next(q.n - first_rows)
        batch = (first_rows, first_rows + rows)
        findings = Findings()
        if not cut.shared:
            mine = Packed(q, *batch, of_queries, centre, findings.memory, row_map=row_map)
        height = padded(rows)
        total = sum(segments)
        room = cut.room(segments)
        blocks = cut.lists(rows)
        candidates = cupy.empty(rows * total * room * _cuda.candidate_bytes, dtype=cupy.uint8)
        counts = cupy.empty(height * total, dtype=cupy.int32)
        scratch = cupy.empty(cut.scratch(rows, segments), dtype=cupy.float64)
        lists = cupy.empty(32 * blocks * cut.list_room, dtype=cupy.uint8)
        done = 0
        for (first, stop), here in zip(cut.of_r, segments, strict=True):
            if packed is None or len(cut.of_r) > 1:
                packed = None
                packed = Packed(
                    r, first, stop, of_references, centre, learnt.memory, row_map=row_map
                )
                norm, residual, beyond, fractions = learnt.read()
                if beyond or norm < panels.SMALLEST:
                    return False
            if mine is not None:
                x_norm, x_residual, x_beyond, x_fractions = findings.read()
            else:
                x_norm, x_residual, x_beyond, x_fractions = norm, residual, beyond, fractions
            if x_beyond:
                return False
            whole = not (fractions or x_fractions or residual or x_residual)
            exact = (
                whole
                and metric != "cosine"
                and row_map is None
                and max(norm, x_norm) ** 2 <= 2.0**21
            )
            of_rows = packed.part(*batch) if mine is None else mine.arguments
            arguments: dict[str, Any] = {
                "exact": exact,
                "of_references": address(learnt.memory),
                **predicate,
                "stream": current_stream(),
            }
            if cut.sample:
                sample = sample or _Sample(join, cut.sample, k, centre, row_map)
                limits = cupy.empty(rows, dtype=cupy.float32)
                sample.guess(
                    (of_rows, batch[0]), (candidates, counts, scratch), limits, arguments, best
                )
            arguments |= {
                **join.arguments,
                "k": k,
                "packed": (of_rows, packed.arguments, (batch[0], first)),
                "segments": (done, total, here),
                "workspace": (
                    address(candidates), address(counts), room, address(scratch), address(limits)
                ),
            }  # fmt: skip
            _cuda.screened_sweep(**arguments, numbers=0, path=best)
            done += here
        results: dict[str, Any] = {
            "wide_distances": wide, "distances": address(distances), "indices": address(indices)
        }  # fmt: skip
        if blocks:
            space = (address(lists), cut.list_room, blocks)
            _cuda.screened_lists(**arguments, lists=space, **results)
        else:
            _cuda.screened_decision(**arguments, **results)
        first_rows += rows
        if first_rows < q.n or progress is not None:
            cupy.cuda.get_current_stream().synchronize()
        if progress is not None:
            progress(first_rows, q.n)
    return True
