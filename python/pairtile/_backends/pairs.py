"""Lists of pairs (i, j, value) that are found part by part: how the parts make one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def no_pairs() -> Pairs:
    """A list of none."""
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)


def together(parts: Sequence[Pairs]) -> Pairs:
    """One list after another."""
    i, j, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return i, j, values


def first_of(parts: Sequence[Pairs], count: int) -> Pairs:
    """The first pairs of all by (value, i, j), in order."""
    i, j, values = together(parts)
    order = np.lexsort((j, i, values))[:count]
    return i[order], j[order], values[order]
