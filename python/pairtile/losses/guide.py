"""False negatives by a guide: another model says which pairs are as alike as a row's positive.

    rows of the guide -> distance of each row from its positive -> a radius for each row
    -> all pairs within their radius (one search) -> lists of pairs that leave the sums

What is compared are canonical cosine distances, ½‖ĝ − ĥ‖² = 1 − cos of rows divided by their
lengths, in float64: the same on every backend, and equal rows are equally far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.metrics import paired_cosine
from pairtile._front import scalars, validate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Pairs = tuple[Ints | None, Ints | None]  # row pointers, and columns ascending

_STRATEGIES = ("absolute", "relative")
_ROWS = 4096  # at a time, where distances are not searched for


@dataclass(frozen=True)
class Guide:
    """Rows of the guide for those of x and of y, and how near is too near."""

    x: Any
    y: Any
    margin: float
    strategy: str
    workers: int = 1

    @staticmethod
    def of(x_guide: Any, y_guide: Any, margin: Any, strategy: Any) -> Guide | None:
        """As it was given, None without rows; each option by itself checked."""
        margin = scalars.real("guide_margin", margin)
        scalars.choice("guide_margin_strategy", strategy, _STRATEGIES)
        if x_guide is None and y_guide is None:
            for name, used in (
                ("guide_margin", margin != 0),
                ("guide_margin_strategy", strategy != "absolute"),
            ):
                if used:
                    raise ValueError(f"{name} needs x_guide and y_guide")
            return None
        if x_guide is None or y_guide is None:
            given, other = ("x", "y") if y_guide is None else ("y", "x")
            raise ValueError(
                f"{given}_guide needs {other}_guide: the guide's rows of {other} beside those of "
                f"{given}"
            )
        return Guide(x_guide, y_guide, margin, strategy)

    def read(self, n: int, m: int, *, check_finite: bool, workers: int) -> Guide:
        """With rows that are validated, one for each of n and m rows."""
        given = {"x_guide": self.x, "y_guide": self.y}
        x, y = validate.sets(given, check_finite=check_finite, workers=workers)
        one_for_each(x, y, n, m)
        return Guide(x, y, self.margin, self.strategy, workers)

    def radii(self, targets: Ints) -> Floats:
        """Of each row of x: what is nearer than this is masked; 0 of a row without a positive."""
        own = np.flatnonzero(targets >= 0)
        found = np.zeros(len(targets))
        for first in range(0, len(own), _ROWS):
            rows = own[first : first + _ROWS]
            one, other = validate.taken(self.x, rows), validate.taken(self.y, targets[rows])
            apart = paired_cosine(*(validate.host(a).astype(np.float64) for a in (one, other)))
            wider = self.margin * (1 - apart) if self.strategy == "relative" else self.margin
            found[rows] = apart + wider
        return np.where(found > 0, found, 0.0)

    def of_rows(self, targets: Ints, progress: Report | None = None) -> Pairs:
        """Pairs out of the sum of their row."""
        return self.near(self.x, self.y, self.radii(targets), progress)

    def of_columns(self, targets: Ints, progress: Report | None = None) -> Pairs:
        """Pairs out of the sum of their column, whose positive is the row with it as target."""
        columns = validate.taken(self.y, targets)
        return self.near_columns(columns, targets, self.radii(targets), progress)

    def near_columns(
        self, columns: Any, places: Ints, radii: Floats, progress: Report | None = None
    ) -> Pairs:
        """Pairs that are nearer than the radius of their column, of those that are at `places`."""
        own, rows = self._within(columns, self.x, radii, progress)
        return _sorted(rows, places[own], len(self.x), len(self.y))

    def near(
        self, rows: Any, others: Any, radii: Floats, progress: Report | None = None,
        *, itself: bool = False,
    ) -> Pairs:  # fmt: skip
        """Pairs that are nearer than the radius of their row; with `itself` (i, i) as well."""
        i, j = self._within(rows, others, radii, progress)
        if itself:
            every = np.arange(len(rows))
            i, j = np.concatenate([i, every]), np.concatenate([j, every])
        return _sorted(i, j, len(rows), len(others))

    def _within(
        self, rows: Any, others: Any, radii: Floats, progress: Report | None
    ) -> tuple[Ints, Ints]:
        indptr, indices, _ = choose.module(rows, others).radius_neighbors(
            rows, others, "cosine", radii, closed=False, dtype="float64", workers=self.workers,
            progress=progress,
        )  # fmt: skip
        counts = np.diff(validate.host(indptr))
        return np.repeat(np.arange(len(counts)), counts), validate.host(indices)


def one_for_each(x_guide: Any, y_guide: Any, n: int, m: int) -> None:
    """ValueError unless there is a row of the guide for each of n and m rows."""
    for name, rows, count in (("x", x_guide, n), ("y", y_guide, m)):
        if len(rows) != count:
            raise ValueError(
                f"{name}_guide has {len(rows)} rows and {name} has {count}; the guide has a row "
                "for each"
            )


def _sorted(rows: Ints, columns: Ints, n: int, m: int) -> Pairs:
    """Row pointers and columns of pairs in any order, each once; None of no pairs."""
    if not len(rows):
        return None, None
    places = rows * m + columns
    places.sort()
    places = places[np.insert(np.diff(places) > 0, 0, values=True)]
    counts = np.bincount(places // m, minlength=n)
    return np.insert(np.cumsum(counts), 0, 0), places % m
