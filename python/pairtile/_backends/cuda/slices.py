"""Sliced transport and energy on the GPU: project, sort, merge, reduce.

A batch of slices is projected at a time, as many as the workspace holds. Costs return to the host,
where they are averaged; gradients stay on the device.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends import choose
from pairtile._backends.cuda.memory import (
    Rows,
    address,
    addresses,
    current_stream,
    device_of,
    float64,
    in_launches,
    to_input_namespace,
    upload,
)
from pairtile._backends.refusals import require_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    # keys, and the rows beside them
    Buffer = tuple[Any, Any]
    # rows, keys, rows beside the keys, levels
    SortedList = tuple[int, int, int, int]

_QUANTA = 1 << 62  # all of the mass of a set


def _quanta(weights: Floats | None, n: int) -> NDArray[np.uint64]:
    """Weights as whole numbers that add up to `_QUANTA`; a weight of 0 stays 0."""
    w = np.ones(n) if weights is None else weights
    quanta = np.rint(w * (_QUANTA / math.fsum(w))).astype(np.int64)
    # What rounding has left is shared out, a quantum more to some rows than to others.
    heavy = np.flatnonzero(quanta)
    each, more = divmod(_QUANTA - int(quanta.sum()), len(heavy))
    quanta[heavy] += each
    quanta[heavy[:more]] += 1
    return quanta.astype(np.uint64)


def _frame_scale(largest: float, wide: bool) -> float:
    """A power of two that brings data near 1 which lie near the ends of the working range."""
    reach = 300 if wide else 40
    if largest == 0 or 2.0**-reach < largest < 2.0**reach:
        return 1.0
    most = 1000 if wide else 126
    return math.ldexp(1.0, max(-most, min(most, -math.frexp(largest)[1])))


class Lines:
    """Two sets, the lines that they are projected on, and the memory for a batch of those."""

    def __init__(
        self,
        x: Any,
        y: Any,
        directions: Any,
        *,
        weighted: bool = False,
        gradient: bool = False,
        ranked: bool = False,
        beside: int = 0,
        centred: bool = True,
        memory_limit: int = 0,
    ) -> None:
        self.sets = Rows(x), Rows(y)
        x_rows, y_rows = self.sets
        self.d = x_rows.d
        self.wide = any(rows.dtype == "float64" for rows in self.sets)
        self.dtype = np.dtype(np.float64 if self.wide else np.float32)
        self.slices = self.d if directions is None else directions.shape[1]
        self.costs = cupy.empty(self.slices, dtype=cupy.float64)
        self._ranked = ranked or weighted or gradient
        plan = (
            x_rows.n, y_rows.n, self.d, self.slices, self.wide, self._ranked, weighted, gradient,
            beside, memory_limit,
        )  # fmt: skip
        require_memory(memory_limit, _cuda.slice_least(plan), "one direction")
        self.batches = self._cut(plan)
        self.unit = 1.0
        self._directions = self._centre = None
        if directions is not None:
            self._directions = upload(self._along(directions).astype(self.dtype))
            self._centre = cupy.zeros(self.d, dtype=self.dtype)
        if directions is not None and centred:
            scale = _frame_scale(max(rows.survey()[1] for rows in self.sets), self.wide)
            self.unit = 1 / scale
            _cuda.slice_centre(
                x_rows.view,
                y_rows.view,
                scale,
                self.wide,
                address(self._centre),
                current_stream(),
            )
        self._axes = address(self._directions), self.slices, address(self._centre), 1 / self.unit
        step = max(stop - first for first, stop in self.batches)
        longest = max(_cuda.slice_stride(rows.n) for rows in self.sets)
        self._buffers = [self._buffer(step * longest) for _ in self.sets]
        self._spare = self._buffer(_cuda.slice_spares(plan, step) * longest)
        self._levels = [
            cupy.empty(step * longest if weighted else 0, dtype=cupy.uint64) for _ in self.sets
        ]
        self._slopes = cupy.empty(step * longest if gradient else 0, dtype=self.dtype)
        shares = 1 + (x_rows.n + y_rows.n) // _cuda.slice_share
        self.partial = cupy.empty(step * shares, dtype=cupy.float64)
        self._sums = cupy.empty(step * shares if weighted else 0, dtype=cupy.uint64)
        lanes = _cuda.slice_lanes(plan, step)
        self._side = [cupy.cuda.Stream(non_blocking=True) for _ in range(lanes) if lanes > 1]
        self._scratch_bytes = self._bytes_to_sort(step)
        self._scratch = cupy.empty(lanes * self._scratch_bytes, dtype=cupy.uint8)
        self.gradients: list[Any] = [None, None]

    def _cut(self, plan: tuple[Any, ...]) -> list[tuple[int, int]]:
        """The lines of each batch."""
        return _cuda.slice_batches(plan)

    def _along(self, directions: NDArray[Any]) -> NDArray[Any]:
        """The directions in the order of the lines."""
        return directions

    def _buffer(self, items: int) -> Buffer:
        keys = cupy.empty(items, dtype=cupy.uint64 if self.wide else cupy.uint32)
        return keys, cupy.empty(items, dtype=cupy.uint32) if self._ranked else None

    def _bytes_to_sort(self, step: int) -> int:
        return max(
            _cuda.sort_scratch(
                rows=rows.n,
                count=step,
                slices=self.slices,
                wide=self.wide,
                ranked=self._ranked,
                stream=current_stream(),
            )
            for rows in self.sets
        )

    def sorted(
        self, quanta: tuple[Any, ...] | None, progress: Report | None
    ) -> Iterator[tuple[tuple[int, int], list[SortedList]]]:
        """Each batch, and its two sorted sets."""
        for batch in in_launches(self.batches, progress):
            yield batch, [self._sort(s, batch, quanta and quanta[s]) for s in (0, 1)]

    def _sort(self, which: int, batch: tuple[int, int], quanta: Any) -> SortedList:
        self._project(which, batch)
        return self._order(which, batch[1] - batch[0], quanta)

    def _project(self, which: int, batch: tuple[int, int]) -> None:
        _cuda.project_slices(
            rows=self.sets[which].view,
            axes=self._axes,
            batch=batch,
            wide=self.wide,
            out=addresses(self._buffers[which]),
            stream=current_stream(),
        )

    def _order(self, which: int, count: int, quanta: Any) -> SortedList:
        """Sorts the first lists of a set."""
        rows, lists = self.sets[which], self._buffers[which]
        moved = _cuda.sort_slices(
            rows=rows.n,
            count=count,
            slices=self.slices,
            wide=self.wide,
            lists=addresses(lists),
            spare=addresses(self._spare),
            scratch=(address(self._scratch), self._scratch_bytes),
            side=[stream.ptr for stream in self._side],
            stream=current_stream(),
        )
        if moved:
            self._buffers[which], self._spare = self._spare, lists
        keys, beside = self._buffers[which]
        if quanta is None:
            return rows.n, address(keys), address(beside), 0
        levels = self._levels[which]
        _cuda.slice_levels(
            beside=address(beside),
            quanta=address(quanta),
            rows=rows.n,
            count=count,
            sums=address(self._sums),
            levels=address(levels),
            stream=current_stream(),
        )
        return rows.n, address(keys), address(beside), address(levels)

    def add_gradients(
        self,
        batch: tuple[int, int],
        lists: list[SortedList],
        slopes_of: Callable[[SortedList, SortedList, int], None],
    ) -> None:
        """slopes_of(own, other, slopes) writes the derivatives along the lines of the batch."""
        if self.gradients[0] is None:
            self.gradients = [cupy.zeros((rows.n, self.d), self.dtype) for rows in self.sets]
        for rows, own, other, gradient in zip(
            self.sets, lists, lists[::-1], self.gradients, strict=True
        ):
            slopes_of(own, other, address(self._slopes))
            _cuda.pull_back_slices(
                slopes=address(self._slopes),
                rows=rows.n,
                features=self.d,
                axes=self._axes,
                batch=batch,
                wide=self.wide,
                gradient=address(gradient),
                stream=current_stream(),
            )

    def add_turns(
        self,
        batch: tuple[int, int],
        lists: list[SortedList],
        slopes_of: Callable[[SortedList, SortedList, int], None],
        turns: Any,
    ) -> None:
        """The same derivatives by the directions, added to `turns`, (slices, d)."""
        count = batch[1] - batch[0]
        for rows, own, other in zip(self.sets, lists, lists[::-1], strict=True):
            slopes_of(own, other, address(self._slopes))
            segments = _cuda.turn_segments(rows.n, self.d, count)
            partial = cupy.empty(segments * count * self.d, dtype=cupy.float64)
            _cuda.turn_slices(
                rows=rows.view,
                slopes=address(self._slopes),
                axes=self._axes,
                batch=batch,
                wide=self.wide,
                partial=address(partial),
                out=address(turns) + turns.itemsize * self.d * batch[0],
                stream=current_stream(),
            )

    def moments(self, count: int, weights: tuple[Floats | None, ...]) -> Floats:
        """Of the sorted lines of a batch: means of x and y, counted from one point; variances."""
        shares = [None if w is None else float64(w / math.fsum(w)) for w in weights]
        found = [
            [self._moments_of(s, line, share).get() for s, share in enumerate(shares)]
            for line in range(count)
        ]
        by_set = np.array(found) * np.array([self.unit, self.unit**2])
        return np.concatenate([by_set[:, :, 0], by_set[:, :, 1]], axis=1)

    def _moments_of(self, which: int, line: int, share: Any) -> Any:
        n = self.sets[which].n
        start = line * _cuda.slice_stride(n)
        sorted_keys, rows = self._buffers[which]
        keys = sorted_keys[start : start + n]
        values = _values(keys, self.dtype).astype(cupy.float64)
        weights = cupy.full(n, 1 / n) if share is None else share[rows[start : start + n]]
        middle = values[n // 2]
        values = values - middle
        mean = (weights * values).sum()
        variance = (weights * (values - mean) ** 2).sum()
        return cupy.stack([middle + mean, variance])

    def costs_from(self, first: int) -> int:
        """Where the costs of a batch go."""
        return address(self.costs) + first * int(self.costs.itemsize)


class Transport:
    """W_p^p along lines, and its slopes by the projections of the rows."""

    def __init__(
        self,
        lines: Lines,
        p: float,
        weights: tuple[Floats | None, Floats | None],
        shares: Floats | None = None,
    ) -> None:
        self._lines, self._p = lines, p
        self._unit = np.float64(lines.unit)
        factors = np.ones(lines.slices) if shares is None else shares
        self._factors = upload(factors * self._unit ** (p - 1))
        self._quanta = quanta_of(lines.sets, weights)

    def batches(
        self, progress: Report | None
    ) -> Iterator[tuple[tuple[int, int], list[SortedList]]]:
        """Each batch, the costs of its lines computed, and its two sorted sets."""
        lines = self._lines
        for batch, lists in lines.sorted(self._quanta, progress):
            _cuda.transport_costs(
                x=lists[0],
                y=lists[1],
                count=batch[1] - batch[0],
                wide=lines.wide,
                p=self._p,
                partial=address(lines.partial),
                costs=lines.costs_from(batch[0]),
                stream=current_stream(),
            )
            yield batch, lists

    def slopes(self, batch: tuple[int, int]) -> Callable[[SortedList, SortedList, int], None]:
        """What writes the derivatives by the projections of one set, times the shares."""

        def of(own: SortedList, other: SortedList, slopes: int) -> None:
            _cuda.transport_slopes(
                own=own,
                other=other,
                count=batch[1] - batch[0],
                wide=self._lines.wide,
                p=self._p,
                factors=address(self._factors) + 8 * batch[0],
                slopes=slopes,
                stream=current_stream(),
            )

        return of

    def costs(self) -> Floats:
        """Of all lines, in the units of the data."""
        costs: Floats = self._lines.costs.get() * self._unit**self._p
        return costs


def quanta_of(
    sets: tuple[Rows, Rows], weights: tuple[Floats | None, Floats | None]
) -> tuple[Any, ...] | None:
    """What the rows of both sets weigh; None where all of a set weigh the same in both."""
    if weights[0] is None and weights[1] is None:
        return None
    return tuple(upload(_quanta(w, rows.n)) for w, rows in zip(weights, sets, strict=True))


def sliced_costs(
    x: Any,
    y: Any,
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
    memory_limit: int | None = None,
) -> tuple[Floats, Any, Any, Floats | None, Floats | None, Floats | None]:
    """W_p^p of each projection, and the gradient of their sum weighted by `direction_weights`.

    The memory limit is None for a caller that takes none, here and below.
    """
    del grad_x, grad_y  # both come together
    if p == math.inf:  # the largest difference: no sum, and asked for where powers are lost
        on_host: tuple[Floats, Any, Any, Any, Any, Any] = choose.host_module().sliced_costs(
            cupy.asnumpy(x), cupy.asnumpy(y), directions, p, x_weights, y_weights, gradient=False,
            direction_weights=None, workers=workers, memory_limit=memory_limit or 0,
        )  # fmt: skip
        return on_host
    by_weights = None, None
    if weight_gradient:  # in host memory, where weights and their gradients are
        _, _, _, *by_weights, _ = choose.host_module().sliced_costs(
            cupy.asnumpy(x), cupy.asnumpy(y), directions, p, x_weights, y_weights, gradient=False,
            weight_gradient=True, direction_weights=direction_weights, workers=workers,
        )  # fmt: skip
    ignored = np.errstate(over="ignore", under="ignore", invalid="ignore")
    with device_of(x, y, limited=memory_limit is not None), ignored:
        weighted = x_weights is not None or y_weights is not None
        lines = Lines(
            x, y, directions, weighted=weighted, gradient=gradient, memory_limit=memory_limit or 0
        )
        transport = Transport(lines, p, (x_weights, y_weights), direction_weights)
        of_lines = np.empty((lines.slices, 4)) if moments else None
        for batch, lists in transport.batches(progress):
            if gradient:
                lines.add_gradients(batch, lists, transport.slopes(batch))
            if of_lines is not None:
                count = batch[1] - batch[0]
                of_lines[slice(*batch)] = lines.moments(count, (x_weights, y_weights))
        costs = transport.costs()
        return costs, *to_input_namespace(x, *lines.gradients), *by_weights, of_lines


def sliced_energy_costs(
    x: Any,
    y: Any,
    directions: NDArray[Any] | None,
    *,
    gradient: bool,
    grad_x: bool = True,
    grad_y: bool = True,
    workers: int,
    progress: Report | None = None,
    memory_limit: int | None = None,
) -> tuple[Floats, Any, Any]:
    """Energy distance of each projection, 2 ∫ (F − G)² dt, and the gradient of their mean."""
    del workers, grad_x, grad_y  # both gradients come together
    with device_of(x, y, limited=memory_limit is not None):
        lines = Lines(x, y, directions, gradient=gradient, memory_limit=memory_limit or 0)
        for batch, lists in lines.sorted(None, progress):
            first, count = batch[0], batch[1] - batch[0]
            _cuda.slice_energies(
                x=lists[0],
                y=lists[1],
                count=count,
                wide=lines.wide,
                partial=address(lines.partial),
                costs=lines.costs_from(first),
                stream=current_stream(),
            )

            def slopes_of(
                own: SortedList, other: SortedList, slopes: int, count: int = count
            ) -> None:
                _cuda.energy_slopes(
                    own=own,
                    other=other,
                    count=count,
                    wide=lines.wide,
                    factor=1 / lines.slices,
                    slopes=slopes,
                    stream=current_stream(),
                )

            if gradient:
                lines.add_gradients(batch, lists, slopes_of)
        costs: Floats = lines.costs.get() * lines.unit
        return costs, *to_input_namespace(x, *lines.gradients)


def relabelled_line_costs(
    lines: Floats,
    bits: NDArray[np.uint8],
    sizes: NDArray[np.int64],
    *,
    energy: bool,
    p: float,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Costs of lines under relabellings: in host memory, where lines and relabellings were made."""
    found: tuple[Floats, Floats, NDArray[np.int64]] = choose.host_module().relabelled_line_costs(
        lines, bits, sizes, energy=energy, p=p, workers=workers, progress=progress
    )
    return found


