"""Kernel sums by tensor cores: kernels of squared distances, and their sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda import panels
from pairtile._backends.cuda.memory import Rows, address, current_stream
from pairtile._backends.cuda.panels import Packed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pairtile._front.progress import Report

    Term = tuple[float, str, tuple[float, ...]]

_TOLERANCE = 2e-6  # of the largest kernel value
# Of a batch: two blocks for each multiprocessor of a large device, in well below a second.
_ROWS = 2 * 132 * 256
_LARGEST_NEAR = 0.25  # share of the largest squared norm below which pairs may be computed again
_NEAR_OF_SIX = 1 / 16  # likewise where six products are added, and not eight
_OFTEN = 1e-3  # share of pairs computed again beyond which the other path is faster


class _OnGrid(Packed):
    """Rows whose parts are whole numbers of a step, so that sums of their products lose little."""

    def __init__(self, rows: Rows, first: int, stop: int, centre: Any, parts: int) -> None:
        self._findings = cupy.zeros(_cuda.grid_findings_bytes // 4, dtype=cupy.uint32)
        super().__init__(rows, first, stop, None, centre, self._findings, parts)

    def _pack(self, rows: Rows, scales: Any, centre: Any, findings: Any) -> None:
        del scales
        _cuda.pack_on_grid(
            rows.view, self.first, address(centre), self.arguments, address(findings),
            current_stream(),
        )  # fmt: skip

    def largest(self) -> tuple[list[float], bool]:
        """Lengths of the largest rows and of their parts, and whether a row is beyond them."""
        found = self._findings.get()
        return found[:-1].view(np.float32).astype(float).tolist(), bool(found[-1])


def _near_pairs(
    terms: Sequence[Term], x: Sequence[float], y: Sequence[float], d: int, *, weighted: bool
) -> tuple[int, float]:
    """How many products are added, and below which squared distance pairs are computed again."""
    left = _TOLERANCE - _cuda.sums_error(weighted)
    for products in (6, 8):
        near = _cuda.near_distance(terms, x, y, d, products, left)
        if near <= _NEAR_OF_SIX * max(x[0], y[0]) ** 2:
            break
    return products, near


def row_sums(
    x: Rows,
    y: Rows,
    terms: Sequence[Term],
    y_weights: Any,
    *,
    precision: str,
    triangle: bool,
    progress: Report | None,
) -> Any:
    """Sum over j of w_j k(x_i, y_j), for each i; None if ordinary cores serve this better."""
    if (
        precision == "float64"
        or "float64" in (x.dtype, y.dtype)
        or x.n * y.n * x.d < panels.least_work
        or not _cuda.tensor_serves(terms)
    ):
        return None
    best = panels.tensor_path()
    if best == "none":
        return None
    parts = 2 if precision == "fast" else 3
    centre = cupy.empty(x.d, dtype=cupy.float64)
    _cuda.sample_centre(x.view, y.view, address(centre), current_stream())
    weights = None if y_weights is None else y_weights.view(cupy.float64).astype(cupy.float32)
    again = cupy.zeros(1, dtype=cupy.uint64)
    sums = cupy.zeros(x.n, dtype=cupy.float64)
    others, own = panels.packable(y, parts), panels.packable(x, parts)
    most = min(_ROWS, own[0][1]) if len(own) > 1 else _ROWS
    own = list(panels.batches(x.n, most))
    done, total = 0, len(own) * len(others)
    mine: Any = None
    packed: Any = None
    for first, stop in others:
        packed = None  # or two would be held at a time
        packed = _OnGrid(y, first, stop, centre, parts)
        largest, beyond = packed.largest()
        factors = None
        if weights is not None:
            factors = cupy.zeros(panels.padded(stop - first), dtype=cupy.float32)
            factors[: stop - first] = weights[first:stop]
        for batch in own:
            if triangle and batch[0] >= stop:
                done += 1
                continue
            shared = x is y and len(others) == 1
            x_largest, x_beyond = largest, beyond
            if shared:
                of_rows = packed.part(*batch)
            else:
                mine = None
                mine = _OnGrid(x, *batch, centre, parts)
                x_largest, x_beyond = mine.largest()
                of_rows = mine.arguments
            reach = max(largest[0], x_largest[0])
            if beyond or x_beyond or reach < panels.SMALLEST:
                return None
            if not all(_cuda.float32_will_do(term, 4 * reach**2, 0.0, 0.0) for term in terms):
                return None
            products, near = 3, -1.0
            if precision != "fast":
                products, near = _near_pairs(
                    terms, x_largest, largest, x.d, weighted=weights is not None
                )
                if near > _LARGEST_NEAR * reach**2:
                    return None

            sets = {
                "sets": (x.view, y.view),
                "kernels": terms,
                "products": products,
                "near": near,
                "triangle": triangle,
                "weights": address(factors),
                "computed_again": address(again),
                "path": best,
            }
            firsts = batch[0], first
            if near > 0.0 and done == 0:  # a look at a few rows
                few = min(stop - first, batch[1] - batch[0], _cuda.rows_together)
                part = (*of_rows[:3], few, *of_rows[4:])
                _launch(sets, (part, packed.arguments, firsts), cupy.zeros_like(sums))
                if int(again.get()[0]) > _OFTEN * few * (stop - first):
                    return None
            _launch(sets, (of_rows, packed.arguments, firsts), sums)
            done += 1
            if done < total or progress is not None:
                cupy.cuda.get_current_stream().synchronize()
            if progress is not None:
                progress(x.n * done // total, x.n)
    return sums


def _launch(arguments: dict[str, Any], packed: tuple[Any, ...], sums: Any) -> None:
    rows, cols = packed[0][3], packed[1][3]
    segments = _cuda.tensor_sums_segments(rows, cols)
    states = cupy.empty(segments * panels.padded(rows), dtype=cupy.float64)
    _cuda.tensor_row_sums(
        **arguments,
        packed=packed,
        states=address(states),
        sums=address(sums),
        stream=current_stream(),
    )
