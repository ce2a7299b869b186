"""Contrastive losses from the whole matrix of scores, in float64: what the tests compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Expected(NamedTuple):
    per_row: Floats
    lse_row: Floats
    lse_col: Floats | None
    grad_x: Floats
    grad_y: Floats
    grad_scale: float


def log_sum_exp(s: Floats, axis: int) -> Floats:
    top = s.max(axis=axis, keepdims=True)
    return np.squeeze(top + np.log(np.sum(np.exp(s - top), axis=axis, keepdims=True)), axis=axis)


def brute(
    x: Floats,
    y: Floats,
    scale: float,
    loss: str,
    targets: Any = None,
    upstream: Floats | None = None,
) -> Expected:
    """The losses from the whole matrix of scores, and their gradients by the chain rule."""
    n = len(x)
    rows = np.arange(n)
    u = np.full(n, 1 / n) if upstream is None else upstream
    t = rows if targets is None else targets
    products = x @ y.T
    scores = scale * products
    lse_row, lse_col = log_sum_exp(scores, 1), None
    # a sum of positive terms where the positive is the largest: no cancellation
    others = scores - scores[rows, t][:, None]
    others[rows, t] = -np.inf
    top = np.maximum(others.max(axis=1), 0)
    losses = top + np.log(np.exp(-top) + np.exp(others - top[:, None]).sum(axis=1))
    small = top == 0
    losses[small] = np.log1p(np.exp(others[small]).sum(axis=1))
    weights = u[:, None] * np.exp(scores - lse_row[:, None])
    if loss == "clip_loss":
        lse_col = log_sum_exp(scores, 0)
        per_col = brute(y, x, scale, "info_nce").per_row
        losses = (losses + per_col) / 2
        weights = (weights + u * np.exp(scores - lse_col)) / 2
    weights[rows, t] -= u
    return Expected(
        losses,
        lse_row,
        lse_col,
        scale * weights @ y,
        scale * weights.T @ x,
        float(np.sum(weights * products)),
    )


class ExpectedSigmoid(NamedTuple):
    per_row: Floats
    grad_x: Floats
    grad_y: Floats
    grad_scale: float
    grad_bias: float


def brute_sigmoid(
    x: Floats, y: Floats, scale: float, bias: float, upstream: Floats | None = None
) -> ExpectedSigmoid:
    """The sigmoid loss from the whole matrix of scores, and its gradients by the chain rule."""
    n = len(x)
    u = np.full(n, 1 / n) if upstream is None else upstream
    products = x @ y.T
    z = np.where(np.eye(n, len(y), dtype=bool), 1.0, -1.0)
    t = -z * (scale * products + bias)
    small = np.exp(-np.abs(t))
    losses = np.maximum(t, 0) + np.log1p(small)
    slopes = np.where(t > 0, 1.0, small) / (1 + small)
    weights = -z * slopes * u[:, None]
    return ExpectedSigmoid(
        losses.sum(axis=1),
        scale * weights @ y,
        scale * weights.T @ x,
        float(np.sum(weights * products)),
        float(weights.sum()),
    )
