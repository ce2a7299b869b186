"""Kernels and their sums over pairs.

A kernel object holds parameters; what the engine receives are terms (weight, name, numbers), one
per kernel of a weighted sum, all evaluated on the same tile of distances.

    kernel or its name -> as_kernel -> resolve (medians, 1/d) -> terms -> kernel_total | row_sums
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pairtile._backends import choose
from pairtile._backends.rows import spans
from pairtile._definitions.kernels import (
    KERNELS,
    evaluate,
    evaluate_diagonal,
    evaluate_pairs,
    reads_rows,
)
from pairtile._front import scalars, validate, words
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.kernels.bandwidth import QUANTILE_RULES, RULES, length_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from pairtile._definitions.kernels import Kernel as Definition
    from pairtile._definitions.kernels import Term
    from pairtile._front.progress import Progress, Report
    from pairtile._front.words import KernelName, Precision

    Rule = tuple[str, str]  # name of the rule, metric of the distances

_SAMPLED_ROWS = 2048  # of a median that need not be exact: two million pairs


class Kernel:
    """A similarity of two rows; the base of all kernels and of their weighted sums.

    ``a * K1 + b * K2`` is again a kernel, and ``K(x, y)`` its (n, m) matrix for small arrays.
    """

    __array_ufunc__ = None  # so that a NumPy number times a kernel is a kernel too

    _names: ClassVar[tuple[str, ...]]  # of the definitions that it can stand for

    def __call__(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.floating[Any]]:
        """Kernel matrix of two small sets.

        Parameters
        ----------
        x, y : array_like of shape (n, d) and (m, d)
            Real, finite numbers.

        Returns
        -------
        ndarray of shape (n, m)
            Computed in float64, rounded to float32 unless an input is float64.

        Raises
        ------
        TypeError, ValueError
            If the arrays are not acceptable, or a parameter is a rule such as "median": that is
            resolved on the pooled sample of a two-sample function, not here.
        """
        if rules := sorted(self._rules()):
            raise ValueError(f"{self} has a parameter {rules[0][0]!r}; give it a number to call it")
        a, b = validate.pair("x", x, "y", y)
        k = _matrix(
            validate.host(a),
            validate.host(b),
            self._terms(a.shape[1], {}),
            dtype=validate.working_dtype(a, b),
        )
        wrapped: NDArray[np.floating[Any]] = validate.like(x, y)(k)
        return wrapped

    def __add__(self, other: Kernel) -> Kernel:
        if not isinstance(other, Kernel):
            return NotImplemented
        return _Sum(self._parts() + other._parts())

    def __mul__(self, weight: float) -> Kernel:
        scale = scalars.real("weight of a kernel", weight)
        return _Sum(tuple((scale * w, kernel) for w, kernel in self._parts()))

    __rmul__ = __mul__

    @property
    def _name(self) -> str:
        """Of the definition that it stands for."""
        return self._names[0]

    @property
    def _definition(self) -> Definition:
        return KERNELS[self._name]

    @property
    def _metric(self) -> str:
        """Of the distances that rules look at."""
        return "euclidean"

    def _parts(self) -> tuple[tuple[float, Kernel], ...]:
        """The kernel as a weighted sum."""
        return ((1.0, self),)

    def _rules(self) -> set[Rule]:
        """Rules that parameters name in place of a number."""
        return set()

    def _terms(self, d: int, lengths: Mapping[Rule, float]) -> list[Term]:
        """What the engine evaluates, given the number of features and what the rules gave."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Sum(Kernel):
    parts: tuple[tuple[float, Kernel], ...]

    def __repr__(self) -> str:
        return " + ".join(f"{w:g} * {k!r}" for w, k in self.parts)

    def _parts(self) -> tuple[tuple[float, Kernel], ...]:
        return self.parts

    def _rules(self) -> set[Rule]:
        return set().union(*(k._rules() for _, k in self.parts))

    def _terms(self, d: int, lengths: Mapping[Rule, float]) -> list[Term]:
        return [
            (weight * w, name, params)
            for weight, kernel in self.parts
            for w, name, params in kernel._terms(d, lengths)
        ]


def _check_length(name: str, value: Any, rules: Sequence[str] = RULES) -> None:
    """A positive number, or the name of a rule."""
    if isinstance(value, str):
        if value not in rules:
            known = ", ".join(map(repr, rules))
            raise ValueError(f"{name} must be a positive number or one of {known}; got {value!r}")
    else:
        scalars.real(name, value, above=0)


