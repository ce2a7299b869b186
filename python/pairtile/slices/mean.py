"""The mean over slices: how well it is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def standard_error(costs: NDArray[np.float64], starts: NDArray[np.intp] | None) -> float:
    """Standard error of the mean of costs that are independent from set to set.

    `starts` holds the first of each set; nan where there is one set only, or nothing is known, and
    0 where there is none, since the costs are exact.
    """
    if starts is not None and len(starts) == 0:
        return 0.0
    if starts is None or len(starts) == 1:
        return math.nan
    excess = np.add.reduceat(costs - costs.mean(), starts)
    sets = len(starts)
    # in a unit, a power of two, in which squares do not overflow
    unit = 2.0 ** math.frexp(float(np.abs(excess).max()))[1]
    square = sets / (sets - 1) * np.sum((excess / unit) ** 2)
    return float(np.sqrt(square)) / len(costs) * unit
