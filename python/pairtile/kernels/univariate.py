"""Distances of single columns: sorted values and cumulative sums in place of pairs.

O(N log N) where the sweep over pairs takes O(N²), always in float64. Between two neighbouring
values of the sorted sample, a gap counts once for each pair that it separates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front import validate
from pairtile.kernels.kernel import Energy

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pairtile.kernels.kernel import Kernel

    Floats = NDArray[np.float64]
    Report = Callable[[int, int], object]

_BUFFER = 1 << 17  # float64 numbers in one batch of cumulative sums, which stays in cache


def on_a_line(kernel: Kernel, *arrays: Any) -> bool:
    """Whether the kernel is −|x − y| of single columns in host memory."""
    return (
        kernel == Energy(1.0)
        and all(a.shape[1] == 1 for a in arrays)
        and validate.in_host_memory(*arrays)
    )


def column(x: NDArray[Any]) -> Floats:
    """The values, moved so that a median one is 0: whole numbers stay whole."""
    values = x[:, 0].astype(np.float64)
    middle: Floats = values - np.partition(values, len(values) // 2)[len(values) // 2]
    return middle


def dot(a: Floats, b: Floats) -> float:
    """Sum of products with the same bits on any number of BLAS threads."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sum(a * b))


def row_sums(x: Floats) -> Floats:
    """Sum of the distances of each value to all; x ascends."""
    n = len(x)
    up_to = _cumulative(x)
    below = np.arange(n)
    sums: Floats = x * (2 * below - n + 1) + (up_to[-1] - 2 * up_to + x)
    return sums


def _cumulative(x: Floats) -> Floats:
    """Cumulative sums without their rounding: those of the leading 26 bits are exact."""
    largest = float(np.abs(x).max())
    if not 0 < largest < np.inf:
        plain: Floats = np.cumsum(x)
        return plain
    unit = 2.0 ** (np.frexp(largest)[1] - 26)
    leading = np.rint(x / unit) * unit
    sums: Floats = np.cumsum(leading) + np.cumsum(x - leading)
    return sums


def _pooled(x: NDArray[Any], y: NDArray[Any]) -> Floats:
    # widened before they are joined: two of the dtypes have no common one
    return np.concatenate([s[:, 0].astype(np.float64) for s in (x, y)])


def energy(
    x: NDArray[Any],
    y: NDArray[Any],
    x_weights: Floats | None,
    y_weights: Floats | None,
    x_pairs: float,
    y_pairs: float,
) -> float:
    r"""Energy distance, :math:`2 \int (F - G)^2`, of two columns.

    Weights sum to 1; each mean within a sample is divided by its share of pairs, which is 1 unless
    pairs i = i are left out.
    """
    n, m = len(x), len(y)
    values = _pooled(x, y)
    order = np.argsort(values, kind="stable")
    gaps = np.diff(values[order])
    of_x = np.concatenate([np.ones(n) if x_weights is None else x_weights, np.zeros(m)])
    of_y = np.concatenate([np.zeros(n), np.ones(m) if y_weights is None else y_weights])
    f = np.cumsum(of_x[order])[:-1] / (n if x_weights is None else 1)
    g = np.cumsum(of_y[order])[:-1] / (m if y_weights is None else 1)
    biased = 2 * dot(gaps, (f - g) ** 2)
    within_x, within_y = (2 * dot(gaps, h * (1 - h)) for h in (f, g))
    return biased - within_x * (1 / x_pairs - 1) - within_y * (1 / y_pairs - 1)


def label_sums(
    x: NDArray[Any], y: NDArray[Any], words: NDArray[np.uint64], *, progress: Report | None
) -> tuple[Floats, Floats, Floats]:
    """`kernel_label_sums` for −|x − y| of two columns: a cumulative sum for each labelling."""
    z = _pooled(x, y)
    order = np.argsort(z, kind="stable")
    z = z[order] - z[order[len(z) // 2]]
    gaps = np.diff(z)
    rows = row_sums(z)
    n_labels = words.shape[1]
    within, row = np.empty(n_labels), np.empty(n_labels)
    step = max(1, _BUFFER // len(z))
    memory = np.empty((2, min(step, n_labels), len(z)))
    for start in range(0, n_labels, step):
        stop = min(start + step, n_labels)
        some = np.ascontiguousarray(words[:, start:stop].T, dtype="<u8").view(np.uint8)
        bits = np.unpackbits(some, axis=1, count=len(z), bitorder="little")[:, order]
        below, other = memory[:, : stop - start]
        np.cumsum(bits, axis=1, out=below)
        np.subtract(below[:, -1:], below, out=other)
        other *= below
        other[:, :-1] *= gaps  # between the two values beside a gap
        within[start:stop] = -2 * other[:, :-1].sum(axis=1)
        np.multiply(bits, rows, out=other)
        row[start:stop] = -other.sum(axis=1)
        if progress is not None:
            progress(stop, n_labels)
    return within, row, -rows.sum(keepdims=True)
