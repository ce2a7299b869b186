"""Sums of a Stein kernel in plain NumPy, for a goodness-of-fit statistic and its bootstrap.

With s = ∇ log p and k a function of d² = ‖x − y‖², whose derivatives by d² are k' and k'':

    k_p(x, y) = s_x·s_y k − 2 (x − y)·(s_x − s_y) k' − 2 f k' − 4 d² k'',   f features
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.kernels import labelled
from pairtile._backends.numpy.neighbors import sq_distance, widen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Report = Callable[[int, int], object]
    Term = tuple[float, str, tuple[float, ...]]
    Derivatives = tuple[Floats, Floats, Floats]

_BLOCK = 64  # rows on either side: differences of all their features are held at once


def _gaussian(s: Floats, gamma: float) -> Derivatives:
    k = np.exp(-gamma * s)
    return k, -gamma * k, gamma**2 * s * k


def _rational_quadratic(s: Floats, scale: float, alpha: float) -> Derivatives:
    base = 1 + scale * s
    k = base**-alpha
    return k, -alpha * scale * k / base, alpha * (alpha + 1) * scale**2 * s * k / base**2


def _matern32(s: Floats, r: float) -> Derivatives:
    z = r * np.sqrt(s)
    tail = np.exp(-z)
    return (1 + z) * tail, -(r**2) / 2 * tail, r**2 / 4 * z * tail


def _matern52(s: Floats, r: float) -> Derivatives:
    z = r * np.sqrt(s)
    tail = np.exp(-z)
    return (1 + z + z * z / 3) * tail, -(r**2) / 6 * (1 + z) * tail, r**2 / 12 * z * z * tail


# k, k' and d² k'' of the kernels for which these are finite everywhere
DERIVATIVES: dict[str, Callable[..., Derivatives]] = {
    "gaussian": _gaussian,
    "rational_quadratic": _rational_quadratic,
    "matern32": _matern32,
    "matern52": _matern52,
}


def _combine(
    squares: Floats, products: Floats, cross: Floats, features: int, terms: Sequence[Term]
) -> Floats:
    total = np.zeros_like(squares)
    for weight, name, params in terms:
        k, slope, curvature = DERIVATIVES[name](squares, *params)
        total += weight * (products * k - 2 * cross * slope - 2 * features * slope - 4 * curvature)
    return total


def stein_diagonal(scores: Floats, terms: Sequence[Term]) -> Floats:
    """The Stein kernel of each row with itself; no part of the seam."""
    nothing = np.zeros(len(scores))
    products = np.einsum("ij,ij->i", scores, scores)
    return _combine(nothing, products, nothing, scores.shape[1], terms)


def _block(a: Floats, b: Floats, s: Floats, t: Floats, terms: Sequence[Term]) -> Floats:
    cross = np.einsum("ijf,ijf->ij", a[:, None] - b[None], s[:, None] - t[None])
    return _combine(sq_distance(a, b), s @ t.T, cross, a.shape[1], terms)


def stein_label_sums(
    x: NDArray[Any],
    scores: NDArray[Any],
    labels: NDArray[np.uint64],
    terms: Sequence[Term],
    *,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, float]:
    """`kernel_label_sums` of one sample, for the Stein kernel of rows and their scores."""
    del workers
    blocks = [slice(i, min(i + _BLOCK, len(x))) for i in range(0, len(x), _BLOCK)]
    within, row, total = np.zeros(labels.shape[1]), np.zeros(labels.shape[1]), 0.0
    for i, rows in enumerate(blocks):
        a, s, v = widen(x, rows), widen(scores, rows), labelled(labels, rows.start, rows.stop)
        for cols in blocks:
            k = _block(a, widen(x, cols), s, widen(scores, cols), terms)
            if rows == cols:
                np.fill_diagonal(k, 0.0)
            within += np.einsum("ib,ib->b", v, k @ labelled(labels, cols.start, cols.stop))
            sums = k.sum(axis=1)
            row += sums @ v
            total += float(sums.sum())
        if progress is not None:
            progress(i + 1, len(blocks))
    return within, row, total
