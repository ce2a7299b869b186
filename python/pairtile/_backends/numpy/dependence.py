"""Sums behind distance covariance, HSIC and CKA in plain NumPy, over pairs and on lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.neighbors import widen
from pairtile._backends.rows import spans
from pairtile._definitions.kernels import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Report = Callable[[int, int], object]
    Term = tuple[float, str, tuple[float, ...]]


def joint_kernel_sums(
    x: NDArray[Any],
    y: NDArray[Any],
    x_terms: Sequence[Term],
    y_terms: Sequence[Term],
    *,
    x_shift: float,
    y_shift: float,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, Floats, float, float]:
    """Sums over i != j of K_ij L_ij for each order of y, of K and of L by rows, of K² and of L².

    `y` holds n rows that are paired with those of x, then more orders of them; all but the
    products are of the first. K and L are less their shifts.
    """
    del workers
    n = len(x)
    products = np.zeros(len(y) // n)
    x_rows, y_rows = np.zeros(n), np.zeros(n)
    x_squares = y_squares = 0.0
    for rows in spans(n):
        for cols in spans(n):
            k = evaluate(widen(x, rows), widen(x, cols), x_terms) - x_shift
            if rows == cols:
                np.fill_diagonal(k, 0.0)
            x_rows[rows] += k.sum(axis=1)
            x_squares += float(np.sum(k * k))
            for order in range(len(products)):
                at = order * n
                own, other = (slice(at + s.start, at + s.stop) for s in (rows, cols))
                values = evaluate(widen(y, own), widen(y, other), y_terms) - y_shift
                if rows == cols:
                    np.fill_diagonal(values, 0.0)
                products[order] += np.sum(k * values)
                if order == 0:
                    y_rows[rows] += values.sum(axis=1)
                    y_squares += float(np.sum(values * values))
        if progress is not None:
            progress(rows.stop, n)
    return products, x_rows, y_rows, x_squares, y_squares


def permuted_kernel_products(
    x: NDArray[Any],
    y: NDArray[Any],
    x_terms: Sequence[Term],
    y_terms: Sequence[Term],
    orders: NDArray[np.int64],
    *,
    x_shift: float,
    y_shift: float,
    workers: int,
    progress: Report | None = None,
) -> Floats:
    """Sum over i != j of K_ij L_o(i)o(j) for each order o, of matrices that are held.

    K and L are less their shifts.
    """
    del workers
    n = len(x)
    k, other = np.empty((n, n)), np.empty((n, n))
    for rows in spans(n):
        for cols in spans(n):
            k[rows, cols] = evaluate(widen(x, rows), widen(x, cols), x_terms) - x_shift
            other[rows, cols] = evaluate(widen(y, rows), widen(y, cols), y_terms) - y_shift
    np.fill_diagonal(k, 0.0)
    out = np.empty(len(orders))
    for o, order in enumerate(orders):
        out[o] = sum(np.dot(k[i], other[row][order]) for i, row in enumerate(order))
        if progress is not None:
            progress(o + 1, len(orders))
    return out


def line_products(
    x: Floats,
    y: Floats,
    orders: NDArray[np.int64],
    *,
    workers: int,
    progress: Report | None = None,
) -> Floats:
    """Sum of |x_i - x_j| |y_o(i) - y_o(j)| for each order o; x ascends.

    2 (2D - C): C is the sum of (x_i - x_j)(y_i - y_j) over i < j, D that of its positive terms.
    At each level the points are halved again by x, and each point of an upper half meets prefix
    sums, in the order of y, of its lower half.
    """
    del workers
    n = len(x)
    out = np.empty(len(orders))
    for o, order in enumerate(orders):
        at = np.argsort(y[order], kind="stable")  # places in x, by ascending y
        values = np.stack([np.ones(n), x, y[order], x * y[order]])
        everything = np.cumsum(values, axis=1)
        signed = np.sum(_meeting(values, everything))
        concordant = 0.0
        for bit in range(max(n - 1, 0).bit_length()):
            by_block = at[np.argsort(at >> (bit + 1), kind="stable")]
            upper = (by_block >> bit & 1).astype(bool)
            here = values[:, by_block]
            before = np.cumsum(np.where(upper, 0.0, here), axis=1)
            start = (by_block >> (bit + 1)) << (bit + 1)
            before -= np.concatenate([np.zeros((4, 1)), before], axis=1)[:, start]
            concordant += float(np.sum(_meeting(here, before)[upper]))
        out[o] = 2 * (2 * concordant - signed)
        if progress is not None:
            progress(o + 1, len(orders))
    return out


def _meeting(points: Floats, before: Floats) -> Floats:
    """Sum of (x - x_i)(y - y_i) for each point, given the sums of 1, x, y, xy over the i."""
    _, x, y, xy = points
    total: Floats = before[0] * xy - x * before[2] - y * before[1] + before[3]
    return total