def partial_masses(x: Floats, y: Floats, share: float, p: float) -> tuple[Floats, Floats]:
    """What moves of each point when a share of all mass does: in host memory, where they are."""
    found: tuple[Floats, Floats] = choose.host_module().partial_masses(x, y, share, p)
    return found


def least_line_memory(n: int, m: int, *, wide: bool, weighted: bool) -> int:
    """What either cost takes at least of n and m values along one axis, in bytes beside them."""
    plan = n, m, 1, 1, wide, weighted, weighted, False, 0, 0
    return _cuda.slice_least(plan)


def centre_rows(n: int, d: int) -> NDArray[np.int64]:
    """The rows that decide about which point others are projected; they are read on the host."""
    found: NDArray[np.int64] = choose.host_module().centre_rows(n, d)
    return found


def line_centre(x: Any, y: Any) -> Floats:
    """The point that rows are projected about, from those rows."""
    found: Floats = choose.host_module().line_centre(x, y)
    return found


def largest_offset(x: Any, centre: Floats, *, workers: int) -> float:
    """The largest absolute value of x − centre, while the block is in host memory."""
    found: float = choose.host_module().largest_offset(x, centre, workers=workers)
    return found


def project_rows(
    x: Any, directions: Any, centre: Floats, scale: float, out: NDArray[Any], *, workers: int
) -> None:
    """Out (directions, rows) of (x − centre)·scale along each direction, in host memory."""
    del workers
    with device_of(x):
        rows, dtype = Rows(x), out.dtype
        along = upload(directions.astype(dtype))
        about = upload((centre * scale).astype(dtype))
        keys = cupy.empty((out.shape[0], _cuda.slice_stride(rows.n)), dtype=f"u{dtype.itemsize}")
        _cuda.project_slices(
            rows=rows.view,
            axes=(address(along), out.shape[0], address(about), scale),
            batch=(0, out.shape[0]),
            wide=dtype == np.float64,
            out=(address(keys), 0),
            stream=current_stream(),
        )
        out[:] = _values(keys[:, : rows.n].get(), dtype)


def _values(keys: Any, dtype: Any) -> Any:
    """The numbers that sort as these keys do."""
    sign = keys.dtype.type(1 << (8 * keys.itemsize - 1))
    return np.where(keys >= sign, keys ^ sign, ~keys).view(dtype)


def column_moments(x: Any, weights: Floats | None, *, workers: int) -> tuple[Floats, Floats]:
    """Means and variances of the columns, weights counted; on the host, where they are used."""
    del workers
    with device_of(x):
        if weights is not None:  # what has no mass may be of any size
            massive = weights > 0
            weights = weights[massive]
            x = x[massive if isinstance(x, np.ndarray) else cupy.asarray(massive)]
        n, d = x.shape
        shares = float64(np.full(n, 1 / n) if weights is None else weights / weights.sum())
        means, variances = cupy.zeros(d), cupy.zeros(d)
        step = max(1, (1 << 24) // d)
        spans = [slice(start, start + step) for start in range(0, n, step)]
        for rows in spans:
            means += shares[rows] @ float64(x[rows])
        for rows in spans:
            variances += shares[rows] @ (float64(x[rows]) - means) ** 2
        return means.get(), variances.get()