def _as_plain_numbers(kernel: Kernel) -> None:
    """Parameters that came as arrays or tensors of no dimensions, as the numbers they hold."""
    for name, value in vars(kernel).items():
        if getattr(value, "shape", None) == () and hasattr(value, "item"):
            object.__setattr__(kernel, name, value.item())


def _rules_of(value: float | str | None, metric: str = "euclidean") -> set[Rule]:
    return {(value, metric)} if isinstance(value, str) else set()


def _length(
    name: str, value: float | str, lengths: Mapping[Rule, float], metric: str = "euclidean"
) -> float:
    if not isinstance(value, str):
        return float(value)
    length = lengths[value, metric]
    if not length > 0:
        why = "half of all pairs" if value in QUANTILE_RULES else "all rows"
        raise ValueError(
            f"{name}={value!r} is {length:g}: {why} coincide, which gives no "
            f"bandwidth; set {name}= to a positive number"
        )
    return length


def _reciprocal(name: str, value: float, denominator: float) -> float:
    if math.isinf(denominator):
        raise ValueError(f"{name}={value:g} is too large: the kernel's exponent vanishes")
    if denominator == 0 or math.isinf(1 / denominator):
        raise ValueError(f"{name}={value:g} is too small: the kernel's exponent overflows")
    return 1 / denominator


def _rate(name: str, length: float) -> float:
    """1 / length, for a kernel of the root of squared distances."""
    _reciprocal(name, length, length * length)
    return 1 / length


def _check_bandwidth(kernel: str, sigma: Any, gamma: Any, rules: Sequence[str] = RULES) -> None:
    if (sigma is None) == (gamma is None):
        got = "neither" if sigma is None else f"both sigma={sigma!r} and gamma={gamma!r}"
        raise ValueError(f"{kernel} takes exactly one of sigma and gamma, got {got}")
    if gamma is None:
        _check_length("sigma", sigma, rules)
    else:
        scalars.real("gamma", gamma, above=0)


@dataclass(frozen=True)
class Gaussian(Kernel):
    r"""Gaussian kernel :math:`\exp(-d^2/(2\sigma^2)) = \exp(-\gamma d^2)`.

    Parameters
    ----------
    sigma : float or str
        Bandwidth, positive, in the unit of the data. "median" is the median distance of all
        pairs i < j of the pooled sample; `median_distance` has the table of all rules.
    gamma : float
        1/(2σ²), in place of sigma.

    Raises
    ------
    ValueError
        If not exactly one of the two is given, or it is not positive.
    """

    _names: ClassVar[tuple[str, ...]] = ("gaussian",)
    sigma: float | str | None = None
    gamma: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _as_plain_numbers(self)
        _check_bandwidth("Gaussian", self.sigma, self.gamma)

    def _rules(self) -> set[Rule]:
        return _rules_of(self.sigma)

    def _terms(self, d: int, lengths: Mapping[Rule, float]) -> list[Term]:
        if self.sigma is None:
            assert self.gamma is not None  # exactly one of the two was given
            return [(1.0, self._name, (float(self.gamma),))]
        sigma = _length("sigma", self.sigma, lengths)
        return [(1.0, self._name, (_reciprocal("sigma", sigma, 2 * sigma * sigma),))]


