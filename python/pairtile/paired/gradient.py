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
from pairtile._front.wanted import wants
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
    wanted: Any,
) -> DependenceGradient:
    """`hsic` or `cka` with its gradients, those of them that are wanted."""
    a, b = paired_rows(x, y, asked)
    estimator, threads = asked.estimator, asked.workers
    n, dtypes = len(a), [validate.working_dtype(side) for side in (a, b)]
    (a,), x_scaled, x_unit = in_range(x_kernel, a)
    (b,), y_scaled, y_unit = in_range(y_kernel, b)
    medians = [median_sizes(kernel, n) for kernel in (x_scaled, y_scaled)]
    by_x, by_y = (wants(wanted, side) for side in "xy")
    pairs = [n * n] * (1 + (by_x + by_y) * (1 if name == "hsic" else 2))
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

        grad_x = pull(a, x_terms, b, y_terms, sums.y) if by_x else None
        grad_y = pull(b, y_terms, a, x_terms, sums.x) if by_y else None
        if name == "hsic":
            value = centred_product(estimator, float(sums.products[0]), sums.x, sums.y)
            value = float(not_below_zero(value, estimator, x_kernel, y_kernel))
        else:
            value = correlation(estimator, sums)
            of_x_alone, of_y_alone = (variance(estimator, side) for side in (sums.x, sums.y))
            size = math.sqrt(of_x_alone) * math.sqrt(of_y_alone)

            def shared(gradient: Any, of: Any, side: Side, alone: float) -> Any:
                if gradient is None:
                    return None
                if size <= 0:
                    return np.zeros(gradient.shape)
                rows, terms = of
                return gradient / size - value / alone * pull(rows, terms, rows, terms, side)

            grad_x = shared(grad_x, (a, x_terms), sums.x, of_x_alone)
            grad_y = shared(grad_y, (b, y_terms), sums.y, of_y_alone)
    to_user = validate.like(x, y)

    def leaves(rows: ArrayLike, gradient: Floats | None, unit: float, dtype: Any) -> Any:
        if gradient is None:
            return None
        return to_user(validate.as_given(rows, validate.narrowed(gradient / unit, dtype)))

    return DependenceGradient(
        value, leaves(x, grad_x, x_unit, dtypes[0]), leaves(y, grad_y, y_unit, dtypes[1])
    )
