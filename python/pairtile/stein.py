"""Goodness of fit of a sample to a density known up to its normalising constant.

The density enters by its scores ∇ log p at the rows alone. One sweep adds the Stein kernel over
all pairs, and over the sign vectors of a wild bootstrap, which are labellings V with signs 2V − 1.

    x, scores -> packed bits -> stein_label_sums -> statistic, null distribution -> p-value
              -> gradients of kernels, of their derivatives and of products with them
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.kernels import curvature, derivative, stein_kernel
from pairtile._definitions.metrics import manhattan, sq_distance
from pairtile._front import scalars, validate
from pairtile._front.options import options
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.wanted import wants
from pairtile.kernels.kernel import (
    InverseMultiquadric,
    Kernel,
    as_kernel,
    diagonal,
    kernels_with,
    lengths_of,
    median_sizes,
    not_below_zero,
    resolve,
    text_of,
)
from pairtile.two_sample.relabelling import at_least, pack, signed_sums
from pairtile.two_sample.results import TestResult, concluded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from pairtile._definitions.kernels import Term
    from pairtile._front.options import Options
    from pairtile._front.progress import Progress
    from pairtile._front.words import Estimator, KernelName

    Floats = NDArray[np.float64]


class _SteinGradient(NamedTuple):
    value: float
    grad_x: Any
    grad_scores: Any


class SteinGradient(Result, _SteinGradient):
    """A Stein discrepancy and its derivatives.

    Attributes
    ----------
    value : float
        The discrepancy.
    grad_x, grad_scores : (n, d) arrays
        By the rows, the scores being given, and by the scores; each in the working dtype of its
        own.
    """


def _check_smooth(kernel: Kernel) -> None:
    for _, part in kernel._parts():
        if part._definition.stein is not None:
            continue
        if part._definition.argument in (sq_distance, manhattan):
            why = "has no derivative where two rows coincide"
        else:
            why = "is not a function of the distance of two rows"
        *some, last = kernels_with("stein")
        raise ValueError(
            f"{part} {why}; a Stein discrepancy takes a {', '.join(some)} or {last} kernel, or a "
            "sum of these"
        )


def _diagonal(scores: NDArray[np.float64], terms: Sequence[Term]) -> NDArray[np.float64]:
    """The Stein kernel of each row with itself."""
    nothing = np.zeros(len(scores))
    products = np.einsum("ij,ij->i", scores, scores)
    return stein_kernel(nothing, products, nothing, scores.shape[1], terms)


def _sum_of_diagonal(scores: Any, terms: Sequence[Term]) -> float:
    total = 0.0
    for start in range(0, len(scores), 4096):
        rows = np.asarray(validate.host(scores[start : start + 4096]), dtype=np.float64)
        total += float(_diagonal(rows, terms).sum())
    return total


def _rows_and_scores(
    x: ArrayLike, scores: ArrayLike, kernel: Kernel, asked: Options
) -> tuple[Any, Any]:
    """Two matrices of one shape, for a kernel with the derivatives that are needed."""
    _check_smooth(kernel)
    how: dict[str, Any] = {"check_finite": asked.check_finite, "workers": asked.workers}
    x, scores = validate.aligned("x", x, "scores", scores)
    a = validate.matrix("x", x, **how, sample=True)
    s = validate.matrix("scores", scores, **how, sample=a.shape[1] == 1)
    if s.shape != a.shape:
        raise ValueError(
            f"scores must have the shape of x, {a.shape}, a gradient per row; got {s.shape}"
        )
    if len(a) < 2:
        raise ValueError(f"a Stein discrepancy needs two rows, x has {len(a)}")
    return a, s


class _Signed(NamedTuple):
    """Means of the Stein kernel under vectors of signs."""

    values: NDArray[np.float64]  # of equal signs first
    size: float  # mean of its diagonal
    kernel: str  # with its lengths
    n: int


def _stein_sums(
    x: ArrayLike,
    scores: ArrayLike,
    kernel: Kernel,
    asked: Options,
    draw: Callable[[int], Iterator[NDArray[np.bool_]]],
    count: int,
) -> _Signed:
    """The statistic, and that under each sign vector.

    `draw` gives the sign vectors, True for +1, once the number of rows is known.
    """
    a, s = _rows_and_scores(x, scores, kernel, asked)
    threads, n = asked.workers, len(a)
    labels = pack(draw(n), n, count)
    with reporting(asked.progress, *median_sizes(kernel, n), n * n // 2) as (*medians, report):
        lengths = lengths_of(kernel, a, None, workers=threads, reports=medians)
        terms = kernel._terms(a.shape[1], lengths)
        within, row, total = choose.module(a, s).stein_label_sums(
            a, s, labels, terms, workers=threads, progress=report
        )
    values = np.append(total, signed_sums(within, row, total))
    own = _sum_of_diagonal(s, terms)
    values = (values + own) / n**2 if asked.estimator == "biased" else values / (n * (n - 1))
    return _Signed(values, own / n, text_of(kernel, lengths), n)


def _gradients(
    a: Any,
    s: Any,
    terms: list[Term],
    *,
    estimator: str,
    wanted: tuple[bool, bool],
    workers: int,
    reports: Sequence[Any],
) -> tuple[Floats | None, Floats | None]:
    """Derivatives of the mean Stein kernel by rows, and by scores, those of them that are wanted.

    With r = x_i − x_j, t = s_i − s_j, and ∂ the derivative by x_i of a kernel of d² = ‖r‖², for
    example ∂k = 2 r k',

        ∂k_p = s_i·s_j ∂k − 2 (r·t) ∂k' − 2 t k' − 2 f ∂k' − 4 ∂(d² k'')

    each of which is a gradient of a kernel, weighted by another one or not: r·t is half of
    ‖r + t‖² − ‖r‖² − ‖t‖², and d² the kernel of the exponent 2 but for its sign.
    """
    module = choose.module(a, s)
    n, features = a.shape
    report = iter(reports)
    ones, zeros = np.ones(n), np.zeros(n)
    wide = validate.host(s).astype(np.float64)
    squares: list[Term] = [(-1.0, "energy", (2.0,))]

    def pull(of: list[Term]) -> Floats:
        found: Floats = module.kernel_gradient(
            a, None, of, ones, None, diagonal=False, precision="float64",
            workers=workers, progress=next(report),
        )[2]  # fmt: skip
        return validate.host(found)

    def weighted(of: list[Term], beside: Any, weights: list[Term]) -> Floats:
        found: Floats = module.joint_kernel_gradient(
            a, beside, of, weights, zeros, diagonal=False, workers=workers, progress=next(report)
        )
        return validate.host(found)

    def products(of: list[Term], v: Floats) -> Floats:
        found: Floats = module.kernel_matvec(
            a, a, v, of, precision="float64", workers=workers, progress=next(report)
        )
        return validate.host(found)

    first = [one for term in terms for one in derivative(term)]
    # d² k'' as products with d², which the rule for a product differentiates, and as kernels
    by_squares = [term for term in terms if curvature(term)[0]]
    second = [one for term in by_squares for one in curvature(term)[0]]
    plain = [one for term in terms for one in curvature(term)[1]]

    factor = 2 / (n * n if estimator == "biased" else n * (n - 1))
    of_scores = None
    if wanted[1]:
        of_scores = products(terms, wide) - pull(terms)
        if estimator == "unbiased":
            of_scores -= diagonal(a, terms)[:, None] * wide
        of_scores *= factor
    if not wanted[0]:
        return None, of_scores
    of_rows = weighted(terms, s, [(1.0, "linear", ())])
    # r and t in units in which they are of one size, so that little cancels
    points = validate.host(a).astype(np.float64)
    points, unit = _balanced(points - points.mean(axis=0), wide - wide.mean(axis=0))
    shifts = wide / unit
    minus = weighted(first, np.hstack([points, shifts]), squares)
    of_rows -= weighted(first, points + shifts, squares) - minus  # 2 r·t, weighting ∂k'
    sums = products(first, np.hstack([wide, ones[:, None]]))
    of_rows -= 2 * (wide * sums[:, -1:] - sums[:, :-1])
    of_rows -= 2 * features * pull(first)
    if second:
        of_rows -= 4 * pull([one for term in by_squares for one in derivative(term)])
        of_rows -= 4 * weighted(second, a, squares)
    if plain:
        of_rows -= 4 * pull(plain)
    return factor * of_rows, of_scores


def _with_gradient(
    x: ArrayLike,
    scores: ArrayLike,
    kernel: Kernel,
    asked: Options,
    wanted: Any,
) -> SteinGradient:
    a, s = _rows_and_scores(x, scores, kernel, asked)
    estimator, threads = asked.estimator, asked.workers
    n = len(a)
    with reporting(asked.progress, *median_sizes(kernel, n), *[n * n] * 11) as reports:
        *medians, of_value = reports[:-10]
        terms = resolve(kernel, a, None, workers=threads, reports=medians)
        labels = pack(iter(()), n, 0)
        _, _, total = choose.module(a, s).stein_label_sums(
            a, s, labels, terms, workers=threads, progress=of_value
        )
        by_rows, by_scores = _gradients(
            a, s, terms, estimator=estimator,
            wanted=(wants(wanted, "x"), wants(wanted, "scores")),
            workers=threads, reports=reports[-10:],
        )  # fmt: skip
    value = total + _sum_of_diagonal(s, terms) if estimator == "biased" else total
    value /= n * n if estimator == "biased" else n * (n - 1)
    to_user = validate.like(x, scores)

    def leaves(rows: ArrayLike, gradient: Floats | None, like: Any) -> Any:
        if gradient is None:
            return None
        narrow = validate.narrowed(gradient, validate.working_dtype(like))
        return to_user(validate.as_given(rows, narrow))

    return SteinGradient(
        float(not_below_zero(value, estimator, kernel)),
        leaves(x, by_rows, a),
        leaves(scores, by_scores, s),
    )


def _balanced(points: Floats, scores: Floats) -> tuple[Floats, float]:
    """The points in a unit in which they are about as large as the scores in its inverse."""
    sizes = [math.sqrt(float(np.mean(v * v))) for v in (points, scores)]
    unit = math.sqrt(sizes[1] / sizes[0]) if min(sizes) > 0 else 1.0
    return unit * points, unit


@overload
def kernel_stein_discrepancy(
    x: ArrayLike,
    scores: ArrayLike,
    *,
    kernel: Kernel | KernelName = ...,
    estimator: Estimator = ...,
    return_gradient: Literal[False] = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> float: ...
@overload
def kernel_stein_discrepancy(
    x: ArrayLike,
    scores: ArrayLike,
    *,
    kernel: Kernel | KernelName = ...,
    estimator: Estimator = ...,
    return_gradient: Literal[True],
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> SteinGradient: ...
@overload
def kernel_stein_discrepancy(
    x: ArrayLike,
    scores: ArrayLike,
    *,
    kernel: Kernel | KernelName = ...,
    estimator: Estimator = ...,
    return_gradient: bool,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> float | SteinGradient: ...
def kernel_stein_discrepancy(
    x: ArrayLike,
    scores: ArrayLike,
    *,
    kernel: Kernel | KernelName = InverseMultiquadric(c="median"),  # noqa: B008  # immutable
    estimator: Estimator = "biased",
    return_gradient: bool = False,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> float | SteinGradient:
    r"""Squared kernel Stein discrepancy of a sample from a density with known scores.

    .. math::
        \mathrm{KSD}^2 = \frac1{n^2} \sum_{ij} k_p(x_i, x_j), \qquad
        k_p(x, y) = s_x^T s_y\, k + s_x^T \nabla_y k + s_y^T \nabla_x k
            + \mathrm{tr} \nabla_x \nabla_y k

    with :math:`s_x = \nabla \log p(x)`. Its expectation is 0 if x comes from p.

    Parameters
    ----------
    x : array_like of shape (n, d)
        Sample; real numbers, at least two rows.
    scores : array_like of shape (n, d)
        :math:`\nabla \log p(x_i)` in each row.
    kernel : Kernel or str, default InverseMultiquadric(c="median")
        One of the distance with two derivatives, such as Gaussian or Matern, or a weighted sum of
        such.
    estimator : {"biased", "unbiased"}
        Mean over all pairs (a V-statistic, never negative), or over i ≠ j (a U-statistic).
    return_gradient : bool, default False
        Return a `SteinGradient`; a median counts as a constant.
    workers, check_finite, progress
        As in `knn`.

    Returns
    -------
    float or SteinGradient
        Squared; its root is what some papers call the discrepancy. A pair of equal rows
        contributes 0 to the gradient by rows, where the kernel is Matérn 3/2.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable: scores of another shape than x, fewer than two rows, or
        a kernel without the derivatives included.

    Notes
    -----
    O(n² d) operations in float64, one sweep, and nine or ten more for the gradients; memory O(n)
    beside the inputs, with gradients O(n d), never n x n.

    References
    ----------
    Liu, Lee and Jordan, "A kernelized Stein discrepancy for goodness-of-fit tests", ICML 2016.
    Gorham and Mackey, "Measuring sample quality with kernels", ICML 2017, for the inverse
    multiquadric kernel.

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> standard = pt.kernel_stein_discrepancy(x, -x, estimator="unbiased")
    >>> wide = pt.kernel_stein_discrepancy(x, -x / 4, estimator="unbiased")
    >>> print(f"{standard:.2f} {wide:.2f}")
    0.00 0.06
    """
    chosen, asked = as_kernel(kernel), options(estimator, workers, check_finite, progress)
    if return_gradient:
        return _with_gradient(x, scores, chosen, asked, return_gradient)
    value = _stein_sums(x, scores, chosen, asked, lambda n: iter(()), 0).values[0]
    return float(not_below_zero(value, estimator, chosen))


def _signs(
    n: int, count: int, change: float, rng: np.random.Generator
) -> Iterator[NDArray[np.bool_]]:
    """Vectors of signs, True for +1; each sign differs from the one before with `change`."""
    for _ in range(count):
        yield (np.cumsum(rng.random(n) < change) % 2).astype(np.bool_)


def stein_test(
    x: ArrayLike,
    scores: ArrayLike,
    *,
    kernel: Kernel | KernelName = InverseMultiquadric(c="median"),  # noqa: B008  # immutable
    estimator: Estimator = "biased",
    n_bootstrap: int = 999,
    change_probability: float = 0.5,
    rng: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> TestResult:
    r"""Test by wild bootstrap of whether a sample comes from a density with known scores.

    The null distribution is that of :math:`\frac1{n^2} \sum_{ij} W_i W_j k_p(x_i, x_j)` with
    random signs W.

    Parameters
    ----------
    x, scores, kernel, estimator
        As in `kernel_stein_discrepancy`. The p-value is the same for both estimators.
    n_bootstrap : int, default 999
        B, at least 1.
    change_probability : float, default 0.5
        With which :math:`W_i` differs from :math:`W_{i-1}`, in (0, 0.5]. At 0.5 signs are
        independent, as the rows then have to be; less for the rows of a Markov chain, in order,
        for which the level is approximate. Of 400 chains of 200 rows with correlation 0.5 from
        one row to the next the test rejects 15.2, 27.0 and 34.8 % at the levels 1, 5 and 10 %
        with 0.5; 1.8, 8.0 and 17.5 % with 0.1; 0.2, 1.0 and 7.5 % with 0.02.
    rng : int, numpy.random.Generator or None
        One seed gives one null distribution on every backend.
    workers, check_finite, progress
        As in `knn`.

    Returns
    -------
    TestResult
        ``(statistic, pvalue, null_distribution)``; ``(1 + #{T_b ≥ T_0 − τ}) / (1 + B)`` with τ
        2⁻⁴⁰ of the mean of k_p(x_i, x_i), so that sign vectors that tie in theory tie here.

    Raises
    ------
    TypeError, ValueError
        As from `kernel_stein_discrepancy`; besides, if `n_bootstrap` is below 1 or
        `change_probability` outside (0, 0.5].

    Notes
    -----
    One sweep in float64 for all sign vectors: O(n² (d + B)) operations; memory O(n B / 8) bytes
    for the signs, never n x n.

    References
    ----------
    Chwialkowski, Strathmann and Gretton, "A kernel test of goodness of fit", ICML 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> pt.stein_test(x, -x, rng=0).pvalue > 0.05, pt.stein_test(x, 1 - x, rng=0).pvalue
    (True, 0.001)
    """
    count = scalars.count("n_bootstrap", n_bootstrap)
    change = scalars.real("change_probability", change_probability, above=0, most=0.5)
    generator = scalars.generator(rng)
    chosen, asked = as_kernel(kernel), options(estimator, workers, check_finite, progress)
    signed = _stein_sums(
        x, scores, chosen, asked, lambda n: _signs(n, count, change, generator), count
    )
    return concluded(
        not_below_zero(signed.values, estimator, chosen),
        at_least(signed.values, 2.0**-40 * abs(signed.size)),
        "wild_bootstrap",
        wrap=validate.like(x, scores),
        kernel=signed.kernel,
        n=signed.n,
    )
