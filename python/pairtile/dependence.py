"""Do paired rows depend on each other: distance covariance, HSIC, CKA and their permutation test.

With K_ij = k(x_i, x_j) and L_ij = l(y_i, y_j), all of them are the inner product of K and L after
double centring, which takes Σ K∘L, the row sums of K and L and the diagonals.

    x, y -> kernel terms -> one sweep over the pairs of rows        -> _Joint -> centred product
                            and one for each gradient, with centred weights   -> DependenceGradient
                         -> covariances, where kernels are linear   ->
                         -> sorted columns, for distances on a line ->
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.kernels import evaluate
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.kernels import univariate
from pairtile.kernels.kernel import (
    Energy,
    Kernel,
    as_kernel,
    diagonal,
    in_range,
    median_sizes,
    not_below_zero,
    resolve,
)
from pairtile.kernels.univariate import dot
from pairtile.two_sample.relabelling import at_least
from pairtile.two_sample.results import TestResult, concluded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from pairtile._definitions.kernels import Term
    from pairtile._front.progress import Progress, Report

    Floats = NDArray[np.float64]

ESTIMATORS = ("biased", "unbiased")
_STATISTICS = {"distance_covariance": Energy(1.0), "hsic": as_kernel("gaussian")}
_BUFFER = 1 << 26  # bytes of kernel matrices, and of permuted rows at a time


class DependenceGradient(NamedTuple):
    """A statistic of paired rows and its derivatives.

    Attributes
    ----------
    value : float
        The statistic.
    grad_x, grad_y : (n, d) and (n, e) arrays
        By the rows, each in the working dtype of its own.
    """

    value: float
    grad_x: Any
    grad_y: Any


class _Side(NamedTuple):
    """Sums of one kernel over the pairs of rows; all but `mean_square` of the shifted kernel."""

    rows: Floats  # Σ_{j≠i} K_ij
    own: Floats  # K_ii
    squares: float  # Σ_{i≠j} K_ij²
    mean_square: float  # of all K_ij
    shift: float = 0.0  # that was taken off the kernel


class _Joint(NamedTuple):
    """What a centred product is made of."""

    products: Floats  # Σ_{i≠j} K_ij L_ij, one for each order of y
    x: _Side
    y: _Side
    unit: float = 1.0  # what products of K and L are multiplied by


def _side(rows: Floats, own: Floats, squares: float, shift: float) -> _Side:
    """The sums of a kernel that was shifted before it was added up."""
    n = len(rows)
    off_diagonal = squares + 2 * shift * float(rows.sum()) + n * (n - 1) * shift * shift
    mean_square = max(0.0, off_diagonal + dot(own, own)) / n**2
    return _Side(rows, own - shift, squares, mean_square, shift)


# --- the sums, in three ways ---------------------------------------------------------------------


def _typical(x: NDArray[Any], terms: list[Term]) -> float:
    """About the mean of k(x_i, x_j) over i != j: what products cancel least without."""
    sample = np.asarray(validate.host(x[:: -(-len(x) // 64)]), dtype=np.float64)
    if len(sample) < 2:
        return 0.0
    k = evaluate(sample, sample, terms)
    mean = float(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))
    return mean if math.isfinite(mean) else 0.0


def _over_pairs(
    x: NDArray[Any],
    y: NDArray[Any],
    x_terms: list[Term],
    y_terms: list[Term],
    orders: NDArray[np.int64] | None = None,
    *,
    workers: int,
    progress: Report | None,
) -> _Joint:
    """By tiles. Each order of the rows of y costs one more pass over its pairs."""
    sums = choose.module(x, y).joint_kernel_sums
    x_shift, y_shift = _typical(x, x_terms), _typical(y, y_terms)
    products, x_rows, y_rows, x_squares, y_squares = sums(
        x,
        y if orders is None else validate.taken(y, orders.ravel()),
        x_terms,
        y_terms,
        x_shift=x_shift,
        y_shift=y_shift,
        workers=workers,
        progress=progress,
    )
    return _Joint(
        products,
        _side(x_rows, diagonal(x, x_terms), x_squares, x_shift),
        _side(y_rows, diagonal(y, y_terms), y_squares, y_shift),
    )


def _by_covariance(x: NDArray[Any], y: NDArray[Any], x_scale: float, y_scale: float) -> _Joint:
    """By the products of features, which have as many rows and columns as there are features.

    Of centred rows: that moves linear kernels by what double centring removes.
    """
    n = len(x)
    step = max(1, (1 << 20) // (x.shape[1] + y.shape[1]))
    chunks = [slice(i, i + step) for i in range(0, n, step)]

    def moved(a: NDArray[Any], rows: slice) -> Floats:
        difference: Floats = a[rows].astype(np.float64) - a[0].astype(np.float64)
        return difference

    means = [sum(moved(a, rows).sum(axis=0) for rows in chunks) / n for a in (x, y)]
    xx, xy, yy = (np.zeros((a.shape[1], b.shape[1])) for a, b in ((x, x), (x, y), (y, y)))
    x_own, y_own = np.empty(n), np.empty(n)
    for rows in chunks:
        a, b = (moved(s, rows) - mean for s, mean in zip((x, y), means, strict=True))
        xx += a.T @ a
        xy += a.T @ b
        yy += b.T @ b
        x_own[rows], y_own[rows] = (np.einsum("ij,ij->i", c, c) for c in (a, b))
    product = float(np.sum(xy * xy)) - dot(x_own, y_own)
    of_x, of_y = (
        _side(-scale * own, scale * own, scale**2 * (float(np.sum(c * c)) - dot(own, own)), 0.0)
        for scale, own, c in ((x_scale, x_own, xx), (y_scale, y_own, yy))
    )
    return _Joint(np.array([x_scale * y_scale * product]), of_x, of_y)


def _on_lines(
    x: NDArray[Any],
    y: NDArray[Any],
    orders: NDArray[np.int64],
    *,
    workers: int,
    progress: Report | None,
) -> _Joint:
    """By sorting, for −|x − x'| and −|y − y'| of single columns and each of the orders of y."""
    a, b = univariate.column(x), univariate.column(y)
    at = np.argsort(a, kind="stable")
    products = choose.module(x, y).line_products(
        a[at], b, np.ascontiguousarray(orders[:, at]), workers=workers, progress=progress
    )
    return _Joint(products, _line_side(a), _line_side(b))


def _line_side(x: Floats) -> _Side:
    n = len(x)
    at = np.argsort(x, kind="stable")
    rows = np.empty(n)
    rows[at] = -univariate.row_sums(x[at])
    centred = x - x.mean()
    return _side(rows, np.zeros(n), 2 * n * dot(centred, centred), 0.0)


# --- centring ------------------------------------------------------------------------------------


def _centred_product(estimator: str, product: float, k: _Side, other: _Side) -> float:
    """The mean product of K and L after double centring; unbiased, after U-centring.

    Row sums enter as deviations from their mean, so that little cancels.
    """
    n = len(k.rows)
    if estimator == "biased":
        product += dot(k.own, other.own)
        of_rows, of_all, pairs = 2 / n, 1.0, n * n
        k_rows, other_rows = k.rows + k.own, other.rows + other.own
    else:
        of_rows, of_all, pairs = 2 / (n - 2), n / (n - 1), n * (n - 3)
        k_rows, other_rows = k.rows, other.rows
    k_mean, other_mean = float(k_rows.mean()), float(other_rows.mean())
    rows = dot(k_rows - k_mean, other_rows - other_mean)
    return (product - of_rows * rows - of_all * k_mean * other_mean) / pairs


def _variance(estimator: str, k: _Side) -> float:
    """The centred product with itself; 0 where it is nothing but rounding."""
    value = _centred_product(estimator, k.squares, k, k)
    return value if value > 2.0**-80 * k.mean_square else 0.0


def _correlation(estimator: str, sums: _Joint) -> float:
    sizes = math.sqrt(_variance(estimator, sums.x)) * math.sqrt(_variance(estimator, sums.y))
    product = _centred_product(estimator, float(sums.products[0]), sums.x, sums.y)
    return max(-1.0, min(1.0, product / sizes)) if sizes > 0 else 0.0


# --- from arguments to sums ----------------------------------------------------------------------


def _paired(
    x: ArrayLike, y: ArrayLike, estimator: str = "biased", *, check_finite: bool, workers: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    scalars.choice("estimator", estimator, ESTIMATORS)
    a = validate.matrix("x", x, check_finite=check_finite, workers=workers)
    b = validate.matrix("y", y, check_finite=check_finite, workers=workers)
    if len(a) != len(b):
        raise ValueError(f"x has {len(a)} rows and y has {len(b)}; they must be paired")
    if estimator == "unbiased" and len(a) < 4:
        raise ValueError(
            f"x and y have {len(a)} rows and the unbiased estimator needs at least 4; "
            "estimator='biased' does without"
        )
    return a, b


def _invariant(terms: list[Term]) -> list[Term]:
    """Terms that are the same after double centring and do not depend on the place of the origin.

    x·y is −½‖x − y‖² plus a number for each row.
    """
    return [
        (0.5 * weight, "energy", (2.0,)) if name == "linear" else (weight, name, params)
        for weight, name, params in terms
    ]


def _linear_scale(terms: list[Term]) -> float | None:
    """The multiple of x·y that the terms amount to, None for another kernel."""
    if any(name != "linear" for _, name, _ in terms):
        return None
    return sum(weight for weight, _, _ in terms)


def _sums(
    x: ArrayLike,
    y: ArrayLike,
    x_kernel: Kernel,
    y_kernel: Kernel,
    *,
    estimator: str,
    workers: int | None,
    check_finite: bool,
    progress: Progress,
) -> _Joint:
    threads = resolve_workers(workers)
    a, b = _paired(x, y, estimator, check_finite=check_finite, workers=threads)
    n, x_features, y_features = len(a), a.shape[1], b.shape[1]
    a, x_kernel, x_unit = _without_unit(x_kernel, a)
    b, y_kernel, y_unit = _without_unit(y_kernel, b)
    medians = [median_sizes(kernel, n) for kernel in (x_kernel, y_kernel)]
    with reporting(progress, *medians[0], *medians[1], n * n) as (*reports, of_pairs):
        of_x = len(medians[0])
        if univariate.on_a_line(x_kernel, a) and univariate.on_a_line(y_kernel, b):
            sums = _on_lines(a, b, np.arange(n)[None], workers=threads, progress=of_pairs)
            return sums._replace(unit=x_unit * y_unit)
        x_terms = resolve(x_kernel, a, None, workers=threads, reports=reports[:of_x])
        y_terms = resolve(y_kernel, b, None, workers=threads, reports=reports[of_x:])
        x_scale, y_scale = _linear_scale(x_terms), _linear_scale(y_terms)
        products = x_features**2 + x_features * y_features + y_features**2
        if (
            x_scale is not None
            and y_scale is not None
            and products <= n * (x_features + y_features) // 2
            and validate.in_host_memory(a, b)
        ):
            return _by_covariance(a, b, x_scale, y_scale)
        sums = _over_pairs(
            a, b, _invariant(x_terms), _invariant(y_terms), workers=threads, progress=of_pairs
        )
    return sums._replace(unit=x_unit * y_unit)


def _in_unit(values: Any, unit: float) -> Any:
    """Values times a unit that may be beyond float64: 0 stays 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(values == 0, 0.0, values * unit)[()]


