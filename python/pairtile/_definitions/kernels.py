"""The kernels: functions of one number of a pair of rows, with their derivatives by it.

That number, a kernel's argument t, is the squared distance, the L1 distance, the dot product, or
the dot product of rows divided by their norms. Each kernel is one record below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._definitions.metrics import dot, manhattan, normalised, sq_distance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Term = tuple[float, str, tuple[float, ...]]  # weight, name, parameters
    Derivatives = tuple[Floats, Floats, Floats]


def cosine(a: Floats, b: Floats) -> Floats:
    """Dot product of every pair of rows divided by their norms."""
    return dot(normalised(a), normalised(b))


@dataclass(frozen=True)
class Kernel:
    """What there is to know of a kernel but its way through the engine.

    Parameters
    ----------
    argument : callable(a, b)
        The number of every pair of rows that it reads: `sq_distance`, `manhattan`, `dot` or
        `cosine`.
    value, slope : callable(t, *params)
        The kernel, and its derivative by t; 0 at t = 0 where it has none.
    log : callable(t, *params), optional
        Its logarithm, where it is positive everywhere.
    stein : callable(s, *params), optional
        k(s), k'(s) and s k''(s), of a kernel for which all are finite everywhere.
    """

    argument: Callable[[Floats, Floats], Floats]
    value: Callable[..., Floats]
    slope: Callable[..., Floats]
    log: Callable[..., Floats] | None = None
    stein: Callable[..., Derivatives] | None = None


def _where_apart(s: Floats, slope: Floats) -> Floats:
    """The slope of a kernel that has none for equal rows."""
    return np.where(s > 0, slope, 0.0)


def _laplace_slope(s: Floats, gamma: float) -> Floats:
    d = np.sqrt(s)
    return _where_apart(s, -gamma * np.exp(-gamma * d) / (2 * d))


_VANISHED = 1e3  # beyond which e^-z is 0
_LARGEST_SQUARED = 1e150


def _matern32(s: Floats, r: float) -> Floats:
    z = np.minimum(r * np.sqrt(s), _VANISHED)
    return (1 + z) * np.exp(-z)


def _log_matern32(s: Floats, r: float) -> Floats:
    z = r * np.sqrt(s)
    return np.log1p(np.minimum(z, _LARGEST_SQUARED)) - z


def _matern32_slope(s: Floats, r: float) -> Floats:
    rate = min(r, _LARGEST_SQUARED)
    return -rate * rate / 2 * np.exp(-r * np.sqrt(s))


def _matern52(s: Floats, r: float) -> Floats:
    z = np.minimum(r * np.sqrt(s), _VANISHED)
    return (1 + z + z * z / 3) * np.exp(-z)


def _log_matern52(s: Floats, r: float) -> Floats:
    z = r * np.sqrt(s)
    y = np.minimum(z, _LARGEST_SQUARED)
    return np.log1p(y + y * y / 3) - z


def _matern52_slope(s: Floats, r: float) -> Floats:
    z = np.minimum(r * np.sqrt(s), _VANISHED)
    rate = min(r, _LARGEST_SQUARED)
    return -rate * rate / 6 * (1 + z) * np.exp(-z)


def _polynomial_slope(t: Floats, degree: float, gamma: float, coef0: float) -> Floats:
    return degree * gamma * (gamma * t + coef0) ** int(degree - 1)


def _gaussian_stein(s: Floats, gamma: float) -> Derivatives:
    k = np.exp(-gamma * s)
    return k, -gamma * k, gamma**2 * s * k


def _rational_quadratic_stein(s: Floats, scale: float, alpha: float) -> Derivatives:
    base = 1 + scale * s
    k = base**-alpha
    return k, -alpha * scale * k / base, alpha * (alpha + 1) * scale**2 * s * k / base**2


def _cauchy_stein(s: Floats, q: float) -> Derivatives:
    k = 1 / (1 + q * s)
    return k, -q * k**2, 2 * q**2 * s * k**3


def _matern32_stein(s: Floats, r: float) -> Derivatives:
    z = r * np.sqrt(s)
    tail = np.exp(-z)
    return (1 + z) * tail, -(r**2) / 2 * tail, r**2 / 4 * z * tail


def _matern52_stein(s: Floats, r: float) -> Derivatives:
    z = r * np.sqrt(s)
    tail = np.exp(-z)
    return (1 + z + z * z / 3) * tail, -(r**2) / 6 * (1 + z) * tail, r**2 / 12 * z * z * tail


# By the names and with the parameters that the engine knows them by.
KERNELS: dict[str, Kernel] = {
    "gaussian": Kernel(
        sq_distance,
        lambda s, gamma: np.exp(-gamma * s),
        slope=lambda s, gamma: -gamma * np.exp(-gamma * s),
        log=lambda s, gamma: -gamma * s,
        stein=_gaussian_stein,
    ),
    "laplace": Kernel(
        sq_distance,
        lambda s, gamma: np.exp(-gamma * np.sqrt(s)),
        slope=_laplace_slope,
        log=lambda s, gamma: -gamma * np.sqrt(s),
    ),
    "laplace_l1": Kernel(
        manhattan,
        lambda a, gamma: np.exp(-gamma * a),
        slope=lambda a, gamma: -gamma * np.exp(-gamma * a),
        log=lambda a, gamma: -gamma * a,
    ),
    "rational_quadratic": Kernel(
        sq_distance,
        lambda s, scale, alpha: (1 + s * scale) ** -alpha,
        slope=lambda s, scale, alpha: -alpha * scale * (1 + scale * s) ** (-alpha - 1),
        log=lambda s, scale, alpha: -alpha * np.log1p(s * scale),
        stein=_rational_quadratic_stein,
    ),
    "cauchy": Kernel(
        sq_distance,
        lambda s, q: 1 / (1 + q * s),
        slope=lambda s, q: -q * (1 / (1 + q * s)) ** 2,
        log=lambda s, q: -np.log1p(q * s),
        stein=_cauchy_stein,
    ),
    "matern32": Kernel(
        sq_distance,
        _matern32,
        slope=_matern32_slope,
        log=_log_matern32,
        stein=_matern32_stein,
    ),
    "matern52": Kernel(
        sq_distance, _matern52, slope=_matern52_slope, log=_log_matern52, stein=_matern52_stein
    ),
    "polynomial": Kernel(
        dot,
        lambda t, degree, gamma, coef0: (gamma * t + coef0) ** int(degree),
        slope=_polynomial_slope,
    ),
    "linear": Kernel(dot, lambda t: t, slope=np.ones_like),
    "cosine": Kernel(cosine, lambda t: t, slope=np.ones_like),
    "energy": Kernel(
        sq_distance,
        lambda s, exponent: -(np.sqrt(s) ** exponent),
        slope=lambda s, alpha: _where_apart(s, -alpha / 2 * s ** (alpha / 2 - 1)),
    ),
}


def _sum_of(
    terms: Sequence[Term], argument: Callable[[Callable[..., Floats]], Floats], shape: Any
) -> Floats:
    """Weighted sum of kernels, of which each argument is computed once."""
    found: dict[Callable[..., Floats], Floats] = {}
    total = np.zeros(shape)
    with np.errstate(over="ignore", invalid="ignore"):
        for weight, name, params in terms:
            kernel = KERNELS[name]
            if kernel.argument not in found:
                found[kernel.argument] = argument(kernel.argument)
            total += weight * kernel.value(found[kernel.argument], *params)
    return total


def evaluate(a: Floats, b: Floats, terms: Sequence[Term]) -> Floats:
    """The kernel of every pair of rows of two blocks."""
    return _sum_of(terms, lambda argument: argument(a, b), (len(a), len(b)))


def evaluate_diagonal(a: Floats, terms: Sequence[Term]) -> Floats:
    """The kernel of each row with itself."""

    def argument(of: Callable[..., Floats]) -> Floats:
        if of is dot:
            return _products(a, a)
        return np.where(a.any(axis=1), 1.0, 0.0) if of is cosine else np.zeros(len(a))

    return _sum_of(terms, argument, len(a))


def reads_rows(terms: Sequence[Term]) -> bool:
    """Whether the kernel of a row with itself depends on the row."""
    return any(KERNELS[name].argument in (dot, cosine) for _, name, _ in terms)


def evaluate_pairs(a: Floats, b: Floats, terms: Sequence[Term]) -> Floats:
    """The kernel of row i of a with row i of b, for every i."""

    def argument(of: Callable[..., Floats]) -> Floats:
        if of is cosine:
            return _products(normalised(a), normalised(b))
        if of is dot:
            return _products(a, b)
        difference = a - b
        if of is manhattan:
            total: Floats = np.abs(difference).sum(axis=1)
            return total
        return _products(difference, difference)

    return _sum_of(terms, argument, len(a))


def _products(a: Floats, b: Floats) -> Floats:
    """The dot product of row i of a with row i of b, for every i."""
    products: Floats = np.einsum("ij,ij->i", a, b)
    return products


def one_argument(terms: Sequence[Term]) -> bool:
    """Whether all terms read one number of a pair, so that one sweep sees the whole kernel."""
    return len({KERNELS[name].argument for _, name, _ in terms}) == 1


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def stein_kernel(
    squares: Floats, products: Floats, cross: Floats, features: int, terms: Sequence[Term]
) -> Floats:
    """The Stein kernel of pairs, from what it reads of them.

    With scores s = ∇ log p and k a function of d² = ‖x − y‖², whose derivatives by d² are k', k'':

        k_p(x, y) = s_x·s_y k − 2 (x − y)·(s_x − s_y) k' − 2 f k' − 4 d² k'',   f features
    """
    total = np.zeros_like(squares)
    for weight, name, params in terms:
        derivatives = KERNELS[name].stein
        assert derivatives is not None  # checked by who calls
        # infinity times zero, of rows too far apart for the kernel, is zero
        k, slope, curvature = (np.where(np.isnan(v), 0.0, v) for v in derivatives(squares, *params))
        total += weight * (products * k - 2 * cross * slope - 2 * features * slope - 4 * curvature)
    return total


def derivative(term: Term) -> list[Term]:
    """K' of a term as terms; of the kernels with a Stein kernel."""
    weight, name, params = term
    if name == "gaussian":
        return [(-params[0] * weight, name, params)]
    if name == "rational_quadratic":
        scale, alpha = params
        return [(-alpha * scale * weight, name, (scale, alpha + 1))]
    if name == "cauchy":
        return [(-params[0] * weight, "rational_quadratic", (params[0], 2.0))]
    r = params[0]
    if name == "matern52":
        return [(-(r**2) / 6 * weight, "matern32", params)]
    assert name == "matern32"  # checked by who calls
    return [(-(r**2) / 2 * weight, "laplace", params)]


def curvature(term: Term) -> tuple[list[Term], list[Term]]:
    """d² k'' of a term: terms that are to be multiplied by d², and others that are not.

    k'' of Matérn 3/2 is infinite where rows coincide, and d² k'' a difference of two kernels.
    """
    weight, name, params = term
    if name == "matern32":
        size = params[0] ** 2 / 4 * weight
        return [], [(size, "matern32", params), (-size, "laplace", params)]
    return [second for first in derivative(term) for second in derivative(first)], []
