"""NumPy twin of `cpp/slices/relabelled`: lines whose rows are dealt out to two samples anew."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pairtile._backends.numpy.slices import even_pieces

Floats = NDArray[np.float64]
Bits = NDArray[np.uint8]
Places = NDArray[np.int64]

_BATCH = 1 << 17  # float64 numbers in one step along a line, which stay in cache


def relabelled_line_costs(
    lines: Floats,
    bits: Bits,
    sizes: Places,
    *,
    energy: bool,
    p: float,
    workers: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Floats, Floats, Places]:
    """2 ∫ (F − G)² or W_p^p of each line under each relabelling, sizes and exponents.

    Bit b of a row says whether relabelling b calls it x, sizes[b] how many rows it calls so. Lines
    are moved to the median 0 and brought into the unit 2^exponent. The size is of what costs are
    made: |E_xx| + |E_yy| + 2|E_xy| of relabelling 0, or the mean of |value|^p.
    """
    costs = np.empty((len(lines), len(sizes)))
    of_costs, exponents = np.empty(len(lines)), np.empty(len(lines), dtype=np.int64)
    for at, line in enumerate(lines):
        order = np.argsort(line, kind="stable")
        values = line[order]
        values -= values[len(values) // 2]
        exponents[at] = np.frexp(values[-1] - values[0])[1]
        values = np.ldexp(values, -exponents[at])
        counted = energy or p == 1
        costs[at] = (
            _from_counts(values, order, bits, sizes, energy)
            if counted
            else _by_rank(values, order, bits, sizes, p)
        )
        of_costs[at] = (
            _size_of_energy(values, order, bits, sizes) if energy else _mean_power(values, p)
        )
        if progress is not None:
            progress(at + 1, len(lines))
    return costs, of_costs, exponents


def _labels(bits: Bits, rows: Places, some: slice) -> Bits:
    """1 where a row is called x: one line for each row, one column for each of `some`."""
    first = some.start // 8
    packed = bits[:, first : -(-some.stop // 8)].take(rows, axis=0)
    unpacked = np.unpackbits(packed, axis=1, bitorder="little")
    return unpacked[:, some.start - 8 * first : some.stop - 8 * first]


def _from_counts(values: Floats, order: Places, bits: Bits, sizes: Places, energy: bool) -> Floats:
    r"""From :math:`F - G = \frac{N}{nm} (k - n i/N)`: k of the i smallest values are called x."""
    rows, count = len(values), len(sizes)
    gaps = np.append(np.diff(values), 0.0)
    costs = np.zeros(count)
    width = min(count, 1 << 12)
    height = max(1, _BATCH // width)
    for first in range(0, count, width):
        some = slice(first, min(first + width, count))
        share = sizes[some] / rows
        ahead = np.zeros(some.stop - some.start)  # of k before this step
        for start in range(0, rows, height):
            at = slice(start, min(start + height, rows))
            k = ahead + np.cumsum(_labels(bits, order[at], some), axis=0, dtype=np.int64)
            ahead = k[-1]
            deviation = k - share * np.arange(at.start + 1, at.stop + 1)[:, None]
            power = deviation * deviation if energy else np.abs(deviation)
            costs[some] += gaps[at] @ power
    scale = rows / (sizes * (rows - sizes))
    return costs * (2 * scale**2 if energy else scale)


def _by_rank(values: Floats, order: Places, bits: Bits, sizes: Places, p: float) -> Floats:
    """∫ |F⁻¹ − G⁻¹|^p, piece by piece of the two quantile functions."""
    rows, count = len(values), len(sizes)
    pieces = lru_cache(max(1, _BATCH // rows))(even_pieces)
    costs = np.empty(count)
    step = max(1, _BATCH // rows)
    for first in range(0, count, step):
        some = slice(first, min(first + step, count))
        is_x = _labels(bits, order, some).T.astype(np.bool_)
        for n in np.unique(sizes[some]):
            chosen = sizes[some] == n
            shares, of_x, of_y = pieces(int(n), rows - int(n))
            x, y = (
                np.broadcast_to(values, mine.shape)[mine].reshape(len(mine), -1)
                for mine in (is_x[chosen], ~is_x[chosen])
            )
            costs[some][chosen] = _powers(x[:, of_x] - y[:, of_y], p) @ shares
    return costs


def _powers(differences: Floats, p: float) -> Floats:
    with np.errstate(under="ignore"):
        return np.asarray(np.abs(differences) ** p)


def _mean_power(values: Floats, p: float) -> float:
    return float(np.mean(_powers(values, p)))


def _size_of_energy(values: Floats, order: Places, bits: Bits, sizes: Places) -> float:
    n, m = sizes[0], len(values) - sizes[0]
    both = np.cumsum(np.where(bits[order, 0] & 1, 1 / n, 1 / m))[:-1]
    # 2 F (1 − F) lies within x, 2 G (1 − G) within y, and twice F + G − 2 F G between them
    return float(np.sum(2 * np.diff(values) * both * (2 - both)))
