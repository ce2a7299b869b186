"""Sums of a Stein kernel on the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda.memory import (
    Rows,
    address,
    current_stream,
    device_of,
    held_memory,
    in_launches,
    upload,
)
from pairtile._backends.cuda.relabelled_sums import _rows_of_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    Term = tuple[float, str, tuple[float, ...]]

_STRIPS = 64  # of columns, whose products with the rows of a batch are kept at once


def _labelled(
    x: Any, scores: Any, labels: NDArray[np.uint64]
) -> tuple[Rows, Rows, Any, tuple[int, bool, int, int]]:
    """Rows, their scores, their labels as bits, and how `_cuda` is given these."""
    rows = Rows(x)
    bits = upload(_rows_of_bits(labels, rows.n))
    return rows, Rows(scores), bits, (address(bits), True, bits.shape[1], labels.shape[1])


def stein_label_sums(
    x: Any,
    scores: Any,
    labels: NDArray[np.uint64],
    terms: Sequence[Term],
    *,
    others: tuple[Any, Any, NDArray[np.uint64]] | None = None,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, float]:
    """`kernel_label_sums` of one sample, for the Stein kernel of rows and their scores.

    With a column of ones behind the labels, the columns of the product sum up to what a label
    takes of all rows, and to all. Everything in float64. With `others`, which share no row with
    these, the pairs of one of these rows and one of those, whose labels are multiplied.
    """
    del workers
    n_labels = labels.shape[1]
    columns, width = n_labels + 1, _cuda.contraction_width
    with device_of(x, scores):
        rows, beside, _bits, table = mine = _labelled(x, scores, labels)
        theirs, beside_theirs, _more, their_table = mine if others is None else _labelled(*others)
        within, every = (cupy.zeros(columns, dtype=cupy.float64) for _ in range(2))
        batches = _cuda.held_batches(rows.n, theirs.n, 3 * rows.d * len(terms) + columns)
        _held, memory = held_memory(batches, theirs.n)
        for batch in in_launches(batches, progress):
            for start in range(0, columns, width * _STRIPS):
                stop = min(start + width * _STRIPS, columns)
                strips = [(c, min(c + width, stop)) for c in range(start, stop, width)]
                shape = len(strips), batch[1] - batch[0], width
                products = cupy.zeros(shape, dtype=cupy.float64)
                _cuda.stein_products(
                    sets=(rows.view, theirs.view, (0, 0)),
                    scores=(beside.view, beside_theirs.view),
                    kernels=terms,
                    rows=batch,
                    itself=theirs is rows,
                    table=their_table,
                    columns=(start, stop),
                    memory=memory,
                    products=address(products),
                    stream=current_stream(),
                )
                for product, strip in zip(products, strips, strict=True):
                    _cuda.column_totals(
                        products=address(product),
                        rows=batch,
                        table=table,
                        columns=strip,
                        within=address(within) + within.itemsize * strip[0],
                        all=address(every) + every.itemsize * strip[0],
                        stream=current_stream(),
                    )
        of_labels, of_all = within.get(), every.get()
    return of_labels[:n_labels], of_all[:n_labels], float(of_all[n_labels])
