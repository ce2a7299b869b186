"""Gradients of losses of distances in plain NumPy: sums of pulls along pairs of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.losses.rows import chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._backends.numpy.losses.rows import Array, Float64

    Ints = NDArray[np.int64]


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def row_pulls(
    x: Array,
    lengths: Float64 | None,
    one: Ints,
    other: Ints,
    weights: Float64,
    gradient: NDArray[Any],
    *,
    workers: int,
) -> None:
    """Adds w (z_i - z_j) to row i of the gradient for each pair, z being rows over their lengths.

    Of a row, weights of one partner are added up in their order, then partners in theirs.
    """
    del workers

    def taken(which: Ints) -> Float64:
        rows: Float64 = x[which].astype(np.float64)
        if lengths is not None:
            rows /= np.where(lengths[which] > 0, lengths[which], 1.0)[:, None]
        return rows

    pairs, which = np.unique(one * len(x) + other, return_inverse=True)
    total = np.bincount(which, weights, minlength=len(pairs))
    i, j = np.divmod(pairs, len(x))
    sums = np.zeros(gradient.shape)
    for some in chunks(len(pairs), gradient.shape[1]):
        np.add.at(sums, i[some], total[some, None] * (taken(i[some]) - taken(j[some])))
    gradient[...] = gradient + sums
