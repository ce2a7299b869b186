"""Softmax losses of rows among themselves, with their gradients: SupCon and NT-Xent."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars
from pairtile._front.progress import reporting
from pairtile.losses import labels as names
from pairtile.losses.logits import ContrastiveResult, asked, scale_of

__all__ = ["nt_xent_loss", "supcon_loss"]


def supcon_loss(
    x: Any,
    labels: Any,
    *,
    bank: Any = None,
    bank_labels: Any = None,
    label_width: float | None = None,
    no_positive: Literal["zero", "drop"] = "zero",
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
    r"""Supervised contrastive loss: each row against all others, those of its label positives.

    .. math:: \ell_i = \log \sum_{j \ne i} e^{S_{ij}} - \frac{1}{|P_i|} \sum_{p \in P_i} S_{ip},
              \quad S = s \, x x^T, \quad P_i = \{j \ne i : l_j = l_i\}

    Parameters
    ----------
    x : array_like, shape (n, d)
        The anchors, all views of all examples below one another.
    labels : array_like of int or str, shape (n,)
        Of the rows of x; real numbers with `label_width`.
    bank : array_like, shape (b, d), optional
        More candidates, which are no anchors: a memory bank or a queue.
    bank_labels : array_like, shape (b,), optional
        Their labels; required with `bank`.
    label_width : float, optional
        Positives are those whose label differs by no more than this, rather than by nothing.
    no_positive : {"zero", "drop"}, default "zero"
        Whether an anchor without a positive counts in the mean, as 0, or leaves it.
    weights, temperature, logit_scale, normalize, grad, grad_rows, workers, check_finite, progress
        As for `info_nce`. The rows of `bank` are normalised too.

    Returns
    -------
    ContrastiveResult
        With `per_row` = ℓ, `loss` its mean, `lse_row`, and with ``grad=True`` the gradients;
        `grad_y` is that of the bank.

    Raises
    ------
    TypeError, ValueError
        As `info_nce`; for labels of another length than their rows, that are neither all integers
        nor all strings, or no finite real numbers with `label_width`; one of `bank` and
        `bank_labels` without the other.

    Notes
    -----
    2n(n + b)d flops for the loss and at most 6n(n + b)d more for the gradients; memory is inputs,
    gradients and a few tiles.

    References
    ----------
    Khosla et al., Supervised contrastive learning (2020), equation 2. Keramati, Meng and Evans,
    ConR: contrastive regularizer for deep imbalanced regression (2024): positives by the distance
    of labels.

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    >>> pt.supcon_loss(x, ["a", "a", "b"], temperature=1.0).per_row
    array([0.31326169, 0.31326169, 0.        ])
    >>> pt.supcon_loss(x, ["a", "a", "b"], temperature=1.0, no_positive="drop").loss
    0.31326168...
    """
    scale = scale_of(temperature, logit_scale)
    scalars.choice("no_positive", no_positive, ("zero", "drop"))
    if (bank is None) != (bank_labels is None):
        raise ValueError("bank and bank_labels must be given together")
    given = asked(
        {"x": x, "bank": bank}, beyond=scale.beyond_float32(), weights=weights,
        normalize=normalize, grad=grad, grad_rows=grad_rows,
        workers=workers, check_finite=check_finite,
    )  # fmt: skip
    a, b = (*given.sets, None)[:2]
    n = len(a)
    scale.fits(n, "x")
    parts = [("labels", labels, "x", n)]
    if b is not None:
        parts.append(("bank_labels", bank_labels, "bank", len(b)))
    numbers, width = names.of_width(*parts, label_width=label_width)
    counts = np.ones(n, dtype=bool)
    if no_positive == "drop":
        counts = names.have_positives(numbers, width)[:n]
    mean = given.mean(counts)
    with reporting(progress, n * len(numbers)) as (report,):
        per_row, lse_row, grad_x, grad_bank, grad_scale = choose.module(a, b).supcon_losses(
            a, None, b, scale.value, row_scales=scale.by_row, labels=numbers, label_width=width,
            **given.seam(mean), grad_x=given.wants("x"), grad_y=given.wants("bank"),
            progress=report,
        )  # fmt: skip
    return given.result(
        mean, per_row, lse_row=lse_row, grad_x=grad_x, grad_y=grad_bank, grad_scale=grad_scale
    )


def nt_xent_loss(
    x: Any,
    y: Any,
    *,
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
    r"""NT-Xent, the loss of SimCLR: two views of each example against all other views.

    .. math:: \ell_i = \log \sum_{j \ne i} e^{S_{ij}} - S_{i, i'}, \quad S = s \, z z^T, \quad
              z = (x, y)

    i' is the other view of the example of row i of z, the 2n rows of x and then of y.

    Parameters
    ----------
    x, y : array_like, both of shape (n, d)
        The two views, row by row.
    temperature, logit_scale : float or array_like of shape (2n,)
        As for `info_nce`, of the rows of x and then of y.
    weights, grad_rows : array_like, shape (2n,), optional
        As for `info_nce`, of the rows of x and then of y.
    normalize, grad, workers, check_finite, progress
        As for `info_nce`. SimCLR normalises.

    Returns
    -------
    ContrastiveResult
        With `per_row` = ℓ and `lse_row` of shape (2n,), `loss` the mean, and with ``grad=True`` the
        gradients.

    Raises
    ------
    TypeError, ValueError
        As `info_nce`, and for different numbers of rows.

    Notes
    -----
    8n²d flops for the loss and at most 24n²d more for the gradients; memory is inputs, gradients
    and a few tiles.

    References
    ----------
    Chen, Kornblith, Norouzi and Hinton, A simple framework for contrastive learning of visual
    representations (2020).

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[1.0, 0.0], [0.0, 1.0]]
    >>> pt.nt_xent_loss(x, x, temperature=1.0).per_row
    array([0.55144471, 0.55144471, 0.55144471, 0.55144471])
    """
    scale = scale_of(temperature, logit_scale)
    given = asked(
        {"x": x, "y": y}, views=2, beyond=scale.beyond_float32(), weights=weights,
        normalize=normalize, grad=grad, grad_rows=grad_rows,
        workers=workers, check_finite=check_finite,
    )  # fmt: skip
    a, b = given.sets
    n = len(a)
    if len(b) != n:
        raise ValueError(f"x has {n} rows and y has {len(b)}; row i of x is paired with row i of y")
    scale.fits(2 * n, "x, then of y")
    mean = given.mean(np.ones(2 * n, dtype=bool))
    with reporting(progress, 4 * n * n) as (report,):
        per_row, lse_row, grad_rows_of_both, _, grad_scale = choose.module(a, b).supcon_losses(
            a, b, None, scale.value, row_scales=scale.by_row,
            labels=np.tile(np.arange(n, dtype=np.float64), 2), label_width=0.0,
            **given.seam(mean), grad_x=given.wants("x", "y"), grad_y=False, progress=report,
        )  # fmt: skip
    grad_x = grad_y = None
    if grad_rows_of_both is not None:
        grad_x, grad_y = grad_rows_of_both[:n], grad_rows_of_both[n:]
    return given.result(
        mean, per_row, lse_row=lse_row, grad_x=grad_x, grad_y=grad_y, grad_scale=grad_scale
    )
