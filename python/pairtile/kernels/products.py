"""Rows of a kernel matrix contracted without the matrix: K·v, and the logarithm of its row sums.

arrays -> resolve (bandwidths) -> terms -> kernel_matvec | kernel_logsumexp
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._backends.refusals import refuse_rows
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.kernels.kernel import (
    Gaussian,
    Kernel,
    Laplace,
    as_kernel,
    kernels_with,
    median_sizes,
    resolve,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pairtile._definitions.kernels import Term
    from pairtile._front.progress import Progress
    from pairtile._front.words import KernelName, Precision

    Floats = NDArray[np.float64]


def _columns(v: Any, m: int) -> Floats:
    """`v` as float64, of shape (m,) or (m, c)."""
    a = validate.host(v, "v")
    if a.dtype.kind not in "biuf":
        raise TypeError(f"v must hold real numbers, got dtype {a.dtype}")
    if a.ndim not in (1, 2) or len(a) != m or 0 in a.shape:
        raise ValueError(f"v must have shape ({m},) or ({m}, c), a row per row of y; got {a.shape}")
    a = np.ascontiguousarray(a, dtype=np.float64)
    refuse_rows("v", ~np.isfinite(a).reshape(m, -1).all(axis=1))
    return a


def kernel_matvec(
    x: ArrayLike,
    y: ArrayLike,
    v: ArrayLike,
    *,
    kernel: Kernel | KernelName,
    precision: Precision = "default",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> NDArray[np.floating[Any]]:
    r"""Product of a kernel matrix with vectors, :math:`\sum_j k(x_i, y_j) v_{jc}`.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Real numbers.
    v : array_like of shape (m,) or (m, c)
        Finite, of any sign; taken as float64.
    kernel : Kernel or str
        As in `kernel_sum`.
    precision : {"default", "float64", "fast"}
        Of the kernel values, as in `kernel_sum`; products and their sums are in float64.
    workers, check_finite, progress
        As in `knn`.

    Returns
    -------
    ndarray of shape (n,) or (n, c)
        float64 as soon as x or y is float64, else float32, whatever v is.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, v has another number of rows than y included.

    Notes
    -----
    O(n m (d + c)) operations; memory O((n + m) c) beside the inputs, never n x m.

    Examples
    --------
    >>> import pairtile as pt
    >>> pt.kernel_matvec([[0.0], [1.0]], [[0.0], [2.0]], [1.0, 10.0], kernel=pt.Energy())
    array([-20., -11.])
    """
    chosen = as_kernel(kernel)
    scalars.choice("precision", precision, scalars.PRECISIONS)
    workers = resolve_workers(workers)
    a, b = validate.pair(
        "x", x, "y", y, check_finite=check_finite, workers=workers, blocks="device"
    )
    n, m = len(a), len(b)
    vectors = _columns(v, m)
    with reporting(progress, *median_sizes(chosen, n + m), n * m) as (*medians, report):
        terms = resolve(chosen, a, b, workers=workers, reports=medians)
        product = choose.module(a, b).kernel_matvec(
            a,
            b,
            vectors.reshape(m, -1),
            terms,
            precision=precision,
            workers=workers,
            progress=report,
        )
    values: NDArray[np.floating[Any]] = validate.like(x, y, v)(
        validate.narrowed(product, validate.working_dtype(a, b)).reshape(n, *vectors.shape[1:])
    )
    return values


def check_positive(kernel: Kernel, who: str) -> None:
    """Raise unless a kernel, or each of a sum with positive weights, is positive everywhere."""
    for weight, part in kernel._parts():
        if part._definition.log is None:
            raise ValueError(
                f"{who} needs a kernel that is positive everywhere, and {part} can be zero or "
                f"negative; {', '.join(kernels_with('log'))} and their sums are not"
            )
        if not weight > 0:
            raise ValueError(
                f"{who} needs a sum of kernels with positive weights, got {weight:g} * {part}"
            )


def _log_weights(log_weights: Any, m: int) -> tuple[Floats | None, float]:
    """Log weights below their maximum, and that; −∞ for none at all."""
    if log_weights is None:
        return None, 0.0
    a = validate.host(log_weights, "log_weights")
    if a.dtype.kind not in "biuf":
        raise TypeError(f"log_weights must hold real numbers, got dtype {a.dtype}")
    if a.shape != (m,):
        raise ValueError(f"log_weights must have shape ({m},), one per row of y, got {a.shape}")
    a = np.ascontiguousarray(a, dtype=np.float64)
    refuse_rows("log_weights", np.isnan(a) | (a == np.inf), "NaN or +Inf")
    largest = float(a.max())
    return (a - largest if np.isfinite(largest) else a), largest


def _shape(kernel: Kernel, bandwidths: Any, m: int) -> tuple[list[Term], Floats]:
    """The kernel of the smallest bandwidth, and the power of it that each row takes."""
    if not isinstance(kernel, (Gaussian, Laplace)):
        raise ValueError(
            f"bandwidths= is for a Gaussian or a Laplace kernel, whose sigma they replace; got "
            f"{kernel}"
        )
    a = validate.weights("bandwidths", bandwidths, m)
    assert a is not None
    if not a.min() > 0:
        raise ValueError(f"bandwidths must be positive, got {a.min():g} in row {int(a.argmin())}")
    least = float(a.min())
    if isinstance(kernel, Gaussian):
        return Gaussian(least)._terms(0, {}), (least / a) ** 2
    return Laplace(least, norm=kernel.norm)._terms(0, {}), least / a


def kernel_logsumexp(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    kernel: Kernel | KernelName,
    log_weights: ArrayLike | None = None,
    bandwidths: ArrayLike | None = None,
    exclude_diagonal: bool = False,
    precision: Precision = "default",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> NDArray[np.floating[Any]]:
    r"""Logarithm of weighted kernel row sums, :math:`\log \sum_j e^{w_j} k(x_i, y_j)`.

    The logarithm of the kernel is what is added up, so that nothing underflows however far x is
    from y. With normalising constants in `log_weights` it is a kernel density estimate.

    Parameters
    ----------
    x : array_like of shape (n, d)
        Where to evaluate; real numbers.
    y : array_like of shape (m, d), optional
        Reference rows; None stands for x.
    kernel : Kernel or str
        As in `kernel_sum`, of kernels that are positive everywhere, as those are whose values
        fall with the distance, or a sum of them with positive weights.
    log_weights : array_like of shape (m,), optional
        :math:`w_j`, any numbers; −inf leaves a row out. All 0 by default.
    bandwidths : array_like of shape (m,), optional
        A positive bandwidth for each reference row, in place of the sigma of a Gaussian or
        Laplace kernel. Nothing is normalised: a density has
        ``log_weights = -d * np.log(bandwidths) - d / 2 * np.log(2 * np.pi) - np.log(m)``.
    exclude_diagonal : bool, default False
        Leave out j = i, as in leave-one-out; only where `y` is None or x itself.
    precision : {"default", "float64", "fast"}
        "default" computes log-kernels in float32 where float32 inputs allow none of them to be
        off by more than 2e-6 of the larger of 1 and its size, in float64 elsewhere.
    workers, check_finite, progress
        As in `knn`.

    Returns
    -------
    ndarray of shape (n,)
        float64 as soon as one input is float64, else float32; −inf only where every weight is.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable; a kernel that can be zero or negative, and
        `exclude_diagonal` with another y or with a single row, included.

    Notes
    -----
    O(n m d) operations; memory O(n + m) beside the inputs, never n x m.

    Examples
    --------
    Far from all references a sum of kernel values would be 0.

    >>> import pairtile as pt
    >>> pt.kernel_logsumexp([[100.0]], [[0.0], [1.0]], kernel=pt.Gaussian(1.0))
    array([-4900.5])
    """
    chosen = as_kernel(kernel)
    check_positive(chosen, "kernel_logsumexp")
    scalars.choice("precision", precision, scalars.PRECISIONS)
    workers = resolve_workers(workers)
    if y is None or y is x:
        a = validate.matrix("x", x, check_finite=check_finite, workers=workers, blocks="device")
        b = None
        if exclude_diagonal and len(a) < 2:
            raise ValueError("exclude_diagonal=True leaves nothing of a single row")
    else:
        a, b = validate.pair(
            "x", x, "y", y, check_finite=check_finite, workers=workers, blocks="device"
        )
        if exclude_diagonal:
            raise ValueError("exclude_diagonal=True needs y=None; x and y have no diagonal")
    references = a if b is None else b
    n, m = len(a), len(references)
    below, largest = _log_weights(log_weights, m)
    rows = n if b is None else n + m
    sizes = median_sizes(chosen, rows) if bandwidths is None else []
    with reporting(progress, *sizes, n * m) as (*medians, report):
        if bandwidths is None:
            terms, rates = resolve(chosen, a, b, workers=workers, reports=medians), None
        else:
            terms, rates = _shape(chosen, bandwidths, m)
        sums = choose.module(a, b).kernel_logsumexp(
            a,
            None if exclude_diagonal else references,
            terms,
            below,
            rates,
            precision=precision,
            workers=workers,
            progress=report,
        )
    values: NDArray[np.floating[Any]] = validate.like(x, y)(
        validate.narrowed(sums + largest, validate.working_dtype(a, references))
    )
    return values
