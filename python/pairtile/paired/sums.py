"""Joint sums of two kernels over the pairs of paired rows, in three ways.

kernel terms             -> one sweep over the pairs of rows -> Joint
kernels that are linear  -> covariances                      ->
distances on a line      -> sorted columns                   ->
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.kernels import evaluate
from pairtile._front import validate
from pairtile.kernels import univariate
from pairtile.kernels.kernel import diagonal
from pairtile.kernels.univariate import dot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._definitions.kernels import Term
    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]


class Side(NamedTuple):
    """Sums of one kernel over the pairs of rows; all but `mean_square` of the shifted kernel."""

    rows: Floats  # Σ_{j≠i} K_ij
    own: Floats  # K_ii
    squares: float  # Σ_{i≠j} K_ij²
    mean_square: float  # of all K_ij
    shift: float = 0.0  # that was taken off the kernel


class Joint(NamedTuple):
    """What a centred product is made of."""

    products: Floats  # Σ_{i≠j} K_ij L_ij, one for each order of y
    x: Side
    y: Side
    unit: float = 1.0  # what products of K and L are multiplied by


def _side(rows: Floats, own: Floats, squares: float, shift: float) -> Side:
    """The sums of a kernel that was shifted before it was added up."""
    n = len(rows)
    off_diagonal = squares + 2 * shift * float(rows.sum()) + n * (n - 1) * shift * shift
    mean_square = max(0.0, off_diagonal + dot(own, own)) / n**2
    return Side(rows, own - shift, squares, mean_square, shift)


def typical(x: NDArray[Any], terms: list[Term]) -> float:
    """About the mean of k(x_i, x_j) over i != j: what products cancel least without."""
    sample = np.asarray(validate.host(x[:: -(-len(x) // 64)]), dtype=np.float64)
    if len(sample) < 2:
        return 0.0
    k = evaluate(sample, sample, terms)
    mean = float(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))
    return mean if math.isfinite(mean) else 0.0


def over_pairs(
    x: NDArray[Any],
    y: NDArray[Any],
    x_terms: list[Term],
    y_terms: list[Term],
    orders: NDArray[np.int64] | None = None,
    *,
    workers: int,
    progress: Report | None,
) -> Joint:
    """By tiles. Each order of the rows of y costs one more pass over its pairs."""
    sums = choose.module(x, y).joint_kernel_sums
    x_shift, y_shift = typical(x, x_terms), typical(y, y_terms)
    products, x_rows, y_rows, x_squares, y_squares = sums(
        x,
        y if orders is None else validate.taken(y, orders.ravel()),
        x_terms,
        y_terms,
        x_shift=x_shift,
        y_shift=y_shift,
        workers=workers,
        progress=progress,
    )
    return Joint(
        products,
        _side(x_rows, diagonal(x, x_terms), x_squares, x_shift),
        _side(y_rows, diagonal(y, y_terms), y_squares, y_shift),
    )


def by_covariance(x: NDArray[Any], y: NDArray[Any], x_scale: float, y_scale: float) -> Joint:
    """By the products of features, which have as many rows and columns as there are features.

    Of centred rows: that moves linear kernels by what double centring removes.
    """
    n = len(x)
    step = max(1, (1 << 20) // (x.shape[1] + y.shape[1]))
    chunks = [slice(i, i + step) for i in range(0, n, step)]

    def moved(a: NDArray[Any], rows: slice) -> Floats:
        difference: Floats = a[rows].astype(np.float64) - a[0].astype(np.float64)
        return difference

    means = [sum(moved(a, rows).sum(axis=0) for rows in chunks) / n for a in (x, y)]
    xx, xy, yy = (np.zeros((a.shape[1], b.shape[1])) for a, b in ((x, x), (x, y), (y, y)))
    x_own, y_own = np.empty(n), np.empty(n)
    for rows in chunks:
        a, b = (moved(s, rows) - mean for s, mean in zip((x, y), means, strict=True))
        xx += a.T @ a
        xy += a.T @ b
        yy += b.T @ b
        x_own[rows], y_own[rows] = (np.einsum("ij,ij->i", c, c) for c in (a, b))
    product = float(np.sum(xy * xy)) - dot(x_own, y_own)
    of_x, of_y = (
        _side(-scale * own, scale * own, scale**2 * (float(np.sum(c * c)) - dot(own, own)), 0.0)
        for scale, own, c in ((x_scale, x_own, xx), (y_scale, y_own, yy))
    )
    return Joint(np.array([x_scale * y_scale * product]), of_x, of_y)


def on_lines(
    x: NDArray[Any],
    y: NDArray[Any],
    orders: NDArray[np.int64],
    *,
    workers: int,
    progress: Report | None,
) -> Joint:
    """By sorting, for −|x − x'| and −|y − y'| of single columns and each of the orders of y."""
    a, b = univariate.column(x), univariate.column(y)
    at = np.argsort(a, kind="stable")
    products = choose.module(x, y).line_products(
        a[at], b, np.ascontiguousarray(orders[:, at]), workers=workers, progress=progress
    )
    return Joint(products, _line_side(a), _line_side(b))


def _line_side(x: Floats) -> Side:
    n = len(x)
    at = np.argsort(x, kind="stable")
    rows = np.empty(n)
    rows[at] = -univariate.row_sums(x[at])
    centred = x - x.mean()
    return _side(rows, np.zeros(n), 2 * n * dot(centred, centred), 0.0)
