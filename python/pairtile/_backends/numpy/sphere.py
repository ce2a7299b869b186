"""NumPy twin of `cpp/slices/sphere`: distances of angles on circles."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Float64 = NDArray[np.float64]


def circle_distances(
    x: Array,
    y: Array,
    frames: Array,
    p: float,
    *,
    linear: bool,
    workers: int,
    progress: Callable[[int, int], object] | None = None,
) -> Float64:
    """W_p in turns of the angles in each plane, that of columns 2l and 2l + 1 of `frames`.

    Of the plans that keep the order on the circle the cheapest, or with `linear`, for p = 2, the
    one by way of the uniform distribution.
    """
    circles = frames.shape[1] // 2
    distances = np.empty(circles)
    for c in range(circles):
        plane = frames[:, 2 * c : 2 * c + 2].astype(np.float64)
        u, v = (_turns(sample, plane) for sample in (x, y))
        distances[c] = _linear(u, v) if linear else _exact(u, v, p)
        if progress is not None:
            progress(c + 1, circles)
    return distances


def _turns(rows: Array, plane: Float64) -> Float64:
    """Sorted angles, that of a row that is 0 in the plane 0."""
    step = max(1, (1 << 20) // rows.shape[1])
    chunks = [rows[a : a + step].astype(np.float64) @ plane for a in range(0, len(rows), step)]
    first, second = np.concatenate(chunks).T + 0.0  # −0 is +0
    return np.asarray(np.sort(np.arctan2(second, first) / (2 * np.pi)))


def _at(values: Float64, steps: NDArray[np.int64]) -> Float64:
    """Values that go on around the circle, a turn further each time."""
    turns, index = np.divmod(steps, len(values))
    return np.asarray(values[index] + turns)


def _power(differences: Float64, p: float) -> tuple[Float64, float]:
    """|δ|^p in units of the largest, and that one."""
    sizes = np.abs(differences)
    top = float(sizes.max()) or 1.0
    with np.errstate(under="ignore"):
        return (sizes / top) ** p, top


def _exact(u: Float64, v: Float64, p: float) -> float:
    """By halves, the shift at which the convex cost turns from falling to rising."""
    n, m = len(u), len(v)
    mass = math.lcm(n, m)
    jumps = np.arange(m) * (mass // m)
    low, high = -mass - 1, mass
    while high - low > 1:
        shift = (low + high) // 2
        at_u = _at(u, (jumps - shift - 1) // (mass // n))
        after, before = at_u - v, at_u - np.append(v[-1] - 1, v[:-1])
        powers, _ = _power(np.stack([after, before]), p)
        if np.sum(powers[0] - powers[1]) < 0:
            low = shift
        else:
            high = shift
    ends = np.union1d(np.arange(1, n + 1) * (mass // n), (jumps - high - 1) % mass + 1)
    starts = np.append(0, ends[:-1])
    moved = _at(u, starts // (mass // n)) - _at(v, (starts + high) // (mass // m))
    powers, top = _power(moved, p)
    return top * math.pow(float(np.sum((ends - starts) / mass * powers)), 1 / p)


def _linear(u: Float64, v: Float64) -> float:
    """Both coupled with the uniform distribution, from their means on."""
    n, m = len(u), len(v)
    shift = math.fsum(u) / n - math.fsum(v) / m
    first = math.floor(shift * m)
    inside = np.arange(first + 1, first + m + 1) / m - shift
    ends = np.union1d(np.arange(1, n + 1) / n, inside[(inside > 0) & (inside < 1)])
    widths = np.diff(ends, prepend=0.0)
    middle = ends - widths / 2
    at_v = first + np.searchsorted(inside, middle)
    moved = u[np.minimum((middle * n).astype(np.int64), n - 1)] - _at(v, at_v)
    moved -= np.rint(moved)
    return float(np.sqrt(widths @ moved**2))
