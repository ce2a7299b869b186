"""The orders of the rows of y that a permutation test of independence looks at.

Rows change places, all of them or within strata; groups of rows with groups that are as large.

    n, groups, strata -> cells of units that change places -> orders, at random or all of them
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front import validate
from pairtile.two_sample import shuffles
from pairtile.two_sample.relabelling import by_appearance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Moves = NDArray[np.int64]  # an order in each line


class Orders:
    """Orders of n rows in which a group stays together, and takes the place of one of its size."""

    def __init__(self, n: int, groups: Any = None, strata: Any = None) -> None:
        self._unit = np.arange(n)
        if groups is not None:
            self._unit = by_appearance(validate.labels("groups", groups, "x", n))
        sizes = np.bincount(self._unit)
        stratum = np.zeros(n, dtype=np.int64)
        if strata is not None:
            stratum = by_appearance(validate.labels("strata", strata, "x", n))
        first = np.unique(self._unit, return_index=True)[1]
        split = np.flatnonzero(stratum != stratum[first][self._unit])
        if split.size:
            raise ValueError(
                f"groups are exchanged within strata, but rows {first[self._unit[split[0]]]} and "
                f"{split[0]} share a group and not a stratum"
            )
        cell = by_appearance(stratum[first] * (n + 1) + sizes)
        self._cells = np.split(np.argsort(cell, kind="stable"), np.cumsum(np.bincount(cell))[:-1])
        if (groups is not None or strata is not None) and len(self._cells) == len(sizes):
            units = "rows" if groups is None else "groups of one size"
            where = "" if strata is None else " in one stratum"
            raise ValueError(f"nothing can be exchanged: there are no two {units}{where}")
        # where the rows of each unit are, one unit after the other
        self._rows = np.argsort(self._unit, kind="stable")
        self._starts = np.cumsum(sizes) - sizes
        self._place = np.empty(n, dtype=np.int64)  # of a row in its unit
        self._place[self._rows] = np.arange(n) - np.repeat(self._starts, sizes)

    def count(self, limit: int | None = None) -> int:
        """How many there are; if more than `limit`, some number above it."""
        total = 1
        for cell in self._cells:
            for k in range(2, len(cell) + 1):
                total *= k
                if limit is not None and total > limit:
                    return total
        return total

    def at_random(self, count: int, rng: Any) -> Iterator[Moves]:
        """The order as it is, then `count` at random: `rng.permutation` of each cell in turn."""
        yield self._orders(np.arange(len(self._starts))[None])
        for moved in shuffles.orders(rng, shuffles.Cells.of(self._cells), count):
            yield self._orders(moved)

    def every(self) -> Iterator[Moves]:
        """Every order that `count` counts, each once; that as it is comes first."""
        ways = itertools.product(*map(itertools.permutations, self._cells))
        while some := list(itertools.islice(ways, 64)):
            moved = np.empty((len(some), len(self._starts)), dtype=np.int64)
            for order, chosen in zip(moved, some, strict=True):
                for cell, these in zip(self._cells, chosen, strict=True):
                    order[cell] = these
            yield self._orders(moved)

    def _orders(self, moved: Moves) -> Moves:
        """Of rows, where unit `moved[u]` takes the place of unit u."""
        if len(self._starts) == len(self._rows):
            return moved  # units are rows
        orders: Moves = self._rows[self._starts[moved][:, self._unit] + self._place]
        return orders