@dataclass(frozen=True)
class Laplace(Kernel):
    r"""Laplace kernel :math:`\exp(-d/\sigma) = \exp(-\gamma d)`.

    Parameters
    ----------
    sigma : float or str
        Bandwidth, positive; "median" is that of the distances in this kernel's own norm, and
        the other rules of `median_distance` are for "l2".
    gamma : float
        1/σ, in place of sigma.
    norm : {"l2", "l1"}
        Whether d is the Euclidean or the Manhattan distance.

    Raises
    ------
    ValueError
        If not exactly one of sigma and gamma is given, it is not positive, or the norm is
        unknown.
    """

    _names: ClassVar[tuple[str, ...]] = ("laplace", "laplace_l1")
    sigma: float | str | None = None
    gamma: float | None = field(default=None, kw_only=True)
    norm: str = field(default="l2", kw_only=True)

    def __post_init__(self) -> None:
        _as_plain_numbers(self)
        scalars.choice("norm", self.norm, ("l2", "l1"))
        # the other rules are about Euclidean distances
        rules = RULES if self.norm == "l2" else ("median",)
        _check_bandwidth("Laplace", self.sigma, self.gamma, rules)

    @property
    def _name(self) -> str:
        return self._names[self.norm == "l1"]

    @property
    def _metric(self) -> str:
        return "euclidean" if self.norm == "l2" else "manhattan"

    def _rules(self) -> set[Rule]:
        return _rules_of(self.sigma, self._metric)

    def _terms(self, d: int, lengths: Mapping[Rule, float]) -> list[Term]:
        if self.sigma is None:
            assert self.gamma is not None  # exactly one of the two was given
            gamma = float(self.gamma)
            square = gamma * gamma if self.norm == "l2" else 1.0
            if square == 0 or math.isinf(square):  # of the root of a squared distance
                size, end = ("small", "vanishes") if square == 0 else ("large", "overflows")
                raise ValueError(f"gamma={gamma:g} is too {size}: the kernel's exponent {end}")
            return [(1.0, self._name, (gamma,))]
        sigma = _length("sigma", self.sigma, lengths, self._metric)
        if self.norm == "l1":
            return [(1.0, self._name, (_reciprocal("sigma", sigma, sigma),))]
        return [(1.0, self._name, (_rate("sigma", sigma),))]


@dataclass(frozen=True)
class RationalQuadratic(Kernel):
    r"""Rational quadratic kernel :math:`(1 + d^2/(2\alpha\ell^2))^{-\alpha}`.

    Parameters
    ----------
    length_scale : float or str, default 1
        :math:`\ell`, positive, in the unit of the data; or a rule of `median_distance`.
    alpha : float, default 1
        Positive; a Gaussian in the limit of large alpha.

    Raises
    ------
    ValueError
        If a parameter is not positive.
    """

    _names: ClassVar[tuple[str, ...]] = ("rational_quadratic",)
    length_scale: float | str = 1.0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        _as_plain_numbers(self)
        _check_length("length_scale", self.length_scale)
        scalars.real("alpha", self.alpha, above=0)

    def _rules(self) -> set[Rule]:
        return _rules_of(self.length_scale)

    def _terms(self, d: int, lengths: Mapping[Rule, float]) -> list[Term]:
        length = _length("length_scale", self.length_scale, lengths)
        scale = _reciprocal("length_scale", length, 2 * self.alpha * length * length)
        return [(1.0, self._name, (scale, float(self.alpha)))]


@dataclass(frozen=True)
class InverseMultiquadric(Kernel):
    r"""Inverse multiquadric kernel :math:`(c^2 + d^2)^{-\beta}`.

    Parameters
    ----------
    c : float or str, default 1
        Positive, in the unit of the data; or a rule of `median_distance`.
    beta : float, default 0.5
        Positive.

    Raises
    ------
    ValueError
        If a parameter is not positive.
    """

    _names: ClassVar[tuple[str, ...]] = ("rational_quadratic",)
    c: float | str = 1.0
    beta: float = 0.5

    def __post_init__(self) -> None:
        _as_plain_numbers(self)
        _check_length("c", self.c)
        scalars.real("beta", self.beta, above=0)

    def _rules(self) -> set[Rule]:
        return _rules_of(self.c)

    def _terms(self, d: int, lengths: Mapping[Rule, float]) -> list[Term]:
        c, beta = _length("c", self.c, lengths), float(self.beta)
        inverse = _reciprocal("c", c, c * c)
        # c^−2β (1 + d²/c²)^−β: a weight, and values near 1
        try:
            weight = (c * c) ** -beta
        except OverflowError:
            raise ValueError(
                f"c={c:g} is too small: the values c^(-2 beta) exceed float64 for beta={beta:g}"
            ) from None
        return [(weight, self._name, (inverse, beta))]


@dataclass(frozen=True)
class Cauchy(Kernel):
    r"""Cauchy kernel :math:`1/(1 + d^2/s^2)`, s being the scale.

    Parameters
    ----------
    scale : float or str, default 1
        Positive, in the unit of the data: the distance at which the kernel is 1/2; or a rule of
        `median_distance`.

    Raises
    ------
    ValueError
        If the scale is not positive.
    """

    _names: ClassVar[tuple[str, ...]] = ("cauchy",)

    scale: float | str = 1.0

    def __post_init__(self) -> None:
        _check_length("scale", self.scale)

    def _rules(self) -> set[Rule]:
        return _rules_of(self.scale)

    def _terms(self, d: int, lengths: Mapping[Rule, float]) -> list[Term]:
        scale = _length("scale", self.scale, lengths)
        return [(1.0, self._name, (_reciprocal("scale", scale, scale * scale),))]


