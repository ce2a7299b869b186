"""Kernel sums of host arrays of any size: blocks of rows meet on the device, results are added.

The functions of `kernels`, which hold both sets there, for what the device has no room for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.blocks.reading import within
from pairtile._backends.cuda import dependence, gradient, kernels, moments, stein
from pairtile._backends.cuda.memory import device_of
from pairtile._backends.cuda.streaming import fitting, meetings, rows_of, too_large
from pairtile._backends.rows import spans

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    Term = tuple[float, str, tuple[float, ...]]

_WORD = 64  # rows whose labels lie together


def kernel_total(
    x: Any,
    y: Any,
    terms: Sequence[Term],
    x_weights: Floats | None,
    y_weights: Floats | None,
    *,
    progress: Report | None = None,
    **options: Any,
) -> float:
    """Sum over ordered pairs of w_i w_j k(x_i, y_j); y None: over i != j of x."""
    if not too_large(x, y):
        return kernels.kernel_total(x, y, terms, x_weights, y_weights, progress=progress, **options)
    total = 0.0
    of_others = x_weights if y is None else y_weights
    for rows, cols, mine, theirs, report in _met(x, y, progress, ordered=False):
        found = kernels.kernel_total(
            mine, theirs, terms, _of(x_weights, rows),
            None if theirs is None else _of(of_others, cols), progress=report, **options,
        )  # fmt: skip
        # of one set, pairs of two blocks count both ways
        total += 2.0 * found if y is None and theirs is not None else found
    return total


def kernel_row_sums(
    z: Any,
    y: Any,
    terms: Sequence[Term],
    y_weights: Floats | None,
    *,
    progress: Report | None = None,
    **options: Any,
) -> Any:
    """Sum over j of w_j k(z_i, y_j), for each i."""
    if not too_large(z, y):
        return kernels.kernel_row_sums(z, y, terms, y_weights, progress=progress, **options)
    sums = np.zeros(len(z))
    for rows, cols, mine, theirs, report in _met(z, y, progress):
        sums[rows] += kernels.kernel_row_sums(
            mine, theirs, terms, _of(y_weights, cols), progress=report, **options
        ).get()
    return sums


def kernel_matvec(
    x: Any,
    y: Any,
    v: Any,
    terms: Sequence[Term],
    *,
    progress: Report | None = None,
    **options: Any,
) -> Any:
    """Sum over j of k(x_i, y_j) v_jc, for each i and each column c."""
    if not too_large(x, y, v):
        return kernels.kernel_matvec(x, y, v, terms, progress=progress, **options)
    out = np.zeros((len(x), v.shape[1]))
    for rows, cols, mine, theirs, report in _met(x, y, progress):
        out[rows] += kernels.kernel_matvec(
            mine, theirs, v[cols], terms, progress=report, **options
        ).get()
    return out


def kernel_gradient(
    x: Any,
    y: Any,
    terms: Sequence[Term],
    x_weights: Floats,
    y_weights: Floats | None,
    *,
    grad_x: bool = True,
    grad_y: bool = True,
    progress: Report | None = None,
    **options: Any,
) -> tuple[Any, ...]:
    """Row and column sums of k(x_i, y_j), weighted, and the gradients of the weighted sum.

    Of sets that the device does not hold they are in host memory; None where not wanted.
    """
    if not too_large(x, y):
        return gradient.kernel_gradient(
            x, y, terms, x_weights, y_weights, progress=progress, **options
        )
    of_x, by_x = np.zeros(len(x)), np.zeros(x.shape) if grad_x else None
    of_y, by_y = of_x, by_x
    if y is not None:
        of_y, by_y = np.zeros(len(y)), np.zeros(y.shape) if grad_y else None
    weights = x_weights if y_weights is None else y_weights
    for rows, cols, mine, theirs, report in _met(
        x, y, progress, ordered=False, beside=gradient.BESIDE
    ):
        found = gradient.kernel_gradient(
            mine, theirs, terms, x_weights[rows], None if theirs is None else weights[cols],
            progress=report, **options,
        )  # fmt: skip
        parts = [(of_x, rows, found[0]), (by_x, rows, found[2])]
        if theirs is not None:
            parts += [(of_y, cols, found[1]), (by_y, cols, found[3])]
        for total, part, some in parts:
            if total is not None:
                total[part] += some.get()
    return of_x, None if y is None else of_y, by_x, None if y is None else by_y


def kernel_logsumexp(
    x: Any,
    y: Any,
    terms: Sequence[Term],
    log_weights: Floats | None,
    rates: Floats | None,
    *,
    progress: Report | None = None,
    **options: Any,
) -> Any:
    """Log of the sum over j of e^w_j times the sum over terms of a_t k_t(x_i, y_j)^r_j."""
    if not too_large(x, y):
        return kernels.kernel_logsumexp(
            x, y, terms, log_weights, rates, progress=progress, **options
        )
    sums = np.full(len(x), -np.inf)
    for rows, cols, mine, theirs, report in _met(x, y, progress):
        found = kernels.kernel_logsumexp(
            mine, theirs, terms, _of(log_weights, cols), _of(rates, cols), progress=report,
            **options,
        )  # fmt: skip
        sums[rows] = np.logaddexp(sums[rows], found.get())
    return sums


def kernel_moments(
    x: Any,
    y: Any,
    terms: Sequence[Term],
    *,
    progress: Report | None = None,
    **options: Any,
) -> tuple[Floats, Floats, float]:
    """Sums of k(x_i, y_j) by row and by column, and the sum of squares; y None: i != j of x."""
    if not too_large(x, y):
        return moments.kernel_moments(x, y, terms, progress=progress, **options)
    by_row = np.zeros(len(x))
    by_column = by_row if y is None else np.zeros(len(y))
    squares = 0.0
    for rows, cols, mine, theirs, report in _met(x, y, progress, ordered=False):
        of_rows, of_cols, found = moments.kernel_moments(
            mine, theirs, terms, progress=report, **options
        )
        by_row[rows] += of_rows
        squares += found
        if theirs is not None:
            by_column[cols] += of_cols
            squares += found if y is None else 0.0
    return by_row, by_column, squares


def kernel_subset_sums(
    x: Any,
    y: Any,
    x_rows: NDArray[np.int64],
    y_rows: NDArray[np.int64],
    terms: Sequence[Term],
    *,
    progress: Report | None = None,
    **options: Any,
) -> Floats:
    """Sums over each subset of rows: k(x, x') and k(y, y') off the diagonal, and k(x, y).

    Of sets that the device does not hold, the rows of as many subsets as have room go there.
    """
    if not too_large(x, y):
        return moments.kernel_subset_sums(x, y, x_rows, y_rows, terms, progress=progress, **options)
    subsets, size = x_rows.shape
    row = sum(a.shape[1] * a.dtype.itemsize for a in (x, y))
    found = []
    for some in spans(subsets, fitting(size * row)):
        count = some.stop - some.start
        numbers = np.arange(count * size).reshape(count, size)
        mine, theirs = x[x_rows[some].ravel()], y[y_rows[some].ravel()]
        report = within(progress, some.start, count, subsets)
        found.append(
            moments.kernel_subset_sums(
                mine, theirs, numbers, numbers, terms, progress=report, **options
            )
        )
    return np.concatenate(found)


class _Orders:
    """Several orders of some rows, the numbers that a row has in all of them side by side."""

    def __init__(self, y: NDArray[Any], n: int) -> None:
        self._y, self.dtype = y.reshape(-1, n, y.shape[1]), y.dtype
        self.shape = n, len(self._y) * y.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        some = self._y[:, rows].transpose(1, 0, 2)
        return some.reshape(len(some), -1)

    def apart(self, block: Any) -> Any:
        """A block of rows as it is on the device, one order after the other."""
        d = self._y.shape[2]
        return block.reshape(len(block), -1, d).transpose(1, 0, 2).reshape(-1, d)


def joint_kernel_sums(
    x: Any,
    y: Any,
    x_terms: Sequence[Term],
    y_terms: Sequence[Term],
    *,
    progress: Report | None = None,
    **options: Any,
) -> tuple[Floats, Floats, Floats, float, float]:
    """Sums over i != j of K_ij L_ij for each order of y, of K and of L by rows, of K² and of L²."""
    if not too_large(x, y):
        return dependence.joint_kernel_sums(x, y, x_terms, y_terms, progress=progress, **options)
    n = len(x)
    orders = _Orders(y, n)
    products, of_x, of_y, squares = np.zeros(len(y) // n), np.zeros(n), np.zeros(n), np.zeros(2)
    for rows, _, mine, theirs, report in _met((x, orders), None, progress):
        others = None, None
        if theirs is not None:
            others = theirs[0], orders.apart(theirs[1])
        found = dependence.joint_kernel_sums(
            mine[0], orders.apart(mine[1]), x_terms, y_terms, others=others, progress=report,
            **options,
        )  # fmt: skip
        products += found[0]
        of_x[rows] += found[1]
        of_y[rows] += found[2]
        squares += found[3:]
    return products, of_x, of_y, float(squares[0]), float(squares[1])


def stein_label_sums(
    x: Any,
    scores: Any,
    labels: NDArray[np.uint64],
    terms: Sequence[Term],
    *,
    progress: Report | None = None,
    **options: Any,
) -> tuple[Floats, Floats, float]:
    """For the Stein kernel K of rows and their scores: V_b'KV_b, V_b'K1; and 1'K1."""
    if not too_large(x, scores):
        return stein.stein_label_sums(x, scores, labels, terms, progress=progress, **options)
    within_labels, of_labels, total = np.zeros(labels.shape[1]), np.zeros(labels.shape[1]), 0.0

    def words(rows: slice) -> NDArray[np.uint64]:
        return labels[rows.start // _WORD : -(-rows.stop // _WORD)]

    for rows, cols, mine, theirs, report in _met((x, scores), None, progress, together=_WORD):
        others = None if theirs is None else (*theirs, words(cols))
        found = stein.stein_label_sums(
            mine[0], mine[1], words(rows), terms, others=others, progress=report, **options
        )
        within_labels += found[0]
        of_labels += found[1]
        total += found[2]
    return within_labels, of_labels, total


def _of(numbers: Floats | None, rows: slice) -> Floats | None:
    return None if numbers is None else numbers[rows]


def _met(
    x: Any, y: Any, progress: Report | None, *, ordered: bool = True, **cut: int
) -> Iterator[tuple[slice, slice, Any, Any, Report | None]]:
    """Blocks that meet, their rows, and where each reports; progress in pairs."""
    with device_of(x, y):
        n, m = rows_of(x), rows_of(x if y is None else y)
        whole = n * m if y is not None or ordered else n * (n + 1) // 2
        done = 0
        for rows, cols, mine, theirs in meetings(x, y, ordered=ordered, **cut):
            pairs = (rows.stop - rows.start) * (cols.stop - cols.start)
            yield rows, cols, mine, theirs, within(progress, done, pairs, whole)
            done += pairs
            if progress is not None:
                progress(done, whole)
