"""Sums of a Stein kernel in plain NumPy, for a goodness-of-fit statistic and its bootstrap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.kernels import labelled
from pairtile._backends.numpy.neighbors import widen
from pairtile._definitions.kernels import stein_kernel
from pairtile._definitions.metrics import sq_distance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Report = Callable[[int, int], object]
    Term = tuple[float, str, tuple[float, ...]]

_BLOCK = 64  # rows on either side: differences of all their features are held at once


def _block(a: Floats, b: Floats, s: Floats, t: Floats, terms: Sequence[Term]) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        cross = np.einsum("ijf,ijf->ij", a[:, None] - b[None], s[:, None] - t[None])
        products = s @ t.T
    return stein_kernel(sq_distance(a, b), products, cross, a.shape[1], terms)


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
