"""Exact neighbours by tensor cores: screened in bfloat16, decided by canonical values.

Queries and references are packed in batches, so that what is held beside inputs and results is
bounded; each batch of queries meets every batch of references, and then its candidates are decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._cuda_backend.memory import Rows, address, device_of, where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pairtile._progress import Report

METRICS = ("euclidean", "sqeuclidean", "cosine", "inner_product")
# The best tensor cores to use ("none": canonical values of every pair), and the number of pairs times
# features from which packing pays. Tests set both.
path = "wgmma"
least_work = 1 << 28
_CANDIDATES = 1 << 28  # bytes of candidates of one batch of queries
_PANELS = 1 << 29  # bytes of one batch of packed references
_FAR = 2.0**-40  # data all smaller than this are left to float64


def batches(n: int, most: int) -> Iterator[tuple[int, int]]:
    """Rows in whole blocks, at most this many at a time."""
    step = max(_cuda.rows_together, most // _cuda.rows_together * _cuda.rows_together)
    for first in range(0, n, step):
        yield first, min(n, first + step)


class Packed:
    """Rows [first, stop) as the tensor cores read them."""

    def __init__(
        self,
        rows: Rows,
        first: int,
        stop: int,
        scales: Any,
        centre: Any,
        findings: Any,
        parts: int = 1,
    ) -> None:
        n = stop - first
        padded = -(-n // _cuda.rows_together) * _cuda.rows_together
        self.memory = cupy.empty(_cuda.panels_bytes(n, rows.d, parts), dtype=cupy.uint8)
        self.norms, self.residuals = cupy.empty((2, padded), dtype=cupy.float32)
        self.first, self.stop = first, stop
        self.told = (
            address(self.memory), address(self.norms), address(self.residuals), n, rows.d, parts
        )  # fmt: skip
        _cuda.pack(
            rows.view, first, address(scales), address(centre), self.told, address(findings), where()
        )

    def part(self, first: int, stop: int) -> tuple[Any, ...]:
        """What is told of the rows [first, stop) of all, which begin at a block."""
        slices, norms, residuals, _, d, parts = self.told
        skipped = first - self.first
        step = _cuda.panels_bytes(_cuda.rows_together, d, parts) // _cuda.rows_together
        return (
            slices + skipped * step, norms + 4 * skipped, residuals + 4 * skipped,
            stop - first, d, parts,
        )  # fmt: skip


class Findings:
    """What packing learnt of the rows, in device memory."""

    def __init__(self) -> None:
        self.memory = cupy.zeros(_cuda.findings_bytes // 4, dtype=cupy.uint32)

    def read(self) -> tuple[float, float, bool, bool]:
        """Largest norm, largest residual, whether a row is beyond the screen, or has a fraction."""
        found = self.memory.get()
        norm, residual = found[:2].view(np.float32)
        return float(norm), float(residual), bool(found[2]), bool(found[3])


def serves(metric: str, k: int, q: Rows, r: Rows) -> bool:
    """Whether a search is screened at all, as far as its shape tells."""
    return (
        path != "none"
        and metric in METRICS
        and k <= _cuda.screened_most_k
        and r.n < 2**31
        and q.n * r.n * q.d >= least_work
        and _cuda.tensor_path(device_of(q.memory).id, path) != "none"
    )


def knn(
    join: Any,
    k: int,
    predicate: dict[str, Any],
    wide: bool,
    distances: Any,
    indices: Any,
    progress: Report | None,
) -> bool:
    """Fill the results; False if the numbers are none for a screen, which then has written nothing.

    `join` has the two sets, their scales and the metric; `predicate` is what launches are told.
    """
    q, r = join.q, join.r
    metric = join.told["measure"][0]
    best = _cuda.tensor_path(cupy.cuda.Device().id, path)
    of_queries, of_references = join.scales
    centre = None
    if metric in ("euclidean", "sqeuclidean"):
        centre = cupy.empty(q.d, dtype=cupy.float64)
        _cuda.sample_centre(q.view, r.view, address(centre), where())
    room = _cuda.candidate_room(k)
    row_bytes = _cuda.panels_bytes(_cuda.rows_together, r.d, 1) // _cuda.rows_together
    of_r = list(batches(r.n, _PANELS // row_bytes))
    packed = None
    first_rows = 0
    while first_rows < q.n:
        left = q.n - first_rows
        segments = [_cuda.screened_segments(left, stop - first) for first, stop in of_r]
        per_row = room * _cuda.candidate_bytes * sum(segments)
        rows = next(batches(left, _CANDIDATES // per_row))[1]
        segments = [_cuda.screened_segments(rows, stop - first) for first, stop in of_r]
        batch = (first_rows, first_rows + rows)
        findings = Findings()
        shared = join.itself and len(of_r) == 1
        if not shared or packed is None:
            mine = Packed(q, *batch, of_queries, centre, findings.memory)
        padded = -(-rows // _cuda.rows_together) * _cuda.rows_together
        total = sum(segments)
        candidates = cupy.empty(padded * total * room * _cuda.candidate_bytes, dtype=cupy.uint8)
        counts = cupy.empty(padded * total, dtype=cupy.int32)
        blocks = padded // _cuda.rows_together * max(segments)
        scratch = cupy.empty(blocks * 8 * room, dtype=cupy.float64)
        told = {
            **join.told,
            "k": k,
            "workspace": (address(candidates), address(counts), address(scratch)),
            **predicate,
        }
        done = 0
        for (first, stop), here in zip(of_r, segments, strict=True):
            if packed is None or len(of_r) > 1:
                learnt = Findings()
                packed = Packed(r, first, stop, of_references, centre, learnt.memory)
                norm, residual, beyond, fractions = learnt.read()
                if beyond or norm < _FAR:
                    return False
            if not shared:
                x_norm, x_residual, x_beyond, x_fractions = findings.read()
            else:
                x_norm, x_residual, x_beyond, x_fractions = norm, residual, beyond, fractions
            if x_beyond:
                return False
            whole = not (fractions or x_fractions or residual or x_residual)
            exact = whole and metric != "cosine" and max(norm, x_norm) ** 2 <= 2.0**21
            of_rows = packed.part(*batch) if shared else mine.told
            told |= {
                "packed": (of_rows, packed.told, (batch[0], first)),
                "exact": exact,
                "of_references": address(learnt.memory),
                "segments": (done, total),
                "where": where(),
            }
            _cuda.screened_sweep(**told, path=best)
            done += here
        _cuda.screened_decision(
            **told, wide_distances=wide, distances=address(distances), indices=address(indices)
        )
        first_rows += rows
        if first_rows < q.n or progress is not None:
            cupy.cuda.get_current_stream().synchronize()
        if progress is not None:
            progress(first_rows, q.n)
    return True
