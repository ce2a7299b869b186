"""Do two samples come from one distribution: MMD and energy distance.

Three kernel sums make the statistic.

    x, y -> kernel terms -> kernel_total x 3 -> statistic
                            kernel_gradient x 3 -> statistic and gradients (`gradient`)
                            statistic, from blocks of rows alone (`blocks`)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.kernels import univariate
from pairtile.kernels.kernel import (
    Energy,
    Kernel,
    as_kernel,
    diagonal,
    in_range,
    joint_precision,
    median_sizes,
    not_below_zero,
    resolve,
)
from pairtile.two_sample.blocks import BLOCK_ESTIMATORS, check_block_size, in_blocks
from pairtile.two_sample.gradient import MMDGradient, pairs_between, statistic_with_gradient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from pairtile._definitions.kernels import Term
    from pairtile._front.progress import Progress
    from pairtile._front.words import BlockEstimator, Estimator, KernelName, Precision

    Floats = NDArray[np.float64]
    MMDEstimator = Estimator | BlockEstimator

ESTIMATORS = ("unbiased", "biased")


def check_sizes(estimator: str, n: int, m: int) -> None:
    """Raise if a sample is too small for the estimator."""
    for name, rows in (("x", n), ("y", m)):
        if estimator == "unbiased" and rows < 2:
            raise ValueError(
                f"{name} has {rows} row and the unbiased estimator needs at least 2; "
                "estimator='biased' does without"
            )


def _share_of_pairs(name: str, n: int, w: Floats | None, estimator: str) -> float:
    """By what a weighted mean over the pairs of a sample is divided; w sums to 1."""
    if estimator == "biased":
        return 1.0
    if w is None:
        return 1 - 1 / n
    return pairs_between(name, w)


def _mean_within(
    module: Any,
    x: NDArray[Any],
    w: Floats | None,
    terms: list[Term],
    share: float,
    *,
    estimator: str,
    **options: Any,
) -> float:
    """Estimate of E k(X, X'); w sums to 1."""
    total: float = module.kernel_total(x, None, terms, w, None, **options)
    n = len(x)
    if estimator == "biased":
        own = diagonal(x, terms)
        return (total + float(own.sum())) / n**2 if w is None else total + float((w * w) @ own)
    return total / (n * (n - 1)) if w is None else total / share


def _statistic(
    x: ArrayLike,
    y: ArrayLike,
    kernel: Kernel,
    *,
    estimator: str,
    x_weights: ArrayLike | None,
    y_weights: ArrayLike | None,
    signed: bool,
    squared: bool,
    return_gradient: bool,
    precision: str,
    workers: int | None,
    check_finite: bool,
    progress: Progress,
    devices: Sequence[int] | None,
) -> float | MMDGradient:
    scalars.choice("estimator", estimator, ESTIMATORS)
    if return_gradient and devices is not None:
        raise ValueError("devices is for the statistic alone, not for return_gradient=True")
    scalars.choice("precision", precision, scalars.PRECISIONS)
    threads = resolve_workers(workers)
    a, b = validate.pair(
        "x", x, "y", y, check_finite=check_finite, workers=threads, sample=True, blocks="device"
    )
    over = validate.devices(devices, x=a, y=b)
    n, m = len(a), len(b)
    check_sizes(estimator, n, m)
    v = validate.unit_weights("x_weights", x_weights, n, signed=signed)
    w = validate.unit_weights("y_weights", y_weights, m, signed=signed)
    x_share = _share_of_pairs("x", n, v, estimator)
    y_share = _share_of_pairs("y", m, w, estimator)
    (a, b), kernel, unit = in_range(kernel, a, b)
    if univariate.on_a_line(kernel, a, b) and not return_gradient:
        with reporting(progress, n + m):
            value = univariate.energy(a, b, v, w, x_share, y_share)
        value = not_below_zero(value, estimator, kernel)
        return value if squared else math.sqrt(max(value, 0.0))
    module = choose.over(over, a, b)
    options: dict[str, Any] = {
        "precision": joint_precision(precision, a, b),
        "workers": threads,
    }
    sizes = (*median_sizes(kernel, n + m), n * n // 2, m * m // 2, n * m)
    with reporting(progress, *sizes) as (*medians, of_x, of_y, of_both):
        terms = resolve(kernel, a, b, workers=threads, reports=medians)
        if return_gradient:
            found = statistic_with_gradient(
                module,
                a,
                b,
                np.full(n, 1 / n) if v is None else v,
                np.full(m, 1 / m) if w is None else w,
                terms,
                estimator=estimator,
                squared=squared,
                asked=return_gradient,
                reports=(of_x, of_y, of_both),
                **options,
            )
            to_user, dtype = validate.like(x, y), validate.working_dtype(a, b)

            def leaves(rows: ArrayLike, gradient: Any) -> Any:
                if gradient is None:
                    return None
                return to_user(validate.as_given(rows, validate.narrowed(gradient / unit, dtype)))

            return MMDGradient(
                not_below_zero(found.value, estimator, kernel),
                leaves(x, found.grad_x),
                leaves(y, found.grad_y),
                to_user(found.grad_x_weights / _total(x_weights, n)),
                to_user(found.grad_y_weights / _total(y_weights, m)),
            )
        xx = _mean_within(
            module, a, v, terms, x_share, estimator=estimator, progress=of_x, **options
        )
        yy = _mean_within(
            module, b, w, terms, y_share, estimator=estimator, progress=of_y, **options
        )
        xy = module.kernel_total(a, b, terms, v, w, progress=of_both, **options)
    xy /= (n if v is None else 1) * (m if w is None else 1)
    value = not_below_zero(float(xx + yy - 2 * xy), estimator, kernel)
    return value if squared else math.sqrt(max(value, 0.0))


def _total(weights: ArrayLike | None, n: int) -> float:
    """Sum of weights as they were given."""
    return float(n) if weights is None else math.fsum(validate.host(weights))


@overload
def mmd(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel | KernelName = ...,
    estimator: MMDEstimator = ...,
    block_size: int | None = ...,
    x_weights: ArrayLike | None = ...,
    y_weights: ArrayLike | None = ...,
    squared: bool = ...,
    return_gradient: Literal[False] = ...,
    precision: Precision = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
    devices: Sequence[int] | None = ...,
) -> float: ...
@overload
def mmd(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel | KernelName = ...,
    estimator: MMDEstimator = ...,
    block_size: int | None = ...,
    x_weights: ArrayLike | None = ...,
    y_weights: ArrayLike | None = ...,
    squared: bool = ...,
    return_gradient: Literal[True],
    precision: Precision = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
    devices: Sequence[int] | None = ...,
) -> MMDGradient: ...
@overload
def mmd(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel | KernelName = ...,
    estimator: MMDEstimator = ...,
    block_size: int | None = ...,
    x_weights: ArrayLike | None = ...,
    y_weights: ArrayLike | None = ...,
    squared: bool = ...,
    return_gradient: bool,
    precision: Precision = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
    devices: Sequence[int] | None = ...,
) -> float | MMDGradient: ...
def mmd(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel | KernelName = "gaussian",
    estimator: MMDEstimator = "unbiased",
    block_size: int | None = None,
    x_weights: ArrayLike | None = None,
    y_weights: ArrayLike | None = None,
    squared: bool = True,
    return_gradient: bool = False,
    precision: Precision = "default",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    devices: Sequence[int] | None = None,
) -> float | MMDGradient:
    r"""Squared maximum mean discrepancy of two samples.

    .. math:: \mathrm{MMD}^2 = \hat E\,k(X, X') + \hat E\,k(Y, Y') - 2\,\hat E\,k(X, Y)

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Reference sample and new sample; real numbers. 1-D is one feature; columns of frames go
        together by name.
    kernel : Kernel or str, default "gaussian"
        A kernel, a weighted sum of kernels, or a name: "gaussian", "laplace" and "cauchy" (length:
        the median distance of the pooled sample), "polynomial", "linear", "cosine", "energy".
    estimator : {"unbiased", "biased", "linear", "block"}
        "unbiased" leaves the pairs i = i out of both within-sample means, and can be negative;
        "biased" keeps them. "block" is the mean over consecutive blocks of B rows of

        .. math:: \frac1{B(B-1)} \sum_{i \ne j}
                  k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i)

        and "linear" the same with B = 2: unbiased too, cheaper and noisier. Both need n = m,
        because they take row i of x with row i of y; an incomplete last block is dropped.
    block_size : int, optional
        B of the estimator "block", at least 2; None is :math:`\lfloor\sqrt n\rfloor`, but at most
        1024.
    x_weights, y_weights : array_like of shape (n,) and (m,), optional
        Finite, of any sign, divided by their sum. The unbiased within-sample mean is then
        :math:`\sum_{i \ne j} w_i w_j k_{ij} / ((\sum w)^2 - \sum w^2)`.
    squared : bool, default True
        False returns the root of max(MMD², 0).
    return_gradient : bool, default False
        Return an `MMDGradient`; for the estimators "unbiased" and "biased".
    precision : {"default", "float64", "fast"}
        "default" computes kernel values in float32 (float64 as soon as one input is float64),
        adds in float64, and recomputes tiles whose error bound exceeds 2e-6; "float64" computes
        everything in float64; "fast" recomputes nothing.
    workers : int, optional
        Threads. None is the setting of `set_num_threads`, -1 all allowed cores. The result has
        the same bits for any number.
    check_finite : bool, default True
        False skips the search for NaN and Inf.
    progress : bool or callable, default False
        True for a bar on standard error: of tqdm in a notebook where that is installed, a line
        every 10 s where it is no terminal. Or a callable(done, total).
    devices : sequence of int, optional
        As in `kernel_sum`, for the estimators "unbiased" and "biased" without gradients: CUDA
        devices that each of the three sums is split between.

    Returns
    -------
    float or MMDGradient
        MMD², without any factor nm/(n+m). Gradients are of the returned value, 0 where its root
        is 0; a median bandwidth counts as a constant. Where a kernel has no derivative a pair
        contributes 0: equal rows for the Laplace and energy kernels, a zero row for the cosine,
        equal features for the Laplace kernel in the l1 norm.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable: unequal numbers of columns, a sample of one row with
        the unbiased estimator, weights that sum to zero, a median distance of zero, NaN or Inf;
        with "linear" and "block" n ≠ m, weights (each block would need its own sum of them) or
        gradients; `devices` with these, with gradients, for arrays in host memory, or with a number
        that is none.

    Notes
    -----
    O((n + m)² d) operations, for "block" O(n B d) and for "linear" O(n d), for which a bandwidth
    rule such as the median looks at 2000 rows of each sample, always the same, where there are
    more; memory O(n + m) beside the inputs, with gradients
    O((n + m) d), never n x m.

    References
    ----------
    Gretton et al., "A Kernel Two-Sample Test", JMLR 13 (2012), equations 3 and 5, and lemma 14
    for "linear"; Zaremba, Gretton and Blaschko, "B-tests", NeurIPS 2013, for "block".

    Examples
    --------
    >>> import pairtile as pt
    >>> x, y = [[0.0], [1.0]], [[2.0], [4.0]]
    >>> pt.mmd(x, y, kernel="linear", estimator="biased", return_gradient=True).grad_x
    array([[-2.5],
           [-2.5]])
    """
    chosen = as_kernel(kernel)
    scalars.choice("estimator", estimator, (*ESTIMATORS, *BLOCK_ESTIMATORS))
    check_block_size(block_size, estimator)
    if estimator in BLOCK_ESTIMATORS:
        if x_weights is not None or y_weights is not None:
            raise ValueError(
                f"estimator={estimator!r} takes no weights: each block would be divided by its "
                "own sum of them; 'unbiased' and 'biased' do"
            )
        if return_gradient:
            raise ValueError(
                f"return_gradient=True needs estimator='unbiased' or 'biased', not {estimator!r}"
            )
        if devices is not None:
            raise ValueError(f"devices needs estimator='unbiased' or 'biased', not {estimator!r}")
        scalars.choice("precision", precision, scalars.PRECISIONS)
        value = in_blocks(
            x,
            y,
            chosen,
            estimator=estimator,
            block_size=block_size,
            precision=precision,
            workers=workers,
            check_finite=check_finite,
            progress=progress,
        ).values.mean()
        return float(value) if squared else math.sqrt(max(float(value), 0.0))
    return _statistic(
        x,
        y,
        chosen,
        estimator=estimator,
        x_weights=x_weights,
        y_weights=y_weights,
        signed=True,
        squared=squared,
        return_gradient=return_gradient,
        precision=precision,
        workers=workers,
        check_finite=check_finite,
        progress=progress,
        devices=devices,
    )


@overload
def energy_distance(
    x: ArrayLike,
    y: ArrayLike,
    *,
    exponent: float = ...,
    estimator: Estimator = ...,
    x_weights: ArrayLike | None = ...,
    y_weights: ArrayLike | None = ...,
    squared: bool = ...,
    return_gradient: Literal[False] = ...,
    precision: Precision = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
    devices: Sequence[int] | None = ...,
) -> float: ...
@overload
def energy_distance(
    x: ArrayLike,
    y: ArrayLike,
    *,
    exponent: float = ...,
    estimator: Estimator = ...,
    x_weights: ArrayLike | None = ...,
    y_weights: ArrayLike | None = ...,
    squared: bool = ...,
    return_gradient: Literal[True],
    precision: Precision = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
    devices: Sequence[int] | None = ...,
) -> MMDGradient: ...
@overload
def energy_distance(
    x: ArrayLike,
    y: ArrayLike,
    *,
    exponent: float = ...,
    estimator: Estimator = ...,
    x_weights: ArrayLike | None = ...,
    y_weights: ArrayLike | None = ...,
    squared: bool = ...,
    return_gradient: bool,
    precision: Precision = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
    devices: Sequence[int] | None = ...,
) -> float | MMDGradient: ...
def energy_distance(
    x: ArrayLike,
    y: ArrayLike,
    *,
    exponent: float = 1.0,
    estimator: Estimator = "biased",
    x_weights: ArrayLike | None = None,
    y_weights: ArrayLike | None = None,
    squared: bool = True,
    return_gradient: bool = False,
    precision: Precision = "default",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    devices: Sequence[int] | None = None,
) -> float | MMDGradient:
    r"""Energy distance of two samples: the squared MMD of the kernel :math:`-d^\alpha`.

    .. math:: 2\,\hat E\|X - Y\|^\alpha - \hat E\|X - X'\|^\alpha - \hat E\|Y - Y'\|^\alpha

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Reference sample and new sample; real numbers. 1-D is one feature; columns of frames go
        together by name.
    exponent : float, default 1
        α in (0, 2]. At 2 it only compares means.
    estimator : {"biased", "unbiased"}
        Whether the zero distances of rows to themselves count in the within-sample means.
    x_weights, y_weights : array_like of shape (n,) and (m,), optional
        Finite, not negative, divided by their sum.
    squared : bool, default True
        False returns the root of max(·, 0), as `scipy.stats.energy_distance` does.
    return_gradient : bool, default False
        Return an `MMDGradient`, as in `mmd`; equal rows contribute 0.
    precision, workers, check_finite, progress, devices
        As in `mmd`.

    Returns
    -------
    float or MMDGradient
        In the unit of the data to the power α; no factor nm/(n+m).

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, as in `mmd`; besides, a negative weight or an exponent
        outside (0, 2].

    Notes
    -----
    O((n + m)² d) operations; memory O(n + m) beside the inputs, never n x m. Single columns with
    exponent 1 are sorted instead, in float64 throughout: O((n + m) log(n + m)).

    References
    ----------
    Székely and Rizzo, "Energy statistics: a class of statistics based on distances", Journal of
    Statistical Planning and Inference 143 (2013).
    """
    return _statistic(
        x,
        y,
        Energy(exponent),
        estimator=estimator,
        x_weights=x_weights,
        y_weights=y_weights,
        signed=False,
        squared=squared,
        return_gradient=return_gradient,
        precision=precision,
        workers=workers,
        check_finite=check_finite,
        progress=progress,
        devices=devices,
    )
