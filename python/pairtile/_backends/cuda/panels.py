"""Rows packed for tensor cores, in batches: what is held beside inputs and results is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda.memory import address, current_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pairtile._backends.cuda.memory import Rows

# The best tensor cores to use ("none": ordinary cores), and the number of pairs times features from
# which packing pays. Tests set both.
path = "wgmma"
least_work = 1 << 28
MAPPED = ("weuclidean", "mahalanobis")  # Euclidean distances of rows read through a linear map
TRANSLATED = ("euclidean", "sqeuclidean", *MAPPED)  # the same wherever the origin is
_PANELS = 1 << 29  # bytes of one batch of packed rows
_MAPPED = 1 << 26  # bytes of rows that are mapped at a time
BESIDE = 8  # bytes of a packed row's norm and residual
SMALLEST = 2.0**-30  # data all smaller than this are left to float64


def tensor_path() -> str:
    """What the current device serves, "none" without tensor cores."""
    return "none" if path == "none" else _cuda.tensor_path(cupy.cuda.Device().id, path)


def padded(rows: int) -> int:
    """Whole blocks of rows."""
    step: int = _cuda.rows_together
    return -(-rows // step) * step


def row_bytes(d: int, parts: int) -> int:
    """Bytes of a packed row."""
    bytes_together: int = _cuda.panels_bytes(_cuda.rows_together, d, parts)
    return bytes_together // _cuda.rows_together


def packable(rows: Rows, parts: int, most: int = 0, beside: int = 0) -> list[tuple[int, int]]:
    """Batches of rows that are packed at a time.

    In at most so many bytes, each row taking some beside its own; 0 for what is usual.
    """
    own = row_bytes(rows.d, parts)
    return list(batches(rows.n, most // (own + beside) if most else _PANELS // own))


def batches(n: int, most: int) -> Iterator[tuple[int, int]]:
    """Rows in whole blocks, at most this many at a time."""
    step = max(_cuda.rows_together, most // _cuda.rows_together * _cuda.rows_together)
    for first in range(0, n, step):
        yield first, min(n, first + step)


class RowMap:
    """The linear map x → A(x − c) that a metric reads rows through, in float64.

    `lengths` are those of the columns of A, which has those as its diagonal where it is None. Of a
    limit it takes an eighth at most, if that is enough for a block.
    """

    def __init__(self, lengths: Any, transform: Any, centre: Any, limit: int) -> None:
        self._lengths, self._transform, self._centre = lengths, transform, centre
        together = _cuda.rows_together
        of_row = 8 * len(lengths)
        most = min(_MAPPED, limit // 8) if limit else _MAPPED
        self._rows = max(together, most // of_row // together * together)
        self.bytes = of_row * self._rows

    def pack(self, rows: Rows, packed: Packed, findings: Any) -> None:
        """Pack rows as they leave the map, and add to their residuals what it is off by."""
        arguments = address(self._centre), address(self._lengths), address(self._transform)
        d, start = rows.d, packed.first
        for first, stop in batches(packed.stop - start, self._rows):
            taken = rows.part(start + first, start + stop)
            panel = packed.part(start + first, start + stop)
            mapped = cupy.empty((stop - first) * d, dtype=cupy.float64)
            view = address(mapped), stop - first, d, 8 * d, 8, "float64"
            stream = current_stream()
            _cuda.map_rows(taken, arguments, address(mapped), stream)
            _cuda.pack(view, 0, 0, 0, panel, address(findings), stream)
            _cuda.widen_residuals(taken, arguments, panel[2], address(findings), stream)
            del mapped  # none is held while the next one is made


class Packed:
    """Rows [first, stop) as the tensor cores read them."""

    def __init__(
        self,
        rows: Rows,
        first: int,
        stop: int,
        scales: Any,
        centre: Any,
        findings: Any,
        parts: int = 1,
        row_map: RowMap | None = None,
    ) -> None:
        n = stop - first
        self.memory = cupy.empty(_cuda.panels_bytes(n, rows.d, parts), dtype=cupy.uint8)
        self.norms, self.residuals = cupy.empty((2, padded(n)), dtype=cupy.float32)
        self.first, self.stop = first, stop
        self.arguments = (
            address(self.memory), address(self.norms), address(self.residuals), n, rows.d, parts
        )  # fmt: skip
        if row_map is not None:
            row_map.pack(rows, self, findings)
        else:
            self._pack(rows, scales, centre, findings)

    def _pack(self, rows: Rows, scales: Any, centre: Any, findings: Any) -> None:
        _cuda.pack(
            rows.view,
            self.first,
            address(scales),
            address(centre),
            self.arguments,
            address(findings),
            current_stream(),
        )

    def part(self, first: int, stop: int) -> tuple[Any, ...]:
        """The arguments of the rows [first, stop) of all, which begin at a block."""
        slices, norms, residuals, _, d, parts = self.arguments
        skipped = first - self.first
        step = row_bytes(d, parts)
        return (
            slices + skipped * step, norms + 4 * skipped, residuals + 4 * skipped,
            stop - first, d, parts,
        )  # fmt: skip


class Findings:
    """What packing learnt of the rows, in device memory."""

    def __init__(self) -> None:
        self.memory = cupy.zeros(_cuda.findings_bytes // 4, dtype=cupy.uint32)

    def read(self) -> tuple[float, float, bool, bool]:
        """Largest norm, largest residual, whether a row is beyond the screen, or has a fraction."""
        found = self.memory.get()
        norm, residual = found[:2].view(np.float32)
        return float(norm), float(residual), bool(found[2]), bool(found[3])
