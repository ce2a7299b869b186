"""The sigmoid loss with its gradients, the score matrix never formed."""

from __future__ import annotations

from typing import Any

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars
from pairtile._front.progress import reporting
from pairtile.losses import labels, positives
from pairtile.losses.logits import ContrastiveResult, asked, not_together, scale_of

__all__ = ["siglip_loss"]


def siglip_loss(
    x: Any,
    y: Any,
    *,
    bias: float = 0.0,
    x_groups: Any = None,
    y_groups: Any = None,
    target_offset: int = 0,
    weights: Any = None,
    temperature: Any = None,
    logit_scale: Any = None,
    normalize: bool = False,
    grad: bool = False,
    grad_rows: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> ContrastiveResult:
    r"""SigLIP loss: for each pair of rows, whether they belong together, by itself.

    .. math:: \ell_i = \sum_j \log\bigl(1 + e^{-z_{ij} S_{ij}}\bigr), \quad S = s \, x y^T + b,
              \quad z_{ij} = \begin{cases} 1 & j = o + i \\ -1 & j \ne o + i \end{cases}

    No row is normalised by the others, so that the loss of a pair does not depend on the batch.

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        Row i of x belongs with row i of y, and with no other; n is at most m.
    bias : float, default 0.0
        b, added to every score. The paper begins with b = -10 and s = 10.
    x_groups, y_groups : array_like of int or str, shapes (n,) and (m,), optional
        Rows belong together where their ids are equal, so that a row may have several positives
        or none; it counts either way. `y_groups` defaults to `x_groups` where n = m.
    target_offset : int, default 0
        o: row i of x belongs with row o + i of y. Not with groups.
    weights, temperature, logit_scale, normalize, grad, grad_rows, workers, check_finite, progress
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
    few tiles. Losses and gradients keep their digits down to the smallest normal number of the
    type that scores are in.

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
    scale = scale_of(temperature, logit_scale)
    given = asked(
        {"x": x, "y": y}, beyond=scale.beyond_float32(abs(bias)), weights=weights,
        normalize=normalize, grad=grad, grad_rows=grad_rows,
        workers=workers, check_finite=check_finite,
    )  # fmt: skip
    a, b = given.sets
    n, m = len(a), len(b)
    scale.fits(n, "x")
    offset = scalars.count("target_offset", target_offset, least=0)
    found = labels.groups(x_groups, y_groups, n, m)
    not_together(x_groups=found is not None, target_offset=offset > 0)
    of_x, of_y = (None, None) if found is None else (g.astype(np.float64) for g in found)
    if found is None:
        positives.paired(n, m, offset)  # each row has its partner
    mean = given.mean(np.ones(n, dtype=bool))
    with reporting(progress, n * m) as (report,):
        per_row, grad_x, grad_y, grad_scale, grad_bias = choose.module(a, b).sigmoid_losses(
            a, b, scale.value, bias, row_scales=scale.by_row, row_labels=of_x, col_labels=of_y,
            target_offset=offset, **given.seam(mean), grad_x=given.wants("x"),
            grad_y=given.wants("y"), progress=report,
        )  # fmt: skip
    return given.result(
        mean, per_row, grad_x=grad_x, grad_y=grad_y, grad_scale=grad_scale, grad_bias=grad_bias
    )
