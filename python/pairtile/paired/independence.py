"""Permutation test of independence of paired rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.kernels import univariate
from pairtile.kernels.kernel import Energy, as_kernel, median_sizes, resolve
from pairtile.paired.arguments import in_unit, paired_rows, without_unit
from pairtile.paired.centring import centred_product
from pairtile.paired.sums import on_lines, over_pairs, typical
from pairtile.two_sample.relabelling import at_least
from pairtile.two_sample.results import TestResult, concluded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress
    from pairtile.paired.sums import Joint

_STATISTICS = {"distance_covariance": Energy(1.0), "hsic": as_kernel("gaussian")}
_BUFFER = 1 << 26  # bytes of kernel matrices, and of permuted rows at a time


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
    a, b = paired_rows(x, y, check_finite=check_finite, workers=threads)
    n = len(a)
    a, x_kernel, x_unit = without_unit(kernel, a)
    b, y_kernel, y_unit = without_unit(kernel, b)
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
        first: Joint | None = None
        done = 0
        for orders, report in zip(_orders(n, count, size, generator), reports[of_y:], strict=True):
            if reversed_roles:
                orders = np.argsort(orders, axis=1)
            if line:
                sums = on_lines(a, b, orders, workers=threads, progress=report)
            elif held:
                sums = first or over_pairs(a, b, x_terms, y_terms, workers=threads, progress=None)
                products = choose.module(a, b).permuted_kernel_products(
                    a, b, x_terms, y_terms, orders,
                    x_shift=typical(a, x_terms), y_shift=typical(b, y_terms),
                    workers=threads, progress=report,
                )  # fmt: skip
                sums = sums._replace(products=products)
            else:
                sums = over_pairs(a, b, x_terms, y_terms, orders, workers=threads, progress=report)
            first = first or sums
            for order, product in zip(orders, sums.products, strict=True):
                side = first.y._replace(rows=first.y.rows[order], own=first.y.own[order])
                values[done] = centred_product("biased", float(product), first.x, side)
                done += 1
    assert first is not None  # there is always the order as it is
    size_of_products = math.sqrt(first.x.mean_square) * math.sqrt(first.y.mean_square)
    tolerance = 2.0**-38 * size_of_products
    return concluded(
        in_unit(np.maximum(values, 0.0), x_unit * y_unit),
        at_least(values, tolerance),
        "permutation",
        wrap=validate.like(x, y),
        n=n,
        m=n,
    )
