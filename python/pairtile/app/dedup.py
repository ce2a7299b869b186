"""`pairtile dedup`: one file in, the numbers of the rows to keep out.

table -> rows of numbers -> deduplicate -> Deduplicated -> lines or JSON, and a file of numbers
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import pairtile
from pairtile._definitions.metrics import METRICS
from pairtile._front import frames
from pairtile.app.errors import InputError

if TYPE_CHECKING:
    from pairtile.app.table import Table
    from pairtile.neighbors import Dedup

# Those that need nothing besides the rows.
NAMES = tuple(
    name for name, metric in METRICS.items() if not metric.required and name != "mahalanobis"
)


@dataclass(frozen=True)
class Options:
    """What the command line sets."""

    threshold: float
    metric: str = "cosine"
    keep: str = "first"


@dataclass(frozen=True)
class Deduplicated:
    """Every number of the report."""

    options: Options
    d: int
    found: Dedup

    @property
    def n(self) -> int:
        """Rows of the file."""
        return len(self.found.keep)

    @property
    def kept(self) -> int:
        """Rows to keep."""
        return int(self.found.keep.sum())

    @property
    def groups(self) -> int:
        """Groups that pairs connect, single rows among them."""
        return len(np.unique(self.found.group))

    def as_json(self) -> dict[str, Any]:
        """The fields of ``--json``."""
        return {
            "version": pairtile.__version__,
            "n": self.n,
            "kept": self.kept,
            "removed": self.n - self.kept,
            "groups": self.groups,
            "pairs": len(self.found.pairs.i),
            "threshold": self.options.threshold,
            "metric": self.options.metric,
            "keep": self.options.keep,
        }

    def report(self) -> str:
        """The lines a person reads."""
        together = int((np.bincount(self.found.group) > 1).sum())
        sign = "≤" if self.options.metric not in ("cosine", "inner_product") else "≥"
        return "\n".join(
            [
                f"{self.n} rows, {self.d} {'feature' if self.d == 1 else 'features'}",
                f"{len(self.found.pairs.i)} pairs with {self.options.metric} {sign} "
                f"{self.options.threshold:g}",
                f"{self.groups} groups, {together} of them of more than one row",
                f"{self.kept} rows kept, {self.n - self.kept} removed",
            ]
        )

    def write(self, path: str) -> None:
        """The numbers of the rows to keep, as an array or one a line."""
        rows = np.flatnonzero(self.found.keep)
        try:
            if path.lower().endswith(".npy"):
                with Path(path).open("wb") as file:
                    np.save(file, rows)
            else:
                Path(path).write_text("".join(f"{row}\n" for row in rows), encoding="ascii")
        except OSError as error:
            raise InputError(
                f"{path}: {error.strerror or error}, so --out cannot be written"
            ) from error


def deduplicate(table: Table, options: Options) -> Deduplicated:
    """Find near-duplicates of a table of numbers.

    Parameters
    ----------
    table : Table
        As `io.load` makes it.
    options : Options
        As the command line has them.

    Raises
    ------
    InputError
        If columns are not numbers, values are missing or infinite, or the threshold is not one of
        this metric.
    """
    try:
        rows = table.matrix
        if rows is None:
            rows = frames.numbers(table.path, table.frame())
        keep: Any = options.keep
        metric: Any = options.metric
        found = pairtile.deduplicate(
            rows, threshold=options.threshold, metric=metric, keep=keep, progress=True
        )
    except (TypeError, ValueError) as error:
        said = str(error)
        if said.startswith("threshold"):
            raise InputError(f"--{said}") from error
        raise InputError(said if table.path in said else f"{table.path}: {said}") from error
    return Deduplicated(options, len(table.names), found)
