"""Exact neighbours by tensor cores: screened in bfloat16, decided by canonical values.

Queries and references are packed in batches, so that what is held beside inputs and results is
bounded; each batch of queries meets every batch of references, and then its candidates are decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy

from pairtile import _cuda
from pairtile._backends.cuda import panels
from pairtile._backends.cuda.memory import Rows, address, current_stream
from pairtile._backends.cuda.panels import Findings, Packed, padded

if TYPE_CHECKING:
    from pairtile._front.progress import Report

METRICS = ("euclidean", "sqeuclidean", "cosine", "inner_product")
_CANDIDATES = 1 << 28  # bytes of candidates of one batch of queries
_LONG = 1 << 30  # of all that a batch of queries takes where lists of neighbours are long
_LEAST_ROWS = 8  # references for each neighbour of a long list


def serves(metric: str, k: int, q: Rows, r: Rows) -> bool:
    """Whether a search is screened at all, as far as its shape tells."""
    return (
        metric in METRICS
        and k <= _cuda.screened_most_k
        and (k <= _cuda.screened_short_k or _LEAST_ROWS * k <= r.n)
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
        self.room: int = _cuda.candidate_room(k)
        self.list_bytes = 16 * self.room if k > _cuda.screened_short_k else 0  # of a row
        self._row = panels.row_bytes(q.d, 1) + panels.BESIDE
        self.of_r = panels.packable(r, 1, limit // 2, panels.BESIDE)
        self._most_packed = panels.packable(q, 1)[0][1]
        self._sizes = [stop - first for first, stop in self.of_r]
        self.shared = itself and len(self.of_r) == 1
        packed = padded(max(self._sizes)) * self._row
        self._left = limit - packed if limit else _LONG if self.list_bytes else 0
        self.fits = not self._left or self._bytes(1, self._segments(1, 1)) <= self._left

    def _segments(self, rows: int, *most: int) -> list[int]:
        return [_cuda.screened_segments(rows, size, *most) for size in self._sizes]

    def blocks(self, rows: int, segments: list[int]) -> int:
        """Most blocks of a sweep."""
        blocks: int = padded(rows) // _cuda.rows_together * max(segments)
        return blocks

    def _candidates(self, segments: list[int]) -> int:
        """Bytes of the candidates of a row, and of its list where that is long."""
        candidates: int = (self.room * _cuda.candidate_bytes + 4) * sum(segments)
        return candidates + self.list_bytes

    def _bytes(self, rows: int, segments: list[int]) -> int:
        """Of a batch: candidates, packed rows unless they are shared, and what sweeps sort in."""
        of_row = self._candidates(segments) + (0 if self.shared else self._row)
        return padded(rows) * of_row + self.blocks(rows, segments) * 64 * self.room

    def next(self, left: int) -> tuple[int, list[int]]:
        """How many of the rows left come next, and segments of each batch of references."""
        step = _cuda.rows_together
        of_row = self._candidates(self._segments(left))
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
                rows = (rows - 1) // step * step
        return rows, segments


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
    cut = _Cut(q, r, k, join.itself, limit)
    if not cut.fits:
        return False
    of_queries, of_references = join.scales
    centre = None
    if metric in ("euclidean", "sqeuclidean"):
        centre = cupy.empty(q.d, dtype=cupy.float64)
        _cuda.sample_centre(q.view, r.view, address(centre), current_stream())
    packed = None
    # of all references: the decision is about candidates from every batch of them
    learnt = Findings()
    first_rows = 0
    while first_rows < q.n:
        mine = candidates = counts = scratch = lists = (
            None  # no batch is held while the next one is made
        )
        rows, segments = cut.next(q.n - first_rows)
        batch = (first_rows, first_rows + rows)
        findings = Findings()
        if not cut.shared:
            mine = Packed(q, *batch, of_queries, centre, findings.memory)
        height = padded(rows)
        total = sum(segments)
        room = cut.room
        candidates = cupy.empty(height * total * room * _cuda.candidate_bytes, dtype=cupy.uint8)
        counts = cupy.empty(height * total, dtype=cupy.int32)
        scratch = cupy.empty(cut.blocks(rows, segments) * 8 * room, dtype=cupy.float64)
        lists = cupy.empty(rows * cut.list_bytes, dtype=cupy.uint8)
        arguments = {
            **join.arguments,
            "k": k,
            "workspace": (address(candidates), address(counts), address(scratch), address(lists)),
            **predicate,
        }
        done = 0
        for (first, stop), here in zip(cut.of_r, segments, strict=True):
            if packed is None or len(cut.of_r) > 1:
                packed = None
                packed = Packed(r, first, stop, of_references, centre, learnt.memory)
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
            exact = whole and metric != "cosine" and max(norm, x_norm) ** 2 <= 2.0**21
            of_rows = packed.part(*batch) if mine is None else mine.arguments
            arguments |= {
                "packed": (of_rows, packed.arguments, (batch[0], first)),
                "exact": exact,
                "of_references": address(learnt.memory),
                "segments": (done, total, here),
                "stream": current_stream(),
            }
            _cuda.screened_sweep(**arguments, path=best)
            done += here
        _cuda.screened_decision(
            **arguments, wide_distances=wide, distances=address(distances), indices=address(indices)
        )
        first_rows += rows
        if first_rows < q.n or progress is not None:
            cupy.cuda.get_current_stream().synchronize()
        if progress is not None:
            progress(first_rows, q.n)
    return True
