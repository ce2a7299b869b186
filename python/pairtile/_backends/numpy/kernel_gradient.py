"""Gradients of weighted kernel sums in plain NumPy: differences of rows, feature by feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.neighbors import widen
from pairtile._backends.rows import spans
from pairtile._definitions.kernels import KERNELS, cosine, evaluate
from pairtile._definitions.metrics import dot, manhattan, normalised
from pairtile._definitions.normalisation import through_normalisation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pairtile._backends.numpy.kernels import Report
    from pairtile._definitions.kernels import Term

    Floats = NDArray[np.float64]


def _differences(w: Floats, a: Floats, b: Floats, of: Callable[[Floats], Floats]) -> Floats:
    """Sum over j of w_ij of(a_i - b_j)."""
    columns = range(a.shape[1])
    return np.stack([(w * of(a[:, f, None] - b[None, :, f])).sum(axis=1) for f in columns], axis=1)


def _pull(a: Floats, b: Floats, w: Floats, name: str, params: tuple[float, ...]) -> Floats:
    """Sum over j of w_ij times the derivative of k(a_i, b_j) by a_i."""
    kernel = KERNELS[name]
    if kernel.argument is cosine:
        unit, other = normalised(a), normalised(b)
        by_unit: Floats = (w * kernel.slope(dot(unit, other), *params)) @ other
        return through_normalisation(a, by_unit)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = w * kernel.slope(kernel.argument(a, b), *params)
    if kernel.argument is dot:
        return slopes @ b
    if kernel.argument is manhattan:
        return _differences(slopes, a, b, np.sign)
    return 2 * _differences(slopes, a, b, lambda difference: difference)


def kernel_gradient(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    terms: Sequence[Term],
    x_weights: Floats,
    y_weights: Floats | None,
    *,
    diagonal: bool,
    grad_x: bool = True,
    grad_y: bool = True,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, Floats | None, Floats | None]:
    """Row and column sums of k(x_i, y_j), weighted, and the wanted gradients of the weighted sum.

    y None: over i != j of x, the gradient halved (i = j counts in it with `diagonal`, which only
    kernels of the dot product notice), and nothing for y.
    """
    del precision, workers
    itself = y is None
    y, w = (x, x_weights) if y is None or y_weights is None else (y, y_weights)
    row_sums, col_sums = np.zeros(len(x)), np.zeros(len(y))
    by_x = np.zeros(x.shape) if grad_x else None
    by_y = np.zeros(y[:0].shape if itself else y.shape) if grad_y else None
    for rows in spans(len(x)):
        a, v = widen(x, rows), x_weights[rows]
        for cols in spans(len(y)):
            b = widen(y, cols)
            k = evaluate(a, b, terms)
            products = np.outer(v, w[cols])
            if itself and rows == cols:
                np.fill_diagonal(k, 0.0)
                if not diagonal:
                    np.fill_diagonal(products, 0.0)
            row_sums[rows] += k @ w[cols]
            col_sums[cols] += v @ k
            for weight, name, params in terms:
                if by_x is not None:
                    by_x[rows] += weight * _pull(a, b, products, name, params)
                if by_y is not None and not itself:
                    by_y[cols] += weight * _pull(b, a, products.T, name, params)
        if progress is not None:
            progress(rows.stop, len(x))
    return row_sums, col_sums[:0] if itself else col_sums, by_x, by_y


def joint_kernel_gradient(
    x: NDArray[Any],
    y: NDArray[Any],
    x_terms: Sequence[Term],
    y_terms: Sequence[Term],
    by_row: Floats,
    *,
    diagonal: bool,
    workers: int,
    progress: Report | None = None,
) -> Floats:
    """Sum over j of l(y_i, y_j) + b_i + b_j times the derivative of k(x_i, x_j) by x_i.

    Over i != j unless `diagonal`, which only kernels of the dot product notice.
    """
    del workers
    grad = np.zeros(x.shape)
    for rows in spans(len(x)):
        a, own = widen(x, rows), widen(y, rows)
        for cols in spans(len(x)):
            weights = evaluate(own, widen(y, cols), y_terms)
            weights += by_row[rows, None] + by_row[cols]
            if rows == cols and not diagonal:
                np.fill_diagonal(weights, 0.0)
            for weight, name, params in x_terms:
                grad[rows] += weight * _pull(a, widen(x, cols), weights, name, params)
        if progress is not None:
            progress(rows.stop, len(x))
    return grad
