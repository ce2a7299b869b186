"""Blocks of dot products, and gradients from the weights that a loss makes of them.

Inputs of at most 32 bits go through tensor cores in parts of bfloat16, float64 and numbers that
leave float32 through sweeps in float64: what `contrastive` says of clip_loss. A block is small
enough for the second-level cache of a large device.

    rows -> block of products -> folds of a loss -> weights in its place -> gradients
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda import contrastive
from pairtile._backends.cuda.memory import Rows, address, current_stream
from pairtile._backends.cuda.panels import batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Range = tuple[int, int]
    Which = NDArray[np.bool_]

# Rows and columns of a block; tests set them.
height, width = 4096, 4096
_LARGE = 2.0**90  # products below which float32 is at ease
_HALVES = ("float16", "bfloat16")


class Block(NamedTuple):
    """Dot products of some rows and columns, and how `_cuda` is given them."""

    rows: Range
    cols: Range
    arguments: tuple[Any, ...]
    mirrored: bool  # it stands for its transpose as well: its columns are rows too

    @property
    def pairs(self) -> int:
        """How many it stands for."""
        return (1 + self.mirrored) * (self.rows[1] - self.rows[0]) * (self.cols[1] - self.cols[0])


class Products:
    """The dot products of two sets, block by block."""

    def __init__(
        self,
        x: Rows,
        y: Rows,
        scale: float,
        *,
        normalize: bool,
        grad: bool,
        sides: tuple[bool, bool] = (True, True),
    ) -> None:
        self.x, self.y = x, y
        self.grad = grad
        self.scales = None
        if normalize:
            of_x = x.scales()
            self.scales = of_x, of_x if y is x else y.scales()
        self._sides = self._on_tensor_cores(scale)
        self.wide = self._sides is None
        most = 2048 if self.wide else 1 << 30
        self.shape = tuple(
            min(_padded(rows.n), _padded(side), most) for rows, side in ((x, height), (y, width))
        )
        dtype = cupy.float64 if self.wide else cupy.float32
        number = self.shape[0] * self.shape[1]
        self._dots = cupy.empty(number, dtype=dtype)
        scaled = self._sides is not None and normalize and grad
        self._by_col = cupy.empty(number, dtype=dtype) if scaled else None
        if grad:
            self._sums = [
                cupy.zeros((rows.n, x.d), dtype=dtype) if wanted else None
                for rows, wanted in zip((x, y), sides, strict=True)
            ]

    def _on_tensor_cores(self, scale: float) -> Any:
        """Both sets in parts of bfloat16; None if they are none for tensor cores."""
        x, y = self.x, self.y
        device = cupy.cuda.Device().id
        path = contrastive.path
        if path == "none" or "float64" in (x.dtype, y.dtype):
            return None
        self._path = _cuda.tensor_path(device, path)
        if self._path == "none":
            return None
        of_x, of_y = self.scales or (None, None)
        left = contrastive.Side(x, of_x)
        # what is packed chunk by chunk is good until the next chunk, so that each has its own
        right = left if y is x and left.small else contrastive.Side(y, of_y)
        if not (left.serves and right.serves and scale * left.norm * right.norm < _LARGE):
            return None
        parts = max(left.needed, right.needed)
        for side in {id(left): left, id(right): right}.values():
            side.split(parts)
        return left, right

    def blocks(
        self, pace: Pace, wanted: Which | None = None, *, once: bool = False
    ) -> Iterator[Block]:
        """All blocks, each good until the next; of those that are wanted only.

        `once` is said of a loss in which a pair of rows of one set is the same both ways: blocks
        below the diagonal are left out.
        """
        once = once and self.x is self.y and self.shape[0] == self.shape[1]
        for r, rows in enumerate(batches(self.x.n, self.shape[0])):
            for c, cols in enumerate(batches(self.y.n, self.shape[1])):
                if (wanted is None or wanted[r, c]) and not (once and c < r):
                    yield self._block(rows, cols, once and c > r)
                pace.add((rows[1] - rows[0]) * (cols[1] - cols[0]))

    def _block(self, rows: Range, cols: Range, mirrored: bool) -> Block:
        factors = (0, 0)
        if self._sides is None:
            pitch = cols[1] - cols[0]
            _cuda.wide_block(
                (self.x.view, _some(self.y, cols), self._scales_at(0, cols)),
                rows, address(self._dots), pitch, current_stream(),
            )  # fmt: skip
        else:
            left, right = self._sides
            pitch = -(-(cols[1] - cols[0]) // _cuda.tile_columns) * _cuda.tile_columns
            _cuda.dot_block(
                left.packed(*rows), right.packed(*cols), address(self._dots), self._path,
                current_stream(),
            )  # fmt: skip
            factors = address(left.factors), address(right.factors)
        by_col = self._dots if self._by_col is None else self._by_col
        arguments = (
            self.wide, address(self._dots), pitch, rows, cols, factors,
            address(by_col) if self.grad else 0,
        )  # fmt: skip
        return Block(rows, cols, arguments, mirrored)

    def _scales_at(self, row: int, cols: Range) -> tuple[int, int]:
        if self.scales is None:
            return 0, 0
        size = _cuda.scale_bytes
        return address(self.scales[0]) + size * row, address(self.scales[1]) + size * cols[0]

    def add(self, block: Block, factor: float) -> None:
        """Add what the weights of a block, times a factor, give to the gradients of both sides."""
        rows, cols, arguments, _ = block
        pitch, by_col = arguments[2], arguments[6]
        if self._sides is None:
            for steps, own, side, scales, others, out in (
                ((pitch, 1), rows, 1, cols, self.y, self._sums[0]),
                ((1, pitch), cols, 0, rows, self.x, self._sums[1]),
            ):
                if out is None:
                    continue
                at = 0
                if self.scales is not None:
                    at = address(self.scales[side]) + _cuda.scale_bytes * scales[0]
                _cuda.wide_weight_product(
                    weights=address(self._dots),
                    steps=steps,
                    rows=own[1] - own[0],
                    others=_some(others, scales),
                    scales=at,
                    factor=factor,
                    out=address(out) + 8 * self.x.d * own[0],
                    stream=current_stream(),
                )
            return
        left, right = self._sides
        # sums in float32 that are cut off, not rounded: short ones where that would show
        coarse = self.x.dtype in _HALVES and self.y.dtype in _HALVES
        parts, longest = (1, 8192) if coarse else (2, 1024)
        shape = rows[1] - rows[0], cols[1] - cols[0]
        memory = cupy.empty(_cuda.panels_bytes(*shape, parts), dtype=cupy.uint8)
        weights = address(memory), 0, 0, *shape, parts
        packed = 0
        for at, by_column, others, own, shared in (
            (arguments[1], False, right, rows, cols), (by_col, True, left, cols, rows)
        ):  # fmt: skip
            out = self._sums[by_column]
            if out is None:
                continue
            if at != packed:
                packed = at
                # of the transpose, whose transpose are the weights as rows
                view = (at, *shape[::-1], 4, 4 * pitch, "float32")
                _cuda.pack_transposed(view, (0, shape[1]), 0, weights, current_stream())
            contrastive.panel_product(
                weights, others.packed(*shared), by_column=by_column, longest=longest,
                factor=factor, divisors=0, out=address(out) + 4 * self.x.d * own[0],
                path=self._path,
            )  # fmt: skip

    def gradients(self) -> tuple[Any, Any]:
        """What was added, by the rows as they are; None of a side that is not wanted."""
        wide = "float64" in (self.x.dtype, self.y.dtype)
        found: list[Any] = []
        for rows, sums, side in zip((self.x, self.y), self._sums, (0, 1), strict=True):
            if sums is None:
                found.append(None)
                continue
            if self.scales is not None:
                _cuda.through_normalization(
                    rows.view, address(self.scales[side]), address(sums), self.wide,
                    current_stream(),
                )  # fmt: skip
            found.append(sums.astype(cupy.float64 if wide else cupy.float32))
        return found[0], found[1]

    def holding(self, columns: NDArray[np.int64]) -> Which:
        """Which blocks hold column columns[i] of row i, -1 being in none."""
        which = np.zeros(
            [-(-rows.n // step) for rows, step in zip((self.x, self.y), self.shape, strict=True)],
            dtype=bool,
        )
        own = np.flatnonzero(columns >= 0)
        which[own // self.shape[0], columns[own] // self.shape[1]] = True
        return which


class Pace:
    """Reports progress over several sweeps."""

    def __init__(self, progress: Report | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, pairs: int) -> None:
        """So many pairs more are done."""
        self._done += pairs
        if self._progress is not None:
            cupy.cuda.get_current_stream().synchronize()
            self._progress(self._done, self._total)


def _padded(n: int) -> int:
    step: int = _cuda.rows_together
    return -(-n // step) * step


def _some(rows: Rows, some: Range) -> tuple[Any, ...]:
    """The view of rows [first, stop)."""
    at, _, d, row_step, col_step, dtype = rows.view
    return at + some[0] * row_step, some[1] - some[0], d, row_step, col_step, dtype
