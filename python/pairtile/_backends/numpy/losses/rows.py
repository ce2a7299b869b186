"""What the twins share: rows in float64, a few at a time, and gradients back in their dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._definitions.normalisation import through_normalisation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Array = NDArray[np.generic]
    Float64 = NDArray[np.float64]

_BUFFER = 1 << 20  # float64 numbers in one chunk of scores (8 MB)


def rows_of(a: Array, normalize: bool) -> Float64:
    """Rows in float64, divided by their lengths where asked; a zero row stays zero."""
    rows = a.astype(np.float64, order="C")  # products round by layout
    if normalize:
        largest = np.abs(rows).max(axis=1, keepdims=True)
        rows /= np.where(largest == 0, 1, largest)
        length = np.sqrt(np.sum(rows**2, axis=1, keepdims=True))
        rows /= np.where(length == 0, 1, length)
    return rows


def chunks(n: int, row_length: int) -> Iterator[slice]:
    step = max(1, _BUFFER // row_length)
    return (slice(a, min(a + step, n)) for a in range(0, n, step))


def gradients(sets: list[Array], by_unit: list[Float64], normalize: bool) -> list[Any]:
    """Gradients by the rows as they are, in the working dtype of all sets."""
    # Any byte order may arrive, so float64 is told by its size.
    wide = any(a.dtype.itemsize == 8 for a in sets)
    dtype = np.float64 if wide else np.float32
    if normalize:
        by_unit = [
            through_normalisation(rows_of(a, False), g) for a, g in zip(sets, by_unit, strict=True)
        ]
    return [g.astype(dtype) for g in by_unit]


def wanted(
    sets: list[Array], by_unit: list[Float64], which: list[bool], normalize: bool
) -> list[Any]:
    """The same of two sets, None for one whose gradient is not wanted."""
    found = gradients(sets, by_unit, normalize)
    return [g if some else None for g, some in zip(found, which, strict=True)]


def log_sum_exp(scores: Float64, among: Any = True) -> Float64:
    """Of each row, over the scores among which; −∞ of none."""
    top = level(scores, among)
    log_sum: Float64 = top + np.log(np.sum(exp_of(scores, top, among), axis=1))
    return log_sum


def level(scores: Float64, among: Any) -> Float64:
    """The largest score of each row, 0 where there is none: what exponents are taken from."""
    top = scores.max(axis=1, initial=-np.inf, where=among)
    return np.where(top == -np.inf, 0.0, top)


def exp_of(scores: Float64, top: Float64, among: Any) -> Float64:
    return np.where(among, np.exp(scores - top[:, None]), 0.0)
