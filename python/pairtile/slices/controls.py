"""Control variates of the mean over directions, for p = 2.

A function of the direction whose mean over the sphere is known is taken off the costs, times the
coefficient that least squares find. What it explained of them no longer adds to the error:

    moments     (θ·Δm)² of means, θᵀΣθ of the covariances of x and of y: what a cost is made of,
                with means |Δm|²/d and tr Σ/d; three functions, which depend on the data
    harmonics   spherical harmonics of even degree (a cost is the same for θ and −θ); their
                coefficients come to weights of the directions that do not depend on the data
"""

from __future__ import annotations

import math
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front import validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pairtile.slices.moments import ColumnMoments

    Floats = NDArray[np.float64]

CONTROLS = ("auto", "moments", "harmonics")


def chosen_control(
    control: str | None, along: NDArray[Any], starts: NDArray[np.intp] | None
) -> str | None:
    """What "auto" means for these directions, by measurement: `bench/directions.py`."""
    d, n = along.shape
    if control != "auto":
        return control
    if starts is None or len(starts) == 0 or d == 1:
        return None
    # Orthogonal bases give functions of degree 2 their mean already.
    sizes = np.diff(starts, append=n)
    balanced = not (sizes % d).any() and _are_bases(along, d)
    functions = harmonic_functions(d, n)
    if d <= 10 and 4 * (functions + 1) <= n:
        return None if balanced and harmonic_degree(d, n) == 2 else "harmonics"
    return "moments" if n >= 16 and not balanced else None


def _are_bases(along: NDArray[Any], d: int) -> bool:
    """Whether directions are orthonormal bases one after the other, as their sums tell."""
    excess = along @ along.T * (d / along.shape[1]) - np.eye(d)
    return float(np.abs(excess).max()) < 1e-9


class Controls(NamedTuple):
    """Controls (L, K) less their known means, as an orthonormal basis of what varies in them.

    The mean of costs under control is Σ weights · costs.
    """

    basis: Floats
    weights: Floats
    by_cost: Floats  # (L, K): costs @ by_cost are the coefficients of the controls

    @property
    def tells(self) -> bool:
        """Whether there are more directions than coefficients: costs are not just interpolated."""
        n, k = self.basis.shape
        return bool(k < n - 1)

    def standard_error(self, costs: Floats, starts: NDArray[np.intp] | None) -> float:
        """Of that mean, by the jackknife over independent sets.

        In closed form: the mean without a set b differs by w_bᵀ (I − H_bb)⁻¹ r_b from the mean,
        for residuals r and the projection H on the constant and the controls. nan where one set
        alone decides a coefficient.
        """
        n, k = self.basis.shape
        if starts is not None and len(starts) == 0:
            return 0.0  # the costs are exact
        if starts is None or len(starts) < 2 or n - 1 - k < 1:
            return math.nan
        unit = 2.0 ** math.frexp(float(np.abs(costs).max()))[1]
        excess = (costs - costs.mean()) / unit
        residuals = excess - self.basis @ (self.basis.T @ excess)
        columns = np.column_stack([np.full(n, 1 / math.sqrt(n)), self.basis])
        sets = len(starts)
        if sets == n:
            free = 1 - np.sum(columns**2, axis=1)
            if free.min() < 1e-8:
                return math.nan
            changes = self.weights * residuals / free
        else:
            changes = np.empty(sets)
            for b, stop in enumerate(np.append(starts[1:], n)):
                some = slice(starts[b], stop)
                change = _without(columns[some], self.weights[some], residuals[some])
                if change is None:
                    return math.nan
                changes[b] = change
        return math.sqrt((sets - 1) / sets * float(np.sum(changes**2))) * unit


def _without(columns: Floats, weights: Floats, residuals: Floats) -> float | None:
    """By how much the mean differs without a set; None where that leaves a coefficient open."""
    rows, k = columns.shape
    inner = columns @ columns.T if rows <= k else columns.T @ columns
    values, vectors = np.linalg.eigh(np.eye(len(inner)) - inner)
    if values[0] < 1e-8:
        return None
    if rows <= k:
        return float((weights @ vectors / values) @ (vectors.T @ residuals))
    turned = columns @ vectors
    return float(weights @ residuals + (weights @ turned / values) @ (turned.T @ residuals))


_RANK = 1e-7  # what share of the largest tells a combination of controls from rounding


