"""Gradients of weighted kernel sums on the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy

from pairtile import _cuda
from pairtile._backends.cuda.memory import (
    Rows,
    address,
    addresses,
    current_stream,
    device_of,
    float64,
    held_memory,
    in_launches,
    to_input_namespace,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Term = tuple[float, str, tuple[float, ...]]

BESIDE = 16  # bytes for a number of a row: its gradient, and that by its direction


def kernel_gradient(
    x: Any,
    y: Any,
    terms: Sequence[Term],
    x_weights: NDArray[np.float64],
    y_weights: NDArray[np.float64] | None,
    *,
    diagonal: bool,
    grad_x: bool = True,
    grad_y: bool = True,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> tuple[Any, ...]:
    """Row and column sums of k(x_i, y_j), weighted, and the gradients of the weighted sum.

    y None: over i != j of x, the gradient halved (i = j counts in it with `diagonal`, which only
    kernels of the dot product notice), and nothing for y. Everything in float64. What is not
    wanted comes along with the sums.
    """
    del precision, workers, grad_x, grad_y
    with device_of(x, y):
        rows, v = Rows(x), float64(x_weights)
        if y is None:
            of_x = _one_side(rows, rows, terms, (v, v), diagonal, progress, 0, rows.n)
            of_y = cupy.empty(0), cupy.empty((0, rows.d))
        else:
            others, w = Rows(y), float64(y_weights)
            both = rows.n + others.n
            of_x = _one_side(rows, others, terms, (v, w), diagonal, progress, 0, both)
            of_y = _one_side(others, rows, terms, (w, v), diagonal, progress, rows.n, both)
        return to_input_namespace(x, of_x[0], of_y[0], of_x[1], of_y[1])


def _one_side(
    rows: Rows,
    others: Rows,
    terms: Sequence[Term],
    weights: tuple[Any, Any],
    diagonal: bool,
    progress: Report | None,
    before: int,
    total: int,
) -> tuple[Any, Any]:
    """The sums of each row, and the gradient by it."""
    normalised = any(_cuda.reads_normalised_rows(name) for _, name, _ in terms)
    mine = rows.scales() if normalised else None
    theirs = mine if others is rows or not normalised else others.scales()
    sums = cupy.zeros(rows.n, dtype=cupy.float64)
    by_rows = cupy.zeros((rows.n, rows.d), dtype=cupy.float64)
    by_directions = cupy.zeros_like(by_rows) if normalised else None
    batches = _cuda.held_batches(rows.n, others.n, 2 * rows.d * len(terms))
    _held, memory = held_memory(batches, others.n)
    for batch in in_launches(batches, progress, before, total):
        _cuda.kernel_gradient(
            sets=(rows.view, others.view, addresses((mine, theirs))),
            kernels=terms,
            rows=batch,
            itself=others is rows,
            diagonal=diagonal,
            weights=addresses(weights),
            memory=memory,
            sums=address(sums),
            by_rows=address(by_rows),
            by_directions=address(by_directions),
            stream=current_stream(),
        )
    if normalised:
        _cuda.gradient_through_normalization(
            rows.view,
            address(mine),
            address(by_directions),
            address(by_rows),
            current_stream(),
        )
    return sums, by_rows
