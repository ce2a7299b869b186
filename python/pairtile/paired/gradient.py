"""HSIC and CKA with their derivatives by both sets of rows.

x, y -> kernel terms -> Joint -> value
                              -> one sweep for each gradient, with centred weights
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._front import validate
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile.kernels.kernel import in_range, median_sizes, not_below_zero, resolve
from pairtile.paired.arguments import invariant, paired_rows
from pairtile.paired.centring import centred_product, centred_weights, correlation, variance
from pairtile.paired.sums import over_pairs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.options import Options
    from pairtile.kernels.kernel import Kernel
    from pairtile.paired.sums import Side

    Floats = NDArray[np.float64]


class _DependenceGradient(NamedTuple):
    value: float
    grad_x: Any
    grad_y: Any


class DependenceGradient(Result, _DependenceGradient):
    """A statistic of paired rows and its derivatives.

    Attributes
    ----------
    value : float
        The statistic.
    grad_x, grad_y : (n, d) and (n, e) arrays
        By the rows, each in the working dtype of its own.
    """


def with_gradient(
    name: str,
    x: ArrayLike,
    y: ArrayLike,
    x_kernel: Kernel,
    y_kernel: Kernel,
    asked: Options,
) -> DependenceGradient:
    """`hsic` or `cka` with its gradients."""
    a, b = paired_rows(x, y, asked)
    estimator, threads = asked.estimator, asked.workers
    n, dtypes = len(a), [validate.working_dtype(side) for side in (a, b)]
    (a,), x_scaled, x_unit = in_range(x_kernel, a)
    (b,), y_scaled, y_unit = in_range(y_kernel, b)
    medians = [median_sizes(kernel, n) for kernel in (x_scaled, y_scaled)]
    pairs = [n * n] * (3 if name == "hsic" else 5)
    with reporting(asked.progress, *medians[0], *medians[1], *pairs) as reports:
        of_x, of_y = len(medians[0]), len(medians[0]) + len(medians[1])
        x_terms = invariant(resolve(x_scaled, a, None, workers=threads, reports=reports[:of_x]))
        y_terms = invariant(resolve(y_scaled, b, None, workers=threads, reports=reports[of_x:of_y]))
        of_pairs = iter(reports[of_y:])
        sums = over_pairs(a, b, x_terms, y_terms, workers=threads, progress=next(of_pairs))

        def pull(rows: Any, terms: Any, beside: Any, weights: Any, side: Side) -> Floats:
            factor, by_row = centred_weights(estimator, side)
            found = choose.module(rows, beside).joint_kernel_gradient(
                rows, beside, terms, weights, by_row, diagonal=estimator == "biased",
                workers=threads, progress=next(of_pairs),
            )  # fmt: skip
            return (
                2 * factor * validate.host(found)
            )  # K is symmetric: x_i is in row i and in column i

        grad_x = pull(a, x_terms, b, y_terms, sums.y)
        grad_y = pull(b, y_terms, a, x_terms, sums.x)
        if name == "hsic":
            value = centred_product(estimator, float(sums.products[0]), sums.x, sums.y)
            value = float(not_below_zero(value, estimator, x_kernel, y_kernel))
        else:
            value = correlation(estimator, sums)
            of_x_alone, of_y_alone = (variance(estimator, side) for side in (sums.x, sums.y))
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
        to_user(validate.as_given(x, validate.narrowed(grad_x / x_unit, dtypes[0]))),
        to_user(validate.as_given(y, validate.narrowed(grad_y / y_unit, dtypes[1]))),
    )