def _without_unit(kernel: Kernel, a: NDArray[Any]) -> tuple[NDArray[Any], Kernel, float]:
    """Rows and kernel `in_range`, and the weight of a single kernel apart: it may be extreme."""
    (a,), scaled, unit = in_range(kernel, a)
    parts = scaled._parts()
    if unit == 1 or len(parts) > 1:
        return a, scaled, 1.0
    return a, parts[0][1], parts[0][0]


# --- gradients -----------------------------------------------------------------------------------


def _centred_weights(estimator: str, side: _Side) -> tuple[float, Floats]:
    """A factor and b, so that ∂ centred product / ∂K_ij = factor (L_ij + b_i + b_j); L is `side`'s.

    That is L after the centring of the estimator. L itself is not less its shift.
    """
    n = len(side.rows)
    if estimator == "biased":
        rows = side.rows + side.own
        factor, of_rows, of_all = 1 / n**2, 1 / n, 1 / n**2
    else:
        rows = side.rows
        factor, of_rows, of_all = 1 / (n * (n - 3)), 1 / (n - 2), 1 / ((n - 1) * (n - 2))
    return factor, -of_rows * rows + 0.5 * (of_all * math.fsum(rows) - side.shift)


def _with_gradient(
    name: str,
    x: ArrayLike,
    y: ArrayLike,
    x_kernel: Kernel,
    y_kernel: Kernel,
    *,
    estimator: str,
    workers: int | None,
    check_finite: bool,
    progress: Progress,
) -> DependenceGradient:
    """`hsic` or `cka` with its gradients."""
    threads = resolve_workers(workers)
    a, b = _paired(x, y, estimator, check_finite=check_finite, workers=threads)
    validate.host_only(f"{name} with return_gradient=True", a, b)
    n, dtypes = len(a), [validate.working_dtype(side) for side in (a, b)]
    (a,), x_scaled, x_unit = in_range(x_kernel, a)
    (b,), y_scaled, y_unit = in_range(y_kernel, b)
    medians = [median_sizes(kernel, n) for kernel in (x_scaled, y_scaled)]
    pairs = [n * n] * (3 if name == "hsic" else 5)
    with reporting(progress, *medians[0], *medians[1], *pairs) as reports:
        of_x, of_y = len(medians[0]), len(medians[0]) + len(medians[1])
        x_terms = _invariant(resolve(x_scaled, a, None, workers=threads, reports=reports[:of_x]))
        y_terms = _invariant(
            resolve(y_scaled, b, None, workers=threads, reports=reports[of_x:of_y])
        )
        of_pairs = iter(reports[of_y:])
        sums = _over_pairs(a, b, x_terms, y_terms, workers=threads, progress=next(of_pairs))

        def pull(rows: Any, terms: Any, beside: Any, weights: Any, side: _Side) -> Floats:
            factor, by_row = _centred_weights(estimator, side)
            found: Floats = choose.module(rows, beside).joint_kernel_gradient(
                rows, beside, terms, weights, by_row, diagonal=estimator == "biased",
                workers=threads, progress=next(of_pairs),
            )  # fmt: skip
            return 2 * factor * found  # K is symmetric: x_i is in row i and in column i

        grad_x = pull(a, x_terms, b, y_terms, sums.y)
        grad_y = pull(b, y_terms, a, x_terms, sums.x)
        if name == "hsic":
            value = _centred_product(estimator, float(sums.products[0]), sums.x, sums.y)
            value = float(not_below_zero(value, estimator, x_kernel, y_kernel))
        else:
            value = _correlation(estimator, sums)
            of_x_alone, of_y_alone = (_variance(estimator, side) for side in (sums.x, sums.y))
            size = math.sqrt(of_x_alone) * math.sqrt(of_y_alone)
            if size > 0:
                own = pull(a, x_terms, a, x_terms, sums.x), pull(b, y_terms, b, y_terms, sums.y)
                grad_x = grad_x / size - value / of_x_alone * own[0]
                grad_y = grad_y / size - value / of_y_alone * own[1]
            else:
                grad_x, grad_y = np.zeros(a.shape), np.zeros(b.shape)
    to_user = validate.like(x, y)
    return DependenceGradient(
        value,
        to_user(validate.narrowed(grad_x / x_unit, dtypes[0])),
        to_user(validate.narrowed(grad_y / y_unit, dtypes[1])),
    )


