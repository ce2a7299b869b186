"""NumPy twin of `cpp/slices/columns`: how two samples differ column by column."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pairtile._backends.numpy.slices import least_memory

Array = NDArray[np.generic]
Float64 = NDArray[np.float64]
Progress = Callable[[int, int], object] | None


def column_statistics(
    x: Array,
    y: Array,
    levels: Float64,
    *,
    workers: int,
    progress: Progress = None,
    memory_limit: int = 0,
) -> tuple[Float64, Float64, Float64, Float64, Float64, Float64]:
    """W1, W2, max |F − G|, 2 ∫ (F − G)² dt, ∫ (F − G)² dH, and quantiles of y less those of x."""
    del workers
    least_memory(len(x) + len(y), memory_limit)
    d = x.shape[1]
    numbers = np.empty((5, d))
    quantiles = np.empty((d, len(levels)))
    for column in range(d):
        u, v = (np.sort(s[:, column].astype(np.float64)) for s in (x, y))
        scale = _scale_of(u, v)
        u, v = scale * u, scale * v
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            numbers[:, column] = _distances(u, v) / [scale, scale, 1.0, scale, 1.0]
            quantiles[column] = (np.quantile(v, levels) - np.quantile(u, levels)) / scale
        if progress is not None:
            progress(column + 1, d)
    w1, w2, ks, energy, cvm = numbers
    return w1, w2, ks, energy, cvm, quantiles


def _scale_of(u: Float64, v: Float64) -> float:
    """A power of two that brings two sorted columns near 1."""
    largest = float(np.abs([u[0], u[-1], v[0], v[-1]]).max())
    if not math.isfinite(largest):
        return 1.0
    return math.ldexp(1.0, -min(max(math.frexp(largest)[1], -1000), 1022))


def _distances(u: Float64, v: Float64) -> Float64:
    n, m = len(u), len(v)
    t = np.unique(np.concatenate([u, v]))
    below_u, below_v = (np.searchsorted(s, t, side="right") for s in (u, v))
    difference = (below_u * m - below_v * n) / (n * m)
    share = np.diff(below_u + below_v, prepend=0) / (n + m)
    apart, steps = np.abs(difference), np.diff(t)
    w1, energy = apart[:-1] @ steps, 2 * difference[:-1] ** 2 @ steps
    return np.array([w1, _w2(u, v), apart.max(), energy, difference**2 @ share])


def _w2(u: Float64, v: Float64) -> float:
    """The pieces of both quantile functions meet, in units of 1/(nm)."""
    n, m = len(u), len(v)
    ends = np.union1d(m * np.arange(1, n + 1), n * np.arange(1, m + 1))
    gaps = u[(ends - 1) // m] - v[(ends - 1) // n]
    return math.sqrt(float(np.diff(ends, prepend=0) @ gaps**2) / (n * m))
