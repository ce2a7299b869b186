"""The energy distance by projections."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from pairtile._backends import choose
from pairtile._backends.rows import steps_of
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile._front.wanted import wants
from pairtile.slices.directions import chosen_directions
from pairtile.slices.mean import standard_error
from pairtile.slices.results import SlicedResult

if TYPE_CHECKING:
    from pairtile._front.words import DirectionMethod


@overload
def sliced_energy(
    x: Any,
    y: Any,
    *,
    n_projections: int = ...,
    directions: Any = ...,
    method: DirectionMethod = ...,
    normalize_directions: bool = ...,
    rng: Any = ...,
    full: Literal[False] = ...,
    return_gradient: Literal[False] = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    memory_limit: int | str | None = ...,
    progress: Any = ...,
) -> float: ...
@overload
def sliced_energy(
    x: Any,
    y: Any,
    *,
    n_projections: int = ...,
    directions: Any = ...,
    method: DirectionMethod = ...,
    normalize_directions: bool = ...,
    rng: Any = ...,
    full: Literal[True],
    return_gradient: bool = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    memory_limit: int | str | None = ...,
    progress: Any = ...,
) -> SlicedResult: ...
@overload
def sliced_energy(
    x: Any,
    y: Any,
    *,
    n_projections: int = ...,
    directions: Any = ...,
    method: DirectionMethod = ...,
    normalize_directions: bool = ...,
    rng: Any = ...,
    full: bool = ...,
    return_gradient: Literal[True],
    workers: int | None = ...,
    check_finite: bool = ...,
    memory_limit: int | str | None = ...,
    progress: Any = ...,
) -> SlicedResult: ...
@overload
def sliced_energy(
    x: Any,
    y: Any,
    *,
    n_projections: int = ...,
    directions: Any = ...,
    method: DirectionMethod = ...,
    normalize_directions: bool = ...,
    rng: Any = ...,
    full: bool = ...,
    return_gradient: bool = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    memory_limit: int | str | None = ...,
    progress: Any = ...,
) -> float | SlicedResult: ...
def sliced_energy(
    x: Any,
    y: Any,
    *,
    n_projections: int = 128,
    directions: Any = None,
    method: DirectionMethod = "gaussian",
    normalize_directions: bool = False,
    rng: Any = None,
    full: bool = False,
    return_gradient: bool = False,
    workers: int | None = None,
    check_finite: bool = True,
    memory_limit: int | str | None = None,
    progress: Any = False,
) -> float | SlicedResult:
    r"""Energy distance estimated from one-dimensional projections, in O(L N log N).

    .. math:: E_d(x, y) = c_d \, \mathbb{E}_θ [E_1(θ^T x, θ^T y)], \quad
              c_d = \sqrt{π} \, Γ((d+1)/2) / Γ(d/2)

    with E_1 = 2E|x − y| − E|x − x'| − E|y − y'| = 2 ∫ (F − G)² dt of the projected samples. Over
    all directions this is exactly ``energy_distance(x, y)``; the mean over L of them estimates it
    without bias.

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        The samples, of any sizes.
    n_projections, directions, normalize_directions
        As for `sliced_wasserstein`.
    method : {"gaussian", "orthogonal", "sobol", "spiral"}
        How `sphere_directions` draws them.
    rng, full, return_gradient, workers, check_finite, memory_limit, progress
        As for `sliced_wasserstein`.

    Returns
    -------
    float or SlicedResult
        The squared statistic, no root taken, as `energy_distance` returns it by default. The
        gradient with respect to a point is c_d · mean_θ θ · 2 (mean_j sign(θᵀ(x_i − y_j)) −
        mean_j sign(θᵀ(x_i − x_j))), with sign(0) = 0, found from ranks.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, 2-D, not empty and finite; for different numbers of
        columns; for directions of the wrong shape or not of length 1.
    ImportError
        For Sobol directions without SciPy.

    Notes
    -----
    Memory is O(n + m) per direction in work.

    References
    ----------
    Hertrich, Wald, Altekrüger and Hagemann, Generative sliced MMD flows with Riesz kernels (2024).
    """
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    # gradients are as large as their samples, which may as well be read whole
    a, b = validate.pair(
        "x", x, "y", y, check_finite=check_finite, workers=workers, sample=True,
        blocks=not return_gradient, sparse=False,
    )  # fmt: skip
    if not return_gradient:
        a, b = validate.streamed("x", a, "y", b, limit)
    dim = a.shape[1]
    along, starts = chosen_directions(
        directions, dim, n_projections, rng, method=method, normalize=normalize_directions
    )
    with reporting(progress, along.shape[1] * steps_of(a, b)) as (report,):
        costs, grad_x, grad_y = choose.module(a, b).sliced_energy_costs(
            a, b, along, gradient=bool(return_gradient), grad_x=wants(return_gradient, "x"),
            grad_y=wants(return_gradient, "y"), workers=workers, progress=report,
            memory_limit=limit,
        )  # fmt: skip
    factor = energy_factor(dim)
    value = factor * float(np.mean(costs))
    if not (full or return_gradient):
        return value
    for grad in (grad_x, grad_y):
        if grad is not None:
            np.multiply(grad, factor, out=grad)
    to_user = validate.like(x, y)
    error = factor * standard_error(costs, starts)
    return SlicedResult(
        value, error, *(to_user(validate.as_given(s, g)) for s, g in ((x, grad_x), (y, grad_y)))
    )


def energy_factor(d: int) -> float:
    """c_d: how much longer a vector is than its projection is on average."""
    # Γ overflows beyond d = 340, its logarithm does not.
    return math.sqrt(math.pi) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))
