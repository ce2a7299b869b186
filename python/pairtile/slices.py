"""Sliced transport: Wasserstein and energy distances from sorted one-dimensional projections.

The public face of `cpp/slices` (project → sort → merge → reduce): each function validates,
chooses directions, lets the backend compute one cost per direction, and turns the costs into a
value, its standard error and its gradients.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pairtile._front.words import DirectionMethod

__all__ = [
    "SlicedResult",
    "sliced_energy",
    "sliced_wasserstein",
    "sphere_directions",
    "wasserstein_1d",
]

_METHODS = ("gaussian", "orthogonal", "sobol")


class _SlicedResult(NamedTuple):
    value: float
    standard_error: float
    grad_x: Any
    grad_y: Any


class SlicedResult(Result, _SlicedResult):
    """A sliced statistic, how well it is known, and its derivatives.

    Attributes
    ----------
    value : float
        The statistic.
    standard_error : float
        Monte Carlo error of `value` over random directions; nan where it cannot be told.
    grad_x, grad_y : (n, d) and (m, d) arrays or None
        Gradients of `value` with respect to the points, when asked for.
    """


def wasserstein_1d(
    x: Any,
    y: Any,
    *,
    p: float = 1,
    x_weights: Any = None,
    y_weights: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> Any:
    r"""Wasserstein distance between one-dimensional samples, column by column.

    .. math:: W_p(x, y) = \Bigl(\int_0^1 |F_x^{-1}(q) - F_y^{-1}(q)|^p \, dq\Bigr)^{1/p}

    computed exactly from the sorted samples: the difference of the k-th values for samples of
    equal size without weights, the merge of the two quantile functions otherwise.

    Parameters
    ----------
    x, y : array_like, shapes (n,) and (m,), or (n, d) and (m, d)
        The samples. Each column of 2-D input is a problem of its own.
    p : float, default 1
        Order of the distance, at least 1; infinity for the largest distance that mass is moved.
    x_weights, y_weights : array_like, shapes (n,) and (m,), optional
        Weights of the rows, not negative, divided by their sum; the same for every column. Equal
        ones are the same as none.
    workers, check_finite, progress
        As everywhere, see `sliced_wasserstein`.

    Returns
    -------
    float, or array of float64, shape (d,)
        W_p, the root taken: one number for 1-D input, one per column for 2-D input.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, empty, not finite, or of different numbers of
        columns; for p < 1; for weights of the wrong length, negative, or with zero sum.

    Notes
    -----
    O(d N log N) time for N = n + m, and O(N) memory per column in work.

    References
    ----------
    Peyré and Cuturi, Computational Optimal Transport (2019), remark 2.30.
    """
    x, y = validate.aligned("x", x, "y", y)
    a, b = validate.array("x", x), validate.array("y", y)
    if a.ndim != b.ndim:
        raise ValueError(f"x is {a.ndim}-D and y is {b.ndim}-D; both need the same features")
    one_column = a.ndim == 1
    if one_column:
        a, b = a[:, None], b[:, None]
    p = math.inf if np.ndim(p) == 0 and p == math.inf else scalars.real("p", p, least=1)
    workers = resolve_workers(workers)
    a, b = validate.pair("x", a, "y", b, check_finite=check_finite, workers=workers)
    wa, wb = (
        _row_weights("x_weights", x_weights, len(a)),
        _row_weights("y_weights", y_weights, len(b)),
    )
    with reporting(progress, a.shape[1]) as (report,):
        if p == math.inf:
            distances = _InReach(a, b, None, p, wa, wb, workers).distances
        else:
            costs, _, _ = choose.module(a, b).sliced_costs(
                a, b, None, p, wa, wb,
                gradient=False, direction_weights=None, workers=workers, progress=report,
            )  # fmt: skip
            lost = _out_of_reach(costs, p)
            with np.errstate(over="ignore", invalid="ignore"):
                distances = costs ** (1 / p)
            if lost.any():
                some = np.flatnonzero(lost)
                distances[lost] = _InReach(
                    validate.columns(a, some), validate.columns(b, some), None, p, wa, wb, workers
                ).distances
    return float(distances[0]) if one_column else validate.like(x, y)(distances)


@overload
def sliced_wasserstein(
    x: Any,
    y: Any,
    *,
    p: float = ...,
    n_projections: int = ...,
    directions: Any = ...,
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
    directions : array_like of shape (d, L), or {"gaussian", "orthogonal", "sobol"}, optional
        The directions, one per column, used as they are (lengths are not made 1), or how
        `sphere_directions` draws them. None draws independent uniform directions.
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
        (over independent blocks of d for orthogonal directions), 0 where the value is 0, and nan
        for Sobol directions, given directions, direction weights and a single block. Gradients
        have the working dtype and are 0 where the value is 0.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, 2-D, not empty and finite; for different numbers of
        columns, p < 1, directions of the wrong shape, or weights of the wrong length, negative,
        or with zero sum.
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
        _row_weights("x_weights", x_weights, len(a)),
        _row_weights("y_weights", y_weights, len(b)),
    )
    along, block = _directions(directions, a.shape[1], n_projections, rng)
    n_slices = along.shape[1]
    weights = validate.unit_weights("direction_weights", direction_weights, n_slices)
    if weights is None:
        weights = np.full(n_slices, 1 / n_slices)
    else:
        block = None

    backend = choose.module(a, b)
    # Derivatives of the costs leave the backend in the working dtype, where their size, a distance
    # to the power p − 1, may not fit; the distance along the first direction tells that size.
    unit = 1.0
    if return_gradient and p > 2:
        first, _, _ = backend.sliced_costs(
            a, b, along[:, :1], p, wa, wb,
            gradient=False, direction_weights=None, workers=workers, progress=None,
        )  # fmt: skip
        if 0 < first[0] < math.inf:
            unit = max(float(first[0]), sys.float_info.min) ** (1 / p)
    with reporting(progress, n_slices) as (report,):
        costs, grad_x, grad_y = backend.sliced_costs(
            a, b, along, p, wa, wb, gradient=return_gradient,
            direction_weights=weights * _power(unit, 1 - p), workers=workers, progress=report,
        )  # fmt: skip
        lost = _out_of_reach(costs, p)
        if lost.any() and not costs[lost].any():  # nothing is lost where nothing differs
            lost[lost] = _InReach(a, b, along[:, lost], math.inf, wa, wb, workers).distances > 0
        if not lost.any():
            mean = float(np.sum(weights * costs))
            value: float = mean ** (1 / p)
            # Both go through the root: d value / d mean = value^(1−p) / p = value / (p · mean).
            for grad in (grad_x, grad_y):
                if grad is not None:
                    factor = _power(value / unit, 1 - p) / p if value > 0 else 0.0
                    with np.errstate(over="ignore"):
                        np.multiply(grad, factor, out=grad)
        else:
            apart = _InReach(a, b, along, p, wa, wb, workers)
            value, costs, mean = apart.value(weights)
            if return_gradient:
                grad_x, grad_y = apart.gradients(weights, value)
    if not (full or return_gradient):
        return value
    error = _standard_error(costs, block) * (value / (p * mean) if value > 0 else 1.0)
    to_user = validate.like(x, y)
    return SlicedResult(
        value, error, *(to_user(validate.as_given(s, g)) for s, g in ((x, grad_x), (y, grad_y)))
    )


def _row_weights(name: str, w: Any, n: int) -> NDArray[np.float64] | None:
    """Weights that sum to 1; None for equal ones, whose steps are then those of none."""
    weights = validate.unit_weights(name, w, n)
    return None if weights is None or bool((weights == weights[0]).all()) else weights


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf


def _out_of_reach(costs: NDArray[np.float64], p: float) -> NDArray[np.bool_]:
    """Of which lines p-th powers may have lost what their root would show."""
    if p == 1:
        return ~np.isfinite(costs)
    return ~((costs > 2.0**-960) & (costs < 2.0**960))


class _InReach:
    """Distances whose p-th powers leave float64: in units of the largest difference of each line.

    Of large orders, and of data far from 1; in host memory and in float64, whatever the input.
    """

    def __init__(
        self, a: Any, b: Any, along: Any, p: float, wa: Any, wb: Any, workers: int
    ) -> None:
        x, y = (validate.host(s).astype(np.float64) for s in (a, b))
        on_host = validate.in_host_memory(a, b) and choose.backend() != "cuda"
        self._module = choose.module(x, y) if on_host else choose.host_module()
        self._p, self._weights, self._workers = p, (wa, wb), workers
        self._dtype = validate.working_dtype(a, b)
        largest = max(float(np.abs(s).max()) for s in (x, y))
        exponent = min(max(math.frexp(largest)[1], -1021), 1023) if math.isfinite(largest) else 0
        unit = 2.0**exponent
        self._x, self._y = x * (1 / unit), y * (1 / unit)
        self._along = None if along is None else along.astype(np.float64)
        tops = self._costs(math.inf)
        self._tops = np.where(tops > 0, tops, 1.0)
        if self._along is None:
            self._x, self._y = self._x / self._tops, self._y / self._tops
        else:
            self._along = self._along / self._tops
        relative = tops if p == math.inf else np.where(tops > 0, self._costs(p), 0.0)
        self._relative = relative / self._tops if p == math.inf else relative ** (1 / p)
        with np.errstate(over="ignore", under="ignore"):
            self.distances = self._tops * self._relative * unit
        self._unit = unit

    def _costs(self, p: float, gradient: bool = False, weights: Any = None) -> Any:
        found = self._module.sliced_costs(
            self._x, self._y, self._along, p, *self._weights, gradient=gradient,
            direction_weights=weights, workers=self._workers, progress=None,
        )  # fmt: skip
        return found[1:] if gradient else found[0]

    def value(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], float]:
        """The distance over all lines, and p-th powers in its own unit with their mean."""
        distances = self._tops * self._relative
        top = float(distances.max()) or 1.0
        with np.errstate(under="ignore"):
            powers = (distances / top) ** self._p
        mean = float(np.sum(weights * powers))
        return top * mean ** (1 / self._p) * self._unit, powers, mean

    def gradients(self, weights: NDArray[np.float64], value: float) -> Any:
        """Those of the value by the points: of Σ w M^p cost, M being the unit of each line."""
        value /= self._unit
        share = np.zeros_like(self._tops)
        if value > 0:
            with np.errstate(under="ignore"):
                share = weights / self._p * (self._tops / value) ** (self._p - 1) * self._tops
        share[self._relative == 0] = 0.0
        return [validate.narrowed(g, self._dtype) for g in self._costs(self._p, True, share)]


@overload
def sliced_energy(
    x: Any,
    y: Any,
    *,
    n_projections: int = ...,
    directions: Any = ...,
    rng: Any = ...,
    full: Literal[False] = ...,
    return_gradient: Literal[False] = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Any = ...,
) -> float: ...
@overload
def sliced_energy(
    x: Any,
    y: Any,
    *,
    n_projections: int = ...,
    directions: Any = ...,
    rng: Any = ...,
    full: Literal[True],
    return_gradient: bool = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Any = ...,
) -> SlicedResult: ...
@overload
def sliced_energy(
    x: Any,
    y: Any,
    *,
    n_projections: int = ...,
    directions: Any = ...,
    rng: Any = ...,
    full: bool = ...,
    return_gradient: Literal[True],
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Any = ...,
) -> SlicedResult: ...
@overload
def sliced_energy(
    x: Any,
    y: Any,
    *,
    n_projections: int = ...,
    directions: Any = ...,
    rng: Any = ...,
    full: bool = ...,
    return_gradient: bool = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Any = ...,
) -> float | SlicedResult: ...
def sliced_energy(
    x: Any,
    y: Any,
    *,
    n_projections: int = 128,
    directions: Any = None,
    rng: Any = None,
    full: bool = False,
    return_gradient: bool = False,
    workers: int | None = None,
    check_finite: bool = True,
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
    n_projections, directions, rng, full, return_gradient, workers, check_finite, progress
        As for `sliced_wasserstein`; c_d supposes directions of length 1.

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
        columns or directions of the wrong shape.
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
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=workers, sample=True)
    dim = a.shape[1]
    along, block = _directions(directions, dim, n_projections, rng)
    with reporting(progress, along.shape[1]) as (report,):
        costs, grad_x, grad_y = choose.module(a, b).sliced_energy_costs(
            a, b, along, gradient=return_gradient, workers=workers, progress=report
        )
    factor = energy_factor(dim)
    value = factor * float(np.mean(costs))
    if not (full or return_gradient):
        return value
    for grad in (grad_x, grad_y):
        if grad is not None:
            np.multiply(grad, factor, out=grad)
    to_user = validate.like(x, y)
    error = factor * _standard_error(costs, block)
    return SlicedResult(
        value, error, *(to_user(validate.as_given(s, g)) for s, g in ((x, grad_x), (y, grad_y)))
    )


def energy_factor(d: int) -> float:
    """c_d: how much longer a vector is than its projection is on average."""
    # Γ overflows beyond d = 340, its logarithm does not.
    return math.sqrt(math.pi) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))


def sphere_directions(
    d: int, n: int, *, rng: Any = None, method: DirectionMethod = "gaussian"
) -> NDArray[np.float64]:
    """Directions uniform on the unit sphere, drawn by NumPy on the host.

    Parameters
    ----------
    d : int
        Dimension of the space.
    n : int
        Number of directions.
    rng : int, numpy.random.Generator or None
        Where they come from.
    method : {"gaussian", "orthogonal", "sobol"}
        Independent directions; independent random orthogonal bases, one after the other (the last
        one cut at n), so that d directions cover all of space; or a randomly shifted Sobol
        sequence sent through the normal quantile function, which fills the sphere more evenly
        (needs SciPy).

    Returns
    -------
    (d, n) array of float64
        One direction of length 1 per column.

    Raises
    ------
    TypeError, ValueError
        If d or n is not a positive integer, or the method is unknown.
    ImportError
        For "sobol" without SciPy.

    Notes
    -----
    O(d n) time, O(d² n) for "orthogonal", which goes through bases of more than 256 columns panel
    by panel.

    References
    ----------
    Stewart, The efficient generation of random orthogonal matrices (1980).
    """
    d, n = scalars.count("d", d), scalars.count("n", n)
    scalars.choice("method", method, _METHODS)
    generator = scalars.generator(rng)
    if method == "orthogonal":
        points = np.empty((d, n))
        for start in range(0, n, d):
            _fill_orthogonal(points[:, start : start + d], generator)
        return points
    draw = _sobol_normals if method == "sobol" else _normals
    points = draw(d, n, generator)
    for some in _spans(n, d):
        points[:, some] /= np.linalg.norm(points[:, some], axis=0)
    return points


# No call to NumPy below takes long, so that Ctrl-C is soon heard.
_AT_A_TIME = 1 << 20  # numbers


def _spans(n: int, d: int) -> Iterator[slice]:
    """0, ..., n − 1 in spans of about `_AT_A_TIME` numbers, d for each."""
    step = max(1, _AT_A_TIME // d)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _normals(d: int, n: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """The very numbers of ``generator.standard_normal((d, n))``."""
    points = np.empty((d, n))
    flat = points.reshape(-1)
    for some in _spans(d * n, 1):
        generator.standard_normal(out=flat[some])
    return points


def _fill_orthogonal(out: NDArray[np.float64], generator: np.random.Generator) -> None:
    """Columns of a Haar distributed orthogonal matrix: Q of a Gaussian one, signs set by R.

    A panel of columns at a time, after what the panels before it span was taken off, twice:
    the first time leaves rounding errors of its own.
    """
    d, n = out.shape
    width = max(16, min(256, (1 << 23) // d))
    out[:] = _normals(d, n, generator)
    for start in range(0, n, width):
        panel = out[:, start : start + width].copy()
        for _ in range(2 if start else 0):
            for before in range(0, start, width):
                q = out[:, before : before + width]
                panel -= q @ (q.T @ panel)
        q, r = np.linalg.qr(panel)
        out[:, start : start + width] = q * np.copysign(1.0, np.diagonal(r))


def _sobol_normals(d: int, n: int, generator: np.random.Generator) -> NDArray[np.float64]:
    try:
        from scipy.special import ndtri
        from scipy.stats import qmc
    except ImportError as error:
        raise ImportError(
            'method="sobol" needs SciPy; "gaussian" and "orthogonal" do not'
        ) from error
    sequence = qmc.Sobol(d, scramble=False)
    # A random shift modulo 1 makes every point uniform and keeps them evenly spread.
    shift = generator.random(d)
    points = np.empty((d, n))
    step = 1 << max(0, (_AT_A_TIME // d).bit_length() - 1)  # powers of two, as the sequence wants
    for start in range(0, n, step):
        lattice = sequence.random(min(step, 1 << (n - 1).bit_length()))[: n - start]
        points[:, start : start + step] = ndtri((lattice + shift) % 1).T
    return points


def _directions(
    directions: Any, dim: int, n_projections: int, rng: Any
) -> tuple[NDArray[Any], int | None]:
    """The (d, L) directions, and how many neighbouring ones depend on each other.

    None in place of that number where independent blocks are not to be had.
    """
    if directions is None or isinstance(directions, str):
        method: Any = "gaussian" if directions is None else directions
        scalars.choice("directions", method, _METHODS)
        n_projections = scalars.count("n_projections", n_projections)
        drawn = sphere_directions(dim, n_projections, rng=rng, method=method)
        return drawn, {"gaussian": 1, "orthogonal": dim, "sobol": None}[method]
    given = validate.matrix("directions", validate.host(directions))
    if given.shape[0] != dim:
        raise ValueError(
            f"directions has {given.shape[0]} rows and x has {dim} columns; "
            "directions has shape (features, directions)"
        )
    return (given if given.dtype.name == "float32" else given.astype(np.float64)), None


def _standard_error(costs: NDArray[np.float64], block: int | None) -> float:
    """Standard error of the mean of costs that are independent from block to block."""
    if block is None or len(costs) <= block:
        return math.nan
    starts = np.arange(0, len(costs), block)
    excess = np.add.reduceat(costs - costs.mean(), starts)
    blocks = len(starts)
    # in a unit, a power of two, in which squares do not overflow
    unit = 2.0 ** math.frexp(float(np.abs(excess).max()))[1]
    square = blocks / (blocks - 1) * np.sum((excess / unit) ** 2)
    return float(np.sqrt(square)) / len(costs) * unit
