"""Plain NumPy on one thread: two sorts of a long column, one after the other."""

from collections.abc import Callable

import numpy as np

from bench.case import Arrays
from bench.peers.numpy import describe, start
from bench.slices import Columns

__all__ = ["columns", "describe", "start"]


def columns(case: Columns, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"][:, 0], arrays["y"][:, 0]

    def call() -> object:
        gaps = np.sort(x)
        gaps -= np.sort(y)
        return np.abs(gaps, out=gaps).mean(keepdims=True, dtype=np.float64)

    return call
