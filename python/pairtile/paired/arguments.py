"""From the arguments of a statistic of paired rows to the sums that it is made of.

x, y, kernels -> paired matrices, in a unit that fits float64 -> kernel terms -> Joint
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front import validate
from pairtile._front.progress import reporting
from pairtile.kernels import univariate
from pairtile.kernels.kernel import in_range, median_sizes, resolve
from pairtile.paired.sums import Joint, by_covariance, on_lines, over_pairs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pairtile._definitions.kernels import Term
    from pairtile._front.options import Options
    from pairtile.kernels.kernel import Kernel


class Scaled(NamedTuple):
    """Rows and a kernel in a unit in which squares of distances fit float64."""

    rows: NDArray[Any]
    kernel: Kernel
    factor: float  # of the kernel's values: the weight of a single kernel, which may be extreme
    unit: float  # of lengths


def scaled(kernel: Kernel, rows: NDArray[Any]) -> Scaled:
    """Rows and kernel `in_range`."""
    (rows,), kernel, unit = in_range(kernel, rows)
    parts = kernel._parts()
    if unit == 1 or len(parts) > 1:
        return Scaled(rows, kernel, 1.0, unit)
    factor, single = parts[0]
    return Scaled(rows, single, factor, unit)


def paired_rows(x: ArrayLike, y: ArrayLike, asked: Options) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two matrices with as many rows each, enough of them for the estimator."""
    a, b = (
        validate.matrix(
            name, rows, check_finite=asked.check_finite, workers=asked.workers, sample=True
        )
        for name, rows in (("x", x), ("y", y))
    )
    if len(a) != len(b):
        raise ValueError(f"x has {len(a)} rows and y has {len(b)}; they must be paired")
    if asked.estimator == "unbiased" and len(a) < 4:
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
    asked: Options,
) -> Joint:
    """The sums of two kernels over the pairs of paired rows, in the way that is cheapest."""
    a, b = paired_rows(x, y, asked)
    threads, n, x_features, y_features = asked.workers, len(a), a.shape[1], b.shape[1]
    of_a, of_b = scaled(x_kernel, a), scaled(y_kernel, b)
    (a, x_kernel), (b, y_kernel), factor = of_a[:2], of_b[:2], of_a.factor * of_b.factor
    medians = [median_sizes(kernel, n) for kernel in (x_kernel, y_kernel)]
    with reporting(asked.progress, *medians[0], *medians[1], n * n) as (*reports, of_pairs):
        of_x = len(medians[0])
        if univariate.on_a_line(x_kernel, a) and univariate.on_a_line(y_kernel, b):
            sums = on_lines(a, b, np.arange(n)[None], workers=threads, progress=of_pairs)
            return sums._replace(unit=factor)
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
            return by_covariance(a, b, x_scale, y_scale)._replace(unit=factor)
        sums = over_pairs(
            a, b, invariant(x_terms), invariant(y_terms), workers=threads, progress=of_pairs
        )
    return sums._replace(unit=factor)


def in_unit(values: Any, unit: float) -> Any:
    """Values times a unit that may be beyond float64: 0 stays 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(values == 0, 0.0, values * unit)[()]
