"""Sliced costs of samples that are not in memory: projected block by block, sorted line by line.

    rows -> frame -> a line of projections for each direction of a batch -> backend -> costs
    rows -> a line for each column of a batch -> backend -> costs, statistics of columns

A pass over the rows projects as many directions as the memory holds lines of. Those lines then go
to the backend as columns of samples in memory do, so that costs have one definition. Their bits are
those of the same rows in memory: the centre is that of rows at fixed places, which are read first,
and a scale is a power of two, which may follow the largest number seen so far.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._backends.blocks.reading import BESIDE, load, within
from pairtile._backends.refusals import require_memory
from pairtile._backends.rows import Rows, spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    Set = NDArray[Any] | Rows

__all__ = ["column_statistics", "sliced_costs", "sliced_energy_costs"]

MEMORY_LIMIT = 1 << 30
BLOCK = 1 << 24  # bytes of rows read at a time, if there is room


class _Batch(NamedTuple):
    """Some directions, and both samples along them."""

    which: slice
    x: NDArray[Any]  # (directions, n)
    y: NDArray[Any]
    units: Floats  # what a difference of 1 on each line is
    report: Report | None


class _Plan(NamedTuple):
    """How the memory is shared out."""

    directions: int  # of a batch
    block: int  # bytes of rows
    engine: int  # bytes


def _plan(
    sets: tuple[Set, Set], count: int, dtype: np.dtype[Any], weighted: bool, memory_limit: int,
    workers: int,
) -> _Plan:  # fmt: skip
    """The most directions within the limit, in batches of about one size.

    Beside their lines stand a block of rows and what sorts a line, if there is room on each thread.
    """
    n, m = map(len, sets)
    line = (n + m) * dtype.itemsize
    sort = choose.module().least_line_memory(n, m, wide=dtype.itemsize == 8, weighted=weighted)
    row = max(s.row_bytes for s in sets if isinstance(s, Rows))
    least = line + sort + row
    require_memory(memory_limit, least, "one direction", BESIDE)
    limit = max(memory_limit or MEMORY_LIMIT, least)
    block = row + min(BLOCK, (limit - least) // 8)
    engine = sort + min((workers - 1) * sort, (limit - least) // 4)
    batches = -(-count // ((limit - block - engine) // line))
    size = -(-count // batches)
    return _Plan(size, block, limit - block - size * line)


class _Lines:
    """Two samples, the lines that they are projected on, and the memory for some of those."""

    def __init__(
        self, x: Set, y: Set, directions: NDArray[Any] | None,
        weights: tuple[Floats | None, Floats | None], *, workers: int, memory_limit: int,
        progress: Report | None,
    ) -> None:  # fmt: skip
        self._sets, self._directions, self._weights = (x, y), directions, weights
        self._workers, self._progress = workers, progress
        # NumPy's backend works in float64 throughout
        self._wide = "float64" in (x.dtype.name, y.dtype.name) or choose.backend() == "numpy"
        self.count = x.shape[1] if directions is None else directions.shape[1]
        dtype = np.dtype(np.float64 if self._wide else np.float32)
        weighted = any(w is not None for w in weights)
        self._plan = _plan((x, y), self.count, dtype, weighted, memory_limit, workers)
        self.engine_memory = self._plan.engine
        self._lines = [np.empty((self._plan.directions, len(s)), dtype) for s in (x, y)]
        self._units = np.zeros(self.count, np.int64)  # of the directions, exponents of 2
        if directions is not None:
            top = np.abs(directions).max(axis=0).astype(np.float64)
            self._units[:] = [self._exponent(float(size), 1000) for size in top]
            self._centre = choose.module().line_centre(*map(self._places, (x, y), weights))
        self._largest, self._unit = 0.0, 0  # of the rows so far, the unit an exponent of 2
        self._seen = directions is None
        self._done, self._total = 0, 2 * self.count * (len(x) + len(y))

    def _places(self, s: Set, weights: Floats | None) -> NDArray[Any]:
        """The rows that decide the centre, those of them that have mass."""
        places: NDArray[np.int64] = choose.module().centre_rows(len(s), s.shape[1])
        ends = np.flatnonzero(np.diff(places, append=-1) != 1) + 1
        some = np.empty((0, s.shape[1]), s.dtype)
        if not isinstance(s, Rows):
            some = s[places]
        elif len(places):
            runs = zip([0, *ends[:-1]], ends, strict=True)
            some = np.concatenate(
                [s.read(slice(int(places[i]), int(places[j - 1]) + 1)) for i, j in runs]
            )
        massive = None if weights is None else weights[places] > 0
        return some if massive is None or not massive.any() else some[massive]

    def _exponent(self, largest: float, most: int) -> int:
        """Of the unit that numbers up to this one are counted in: 1 unless it is far from 1."""
        reach = 300 if self._wide else 40
        if largest == 0 or 2.0**-reach <= largest <= 2.0**reach:
            return 0
        return max(-most, min(most, math.frexp(largest)[1]))

    def batches(self) -> Iterator[_Batch]:
        """All directions, in order."""
        n, m = map(len, self._sets)
        for which in spans(self.count, self._plan.directions):
            size = which.stop - which.start
            x, y = (lines[:size] for lines in self._lines)
            start = self._done
            while not self._project(which, x, y):
                self._done = start
            self._seen = True
            with np.errstate(over="ignore", under="ignore"):
                units = np.ldexp(1.0, self._units[which] + self._unit)
            sorting = size * (n + m)
            yield _Batch(
                which, x, y, units, within(self._progress, self._done, sorting, self._total)
            )
            self._done += sorting

    def _project(self, which: slice, x: NDArray[Any], y: NDArray[Any]) -> bool:
        """Reads all rows once; False where the centre has to be another one, and they were not."""
        along = None
        if self._directions is not None:
            along = np.ldexp(self._directions[:, which], -self._units[which])
        filled = [x[:, :0], y[:, :0]]
        for side, (s, lines) in enumerate(zip(self._sets, (x, y), strict=True)):
            row_bytes = s.row_bytes if isinstance(s, Rows) else s.shape[1] * s.dtype.itemsize
            for rows in spans(len(s), self._step(s, row_bytes)):
                block: Any = None  # so that no block is held while the next one is read
                block = load(s, rows, self._workers)
                weights = self._weights[side]
                # what has no mass may be of any size
                massive = None if weights is None else weights[rows] > 0
                if not self._seen and not self._fit(block, massive, filled):
                    return False
                out = lines[:, rows]
                if along is None:
                    out[:] = block[:, which].T
                else:
                    choose.module().project_rows(
                        block, along, self._centre, 2.0**-self._unit, out, workers=self._workers
                    )
                if massive is not None:
                    out[:, ~massive] = 0
                filled[side] = lines[:, : rows.stop]
                self._done += len(lines) * (rows.stop - rows.start)
                if self._progress is not None:
                    self._progress(self._done, self._total)
        return True

    def _step(self, s: Set, row_bytes: int) -> int:
        """Rows of a block: whole chunks of the file, where they fit."""
        rows = max(1, self._plan.block // row_bytes)
        chunk = s.chunk_rows if isinstance(s, Rows) else 1
        return rows - rows % chunk if rows > chunk else rows

    def _fit(
        self, block: NDArray[Any], massive: NDArray[np.bool_] | None, filled: list[NDArray[Any]]
    ) -> bool:
        """Makes the frame one for this block as well; False where it has a new centre."""
        parts: Any = [block]
        if massive is not None and not massive.all():
            parts = (block[some][massive[some]] for some in spans(len(block), 1 << 10))
        largest_offset = choose.module().largest_offset
        largest = max(
            (
                largest_offset(part, self._centre, workers=self._workers)
                for part in parts
                if len(part)
            ),
            default=0.0,
        )
        if not math.isfinite(largest) and self._centre.any():
            # x − centre leaves the range of float64
            self._centre, self._largest, self._unit = np.zeros_like(self._centre), 0.0, 0
            return False
        self._largest = max(self._largest, largest)
        unit = self._exponent(self._largest, 1000 if self._wide else 126)
        if unit != self._unit:
            factor = np.ldexp(1.0, self._unit - unit)
            self._unit = unit
            with np.errstate(under="ignore"):
                for lines in filled:
                    for line in lines:
                        line *= line.dtype.type(factor)
        return True


def sliced_costs(
    x: Set,
    y: Set,
    directions: NDArray[Any] | None,
    p: float,
    x_weights: Floats | None,
    y_weights: Floats | None,
    *,
    gradient: bool,
    grad_x: bool = True,
    grad_y: bool = True,
    weight_gradient: bool = False,
    moments: bool = False,
    direction_weights: Floats | None,
    workers: int,
    progress: Report | None = None,
    memory_limit: int = 0,
) -> tuple[Floats, None, None, None, None, Floats | None]:
    """W_p^p of each projection, and its moments; rows that are not held have no gradient."""
    del direction_weights, grad_x, grad_y
    _no_gradient(gradient or weight_gradient)
    lines = _Lines(
        x, y, directions, (x_weights, y_weights), workers=workers, memory_limit=memory_limit,
        progress=progress,
    )  # fmt: skip
    costs = np.empty(lines.count)
    of_lines = np.empty((lines.count, 4)) if moments else None
    for batch in lines.batches():
        found, *_, told = choose.module().sliced_costs(
            batch.x.T, batch.y.T, None, p, x_weights, y_weights, gradient=False, moments=moments,
            direction_weights=None, workers=workers, progress=batch.report,
            memory_limit=lines.engine_memory,
        )  # fmt: skip
        units = batch.units
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            costs[batch.which] = _times(found, units if p == math.inf else units**p)
            if of_lines is not None:
                of_lines[batch.which, :2] = told[:, :2] * units[:, None]
                of_lines[batch.which, 2:] = told[:, 2:] * units[:, None] ** 2
    return costs, None, None, None, None, of_lines


def sliced_energy_costs(
    x: Set,
    y: Set,
    directions: NDArray[Any] | None,
    *,
    gradient: bool,
    grad_x: bool = True,
    grad_y: bool = True,
    workers: int,
    progress: Report | None = None,
    memory_limit: int = 0,
) -> tuple[Floats, None, None]:
    """Energy distance of each projection; rows that are not held have no gradient."""
    del grad_x, grad_y
    _no_gradient(gradient)
    lines = _Lines(
        x, y, directions, (None, None), workers=workers, memory_limit=memory_limit,
        progress=progress,
    )  # fmt: skip
    costs = np.empty(lines.count)
    for batch in lines.batches():
        found, *_ = choose.module().sliced_energy_costs(
            batch.x.T, batch.y.T, None, gradient=False, workers=workers, progress=batch.report,
            memory_limit=lines.engine_memory,
        )  # fmt: skip
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            costs[batch.which] = _times(found, batch.units)
    return costs, None, None


def column_statistics(
    x: Set,
    y: Set,
    levels: Floats,
    *,
    workers: int,
    progress: Report | None = None,
    memory_limit: int = 0,
) -> tuple[Floats, ...]:
    """How both samples differ column by column; columns are lines as they are."""
    lines = _Lines(
        x, y, None, (None, None), workers=workers, memory_limit=memory_limit, progress=progress
    )
    found = [
        choose.module().column_statistics(
            batch.x.T, batch.y.T, levels, workers=workers, progress=batch.report,
            memory_limit=lines.engine_memory,
        )
        for batch in lines.batches()
    ]  # fmt: skip
    return tuple(np.concatenate(one) for one in zip(*found, strict=True))


def _times(costs: Floats, units: Floats) -> Floats:
    """Their products; 0 where there is no cost, even if a unit is beyond float64."""
    return np.where(costs == 0, 0.0, costs * units)


def _no_gradient(wanted: bool) -> None:
    if wanted:
        raise NotImplementedError("gradients of rows that are not in memory")
