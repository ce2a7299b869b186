"""The largest one-dimensional transport: ascent on the sphere of directions.

    candidates -> screened on some rows -> the best that are not neighbours: starts -> climbs

A climb is the backend's: quasi-Newton steps along the slope of W_p, see `_backends/climbs.py`.
"""

from __future__ import annotations

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
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CANDIDATES = 512  # random directions that are screened
_ROWS = 4096  # of each sample, to screen on
_SEEN_AT_ONCE = 32  # candidates whose neighbours are looked at
_AXES = 8  # directions of largest difference in variance among the candidates
_SWEEPS = 10  # of the iteration that finds these
_NARROW = 10  # features up to which others near the best point are looked at
_AROUND = 1e-4  # of 1: how far at least from the best point of all climbs others are looked for


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

    def distances(self, along: Floats, report: Any) -> Floats:
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

    def highest(
        self, starts: Floats, units: Floats, rounds: int, kept: int, tol: float, report: Any
    ) -> Floats:
        """The point of largest distance that climbs from the starts come to, `units` far there."""
        alive = units > 0
        if not alive.any():
            first: Floats = starts[0]
            return first
        points, heights = self._backend.sliced_climbs(
            *self.sets, starts[alive], units[alive], self.p, *self._weights,
            rounds=rounds, kept=kept, tol=tol, workers=self._workers, progress=report,
        )  # fmt: skip
        highest: Floats = points[np.argmax(heights)]
        return highest

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
                begun = _begun(report)
                starts, units = _starts(some, candidates, 3 * n_restarts, begun)
                if some is not samples:
                    units = samples.distances(starts.T, begun)
                best = samples.highest(starts, units, most, n_restarts, tol, report)
                some, candidates = samples, _around(best, generator)
    best = best / np.linalg.norm(best)
    best *= np.copysign(1.0, best[np.argmax(np.abs(best))])
    value = sliced_wasserstein(
        a, b, p=p, directions=best[:, None], x_weights=x_weights, y_weights=y_weights,
        workers=workers, check_finite=False,
    )  # fmt: skip
    return MaxSliced(value, validate.like(x, y)(best))


def _begun(report: Any) -> Any:
    """What reports of calls before a climb come to: no round of it is done."""
    return report and (lambda *_: report(0, 1))


def _starts(some: _Samples, candidates: Floats, count: int, report: Any) -> tuple[Floats, Floats]:
    """The best candidates, (R, d), and the distances along them.

    First those of the better half without a better one among their neighbours.
    """
    neighbours = min(2 * (len(candidates) - 1), 16)
    distances = some.distances(candidates, report)
    order = np.argsort(-distances, kind="stable")
    points = candidates.T[order]
    others = np.ascontiguousarray(points.T)
    free: list[int] = []
    for first in range(0, len(points) // 2, _SEEN_AT_ONCE):
        if len(free) >= count:
            break
        near = points[first : first + _SEEN_AT_ONCE] @ others
        np.abs(near, out=near)
        # of the better ones, which come before it, how near the nearest is
        among = np.tril(near[:, first : first + len(near)], -1)
        nearest = np.maximum(among.max(axis=1), near[:, :first].max(axis=1, initial=0.0))
        nearest[: first == 0] = -1.0  # the best has none
        # and how many, with the candidate itself, are nearer
        nearer = near > nearest[:, None]
        free += [first + i for i, row in enumerate(nearer) if np.count_nonzero(row) > neighbours]
    passed = np.ones(len(points), dtype=np.bool_)
    passed[free] = False
    chosen = [*free, *np.flatnonzero(passed)][:count]
    return points[chosen], distances[order[chosen]]


def _around(best: Floats, generator: np.random.Generator) -> Floats:
    """The point and others at all distances from it, one per column."""
    others = generator.standard_normal((len(best), _CANDIDATES))
    others /= np.linalg.norm(others, axis=0)
    others *= _AROUND ** np.linspace(0, 1, _CANDIDATES)
    points = best[:, None] + np.column_stack([np.zeros(len(best)), others])
    return np.asarray(points / np.linalg.norm(points, axis=0), dtype=np.float64)
