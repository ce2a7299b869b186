"""How far a long call has come: the `progress=` keyword of the public functions.

A backend reports (done, total) in units of its own, once in a while and from the calling thread.
`reporting` joins the reports of the backend calls one public function makes into one count, and
hands that to the user's callable or to what standard error can show: a bar of tqdm in a notebook,
one of characters on a terminal, else a line now and then. Where its block ends all has been read: a
memory map that became shorter meanwhile is an error there.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pairtile._front import mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import TextIO

    Report = Callable[[int, int], object]
    Progress = bool | Callable[[int, int], object]
    Display = tuple[Report, Callable[[], object]]  # shows a report; ends the display

_WIDTH = 30
_REDRAWN_AFTER = 0.1  # seconds
_LINE_AFTER = 10.0


def _left(start: float, now: float, done: int, total: int) -> float:
    """Seconds to go at the pace so far."""
    return (now - start) * (total - done) / done


def _write(stream: TextIO, text: str) -> None:
    """Show text; a stream that was closed meanwhile must not end a computation."""
    with suppress(OSError, ValueError):
        stream.write(text)
        stream.flush()


def _bar(stream: TextIO) -> Display:
    """A bar on a terminal that redraws at most ten times a second, and how to wipe it."""
    start = last = time.monotonic()
    drawn = False

    def draw(done: int, total: int) -> None:
        nonlocal last, drawn
        now = time.monotonic()
        if now - last < _REDRAWN_AFTER or done <= 0:
            return
        last, drawn = now, True
        left = _left(start, now, done, total)
        filled = "#" * (_WIDTH * done // total)
        _write(stream, f"\r[{filled:<{_WIDTH}}] {100 * done // total:3d}%  {left:6.1f} s left ")

    def wipe() -> None:
        if drawn:
            _write(stream, "\r" + " " * (_WIDTH + 24) + "\r")

    return draw, wipe


def _lines(stream: TextIO) -> Display:
    """A line every ten seconds, for logs."""
    start = last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _LINE_AFTER or done <= 0:
            return
        last = now
        left = _left(start, now, done, total)
        _write(stream, f"pairtile: {100 * done // total} % done, about {left:.0f} s left\n")

    return tell, lambda: None


def _tqdm() -> Display | None:
    """A bar of tqdm, in a notebook where that is installed."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if type(shell).__name__ != "ZMQInteractiveShell" or not importlib.util.find_spec("tqdm"):
        return None
    if importlib.util.find_spec("ipywidgets"):
        from tqdm.notebook import tqdm
    else:
        from tqdm import tqdm
    bar: Any = None

    def draw(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=total, desc="pairtile", unit="pair", unit_scale=True, leave=False)
        bar.update(done - bar.n)

    def close() -> None:
        if bar is not None:
            bar.close()

    return draw, close


def _display() -> Display | None:
    """What can be shown here; None without a standard error, as under pythonw or cron."""
    if (bar := _tqdm()) is not None:
        return bar
    stream = sys.stderr
    try:
        on_terminal = stream.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return None
    return _bar(stream) if on_terminal else _lines(stream)


class _Silent:
    """Where nobody listens: as many None as there are calls."""

    def __init__(self, calls: int) -> None:
        self._calls = calls

    def __enter__(self) -> list[Report | None]:
        return [None] * self._calls

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):  # it may be due to the rows that are lost
            mapped.check()


def reporting(progress: Any, *sizes: int) -> AbstractContextManager[list[Report | None]]:
    """One report function per backend call to come, their sizes given as numbers of pairs.

        with reporting(progress, n * n, n * m) as (first, second): ...

    Each accepts that call's own (done, total); the user sees the sum over all calls, and on
    success a last (total, total). None where nobody listens.
    """
    if progress is not True and progress is not False and not callable(progress):
        raise TypeError(
            f"progress must be True, False or a callable(done, total), got {progress!r}"
        )
    display: Display | None = None
    if progress is True:
        display = _display()
    elif progress is not False:
        display = progress, lambda: None
    return _Silent(len(sizes)) if display is None else _shown(display, sizes)


@contextmanager
def _shown(display: Display, sizes: tuple[int, ...]) -> Iterator[list[Report | None]]:
    tell, end = display
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
    except Exception:
        mapped.check()
        raise
    finally:
        end()
