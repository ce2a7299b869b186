"""Kernel sums in plain NumPy: totals, rows, moments, products, logarithms, permutation tests.

Uses the block cores of `neighbors`; every kernel is one line in `_FORMULA`, a function of the
squared distance, the l1 distance or the dot product of a block of pairs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.neighbors import dot, manhattan, normalised, spans, sq_distance, widen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Report = Callable[[int, int], object]
    Term = tuple[float, str, tuple[float, ...]]


def _matern32(s: Floats, r: float) -> Floats:
    z = r * np.sqrt(s)
    return (1 + z) * np.exp(-z)


def _matern52(s: Floats, r: float) -> Floats:
    z = r * np.sqrt(s)
    return (1 + z + z * z / 3) * np.exp(-z)


def _cosine(a: Floats, b: Floats) -> Floats:
    return dot(normalised(a), normalised(b))


_FORMULA: dict[str, tuple[Callable[[Floats, Floats], Floats], Callable[..., Floats]]] = {
    "gaussian": (sq_distance, lambda s, gamma: np.exp(-gamma * s)),
    "laplace": (sq_distance, lambda s, gamma: np.exp(-gamma * np.sqrt(s))),
    "laplace_l1": (manhattan, lambda a, gamma: np.exp(-gamma * a)),
    "rational_quadratic": (sq_distance, lambda s, scale, alpha: (1 + s * scale) ** -alpha),
    "matern32": (sq_distance, _matern32),
    "matern52": (sq_distance, _matern52),
    "polynomial": (dot, lambda t, degree, gamma, coef0: (gamma * t + coef0) ** int(degree)),
    "linear": (dot, lambda t: t),
    "cosine": (_cosine, lambda t: t),
    "energy": (sq_distance, lambda s, exponent: -(np.sqrt(s) ** exponent)),
}


def _log_matern32(s: Floats, r: float) -> Floats:
    z = r * np.sqrt(s)
    return np.log1p(z) - z


def _log_matern52(s: Floats, r: float) -> Floats:
    z = r * np.sqrt(s)
    return np.log1p(z + z * z / 3) - z


# Logarithms of the kernels that are positive everywhere.
LOG_FORMULA: dict[str, Callable[..., Floats]] = {
    "gaussian": lambda s, gamma: -gamma * s,
    "laplace": lambda s, gamma: -gamma * np.sqrt(s),
    "laplace_l1": lambda a, gamma: -gamma * a,
    "rational_quadratic": lambda s, scale, alpha: -alpha * np.log1p(s * scale),
    "matern32": _log_matern32,
    "matern52": _log_matern52,
}


def evaluate(a: Floats, b: Floats, terms: Sequence[Term]) -> Floats:
    """Weighted sum of kernels for every pair of rows of two blocks."""
    cores: dict[Callable[[Floats, Floats], Floats], Floats] = {}
    total = np.zeros((len(a), len(b)))
    with np.errstate(over="ignore", invalid="ignore"):
        for weight, name, params in terms:
            core, formula = _FORMULA[name]
            if core not in cores:
                cores[core] = core(a, b)
            total += weight * formula(cores[core], *params)
    return total


def kernel_matrix(
    x: NDArray[Any], y: NDArray[Any], terms: Sequence[Term], *, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The whole n x m matrix, for small sets; no part of the seam."""
    out = np.empty((len(x), len(y)), dtype=dtype)
    for rows in spans(len(x)):
        a = widen(x, rows)
        for cols in spans(len(y)):
            with np.errstate(over="ignore"):
                out[rows, cols] = evaluate(a, widen(y, cols), terms)
    return out


def evaluate_diagonal(a: Floats, terms: Sequence[Term]) -> Floats:
    """The kernel of each row with itself; no part of the seam."""
    nothing = np.zeros(len(a))
    total = np.zeros(len(a))
    with np.errstate(over="ignore", invalid="ignore"):
        cores: dict[Callable[[Floats, Floats], Floats], Floats] = {
            sq_distance: nothing,
            manhattan: nothing,
            dot: np.einsum("ij,ij->i", a, a),
            _cosine: np.where(a.any(axis=1), 1.0, 0.0),
        }
        for weight, name, params in terms:
            core, formula = _FORMULA[name]
            total += weight * formula(cores[core], *params)
    return total


def evaluate_pairs(a: Floats, b: Floats, terms: Sequence[Term]) -> Floats:
    """The kernel of row i of a with row i of b, for every i; no part of the seam."""
    total = np.zeros(len(a))
    with np.errstate(over="ignore", invalid="ignore"):
        difference = a - b
        cores: dict[Callable[[Floats, Floats], Floats], Floats] = {
            sq_distance: np.einsum("ij,ij->i", difference, difference),
            manhattan: np.abs(difference).sum(axis=1),
            dot: np.einsum("ij,ij->i", a, b),
            _cosine: np.einsum("ij,ij->i", normalised(a), normalised(b)),
        }
        for weight, name, params in terms:
            core, formula = _FORMULA[name]
            total += weight * formula(cores[core], *params)
    return total


def one_argument(terms: Sequence[Term]) -> bool:
    """Whether all terms read one number of a pair, so that one sweep sees the whole kernel."""
    return len({_FORMULA[name][0] for _, name, _ in terms}) == 1


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
                k = LOG_FORMULA[name](_FORMULA[name][0](a, b), *params)
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
    quanta: Sequence[float] = (),
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, Floats]:
    """For each kernel matrix K and 0/1 labelling V_b: V_b'KV_b, V_b'K1; for each K: 1'K1.

    K has a zero diagonal and is that of the pooled rows, or with `paired` that of
    h = k(x_i, x_j) + k(y_i, y_j) − k(x_i, y_j) − k(y_i, x_j). With `quanta` (one per kernel, 0
    for none) its entries are the multiples of the quantum next to these. `labelled` reads V.
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

    def matrix(i: int, j: int, terms: Sequence[Term], quantum: float) -> Floats:
        (left, rows), (right, cols) = blocks[i], blocks[j]
        k = evaluate(widen(left, rows), widen(right, cols), terms)
        if paired:
            k += evaluate(widen(y, rows), widen(y, cols), terms)
            k -= evaluate(widen(x, rows), widen(y, cols), terms)
            k -= evaluate(widen(y, rows), widen(x, cols), terms)
        if quantum > 0:
            k = quantum * np.rint(k / quantum)
        if i == j:
            np.fill_diagonal(k, 0.0)
        return k

    for i in range(len(blocks)):
        v = bits(i)
        for q, (terms, quantum) in enumerate(
            zip(kernels, quanta or [0.0] * len(kernels), strict=True)
        ):
            sums = np.zeros(len(v))
            for j in range(len(blocks)):
                k = matrix(i, j, terms, quantum)
                within[q] += np.einsum("ib,ib->b", v, k @ bits(j))
                sums += k.sum(axis=1)
            row[q] += sums @ v
            total[q] += sums.sum()
        if progress is not None:
            progress(i + 1, len(blocks))
    return within, row, total
