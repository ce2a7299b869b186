"""Exact neighbours by tensor cores: screened in bfloat16, decided by canonical values.

Queries and references are packed in batches, so that what is held beside inputs and results is
bounded; each batch of queries meets every batch of references, and then its candidates are decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy

from pairtile import _cuda
from pairtile._cuda_backend import panels
from pairtile._cuda_backend.memory import Rows, address, where
from pairtile._cuda_backend.panels import Findings, Packed, batches, padded

if TYPE_CHECKING:
    from pairtile._progress import Report

METRICS = ("euclidean", "sqeuclidean", "cosine", "inner_product")
_CANDIDATES = 1 << 28  # bytes of candidates of one batch of queries


def serves(metric: str, k: int, q: Rows, r: Rows) -> bool:
    """Whether a search is screened at all, as far as its shape tells."""
    return (
        metric in METRICS
        and k <= _cuda.screened_most_k
        and r.n < 2**31
        and q.n * r.n * q.d >= panels.least_work
        and panels.tensor_path() != "none"
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
    best = panels.tensor_path()
    of_queries, of_references = join.scales
    centre = None
    if metric in ("euclidean", "sqeuclidean"):
        centre = cupy.empty(q.d, dtype=cupy.float64)
        _cuda.sample_centre(q.view, r.view, address(centre), where())
    room = _cuda.candidate_room(k)
    of_r = panels.packable(r, 1)
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
        height = padded(rows)
        total = sum(segments)
        candidates = cupy.empty(height * total * room * _cuda.candidate_bytes, dtype=cupy.uint8)
        counts = cupy.empty(height * total, dtype=cupy.int32)
        blocks = height // _cuda.rows_together * max(segments)
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
                if beyond or norm < panels.SMALLEST:
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
