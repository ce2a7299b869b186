"""Random relabellings and orders: many shuffles of a generator in one call.

    generator, cells of units that change places -> batches of labels, or of orders

What comes out is what `rng.permutation` gives, cell after cell and draw after draw. NumPy may
change from one release to the next how its generators shuffle: the engine's own shuffles are used
where they are those of the NumPy that is installed.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from numpy.typing import NDArray

    Numbers = NDArray[np.uint32]

_NUMBERS = 1 << 22  # that are shuffled in one call, in which nothing is interrupted


class Cells(NamedTuple):
    """Units 0, 1, 2, ..., of which those of one cell change places."""

    members: Numbers
    sizes: Numbers

    @classmethod
    def of(cls, cells: Sequence[NDArray[np.int64]]) -> Cells:
        """From the units of each cell."""
        sizes = np.array([len(cell) for cell in cells], dtype=np.uint32)
        return cls(np.concatenate(cells).astype(np.uint32), sizes)


def labels(
    rng: np.random.Generator,
    cells: Cells,
    chosen: Sequence[int],
    unit: NDArray[np.int64] | None,
    count: int,
) -> Iterator[NDArray[np.uint64]]:
    """Batches of `count` labellings, a line of 64-bit words each: bit i is the label of row i.

    Of cell c those units are labelled that come to its first `chosen[c]` places; `unit` are those
    of the rows, None where a row is a unit.
    """
    of_row = None if unit is None else unit.astype(np.uint32)
    first = np.array(chosen, dtype=np.uint32)
    for some in _batches(count, len(cells.members if unit is None else unit)):
        yield _module(rng).random_labels(rng, *cells, first, of_row, some)


def orders(rng: np.random.Generator, cells: Cells, count: int) -> Iterator[NDArray[np.int64]]:
    """Batches of `count` orders: which unit comes to the place of each."""
    for some in _batches(count, len(cells.members)):
        yield _module(rng).random_orders(rng, *cells, some)


def _batches(count: int, numbers: int) -> Iterator[int]:
    step = max(1, _NUMBERS // numbers)
    for start in range(0, count, step):
        yield min(step, count - start)


def _module(rng: np.random.Generator) -> Any:
    module = choose.module()
    if type(rng) is np.random.Generator and _shuffles_as_numpy(module):
        return module
    return importlib.import_module("pairtile._backends.numpy")


@functools.cache
def _shuffles_as_numpy(module: ModuleType) -> bool:
    """Whether a backend gives the orders that this NumPy gives, and uses up as many numbers."""
    mine, other = np.random.default_rng(0), np.random.default_rng(0)
    cells = Cells.of([np.arange(3), np.arange(3, 700)])
    expected = [np.r_[other.permutation(3), 3 + other.permutation(697)] for _ in range(2)]
    return (
        np.array_equal(module.random_orders(mine, *cells, 2), expected)
        and mine.random() == other.random()
    )