def _root(value: float, squared: bool) -> float:
    return float(value) if squared else math.sqrt(max(value, 0.0))


def distance_covariance(
    x: ArrayLike,
    y: ArrayLike,
    *,
    exponent: float = 1.0,
    estimator: str = "biased",
    squared: bool = True,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> float:
    r"""Squared distance covariance of paired rows: 0 in the limit only if they are independent.

    .. math:: \mathrm{dCov}^2 = \frac{1}{n^2} \sum_{ij} A_{ij} B_{ij}

    A and B are the distances :math:`\|x_i - x_j\|^\alpha` and :math:`\|y_i - y_j\|^\alpha` after
    double centring; "unbiased" takes U-centring, :math:`i \ne j` and :math:`1/(n(n-3))` instead.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (n, e)
        Paired rows, of any two dtypes; real numbers.
    exponent : float, default 1
        α in (0, 2], of both distances. At 2 only linear dependence counts.
    estimator : {"biased", "unbiased"}
        The V-statistic of Székely, Rizzo and Bakirov, which is never negative, or the U-statistic,
        which needs 4 rows.
    squared : bool, default True
        False returns the root of max(dCov², 0).
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable: different numbers of rows, fewer than 4 with the
        unbiased estimator, an exponent outside (0, 2], NaN or Inf.

    Notes
    -----
    In float64 throughout. O(n² (d + e)) operations; memory O(n) beside the inputs, never n x n.
    Two single columns with exponent 1 take O(n log n).

    References
    ----------
    Székely, Rizzo and Bakirov, "Measuring and testing dependence by correlation of distances",
    Annals of Statistics 35 (2007). Székely and Rizzo, "Partial distance correlation with methods
    for dissimilarities", Annals of Statistics 42 (2014). Chaudhuri and Hu, "A fast algorithm for
    computing distance correlation", Computational Statistics & Data Analysis 135 (2019).

    Examples
    --------
    >>> import numpy as np, pairtile as pt
    >>> x = np.arange(5.0)[:, None]
    >>> round(pt.distance_covariance(x, x**2), 6)
    4.864
    """
    kernel = Energy(exponent)
    sums = _sums(
        x,
        y,
        kernel,
        kernel,
        estimator=estimator,
        workers=workers,
        check_finite=check_finite,
        progress=progress,
    )
    value = _centred_product(estimator, float(sums.products[0]), sums.x, sums.y)
    return _root(_in_unit(not_below_zero(value, estimator, kernel), sums.unit), squared)


def distance_correlation(
    x: ArrayLike,
    y: ArrayLike,
    *,
    exponent: float = 1.0,
    estimator: str = "biased",
    squared: bool = True,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> float:
    r"""Squared distance correlation of paired rows.

    .. math::
        \mathrm{dCor}^2 = \frac{\mathrm{dCov}^2(x, y)}
        {\sqrt{\mathrm{dCov}^2(x, x)\,\mathrm{dCov}^2(y, y)}}

    Parameters
    ----------
    x, y, exponent, estimator
        As in `distance_covariance`. "unbiased" gives the bias-corrected distance correlation.
    squared : bool, default True
        False returns the root of max(dCor², 0).
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    float
        In [0, 1] (unbiased: in [-1, 1]); 0 where x or y does not vary.

    Raises
    ------
    TypeError, ValueError
        As in `distance_covariance`.

    Notes
    -----
    One sweep gives all three distance covariances; cost and references as for
    `distance_covariance`.

    Examples
    --------
    >>> import numpy as np, pairtile as pt
    >>> x = np.arange(5.0)[:, None]
    >>> round(pt.distance_correlation(x, x**2), 6)
    0.94419
    """
    kernel = Energy(exponent)
    sums = _sums(
        x,
        y,
        kernel,
        kernel,
        estimator=estimator,
        workers=workers,
        check_finite=check_finite,
        progress=progress,
    )
    return _root(_correlation(estimator, sums), squared)


@overload
def hsic(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_kernel: Kernel | str = ...,
    y_kernel: Kernel | str = ...,
    estimator: str = ...,
    return_gradient: Literal[False] = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> float: ...
@overload
def hsic(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_kernel: Kernel | str = ...,
    y_kernel: Kernel | str = ...,
    estimator: str = ...,
    return_gradient: Literal[True],
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> DependenceGradient: ...
@overload
def hsic(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_kernel: Kernel | str = ...,
    y_kernel: Kernel | str = ...,
    estimator: str = ...,
    return_gradient: bool,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> float | DependenceGradient: ...
def hsic(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_kernel: Kernel | str = "gaussian",
    y_kernel: Kernel | str = "gaussian",
    estimator: str = "biased",
    return_gradient: bool = False,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> float | DependenceGradient:
    r"""Hilbert–Schmidt independence criterion of paired rows.

    .. math:: \frac{1}{n^2} \mathrm{tr}(K H L H), \qquad H = I - \tfrac1n 1 1^T

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (n, e)
        Paired rows, of any two dtypes; real numbers.
    x_kernel, y_kernel : Kernel or str, default "gaussian"
        As in `mmd`; a median is that of x alone, and of y alone.
    estimator : {"biased", "unbiased"}
        The value above, or the U-statistic of Song et al., which can be negative and needs 4
        rows.
    return_gradient : bool, default False
        Return a `DependenceGradient`, for arrays in host memory; a median counts as a constant.
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    float or DependenceGradient
        Where a kernel has no derivative a pair contributes 0, as in `mmd`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable: different numbers of rows, fewer than 4 with the
        unbiased estimator, a median distance of zero, NaN or Inf.

    Notes
    -----
    In float64 throughout. O(n² (d + e)) operations; memory O(n) beside the inputs, never n x n;
    one sweep more for each gradient. With linear kernels and no gradient, O(n (d + e)²) operations
    and memory O((d + e)²) where that is less.

    References
    ----------
    Gretton et al., "Measuring statistical dependence with Hilbert–Schmidt norms", ALT 2005 (which
    divides by (n − 1)²). Song et al., "Feature selection via dependence maximization", JMLR 13
    (2012), equation 4.

    Examples
    --------
    >>> import numpy as np, pairtile as pt
    >>> x = np.arange(5.0)[:, None]
    >>> round(pt.hsic(x, x**2, x_kernel="linear", y_kernel="linear"), 6)
    64.0
    """
    if return_gradient:
        return _with_gradient(
            "hsic",
            x,
            y,
            as_kernel(x_kernel, "x_kernel"),
            as_kernel(y_kernel, "y_kernel"),
            estimator=estimator,
            workers=workers,
            check_finite=check_finite,
            progress=progress,
        )
    sums = _sums(
        x,
        y,
        as_kernel(x_kernel, "x_kernel"),
        as_kernel(y_kernel, "y_kernel"),
        estimator=estimator,
        workers=workers,
        check_finite=check_finite,
        progress=progress,
    )
    value = _centred_product(estimator, float(sums.products[0]), sums.x, sums.y)
    value = not_below_zero(value, estimator, as_kernel(x_kernel), as_kernel(y_kernel))
    return float(_in_unit(value, sums.unit))


@overload
def cka(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_kernel: Kernel | str = ...,
    y_kernel: Kernel | str = ...,
    estimator: str = ...,
    return_gradient: Literal[False] = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> float: ...
@overload
def cka(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_kernel: Kernel | str = ...,
    y_kernel: Kernel | str = ...,
    estimator: str = ...,
    return_gradient: Literal[True],
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> DependenceGradient: ...
@overload
def cka(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_kernel: Kernel | str = ...,
    y_kernel: Kernel | str = ...,
    estimator: str = ...,
    return_gradient: bool,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> float | DependenceGradient: ...
def cka(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_kernel: Kernel | str = "linear",
    y_kernel: Kernel | str = "linear",
    estimator: str = "biased",
    return_gradient: bool = False,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> float | DependenceGradient:
    r"""Centred kernel alignment of two representations of the same rows.

    .. math:: \frac{\mathrm{HSIC}(K, L)}{\sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}}

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (n, e)
        Paired rows, of any two dtypes; real numbers.
    x_kernel, y_kernel : Kernel or str, default "linear"
        As in `hsic`.
    estimator : {"biased", "unbiased"}
        Of each HSIC. "unbiased" is the debiased CKA: the biased one grows to 1 with the number
        of features whatever the rows.
    return_gradient : bool, default False
        As in `hsic`.
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    float or DependenceGradient
        In [0, 1] (unbiased: in [-1, 1]); 0 where x or y does not vary. With linear kernels it
        does not change when a representation is moved, turned or scaled.

    Raises
    ------
    TypeError, ValueError
        As in `hsic`.

    Notes
    -----
    One sweep, or three products of features, give all three; cost as for `hsic`. Gradients take two
    sweeps each.

    References
    ----------
    Kornblith et al., "Similarity of neural network representations revisited", ICML 2019.
    Murphy, Zylberberg and Fyshe, "Correcting biased centered kernel alignment measures in
    biological and artificial neural networks", arXiv:2405.01012 (2024).

    Examples
    --------
    >>> import numpy as np, pairtile as pt
    >>> x = np.arange(5.0)[:, None]
    >>> round(pt.cka(x, x**2), 6)
    0.91954
    """
    if return_gradient:
        return _with_gradient(
            "cka",
            x,
            y,
            as_kernel(x_kernel, "x_kernel"),
            as_kernel(y_kernel, "y_kernel"),
            estimator=estimator,
            workers=workers,
            check_finite=check_finite,
            progress=progress,
        )
    sums = _sums(
        x,
        y,
        as_kernel(x_kernel, "x_kernel"),
        as_kernel(y_kernel, "y_kernel"),
        estimator=estimator,
        workers=workers,
        check_finite=check_finite,
        progress=progress,
    )
    return _correlation(estimator, sums)


# --- the test ------------------------------------------------------------------------------------


def _orders(n: int, count: int, size: int, rng: Any) -> Iterator[NDArray[np.int64]]:
    """The order as it is, then `count` drawn ones, up to `size` of them at a time."""
    drawn = np.arange(n)
    for start in range(0, count + 1, size):
        batch = np.empty((min(size, count + 1 - start), n), dtype=np.int64)
        for b in range(len(batch)):
            if start + b > 0:
                drawn = rng.permutation(n)
            batch[b] = drawn
        yield batch


def independence_test(
    x: ArrayLike,
    y: ArrayLike,
    *,
    statistic: str = "distance_covariance",
    n_permutations: int = 999,
    rng: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> TestResult:
    r"""Permutation test of independence of paired rows.

    The rows of y are put in another order ``rng.permutation(n)``, `n_permutations` times; the
    p-value is one-tailed.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (n, e)
        Paired rows, of any two dtypes; real numbers.
    statistic : {"distance_covariance", "hsic"}
        That function with its defaults: biased; exponent 1, or Gaussian kernels with the median
        of each sample as bandwidth.
    n_permutations : int, default 999
        B, at least 1.
    rng : int, numpy.random.Generator or None
        One seed gives one null distribution on every backend.
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    TestResult
        ``(statistic, pvalue, null_distribution)``; ``(1 + #{T_b ≥ T_0 − τ}) / (1 + B)`` with
        :math:`\tau = 2^{-38} \sqrt{\hat E K^2\,\hat E L^2}`, so that orders that tie in
        theory tie here.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, as in `distance_covariance` and `hsic`; besides, if
        `n_permutations` is below 1.

    Notes
    -----
    In float64 throughout. Up to 2048 rows both kernel matrices are held, in at most 64 MB, and
    read in each order: O(n² (d + e) + B n²) operations. Of more rows, values of the kernel of y
    are computed again for each order: O(B n² e) operations, where y is the one of the two with
    fewer columns; memory O(n) and at most 64 MB of rows in other orders, never n x n. Distance
    covariance of two single columns takes O(B n log n).

    References
    ----------
    Székely, Rizzo and Bakirov, "Measuring and testing dependence by correlation of distances",
    Annals of Statistics 35 (2007). Gretton et al., "A kernel statistical test of independence",
    NIPS 2007.

    Examples
    --------
    >>> import numpy as np, pairtile as pt
    >>> x = np.arange(30.0)[:, None]
    >>> pt.independence_test(x, (x - 10) ** 2, n_permutations=99, rng=0).pvalue
    0.01
    """
    kernel = _STATISTICS[scalars.choice("statistic", statistic, _STATISTICS)]
    count = scalars.count("n_permutations", n_permutations)
    generator = scalars.generator(rng)
    threads = resolve_workers(workers)
    a, b = _paired(x, y, check_finite=check_finite, workers=threads)
    n = len(a)
    a, x_kernel, x_unit = _without_unit(kernel, a)
    b, y_kernel, y_unit = _without_unit(kernel, b)
    line = univariate.on_a_line(x_kernel, a) and univariate.on_a_line(y_kernel, b)
    # to reorder y is to reorder x by the inverse
    reversed_roles = a.shape[1] < b.shape[1]
    if reversed_roles:
        a, b, x_kernel, y_kernel = b, a, y_kernel, x_kernel
    held = not line and 2 * 8 * n * n <= _BUFFER
    # orders of y at a time; where there is a thread for each, one for each thread
    size = min(count + 1, max(threads if line else 1, _BUFFER // (8 * (n if held else b.size))))
    medians = [median_sizes(kernel, n)] * 2
    sweeps = [n * n // 2] * -(-(count + 1) // size)
    values = np.empty(count + 1)
    with reporting(progress, *medians[0], *medians[1], *sweeps) as reports:
        of_x, of_y = len(medians[0]), len(medians[0]) + len(medians[1])
        if not line:
            x_terms = resolve(x_kernel, a, None, workers=threads, reports=reports[:of_x])
            y_terms = resolve(y_kernel, b, None, workers=threads, reports=reports[of_x:of_y])
        first: _Joint | None = None
        done = 0
        for orders, report in zip(_orders(n, count, size, generator), reports[of_y:], strict=True):
            if reversed_roles:
                orders = np.argsort(orders, axis=1)
            if line:
                sums = _on_lines(a, b, orders, workers=threads, progress=report)
            elif held:
                sums = first or _over_pairs(a, b, x_terms, y_terms, workers=threads, progress=None)
                products = choose.module(a, b).permuted_kernel_products(
                    a, b, x_terms, y_terms, orders,
                    x_shift=_typical(a, x_terms), y_shift=_typical(b, y_terms),
                    workers=threads, progress=report,
                )  # fmt: skip
                sums = sums._replace(products=products)
            else:
                sums = _over_pairs(a, b, x_terms, y_terms, orders, workers=threads, progress=report)
            first = first or sums
            for order, product in zip(orders, sums.products, strict=True):
                side = first.y._replace(rows=first.y.rows[order], own=first.y.own[order])
                values[done] = _centred_product("biased", float(product), first.x, side)
                done += 1
    assert first is not None  # there is always the order as it is
    size_of_products = math.sqrt(first.x.mean_square) * math.sqrt(first.y.mean_square)
    tolerance = 2.0**-38 * size_of_products
    return concluded(
        _in_unit(np.maximum(values, 0.0), x_unit * y_unit),
        at_least(values, tolerance),
        "permutation",
        wrap=validate.like(x, y),
        n=n,
        m=n,
    )
