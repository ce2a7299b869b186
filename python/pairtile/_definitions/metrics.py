"""The metrics: what neighbours are ordered by, and what the user sees of it.

The ordered value is canonical: from direct differences, in exactly the order of operations that
`pairtile/metric/canonical.hpp` has, so that every backend finds the same bits.

    rows -> widen to float64 -> `ordered` values of a block of pairs -> `finish`

A metric is added by its header in C++ and its record at the end of this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._definitions.numbers import log_of_one_plus, power, power_by_roots

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Params = dict[str, Any] | None


def tree(s: Floats) -> Floats:
    sums: Floats = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
    return sums


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def _accumulate(a: Floats, b: Floats, term: Callable[[Floats, Floats, Floats], object]) -> Floats:
    """Sum of term(a_ij, b_kj) over features j: eight partial sums, added in the canonical tree."""
    partial = np.zeros((8, len(a), len(b)))
    out = np.empty(partial.shape[1:])
    for j in range(a.shape[1]):
        term(a[:, j, None], b[None, :, j], out)
        partial[j % 8] += out
    return tree(partial)


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def _sum(
    a: Floats, b: Floats, term: Callable[[Floats, Floats, int], NDArray[np.floating[Any]]]
) -> Floats:
    """`_accumulate` of terms that depend on the feature too."""
    partial = np.zeros((8, len(a), len(b)))
    for j in range(a.shape[1]):
        partial[j % 8] += term(a[:, j, None], b[None, :, j], j)
    return tree(partial)


def sq_distance(a: Floats, b: Floats) -> Floats:
    """Canonical squared Euclidean distance of every pair of rows."""

    def term(x: Floats, y: Floats, out: Floats) -> None:
        np.subtract(x, y, out=out)
        np.multiply(out, out, out=out)

    return _accumulate(a, b, term)


def dot(a: Floats, b: Floats) -> Floats:
    """Canonical sum of products of every pair of rows."""
    return _accumulate(a, b, lambda x, y, out: np.multiply(x, y, out=out))


def manhattan(a: Floats, b: Floats) -> Floats:
    """Canonical sum of absolute differences of every pair of rows."""

    def term(x: Floats, y: Floats, out: Floats) -> None:
        np.subtract(x, y, out=out)
        np.abs(out, out=out)

    return _accumulate(a, b, term)


def chebyshev(a: Floats, b: Floats) -> Floats:
    """Largest absolute difference of every pair of rows."""
    largest = np.zeros((len(a), len(b)))
    for j in range(a.shape[1]):
        np.maximum(largest, np.abs(a[:, j, None] - b[None, :, j]), out=largest)
    return largest


def normalised(a: Floats, *, centred: bool = False) -> Floats:
    """Rows, less their means if `centred`, divided by their norm; a zero row stays zero.

    Each row is first brought to a largest magnitude in [0.5, 1) by a power of two, which changes
    no bit of the result and keeps the squares from overflowing or vanishing. Its first number is
    taken off before the mean, so that a constant row leaves zeros.
    """
    size = np.abs(a).max(axis=1)
    _, exponent = np.frexp(np.where(np.isfinite(size), size, 1.0))
    a = np.ldexp(a, -exponent[:, None])
    if centred:
        a = a - a[:, :1]
        a = a - (_row_sums(a) / a.shape[1])[:, None]
    norm = np.sqrt(_row_sums(a * a))
    return a / np.where(norm == 0, 1.0, norm)[:, None]


def _row_sums(a: Floats) -> Floats:
    """Canonical sum of each row."""
    partial = np.zeros((8, len(a)))
    for j in range(a.shape[1]):
        partial[j % 8] += a[:, j]
    return tree(partial)


def _cosine(a: Floats, b: Floats, *, centred: bool = False) -> Floats:
    a, b = normalised(a, centred=centred), normalised(b, centred=centred)
    distance = 0.5 * sq_distance(a, b)
    zero = ~np.any(a, axis=1)[:, None] | ~np.any(b, axis=1)
    distance[zero & ~np.isnan(distance)] = 1.0
    return distance


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def paired_cosine(a: Floats, b: Floats) -> Floats:
    """Canonical cosine distance of each row of a and the row of b beside it."""
    a, b = normalised(a), normalised(b)
    distance = 0.5 * _row_sums(np.square(a - b))
    zero = ~np.any(a, axis=1) | ~np.any(b, axis=1)
    distance[zero & ~np.isnan(distance)] = 1.0
    return distance


def _minkowski(a: Floats, b: Floats, p: float) -> Floats:
    return _sum(a, b, lambda x, y, j: power(np.abs(x - y), p))


def _canberra(a: Floats, b: Floats) -> Floats:
    def term(x: Floats, y: Floats, j: int) -> Floats:
        size = np.abs(x) + np.abs(y)
        share: Floats = np.where(size == 0, 0.0, np.abs(x - y) / size)
        return share

    return _sum(a, b, term)


def _braycurtis(a: Floats, b: Floats) -> Floats:
    apart = manhattan(a, b)
    together = manhattan(a, -b)
    return np.where((apart == 0) & (together == 0), 0.0, apart / together)


def _lorentzian(a: Floats, b: Floats) -> Floats:
    return _sum(a, b, lambda x, y, j: log_of_one_plus(np.abs(x - y)))


def _nan_euclidean(a: Floats, b: Floats, features: float) -> Floats:
    def square(x: Floats, y: Floats, j: int) -> Floats:
        difference = x - y
        return np.where(np.isnan(difference), 0.0, difference * difference)

    squares, present = _sum(a, b, square), _present(a, b)
    return np.where(present == 0, np.inf, squares / present)


def _present(a: Floats, b: Floats) -> Floats:
    """The number of features that both rows of a pair have."""
    return _sum(a, b, lambda x, y, j: (~np.isnan(x - y)).astype(np.float64))


def _weuclidean(a: Floats, b: Floats, w: Floats) -> Floats:
    def term(x: Floats, y: Floats, j: int) -> Floats:
        difference = x - y
        return float(w[j]) * difference * difference

    return _sum(a, b, term)


def _mahalanobis(a: Floats, b: Floats, transform: Floats) -> Floats:
    partial = np.zeros((8, len(a), len(b)))
    for i, row in enumerate(transform):
        z = _sum(a, b, lambda x, y, j, row=row: row[j] * (x - y))  # type: ignore[misc]
        partial[i % 8] += z * z
    return tree(partial)


def _gower(a: Floats, b: Floats, ranges: Floats, clip: float = np.inf) -> Floats:
    def term(x: Floats, y: Floats, j: int) -> Floats:
        difference = x - y
        if ranges[j] > 0:
            share = np.minimum(np.abs(difference) / float(ranges[j]), clip)
        else:
            share = (difference != 0).astype(np.float64)
        return np.where(np.isnan(difference), 0.0, share)

    terms, present = _sum(a, b, term), _present(a, b)
    return np.where(present == 0, np.inf, terms / present)


def _unpacked(a: Floats) -> Floats:
    """Bytes as eight numbers each, 0 or 1."""
    return np.unpackbits(a.astype(np.uint8), axis=1).astype(np.float64)


def _differing(a: Floats, b: Floats) -> Floats:
    x, y = _unpacked(a), _unpacked(b)
    differing: Floats = x @ (1 - y).T + (1 - x) @ y.T  # whole numbers, so in any order
    return differing


def _jaccard(a: Floats, b: Floats, n_bits: int) -> Floats:
    common = _unpacked(a) @ _unpacked(b).T
    differing = _differing(a, b)
    return differing / np.maximum(common + differing, 1.0)


@dataclass(frozen=True)
class Metric:
    """What there is to know of a metric but its way through the engine.

    Parameters
    ----------
    ordered : callable(a, b, **params)
        The canonical value of every pair of rows of two blocks, smallest first.
    finish : callable(ordered, **params)
        The distance for it.
    required, optional : tuple of str
        The keys of metric_params that users must and may give.
    on_bits : bool
        Whether rows are packed bits.
    largest_first : bool
        Whether it is the larger the nearer rows are, and so no distance.
    unit_rows, centred : bool
        Whether rows are divided by their norms, less their means before that.
    takes_nan : bool
        Whether NaN is a feature that is missing.
    takes_sparse : bool
        Whether it is made of products, to which features that are zero add nothing.
    plain : bool
        Whether rows are packed once for all searches, parameters having no part in it.
    """

    ordered: Callable[..., Floats]
    finish: Callable[..., Floats] = lambda order, **_: order
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    on_bits: bool = False
    largest_first: bool = False
    unit_rows: bool = False
    centred: bool = False
    takes_nan: bool = False
    takes_sparse: bool = False
    plain: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """The keys that metric_params may have."""
        return self.required + self.optional


def _root(order: Floats, **_: Any) -> Floats:
    return np.sqrt(order)


# By the names that users write, in the order in which messages list them.
METRICS: dict[str, Metric] = {
    "euclidean": Metric(sq_distance, _root, plain=True),
    "sqeuclidean": Metric(sq_distance, plain=True),
    "cosine": Metric(_cosine, unit_rows=True, takes_sparse=True, plain=True),
    "inner_product": Metric(
        lambda a, b: -dot(a, b),
        lambda order: 0.0 - order,
        largest_first=True,
        takes_sparse=True,
        plain=True,
    ),
    "manhattan": Metric(manhattan, plain=True),
    "chebyshev": Metric(chebyshev, plain=True),
    "correlation": Metric(
        lambda a, b: _cosine(a, b, centred=True), unit_rows=True, centred=True, plain=True
    ),
    "minkowski": Metric(
        _minkowski, lambda order, p: power_by_roots(order, 1.0 / p), required=("p",)
    ),
    "canberra": Metric(_canberra),
    "braycurtis": Metric(_braycurtis),
    "lorentzian": Metric(_lorentzian),
    "nan_euclidean": Metric(
        _nan_euclidean, lambda order, features: np.sqrt(order * features), takes_nan=True
    ),
    "weuclidean": Metric(_weuclidean, _root, required=("w",)),
    "mahalanobis": Metric(_mahalanobis, _root, optional=("VI", "V")),
    "gower": Metric(_gower, optional=("categorical", "ranges", "clip"), takes_nan=True),
    "hamming": Metric(
        lambda a, b, n_bits: _differing(a, b),
        lambda order, n_bits: order / float(n_bits),
        optional=("n_bits",),
        on_bits=True,
    ),
    "jaccard": Metric(_jaccard, optional=("n_bits",), on_bits=True),
}


def ordered(metric: str, a: Floats, b: Floats, params: Params = None) -> Floats:
    """The canonical value of every pair of rows."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        return METRICS[metric].ordered(a, b, **(params or {}))


def finish(metric: str, order: Floats, params: Params = None) -> Floats:
    """What is returned for a canonical value."""
    with np.errstate(over="ignore", under="ignore"):
        return METRICS[metric].finish(order, **(params or {}))
