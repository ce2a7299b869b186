"""The Hilbert–Schmidt independence criterion, and CKA, which is its correlation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from pairtile._front.options import options
from pairtile.kernels.kernel import as_kernel, not_below_zero
from pairtile.paired.arguments import in_unit, joint_sums
from pairtile.paired.centring import centred_product, correlation
from pairtile.paired.gradient import with_gradient

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pairtile._front.progress import Progress
    from pairtile._front.words import Estimator, KernelName
    from pairtile.kernels.kernel import Kernel
    from pairtile.paired.gradient import DependenceGradient


@overload
def hsic(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_kernel: Kernel | KernelName = ...,
    y_kernel: Kernel | KernelName = ...,
    estimator: Estimator = ...,
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
    x_kernel: Kernel | KernelName = ...,
    y_kernel: Kernel | KernelName = ...,
    estimator: Estimator = ...,
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
    x_kernel: Kernel | KernelName = ...,
    y_kernel: Kernel | KernelName = ...,
    estimator: Estimator = ...,
    return_gradient: bool,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> float | DependenceGradient: ...
def hsic(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_kernel: Kernel | KernelName = "gaussian",
    y_kernel: Kernel | KernelName = "gaussian",
    estimator: Estimator = "biased",
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
    kernels = as_kernel(x_kernel, "x_kernel"), as_kernel(y_kernel, "y_kernel")
    asked = options(estimator, workers, check_finite, progress)
    if return_gradient:
        return with_gradient("hsic", x, y, *kernels, asked, return_gradient)
    sums = joint_sums(x, y, *kernels, asked)
    value = centred_product(estimator, float(sums.products[0]), sums.x, sums.y)
    return float(in_unit(not_below_zero(value, estimator, *kernels), sums.unit))


@overload
def cka(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_kernel: Kernel | KernelName = ...,
    y_kernel: Kernel | KernelName = ...,
    estimator: Estimator = ...,
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
    x_kernel: Kernel | KernelName = ...,
    y_kernel: Kernel | KernelName = ...,
    estimator: Estimator = ...,
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
    x_kernel: Kernel | KernelName = ...,
    y_kernel: Kernel | KernelName = ...,
    estimator: Estimator = ...,
    return_gradient: bool,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> float | DependenceGradient: ...
def cka(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_kernel: Kernel | KernelName = "linear",
    y_kernel: Kernel | KernelName = "linear",
    estimator: Estimator = "biased",
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
    kernels = as_kernel(x_kernel, "x_kernel"), as_kernel(y_kernel, "y_kernel")
    asked = options(estimator, workers, check_finite, progress)
    if return_gradient:
        return with_gradient("cka", x, y, *kernels, asked, return_gradient)
    sums = joint_sums(x, y, *kernels, asked)
    return correlation(estimator, sums)
