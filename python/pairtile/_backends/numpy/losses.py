"""NumPy twins of the losses: scores a few rows at a time and never whole, then their gradients.

In float64 throughout. One pass over S = scale · x yᵀ folds the losses of the rows, a second one
multiplies the weights ∂loss/∂S back.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pairtile._definitions.normalisation import through_normalisation

Array = NDArray[np.generic]
Float64 = NDArray[np.float64]

_BUFFER = 1 << 22  # float64 numbers in one chunk of scores (32 MB)


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def softmax_losses(
    x: Array,
    y: Array,
    scale: float,
    targets: NDArray[np.int64] | None,
    symmetric: bool,
    *,
    normalize: bool,
    grad: bool,
    row_upstream: Float64 | None,
    workers: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Float64, Float64, Float64 | None, Array | None, Array | None, float | None]:
    """InfoNCE or (symmetric) CLIP losses of the rows, and gradients of Σ u_i · per_row_i.

    Losses, log-sum-exps of rows and columns, gradients by x, y and the scale. With `normalize`, of
    the L2-normalised rows.
    """
    n, m = len(x), len(y)
    y64 = _rows(y, normalize)
    chosen = np.arange(n) if targets is None else targets
    upstream = np.full(n, 1.0 / n) if row_upstream is None else row_upstream
    total = 2 * n if grad else n

    positive, row_max, row_sum = np.empty(n), np.empty(n), np.empty(n)
    col_max, col_sum = np.full(m, -np.inf), np.zeros(m)
    for rows in _row_chunks(n, max(m, x.shape[1])):
        scores = scale * (_rows(x[rows], normalize) @ y64.T)
        positive[rows] = scores[np.arange(len(scores)), chosen[rows]]
        row_max[rows] = scores.max(axis=1)
        row_sum[rows] = np.exp(scores - row_max[rows, None]).sum(axis=1)
        if symmetric:
            highest = np.maximum(col_max, scores.max(axis=0))
            col_sum = col_sum * np.exp(col_max - highest) + np.exp(scores - highest).sum(axis=0)
            col_max = highest
        if progress is not None:
            progress(min(rows.stop, n), total)
    # (maximum − positive) + log(sum), because lse − positive would cancel.
    per_row = (row_max - positive) + np.log(row_sum)
    lse_row = row_max + np.log(row_sum)
    lse_col = None
    if symmetric:
        per_row = 0.5 * (per_row + (col_max - positive) + np.log(col_sum))
        lse_col = col_max + np.log(col_sum)
    if not grad:
        return per_row, lse_row, lse_col, None, None, None

    grad_x, grad_y, grad_scale = np.empty(x.shape), np.zeros(y.shape), 0.0
    for rows in _row_chunks(n, max(m, x.shape[1])):
        x64 = _rows(x[rows], normalize)
        products = x64 @ y64.T
        u = upstream[rows, None]
        weights = u * np.exp((scale * products - row_max[rows, None]) - np.log(row_sum[rows, None]))
        if symmetric:
            columns = np.exp((scale * products - col_max) - np.log(col_sum))
            weights = 0.5 * (weights + upstream * columns)
        weights[np.arange(len(x64)), chosen[rows]] -= upstream[rows]
        grad_x[rows] = scale * (weights @ y64)
        grad_y += scale * (weights.T @ x64)
        grad_scale += float(np.vdot(weights, products))
        if progress is not None:
            progress(n + min(rows.stop, n), total)
    return per_row, lse_row, lse_col, *_gradients(x, y, grad_x, grad_y, normalize), grad_scale


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def sigmoid_losses(
    x: Array,
    y: Array,
    scale: float,
    bias: float,
    *,
    normalize: bool,
    grad: bool,
    row_upstream: Float64 | None,
    workers: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Float64, Array | None, Array | None, float | None, float | None]:
    """SigLIP losses of the rows, and gradients of Σ u_i · per_row_i by x, y, scale and bias."""
    n, m = len(x), len(y)
    y64 = _rows(y, normalize)
    upstream = np.full(n, 1.0 / n) if row_upstream is None else row_upstream
    per_row = np.empty(n)
    grad_x, grad_y, grad_scale, grad_bias = np.empty(x.shape), np.zeros(y.shape), 0.0, 0.0
    for rows in _row_chunks(n, max(m, x.shape[1])):
        x64 = _rows(x[rows], normalize)
        products = x64 @ y64.T
        scores = scale * products + bias
        own = np.arange(len(x64)), np.arange(n)[rows]
        scores[own] *= -1
        losses = np.maximum(scores, 0) + np.log1p(np.exp(-np.abs(scores)))
        per_row[rows] = losses.sum(axis=1)
        if grad:
            # the slope of softplus: e^(t − softplus(t))
            weights = upstream[rows, None] * np.exp(scores - losses)
            weights[own] *= -1
            grad_x[rows] = scale * (weights @ y64)
            grad_y += scale * (weights.T @ x64)
            grad_scale += float(np.vdot(weights, products))
            grad_bias += float(weights.sum())
        if progress is not None:
            progress(min(rows.stop, n), n)
    if not grad:
        return per_row, None, None, None, None
    return per_row, *_gradients(x, y, grad_x, grad_y, normalize), grad_scale, grad_bias


def _gradients(
    x: Array, y: Array, grad_x: Float64, grad_y: Float64, normalize: bool
) -> tuple[Array, Array]:
    """Gradients by the rows as they are, in the working dtype."""
    if normalize:
        grad_x = through_normalisation(_rows(x, False), grad_x)
        grad_y = through_normalisation(_rows(y, False), grad_y)
    # Any byte order may arrive, so float64 is told by its size.
    dtype = np.float64 if 8 in (x.dtype.itemsize, y.dtype.itemsize) else np.float32
    return grad_x.astype(dtype), grad_y.astype(dtype)


def _rows(a: Array, normalize: bool) -> Float64:
    rows = a.astype(np.float64, order="C")  # products round by layout
    if normalize:
        largest = np.abs(rows).max(axis=1, keepdims=True)
        rows /= np.where(largest == 0, 1, largest)
        length = np.sqrt(np.sum(rows**2, axis=1, keepdims=True))
        rows /= np.where(length == 0, 1, length)
    return rows


def _row_chunks(n: int, row_length: int) -> Iterator[slice]:
    step = max(1, _BUFFER // row_length)
    return (slice(a, a + step) for a in range(0, n, step))
