"""The sigmoid loss in plain NumPy: each pair by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.losses.rows import chunks, rows_of, wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from pairtile._backends.numpy.losses.rows import Array, Float64


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def sigmoid_losses(
    x: Array,
    y: Array,
    scale: float,
    bias: float,
    *,
    row_scales: Float64 | None,
    row_labels: Float64 | None,
    col_labels: Float64 | None,
    target_offset: int,
    normalize: bool,
    grad: bool,
    grad_x: bool,
    grad_y: bool,
    row_upstream: Float64,
    workers: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Any, ...]:
    """SigLIP losses of the rows, and gradients of Σ u_i · per_row_i by x, y, scales and bias."""
    n, m = len(x), len(y)
    y64 = rows_of(y, normalize)
    scales = np.full(n, scale) if row_scales is None else row_scales
    per_row, by_scale, grad_bias = np.empty(n), np.zeros(n), 0.0
    by_x, by_y = np.zeros(x.shape), np.zeros(y.shape)
    for rows in chunks(n, max(m, x.shape[1])):
        x64, s, u = rows_of(x[rows], normalize), scales[rows, None], row_upstream[rows, None]
        if row_labels is not None and col_labels is not None:
            positive = row_labels[rows, None] == col_labels
        else:
            positive = np.arange(n)[rows, None] + target_offset == np.arange(m)
        sign = np.where(positive, -1.0, 1.0)
        products = x64 @ y64.T
        scores = sign * (s * products + bias)
        losses = np.maximum(scores, 0) + np.log1p(np.exp(-np.abs(scores)))
        per_row[rows] = losses.sum(axis=1)
        if grad:
            # the slope of softplus: e^(t − softplus(t))
            weights = u * sign * np.exp(scores - losses)
            if grad_x:
                by_x[rows] = (s * weights) @ y64
            if grad_y:
                by_y += (s * weights).T @ x64
            by_scale[rows] = np.einsum("ij,ij->i", weights, products)
            grad_bias += float(weights.sum())
        if progress is not None:
            progress(rows.stop, n)
    if not grad:
        return per_row, None, None, None, None
    grad_scale = float(by_scale.sum()) if row_scales is None else by_scale
    by_rows = wanted([x, y], [by_x, by_y], [grad_x, grad_y], normalize)
    return per_row, *by_rows, grad_scale, grad_bias
