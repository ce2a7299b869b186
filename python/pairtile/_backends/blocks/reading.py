"""How blocks of rows are read, checked and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._backends.refusals import first_infinite, require_finite
from pairtile._backends.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from pairtile._front.progress import Report


# What no memory_limit counts where a set is read block by block.
BESIDE = "results and what is in memory already"


def load(rows: NDArray[Any] | Rows, span: slice, workers: int) -> NDArray[Any]:
    """Rows of a set in memory; ValueError where they hold NaN or Inf and were to be checked."""
    if not isinstance(rows, Rows):
        return rows[span]
    block = rows.read(span)
    if span.stop > rows.checked:
        if rows.check == "but NaN":
            require_finite(rows.name, first_infinite(block), span.start, "Inf")
        else:
            bad = choose.module().first_nonfinite(block, workers=workers)
            require_finite(rows.name, bad, span.start)
        rows.checked = span.stop
    return block


def blocks(rows: NDArray[Any] | Rows, parts: Sequence[slice], workers: int) -> Generator[Any]:
    """Parts of a set, one at a time: where the backend computes.

    In host memory a part is read when it is asked for. On a device two of them are held: the next
    one is read and copied while the caller works on this one.
    """
    if choose.backend() != "cuda":
        for part in parts:
            yield load(rows, part, workers)
        return
    chunk = rows.chunk_rows if isinstance(rows, Rows) else 1
    yield from choose.module().uploaded(
        lambda part: load(rows, part, workers), parts, rows.shape[1], rows.dtype, chunk
    )


def block_bytes(rows: NDArray[Any] | Rows) -> int:
    """What a row of a part takes, beside what is in memory already."""
    if choose.backend() == "cuda":  # where nothing is
        held: np.dtype[Any] = choose.module().held_as(rows.dtype)
        return int(rows.shape[1]) * held.itemsize
    return rows.row_bytes if isinstance(rows, Rows) else 0


def in_host_memory(found: Sequence[Any]) -> tuple[Any, ...]:
    """What a backend returns as NumPy arrays; None stays."""
    return tuple(a if a is None or isinstance(a, np.ndarray) else a.get() for a in found)


def within(progress: Report | None, before: int, size: int, whole: int) -> Report | None:
    """Where a part of this size reports its own (done, total)."""
    if progress is None:
        return None
    tell = progress

    def report(done: int, total: int) -> None:
        tell(before + (size * done // total if total else 0), whole)

    return report
