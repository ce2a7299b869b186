"""Transport plans in d dimensions that lines give: of the best line, or the mean over lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile.slices.directions import chosen_directions
from pairtile.slices.line import row_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._front.words import DirectionMethod


class _SlicedPlan(NamedTuple):
    cost: float
    rows: Any
    columns: Any
    mass: Any
    direction: Any


class SlicedPlan(Result, _SlicedPlan):
    """A transport plan from x to y, sparse, and what it costs.

    Attributes
    ----------
    cost : float
        (Σ mass · ‖x_row − y_column‖^p)^{1/p}, at least the Wasserstein distance W_p(x, y).
    rows, columns : (k,) arrays of int64
        Rows of x and of y that share mass, by row and then by column, each pair once.
    mass : (k,) array of float64
        What they share: more than 0, and 1 in all.
    direction : (d,) array of float64 or None
        The direction whose coupling this is; None for the mean over directions.
    """


class _Request:
    """The arguments of either function, checked."""

    def __init__(
        self, x: Any, y: Any, p: float, n_projections: int, directions: Any, method: Any,
        normalize: bool, x_weights: Any, y_weights: Any, rng: Any, workers: int | None,
        check_finite: bool,
    ) -> None:  # fmt: skip
        self._p = scalars.real("p", p, least=1)
        self._workers = resolve_workers(workers)
        a, b = validate.pair(
            "x", x, "y", y, check_finite=check_finite, workers=self._workers, sample=True
        )
        self._weights = (
            row_weights("x_weights", x_weights, len(a)),
            row_weights("y_weights", y_weights, len(b)),
        )
        self.along, _ = chosen_directions(
            directions, a.shape[1], n_projections, rng, method=method, normalize=normalize
        )
        (self._a, self._b), self.unit = validate.near_one(a, b)
        self._backend = choose.module(a, b)

    def distances(self, report: Any) -> NDArray[np.float64]:
        """Of the plan of each direction, in units of `unit`."""
        found: NDArray[np.float64] = self._backend.sliced_plan_distances(
            self._a, self._b, self.along, self._p, *self._weights, workers=self._workers,
            progress=report,
        )  # fmt: skip
        return found

    def plan(self, along: Any, report: Any) -> tuple[Any, ...]:
        """The mean plan of some directions, and the distances of each."""
        found: tuple[Any, ...] = self._backend.sliced_plan(
            self._a, self._b, along, self._p, *self._weights, workers=self._workers, progress=report
        )
        return found

    def mean(self, distances: NDArray[np.float64]) -> float:
        """The distance whose p-th power is the mean of theirs."""
        top = float(distances.max()) or 1.0
        with np.errstate(under="ignore"):
            powers = (distances / top) ** self._p
        return float(top * np.mean(powers) ** (1 / self._p) * self.unit)


def min_sliced_plan(
    x: Any,
    y: Any,
    *,
    p: float = 2,
    n_projections: int = 128,
    directions: Any = None,
    method: DirectionMethod = "gaussian",
    normalize_directions: bool = False,
    x_weights: Any = None,
    y_weights: Any = None,
    rng: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> SlicedPlan:
    r"""The cheapest of the transport plans that directions give, in O(L N (d + log N)).

    On the line along a direction θ the best plan joins rows in the order of their projections. It
    is a plan in d dimensions too, and is paid there:

    .. math:: \min_l \Bigl(\sum_{ij} π^l_{ij} \, \|x_i - y_j\|^p\Bigr)^{1/p} \ge W_p(x, y)

    with π^l the monotone coupling of θ_l^T x and θ_l^T y.

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        The samples, of any sizes.
    p : float, default 2
        Order of the distance, at least 1; ‖·‖ is the Euclidean norm for each p.
    n_projections, directions, normalize_directions
        As for `sliced_wasserstein`.
    method : {"gaussian", "orthogonal", "sobol", "spiral"}
        How `sphere_directions` draws them.
    x_weights, y_weights : array_like, shapes (n,) and (m,), optional
        Weights of the rows, not negative, divided by their sum.
    rng, workers, check_finite, progress
        As for `sliced_wasserstein`.

    Returns
    -------
    SlicedPlan
        Cost, plan and direction. The plan has at most n + m − 1 pieces, and n for samples of equal
        size without weights: row columns[i] of y then belongs to row i of x.

    Raises
    ------
    TypeError, ValueError
        As `sliced_wasserstein`.
    ImportError
        For Sobol directions without SciPy.

    Notes
    -----
    Rows whose projections are equal are joined in the order of their rows, which need not be the
    cheapest of the plans that tie; along a direction in general position none are. Projections have
    the working dtype, distances between rows float64. Memory is O(n + m) per direction in work.

    References
    ----------
    Mahey, Chapel, Gasso, Bonet and Courty, Fast optimal transport through sliced generalized
    Wasserstein geodesics (2023).

    Examples
    --------
    >>> x = [[3.0, 3.0], [1.0, 1.0]]
    >>> y = [[2.0, 2.5], [3.0, 2.0]]
    >>> plan = pt.min_sliced_plan(x, y, directions=[[1.0, 0.0], [0.0, 1.0]])
    >>> plan.rows, plan.columns, plan.mass
    (array([0, 1]), array([1, 0]), array([0.5, 0.5]))
    >>> print(plan.cost**2, plan.direction)
    2.125 [1. 0.]
    """
    request = _Request(
        x, y, p, n_projections, directions, method, normalize_directions, x_weights, y_weights, rng,
        workers, check_finite,
    )  # fmt: skip
    with reporting(progress, request.along.shape[1], 1) as (report, last):
        best = int(np.argmin(request.distances(report)))
        along = request.along[:, best : best + 1]
        rows, columns, mass, distances = request.plan(along, last)
    to_user = validate.like(x, y)
    return SlicedPlan(
        request.mean(distances), to_user(rows), to_user(columns), to_user(mass),
        to_user(along[:, 0].astype(np.float64)),
    )  # fmt: skip


def expected_sliced_plan(
    x: Any,
    y: Any,
    *,
    p: float = 2,
    n_projections: int = 128,
    directions: Any = None,
    method: DirectionMethod = "gaussian",
    normalize_directions: bool = False,
    x_weights: Any = None,
    y_weights: Any = None,
    rng: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> SlicedPlan:
    r"""The mean of the transport plans that directions give.

    .. math:: π_{ij} = \frac{1}{L} \sum_l π^l_{ij}, \quad
              \text{cost} = \Bigl(\sum_{ij} π_{ij} \, \|x_i - y_j\|^p\Bigr)^{1/p} \ge W_p(x, y)

    with π^l as in `min_sliced_plan`. Over all directions it is one plan of the two samples, which
    varies with them without jumps where that of the best line does not.

    Parameters
    ----------
    x, y, p, n_projections, directions, method, normalize_directions, x_weights, y_weights, rng
        As for `min_sliced_plan`.
    workers, check_finite, progress
        As for `min_sliced_plan`.

    Returns
    -------
    SlicedPlan
        Cost and plan, of at most L (n + m − 1) pieces; no direction.

    Raises
    ------
    TypeError, ValueError, ImportError
        As `min_sliced_plan`.

    Notes
    -----
    Memory is O(k) for the k pairs of rows that are joined along any direction.

    References
    ----------
    Liu, Diaz Martin, Bai, Shahbazi, Thorpe, Aldroubi and Kolouri, Expected sliced transport plans
    (2025).

    Examples
    --------
    >>> x = [[3.0, 3.0], [1.0, 1.0]]
    >>> y = [[2.0, 2.5], [3.0, 2.0]]
    >>> plan = pt.expected_sliced_plan(x, y, directions=[[1.0, 0.0], [0.0, 1.0]])
    >>> plan.rows, plan.columns, plan.mass
    (array([0, 0, 1, 1]), array([0, 1, 0, 1]), array([0.25, 0.25, 0.25, 0.25]))
    >>> print(f"{plan.cost**2:.3f}")
    2.625
    """
    request = _Request(
        x, y, p, n_projections, directions, method, normalize_directions, x_weights, y_weights, rng,
        workers, check_finite,
    )  # fmt: skip
    with reporting(progress, request.along.shape[1]) as (report,):
        rows, columns, mass, distances = request.plan(request.along, report)
    to_user = validate.like(x, y)
    return SlicedPlan(request.mean(distances), to_user(rows), to_user(columns), to_user(mass), None)
