"""From the arguments of a statistic of paired rows to the sums that it is made of.

x, y, kernels -> paired matrices, in a unit that fits float64 -> kernel terms -> Joint
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.kernels import univariate
from pairtile.kernels.kernel import in_range, median_sizes, resolve
from pairtile.paired.sums import Joint, by_covariance, on_lines, over_pairs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pairtile._definitions.kernels import Term
    from pairtile._front.progress import Progress
    from pairtile.kernels.kernel import Kernel

ESTIMATORS = ("biased", "unbiased")


def paired_rows(
    x: ArrayLike, y: ArrayLike, estimator: str = "biased", *, check_finite: bool, workers: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two matrices with as many rows each, enough of them for the estimator."""
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


def invariant(terms: list[Term]) -> list[Term]:
    """Terms that are the same after double centring and do not depend on the place of the origin.

    x·y is −½‖x − y‖² plus a number for each row.
    """
    return [
        (0.5 * weight, "energy", (2.0,)) if name == "linear" else (weight, name, params)
        for weight, name, params in terms
    ]


def linear_scale(terms: list[Term]) -> float | None:
    """The multiple of x·y that the terms amount to, None for another kernel."""
    if any(name != "linear" for _, name, _ in terms):
        return None
    return sum(weight for weight, _, _ in terms)


def joint_sums(
    x: ArrayLike,
    y: ArrayLike,
    x_kernel: Kernel,
    y_kernel: Kernel,
    *,
    estimator: str,
    workers: int | None,
    check_finite: bool,
    progress: Progress,
) -> Joint:
    """The sums of two kernels over the pairs of paired rows, in the way that is cheapest."""
    threads = resolve_workers(workers)
    a, b = paired_rows(x, y, estimator, check_finite=check_finite, workers=threads)
    n, x_features, y_features = len(a), a.shape[1], b.shape[1]
    a, x_kernel, x_unit = without_unit(x_kernel, a)
    b, y_kernel, y_unit = without_unit(y_kernel, b)
    medians = [median_sizes(kernel, n) for kernel in (x_kernel, y_kernel)]
    with reporting(progress, *medians[0], *medians[1], n * n) as (*reports, of_pairs):
        of_x = len(medians[0])
        if univariate.on_a_line(x_kernel, a) and univariate.on_a_line(y_kernel, b):
            sums = on_lines(a, b, np.arange(n)[None], workers=threads, progress=of_pairs)
            return sums._replace(unit=x_unit * y_unit)
        x_terms = resolve(x_kernel, a, None, workers=threads, reports=reports[:of_x])
        y_terms = resolve(y_kernel, b, None, workers=threads, reports=reports[of_x:])
        x_scale, y_scale = linear_scale(x_terms), linear_scale(y_terms)
        products = x_features**2 + x_features * y_features + y_features**2
        if (
            x_scale is not None
            and y_scale is not None
            and products <= n * (x_features + y_features) // 2
            and validate.in_host_memory(a, b)
        ):
            return by_covariance(a, b, x_scale, y_scale)._replace(unit=x_unit * y_unit)
        sums = over_pairs(
            a, b, invariant(x_terms), invariant(y_terms), workers=threads, progress=of_pairs
        )
    return sums._replace(unit=x_unit * y_unit)


def in_unit(values: Any, unit: float) -> Any:
    """Values times a unit that may be beyond float64: 0 stays 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(values == 0, 0.0, values * unit)[()]


def without_unit(kernel: Kernel, a: NDArray[Any]) -> tuple[NDArray[Any], Kernel, float]:
    """Rows and kernel `in_range`, and the weight of a single kernel apart: it may be extreme."""
    (a,), scaled, unit = in_range(kernel, a)
    parts = scaled._parts()
    if unit == 1 or len(parts) > 1:
        return a, scaled, 1.0
    return a, parts[0][1], parts[0][0]
