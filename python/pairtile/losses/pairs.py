"""Losses of weighted pairs with their gradients: circle and multi-similarity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars
from pairtile._front.progress import reporting
from pairtile.losses import labels as names
from pairtile.losses.logits import ContrastiveResult, asked, beyond_float32

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["circle_loss", "multi_similarity_loss"]

_EPSILON = 0.1  # of the mining of multi-similarity, as in the paper


def circle_loss(
    x: Any,
    labels: Any,
    *,
    margin: float = 0.25,
    gamma: float = 80.0,
    weights: Any = None,
    normalize: bool = False,
    grad: bool = False,
    grad_rows: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> ContrastiveResult:
    r"""Circle loss: pairs weighted by how far they are from where they should be.

    .. math:: \ell_i = \log\Bigl(1 + \sum_n e^{\gamma \alpha_n (C_{in} - m)}
              \sum_p e^{-\gamma \alpha_p (C_{ip} - (1 - m))}\Bigr), \quad C = x x^T

    over the other rows p of the label of row i and the rows n of other labels, with
    :math:`\alpha_p = \max(1 + m - C_{ip}, 0)` and :math:`\alpha_n = \max(C_{in} + m, 0)`, which
    are constants for the gradient.

    Parameters
    ----------
    x : array_like, shape (n, d)
        The rows; the loss is meant for cosines, which ``normalize=True`` makes of their products.
    labels : array_like of int or str, shape (n,)
        Of the rows.
    margin : float, default 0.25
        m.
    gamma : float, default 80.0
        γ, positive.
    weights, normalize, grad, grad_rows, workers, check_finite, progress
        As for `info_nce`.

    Returns
    -------
    ContrastiveResult
        With `per_row` = ℓ, `loss` its mean, and with ``grad=True`` the gradient. A row that lacks
        positives or negatives has loss 0 and counts.

    Raises
    ------
    TypeError, ValueError
        As `info_nce`; for labels of another length than x, or that are neither integers nor
        strings; for a margin that is not finite or a gamma that is not positive.

    Notes
    -----
    2n²d flops for the loss and at most 6n²d more for the gradient; memory is inputs, gradient and
    a few tiles.

    References
    ----------
    Sun et al., Circle loss: a unified perspective of pair similarity optimization (2020).

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]]
    >>> pt.circle_loss(x, [0, 0, 1], gamma=4.0).per_row
    array([1.38733533, 3.38100516, 0.        ])
    """
    margin = scalars.real("margin", margin)
    gamma = scalars.real("gamma", gamma, above=0)
    return _pair_loss(
        x, labels, "circle", (margin, gamma), weights=weights,
        beyond=lambda largest: (
            beyond_float32(gamma) or not gamma * (largest + 1 + abs(margin)) ** 2 < 1e37
        ),
        normalize=normalize, grad=grad, grad_rows=grad_rows,
        workers=workers, check_finite=check_finite, progress=progress,
    )  # fmt: skip


def multi_similarity_loss(
    x: Any,
    labels: Any,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    mining: bool = False,
    weights: Any = None,
    normalize: bool = False,
    grad: bool = False,
    grad_rows: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> ContrastiveResult:
    r"""Multi-similarity loss: soft counts of far positives and of near negatives.

    .. math:: \ell_i = \frac1\alpha \log\Bigl(1 + \sum_p e^{-\alpha (C_{ip} - \lambda)}\Bigr)
              + \frac1\beta \log\Bigl(1 + \sum_n e^{\beta (C_{in} - \lambda)}\Bigr), \quad C = x x^T

    over the other rows p of the label of row i and the rows n of other labels.

    Parameters
    ----------
    x : array_like, shape (n, d)
        The rows; the loss is meant for cosines, which ``normalize=True`` makes of their products.
    labels : array_like of int or str, shape (n,)
        Of the rows.
    alpha, beta : float, default 2.0 and 50.0
        α and β, positive.
    base : float, default 0.5
        λ.
    mining : bool, default False
        Count only pairs that are hard, as in the paper with its ε = 0.1: negatives with
        :math:`C_{in} + \varepsilon > \min_p C_{ip}`, positives with
        :math:`C_{ip} - \varepsilon < \max_n C_{in}`; none where one of the two sides is missing.
    weights, normalize, grad, grad_rows, workers, check_finite, progress
        As for `info_nce`.

    Returns
    -------
    ContrastiveResult
        With `per_row` = ℓ, `loss` its mean, and with ``grad=True`` the gradient. The logarithm of
        a side that a row lacks is 0, and the row counts.

    Raises
    ------
    TypeError, ValueError
        As `info_nce`; for labels of another length than x, or that are neither integers nor
        strings; for alpha or beta that are not positive, a base that is not finite, or mining that
        is not a bool.

    Notes
    -----
    2n²d flops for the loss and at most 6n²d more for the gradient; memory is inputs, gradient and
    a few tiles. What is hard is decided by a comparison, through which no gradient goes.

    References
    ----------
    Wang, Han, Huang, Dong and Scott, Multi-similarity loss with general pair weighting for deep
    metric learning (2019).

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]]
    >>> pt.multi_similarity_loss(x, [0, 0, 1]).per_row
    array([0.31887828, 0.67874398, 0.46      ])
    """
    alpha, beta = (
        scalars.real(name, value, above=0) for name, value in (("alpha", alpha), ("beta", beta))
    )
    base = scalars.real("base", base)
    if not isinstance(mining, (bool, np.bool_)):
        raise TypeError(f"mining must be True or False, got {mining!r}")
    return _pair_loss(
        x, labels, "multi_similarity", (alpha, beta, base, _EPSILON if mining else -1.0),
        beyond=lambda largest: (
            beyond_float32(alpha, beta) or not max(alpha, beta) * (largest + abs(base)) < 1e37
        ),
        weights=weights, normalize=normalize, grad=grad, grad_rows=grad_rows,
        workers=workers, check_finite=check_finite, progress=progress,
    )  # fmt: skip


def _pair_loss(
    x: Any,
    labels: Any,
    loss: str,
    parameters: tuple[float, ...],
    *,
    beyond: Callable[[float], bool],
    progress: Any,
    **common: Any,
) -> ContrastiveResult:
    given = asked({"x": x}, beyond=beyond, **common)
    (a,) = given.sets
    n = len(a)
    (numbers,) = names.numbered(("labels", labels, "x", n))
    mean = given.mean(np.ones(n, dtype=bool))
    with reporting(progress, n * n) as (report,):
        per_row, grad_x = choose.module(a).pair_losses(
            a, loss, parameters, labels=numbers.astype(np.float64),
            **given.seam(mean), progress=report,
        )  # fmt: skip
    return given.result(mean, per_row, grad_x=grad_x)