def least_squares(controls: Floats, tolerance: float = _RANK) -> Controls:
    """Controls (L, K) of size about 1, with mean 0 over the sphere.

    Combinations of them that do not vary by `tolerance` of the largest are left out.
    """
    n = len(controls)
    means = controls.mean(axis=0)
    varying = controls - means
    squares, right = np.linalg.eigh(varying.T @ varying)
    floor = 1e-24 * n  # of controls that do not vary at all
    ranked = squares > max(tolerance**2 * squares.max(initial=0.0), floor)
    values, right = np.sqrt(squares[ranked]), right[:, ranked]
    basis = varying @ right / values
    by_cost = (basis / values) @ right.T
    return Controls(basis, 1 / n - by_cost @ means, by_cost)


# --- moments ------------------------------------------------------------------------------------


class Columns(NamedTuple):
    """Of one sample: its mean, and the sum of the variances of its columns in `unit`²."""

    mean: Floats
    trace: float
    unit: float


_AT_A_TIME = 1 << 16  # numbers, which stay in cache, and lose little when added up in float32


def _blocks(rows: Any, weights: Floats | None, dtype: Any) -> Iterator[tuple[Any, ...]]:
    """Rows in blocks: where they are, they themselves, and their weights."""
    step = max(1, _AT_A_TIME // rows.shape[1])
    for start in range(0, len(rows), step):
        some = slice(start, min(start + step, len(rows)))
        block = validate.host(rows[some]).astype(dtype, copy=False)
        yield some, block, None if weights is None else weights[some]


def columns_of(sample: ColumnMoments, unit: float) -> Columns:
    """Those of a sample."""
    mean, variances = sample.value()
    return Columns(mean, float(np.sum(variances / unit / unit)), unit)


def both_columns(
    moments: Floats, samples: Sequence[ColumnMoments], dtype: Any
) -> tuple[Columns, Columns]:
    """Of both samples, in a unit, a power of two, in which squares of distances are numbers."""
    size = float(np.abs(moments[:, 0] - moments[:, 1]).max() + np.sqrt(moments[:, 2:].max()))
    near, most = (240, 1000) if np.dtype(dtype) == np.float64 else (30, 120)
    exponent = min(max(math.frexp(size)[1], -most), most)
    unit = 1.0 if size == 0 or abs(exponent) <= near else 2.0**exponent
    x, y = samples
    return columns_of(x, unit), columns_of(y, unit)


def moment_controls(moments: Floats, x: Columns, y: Columns, dtype: Any) -> Controls:
    """By the means and variances (L, 4) of the projections on each line."""
    d, unit = len(x.mean), x.unit
    shift = (x.mean - y.mean) / unit
    known = np.array([float(shift @ shift), x.trace, y.trace]) / d
    means = (moments[:, 0] - moments[:, 1]) / unit
    found = np.column_stack([means**2, moments[:, 2:] / unit / unit])
    excess = found - known
    narrow = np.dtype(dtype) == np.float32
    # What varies by rounding only, as the variances of a sphere do, is no control; nor are means
    # that differ by rounding only.
    spread = excess.std(axis=0)
    kept = spread > (1e-5 if narrow else 1e-10) * known
    kept[0] &= math.sqrt(known[0]) > (1e-6 if narrow else 1e-12) * math.sqrt(known[1:].sum())
    fit = least_squares(excess[:, kept] / spread[kept], 1e-4 if narrow else _RANK)
    by_cost = np.zeros_like(excess)
    by_cost[:, kept] = fit.by_cost / spread[kept] / unit / unit
    return fit._replace(by_cost=by_cost)


class MomentSlopes:
    """Derivatives of −β · (mean of the controls − known mean), by rows and by their mass.

    With A = ΘΘᵀ/L − I/d the controls exceed their means by Δmᵀ A Δm, tr(A Σ_x) and tr(A Σ_y).
    """

    def __init__(self, along: NDArray[Any], beta: Floats, x: Columns, y: Columns) -> None:
        self._along = along.astype(np.float64)
        self._beta = beta
        self._columns = x, y
        self._pull = self._through(x.mean - y.mean)

    def _through(self, rows: Floats) -> Floats:
        """Rows times A."""
        d, n = self._along.shape
        return np.asarray((rows @ self._along) @ self._along.T / n - rows / d)

    def add(self, which: int, rows: Any, weights: Floats | None, grad: Any, mass: Any) -> None:
        """Add to the gradients of x (which = 0) or y (1), and of the shares of their mass."""
        sign, mean = (1.0, -1.0)[which], self._columns[which].mean
        shift, spread = -self._beta[0], -self._beta[1 + which]
        total = 0.0
        for some, block, w in _blocks(rows, weights, np.float64):
            share = np.full(len(block), 1 / len(rows)) if w is None else w
            with np.errstate(over="ignore", invalid="ignore"):  # of what weighs nothing
                centred = block - mean
                bent = self._through(centred)
                own = spread * np.einsum("ij,ij->i", bent, centred)
                slopes = 2 * share[:, None] * (sign * shift * self._pull + spread * bent)
            there = share > 0
            if grad is not None:
                _add_rows(grad, some, np.where(there[:, None], slopes, 0.0))
            if mass is not None:
                mass[some] += own + 2 * sign * shift * (centred @ self._pull)
                total += float(share[there] @ own[there])
        if mass is not None:
            mass -= total


def _add_rows(grad: Any, some: slice, slopes: Floats) -> None:
    with np.errstate(over="ignore"):
        if isinstance(grad, np.ndarray):
            grad[some] += slopes.astype(grad.dtype)
        else:  # on a device
            grad[some] += validate.like(grad)(slopes.astype(str(grad.dtype)))


# --- harmonics ----------------------------------------------------------------------------------


def _dimension(d: int, degree: int) -> int:
    """Number of spherical harmonics of one degree in d dimensions."""
    if d == 1:
        return int(degree < 2)
    return math.comb(d + degree - 1, degree) - (
        math.comb(d + degree - 3, degree - 2) if degree > 1 else 0
    )


def harmonic_degree(d: int, n: int) -> int:
    """The largest even degree up to which there are at most 2√n functions; 2 if there is none."""
    degree, functions = 2, _dimension(d, 2)
    while d > 1 and (functions := functions + _dimension(d, degree + 2)) <= 2 * math.sqrt(n):
        degree += 2
    return degree


def harmonic_functions(d: int, n: int) -> int:
    """How many harmonics of even degree, not 0, there are up to `harmonic_degree`."""
    return sum(_dimension(d, degree) for degree in range(2, harmonic_degree(d, n) + 1, 2))


def harmonic_controls(along: NDArray[Any]) -> Controls:
    """All harmonics of even degree, from 2 up to `harmonic_degree`, as one linear space.

    For d = 2 they are cosines and sines. Otherwise the space is that of the products of k
    coordinates, k the degree, less their means: weighted so that two directions have the inner
    product (θ·φ)^k, it is the same space, and the same weights of the directions, in every frame.
    """
    d, n = along.shape
    theta = along.astype(np.float64)
    degree = harmonic_degree(d, n)
    if d == 2:
        turns = np.arctan2(theta[1], theta[0])[:, None] * np.arange(2, degree + 1, 2)
        functions = np.hstack([np.cos(turns), np.sin(turns)])
    elif math.comb(d + degree - 1, degree) <= n:
        functions = _products(theta, degree)
    else:  # as many functions as there are directions, with the same inner products
        even = np.zeros(d, dtype=np.intp)
        even[0] = degree
        squares, vectors = np.linalg.eigh((theta.T @ theta) ** degree - _mean_of_product(even))
        there = squares > _RANK**2 * squares.max()  # what is left of the others is rounding
        functions = vectors[:, there] * np.sqrt(squares[there])
    return least_squares(functions)


def _mean_of_product(powers: NDArray[np.intp]) -> float:
    """Mean over the sphere of the product of these powers of the coordinates."""
    if (powers % 2).any():
        return 0.0
    d, degree = len(powers), int(powers.sum())
    logs = sum(math.lgamma((k + 1) / 2) - math.lgamma(0.5) for k in powers)
    return math.exp(logs + math.lgamma(d / 2) - math.lgamma((d + degree) / 2))


def _products(theta: Floats, degree: int) -> Floats:
    """Products of `degree` coordinates less their means over the sphere."""
    d, n = theta.shape
    columns = []
    for factors in combinations_with_replacement(range(d), degree):
        powers = np.bincount(factors, minlength=d)
        ways = math.factorial(degree)
        for power in powers:
            ways //= math.factorial(int(power))
        product = np.ones(n)
        for factor in factors:
            product = product * theta[factor]
        columns.append(math.sqrt(ways) * (product - _mean_of_product(powers)))
    return np.stack(columns, axis=1)
