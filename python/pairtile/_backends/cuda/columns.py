"""How two samples differ column by column on the GPU: each column sorted once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda.memory import address, current_stream, device_of, float64
from pairtile._backends.cuda.slices import Lines

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]


def column_statistics(
    x: Any,
    y: Any,
    levels: Floats,
    *,
    workers: int,
    progress: Report | None = None,
    memory_limit: int | None = None,
) -> tuple[Floats, ...]:
    """W1, W2, max |F − G|, 2 ∫ (F − G)² dt, ∫ (F − G)² dH, and quantiles of y less those of x."""
    del workers
    with device_of(x, y, limited=memory_limit is not None):
        lines = Lines(x, y, None, memory_limit=memory_limit or 0)
        partial = cupy.empty(_cuda.column_partials * len(lines.partial), dtype=cupy.float64)
        numbers = cupy.empty((5, lines.slices), dtype=cupy.float64)
        quantiles = cupy.empty((lines.slices, len(levels)), dtype=cupy.float64)
        of_levels = float64(levels)
        for (first, stop), (of_x, of_y) in lines.sorted(None, progress):
            _cuda.column_statistics(
                x=of_x,
                y=of_y,
                count=stop - first,
                wide=lines.wide,
                partial=address(partial),
                out=(
                    address(numbers) + numbers.itemsize * first,
                    lines.slices,
                    address(of_levels),
                    len(levels),
                    address(quantiles) + quantiles.itemsize * len(levels) * first,
                ),
                stream=current_stream(),
            )
        return *numbers.get(), quantiles.get()
