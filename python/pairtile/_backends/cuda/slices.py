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
from pairtile._backends.refusals import not_on_gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    # keys, and the rows beside them
    Buffer = tuple[Any, Any]
    # rows, keys, rows beside the keys, levels
    Told = tuple[int, int, int, int]

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


class _Lines:
    """Two sets, the lines that they are projected on, and the memory for a batch of those."""

    def __init__(
        self, x: Any, y: Any, directions: Any, *, weighted: bool = False, gradient: bool
    ) -> None:
        self.sets = Rows(x), Rows(y)
        x_rows, y_rows = self.sets
        self.d = x_rows.d
        self.wide = any(rows.dtype == "float64" for rows in self.sets)
        self.dtype = np.dtype(np.float64 if self.wide else np.float32)
        self.slices = self.d if directions is None else directions.shape[1]
        self.costs = cupy.empty(self.slices, dtype=cupy.float64)
        self._ranked = weighted or gradient
        plan = x_rows.n, y_rows.n, self.d, self.slices, self.wide, self._ranked, weighted, gradient
        self.batches = _cuda.slice_batches(plan)
        self.unit = 1.0
        self._directions = self._centre = None
        if directions is not None:
            scale = _frame_scale(max(rows.survey()[1] for rows in self.sets), self.wide)
            self.unit = 1 / scale
            self._directions = upload(directions.astype(self.dtype))
            self._centre = cupy.empty(self.d, dtype=self.dtype)
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
        self.gradients = [
            cupy.zeros((rows.n, self.d), dtype=self.dtype) if gradient else None
            for rows in self.sets
        ]

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
                where=current_stream(),
            )
            for rows in self.sets
        )

    def sorted(
        self, quanta: tuple[Any, ...] | None, progress: Report | None
    ) -> Iterator[tuple[tuple[int, int], list[Told]]]:
        """Each batch, and its two sorted sets."""
        for batch in in_launches(self.batches, progress):
            yield batch, [self._sort(s, batch, quanta and quanta[s]) for s in (0, 1)]

    def _sort(self, which: int, batch: tuple[int, int], quanta: Any) -> Told:
        rows, count = self.sets[which], batch[1] - batch[0]
        lists = self._buffers[which]
        _cuda.project_slices(
            rows=rows.view,
            axes=self._axes,
            batch=batch,
            wide=self.wide,
            out=addresses(lists),
            where=current_stream(),
        )
        moved = _cuda.sort_slices(
            rows=rows.n,
            count=count,
            slices=self.slices,
            wide=self.wide,
            lists=addresses(lists),
            spare=addresses(self._spare),
            scratch=(address(self._scratch), self._scratch_bytes),
            side=[stream.ptr for stream in self._side],
            where=current_stream(),
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
            where=current_stream(),
        )
        return rows.n, address(keys), address(beside), address(levels)

    def add_gradients(
        self,
        batch: tuple[int, int],
        lists: list[Told],
        slopes_of: Callable[[Told, Told, int], None],
    ) -> None:
        """slopes_of(own, other, slopes) writes the derivatives along the lines of the batch."""
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
                where=current_stream(),
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
        sign = keys.dtype.type(1 << (8 * keys.itemsize - 1))
        bits = cupy.where(keys >= sign, keys ^ sign, ~keys)
        values = bits.view(self.dtype).astype(cupy.float64)
        weights = cupy.full(n, 1 / n) if share is None else share[rows[start : start + n]]
        middle = values[n // 2]
        values = values - middle
        mean = (weights * values).sum()
        variance = (weights * (values - mean) ** 2).sum()
        return cupy.stack([middle + mean, variance])

    def costs_from(self, first: int) -> int:
        """Where the costs of a batch go."""
        return address(self.costs) + first * int(self.costs.itemsize)


def _no_limit(memory_limit: int) -> None:
    if memory_limit:
        raise NotImplementedError(not_on_gpu("memory_limit= of sliced transport"))


def sliced_costs(
    x: Any,
    y: Any,
    directions: NDArray[Any] | None,
    p: float,
    x_weights: Floats | None,
    y_weights: Floats | None,
    *,
    gradient: bool,
    weight_gradient: bool = False,
    moments: bool = False,
    direction_weights: Floats | None,
    workers: int,
    progress: Report | None = None,
    memory_limit: int = 0,
) -> tuple[Floats, Any, Any, Floats | None, Floats | None, Floats | None]:
    """W_p^p of each projection, and the gradient of their sum weighted by `direction_weights`."""
    _no_limit(memory_limit)
    by_weights = None, None
    if weight_gradient:  # in host memory, where weights and their gradients are
        _, _, _, *by_weights, _ = choose.host_module().sliced_costs(
            cupy.asnumpy(x), cupy.asnumpy(y), directions, p, x_weights, y_weights, gradient=False,
            weight_gradient=True, direction_weights=direction_weights, workers=workers,
        )  # fmt: skip
    with device_of(x, y), np.errstate(over="ignore", under="ignore", invalid="ignore"):
        weighted = x_weights is not None or y_weights is not None
        lines = _Lines(x, y, directions, weighted=weighted, gradient=gradient)
        quanta = None
        if weighted:
            quanta = tuple(
                upload(_quanta(w, rows.n))
                for w, rows in zip((x_weights, y_weights), lines.sets, strict=True)
            )
        unit = np.float64(lines.unit)
        shares = np.ones(lines.slices) if direction_weights is None else direction_weights
        factors = upload(shares * unit ** (p - 1)) if gradient else None
        of_lines = np.empty((lines.slices, 4)) if moments else None
        for batch, lists in lines.sorted(quanta, progress):
            first, count = batch[0], batch[1] - batch[0]
            _cuda.transport_costs(
                x=lists[0],
                y=lists[1],
                count=count,
                wide=lines.wide,
                p=p,
                partial=address(lines.partial),
                costs=lines.costs_from(first),
                where=current_stream(),
            )

            def slopes_of(
                own: Told, other: Told, slopes: int, first: int = first, count: int = count
            ) -> None:
                _cuda.transport_slopes(
                    own=own,
                    other=other,
                    count=count,
                    wide=lines.wide,
                    p=p,
                    factors=address(factors) + 8 * first,
                    slopes=slopes,
                    where=current_stream(),
                )

            if gradient:
                lines.add_gradients(batch, lists, slopes_of)
            if of_lines is not None:
                of_lines[first : first + count] = lines.moments(count, (x_weights, y_weights))
        costs: Floats = lines.costs.get() * unit**p
        return costs, *to_input_namespace(x, *lines.gradients), *by_weights, of_lines


def sliced_energy_costs(
    x: Any,
    y: Any,
    directions: NDArray[Any] | None,
    *,
    gradient: bool,
    workers: int,
    progress: Report | None = None,
    memory_limit: int = 0,
) -> tuple[Floats, Any, Any]:
    """Energy distance of each projection, 2 ∫ (F − G)² dt, and the gradient of their mean."""
    _no_limit(memory_limit)
    del workers
    with device_of(x, y):
        lines = _Lines(x, y, directions, gradient=gradient)
        for batch, lists in lines.sorted(None, progress):
            first, count = batch[0], batch[1] - batch[0]
            _cuda.slice_energies(
                x=lists[0],
                y=lists[1],
                count=count,
                wide=lines.wide,
                partial=address(lines.partial),
                costs=lines.costs_from(first),
                where=current_stream(),
            )

            def slopes_of(own: Told, other: Told, slopes: int, count: int = count) -> None:
                _cuda.energy_slopes(
                    own=own,
                    other=other,
                    count=count,
                    wide=lines.wide,
                    factor=1 / lines.slices,
                    slopes=slopes,
                    where=current_stream(),
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
