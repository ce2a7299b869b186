"""Kernels drawn at random with their formulas: whole matrices in float64, from direct differences.

choose -> Chosen(kernel to pass, parts) -> matrix | logarithms | pull, largest
"""

from __future__ import annotations

import math
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

import pairtile as pt

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def log_uniform(rng: np.random.Generator, least: float, most: float) -> float:
    return float(least * (most / least) ** rng.random())


class Pairs:
    """What kernels read of all pairs of rows, in float64."""

    def __init__(self, x: Floats, y: Floats):
        self.x, self.y = x, y

    @cached_property
    def squares(self) -> Floats:
        return cdist(self.x, self.y, "sqeuclidean")

    @cached_property
    def distances(self) -> Floats:
        return np.sqrt(self.squares)

    @cached_property
    def absolutes(self) -> Floats:
        return cdist(self.x, self.y, "cityblock")

    @cached_property
    def dots(self) -> Floats:
        return self.x @ self.y.T

    @cached_property
    def cosines(self) -> Floats:
        return unit_rows(self.x) @ unit_rows(self.y).T

    @cached_property
    def norms(self) -> float:
        """The largest product of two norms."""
        return math.prod(float(np.linalg.norm(a, axis=1).max()) for a in (self.x, self.y))


def unit_rows(a: Floats) -> Floats:
    a = a / np.where(np.any(a, axis=1), np.abs(a).max(axis=1), 1)[:, None]
    return a / np.where(np.any(a, axis=1), np.linalg.norm(a, axis=1), 1)[:, None]


# --- kernels -------------------------------------------------------------------------------------


class Formula(NamedTuple):
    """A kernel, its matrix, the largest size of its values, and slopes for gradients.

    `slope` is dk/d(d²) (0 where d is 0 and the kernel has no derivative), or for kernels of dot
    products dk/d(x·y).
    """

    kernel: Any
    matrix: Callable[[Pairs], Floats]
    largest: Callable[[Pairs], float]
    slope: Callable[[Pairs], Floats] | None = None
    of_dots: bool = False
    positive: Callable[[Pairs], Floats] | None = None  # the logarithm of a positive kernel


