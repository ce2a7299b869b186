"""Second moments of a kernel, and its sums within subsets of rows, on the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda.kernels import _Similarity, _wide, blocks_of_rows, in_one_sweep
from pairtile._backends.cuda.memory import (
    Rows,
    address,
    addresses,
    current_stream,
    device_of,
    in_launches,
    upload,
    workspace,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    Term = tuple[float, str, tuple[float, ...]]


def kernel_moments(
    x: Any,
    y: Any,
    terms: Sequence[Term],
    *,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, float]:
    """Sums of k(x_i, y_j) by row and by column, and the sum of squares; y None: i != j of x.

    Two sweeps, one for each side: a kernel value is the same from both. A sum of kernels that no
    sweep sees whole is written out block by block.
    """
    del workers
    itself = y is None
    with device_of(x, y):
        rows = Rows(x)
        others = rows if itself else Rows(y)
        similarity = _Similarity(terms, rows, others)
        if not in_one_sweep(terms):
            return _moments_of_blocks(rows, others, similarity, progress)
        wide = _wide(precision, (rows, others), terms)
        sides = [(rows, others)] if itself else [(rows, others), (others, rows)]
        before, total = 0, sum(one.n for one, _ in sides)
        by_side = []
        for one, other in sides:
            sums, squares = (cupy.empty(one.n, dtype=cupy.float64) for _ in range(2))
            batches = _cuda.batches("moments", one.n, other.n, one.d)
            states = workspace("moments", batches, other.n)
            for batch in in_launches(batches, progress, before, total):
                _cuda.kernel_moments(
                    **similarity.arguments_of_whole(one, other),
                    rows=batch,
                    wide=wide,
                    exclude_self=itself,
                    workspace=address(states),
                    sums=address(sums),
                    squares=address(squares),
                    stream=current_stream(),
                )
            by_side.append((sums, squares))
            before += one.n
        of_all = cupy.empty(1, dtype=cupy.float64)
        _cuda.weighted_total(address(by_side[0][1]), rows.n, 0, address(of_all), current_stream())
        return by_side[0][0].get(), by_side[-1][0].get(), float(of_all.get()[0])


def _moments_of_blocks(
    rows: Rows, others: Rows, similarity: _Similarity, progress: Report | None
) -> tuple[Floats, Floats, float]:
    """The same from kernel values in memory, in float64, for sums of any kernels."""
    by_row, by_column = (cupy.zeros(one.n, dtype=cupy.float64) for one in (rows, others))
    squares = cupy.zeros((), dtype=cupy.float64)
    for batch in in_launches(blocks_of_rows(rows.n), progress):
        for some in blocks_of_rows(others.n):
            values = similarity.held(rows, batch, others, some)
            by_row[slice(*batch)] += values.sum(axis=0)
            by_column[slice(*some)] += values.sum(axis=1)
            squares += (values * values).sum()
    return by_row.get(), by_column.get(), float(squares)


def _checked(rows: NDArray[np.int64], n: int) -> Any:
    """Numbers of rows on the device; none of them reads beyond the n there are."""
    if rows.size and not 0 <= rows.min() <= rows.max() < n:
        raise IndexError(f"subsets of {n} rows have rows {rows.min()} to {rows.max()}")
    return upload(rows)


def kernel_subset_sums(
    x: Any,
    y: Any,
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

    `paired` leaves the diagonal out of the last one as well. The subsets lie one after another in
    two lists of rows, and of the tiles of these those are computed that a subset has pairs in.
    """
    del workers
    subsets, size = x_rows.shape
    n = subsets * size
    with device_of(x, y):
        rows, others = Rows(x), Rows(y)
        wide = _wide(precision, (rows, others), terms)
        similarity = _Similarity(terms, rows, others)
        lists = {rows: _checked(x_rows, rows.n), others: _checked(y_rows, others.n)}
        parts = [
            (rows, rows, "after", 2.0),
            (others, others, "after", 2.0),
            (rows, others, "others" if paired else "all", 1.0),
        ]
        by_subset = cupy.zeros((subsets, len(parts)), dtype=cupy.float64)
        sums = cupy.empty(n, dtype=cupy.float64)
        batches = _cuda.batches("blocks", n, min(n, size + 64), rows.d)
        states = workspace("blocks", batches, size)
        sweeps = [
            (column, arguments, (one, other), pairs, factor)
            for column, (one, other, pairs, factor) in enumerate(parts)
            for arguments in similarity.arguments_of_sums(one, other)
        ]
        for done, (column, arguments, (one, other), pairs, factor) in enumerate(sweeps):
            for batch in in_launches(batches, progress, done * n, len(sweeps) * n):
                _cuda.kernel_block_sums(
                    **arguments,
                    orders=addresses((lists[one], lists[other])),
                    size=size,
                    blocks=subsets,
                    rows=batch,
                    wide=wide,
                    pairs=pairs,
                    workspace=address(states),
                    sums=address(sums),
                    stream=current_stream(),
                )
            totals = address(by_subset) + by_subset.itemsize * column
            _cuda.block_totals(
                address(sums), subsets, size, factor, totals, len(parts), current_stream()
            )
        found: Floats = by_subset.get()
        return found
