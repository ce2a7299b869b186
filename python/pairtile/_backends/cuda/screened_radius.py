"""Who lies within a radius by tensor cores: screened in bfloat16, decided by canonical values.

Most pairs are on one side of a radius whatever the screen is off by. The others are put aside, and
decided from their inputs; where they are many, ordinary cores do all of them sooner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cupy

from pairtile import _cuda
from pairtile._backends.cuda import panels
from pairtile._backends.cuda.memory import address, current_stream
from pairtile._backends.cuda.panels import Findings, Packed, batches, padded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pairtile._backends.cuda.memory import Rows
    from pairtile._front.progress import Report

METRICS = (*panels.TRANSLATED, "cosine")
_WORK = 1 << 41  # pairs times features of one launch
_PAIRS = 1 << 30  # pairs of one launch
# The most pairs that are decided by canonical values: one of so many, and a few in any case.
_SHARE = 16
_FEW = 4096
_MOST = _PAIRS // _SHARE  # of one launch
_PACKED = 1 << 29  # bytes of packed rows of either set within a limit


def serves(metric: str, q: Rows, r: Rows) -> bool:
    """Whether radii are screened at all, as far as shapes tell."""
    return (
        metric in METRICS
        and r.n < 2**31
        and q.n * r.n * q.d >= panels.least_work
        and panels.tensor_path() != "none"
    )


@dataclass
class _Launch:
    """One sweep."""

    arguments: dict[str, Any]
    origin: tuple[int, int, int]  # its first query, its first reference, how many of those
    pairs: int
    done: int  # with those of the launches before
    left: int | None  # bytes that a limit leaves for what is put aside
    pairs_aside: Any = None
    found: Any = None

    def sweep(self, decided: int, bytes_of_pair: int, *, listed: bool) -> int | None:
        """Put pairs aside, and return how many; None if they are too many.

        `decided` have been in the launches before; one takes so many bytes.
        """
        room = min(self.pairs, _MOST, self.done // _SHARE + _FEW - decided)
        if self.left is not None:
            room = min(room, self.left // bytes_of_pair)
        if room <= 0:
            return None
        self.pairs_aside = cupy.empty(room, dtype=cupy.uint32)
        self.found = cupy.zeros(1, dtype=cupy.uint64)
        self.arguments |= {
            "aside": (address(self.pairs_aside), room, address(self.found)),
            "stream": current_stream(),
        }
        _cuda.screened_radius_sweep(**self.arguments, listed=listed, path=panels.tensor_path())
        if not listed:
            _cuda.screened_radius_decision(**self.arguments)
        number = int(self.found[0])  # waits, which paces the launches
        return number if number <= room else None


def _launches(join: Any, arguments: dict[str, Any], limit: int) -> Iterator[_Launch | None]:
    """All sweeps of a call; None at the end where this is none for a screen.

    `join` has the two sets and their scales; `arguments` is what launches take besides. Workspace
    is at most `limit` bytes, 0 for what is usual.
    """
    q, r = join.q, join.r
    centre = join.centre()
    row_map = join.row_map(centre, limit)
    if limit and row_map is not None:
        limit -= row_map.bytes
        if limit <= 0:
            yield None
            return
    beside = panels.BESIDE + _cuda.radius_limits_bytes
    row = panels.row_bytes(q.d, 1) + beside
    most = min((limit - limit // 64) // 2, _PACKED)
    if limit and most < _cuda.rows_together * row:
        yield None
        return
    of_q, of_r = (panels.packable(rows, 1, most, beside) for rows in (q, r))
    shared = join.itself and len(of_r) == 1
    left = None
    if limit:
        left = limit - row * sum(padded(parts[0][1]) for parts in (of_q, of_r)[shared:])
    of_queries, of_references = join.scales
    done = 0
    # set to None before they are made anew, or two would be held at a time
    mine: Any = None
    packed: Any = None
    of_rows: Any = None
    of_cols: Any = None
    for rows in of_q:
        if not shared:
            mine = None
            x = Findings()
            mine = Packed(q, *rows, of_queries, centre, x.memory, row_map=row_map)
        for first, stop in of_r:
            if packed is None or len(of_r) > 1:
                packed = None
                y = Findings()
                packed = Packed(r, first, stop, of_references, centre, y.memory, row_map=row_map)
            if shared:
                x, mine = y, packed
            found = [findings.read() for findings in (x, y)]
            if any(norm < panels.SMALLEST or beyond for norm, _, beyond, _ in found):
                yield None
                return
            whole = not any(residual or fractions for _, residual, _, fractions in found)
            largest = max(norm for norm, *_ in found)
            exact = whole and centre is not None and row_map is None and largest**2 <= 2.0**21
            of_cols = None
            of_cols = cupy.empty(_cuda.radius_limits_bytes * padded(stop - first), cupy.uint8)
            m = stop - first
            for a, b in batches(rows[1] - rows[0], min(_WORK // q.d, _PAIRS) // m):
                part = rows[0] + a, rows[0] + b
                of_rows = None
                of_rows = cupy.empty(_cuda.radius_limits_bytes * padded(b - a), cupy.uint8)
                done += (b - a) * m
                of_launch = {
                    **arguments,
                    "packed": (mine.part(*part), packed.arguments, (part[0], first)),
                    "exact": exact,
                    "findings": (address(x.memory), address(y.memory)),
                    "limits": (address(of_rows), address(of_cols)),
                }
                yield _Launch(of_launch, (part[0], first, m), (b - a) * m, done, left)


def counts(
    join: Any, arguments: dict[str, Any], limit: int, progress: Report | None, total: int | None
) -> bool:
    """Add to the counts; False if a screen does not pay, and then the counts are worthless."""
    decided = 0
    for launch in _launches(join, arguments, limit):
        if launch is None:
            return False
        aside = launch.sweep(decided, 4, listed=False)
        if aside is None:
            return False
        decided += aside
        if progress is not None:
            progress(launch.done // join.r.n, total or join.q.n)
    return True


class Listed:
    """Pairs of one launch with their values, NaN for what is outside after all."""

    def __init__(self, launch: _Launch, number: int) -> None:
        self._pairs, self._origin = launch.pairs_aside[:number].copy(), launch.origin
        self._values = cupy.empty(number, dtype=cupy.float64)
        _cuda.screened_radius_decision(**launch.arguments, values=address(self._values))

    def place(self, filled: tuple[int, int, int, int]) -> None:
        """Put those inside into their rows."""
        if len(self._pairs) > 0:
            _cuda.screened_radius_placement(
                listed=(
                    address(self._pairs), address(self._values), len(self._pairs), *self._origin
                ),
                filled=filled,
                stream=current_stream(),
            )  # fmt: skip


def lists(
    join: Any, arguments: dict[str, Any], limit: int, progress: Report | None, total: int
) -> list[Listed] | None:
    """What lies within the radii of queries, which is counted by query.

    None if a screen does not pay, and then the counts are worthless.
    """
    found: list[Listed] = []
    kept = 0
    for launch in _launches(join, arguments, limit):
        if launch is None:
            return None
        if launch.left is not None:
            launch.left -= 12 * kept
        aside = launch.sweep(kept, 16, listed=True)  # numbers, these once more, values
        if aside is None:
            return None
        found.append(Listed(launch, aside))
        kept += aside
        if progress is not None:
            progress(launch.done // join.r.n, total)
    return found