def over(a: Floats, b: Floats) -> Floats:
    """a / b, 0 where b is."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b != 0)


def gaussian(rng: Any, r: float) -> Formula:
    g = 1 / (2 * r * r)
    return Formula(
        pt.Gaussian(r),
        lambda p: np.exp(-g * p.squares),
        lambda p: 1.0,
        lambda p: -g * np.exp(-g * p.squares),
        positive=lambda p: -g * p.squares,
    )


def laplace(rng: Any, r: float) -> Formula:
    return Formula(
        pt.Laplace(gamma=1 / r),
        lambda p: np.exp(-p.distances / r),
        lambda p: 1.0,
        lambda p: over(-np.exp(-p.distances / r), 2 * r * p.distances),
        positive=lambda p: -p.distances / r,
    )


def laplace_l1(rng: Any, r: float) -> Formula:
    return Formula(
        pt.Laplace(r, norm="l1"),
        lambda p: np.exp(-p.absolutes / r),
        lambda p: 1.0,
        positive=lambda p: -p.absolutes / r,
    )


def rational_quadratic(rng: Any, r: float) -> Formula:
    a = log_uniform(rng, 0.1, 10)
    c = 1 / (2 * a * r * r)
    return Formula(
        pt.RationalQuadratic(r, alpha=a),
        lambda p: (1 + c * p.squares) ** -a,
        lambda p: 1.0,
        lambda p: -a * c * (1 + c * p.squares) ** (-a - 1),
        positive=lambda p: -a * np.log1p(c * p.squares),
    )


def inverse_multiquadric(rng: Any, r: float) -> Formula:
    b = log_uniform(rng, 0.1, 3)
    return Formula(
        pt.InverseMultiquadric(r, beta=b),
        lambda p: (r * r + p.squares) ** -b,
        lambda p: r ** (-2 * b),
        lambda p: -b * (r * r + p.squares) ** (-b - 1),
        positive=lambda p: -b * np.log(r * r + p.squares),
    )


def cauchy(rng: Any, r: float) -> Formula:
    return Formula(
        pt.Cauchy(r),
        lambda p: 1 / (1 + p.squares / r**2),
        lambda p: 1.0,
        lambda p: -1 / (r + p.squares / r) ** 2,
        positive=lambda p: -np.log1p(p.squares / r**2),
    )


def matern(rng: Any, r: float, nu: float) -> Formula:
    rate = math.sqrt(2 * nu) / r

    def front(z: Floats) -> Floats:
        return 1 + z if nu == 1.5 else 1 + z + z * z / 3

    def slope(z: Floats) -> Floats:
        return -(rate**2) * (1 / 2 if nu == 1.5 else (1 + z) / 6) * np.exp(-z)

    return Formula(
        pt.Matern(r, nu=nu),
        lambda p: front(rate * p.distances) * np.exp(-rate * p.distances),
        lambda p: 1.0,
        lambda p: slope(rate * p.distances),
        positive=lambda p: np.log(front(rate * p.distances)) - rate * p.distances,
    )


def polynomial(rng: Any, r: float, degree: int | None = None) -> Formula:
    degree = degree or int(rng.integers(1, 6))
    g, c = 1 / r**2, float(rng.choice([0.0, 1.0, -0.25, 0.5]))
    return Formula(
        pt.Polynomial(degree, gamma=g, coef0=c),
        lambda p: (g * p.dots + c) ** degree,
        lambda p: (g * p.norms + abs(c)) ** degree,
        lambda p: degree * g * (g * p.dots + c) ** (degree - 1),
        of_dots=True,
    )


def linear(rng: Any, r: float) -> Formula:
    return Formula(
        pt.Linear(), lambda p: p.dots, lambda p: p.norms, lambda p: np.ones(p.dots.shape), True
    )


def cosine(rng: Any, r: float) -> Formula:
    return Formula(pt.Cosine(), lambda p: p.cosines, lambda p: 1.0)


def energy(rng: Any, r: float, exponent: float | None = None) -> Formula:
    a = exponent or float(rng.choice([1.0, 1.0, 2.0, 0.5, 1.5, 0.05 + 1.9 * rng.random()]))
    return Formula(
        pt.Energy(a),
        lambda p: -(p.distances**a),
        lambda p: float(p.distances.max()) ** a,
        lambda p: -a / 2 * over(p.distances**a, p.squares),
    )


# --- derivatives, from values alone ---------------------------------------------------------------


def derivative(function: Callable[[complex], Any], order: int, radius: float) -> Any:
    """A derivative at 0, real, by Cauchy's integral over a circle, exact as float64 is."""
    circle = radius * np.exp(2j * np.pi * (np.arange(64) + 0.5) / 64)
    return sum(function(z) / z**order for z in circle).real / 64 * math.factorial(order)


class Apart(Pairs):
    """Pairs of which no more than the distances are known, complex ones too."""

    def __init__(self, distances: NDArray[Any]):
        self.distances, self.squares, self.absolutes = distances, distances**2, distances


def by_distance(fact: Formula, t: Floats, order: int, radius: float) -> Floats:
    """A derivative of a radial kernel by the distance, at these distances."""
    return derivative(lambda z: fact.matrix(Apart(t + z)), order, radius)


def stein_matrix(fact: Formula, x: Floats, scores: Floats, radius: float = 0.3) -> Floats:
    """s·t k + s·∇_y k + t·∇_x k + Σ_f ∂²k/∂x_f∂y_f of each pair, for a smooth radial kernel."""
    apart = x[:, None] - x[None]
    t = np.sqrt((apart**2).sum(axis=2))
    first, second = (by_distance(fact, t, order, radius) for order in (1, 2))
    over_t = np.where(t == 0, second, over(first, t))  # the limit, where rows coincide
    along = (apart * (scores[None] - scores[:, None])).sum(axis=2)
    trace = second + (x.shape[1] - 1) * over_t
    return (scores @ scores.T) * fact.matrix(Apart(t)) + along * over_t - trace


