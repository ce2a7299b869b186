"""Distance covariance and distance correlation of paired rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pairtile._front.options import options
from pairtile.kernels.kernel import Energy, not_below_zero
from pairtile.paired.arguments import in_unit, joint_sums
from pairtile.paired.centring import centred_product, correlation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pairtile._front.progress import Progress
    from pairtile._front.words import Estimator


def _root(value: float, squared: bool) -> float:
    return float(value) if squared else math.sqrt(max(value, 0.0))


def distance_covariance(
    x: ArrayLike,
    y: ArrayLike,
    *,
    exponent: float = 1.0,
    estimator: Estimator = "biased",
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
    asked = options(estimator, workers, check_finite, progress)
    sums = joint_sums(x, y, kernel, kernel, asked)
    value = centred_product(estimator, float(sums.products[0]), sums.x, sums.y)
    return _root(in_unit(not_below_zero(value, estimator, kernel), sums.unit), squared)


def distance_correlation(
    x: ArrayLike,
    y: ArrayLike,
    *,
    exponent: float = 1.0,
    estimator: Estimator = "biased",
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
    asked = options(estimator, workers, check_finite, progress)
    sums = joint_sums(x, y, kernel, kernel, asked)
    return _root(correlation(estimator, sums), squared)
