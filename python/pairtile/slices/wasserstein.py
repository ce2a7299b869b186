"""The sliced Wasserstein distance."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from pairtile._backends import choose
from pairtile._backends.rows import steps_of
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile._front.wanted import wants
from pairtile.slices import controls
from pairtile.slices.directions import chosen_directions
from pairtile.slices.line import by_weights, row_weights
from pairtile.slices.mean import standard_error
from pairtile.slices.moments import ColumnMoments
from pairtile.slices.reach import InReach, out_of_reach, power
from pairtile.slices.results import SlicedResult

if TYPE_CHECKING:
    from pairtile._front.words import SlicedControl, SlicedMethod


@overload
def sliced_wasserstein(
    x: Any,
    y: Any,
    *,
    p: float = ...,
    n_projections: int = ...,
    directions: Any = ...,
    method: SlicedMethod = ...,
    control: SlicedControl | None = ...,
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
    memory_limit: int | str | None = ...,
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
    method: SlicedMethod = ...,
    control: SlicedControl | None = ...,
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
    memory_limit: int | str | None = ...,
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
    method: SlicedMethod = ...,
    control: SlicedControl | None = ...,
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
    memory_limit: int | str | None = ...,
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
    method: SlicedMethod = ...,
    control: SlicedControl | None = ...,
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
    memory_limit: int | str | None = ...,
    progress: Any = ...,
) -> float | SlicedResult: ...
def sliced_wasserstein(
    x: Any,
    y: Any,
    *,
    p: float = 2,
    n_projections: int = 128,
    directions: Any = None,
    method: SlicedMethod = "auto",
    control: SlicedControl | None = "auto",
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
    memory_limit: int | str | None = None,
    progress: Any = False,
) -> float | SlicedResult:
    r"""Sliced Wasserstein distance: the transport cost averaged over projections to a line.

    .. math:: SW_p(x, y) = \Bigl(\frac{1}{L} \sum_l W_p(θ_l^T x, θ_l^T y)^p\Bigr)^{1/p}

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        The samples, of any sizes. Memory maps, and arrays of h5py, zarr and dask, are read block
        by block, with the same result; whole if gradients are asked for.
    p : float, default 2
        Order of the distance, at least 1.
    n_projections : int, default 128
        Number L of directions to draw; not used when an array of directions is given.
    directions : array_like of shape (d, L), optional
        The directions, one of length 1 per column (to 1e-5 in float32, 1e-10 in float64). Those of
        float16 (to 1e-3) and bfloat16 (to 1e-2) are divided by their lengths.
    method : {"auto", "gaussian", "orthogonal", "sobol", "spiral"}
        How directions are drawn where none are given: as `sphere_directions` does, or, by
        default, what is most exact for d. That is one direction for d = 1, equal angles for 2,
        "spiral" for 3, a lattice of the sphere up to 10 (up to 4 without a control) and
        "orthogonal" above, all but the last in four rotations. With `direction_weights` it is
        "gaussian".
    control : {"auto", "moments", "harmonics"} or None
        Functions of the direction with known means, which take what they explain of the costs
        off the error (p = 2 and drawn directions only). "moments" are (θ·Δm)², Δm being the
        difference of the means, and the variances of both projected samples; "harmonics" are all
        spherical harmonics of even degree as long as there are no more than 2√L of them, those
        of degree 2 at least. By default harmonics for 2 ≤ d ≤ 10 if L is four times their number,
        else moments from 16 directions on, and none where the directions give functions of
        degree 2 their means by themselves, as whole orthogonal bases do. Where no direction is
        left to judge them by, or the mean under them is not above 0, there is none either.
    n_rotations : int, optional
        Draw the directions in that many sets, each rotated at random by itself; the standard
        error is then that over these sets.
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
    memory_limit : int or str, optional
        The most bytes to take beside inputs and results, such as "4GB". Samples that are not in
        memory, 1 GiB unless told otherwise, are read once for as many directions as that holds
        projections of.
    progress : bool or callable(done, total), default False
        Show a bar, or be called now and then.

    Returns
    -------
    float or SlicedResult
        The distance, root taken; 0 where the mean under control is negative. The standard error
        is that of the mean over independent directions, bases or rotated sets, through the root
        by the delta method: s/√L, or under control the jackknife over them. It is 0 where the
        value is 0 without a control or d = 1, and nan where there is one set only, as of Sobol
        and spiral directions without `n_rotations`, for given directions, for direction weights,
        and where there are as many controls as directions. Gradients by rows have the working
        dtype, those by weights are float64 and there if weights were given; they are 0 where the
        value is 0. Under control they are those of the value, with the coefficients of the
        controls held constant. `control` names what was used.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, 2-D, not empty and finite; for different numbers of
        columns, p < 1, directions of the wrong shape or not of length 1, weights of the wrong
        length, negative, or with zero sum, "spiral" unless d = 3, more rotations than directions,
        and a method, rotations or a control with given directions, or a control with
        `direction_weights` or p other than 2.
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
    Nguyen and Ho, Sliced Wasserstein estimation with control variates (2024). Leluc, Dieuleveut,
    Portier, Segers and Zhuman, Sliced-Wasserstein estimation with spherical harmonics as control
    variates (2024). Petrovic, Bardenet and Desolneux, Repulsive Monte Carlo on the sphere for the
    sliced Wasserstein distance (2025).

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> x, y = np.random.default_rng(0).normal(size=(2, 500, 3)) * [[[1]], [[2]]]
    >>> found = pt.sliced_wasserstein(x, y, rng=0, full=True)
    >>> f"{found.value:.4f} ± {found.standard_error:.4f} by {found.control}"
    '1.0235 ± 0.0001 by harmonics'
    """
    p = scalars.real("p", p, least=1)
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    # gradients are as large as their samples, which may as well be read whole
    a, b = validate.pair(
        "x", x, "y", y, check_finite=check_finite, workers=workers, sample=True,
        blocks=not return_gradient, sparse=False,
    )  # fmt: skip
    if not return_gradient:
        a, b = validate.streamed("x", a, "y", b, limit)
    wa, wb = (
        row_weights("x_weights", x_weights, len(a)),
        row_weights("y_weights", y_weights, len(b)),
    )
    _check_control(control, p, directions, direction_weights)
    if direction_weights is not None and method == "auto" and directions is None:
        method = "gaussian"  # of which each has its weight
    along, starts = chosen_directions(
        directions, a.shape[1], n_projections, rng, method=method, n_rotations=n_rotations,
        normalize=normalize_directions,
        controlled=control is not None and p == 2 and direction_weights is None,
    )  # fmt: skip
    n_slices = along.shape[1]
    given = validate.unit_weights("direction_weights", direction_weights, n_slices)
    if given is not None:
        starts = None
    used = controls.chosen_control(control, along, starts) if p == 2 else None
    equal = np.full(n_slices, 1 / n_slices) if given is None else given
    applied = controls.harmonic_controls(along) if used == "harmonics" else None
    if applied is not None and not applied.tells:
        used = applied = None
    weights = equal if applied is None else applied.weights
    weighted = x_weights is not None or y_weights is not None
    by_mass = weighted and wants(return_gradient, "x_weights", "y_weights")
    backend, dtype = choose.module(a, b), validate.working_dtype(a, b)
    # Derivatives of the costs leave the backend in the working dtype, where their size, a distance
    # to the power p − 1, may not fit. The distance along the first direction tells that size, and
    # where it does not, the largest distance does.
    unit = 1.0
    if return_gradient and p > 2:
        first, *_ = backend.sliced_costs(
            a, b, along[:, :1], p, wa, wb,
            gradient=False, direction_weights=None, workers=workers, progress=None,
            memory_limit=limit,
        )  # fmt: skip
        unit = _size_of(float(first[0]), p)
    samples = [
        ColumnMoments(s, w, workers=workers) for s, w in ((a, wa), (b, wb)) if used == "moments"
    ]
    while True:
        with reporting(progress, n_slices * steps_of(a, b)) as (report,):
            costs, *grads, moments = backend.sliced_costs(
                a, b, along, p, wa, wb, gradient=wants(return_gradient, "x", "y"),
                grad_x=wants(return_gradient, "x"), grad_y=wants(return_gradient, "y"),
                weight_gradient=by_mass,
                moments=used == "moments", direction_weights=weights * power(unit, 1 - p),
                workers=workers, progress=report, memory_limit=limit,
            )  # fmt: skip
        lost = out_of_reach(costs, p)
        if lost.any() and not costs[lost].any():  # nothing is lost where nothing differs
            apart = InReach(
                a, b, along[:, lost], math.inf, wa, wb, workers, memory_limit=limit
            )  # fmt: skip
            lost[lost] = apart.distances > 0
        if lost.any():
            used = applied = None
            apart = InReach(a, b, along, p, wa, wb, workers, memory_limit=limit)
            value, costs, mean = apart.value(equal)
            if return_gradient:
                grads = apart.gradients(equal, value)
            break
        if used == "moments":
            columns = controls.both_columns(moments, samples, dtype)
            applied = controls.moment_controls(moments, *columns, dtype)
        mean = float(np.sum((weights if applied is None else applied.weights) * costs))
        if applied is not None and (not applied.tells or mean <= 0 < costs.max()):
            again = return_gradient and used == "harmonics"  # whose weights the gradients have
            used = applied = None
            weights = equal
            if again:
                continue
            mean = float(np.sum(equal * costs))
        value = mean ** (1 / p)
        largest = float(costs.max()) ** (1 / p)
        if return_gradient and not _in_range(largest / unit, p, dtype):
            unit = largest
            continue
        if used == "moments" and applied is not None and return_gradient:
            beta = costs @ applied.by_cost / unit
            slopes = controls.MomentSlopes(along, beta, *columns)
            slopes.add(0, a, wa, *grads[::2])
            slopes.add(1, b, wb, *grads[1::2])
        # All go through the root: d value / d mean = value^(1−p) / p = value / (p · mean).
        factor = power(value / unit, 1 - p) / p if value > 0 else 0.0
        for grad in grads:
            if grad is not None:
                with np.errstate(over="ignore"):
                    np.multiply(grad, factor, out=grad)
        break
    if not (full or return_gradient):
        return value
    error = (standard_error if applied is None else applied.standard_error)(costs, starts)
    grad_x, grad_y, of_x, of_y = grads
    leaves = validate.like(x, y)
    return SlicedResult(
        value,
        _through_root(error, value, mean, p, controlled=applied is not None),
        leaves(validate.as_given(x, grad_x)),
        leaves(validate.as_given(y, grad_y)),
        leaves(by_weights(x_weights if by_mass else None, of_x)),
        leaves(by_weights(y_weights if by_mass else None, of_y)),
        used,
    )


def _size_of(cost: float, p: float) -> float:
    """The distance that a cost is of; 1 where it tells none."""
    return max(cost, sys.float_info.min) ** (1 / p) if 0 < cost < math.inf else 1.0


def _through_root(error: float, value: float, mean: float, p: float, *, controlled: bool) -> float:
    """The standard error of a value from that of the mean cost, by the delta method."""
    if value > 0:
        return error * (value / (p * mean))
    return math.sqrt(error) if controlled else error


def _in_range(size: float, p: float, dtype: Any) -> bool:
    """Whether derivatives of distances of this size, times small shares, fit the dtype."""
    if p == 1 or size == 0:
        return True
    digits = (p - 1) * abs(math.log2(size))
    return digits < (60 if np.dtype(dtype) == np.float32 else 500) or size == 1


def _check_control(control: Any, p: float, directions: Any, direction_weights: Any) -> None:
    """A ValueError that names both, if the control is asked for and cannot be."""
    if control is None:
        return
    scalars.choice("control", control, controls.CONTROLS)
    if control == "auto":
        return
    if p != 2:
        raise ValueError(f"control={control!r} is of p = 2, got p = {p:g}; pass control=None")
    for name, value in (("directions", directions), ("direction_weights", direction_weights)):
        if value is not None and not isinstance(value, str):
            raise ValueError(
                f"control={control!r} is of directions that are drawn and weigh alike; "
                f"pass one of control= and {name}="
            )
