"""The sigmoid loss with its gradients, the score matrix never formed."""

from __future__ import annotations

from typing import Any

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile.losses.logits import ContrastiveResult, asked

__all__ = ["siglip_loss"]


def siglip_loss(
    x: Any,
    y: Any,
    *,
    bias: float = 0.0,
    temperature: float | None = None,
    logit_scale: float | None = None,
    normalize: bool = False,
    grad: bool = False,
    grad_rows: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> ContrastiveResult:
    r"""SigLIP loss: for each pair of rows, whether they belong together, by itself.

    .. math:: \ell_i = \sum_j \log\bigl(1 + e^{-z_{ij} S_{ij}}\bigr), \quad S = s \, x y^T + b,
              \quad z_{ij} = \begin{cases} 1 & i = j \\ -1 & i \ne j \end{cases}

    No row is normalised by the others, so that the loss of a pair does not depend on the batch.

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        Row i of x belongs with row i of y, and with no other; n is at most m.
    bias : float, default 0.0
        b, added to every score. The paper begins with b = -10 and s = 10.
    temperature, logit_scale, normalize, grad, grad_rows, workers, check_finite, progress
        As for `info_nce`.

    Returns
    -------
    ContrastiveResult
        With `per_row` = ℓ, `loss` its mean, and with ``grad=True`` the gradients, that of the bias
        among them.

    Raises
    ------
    TypeError, ValueError
        As `info_nce`, and for a bias that is not a finite number.

    Notes
    -----
    2nmd flops for the loss and 6nmd more for the gradients; memory is inputs, gradients and a
    few tiles. Losses and gradients keep their digits however small they are.

    References
    ----------
    Zhai, Mustafa, Kolesnikov and Beyer, Sigmoid loss for language image pre-training (2023).

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[1.0, 0.0], [0.0, 1.0]]
    >>> pt.siglip_loss(x, x, logit_scale=10.0, bias=-5.0).per_row
    array([0.0134307, 0.0134307])
    """
    bias = scalars.real("bias", bias)
    given = asked(
        x, y, temperature=temperature, logit_scale=logit_scale, grad=grad, grad_rows=grad_rows,
        normalize=normalize, workers=workers, check_finite=check_finite,
    )  # fmt: skip
    n, m = len(given.x), len(given.y)
    if n > m:
        raise ValueError(f"x has {n} rows and y has {m}; row i of x is paired with row i of y")
    with reporting(progress, n * m) as (report,):
        per_row, grad_x, grad_y, grad_scale, grad_bias = choose.module(
            given.x, given.y
        ).sigmoid_losses(
            given.x, given.y, given.scale, bias,
            normalize=normalize, grad=grad, row_upstream=given.row_upstream,
            workers=given.workers, progress=report,
        )  # fmt: skip
    to_user = validate.like(x, y)
    return ContrastiveResult(
        loss=float(np.mean(per_row)), per_row=to_user(per_row),
        grad_x=to_user(given.rounded(grad_x)), grad_y=to_user(given.rounded(grad_y)),
        grad_scale=grad_scale, grad_bias=grad_bias,
    )  # fmt: skip
