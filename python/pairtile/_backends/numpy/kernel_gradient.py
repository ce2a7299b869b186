"""Gradients of weighted kernel sums in plain NumPy: differences of rows, feature by feature.

Every kernel has one line in `_SLOPE`, its derivative by what `kernels._FORMULA` computes it from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.kernels import evaluate
from pairtile._backends.numpy.neighbors import dot, manhattan, normalised, spans, sq_distance, widen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pairtile._backends.numpy.kernels import Report, Term

    Floats = NDArray[np.float64]


def _laplace(s: Floats, gamma: float) -> Floats:
    d = np.sqrt(s)
    return _where_apart(s, -gamma * np.exp(-gamma * d) / (2 * d))


def _matern52(s: Floats, r: float) -> Floats:
    z = r * np.sqrt(s)
    return -r * r / 6 * (1 + z) * np.exp(-z)


def _where_apart(s: Floats, slope: Floats) -> Floats:
    """The slope of a kernel that has none for equal rows."""
    return np.where(s > 0, slope, 0.0)


def _polynomial(t: Floats, degree: float, gamma: float, coef0: float) -> Floats:
    return degree * gamma * (gamma * t + coef0) ** int(degree - 1)


_SLOPE: dict[str, Callable[..., Floats]] = {
    "gaussian": lambda s, gamma: -gamma * np.exp(-gamma * s),
    "laplace": _laplace,
    "laplace_l1": lambda a, gamma: -gamma * np.exp(-gamma * a),
    "rational_quadratic": lambda s, q, alpha: -alpha * q * (1 + q * s) ** (-alpha - 1),
    "matern32": lambda s, r: -r * r / 2 * np.exp(-r * np.sqrt(s)),
    "matern52": _matern52,
    "polynomial": _polynomial,
    "linear": np.ones_like,
    "cosine": np.ones_like,
    "energy": lambda s, alpha: _where_apart(s, -alpha / 2 * s ** (alpha / 2 - 1)),
}


def _differences(w: Floats, a: Floats, b: Floats, of: Callable[[Floats], Floats]) -> Floats:
    """Sum over j of w_ij of(a_i - b_j)."""
    columns = range(a.shape[1])
    return np.stack([(w * of(a[:, f, None] - b[None, :, f])).sum(axis=1) for f in columns], axis=1)


def _pull(a: Floats, b: Floats, w: Floats, name: str, params: tuple[float, ...]) -> Floats:
    """Sum over j of w_ij times the derivative of k(a_i, b_j) by a_i."""
    slope = _SLOPE[name]
    if name == "cosine":
        unit, other = normalised(a), normalised(b)
        pull = w @ other
        pull -= unit * np.einsum("ij,ij->i", unit, pull)[:, None]
        length = np.linalg.norm(a, axis=1, keepdims=True)
        return np.where(length > 0, pull / np.where(length > 0, length, 1.0), 0.0)
    if name in ("polynomial", "linear"):
        return (w * slope(dot(a, b), *params)) @ b
    if name == "laplace_l1":
        return _differences(w * slope(manhattan(a, b), *params), a, b, np.sign)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = slope(sq_distance(a, b), *params)
    return 2 * _differences(w * slopes, a, b, lambda difference: difference)


def kernel_gradient(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    terms: Sequence[Term],
    x_weights: Floats,
    y_weights: Floats | None,
    *,
    diagonal: bool,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Row and column sums of k(x_i, y_j), weighted, and the gradients of the weighted sum.

    y None: over i != j of x, the gradient halved (i = j counts in it with `diagonal`, which only
    kernels of the dot product notice), and nothing for y.
    """
    del precision, workers
    itself = y is None
    y, w = (x, x_weights) if y is None or y_weights is None else (y, y_weights)
    row_sums, col_sums = np.zeros(len(x)), np.zeros(len(y))
    grad_x, grad_y = np.zeros(x.shape), np.zeros(y.shape)
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
                grad_x[rows] += weight * _pull(a, b, products, name, params)
                if not itself:
                    grad_y[cols] += weight * _pull(b, a, products.T, name, params)
        if progress is not None:
            progress(rows.stop, len(x))
    return (
        (row_sums, col_sums[:0], grad_x, grad_y[:0])
        if itself
        else (row_sums, col_sums, grad_x, grad_y)
    )
