"""Softmax losses with their gradients, the score matrix never formed.

The public face of the log-sum-exp fold: validate, let the backend sweep the pairs (once for the
log-sum-exp, once more for gradients).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._front import validate
from pairtile._front.progress import reporting
from pairtile.losses.logits import ContrastiveResult, asked

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["clip_loss", "info_nce"]


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
    return _softmax(
        x, y, symmetric=False, targets=targets, temperature=temperature, logit_scale=logit_scale,
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
    return _softmax(
        x, y, symmetric=True, targets=None, temperature=temperature, logit_scale=logit_scale,
        normalize=normalize, grad=grad, grad_rows=grad_rows,
        workers=workers, check_finite=check_finite, progress=progress,
    )  # fmt: skip


def _softmax(
    x: Any,
    y: Any,
    *,
    symmetric: bool,
    targets: Any,
    normalize: bool,
    grad: bool,
    progress: Any,
    **options: Any,
) -> ContrastiveResult:
    given = asked(x, y, grad=grad, normalize=normalize, **options)
    n, m = len(given.x), len(given.y)
    if targets is not None:
        targets = _targets(targets, n, m)
    elif n > m or (symmetric and n < m):
        raise ValueError(f"x has {n} rows and y has {m}; row i of x is paired with row i of y")
    with reporting(progress, n * m) as (report,):
        found = choose.module(given.x, given.y).softmax_losses(
            given.x, given.y, given.scale, targets, symmetric,
            normalize=normalize, grad=grad, row_upstream=given.row_upstream,
            workers=given.workers, progress=report,
        )  # fmt: skip
    *arrays, grad_scale = found
    to_user = validate.like(x, y)
    arrays[3:] = (given.rounded(gradient) for gradient in arrays[3:])
    per_row, lse_row, lse_col, grad_x, grad_y = (to_user(array) for array in arrays)
    return ContrastiveResult(
        loss=float(np.mean(found[0])), per_row=per_row, lse_row=lse_row, lse_col=lse_col,
        grad_x=grad_x, grad_y=grad_y,
        grad_scale=None if grad_scale is None else float(grad_scale),
    )  # fmt: skip


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
