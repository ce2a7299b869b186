"""Alignment and uniformity of embeddings: what contrastive losses trade off, one by one.

Alignment looks at n pairs of rows. Uniformity is the logarithm of a Gaussian kernel's mean over all
pairs, from the sweeps that `kernel_logsumexp` and the gradients of `mmd` take.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.metrics import normalised
from pairtile._definitions.normalisation import through_normalisation
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile._front.wanted import wants

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from numpy.typing import ArrayLike, NDArray

    from pairtile._definitions.kernels import Term
    from pairtile._front.progress import Progress, Report

    Floats = NDArray[np.float64]

# Kernel values are within 2e-6 of 1 in float32, so of the mean only where it is not small ...
_SMALL = -12.0
# ... and vanish in float64 where it is smaller than this.
_TINY = -500.0
_ROWS = 256  # of a block whose distances are held, where kernel values would vanish


@overload
def alignment(
    x: ArrayLike,
    y: ArrayLike,
    *,
    alpha: float = ...,
    normalize: bool = ...,
    grad: Literal[False] = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> float: ...
@overload
def alignment(
    x: ArrayLike,
    y: ArrayLike,
    *,
    alpha: float = ...,
    normalize: bool = ...,
    grad: Literal[True],
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> tuple[float, Any, Any]: ...
@overload
def alignment(
    x: ArrayLike,
    y: ArrayLike,
    *,
    alpha: float = ...,
    normalize: bool = ...,
    grad: bool,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> float | tuple[float, Any, Any]: ...
def alignment(
    x: Any,
    y: Any,
    *,
    alpha: float = 2.0,
    normalize: bool = False,
    grad: bool = False,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> float | tuple[float, Any, Any]:
    r"""Mean distance of paired rows, to a power.

    .. math:: \frac1n \sum_i \|x_i - y_i\|^\alpha

    Parameters
    ----------
    x, y : array_like, both of shape (n, d)
        Row i of x belongs with row i of y: two views of one thing.
    alpha : float, default 2.0
        α, positive.
    normalize : bool, default False
        Divide each row by its Euclidean length first; gradients go through the division. A zero
        row stays zero and gets a zero gradient.
    grad : bool, default False
        Return the gradients too.
    workers : int, optional
        Number of threads that look for NaN and Inf; None and -1 are all allowed cores.
    check_finite : bool, default True
        Look for NaN and Inf first.
    progress : bool or callable(done, total), default False
        Show a bar, or be called now and then.

    Returns
    -------
    float, or (float, array, array) with ``grad=True``
        The value, and its gradients by x and by y, of shape (n, d) and in the working dtype.
        Equal rows have a zero gradient, whatever α.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, 2-D, not empty and finite; for different numbers of
        rows or of columns; for α that is not positive.

    Notes
    -----
    O(n d) operations in float64; memory is the gradients and a few rows. Arrays on a GPU are
    fetched a few rows at a time.

    References
    ----------
    Wang and Isola, Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere (2020).

    Examples
    --------
    >>> import pairtile as pt
    >>> pt.alignment([[3.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 2.0]])
    5.0
    """
    alpha = scalars.real("alpha", alpha, above=0)
    a, b = validate.pair(
        "x", x, "y", y, check_finite=check_finite, workers=resolve_workers(workers)
    )
    n = len(a)
    if n != len(b):
        raise ValueError(f"x has {n} rows and y has {len(b)}; row i of x is paired with row i of y")
    dtype = validate.working_dtype(a, b)
    by_x, by_y = (np.empty(a.shape, dtype) if wants(grad, of) else None for of in ("x", "y"))
    parts = []
    quiet = np.errstate(over="ignore", under="ignore", invalid="ignore")
    with reporting(progress, n) as (report,), quiet:
        for start in range(0, n, _ROWS):
            rows = slice(start, start + _ROWS)
            if report is not None:
                report(start, n)
            raw = [_wide(side[rows]) for side in (a, b)]
            one, other = (normalised(side) for side in raw) if normalize else raw
            difference = one - other
            length, direction = _lengths(difference)
            parts.append(float(np.sum(length**alpha)))
            if not grad:
                continue
            away = np.where(length > 0, length, 1.0)  # equal rows have no direction either
            slope = alpha / n * away ** (alpha - 1)
            pull = slope[:, None] * direction
            for out, side, sign in ((by_x, raw[0], 1.0), (by_y, raw[1], -1.0)):
                if out is None:
                    continue
                by_row = sign * pull
                out[rows] = through_normalisation(side, by_row) if normalize else by_row
    value = sum(parts) / n
    if not grad:
        return value
    to_user = validate.like(x, y)
    return value, to_user(by_x), to_user(by_y)


def _wide(rows: Any) -> Floats:
    """A few rows in float64, from wherever they are."""
    return np.ascontiguousarray(validate.host(rows), dtype=np.float64)


def _lengths(rows: Floats) -> tuple[Floats, Floats]:
    """Euclidean lengths that neither overflow nor vanish, and the rows divided by them."""
    largest = np.abs(rows).max(axis=1)
    unit = np.where(largest > 0, largest, 1.0)[:, None]
    scaled = rows / unit
    length = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    return length * unit[:, 0], scaled / np.where(length > 0, length, 1.0)[:, None]


@overload
def uniformity(
    x: ArrayLike,
    *,
    t: float = ...,
    normalize: bool = ...,
    grad: Literal[False] = ...,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> float: ...
@overload
def uniformity(
    x: ArrayLike,
    *,
    t: float = ...,
    normalize: bool = ...,
    grad: Literal[True],
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> tuple[float, Any]: ...
@overload
def uniformity(
    x: ArrayLike,
    *,
    t: float = ...,
    normalize: bool = ...,
    grad: bool,
    workers: int | None = ...,
    check_finite: bool = ...,
    progress: Progress = ...,
) -> float | tuple[float, Any]: ...
def uniformity(
    x: Any,
    *,
    t: float = 2.0,
    normalize: bool = False,
    grad: bool = False,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> float | tuple[float, Any]:
    r"""How evenly rows are spread: the logarithm of a mean of Gaussians over all pairs.

    .. math:: \log \frac{2}{n (n - 1)} \sum_{i < j} e^{-t \|x_i - x_j\|^2}

    Parameters
    ----------
    x : array_like, shape (n, d)
        At least two rows.
    t : float, default 2.0
        Positive.
    normalize, grad, workers, check_finite, progress
        As for `alignment`; `workers` are threads of the sweep over pairs, and the result does not
        depend on their number.

    Returns
    -------
    float, or (float, array) with ``grad=True``
        The value, and its gradient by x, of shape (n, d) and in the working dtype.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, 2-D, not empty and finite; for a single row; for t that
        is not positive.

    Notes
    -----
    n²d flops for the value and twice that for the gradient; memory is inputs, gradient and a few
    tiles. Logarithms of kernel values are what is added up, so that nothing underflows however
    far the rows lie apart; the value is -inf, with a gradient of zeros, only where all
    t‖x_i - x_j‖² are beyond float64. The gradient is computed in float64 where the mean is below
    e⁻¹²; where it is below e⁻⁵⁰⁰, from the distances of a block of rows at a time, which takes
    longer. On a GPU sums over pairs run there, normalisation and what follows from the sums on
    the host.

    References
    ----------
    Wang and Isola, Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere (2020).

    Examples
    --------
    >>> import pairtile as pt
    >>> pt.uniformity([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], t=1.0)
    -2.339...
    """
    t = scalars.real("t", t, above=0)
    n_workers = resolve_workers(workers)
    a = validate.matrix("x", x, check_finite=check_finite, workers=n_workers)
    n = len(a)
    if n < 2:
        raise ValueError("uniformity is of pairs of rows, and x has a single row")
    dtype = validate.working_dtype(a)
    rows = validate.like(a)(_by_blocks(a, dtype, normalised)) if normalize else a
    terms: list[Term] = [(1.0, "gaussian", (t,))]
    module = choose.module(rows)
    with reporting(progress, n * n, n * n if grad else 0) as (first, second):
        logs = module.kernel_logsumexp(
            rows, None, terms, None, None,
            precision="default", workers=n_workers, progress=first,
        )  # fmt: skip
        with np.errstate(under="ignore", invalid="ignore"):
            total = float(np.logaddexp.reduce(validate.host(logs)))
        value = total - math.log(n) - math.log(n - 1)
        if not grad:
            return value
        if value > _TINY:
            sums, _, pull, _ = module.kernel_gradient(
                rows, None, terms, np.ones(n), None, diagonal=False,
                precision="default" if value > _SMALL else "float64",
                workers=n_workers, progress=second,
            )  # fmt: skip
            sums, pull = validate.host(sums), validate.host(pull)
            gradient = _over(pull, 2.0, float(np.sum(sums)))
        elif not math.isfinite(value):
            gradient = np.full(a.shape, 0.0 if value == -math.inf else math.nan)
        else:
            gradient = _of_nearest(module, rows, t, workers=n_workers, progress=second)
    if normalize:
        gradient = _by_blocks(a, dtype, through_normalisation, gradient)
    return value, validate.like(x)(validate.narrowed(gradient, dtype))


def _by_blocks(
    a: NDArray[Any], dtype: Any, of: Callable[..., Floats], *others: NDArray[Any]
) -> NDArray[Any]:
    """of(rows in float64, …) for all rows, some at a time."""
    out = np.empty(a.shape, dtype)
    for start in range(0, len(a), _ROWS):
        rows = slice(start, start + _ROWS)
        block = _wide(a[rows])
        out[rows] = validate.narrowed(of(block, *(other[rows] for other in others)), dtype)
    return out


def _of_nearest(
    module: ModuleType, x: NDArray[Any], t: float, *, workers: int, progress: Report | None
) -> Floats:
    """The gradient where kernel values vanish: in units of the largest of them.

    Most pairs are nothing beside the nearest ones, and only the others are looked at.
    """
    n = len(x)
    nearest, _ = module.knn(
        x, None, 1, "sqeuclidean", dtype="ordered", precision="default", workers=workers
    )
    least = float(nearest.min())
    wide = _wide(x)
    gradient, mass = np.zeros(x.shape), 0.0
    for start in range(0, n, _ROWS):
        block = x[start : start + _ROWS]
        squares = validate.host(
            module.pairwise_distances(block, x, "sqeuclidean", dtype="float64", workers=workers)
        )
        squares[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            shares = np.exp(-t * (squares - least))
            mass += float(shares.sum())
            for i in range(len(block)):
                near = np.flatnonzero(shares[i])
                differences = wide[start + i] - wide[near]
                gradient[start + i] = (shares[i, near, None] * differences).sum(axis=0)
        if progress is not None:
            progress(min(start + _ROWS, n), n)
    return _over(gradient, -4 * t, mass)


@np.errstate(divide="ignore", over="ignore", under="ignore", invalid="ignore")
def _over(gradient: Floats, factor: float, mass: float) -> Floats:
    """Times factor / mass, in place; of rows that change meanwhile there may be no mass."""
    gradient *= np.divide(factor, mass)
    return gradient
