"""Losses of weighted pairs in plain NumPy: circle and multi-similarity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends.numpy.losses.rows import chunks, exp_of, gradients, log_sum_exp, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pairtile._backends.numpy.losses.rows import Array, Float64

    Mask = NDArray[np.bool_]


class _Side(NamedTuple):
    """The positives or the negatives of some rows: exponents, their slopes, and which pairs."""

    exponents: Float64
    slopes: Float64 | float
    which: Mask

    def log_sum(self) -> Float64:
        return log_sum_exp(self.exponents, self.which)

    def shares(self, log_sum: Float64) -> Float64:
        """Derivative of a log-sum-exp, or of what is at least as large, by the product C."""
        return exp_of(self.exponents, np.where(log_sum == -np.inf, 0, log_sum), self.which) * (
            self.slopes
        )


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def pair_losses(
    x: Array,
    loss: str,
    parameters: tuple[float, ...],
    *,
    labels: Float64,
    normalize: bool,
    grad: bool,
    row_upstream: Float64,
    workers: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Float64, Any]:
    """Losses of the rows from the products C = x xᵀ, and the gradient of Σ u_i · per_row_i."""
    value_of = _LOSSES[loss]
    n = len(x)
    x64 = rows_of(x, normalize)
    per_row, grad_x = np.empty(n), np.zeros(x.shape)
    for rows in chunks(n, max(n, x.shape[1])):
        own = x64[rows]
        same = labels[rows, None] == labels
        others = np.arange(n)[rows, None] != np.arange(n)
        per_row[rows], slopes = value_of(own @ x64.T, same & others, ~same, *parameters)
        if grad:
            weights = row_upstream[rows, None] * slopes
            grad_x[rows] += weights @ x64
            grad_x += weights.T @ own
        if progress is not None:
            progress(rows.stop, n)
    return per_row, gradients([x], [grad_x], normalize)[0] if grad else None


def _circle(
    products: Float64, positive: Mask, negative: Mask, margin: float, gamma: float
) -> tuple[Float64, Float64]:
    """softplus(LSE_p + LSE_n) of each row, and its derivative by the products, α held constant."""
    of_positive = gamma * np.maximum(1 + margin - products, 0)
    of_negative = gamma * np.maximum(products + margin, 0)
    sides = (
        _Side(-of_positive * (products - (1 - margin)), -of_positive, positive),
        _Side(of_negative * (products - margin), of_negative, negative),
    )
    sums = [side.log_sum() for side in sides]
    z = sums[0] + sums[1]
    both = z != -np.inf
    losses = np.where(both, np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))), 0)
    slope = np.where(both, np.exp(z - losses), 0)[:, None]  # of softplus: e^(z − softplus(z))
    first, second = (side.shares(total) for side, total in zip(sides, sums, strict=True))
    return losses, slope * (first + second)


def _multi_similarity(
    products: Float64,
    positive: Mask,
    negative: Mask,
    alpha: float,
    beta: float,
    base: float,
    epsilon: float,
) -> tuple[Float64, Float64]:
    """log(1 + e^LSE_p)/α + log(1 + e^LSE_n)/β of each row, and its derivative by the products."""
    if epsilon >= 0:
        least = products.min(axis=1, initial=np.inf, where=positive)[:, None]
        largest = products.max(axis=1, initial=-np.inf, where=negative)[:, None]
        # said of what is left out, so that a NaN stays in
        positive = positive & ~(products - epsilon >= largest)
        negative = negative & ~(products + epsilon <= least)
    losses, slopes = np.zeros(len(products)), np.zeros(products.shape)
    for factor, which in ((-alpha, positive), (beta, negative)):
        side = _Side(factor * (products - base), factor, which)
        log_sum = np.logaddexp(0, side.log_sum())
        losses += log_sum / abs(factor)
        slopes += side.shares(log_sum) / abs(factor)
    return losses, slopes


_LOSSES: dict[str, Callable[..., tuple[Float64, Float64]]] = {
    "circle": _circle,
    "multi_similarity": _multi_similarity,
}
