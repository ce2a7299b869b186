"""The largest one-dimensional transport: ascent on the sphere of directions.

    candidates -> screened on some rows -> the best that are not neighbours: starts
                                                                     v
    W_p and its slope along all starts at once, in one pass over the rows per round
              ^                                                      v
              └──── trial points: quasi-Newton steps by bisection <──┘──> the best point

log W_p is smooth but where two projections of a sample meet: there it has the ridges of a minimum
over couplings. BFGS with a bisection that asks for the slope as well as for the value climbs along
those, too (Lewis and Overton, Nonsmooth optimization via quasi-Newton methods, 2013). Of the slope
along the sphere and H = I, a step of 1 is one of power iteration on the fixed coupling.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile.slices.directions import sphere_directions
from pairtile.slices.line import row_weights
from pairtile.slices.reach import InReach, out_of_reach
from pairtile.slices.wasserstein import sliced_wasserstein

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    # points of the sphere (R, d), numbers of the climbs they belong to, rounds so far
    # -> log W_p, its slope
    Height = Callable[[Floats, NDArray[np.intp], int], tuple[Floats, Floats]]

_CANDIDATES = 512  # random directions that are screened
_ROWS = 4096  # of each sample, to screen on
_AXES = 8  # directions of largest difference in variance among the candidates
_SWEEPS = 10  # of the iteration that finds these
_HEAT = 10  # rounds in which three times as many starts climb as go on
_NARROW = 10  # features up to which others near the best point are looked at
_APART = 1e-2  # the angle within which the lower one of two climbs ends
_AROUND = 1.0, 1e-4  # how far from the best point of all climbs others are looked for
_DENSE = 256  # features up to which a climb remembers curvature as a matrix
_SMALL = 1 << 20  # multiplications and sorted values of a round that are not worth threads


class _MaxSliced(NamedTuple):
    value: float
    direction: Any


class MaxSliced(Result, _MaxSliced):
    """The largest Wasserstein distance that was found along a line.

    Attributes
    ----------
    value : float
        W_p along `direction`: what `sliced_wasserstein` gives for it alone.
    direction : (d,) array of float64
        Of length 1; its entry of largest magnitude is positive.
    """


class _Samples:
    """Two samples and how distances along lines are asked for."""

    def __init__(self, a: Any, b: Any, p: float, wa: Any, wb: Any, workers: int) -> None:
        self.sets, self.p, self._workers = (a, b), p, workers
        self._weights = (wa, wb)
        self._backend = choose.module(a, b)

    def distances(self, along: Floats, report: Any = None) -> Floats:
        """W_p along each direction, whatever becomes of p-th powers."""
        costs = self._backend.sliced_costs(
            *self.sets, along, self.p, *self._weights, gradient=False, direction_weights=None,
            workers=self._workers, progress=report,
        )[0]  # fmt: skip
        lost = out_of_reach(costs, self.p)
        with np.errstate(over="ignore", invalid="ignore"):
            found: Floats = costs ** (1 / self.p)
        if lost.any():
            found[lost] = InReach(
                *self.sets, along[:, lost], self.p, *self._weights, self._workers
            ).distances
        return found

    def slopes(self, along: Floats, report: Any) -> tuple[Floats, Floats]:
        """W_p^p along each direction, and its derivatives by it: (L,) and (d, L)."""
        work = along.shape[1] * sum(map(len, self.sets)) * (len(along) + 64)
        workers = 1 if work < _SMALL else self._workers
        found: tuple[Floats, Floats] = self._backend.sliced_direction_slopes(
            *self.sets, along, self.p, *self._weights, workers=workers, progress=report
        )
        return found

    def some(self, generator: np.random.Generator) -> _Samples:
        """Of at most `_ROWS` rows each, drawn by their weights."""
        sets, weights = list(self.sets), list(self._weights)
        for at, (s, w) in enumerate(zip(self.sets, self._weights, strict=True)):
            if len(s) > _ROWS:
                rows = generator.choice(len(s), _ROWS, replace=w is not None, p=w)
                sets[at], weights[at] = validate.taken(s, np.sort(rows)), None
        (a, b), (wa, wb) = sets, weights
        return _Samples(a, b, self.p, wa, wb, self._workers)

    def axes(self, first: Floats) -> Floats:
        """Directions in which means and variances differ most, by orthogonal iteration."""
        rows = [validate.host(s) for s in self.sets]
        means, centred = [], []
        for s, w in zip(rows, self._weights, strict=True):
            values = s.astype(np.float64)
            means.append(np.average(values, axis=0, weights=w))
            share = np.full(len(s), 1 / len(s)) if w is None else w
            centred.append((values - means[-1]) * np.sqrt(share)[:, None])
        shift = means[0] - means[1]
        with np.errstate(under="ignore"):
            for _ in range(_SWEEPS):
                spread = [s.T @ (s @ first) for s in centred]
                first, _ = np.linalg.qr(spread[0] - spread[1])
        length = float(np.linalg.norm(shift))
        return np.column_stack([first, *([shift / length] if length > 0 else [])])


def max_sliced_wasserstein(
    x: Any,
    y: Any,
    *,
    p: float = 2,
    n_restarts: int = 8,
    max_iter: int = 100,
    tol: float = 1e-6,
    x_weights: Any = None,
    y_weights: Any = None,
    rng: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> MaxSliced:
    r"""Max-sliced Wasserstein distance: the largest over all directions, by ascent.

    .. math:: \max_{‖θ‖ = 1} W_p(θ^T x, θ^T y)

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        The samples, of any sizes.
    p : float, default 2
        Order of the distance, at least 1.
    n_restarts : int, default 8
        Ascents, all at once: from the best of 512 random directions and of those in which means
        and variances differ most, if they are better than their neighbours. Three times as many
        begin, of which the highest go on. Up to 10 features, as many climb once more from around
        the best point.
    max_iter : int, default 100
        Directions that an ascent may look at.
    tol : float, default 1e-6
        An ascent ends where its slope along the sphere is less than this, in units of W_p, or ten
        steps gain less than this share of it, or one step a thousandth of that.
    x_weights, y_weights : array_like, shapes (n,) and (m,), optional
        Weights of the rows, not negative, divided by their sum.
    rng : int, numpy.random.Generator or None
        Where random directions come from.
    workers, check_finite, progress
        As for `sliced_wasserstein`.

    Returns
    -------
    MaxSliced
        The distance and its direction. It is a lower bound on the maximum, which no method finds
        with certainty: ascents end on local ones.

    Raises
    ------
    TypeError, ValueError
        As `sliced_wasserstein`, and for n_restarts or max_iter < 1 and tol < 0.

    Notes
    -----
    O(R I N (d + log N)) time for R ascents of I steps and N = n + m; memory is O(N) per direction
    in work. The derivative of W_p^p by θ is Σ π_ij p |θᵀ(x_i − y_j)|^{p−1} sign(·) (x_i − y_j)
    over the pieces of the coupling of the line.

    References
    ----------
    Deshpande et al., Max-sliced Wasserstein distance and its use for GANs (2019). Lewis and
    Overton, Nonsmooth optimization via quasi-Newton methods (2013).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(400, 30))
    >>> shift = np.eye(30)[4]
    >>> found = pt.max_sliced_wasserstein(x, x + shift, rng=0)
    >>> print(f"{found.value:.6f} {found.direction @ shift:.6f}")
    1.000000 1.000000
    """
    p = scalars.real("p", p, least=1)
    n_restarts = scalars.count("n_restarts", n_restarts)
    max_iter = scalars.count("max_iter", max_iter)
    tol = scalars.real("tol", tol, least=0)
    workers = resolve_workers(workers)
    generator = scalars.generator(rng)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=workers, sample=True)
    wa, wb = (
        row_weights("x_weights", x_weights, len(a)),
        row_weights("y_weights", y_weights, len(b)),
    )
    dim = a.shape[1]
    rounds = [max_iter] if dim > _NARROW else [max_iter, -(-max_iter // 4)]
    with reporting(progress, *rounds) as reports:
        (near_a, near_b), _ = validate.near_one(a, b)
        samples = _Samples(near_a, near_b, p, wa, wb, workers)
        best = np.ones(1)
        if dim > 1:
            some = samples.some(generator)
            drawn = sphere_directions(dim, _CANDIDATES, rng=generator)
            candidates = np.column_stack([some.axes(drawn[:, : min(dim, _AXES)]), drawn])
            for report, most in zip(reports, rounds, strict=True):
                starts = _starts(some, candidates, 3 * n_restarts)
                limits = _Limits(most, n_restarts, tol)
                best = _highest(samples, starts, limits, report)
                some, candidates = samples, _around(best, generator)
    best = best / np.linalg.norm(best)
    best *= np.copysign(1.0, best[np.argmax(np.abs(best))])
    value = sliced_wasserstein(
        a, b, p=p, directions=best[:, None], x_weights=x_weights, y_weights=y_weights,
        workers=workers, check_finite=False,
    )  # fmt: skip
    return MaxSliced(value, validate.like(x, y)(best))


def _starts(some: _Samples, candidates: Floats, count: int) -> Floats:
    """The best candidates, (R, d), first those without a better one among their neighbours."""
    least = candidates.shape[1] - 1 - min(2 * (len(candidates) - 1), 16)  # so many, and itself
    distances = some.distances(candidates)
    order = np.argsort(-distances, kind="stable")
    free = passed = order[:0]
    for high in (order[: 4 * count], order):  # of all only if few of the highest are free
        near = np.abs(candidates[:, high].T @ candidates)
        is_near = near >= np.partition(near, least, axis=1)[:, least, None]
        below = (is_near & (distances > distances[high, None])).any(axis=1)
        free, passed = high[~below], high[below]
        if len(free) >= count:
            break
    starts: Floats = candidates.T[np.concatenate([free, passed])[:count]]
    return starts


def _around(best: Floats, generator: np.random.Generator) -> Floats:
    """The point and others at all distances from it, one per column."""
    others = generator.standard_normal((len(best), _CANDIDATES))
    others /= np.linalg.norm(others, axis=0)
    others *= np.geomspace(*_AROUND, _CANDIDATES)
    points = best[:, None] + np.column_stack([np.zeros(len(best)), others])
    return np.asarray(points / np.linalg.norm(points, axis=0), dtype=np.float64)


def _highest(samples: _Samples, starts: Floats, limits: _Limits, report: Any) -> Floats:
    """The point of largest distance that climbs from all starts come to."""
    units = samples.distances(starts.T, report and (lambda *_: report(0, 1)))
    alive = units > 0
    if not alive.any():
        first: Floats = starts[0]
        return first
    starts, units = starts[alive], units[alive]

    def height(points: Floats, which: NDArray[np.intp], rounds: int) -> tuple[Floats, Floats]:
        """Log W_p and its slope along the sphere; powers are of W_p / unit."""

        def told(done: int, total: int) -> None:
            report(rounds * total + done, limits.rounds * total)

        along = (points / units[which, None]).T
        costs, slopes = samples.slopes(along, None if report is None else told)
        with np.errstate(divide="ignore", over="ignore"):
            heights = np.log(costs) / samples.p + np.log(units[which])
        rise = np.zeros_like(points)
        some = (costs > 0) & (costs < math.inf)
        rise[some] = slopes.T[some] / (units[which] * samples.p * costs)[some, None]
        return heights, _along(points, rise)

    points, heights = _climb(height, starts, limits)
    highest: Floats = points[np.argmax(heights)]
    return highest


def _along(points: Floats, vectors: Floats) -> Floats:
    """What of vectors is along the sphere."""
    return vectors - points * _dots(points, vectors)[:, None]


def _dots(a: Floats, b: Floats) -> Floats:
    found: Floats = np.einsum("rd,rd->r", a, b)
    return found


class _Limits(NamedTuple):
    """How far climbs go."""

    rounds: int
    kept: int  # climbs that go on after `_HEAT` rounds, the highest
    tol: float


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


def _follows(points: Floats, heights: Floats) -> NDArray[np.bool_]:
    """Which are where a higher one is, or an equal one before them."""
    near = np.abs(points @ points.T) > math.cos(_APART)
    rank = np.argsort(np.argsort(-heights, kind="stable"))
    found: NDArray[np.bool_] = np.any(near & (rank < rank[:, None]), axis=1)
    return found


class _Curvature:
    """What climbs have learnt of the curvature: their next steps, from the slopes.

    BFGS, of all steps by a matrix for each climb, or of the last one where that would be too large.
    """

    def __init__(self, climbs: int, dim: int) -> None:
        self._inverse = np.tile(np.eye(dim), (climbs, 1, 1)) if dim <= _DENSE else None
        self._fresh = np.ones(climbs, dtype=np.bool_)

    def steps(
        self, which: NDArray[np.intp], points: Floats, slopes: Floats, taken: Floats, fall: Floats
    ) -> Floats:
        """After steps `taken`, on which the slopes have fallen by `fall`."""
        product = _dots(taken, fall)
        bent = product > 1e-14 * np.linalg.norm(taken, axis=1) * np.linalg.norm(fall, axis=1)
        found = slopes.copy()
        if self._inverse is None:
            found[bent] = _from_last(slopes[bent], taken[bent], fall[bent], product[bent])
        else:
            self._learn(self._inverse, which[bent], taken[bent], fall[bent], product[bent])
            found = np.einsum("rij,rj->ri", self._inverse[which], slopes)
        found = _along(points, found)
        down = _dots(found, slopes) <= 0
        found[down] = slopes[down]
        return found

    def _learn(
        self, memory: Floats, which: NDArray[np.intp], taken: Floats, fall: Floats, product: Floats
    ) -> None:
        inverse, fresh = memory[which], self._fresh[which]
        inverse[fresh] *= (product / _dots(fall, fall))[fresh, None, None]
        self._fresh[which] = False
        image = np.einsum("rij,rj->ri", inverse, fall)
        weight = (1 + _dots(fall, image) / product) / 2
        half = (weight[:, None] * taken - image) / product[:, None]
        inverse += np.stack([half, taken], axis=2) @ np.stack([taken, half], axis=1)
        memory[which] = inverse


def _from_last(slopes: Floats, taken: Floats, fall: Floats, product: Floats) -> Floats:
    """The matrix of BFGS after one step, times the slopes."""
    share = (_dots(taken, slopes) / product)[:, None]
    image = (slopes - share * fall) * (product / _dots(fall, fall))[:, None]
    return image + (share - (_dots(fall, image) / product)[:, None]) * taken
