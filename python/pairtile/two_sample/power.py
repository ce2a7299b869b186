"""How well an MMD is known: its variance, and what a test with this kernel can see.

Row sums and sums of squares of the three kernel matrices are all it takes.

    x, y -> kernel terms -> kernel_moments x 3 -> U-statistics of second moments -> variances
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.kernels import one_argument
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile.kernels.kernel import Kernel, as_kernel, joint_precision, median_sizes, resolve

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress
    from pairtile._front.words import KernelName, Precision

    Moments = tuple[NDArray[np.float64], NDArray[np.float64], float]


class _MMDPower(NamedTuple):
    mmd: float
    variance_h0: float
    variance_h1: float
    ratio: float


class MMDPower(Result, _MMDPower):
    """An MMD² and how much it varies from sample to sample.

    Attributes
    ----------
    mmd : float
        Unbiased MMD².
    variance_h0, variance_h1 : float
        Estimates of its variance when both samples have one distribution, and in general.
    ratio : float
        mmd / √variance_h1; nan where that estimate is not positive.
    """


class _Moments(NamedTuple):
    """Unbiased estimates of products of kernel values, by what the two values share."""

    mean: float  # E k
    square: float  # E k²: both rows
    shared_row: float  # E k(X, A) k(X, B): the first row
    shared_col: float  # the second
    apart: float  # (E k)²: none

    @property
    def interaction(self) -> float:
        """Variance of k(X, Y) − E[k | X] − E[k | Y] + E k."""
        return self.square - self.shared_row - self.shared_col + self.apart


def _within(moments: Moments) -> _Moments:
    sums, _, squares = moments
    n, total = len(sums), math.fsum(sums)
    of_rows = float(sums @ sums)
    pairs = n * (n - 1)
    shared = (of_rows - squares) / (pairs * (n - 2))
    apart = (total**2 - 4 * of_rows + 2 * squares) / (pairs * (n - 2) * (n - 3))
    return _Moments(total / pairs, squares / pairs, shared, shared, apart)


def _between(moments: Moments) -> _Moments:
    rows, cols, squares = moments
    n, m, total = len(rows), len(cols), math.fsum(rows)
    of_rows, of_cols = float(rows @ rows), float(cols @ cols)
    return _Moments(
        total / (n * m),
        squares / (n * m),
        (of_rows - squares) / (n * m * (m - 1)),
        (of_cols - squares) / (n * m * (n - 1)),
        (total**2 - of_rows - of_cols + squares) / (n * (n - 1) * m * (m - 1)),
    )


def _mixed(within: NDArray[np.float64], between: NDArray[np.float64], m: int) -> float:
    """Estimate of Cov(E[k(X, X') | X], E[k(X, Y) | X]) from the row sums of both matrices."""
    n = len(within)
    product = float(within @ between)
    apart = math.fsum(within) * math.fsum(between) - 2 * product
    return product / (n * (n - 1) * m) - apart / (n * (n - 1) * (n - 2) * m)


def mmd_power(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel | KernelName = "gaussian",
    precision: Precision = "default",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> MMDPower:
    r"""Unbiased MMD² with its variances, and the ratio that the power of its test grows with.

    By Hoeffding's decomposition the variance of the unbiased MMD² is the sum of

    .. math:: V_1 = \tfrac4n \operatorname{Var}[\mu_x(X) - \mu_y(X)]
                  + \tfrac4m \operatorname{Var}[\mu_y(Y) - \mu_x(Y)], \qquad
              V_0 = \tfrac{2 \xi_{xx}}{n(n-1)} + \tfrac{2 \xi_{yy}}{m(m-1)}
                  + \tfrac{4 \xi_{xy}}{nm}

    with :math:`\mu_x(z) = E\,k(z, X)` and :math:`\xi` the variance of the kernel centred in both
    arguments. :math:`V_1` is 0 when both samples have one distribution. Each moment of two kernel
    values is estimated by its own U-statistic (the mean over distinct rows), which makes both
    variances unbiased:

    - :math:`E\,k(X,X')k(X,X'') = (\sum r_i^2 - F)/(n(n-1)(n-2))`, with :math:`r` the row sums and
      :math:`F` the sum of squares of the kernel matrix without its diagonal;
    - :math:`(E\,k(X,X'))^2 = ((\sum r_i)^2 - 4\sum r_i^2 + 2F)/(n(n-1)(n-2)(n-3))`;
    - the same between samples, for example
      :math:`(E\,k(X,Y))^2 = ((\sum r_i)^2 - \sum r_i^2 - \sum c_j^2 + F)/(n(n-1)m(m-1))`.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        At least four rows each.
    kernel : Kernel or str, default "gaussian"
        As in `mmd`; a sum of kernels must be one of distances or one of dot products.
    precision, workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    MMDPower
        `mmd`, `variance_h0` (:math:`V_0`), `variance_h1` (:math:`V_0 + V_1`) and `ratio`. The
        kernel with the largest ratio promises the most powerful test; choose it on rows that the
        test does not see. An estimate of a variance without bias can be negative.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, as in `mmd`; fewer than four rows.

    Notes
    -----
    One sweep over each of the three kernel matrices: O((n + m)² d) operations; memory O(n + m)
    beside the inputs. A median bandwidth is taken as a constant.

    References
    ----------
    Sutherland et al., "Generative Models and Model Criticism via Optimized Maximum Mean
    Discrepancy", ICLR 2017; Sutherland and Deka, "Unbiased estimators for the variance of MMD
    estimators", arXiv:1906.02104 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(200, 3)), rng.normal(size=(150, 3)) + 0.5
    >>> wide, narrow = (pt.mmd_power(x, y, kernel=pt.Gaussian(s)).ratio for s in (2.0, 0.2))
    >>> wide > narrow
    True
    """
    chosen = as_kernel(kernel)
    scalars.choice("precision", precision, scalars.PRECISIONS)
    threads = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=threads, sample=True)
    n, m = len(a), len(b)
    for name, rows in (("x", n), ("y", m)):
        if rows < 4:
            raise ValueError(f"{name} has {rows} rows and the variance of an MMD needs at least 4")
    module = choose.module(a, b)
    options: dict[str, Any] = {"precision": joint_precision(precision, a, b), "workers": threads}
    sizes = (*median_sizes(chosen, n + m), n * n // 2, m * m // 2, n * m)
    with reporting(progress, *sizes) as (*medians, of_x, of_y, of_both):
        terms = resolve(chosen, a, b, workers=threads, reports=medians)
        if not one_argument(terms):
            raise ValueError(
                "the variance of an MMD needs the squares of kernel values, which one sweep does "
                "not give for a sum of kernels that read different numbers of a pair: distances, "
                "dot products, cosines"
            )
        in_x = module.kernel_moments(a, None, terms, progress=of_x, **options)
        in_y = module.kernel_moments(b, None, terms, progress=of_y, **options)
        in_both = module.kernel_moments(a, b, terms, progress=of_both, **options)
    xx, yy, xy = _within(in_x), _within(in_y), _between(in_both)
    by_x, by_y, _ = in_both
    of_mean_x = xx.shared_row - xx.apart + xy.shared_row - xy.apart - 2 * _mixed(in_x[0], by_x, m)
    of_mean_y = yy.shared_row - yy.apart + xy.shared_col - xy.apart - 2 * _mixed(in_y[0], by_y, n)
    value = xx.mean + yy.mean - 2 * xy.mean
    h0 = (
        2 * xx.interaction / (n * (n - 1))
        + 2 * yy.interaction / (m * (m - 1))
        + 4 * xy.interaction / (n * m)
    )
    h1 = h0 + 4 * of_mean_x / n + 4 * of_mean_y / m
    return MMDPower(value, h0, h1, value / math.sqrt(h1) if h1 > 0 else math.nan)