@dataclass(frozen=True)
class Matern(Kernel):
    r"""Matérn kernel with :math:`z = \sqrt{2\nu}\,d/\ell`.

    :math:`(1 + z)e^{-z}` for nu = 1.5 and :math:`(1 + z + z^2/3)e^{-z}` for nu = 2.5.

    Parameters
    ----------
    length_scale : float or str, default 1
        :math:`\ell`, positive, in the unit of the data; or a rule of `median_distance`.
    nu : {1.5, 2.5}
        Smoothness.

    Raises
    ------
    ValueError
        If the length scale is not positive or nu is neither of the two.
    """

    _names: ClassVar[tuple[str, ...]] = ("matern32", "matern52")
    length_scale: float | str = 1.0
    nu: float = 1.5

    def __post_init__(self) -> None:
        _as_plain_numbers(self)
        _check_length("length_scale", self.length_scale)
        if self.nu not in (1.5, 2.5):
            raise ValueError(f"nu must be 1.5 or 2.5, got {self.nu!r}")

    @property
    def _name(self) -> str:
        return self._names[self.nu == 2.5]

    def _rules(self) -> set[Rule]:
        return _rules_of(self.length_scale)

    def _terms(self, d: int, lengths: Mapping[Rule, float]) -> list[Term]:
        length = _length("length_scale", self.length_scale, lengths)
        rate = math.sqrt(2 * self.nu) * _rate("length_scale", length)
        return [(1.0, self._name, (rate,))]


@dataclass(frozen=True)
class Polynomial(Kernel):
    r"""Polynomial kernel :math:`(\gamma\,x \cdot y + c_0)^{degree}`.

    Parameters
    ----------
    degree : int, default 3
        At least 1.
    gamma : float, optional
        Positive; None is 1/d, d being the number of features.
    coef0 : float, default 1
        :math:`c_0`.

    Raises
    ------
    TypeError, ValueError
        If degree is not an integer of at least 1, gamma not positive, or coef0 not finite.
    """

    _names: ClassVar[tuple[str, ...]] = ("polynomial",)
    degree: int = 3
    gamma: float | None = None
    coef0: float = 1.0

    def __post_init__(self) -> None:
        _as_plain_numbers(self)
        scalars.count("degree", self.degree)
        if self.gamma is not None:
            scalars.real("gamma", self.gamma, above=0)
        scalars.real("coef0", self.coef0)

    def _terms(self, d: int, lengths: Mapping[Rule, float]) -> list[Term]:
        gamma = 1 / d if self.gamma is None else float(self.gamma)
        return [(1.0, self._name, (float(self.degree), gamma, float(self.coef0)))]


@dataclass(frozen=True)
class Linear(Kernel):
    r"""Linear kernel :math:`x \cdot y`."""

    _names: ClassVar[tuple[str, ...]] = ("linear",)

    def _terms(self, d: int, lengths: Mapping[Rule, float]) -> list[Term]:
        return [(1.0, self._name, ())]


@dataclass(frozen=True)
class Cosine(Kernel):
    r"""Cosine kernel :math:`x \cdot y / (\|x\|\,\|y\|)`, 0 where a row is zero."""

    _names: ClassVar[tuple[str, ...]] = ("cosine",)

    def _terms(self, d: int, lengths: Mapping[Rule, float]) -> list[Term]:
        return [(1.0, self._name, ())]


@dataclass(frozen=True)
class Energy(Kernel):
    r"""Energy (Riesz) kernel :math:`-d^\alpha`, conditionally positive definite.

    Parameters
    ----------
    exponent : float, default 1
        :math:`\alpha` in (0, 2].

    Raises
    ------
    ValueError
        If the exponent is outside (0, 2].
    """

    _names: ClassVar[tuple[str, ...]] = ("energy",)
    exponent: float = 1.0

    def __post_init__(self) -> None:
        _as_plain_numbers(self)
        scalars.real("exponent", self.exponent, above=0, most=2)

    def _terms(self, d: int, lengths: Mapping[Rule, float]) -> list[Term]:
        return [(1.0, self._name, (float(self.exponent),))]


