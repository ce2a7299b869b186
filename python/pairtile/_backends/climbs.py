"""Climbs on the sphere of directions to where two samples are farthest apart, all at once.

    starts -> W_p and its slope along all points at once, in one pass over the rows per round
                      ^                                                      v
                      └──── trial points: quasi-Newton steps by bisection <──┘──> the best points

log W_p is smooth but where two projections of a sample meet: there it has the ridges of a minimum
over couplings. BFGS with a bisection that asks for the slope as well as for the value climbs along
those, too (Lewis and Overton, Nonsmooth optimization via quasi-Newton methods, 2013). Of the slope
along the sphere and H = I, a step of 1 is one of power iteration on the fixed coupling.

For backends that give slopes; the compiled one climbs by itself (`cpp/slices/ascent.cpp`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    # directions (d, R), a report of progress -> W_p^p along each, its derivatives by them (d, R)
    Slopes = Callable[[Floats, Any], tuple[Floats, Floats]]
    # points of the sphere (R, d), numbers of the climbs they belong to, rounds so far
    # -> log W_p, its slope
    Height = Callable[[Floats, NDArray[np.intp], int], tuple[Floats, Floats]]

_HEAT = 10  # rounds between looks at all climbs; after the first, the highest go on
_APART = 1e-2  # the angle within which the lower one of two climbs ends
_STEPS = 40  # that a climb remembers


class _Limits(NamedTuple):
    """How far climbs go."""

    rounds: int
    kept: int  # climbs that go on after `_HEAT` rounds, the highest
    tol: float


def highest_points(
    slopes: Slopes, starts: Floats, units: Floats, p: float, progress: Any, **limits: Any
) -> tuple[Floats, Floats]:
    """The highest points (R, d) on the ways from the starts up, and log W_p there.

    Powers are of W_p / unit, the unit of a climb being W_p at its start.
    """
    most = _Limits(**limits)

    def height(points: Floats, which: NDArray[np.intp], rounds: int) -> tuple[Floats, Floats]:
        """Log W_p and its slope along the sphere."""

        def told(done: int, total: int) -> None:
            progress(rounds * total + done, most.rounds * total)

        along = (points / units[which, None]).T
        costs, found = slopes(along, None if progress is None else told)
        with np.errstate(divide="ignore", over="ignore"):
            heights = np.log(costs) / p + np.log(units[which])
        rise = np.zeros_like(points)
        some = (costs > 0) & (costs < math.inf)
        rise[some] = found.T[some] / (units[which] * p * costs)[some, None]
        return heights, _along(points, rise)

    return _climb(height, starts, most)


def _climb(height: Height, points: Floats, limits: _Limits) -> tuple[Floats, Floats]:
    """The highest points on the ways from these up, and their heights."""
    tol = limits.tol
    everyone = np.arange(len(points))
    heights, slopes = height(points, everyone, 0)
    best, best_heights, before = points.copy(), heights.copy(), heights.copy()
    curvature = _Curvature(*points.shape)
    steps = slopes.copy()
    lengths, low, high = (np.full(len(points), value) for value in (1.0, 0.0, math.inf))
    climbing = np.linalg.norm(slopes, axis=1) > tol
    for done in range(1, limits.rounds):
        if done % _HEAT == 0:
            climbing &= (best_heights - before > tol) & ~_follows(best, best_heights)
            before = best_heights.copy()
        if done == _HEAT:
            order = np.lexsort((-best_heights, ~climbing))  # those at their end ask for no more
            climbing[order[limits.kept :]] = False
        if not climbing.any():
            break
        at = everyone[climbing]
        ends = points[at] + lengths[at, None] * steps[at]
        sizes = np.linalg.norm(ends, axis=1)
        ends /= sizes[:, None]
        reached, slope_there = height(ends, at, done)
        higher = reached > best_heights[at]
        best[at[higher]], best_heights[at[higher]] = ends[higher], reached[higher]
        # the weak conditions of Wolfe: high enough, and no longer as steep
        steep = _dots(slopes[at], steps[at])
        too_long = ~(reached - heights[at] >= 1e-4 * lengths[at] * steep)
        too_short = ~too_long & (_dots(slope_there, steps[at]) / sizes > 0.9 * steep)
        high[at[too_long]] = lengths[at[too_long]]
        low[at[too_short]] = lengths[at[too_short]]
        there = ~(too_long | too_short)
        moved = at[there]
        if len(moved):
            gains = reached[there] - heights[moved]
            taken = _along(ends[there], lengths[moved, None] * steps[moved])
            fall = _along(ends[there], slopes[moved]) - slope_there[there]
            points[moved], heights[moved] = ends[there], reached[there]
            slopes[moved] = slope_there[there]
            steps[moved] = curvature.steps(moved, points[moved], slopes[moved], taken, fall)
            low[moved], high[moved] = 0.0, math.inf
            steepness = np.linalg.norm(slopes[moved], axis=1)
            climbing[moved] = (steepness > tol) & (gains > 1e-3 * tol)
        lengths[at] = np.where(np.isinf(high[at]), 2 * low[at], (low[at] + high[at]) / 2)
        lengths[moved] = 1.0
        span = np.where(np.isinf(high), 1.0, high - low) * np.linalg.norm(steps, axis=1)
        climbing &= span > 1e-3 * tol
    return best, best_heights


def _along(points: Floats, vectors: Floats) -> Floats:
    """What of vectors is along the sphere."""
    return vectors - points * _dots(points, vectors)[:, None]


def _dots(a: Floats, b: Floats) -> Floats:
    found: Floats = np.einsum("rd,rd->r", a, b)
    return found


def _follows(points: Floats, heights: Floats) -> NDArray[np.bool_]:
    """Which are where a higher one is, or an equal one before them."""
    near = np.abs(points @ points.T) > math.cos(_APART)
    rank = np.argsort(np.argsort(-heights, kind="stable"))
    found: NDArray[np.bool_] = np.any(near & (rank < rank[:, None]), axis=1)
    return found


class _Curvature:
    """What climbs have learnt of the curvature: their next steps, from the slopes.

    BFGS of the last `_STEPS` steps of each climb, which are kept in turns.
    """

    def __init__(self, climbs: int, dim: int) -> None:
        self._taken, self._fall = np.zeros((2, _STEPS, climbs, dim))
        self._product = np.full((_STEPS, climbs), math.inf)  # of steps that have not been
        self._count = np.zeros(climbs, dtype=np.intp)
        self._scale = np.ones(climbs)

    def steps(
        self, which: NDArray[np.intp], points: Floats, slopes: Floats, taken: Floats, fall: Floats
    ) -> Floats:
        """After steps `taken`, on which the slopes have fallen by `fall`."""
        product = _dots(taken, fall)
        bent = product > 1e-14 * np.linalg.norm(taken, axis=1) * np.linalg.norm(fall, axis=1)
        self._learn(which[bent], taken[bent], fall[bent], product[bent])
        found = _along(points, self._apply(which, slopes))
        down = _dots(found, slopes) <= 0
        found[down] = slopes[down]
        return found

    def _learn(self, which: NDArray[np.intp], taken: Floats, fall: Floats, product: Floats) -> None:
        fresh = self._count[which] == 0
        self._scale[which[fresh]] = (product / _dots(fall, fall))[fresh]
        turn = self._count[which] % _STEPS, which
        self._taken[turn], self._fall[turn], self._product[turn] = taken, fall, product
        self._count[which] += 1

    def _apply(self, which: NDArray[np.intp], slopes: Floats) -> Floats:
        """The inverse of the curvature, times the slopes."""
        step = slopes.copy()
        count = self._count[which]
        back = range(min(_STEPS, max(count, default=0)))
        turns = [((count - 1 - i) % _STEPS, which) for i in back]
        shares = []
        for turn in turns:
            shares.append(_dots(self._taken[turn], step) / self._product[turn])
            step -= shares[-1][:, None] * self._fall[turn]
        step *= self._scale[which, None]
        for turn, share in zip(reversed(turns), reversed(shares), strict=True):
            share = share - _dots(self._fall[turn], step) / self._product[turn]
            step += share[:, None] * self._taken[turn]
        return step
