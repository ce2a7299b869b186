"""Counts within radii by tensor cores: screened in bfloat16, decided by canonical values.

Most pairs are on one side of a radius whatever the screen is off by. The others are decided at
once, from their inputs; where they are many, ordinary cores do all of them sooner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy

from pairtile import _cuda
from pairtile._backends.cuda import panels
from pairtile._backends.cuda.memory import address, current_stream
from pairtile._backends.cuda.panels import Findings, Packed, batches, padded

if TYPE_CHECKING:
    from pairtile._backends.cuda.memory import Rows
    from pairtile._front.progress import Report

METRICS = ("euclidean", "sqeuclidean", "cosine")
_WORK = 1 << 41  # pairs times features of one launch
# The most pairs that are decided by canonical values: one of so many, and a few in any case.
_SHARE = 16
_FEW = 4096


def serves(metric: str, q: Rows, r: Rows) -> bool:
    """Whether counts are screened at all, as far as shapes tell."""
    return (
        metric in METRICS
        and r.n < 2**31
        and q.n * r.n * q.d >= panels.least_work
        and panels.tensor_path() != "none"
    )


def counts(
    join: Any, arguments: dict[str, Any], limit: int, progress: Report | None, total: int | None
) -> bool:
    """Add to the counts; False if a screen does not pay, and then the counts are worthless.

    `join` has the two sets and their scales; `arguments` is what launches take besides. Workspace
    is at most `limit` bytes, 0 for what is usual.
    """
    q, r = join.q, join.r
    beside = panels.BESIDE + _cuda.radius_limits_bytes
    if 0 < limit // 2 < _cuda.rows_together * (panels.row_bytes(q.d, 1) + beside):
        return False
    metric = arguments["measure"][0]
    best = panels.tensor_path()
    of_queries, of_references = join.scales
    centre = None
    if metric != "cosine":
        centre = cupy.empty(q.d, dtype=cupy.float64)
        _cuda.sample_centre(q.view, r.view, address(centre), current_stream())
    of_q, of_r = (panels.packable(rows, 1, limit // 2, beside) for rows in (q, r))
    shared = join.itself and len(of_r) == 1
    decided = cupy.zeros(1, dtype=cupy.uint64)
    pairs = 0
    # set to None before they are made anew, or two would be held at a time
    mine: Any = None
    packed: Any = None
    of_rows: Any = None
    of_cols: Any = None
    for rows in of_q:
        if not shared:
            mine = None
            x = Findings()
            mine = Packed(q, *rows, of_queries, centre, x.memory)
        for first, stop in of_r:
            if packed is None or len(of_r) > 1:
                packed = None
                y = Findings()
                packed = Packed(r, first, stop, of_references, centre, y.memory)
            if shared:
                x, mine = y, packed
            found = [findings.read() for findings in (x, y)]
            if any(norm < panels.SMALLEST or beyond for norm, _, beyond, _ in found):
                return False
            whole = not any(residual or fractions for _, residual, _, fractions in found)
            largest = max(norm for norm, *_ in found)
            exact = whole and metric != "cosine" and largest**2 <= 2.0**21
            of_cols = None
            of_cols = cupy.empty(_cuda.radius_limits_bytes * padded(stop - first), cupy.uint8)
            most = _WORK // ((stop - first) * q.d)
            for a, b in batches(rows[1] - rows[0], most):
                part = rows[0] + a, rows[0] + b
                of_rows = None
                of_rows = cupy.empty(_cuda.radius_limits_bytes * padded(b - a), cupy.uint8)
                pairs += (b - a) * (stop - first)
                most_decided = pairs // _SHARE + _FEW
                _cuda.screened_radius_counts(
                    **arguments,
                    packed=(mine.part(*part), packed.arguments, (part[0], first)),
                    exact=exact,
                    findings=(address(x.memory), address(y.memory)),
                    limits=(address(of_rows), address(of_cols)),
                    decided=address(decided),
                    most_decided=most_decided,
                    path=best,
                    stream=current_stream(),
                )
                if int(decided[0]) > most_decided:  # waits, which paces the launches
                    return False
                if progress is not None:
                    progress(pairs // r.n, total or q.n)
    return True