_NAMED = {
    "gaussian": Gaussian("median"),
    "laplace": Laplace("median"),
    "polynomial": Polynomial(),
    "linear": Linear(),
    "cosine": Cosine(),
    "energy": Energy(),
    "cauchy": Cauchy("median"),
}


_CLASSES = (
    Gaussian,
    Laplace,
    RationalQuadratic,
    InverseMultiquadric,
    Cauchy,
    Matern,
    Polynomial,
    Linear,
    Cosine,
    Energy,
)


def kernels_with(part: str) -> list[str]:
    """Names of the kernels whose definition has this part, such as a logarithm."""
    return [
        kernel.__name__
        for kernel in _CLASSES
        if all(getattr(KERNELS[name], part) is not None for name in kernel._names)
    ]


def kernel_class(name: str) -> type[Kernel]:
    """The class of this name; also that of sums."""
    return next(one for one in (*_CLASSES, _Sum) if one.__name__ == name)


def as_kernel(kernel: Kernel | str, name: str = "kernel") -> Kernel:
    """The kernel itself, or the one a string stands for."""
    if isinstance(kernel, Kernel):
        return kernel
    if not isinstance(kernel, str):
        raise TypeError(
            f"{name} must be a kernel such as Gaussian(1.0), or one of {', '.join(_NAMED)}; "
            f"got {kernel!r}"
        )
    return _NAMED[kernel_name(name, kernel, _NAMED)]


def kernel_name(name: str, given: Any, known: Iterable[str]) -> str:
    """One of the known names of kernels; "laplacian" is an error, for it has two meanings."""
    if given == "laplacian" and "laplacian" not in known:
        raise ValueError(
            f"{name} 'laplacian' is of the l1 norm in scikit-learn, 'laplace' of the l2 norm here; "
            f"pass 'laplace', or Laplace(sigma, norm='l1')"
        )
    return scalars.choice(name, given, known, words.KERNELS)


def in_range(kernel: Kernel, *arrays: Any) -> tuple[list[Any], Kernel, float]:
    """The matrices in a unit in which squares of distances fit float64, and the kernel for them.

    Only kernels that have no length in the unit of the data, or take all by rules, can change it:
    others tell rows of such a size from each other, or not, as they are.
    """
    parts = kernel._parts()
    powers = [_power_of_unit(part) for _, part in parts]
    if any(power is None for power in powers):
        return list(arrays), kernel, 1.0
    scaled, unit = validate.near_one(*arrays)
    if unit == 1:
        return scaled, kernel, 1.0
    weighted = ((w * _power(unit, p or 0.0), k) for (w, k), p in zip(parts, powers, strict=True))
    return scaled, _Sum(tuple(weighted)), unit


def _power(unit: float, exponent: float) -> float:
    try:
        return math.pow(unit, exponent)
    except OverflowError:
        return math.inf


def _power_of_unit(part: Kernel) -> float | None:
    """By which power of the unit of the data a kernel grows, None where it knows that unit."""
    if isinstance(part, Energy):
        return part.exponent
    if isinstance(part, (Linear, Cosine)):
        return 2.0 if isinstance(part, Linear) else 0.0
    if not part._rules():
        return None
    return -2 * part.beta if isinstance(part, InverseMultiquadric) else 0.0


def is_positive(kernel: Kernel) -> bool:
    """Whether statistics that are squares in the kernel's feature space cannot be negative."""
    return all(
        weight >= 0 and not (isinstance(part, Polynomial) and part.coef0 < 0)
        for weight, part in kernel._parts()
    )


def not_below_zero(value: Any, estimator: str, *kernels: Kernel) -> Any:
    """The value, 0 in place of what only rounding can have made negative."""
    if estimator != "biased" or not all(map(is_positive, kernels)):
        return value
    return np.maximum(value, 0.0) if isinstance(value, np.ndarray) else max(value, 0.0)


