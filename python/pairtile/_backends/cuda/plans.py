"""Transport plans in space that lines give, on the GPU: couplings by rows, priced and merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda.memory import (
    address,
    current_stream,
    device_of,
    stable_order,
    to_input_namespace,
)
from pairtile._backends.cuda.slices import Lines, quanta_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    Weights = tuple[Floats | None, Floats | None]
    Pieces = tuple[Any, Any]  # pairs of rows as one number, ascending; their mass

_PIECE_BYTES = 24  # rows, mass and squared distance


class _Couplings:
    """The couplings along all directions, a batch at a time."""

    def __init__(self, x: Any, y: Any, directions: Any, p: float, weights: Weights) -> None:
        weighted = any(w is not None for w in weights)
        self._lines = Lines(x, y, directions, weighted=weighted, ranked=True, beside=_PIECE_BYTES)
        lines = self._lines
        n, self._m = (rows.n for rows in lines.sets)
        self._p, self._quanta = p, quanta_of(lines.sets, weights)
        self.places = n if n == self._m and not weighted else n + self._m
        step = max(stop - first for first, stop in lines.batches)
        size = step * self.places
        self._rows, self._columns = (cupy.empty(size, dtype=cupy.uint32) for _ in range(2))
        self._mass, self._squares = (cupy.empty(size, dtype=cupy.float64) for _ in range(2))
        self._pieces = (
            self.places,
            *map(address, (self._rows, self._columns, self._mass, self._squares)),
        )
        self._tops = cupy.empty(lines.slices, dtype=cupy.float64)

    def batches(self, progress: Report | None) -> Iterator[int]:
        """How many couplings are listed and priced each time."""
        lines = self._lines
        for (first, stop), (of_x, of_y) in lines.sorted(self._quanta, progress):
            _cuda.list_pieces(
                x=of_x, y=of_y, count=stop - first, out=self._pieces, stream=current_stream()
            )
            _cuda.pay_pieces(
                x=lines.sets[0].view,
                y=lines.sets[1].view,
                pieces=self._pieces,
                count=stop - first,
                p=self._p,
                partial=address(lines.partial),
                tops=address(self._tops) + self._tops.itemsize * first,
                costs=lines.costs_from(first),
                stream=current_stream(),
            )
            yield stop - first

    def distances(self) -> Floats:
        """Of the plan of each direction."""
        with np.errstate(under="ignore"):
            costs = self._lines.costs.get() ** (1 / self._p)
        distances: Floats = costs * np.sqrt(self._tops.get())
        return distances

    def add_to(self, sum_: Pieces, count: int) -> Pieces:
        """The sum with the first couplings that are listed."""
        pairs, mass = sum_
        listed = self._mass[: count * self.places]
        some = cupy.nonzero(listed)[0]
        rows, columns = (a[some].astype(cupy.int64) for a in (self._rows, self._columns))
        pairs = cupy.concatenate([pairs, rows * self._m + columns])
        order = stable_order(pairs)
        pairs, mass = pairs[order], cupy.concatenate([mass, listed[some]])[order]
        first = cupy.concatenate([cupy.ones(1, dtype=cupy.bool_), pairs[1:] != pairs[:-1]])
        starts = cupy.nonzero(first)[0]
        totals = cupy.empty(len(starts), dtype=cupy.float64)
        ends = cupy.concatenate([starts, cupy.full(1, len(pairs), dtype=cupy.int64)])
        _cuda.total_runs(
            starts=address(ends),
            runs=len(starts),
            mass=address(mass),
            totals=address(totals),
            stream=current_stream(),
        )
        return pairs[starts], totals

    def rows_and_columns(self, pairs: Any) -> tuple[Any, Any]:
        """Of the pairs as numbers."""
        return pairs // self._m, pairs % self._m


def sliced_plan_distances(
    x: Any,
    y: Any,
    directions: NDArray[Any],
    p: float,
    x_weights: Floats | None,
    y_weights: Floats | None,
    *,
    workers: int,
    progress: Report | None = None,
) -> Floats:
    """(Σ mass ‖x_i − y_j‖^p)^{1/p} over the monotone coupling along each direction."""
    del workers
    with device_of(x, y):
        couplings = _Couplings(x, y, directions, p, (x_weights, y_weights))
        for _ in couplings.batches(progress):
            pass
        return couplings.distances()


def sliced_plan(
    x: Any,
    y: Any,
    directions: NDArray[Any],
    p: float,
    x_weights: Floats | None,
    y_weights: Floats | None,
    *,
    workers: int,
    progress: Report | None = None,
) -> tuple[Any, Any, Any, Floats]:
    """The mean of the couplings along all directions, by row and column; their distances."""
    del workers
    with device_of(x, y):
        couplings = _Couplings(x, y, directions, p, (x_weights, y_weights))
        pairs, mass = cupy.empty(0, dtype=cupy.int64), cupy.empty(0, dtype=cupy.float64)
        for count in couplings.batches(progress):
            pairs, mass = couplings.add_to((pairs, mass), count)
        plan = *couplings.rows_and_columns(pairs), mass / directions.shape[1]
        rows, columns, share = to_input_namespace(x, *plan)
        return rows, columns, share, couplings.distances()
