"""The mean over slices: how well it is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def standard_error(costs: NDArray[np.float64], block: int | None) -> float:
    """Standard error of the mean of costs that are independent from block to block."""
    if block is None or len(costs) <= block:
        return math.nan
    starts = np.arange(0, len(costs), block)
    excess = np.add.reduceat(costs - costs.mean(), starts)
    blocks = len(starts)
    # in a unit, a power of two, in which squares do not overflow
    unit = 2.0 ** math.frexp(float(np.abs(excess).max()))[1]
    square = blocks / (blocks - 1) * np.sum((excess / unit) ** 2)
    return float(np.sqrt(square)) / len(costs) * unit