RADIAL: dict[str, Callable[[Any, float], Formula]] = {
    "gaussian": gaussian,
    "laplace": laplace,
    "laplace_l1": laplace_l1,
    "rational_quadratic": rational_quadratic,
    "inverse_multiquadric": inverse_multiquadric,
    "cauchy": cauchy,
    "matern32": partial(matern, nu=1.5),
    "matern52": partial(matern, nu=2.5),
}
KERNELS = RADIAL | {
    "energy": energy,
    "cosine": cosine,
    "polynomial": polynomial,
    "linear": linear,
}
OF_DOTS = ("polynomial", "linear", "cosine")


class Chosen(NamedTuple):
    """A weighted sum of kernels."""

    name: str
    parts: list[tuple[float, Formula]]

    @property
    def kernel(self) -> Any:
        weight, first = self.parts[0]
        total = first.kernel if len(self.parts) == 1 and weight == 1 else weight * first.kernel
        for weight, part in self.parts[1:]:
            total = total + weight * part.kernel
        return total

    def matrix(self, x: Floats, y: Floats) -> Floats:
        pairs = Pairs(x, y)
        return sum(weight * part.matrix(pairs) for weight, part in self.parts)

    def largest(self, x: Floats, y: Floats) -> float:
        pairs = Pairs(x, y)
        return sum(abs(weight) * part.largest(pairs) for weight, part in self.parts)

    def logarithms(self, x: Floats, y: Floats) -> Floats:
        pairs = Pairs(x, y)
        logs = [math.log(weight) + part.positive(pairs) for weight, part in self.parts]
        return logsumexp(logs, axis=0) if len(logs) > 1 else logs[0]

    def pull(self, x: Floats, y: Floats, w: Floats) -> tuple[Floats, float]:
        """Gradient of Σ_j k(x_i, y_j) w_j by x_i, and the largest contribution of a pair."""
        pairs, total, largest = Pairs(x, y), np.zeros_like(x), 0.0
        for weight, part in self.parts:
            slope = part.slope(pairs)
            if part.of_dots:
                total += weight * (slope * w) @ y
                reach = np.abs(slope) * np.linalg.norm(y, axis=1)
            else:
                pull = np.array([(s * w) @ (a - y) for s, a in zip(2 * slope, x, strict=True)])
                total += weight * pull
                reach = 2 * np.abs(slope) * pairs.distances
            largest += abs(weight) * float(reach.max())
        return total, largest


def choose(rng: np.random.Generator, pooled: Floats, names: Any = tuple(KERNELS)) -> Chosen:
    """One kernel, or several with weights of either sign, of any length scale."""
    some = pooled[rng.permutation(len(pooled))[:64]]
    typical = float(np.median(cdist(some, some)))
    norm = float(np.linalg.norm(some, axis=1).max())

    def draw(name: str) -> Formula:
        size = norm if name in OF_DOTS else typical
        factor = log_uniform(rng, 0.3, 30) if name in OF_DOTS else log_uniform(rng, 1e-3, 1e3)
        # powers of the length, and their squares, stay numbers
        length = max(float(size or 1.0) * factor, 1e-30 if name in OF_DOTS else 1e-20)
        return KERNELS[name](rng, length)

    kind = rng.random()
    if kind < 0.2 and "gaussian" in names:  # one polynomial in d² stands for several of these
        count = int(rng.integers(3, 11))
        lengths = (typical or 1.0) * np.geomspace(*sorted(10 ** rng.uniform(-2, 2, 2)), count)
        parts = [(log_uniform(rng, 0.1, 10), gaussian(rng, max(r, 1e-20))) for r in lengths]
        return Chosen(f"{count} gaussians", parts)
    chosen = rng.choice(names, size=1 if kind < 0.75 else int(rng.integers(2, 4)))
    weights = [1.0] if len(chosen) == 1 else np.round(rng.normal(size=len(chosen)), 3).tolist()
    return Chosen(
        "+".join(chosen), [(w, draw(str(c))) for w, c in zip(weights, chosen, strict=True)]
    )
