"""NumPy twin of the contrastive sweeps: log-sum-exp of scores, then the gradient.

Same function and signature as `pairtile._native.contrastive`, in float64 throughout. The score
matrix S = scale · x yᵀ is formed a few rows at a time and never whole: one pass folds the (maximum,
scaled sum) of every row and column, a second one multiplies the softmax weights back.
"""

from collections.abc import Callable, Iterator
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Float64 = NDArray[np.float64]

_BUFFER = 1 << 22  # float64 numbers in one chunk of scores (32 MB)


class Contrastive(TypedDict):
    per_row: Float64
    lse_row: Float64
    lse_col: Float64 | None
    grad_x: Array | None
    grad_y: Array | None
    grad_scale: float | None


def contrastive(
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
) -> Contrastive:
    """InfoNCE or (symmetric) CLIP losses of the rows, and gradients of Σ u_i · per_row_i.

    With `normalize`, of the L2-normalised rows; gradients are with respect to those.
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
        return Contrastive(
            per_row=per_row, lse_row=lse_row, lse_col=lse_col,
            grad_x=None, grad_y=None, grad_scale=None,
        )  # fmt: skip

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
    # Any byte order may arrive, so float64 is told by its size.
    dtype = np.float64 if 8 in (x.dtype.itemsize, y.dtype.itemsize) else np.float32
    return Contrastive(
        per_row=per_row, lse_row=lse_row, lse_col=lse_col,
        grad_x=grad_x.astype(dtype), grad_y=grad_y.astype(dtype), grad_scale=grad_scale,
    )  # fmt: skip


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
