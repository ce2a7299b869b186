"""Contrastive losses with their gradients, the score matrix never formed.

The public face of the log-sum-exp fold: validate, let the backend sweep the pairs (once for the
log-sum-exp, once more for gradients), pull gradients back through the normalisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["ContrastiveResult", "clip_loss", "info_nce"]

_BUFFER = 1 << 20  # float64 numbers in one chunk of rows being normalised (8 MB)


@dataclass(frozen=True)
class ContrastiveResult:
    """A contrastive loss, row by row, and its gradients; None where a field does not apply.

    Attributes
    ----------
    loss : float
        Mean of `per_row`.
    per_row : (n,) array of float64
        Loss of each row.
    lse_row, lse_col : (n,) and (m,) arrays of float64
        Log-sum-exp of the scores of each row, and of each column where the loss uses it.
    grad_x, grad_y : (n, d) and (m, d) arrays
        Gradients with respect to the inputs, in the working dtype.
    grad_scale : float
        Derivative with respect to the multiplier s of the scores, whichever of `temperature` and
        `logit_scale` was passed.
    grad_bias : float
        Derivative with respect to the bias, for the losses that have one.
    """

    loss: float
    per_row: Any
    lse_row: Any = None
    lse_col: Any = None
    grad_x: Any = None
    grad_y: Any = None
    grad_scale: float | None = None
    grad_bias: float | None = None


def info_nce(
    x: Any,
    y: Any,
    *,
    targets: Any = None,
    temperature: float | None = None,
    logit_scale: float | None = None,
    normalize: bool = False,
    grad: bool = False,
    grad_rows: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> ContrastiveResult:
    r"""InfoNCE: cross-entropy of each row of x against the rows of y.

    .. math:: \ell_i = \log \sum_j e^{S_{ij}} - S_{i t_i}, \quad S = s \, x y^T

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        The anchors, and what they are to be told apart from.
    targets : array_like of int, shape (n,), optional
        Row of y that is the positive of each row of x. None pairs row i with row i.
    temperature, logit_scale : float
        Exactly one of them: s = 1 / temperature = logit_scale, positive. `logit_scale` is the
        multiplier itself, not its logarithm.
    normalize : bool, default False
        Divide each row by its Euclidean length first; gradients go through the division. A zero
        row stays zero and gets a zero gradient.
    grad : bool, default False
        Compute the gradients too.
    grad_rows : array_like, shape (n,), optional
        Weights w: the gradients are those of Σ w_i ℓ_i. None stands for 1/n each, the
        gradients of the loss. Needs ``grad=True``.
    workers : int, optional
        Number of threads; None and -1 are all allowed cores. The result does not depend on it.
    check_finite : bool, default True
        Look for NaN and Inf first.
    progress : bool or callable(done, total), default False
        Show a bar, or be called now and then.

    Returns
    -------
    ContrastiveResult
        With `per_row` = ℓ, `loss` its mean, `lse_row`, and with ``grad=True`` the gradients.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, 2-D, not empty and finite; for different numbers of
        columns; both or neither of temperature and logit_scale; targets out of range, of the
        wrong length or not integers; more rows in x than in y without targets.

    Notes
    -----
    2nmd flops for the loss and 6nmd more for the gradients; memory is inputs, gradients and a
    few tiles.

    References
    ----------
    van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding (2018).
    """
    return _contrastive(
        x, y, symmetric=False, targets=targets, scale=_scale(temperature, logit_scale),
        normalize=normalize, grad=grad, grad_rows=grad_rows,
        workers=workers, check_finite=check_finite, progress=progress,
    )  # fmt: skip


def clip_loss(
    x: Any,
    y: Any,
    *,
    temperature: float | None = None,
    logit_scale: float | None = None,
    normalize: bool = False,
    grad: bool = False,
    grad_rows: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> ContrastiveResult:
    r"""CLIP loss: cross-entropy of paired rows in both directions.

    .. math:: \ell_i = \tfrac12 \Bigl(\log \sum_j e^{S_{ij}} + \log \sum_j e^{S_{ji}}\Bigr)
              - S_{ii}, \quad S = s \, x y^T

    Parameters
    ----------
    x, y : array_like, both of shape (n, d)
        Paired rows, for example of images and of their texts.
    temperature, logit_scale, normalize, grad, grad_rows, workers, check_finite, progress
        As for `info_nce`.

    Returns
    -------
    ContrastiveResult
        With `per_row` = ℓ, `loss` its mean, `lse_row`, `lse_col`, and with ``grad=True`` the
        gradients.

    Raises
    ------
    TypeError, ValueError
        As `info_nce`, and for different numbers of rows.

    Notes
    -----
    2n²d flops for the loss and 6n²d more for the gradients; memory is inputs, gradients and a
    few tiles.

    References
    ----------
    Radford et al., Learning transferable visual models from natural language supervision (2021).
    """
    return _contrastive(
        x, y, symmetric=True, targets=None, scale=_scale(temperature, logit_scale),
        normalize=normalize, grad=grad, grad_rows=grad_rows,
        workers=workers, check_finite=check_finite, progress=progress,
    )  # fmt: skip


def _contrastive(
    x: Any,
    y: Any,
    *,
    symmetric: bool,
    targets: Any,
    scale: float,
    normalize: bool,
    grad: bool,
    grad_rows: Any,
    workers: int | None,
    check_finite: bool,
    progress: Any,
) -> ContrastiveResult:
    workers = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=workers)
    n, m = len(a), len(b)
    if targets is not None:
        targets = _targets(targets, n, m)
    elif n > m or (symmetric and n < m):
        raise ValueError(f"x has {n} rows and y has {m}; row i of x is paired with row i of y")
    if grad_rows is not None and not grad:
        raise ValueError("grad_rows weights the gradients; it needs grad=True")
    upstream = validate.weights("grad_rows", grad_rows, n, signed=True)
    with reporting(progress, n * m) as (report,):
        found = choose.module(a, b).contrastive(
            a, b, scale, targets, symmetric,
            normalize=normalize, grad=grad, row_upstream=upstream, workers=workers, progress=report,
        )  # fmt: skip
    if normalize and grad:
        _through_normalization(a, found["grad_x"])
        _through_normalization(b, found["grad_y"])
    to_user = validate.like(x, y)
    return ContrastiveResult(
        loss=float(np.mean(found["per_row"])),
        per_row=to_user(found["per_row"]),
        lse_row=to_user(found["lse_row"]),
        lse_col=to_user(found["lse_col"]),
        grad_x=to_user(found["grad_x"]),
        grad_y=to_user(found["grad_y"]),
        grad_scale=None if found["grad_scale"] is None else float(found["grad_scale"]),
    )


def _scale(temperature: float | None, logit_scale: float | None) -> float:
    if (temperature is None) == (logit_scale is None):
        given = "neither" if temperature is None else "both"
        raise ValueError(f"pass exactly one of temperature= and logit_scale=, got {given}")
    if logit_scale is not None:
        return scalars.real("logit_scale", logit_scale, above=0)
    scale = 1 / scalars.real("temperature", temperature, above=0)
    if math.isinf(scale):
        raise ValueError(f"temperature is {temperature}, and its inverse is not finite")
    return scale


def _targets(targets: Any, n: int, m: int) -> NDArray[np.int64]:
    t = validate.host(targets)
    if t.dtype.kind not in "iu":
        raise TypeError(f"targets must be integers, got dtype {t.dtype}")
    if t.shape != (n,):
        raise ValueError(f"targets must have shape ({n},), one per row of x, got {t.shape}")
    bad = np.flatnonzero((t < 0) | (t >= m))
    if bad.size:
        raise ValueError(f"targets[{bad[0]}] is {t[bad[0]]}, and y has rows 0 to {m - 1}")
    return np.ascontiguousarray(t, dtype=np.int64)


def _row_chunks(a: NDArray[Any]) -> Iterator[slice]:
    step = max(1, _BUFFER // a.shape[1])
    return (slice(start, start + step) for start in range(0, len(a), step))


def _unit_rows(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows in float64 divided by their lengths, and the lengths.

    A zero row has length infinity: it stays zero, and so does a gradient divided by it.
    """
    unit = rows.astype(np.float64)
    # Squares of the entries as they are may overflow or vanish; divided by the largest they do not.
    largest = np.abs(unit).max(axis=1, keepdims=True)
    largest[largest == 0] = 1
    unit /= largest
    length = np.sqrt(np.sum(unit**2, axis=1, keepdims=True))
    length[length == 0] = np.inf
    unit /= length
    return unit, largest * length


def _through_normalization(a: NDArray[Any], grad: NDArray[Any]) -> None:
    """Turn the gradient at a/|a| into the one at a, in place: drop what lies along a, divide."""
    if not validate.in_host_memory(grad):
        choose.module(grad).through_normalization(a, grad)
        return
    for rows in _row_chunks(a):
        unit, length = _unit_rows(a[rows])
        along = np.sum(grad[rows] * unit, axis=1, keepdims=True)
        grad[rows] = (grad[rows] - along * unit) / length
