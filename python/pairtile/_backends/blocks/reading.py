"""How blocks of rows are read, checked and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pairtile._backends import choose
from pairtile._backends.refusals import first_infinite, require_finite
from pairtile._backends.rows import Rows

if TYPE_CHECKING:
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


def within(progress: Report | None, before: int, size: int, whole: int) -> Report | None:
    """Where a part of this size reports its own (done, total)."""
    if progress is None:
        return None
    tell = progress

    def report(done: int, total: int) -> None:
        tell(before + (size * done // total if total else 0), whole)

    return report
