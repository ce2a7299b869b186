"""The sliced Wasserstein distance."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.slices.directions import chosen_directions
from pairtile.slices.line import row_weights
from pairtile.slices.mean import standard_error
from pairtile.slices.reach import InReach, out_of_reach, power
from pairtile.slices.results import SlicedResult

if TYPE_CHECKING:
    from pairtile._front.words import DirectionMethod


@overload
def sliced_wasserstein(
    x: Any,
    y: Any,
    *,
    p: float = ...,
    n_projections: int = ...,
    directions: Any = ...,
    method: DirectionMethod = ...,
    n_rotations: int | None = ...,
    normalize_directions: bool = ...,
    direction_weights: Any = ...,
    x_weights: Any = ...,
    y_weights: Any = ...,
    rng: Any = ...,
    full: Literal[False] = ...,
    return_gradient: Literal[False] = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Any = ...,
) -> float: ...
@overload
def sliced_wasserstein(
    x: Any,
    y: Any,
    *,
    p: float = ...,
    n_projections: int = ...,
    directions: Any = ...,
    method: DirectionMethod = ...,
    n_rotations: int | None = ...,
    normalize_directions: bool = ...,
    direction_weights: Any = ...,
    x_weights: Any = ...,
    y_weights: Any = ...,
    rng: Any = ...,
    full: Literal[True],
    return_gradient: bool = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Any = ...,
) -> SlicedResult: ...
@overload
def sliced_wasserstein(
    x: Any,
    y: Any,
    *,
    p: float = ...,
    n_projections: int = ...,
    directions: Any = ...,
    method: DirectionMethod = ...,
    n_rotations: int | None = ...,
    normalize_directions: bool = ...,
    direction_weights: Any = ...,
    x_weights: Any = ...,
    y_weights: Any = ...,
    rng: Any = ...,
    full: bool = ...,
    return_gradient: Literal[True],
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Any = ...,
) -> SlicedResult: ...
@overload
def sliced_wasserstein(
    x: Any,
    y: Any,
    *,
    p: float = ...,
    n_projections: int = ...,
    directions: Any = ...,
    method: DirectionMethod = ...,
    n_rotations: int | None = ...,
    normalize_directions: bool = ...,
    direction_weights: Any = ...,
    x_weights: Any = ...,
    y_weights: Any = ...,
    rng: Any = ...,
    full: bool = ...,
    return_gradient: bool = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Any = ...,
) -> float | SlicedResult: ...
def sliced_wasserstein(
    x: Any,
    y: Any,
    *,
    p: float = 2,
    n_projections: int = 128,
    directions: Any = None,
    method: DirectionMethod = "gaussian",
    n_rotations: int | None = None,
    normalize_directions: bool = False,
    direction_weights: Any = None,
    x_weights: Any = None,
    y_weights: Any = None,
    rng: Any = None,
    full: bool = False,
    return_gradient: bool = False,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> float | SlicedResult:
    r"""Sliced Wasserstein distance: the transport cost averaged over projections to a line.

    .. math:: SW_p(x, y) = \Bigl(\frac{1}{L} \sum_l W_p(θ_l^T x, θ_l^T y)^p\Bigr)^{1/p}

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        The samples, of any sizes.
    p : float, default 2
        Order of the distance, at least 1.
    n_projections : int, default 128
        Number L of directions to draw; not used when an array of directions is given.
    directions : array_like of shape (d, L), optional
        The directions, one of length 1 per column (to 1e-5 in float32, 1e-10 otherwise).
    method : {"gaussian", "orthogonal", "sobol", "spiral"}
        How `sphere_directions` draws them where none are given.
    n_rotations : int, optional
        Draw them in that many sets, each rotated at random by itself; the standard error is
        then that over these sets.
    normalize_directions : bool, default False
        Divide each of the given directions by its length.
    direction_weights : array_like, shape (L,), optional
        Weights of the directions in the mean, not negative, divided by their sum.
    x_weights, y_weights : array_like, shapes (n,) and (m,), optional
        Weights of the rows, not negative, divided by their sum.
    rng : int, numpy.random.Generator or None
        Where drawn directions come from.
    full : bool, default False
        Return a `SlicedResult` with the standard error.
    return_gradient : bool, default False
        Return a `SlicedResult` with the gradients of the value.
    workers : int, optional
        Number of threads; None and -1 are all allowed cores. The result does not depend on it.
    check_finite : bool, default True
        Look for NaN and Inf first.
    progress : bool or callable(done, total), default False
        Show a bar, or be called now and then.

    Returns
    -------
    float or SlicedResult
        The distance, root taken. The standard error is s/√L through the root by the delta method
        (over independent blocks of d for orthogonal directions, over the sets of `n_rotations`),
        0 where the value is 0, and nan for a single block or set, as Sobol and spiral directions
        are without `n_rotations`, for given directions and for direction weights. Gradients have
        the working dtype and are 0 where the value is 0.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, 2-D, not empty and finite; for different numbers of
        columns, p < 1, directions of the wrong shape or not of length 1, weights of the wrong
        length, negative, or with zero sum, "spiral" unless d = 3, more rotations than directions,
        and rotations of given directions.
    ImportError
        For Sobol directions without SciPy.

    Notes
    -----
    O(L N (d + log N)) time for N = n + m; memory is O(N) per direction in work. Inputs of at most
    32 bits are centred, projected and sorted in float32 and summed in float64: a projected value
    is off by about 2⁻²⁴ of the spread of the data, so pass float64 for distances near that.

    References
    ----------
    Bonneel, Rabin, Peyré and Pfister, Sliced and Radon Wasserstein barycenters of measures (2015).
    """
    p = scalars.real("p", p, least=1)
    workers = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=workers, sample=True)
    wa, wb = (
        row_weights("x_weights", x_weights, len(a)),
        row_weights("y_weights", y_weights, len(b)),
    )
    along, starts = chosen_directions(
        directions, a.shape[1], n_projections, rng,
        method=method, n_rotations=n_rotations, normalize=normalize_directions,
    )  # fmt: skip
    n_slices = along.shape[1]
    weights = validate.unit_weights("direction_weights", direction_weights, n_slices)
    if weights is None:
        weights = np.full(n_slices, 1 / n_slices)
    else:
        starts = None

    backend = choose.module(a, b)
    # Derivatives of the costs leave the backend in the working dtype, where their size, a distance
    # to the power p − 1, may not fit; the distance along the first direction tells that size.
    unit = 1.0
    if return_gradient and p > 2:
        first, *_ = backend.sliced_costs(
            a, b, along[:, :1], p, wa, wb,
            gradient=False, direction_weights=None, workers=workers, progress=None,
        )  # fmt: skip
        if 0 < first[0] < math.inf:
            unit = max(float(first[0]), sys.float_info.min) ** (1 / p)
    with reporting(progress, n_slices) as (report,):
        costs, grad_x, grad_y, *_ = backend.sliced_costs(
            a, b, along, p, wa, wb, gradient=return_gradient,
            direction_weights=weights * power(unit, 1 - p), workers=workers, progress=report,
        )  # fmt: skip
        lost = out_of_reach(costs, p)
        if lost.any() and not costs[lost].any():  # nothing is lost where nothing differs
            lost[lost] = InReach(a, b, along[:, lost], math.inf, wa, wb, workers).distances > 0
        if not lost.any():
            mean = float(np.sum(weights * costs))
            value: float = mean ** (1 / p)
            # Both go through the root: d value / d mean = value^(1−p) / p = value / (p · mean).
            for grad in (grad_x, grad_y):
                if grad is not None:
                    factor = power(value / unit, 1 - p) / p if value > 0 else 0.0
                    with np.errstate(over="ignore"):
                        np.multiply(grad, factor, out=grad)
        else:
            apart = InReach(a, b, along, p, wa, wb, workers)
            value, costs, mean = apart.value(weights)
            if return_gradient:
                grad_x, grad_y = apart.gradients(weights, value)
    if not (full or return_gradient):
        return value
    error = standard_error(costs, starts) * (value / (p * mean) if value > 0 else 1.0)
    to_user = validate.like(x, y)
    return SlicedResult(
        value, error, *(to_user(validate.as_given(s, g)) for s, g in ((x, grad_x), (y, grad_y)))
    )
