"""Kernel sums in plain NumPy: totals, rows, moments, products, logarithms, permutation tests.

The kernels themselves are those of `_definitions.kernels`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.neighbors import widen
from pairtile._backends.rows import spans
from pairtile._definitions.kernels import KERNELS, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Report = Callable[[int, int], object]
    Term = tuple[float, str, tuple[float, ...]]


def kernel_total(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    terms: Sequence[Term],
    x_weights: Floats | None,
    y_weights: Floats | None,
    *,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> float:
    """Sum over ordered pairs of w_i w_j k(x_i, y_j); y None: over i != j of x."""
    del precision, workers
    itself = y is None
    y, y_weights = (x, x_weights) if y is None else (y, y_weights)
    sums = []
    for rows in spans(len(x)):
        a = widen(x, rows)
        for cols in spans(len(y)):
            k = evaluate(a, widen(y, cols), terms)
            if itself and rows == cols:
                np.fill_diagonal(k, 0.0)
            if x_weights is not None:
                k *= x_weights[rows, None]
            if y_weights is not None:
                k *= y_weights[None, cols]
            sums.append(float(k.sum()))
        if progress is not None:
            progress(rows.stop, len(x))
    return math.fsum(sums) if np.isfinite(sums).all() else sum(sums)


def kernel_moments(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    terms: Sequence[Term],
    *,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, float]:
    """Sums of k(x_i, y_j) by row and by column, and the sum of squares; y None: i != j of x."""
    del precision, workers
    itself = y is None
    y = x if y is None else y
    by_row, by_col = np.zeros(len(x)), np.zeros(len(y))
    squares = []
    for rows in spans(len(x)):
        a = widen(x, rows)
        for cols in spans(len(y)):
            k = evaluate(a, widen(y, cols), terms)
            if itself and rows == cols:
                np.fill_diagonal(k, 0.0)
            by_row[rows] += k.sum(axis=1)
            by_col[cols] += k.sum(axis=0)
            squares.append(float(np.sum(k * k)))
        if progress is not None:
            progress(rows.stop, len(x))
    return by_row, by_col, math.fsum(squares)


def kernel_subset_sums(
    x: NDArray[Any],
    y: NDArray[Any],
    x_rows: NDArray[np.int64],
    y_rows: NDArray[np.int64],
    terms: Sequence[Term],
    *,
    paired: bool,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> Floats:
    """Sums over each subset of rows: k(x, x') and k(y, y') off the diagonal, and k(x, y).

    `paired` leaves the diagonal out of the last one as well.
    """
    options: dict[str, Any] = {"precision": precision, "workers": workers}
    out = np.empty((len(x_rows), 3))
    for s, (in_x, in_y) in enumerate(zip(x_rows, y_rows, strict=True)):
        a, b = x[in_x], y[in_y]
        out[s, 0] = kernel_total(a, None, terms, None, None, **options)
        out[s, 1] = kernel_total(b, None, terms, None, None, **options)
        out[s, 2] = kernel_total(a, b, terms, None, None, **options)
        if paired:
            for i in range(len(a)):
                pair = slice(i, i + 1)
                out[s, 2] -= float(evaluate(widen(a, pair), widen(b, pair), terms)[0, 0])
        if progress is not None:
            progress(s + 1, len(x_rows))
    return out


def kernel_row_sums(
    z: NDArray[Any],
    y: NDArray[Any],
    terms: Sequence[Term],
    y_weights: Floats | None,
    *,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> Floats:
    """Sum over j of w_j k(z_i, y_j), for each i."""
    del precision, workers
    out = np.zeros(len(z))
    for rows in spans(len(z)):
        a = widen(z, rows)
        for cols in spans(len(y)):
            k = evaluate(a, widen(y, cols), terms)
            if y_weights is not None:
                k *= y_weights[None, cols]
            out[rows] += k.sum(axis=1)
        if progress is not None:
            progress(rows.stop, len(z))
    return out


def kernel_matvec(
    x: NDArray[Any],
    y: NDArray[Any],
    v: Floats,
    terms: Sequence[Term],
    *,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> Floats:
    """The product of the kernel matrix of x and y with the columns of v."""
    del precision, workers
    out = np.zeros((len(x), v.shape[1]))
    for rows in spans(len(x)):
        a = widen(x, rows)
        for cols in spans(len(y)):
            out[rows] += evaluate(a, widen(y, cols), terms) @ v[cols]
        if progress is not None:
            progress(rows.stop, len(x))
    return out


def kernel_logsumexp(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    terms: Sequence[Term],
    log_weights: Floats | None,
    rates: Floats | None,
    *,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> Floats:
    """Log of the sum over j of e^w_j times the sum over terms of a_t k_t(x_i, y_j)^r_j.

    y None: over j != i of x. Weights and rates None: 0 and 1.
    """
    del precision, workers
    itself = y is None
    y = x if y is None else y
    out = np.full(len(x), -np.inf)
    for rows in spans(len(x)):
        a = widen(x, rows)
        for cols in spans(len(y)):
            b = widen(y, cols)
            for weight, name, params in terms:
                kernel = KERNELS[name]
                assert kernel.log is not None  # checked by who calls
                k = kernel.log(kernel.argument(a, b), *params)
                if rates is not None:
                    k *= rates[None, cols]
                k += math.log(weight)
                if log_weights is not None:
                    k += log_weights[None, cols]
                if itself and rows == cols:
                    np.fill_diagonal(k, -np.inf)
                out[rows] = np.logaddexp(out[rows], np.logaddexp.reduce(k, axis=1))
        if progress is not None:
            progress(rows.stop, len(x))
    return out


def labelled(labels: NDArray[np.uint64], start: int, stop: int) -> Floats:
    """Labels of rows [start, stop) as 0 and 1: bit i % 64 of labels[i // 64, b] is V_ib."""
    rows = np.arange(start, stop)
    shifted: NDArray[np.uint64] = labels[rows // 64] >> (rows % 64).astype(np.uint64)[:, None]
    return (shifted & np.uint64(1)).astype(np.float64)


def kernel_label_sums(
    x: NDArray[Any],
    y: NDArray[Any],
    labels: NDArray[np.uint64],
    kernels: Sequence[Sequence[Term]],
    *,
    paired: bool,
    rounding_steps: Sequence[float] = (),
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, Floats]:
    """For each kernel matrix K and 0/1 labelling V_b: V_b'KV_b, V_b'K1; for each K: 1'K1.

    K has a zero diagonal and is that of the pooled rows, or with `paired` that of
    h = k(x_i, x_j) + k(y_i, y_j) − k(x_i, y_j) − k(y_i, x_j). With `rounding_steps` (one per
    kernel, 0 for none) its entries are the multiples of the step next to these. `labelled` reads V.
    """
    del workers
    samples = [x] if paired else [x, y]
    blocks = [(s, rows) for s in samples for rows in spans(len(s))]
    starts = np.cumsum([0] + [rows.stop - rows.start for _, rows in blocks])
    n_labels = labels.shape[1]
    within, row = np.zeros((2, len(kernels), n_labels))
    total = np.zeros(len(kernels))

    def bits(i: int) -> Floats:
        return labelled(labels, starts[i], starts[i + 1])

    def matrix(i: int, j: int, terms: Sequence[Term], rounding_step: float) -> Floats:
        (left, rows), (right, cols) = blocks[i], blocks[j]
        k = evaluate(widen(left, rows), widen(right, cols), terms)
        if paired:
            k += evaluate(widen(y, rows), widen(y, cols), terms)
            k -= evaluate(widen(x, rows), widen(y, cols), terms)
            k -= evaluate(widen(y, rows), widen(x, cols), terms)
        if rounding_step > 0:
            k = rounding_step * np.rint(k / rounding_step)
        if i == j:
            np.fill_diagonal(k, 0.0)
        return k

    for i in range(len(blocks)):
        v = bits(i)
        for q, (terms, rounding_step) in enumerate(
            zip(kernels, rounding_steps or [0.0] * len(kernels), strict=True)
        ):
            sums = np.zeros(len(v))
            for j in range(len(blocks)):
                k = matrix(i, j, terms, rounding_step)
                within[q] += np.einsum("ib,ib->b", v, k @ bits(j))
                sums += k.sum(axis=1)
            row[q] += sums @ v
            total[q] += sums.sum()
        if progress is not None:
            progress(i + 1, len(blocks))
    return within, row, total
