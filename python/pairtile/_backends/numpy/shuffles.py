"""NumPy twin of `cpp/kernels/shuffles`: relabellings and orders, one shuffle after the other."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint32]
Words = NDArray[np.uint64]
Orders = NDArray[np.int64]


def random_labels(
    rng: np.random.Generator,
    members: Numbers,
    sizes: Numbers,
    chosen: Numbers,
    unit: Numbers | None,
    count: int,
) -> Words:
    """Bits of the rows whose units a shuffle brings to the first places of their cell."""
    rows = len(members) if unit is None else len(unit)
    padded = np.zeros((count, 64 * -(-rows // 64)), dtype=np.bool_)
    runs = [
        (cells, np.arange(cells.shape[1]) < chosen[first : first + len(cells), None])
        for first, cells in _runs(members, sizes)
    ]
    for labels in padded:
        of_unit = np.zeros(len(members), dtype=np.bool_)
        for cells, places in runs:
            of_unit[_shuffled(cells, rng)[places]] = True
        labels[:rows] = of_unit if unit is None else of_unit[unit]
    words: Words = np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)
    return words


def random_orders(rng: np.random.Generator, members: Numbers, sizes: Numbers, count: int) -> Orders:
    """What a shuffle of each cell brings to the places of its members."""
    orders = np.empty((count, len(members)), dtype=np.int64)
    for order in orders:
        for _, cells in _runs(members, sizes):
            order[cells] = _shuffled(cells, rng)
    return orders


def _runs(members: Numbers, sizes: Numbers) -> Iterator[tuple[int, Numbers]]:
    """Consecutive cells of one size, (cells, size), and which is the first."""
    cell = start = 0
    for size, some in itertools.groupby(sizes.tolist()):
        count = len(list(some))
        yield cell, members[start : start + count * size].reshape(count, size)
        cell, start = cell + count, start + count * size


def _shuffled(cells: Numbers, rng: np.random.Generator) -> Numbers:
    """Each cell in the order that `rng.permutation` gives, cell after cell."""
    if len(cells) == 1:
        return cells[:, rng.permutation(cells.shape[1])]
    order = np.tile(np.arange(cells.shape[1]), (len(cells), 1))
    return np.take_along_axis(cells, rng.permuted(order, axis=1), axis=1)