def median_sizes(kernel: Kernel, n: int) -> list[int]:
    """Pairs to visit for each rule `resolve` will apply to a pooled sample of n rows."""
    return [n * n // 2 if rule in QUANTILE_RULES else 0 for rule, _ in sorted(kernel._rules())]


def lengths_of(
    kernel: Kernel,
    x: NDArray[Any],
    y: NDArray[Any] | None,
    *,
    workers: int,
    reports: Sequence[Report | None],
) -> dict[Rule, float]:
    """What each rule such as "median" gives, applied once, to the pooled x and y."""
    rules = sorted(kernel._rules())
    rows = len(x) + (0 if y is None else len(y))
    if rules and rows < 2:
        raise ValueError(f"{kernel} asks for a {rules[0][0]} length, but there is only {rows} row")
    return {
        (rule, metric): length_of(rule, metric, x, y, workers=workers, report=report)
        for (rule, metric), report in zip(rules, reports, strict=True)
    }


def resolve(
    kernel: Kernel,
    x: NDArray[Any],
    y: NDArray[Any] | None,
    *,
    workers: int,
    reports: Sequence[Report | None],
) -> list[Term]:
    """The engine's terms, rules replaced by what they give."""
    lengths = lengths_of(kernel, x, y, workers=workers, reports=reports)
    return kernel._terms(x.shape[1], lengths)


def text_of(kernel: Kernel, lengths: Mapping[Rule, float], unit: float = 1.0) -> str:
    """The kernel with what rules gave, to six digits, for people to read; lengths are in `unit`."""

    def number(value: Any, metric: str) -> str:
        if isinstance(value, str):
            value = unit * lengths[value, metric] if (value, metric) in lengths else repr(value)
        return value if isinstance(value, str) else f"{value:.6g}"

    def one(part: Kernel) -> str:
        given = {name: value for name, value in vars(part).items() if value is not None}
        shown = ", ".join(f"{name}={number(v, part._metric)}" for name, v in given.items())
        return f"{type(part).__name__}({shown})"

    parts = [(weight, one(part)) for weight, part in kernel._parts()]
    return " + ".join(text if weight == 1 else f"{weight:.6g} * {text}" for weight, text in parts)


def joint_precision(precision: str, *arrays: NDArray[Any]) -> str:
    """Precision of several backend calls on parts of one input: float64 if any part is."""
    wide = validate.working_dtype(*arrays) == np.float64
    return "float64" if wide and precision == "default" else precision


def _matrix(
    x: NDArray[Any], y: NDArray[Any], terms: Sequence[Term], *, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The whole n x m matrix, for small sets."""
    out = np.empty((len(x), len(y)), dtype=dtype)
    for rows in spans(len(x)):
        a = np.asarray(x[rows], dtype=np.float64)
        for cols in spans(len(y)):
            with np.errstate(over="ignore"):
                out[rows, cols] = evaluate(a, np.asarray(y[cols], dtype=np.float64), terms)
    return out


def diagonal(x: NDArray[Any], terms: Sequence[Term]) -> NDArray[np.float64]:
    """k(x_i, x_i) for each row, in O(n d) operations and O(n) memory.

    Rows are read, and fetched from a GPU, only where a kernel is of products.
    """
    if not reads_rows(terms):
        return np.full(len(x), evaluate_diagonal(np.zeros((1, 1)), terms))
    out = np.empty(len(x))
    step = max(1, (1 << 18) // x.shape[1])
    for start in range(0, len(x), step):
        rows = validate.host(x[start : start + step])
        out[start : start + step] = evaluate_diagonal(np.asarray(rows, dtype=np.float64), terms)
    return out


def paired_diagonal(x: NDArray[Any], y: NDArray[Any], terms: Sequence[Term]) -> NDArray[np.float64]:
    """k(x_i, y_i) for each row, in O(n d) operations and O(n) memory."""
    out = np.empty(len(x))
    step = max(1, (1 << 18) // x.shape[1])
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        a, b = (np.asarray(validate.host(s[rows]), dtype=np.float64) for s in (x, y))
        out[rows] = evaluate_pairs(a, b, terms)
    return out


def median_distance(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    squared: bool = False,
    quantile: float = 0.5,
    exact: bool = True,
    rng: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> float:
    """Median, or another quantile, of all Euclidean distances within a sample.

    Parameters
    ----------
    x : array_like of shape (n, d)
        Real numbers.
    y : array_like of shape (m, d), optional
        If given, the pairs are those of the pooled sample x ∪ y.
    squared : bool, default False
        The quantile of d² instead. (The quantile interpolates, so it is not the square.)
    quantile : float, default 0.5
        In [0, 1].
    exact : bool, default True
        False takes the pairs of 2048 rows drawn by `rng` without replacement, if there are more.
    rng : int, numpy.random.Generator or None
        Used only when `exact` is False.
    workers, check_finite, progress
        As in `knn`.

    Returns
    -------
    float
        ``numpy.quantile(d, quantile, method="linear")`` of the canonical float64 distances over
        the pairs i < j, zeros of repeated rows included.

    Raises
    ------
    TypeError, ValueError
        If the arrays are not acceptable, hold fewer than two rows together, or `quantile` is
        outside [0, 1].

    Notes
    -----
    O(N² d) operations a few times over; the distances are never stored.

    A kernel's length parameter (`sigma`, `length_scale`, `c`) takes the name of a rule in place of
    a number. Each looks at the N rows of the pooled sample, whatever sample the tool it is named
    after looks at, and is meant as the σ of exp(−d²/2σ²):

    =================== ==================================================================
    rule                σ
    =================== ==================================================================
    "median"            median of d over the pairs i < j: this function
    "median:alibi"      √(½ · lower median of d² over the pairs i < j); alibi-detect,
                        ``sigma_median`` of its PyTorch and TensorFlow kernels
    "mean:alibi"        √(½ · mean of d² over the pairs i < j); alibi-detect, ``sigma_mean``
                        of its KeOps kernels
    "median:torchdrift" lower median of d over all N² pairs (i, j), the N zeros i = j
                        included; TorchDrift, kernels without a length scale
    "scale:sklearn"     √(f v / 2), f being the number of features and v the variance of all
                        N f numbers: γ = 1/(f v); scikit-learn, ``gamma="scale"``
    "auto:sklearn"      √(f / 2): γ = 1/f; scikit-learn, ``rbf_kernel`` without gamma
    =================== ==================================================================

    Examples
    --------
    >>> import pairtile as pt
    >>> pt.median_distance([[0.0], [1.0], [5.0]])
    4.0
    """
    q = scalars.real("quantile", quantile, least=0, most=1)
    workers = resolve_workers(workers)
    if y is None:
        a = validate.matrix(
            "x", x, check_finite=check_finite, workers=workers, blocks="device", sample=True
        )
        b = None
    else:
        a, b = validate.pair(
            "x", x, "y", y, check_finite=check_finite, workers=workers, blocks="device", sample=True
        )
    rows = len(a) + (0 if b is None else len(b))
    if rows < 2:
        raise ValueError(f"a distance needs two rows; x has {rows}")
    if not exact and rows > _SAMPLED_ROWS:
        chosen = np.sort(scalars.generator(rng).permutation(rows)[:_SAMPLED_ROWS])
        n = len(a)
        if b is not None:
            b = validate.taken(b, chosen[chosen >= n] - n)
        a = validate.taken(a, chosen[chosen < n])
        if b is not None and not len(a):
            a, b = b, None
        elif b is not None and not len(b):
            b = None
        rows = _SAMPLED_ROWS
    (a, b), unit = validate.near_one(a, b)
    with reporting(progress, rows * rows // 2) as (report,):
        value = choose.module(a, b).distance_quantile(
            a, b, "euclidean", q, bool(squared), workers=workers, progress=report
        )
    return float(value) * unit * (unit if squared else 1.0)


def kernel_sum(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    kernel: Kernel | KernelName,
    x_weights: ArrayLike | None = None,
    y_weights: ArrayLike | None = None,
    exclude_diagonal: bool = False,
    precision: Precision = "default",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    devices: Sequence[int] | None = None,
) -> float:
    r"""Weighted sum of a kernel over all ordered pairs, :math:`\sum_{ij} v_i w_j k(x_i, y_j)`.

    Parameters
    ----------
    x : array_like of shape (n, d)
        Real numbers.
    y : array_like of shape (m, d), optional
        None stands for x, with the weights of x.
    kernel : Kernel or str
        A kernel, a weighted sum of kernels, or a name: "gaussian", "laplace" and "cauchy" (length:
        the median distance of the pooled sample), "polynomial", "linear", "cosine", "energy".
    x_weights, y_weights : array_like of shape (n,) and (m,), optional
        Finite, of any sign, used as they are; all 1 by default.
    exclude_diagonal : bool, default False
        Leave out i = j; only when `y` is None.
    precision : {"default", "float64", "fast"}
        "default" computes kernel values in float32 (float64 as soon as one input is float64),
        adds in float64, and recomputes tiles whose error bound exceeds 2e-6.
    workers, check_finite, progress
        As in `knn`.
    devices : sequence of int, optional
        For arrays on a CUDA device: the numbers of those that compute, each a share of the rows of
        x with as many pairs; y is copied to the others. Their sums are added in this order: the
        same list gives the same bits every time, another one rounds differently. A device may be
        listed more than once. None is the device of the arrays, which also computes the bandwidth.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable; `exclude_diagonal` or absent `y` with `y_weights`
        included; `devices` for arrays in host memory, or with a number that is none.

    Notes
    -----
    O(n m d) operations; memory O(n + m) beside the inputs.
    """
    chosen = as_kernel(kernel)
    scalars.choice("precision", precision, scalars.PRECISIONS)
    workers = resolve_workers(workers)
    if y is None:
        a = validate.matrix("x", x, check_finite=check_finite, workers=workers, blocks="device")
        b = None
        if y_weights is not None:
            raise ValueError("y_weights needs y; when y is None both sides carry x_weights")
    else:
        a, b = validate.pair(
            "x", x, "y", y, check_finite=check_finite, workers=workers, blocks="device"
        )
        if exclude_diagonal:
            raise ValueError("exclude_diagonal=True needs y=None; x and y have no diagonal")
    over = validate.devices(devices, x=a, y=b)
    v = validate.weights("x_weights", x_weights, len(a), signed=True)
    w = None if b is None else validate.weights("y_weights", y_weights, len(b), signed=True)
    rows = len(a) + (0 if b is None else len(b))
    pairs = len(a) * len(a if b is None else b)
    with reporting(progress, *median_sizes(chosen, rows), pairs) as (*medians, report):
        terms = resolve(chosen, a, b, workers=workers, reports=medians)
        total: float = choose.over(over, a, b).kernel_total(
            a, b, terms, v, w, precision=precision, workers=workers, progress=report
        )
    if b is None and not exclude_diagonal:
        own = diagonal(a, terms)
        total += float(own.sum() if v is None else (v * v) @ own)
    return total


def witness(
    z: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel | KernelName = "gaussian",
    precision: Precision = "default",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> NDArray[np.floating[Any]]:
    r"""Witness function of the MMD: where two samples differ, and in which direction.

    .. math:: f(z) = \frac1n \sum_j k(z, x_j) - \frac1m \sum_j k(z, y_j)

    Positive where x is denser, negative where y is: the most negative rows of y are the ones
    that drifted most.

    Parameters
    ----------
    z : array_like of shape (r, d)
        Where to evaluate; often the rows of y.
    x, y : array_like of shape (n, d) and (m, d)
        Reference sample and new sample.
    kernel : Kernel or str, default "gaussian"
        As in `kernel_sum`; medians are those of x ∪ y.
    precision, workers, check_finite, progress
        As in `kernel_sum`.

    Returns
    -------
    ndarray of shape (r,)
        float64 as soon as one input is float64, else float32.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable.

    Notes
    -----
    O(r (n + m) d) operations; memory O(r + n + m) beside the inputs.

    References
    ----------
    Gretton et al., "A Kernel Two-Sample Test", JMLR 13 (2012), section 2.3.
    """
    chosen = as_kernel(kernel)
    scalars.choice("precision", precision, scalars.PRECISIONS)
    workers = resolve_workers(workers)
    x, z = validate.aligned("x", x, "z", z)
    y = validate.in_order("x", validate.names_of(x), "y", y)
    c, a, b = validate.sets(
        {"z": z, "x": x, "y": y},
        check_finite=check_finite,
        workers=workers,
        blocks="device",
        sample=True,
    )
    r, n, m = len(c), len(a), len(b)
    module = choose.module(c, a, b)
    options = {"precision": joint_precision(precision, c, a, b), "workers": workers}
    with reporting(progress, *median_sizes(chosen, n + m), r * n, r * m) as (*medians, rx, ry):
        terms = resolve(chosen, a, b, workers=workers, reports=medians)
        near_x = module.kernel_row_sums(c, a, terms, None, progress=rx, **options)
        near_y = module.kernel_row_sums(c, b, terms, None, progress=ry, **options)
    values: NDArray[np.floating[Any]] = validate.like(z, x, y)(
        validate.narrowed(near_x / n - near_y / m, validate.working_dtype(c, a, b))
    )
    return values
