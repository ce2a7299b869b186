"""Rows that the device need not hold: blocks, each copied while the one before is worked on.

    file or host memory -> two pinned buffers in turns -> a stream of copies -> one of two blocks

What waits for files and copies is a thread of its own, beside the one that launches.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile._backends.cuda.memory import host_room
from pairtile._backends.rows import Rows, spans

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from numpy.typing import NDArray

PINNED = 1 << 25  # bytes of either buffer: enough for the full rate of the bus
_BLOCKS = 1 << 33  # of blocks and workspace together
_WORKSPACE = 3 << 29  # what neighbours take by default


class _Stopped(Exception):
    """Ends a copy that nobody waits for any more."""


def block_memory() -> tuple[int, int]:
    """Bytes for blocks and workspace together without a limit, and most workspace of use."""
    return min(host_room(0), _BLOCKS), _WORKSPACE


def too_large(*sets: Any) -> bool:
    """Whether the device should not hold copies of the host arrays among these sets, or of rows."""
    if any(isinstance(a, Rows) for a in sets):
        return True
    on_host = [a.nbytes for a in sets if isinstance(a, np.ndarray)]
    return bool(on_host) and sum(on_host) > host_room(0)


def fitting(size: int) -> int:
    """How many copies of so many bytes leave as much room for the work on them; at least one."""
    return max(1, block_memory()[0] // 2 // size)


def held_as(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a block; CuPy may lack bfloat16, and widening it is exact."""
    return np.dtype(np.float32) if dtype.name == "bfloat16" else dtype.newbyteorder("=")


def _pinned(shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Page-locked host memory, which alone is copied while something else goes on."""
    count = shape[0] * shape[1]
    allocate = getattr(cupy.cuda, "alloc_pinned_memory", None)
    if allocate is None:
        return np.empty(shape, dtype)
    return np.frombuffer(allocate(count * dtype.itemsize), dtype, count).reshape(shape)


class _Copies:
    """Copies of parts of a set to two blocks on the current device."""

    def __init__(
        self,
        read: Callable[[slice], NDArray[Any]],
        most: int,
        d: int,
        dtype: np.dtype[Any],
        chunk: int,
    ) -> None:
        self._read, self._device = read, cupy.cuda.Device()
        dtype = held_as(dtype)
        row = d * dtype.itemsize
        step = min(most, max(1, min(PINNED, most * row // 2) // row))
        # whole chunks of a file, where they fit
        self._step = step - step % chunk if step > chunk else step
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._buffers = [_pinned((self._step, d), dtype) for _ in range(2)]
        self._emptied = [cupy.cuda.Event() for _ in self._buffers]
        self._turn = 0
        self.stopped = threading.Event()

    def fill(self, block: Any, part: slice, free: Any) -> Any:
        """Copy these rows to a block once it is free; the event after which they are there."""
        with self._device:
            self._stream.wait_event(free)
            for rows in spans(part.stop - part.start, self._step):
                if self.stopped.is_set():
                    raise _Stopped
                buffer = self._buffers[self._turn][: rows.stop - rows.start]
                emptied = self._emptied[self._turn]
                emptied.synchronize()
                buffer[:] = self._read(slice(part.start + rows.start, part.start + rows.stop))
                block[rows].set(buffer, stream=self._stream)
                self._stream.record(emptied)
                self._turn = 1 - self._turn
            return self._stream.record()

    def wait(self) -> None:
        """Until nothing is copied any more."""
        self._stream.synchronize()


def uploaded(
    read: Callable[[slice], NDArray[Any]],
    parts: Sequence[slice],
    d: int,
    dtype: np.dtype[Any],
    chunk: int = 1,
) -> Generator[Any]:
    """These rows on the current device, a part at a time, while the next one is on its way.

    `read` gives some rows in host memory; `chunk` of them are stored together. A part is
    overwritten when what the current stream was given before the next one was asked for is done.
    """
    if not parts:
        return
    most = max(part.stop - part.start for part in parts)
    stream = cupy.cuda.get_current_stream()
    blocks = [cupy.empty((most, d), held_as(dtype)) for _ in parts[:2]]
    free = [stream.record() for _ in blocks]
    copies = _Copies(read, most, d, dtype, chunk)
    try:
        with ThreadPoolExecutor(1) as reader:
            try:
                following = reader.submit(copies.fill, blocks[0], parts[0], free[0])
                for turn, part in enumerate(parts):
                    arrived = following.result()
                    if turn + 1 < len(parts):
                        other = (turn + 1) % 2
                        following = reader.submit(
                            copies.fill, blocks[other], parts[turn + 1], free[other]
                        )
                    stream.wait_event(arrived)
                    yield blocks[turn % 2][: part.stop - part.start]
                    free[turn % 2] = stream.record()
            finally:
                copies.stopped.set()
    finally:
        copies.wait()


Set = Any  # an array, `Rows`, or a tuple of such whose rows go together
Pair = tuple[slice, slice, Any, Any]


def meetings(
    x: Set, y: Set | None, *, ordered: bool, beside: int = 0, together: int = 1
) -> Iterator[Pair]:
    """Blocks of x and of y on the device, each of the one with each of the other; and their rows.

    With y None, x with itself: None in place of the second block where a block meets itself, and
    not those before it unless the pairs are `ordered`. `beside` is what results take per number;
    blocks begin at a multiple of so many rows `together`.
    """
    others = x if y is None else y
    n, m = rows_of(x), rows_of(others)
    room = block_memory()[0] // 8  # one block of x, two of y, and as much again for the work
    heights = [max(1, room // _row_bytes(a, beside)) for a in (x, others)]
    heights = [max(together, height - height % together) for height in heights]
    if y is None:
        heights[1] = heights[0]
    for rows in spans(n, heights[0]):
        with closing(_of(x, [rows])) as loaded:
            mine = next(loaded)
        parts = list(spans(m, heights[1]))
        if y is None:
            yield rows, rows, mine, None
            parts = [
                cols for cols in parts if cols.start > rows.start or (ordered and cols != rows)
            ]
        with closing(_of(others, parts)) as loaded:
            for cols in parts:
                yield rows, cols, mine, next(loaded)


def rows_of(a: Set) -> int:
    """How many rows there are."""
    return len(a[0] if isinstance(a, tuple) else a)


def _row_bytes(a: Set, beside: int) -> int:
    if isinstance(a, tuple):
        return sum(_row_bytes(one, beside) for one in a)
    return int(a.shape[1]) * (held_as(a.dtype).itemsize + beside)


def _of(a: Set, parts: Sequence[slice]) -> Generator[Any]:
    if isinstance(a, tuple):
        return _side_by_side(a, parts)
    chunk = a.chunk_rows if isinstance(a, Rows) else 1
    return uploaded(lambda rows: a[rows], parts, a.shape[1], a.dtype, chunk)


def _side_by_side(sets: tuple[Set, ...], parts: Sequence[slice]) -> Generator[Any]:
    with ExitStack() as opened:
        loaded = [opened.enter_context(closing(_of(a, parts))) for a in sets]
        for _ in parts:
            yield tuple(map(next, loaded))
