"""W_p^p along directions and its derivatives by them, on the GPU; climbs along these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile._backends.climbs import highest_points
from pairtile._backends.cuda.memory import device_of
from pairtile._backends.cuda.slices import Lines, Transport

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]


def sliced_direction_slopes(
    x: Any,
    y: Any,
    directions: NDArray[Any],
    p: float,
    x_weights: Floats | None,
    y_weights: Floats | None,
    *,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats]:
    """W_p^p of each direction, and its derivatives by it, (d, L): rows times their slopes."""
    del workers
    with device_of(x, y), np.errstate(over="ignore", under="ignore", invalid="ignore"):
        weighted = x_weights is not None or y_weights is not None
        lines = Lines(x, y, directions, weighted=weighted, gradient=True)
        transport = Transport(lines, p, (x_weights, y_weights))
        turns = cupy.zeros((lines.slices, lines.d), dtype=cupy.float64)
        for batch, lists in transport.batches(progress):
            lines.add_turns(batch, lists, transport.slopes(batch), turns)
        return transport.costs(), turns.get().T


def sliced_climbs(
    x: Any,
    y: Any,
    starts: Floats,
    units: Floats,
    p: float,
    x_weights: Floats | None,
    y_weights: Floats | None,
    *,
    rounds: int,
    kept: int,
    tol: float,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats]:
    """The highest points (R, d) on the ways from the starts up, and log W_p there."""

    def slopes(along: Floats, report: Report | None) -> tuple[Floats, Floats]:
        return sliced_direction_slopes(
            x, y, along, p, x_weights, y_weights, workers=workers, progress=report
        )

    return highest_points(slopes, starts, units, p, progress, rounds=rounds, kept=kept, tol=tol)
