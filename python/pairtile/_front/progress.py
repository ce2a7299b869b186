"""How far a long call has come: the `progress=` keyword of the public functions.

A backend reports (done, total) in units of its own, once in a while and from the calling thread.
`reporting` joins the reports of the backend calls one public function makes into one count, and
hands that to the user's callable or to a bar on a terminal. Where its block ends all has been read:
a memory map that became shorter meanwhile is an error there.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pairtile._front import mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Report = Callable[[int, int], object]
    Progress = bool | Callable[[int, int], object]

_WIDTH = 30


def _bar() -> tuple[Report, Callable[[], None]]:
    """A bar on standard error that redraws at most ten times a second, and how to wipe it."""
    start = last = time.monotonic()
    drawn = False

    def draw(done: int, total: int) -> None:
        nonlocal last, drawn
        now = time.monotonic()
        if now - last < 0.1 or done <= 0:
            return
        last, drawn = now, True
        left = (now - start) * (total - done) / done
        filled = "#" * (_WIDTH * done // total)
        sys.stderr.write(f"\r[{filled:<{_WIDTH}}] {100 * done // total:3d}%  {left:6.1f} s left ")
        sys.stderr.flush()

    def wipe() -> None:
        if drawn:
            sys.stderr.write("\r" + " " * (_WIDTH + 24) + "\r")
            sys.stderr.flush()

    return draw, wipe


@contextmanager
def reporting(progress: Any, *sizes: int) -> Iterator[list[Report | None]]:
    """One report function per backend call to come, their sizes given as numbers of pairs.

        with reporting(progress, n * n, n * m) as (first, second): ...

    Each accepts that call's own (done, total); the user sees the sum over all calls, and on
    success a last (total, total). None where nobody listens: no progress wanted, or a bar
    while standard error is not a terminal.
    """
    if progress is not True and progress is not False and not callable(progress):
        raise TypeError(
            f"progress must be True, False or a callable(done, total), got {progress!r}"
        )
    if progress is False or (progress is True and not sys.stderr.isatty()):
        yield [None] * len(sizes)
        mapped.check()
        return
    tell, wipe = _bar() if progress is True else (progress, lambda: None)
    whole = sum(sizes)
    told = -1

    def part(offset: int, size: int) -> Report:
        def report(done: int, total: int) -> None:
            nonlocal told
            # Nothing is expected yet while data are surveyed, and a search that has to sweep once
            # more expects more than before: what the user sees never goes back.
            told = max(told, offset + (size * done // total if total else 0))
            tell(told, whole)

        return report

    try:
        yield [part(sum(sizes[:i]), size) for i, size in enumerate(sizes)]
        mapped.check()
        if told != whole:
            tell(whole, whole)
    finally:
        wipe()
