"""Divergences of two densities estimated by kernels.

x, y -> kernel terms -> kernel_logsumexp x 3 -> logarithms of means
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._front import validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.kernels.kernel import Kernel, as_kernel, median_sizes, resolve
from pairtile.kernels.products import check_positive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress
    from pairtile._front.words import KernelName


def _log_mean(log_row_sums: NDArray[np.float64], columns: int) -> float:
    """Logarithm of the mean of a matrix from those of its row sums."""
    largest = float(log_row_sums.max())
    if largest == -math.inf:
        return largest
    return largest + math.log(float(np.exp(log_row_sums - largest).mean())) - math.log(columns)


def cauchy_schwarz_divergence(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel | KernelName = "gaussian",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> float:
    r"""Cauchy–Schwarz divergence of two samples, which need not be paired.

    .. math:: \log\frac{\hat E\,k(X, X')\;\hat E\,k(Y, Y')}{(\hat E\,k(X, Y))^2}

    The means are over all pairs, i = i included. With a Gaussian kernel of bandwidth σ it is
    :math:`-\log((\int pq)^2 / \int p^2 \int q^2)` of the two Parzen estimates p and q of bandwidth
    :math:`\sigma/\sqrt 2`.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Reference sample and new sample; real numbers. 1-D is one feature; columns of frames go
        together by name.
    kernel : Kernel or str, default "gaussian"
        As in `mmd`, and positive everywhere, with positive weights in a sum.
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    float
        At least 0, and 0 for equal samples; however far apart the samples are, a number, because
        logarithms of kernel values are what is added.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, as in `mmd`; besides, a kernel that can be 0 or
        negative ("polynomial", "linear", "cosine", "energy"), whose ratio has no logarithm.

    Notes
    -----
    In float64 throughout. O((n + m)² d) operations; memory O(n + m) beside the inputs.

    References
    ----------
    Principe, "Information Theoretic Learning" (Springer 2010), section 2.5.

    Examples
    --------
    >>> import pairtile as pt
    >>> x, y = [[0.0], [1.0]], [[0.5], [4.0]]
    >>> round(pt.cauchy_schwarz_divergence(x, y, kernel=pt.Gaussian(1.0)), 6)
    0.713336
    """
    chosen = as_kernel(kernel)
    threads = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=threads, sample=True)
    n, m = len(a), len(b)
    check_positive(chosen, "cauchy_schwarz_divergence")
    module = choose.module(a, b)
    options: dict[str, Any] = {"precision": "float64", "workers": threads}
    sizes = (*median_sizes(chosen, n + m), n * n, m * m, n * m)
    with reporting(progress, *sizes) as (*medians, of_x, of_y, of_both):
        terms = resolve(chosen, a, b, workers=threads, reports=medians)
        xx, yy, xy = (
            _log_mean(
                validate.host(
                    module.kernel_logsumexp(s, t, terms, None, None, progress=report, **options)
                ),
                len(t),
            )
            for s, t, report in ((a, a, of_x), (b, b, of_y), (a, b, of_both))
        )
    return max(0.0, xx + yy - 2 * xy)
