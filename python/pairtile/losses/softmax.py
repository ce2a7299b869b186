"""Softmax losses with their gradients, the score matrix never formed.

The public face of the log-sum-exp fold: validate, let the backend sweep the pairs (once for the
log-sum-exp, once more for gradients).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.softmax import SoftmaxOptions
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile.losses import positives
from pairtile.losses.guide import Guide
from pairtile.losses.logits import ContrastiveResult, Scale, asked, not_together, scale_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pairtile.losses.positives import Positives

__all__ = ["clip_loss", "info_nce"]

Number = TypeVar("Number", int, float)


def info_nce(
    x: Any,
    y: Any,
    *,
    targets: Any = None,
    x_groups: Any = None,
    y_groups: Any = None,
    ignore_index: int | None = None,
    false_negative_margin: float | None = None,
    x_guide: Any = None,
    y_guide: Any = None,
    guide_margin: float = 0.0,
    guide_margin_strategy: Literal["absolute", "relative"] = "absolute",
    label_smoothing: float = 0.0,
    tau_plus: float = 0.0,
    margin: float = 0.0,
    column_logits: Any = None,
    top_negatives: int | None = None,
    angular_margin: float = 0.0,
    positive_weights: Any = None,
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
    r"""InfoNCE: cross-entropy of each row of x against the rows of y.

    .. math:: \ell_i = \log \sum_j e^{S_{ij}} - S_{i t_i}, \quad S = s \, x y^T

    With several positives P_i of a row, :math:`\ell_i = \log \sum_j e^{S_{ij}} -
    \sum_p w_{ip} S_{ip}`, weighted evenly (groups) or by `positive_weights`.

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        The anchors, and what they are to be told apart from.
    targets : array_like of int, shape (n,), optional
        Row of y that is the positive of each row of x. None pairs row i with row i.
    x_groups, y_groups : array_like of int or str, shapes (n,) and (m,), optional
        The positives of row i are all rows of y with its id. A row without any has loss 0 and
        leaves the mean. `y_groups` defaults to `x_groups` where n = m. Not with `targets`.
    ignore_index : int, optional
        Rows whose target it is have loss 0 and leave the mean.
    false_negative_margin : float, optional
        μ: negatives with :math:`x_i \cdot y_j > x_i \cdot y_{t_i} + \mu` are left out of the sum
        of row i, because they may be positives in truth. With one positive per row only.
    x_guide, y_guide : array_like, shapes (n, g) and (m, g), optional
        Rows of a guide, another model, for those of x and of y. With c the cosines of its rows,
        negatives with :math:`c_{ij} > c_{i t_i} - \mu` are left out of the sum of row i, because
        they may be positives in truth. With one positive per row only, which always stays.
    guide_margin : float, default 0.0
        μ of the guide: how much less alike than the positive a negative has to be.
    guide_margin_strategy : {"absolute", "relative"}, default "absolute"
        What the margin is of: leave out :math:`c_{ij} > c_{i t_i} - \mu`, or
        :math:`c_{ij} > (1 - \mu) c_{i t_i}`.
    label_smoothing : float, default 0.0
        ε in [0, 1]: (1 - ε) ℓ_i + ε (log-sum-exp - mean of the scores that are in it).
    tau_plus : float, default 0.0
        τ in [0, 1), the share of positives among what is taken for negatives, which their sum is
        corrected for: it becomes :math:`\max\bigl((\sum_{j \ne t} e^{S_{ij}} - N \tau
        e^{S_{it}}) / (1 - \tau), N e^{-s}\bigr)` with N = m - 1. With one positive per row only.
    margin : float, default 0.0
        Taken off the product of a positive before scaling, in the log-sum-exp too (CosFace).
    column_logits : array_like, shape (m,), optional
        Added to the scores of each row, the positive's too: -log q_j corrects for rows of y that
        were drawn with probabilities q.
    top_negatives : int, optional
        q: of each row only the q negatives with the largest scores are in the sum, ties in favour
        of the smaller index.
    angular_margin : float, default 0.0
        Added to the angle of a positive, in [0, π] (ArcFace): cos(θ + m) in place of cos θ. Needs
        ``normalize=True``.
    positive_weights : sparse matrix of shape (n, m), or (indptr, indices, data), optional
        Weights of the positives of each row, which are divided by their sum; rows of a compressed
        matrix (CSR), or any sparse matrix of SciPy. Entries that are 0 are no positives, a row
        without any has loss 0 and leaves the mean. Not with `targets` or groups.
    weights : array_like, shape (n,), optional
        Weights of the rows in the mean, none of them negative: loss = Σ w_i ℓ_i / Σ w_i over the
        rows that count.
    temperature, logit_scale : float or array_like of shape (n,)
        Exactly one of them: s = 1 / temperature = logit_scale, positive, one for all rows or one
        for each. `logit_scale` is the multiplier itself, not its logarithm.
    normalize : bool, default False
        Divide each row by its Euclidean length first; gradients go through the division. A zero
        row stays zero and gets a zero gradient.
    grad : bool, default False
        Compute the gradients too.
    grad_rows : array_like, shape (n,), optional
        Weights u: the gradients are those of Σ u_i ℓ_i. None stands for the gradients of the
        loss. Needs ``grad=True``.
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
        columns; both or neither of temperature and logit_scale, or one that is not positive;
        targets out of range, of the wrong length or not integers; more rows in x than in y without
        targets; groups, weights or logits of another length than their rows; weights that are
        all 0; options out of range, or two that exclude each other: several ways of naming
        positives, `margin` and `angular_margin`, `tau_plus` or `false_negative_margin` with several
        positives, with `top_negatives` or with one another, `tau_plus` with `label_smoothing`; a
        guide with any of these, for x or y alone, or of another number of rows than they have, and
        options of a guide without one.

    Notes
    -----
    2nmd flops for the loss and 6nmd more for the gradients; memory is inputs, gradients and a
    few tiles. `top_negatives` begins with a search for nearest neighbours (`knn`), 2nmd more, and
    holds n q of them. What is in a sum is decided by a comparison, through which no gradient goes.

    A guide begins with a search within radii (`radius_neighbors`), at most 2nmg flops more, and
    holds what it finds: 8 bytes for each pair that is left out and up to 64 while they are sought,
    so that a guide that finds few positives nearer than other rows takes memory of order n m.
    Cosines are compared as canonical distances ½‖ĝ − ĥ‖² = 1 − c in float64, strictly: a negative
    whose guide row is that of the positive stays with μ = 0.

    References
    ----------
    van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding (2018).
    Chuang, Robinson, Lin, Torralba and Jegelka, Debiased contrastive learning (2020): `tau_plus`.
    Wang et al., CosFace (2018): `margin`. Deng et al., ArcFace (2019): `angular_margin`.
    Yi et al., Sampling-bias-corrected neural modeling (2019): `column_logits`.
    Solatorio, GISTEmbed (2024): `x_guide` and `y_guide`; `false_negative_margin` for the rows as
    their own guide. `gist_loss` has the whole of that paper's loss.

    Examples
    --------
    >>> import pairtile as pt
    >>> x, y = [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    >>> pt.info_nce(x, y, temperature=1.0).per_row
    array([0.8619948 , 0.55144471])
    >>> pt.info_nce(x, y, x_groups=["a", "b"], y_groups=["a", "b", "a"], temperature=1.0).loss
    0.7067197589...
    """
    scale = scale_of(temperature, logit_scale)
    grouped = x_groups is not None or y_groups is not None
    weighted = positive_weights is not None
    not_together(targets=targets is not None, x_groups=grouped, positive_weights=weighted)
    options = Options.of(
        label_smoothing, false_negative_margin, margin=margin, angular_margin=angular_margin,
        tau_plus=tau_plus, top_negatives=top_negatives,
    )  # fmt: skip
    options.check(normalize=normalize, x_groups=grouped, positive_weights=weighted)
    guide = Guide.of(x_guide, y_guide, guide_margin, guide_margin_strategy)
    options.check_guide(guide, x_groups=grouped, positive_weights=weighted)

    def find(n: int, m: int) -> Positives:
        if weighted:
            return positives.by_weights(positive_weights, n, m)
        found = positives.by_group(x_groups, y_groups, n, m)
        return found or positives.by_target(targets, ignore_index, n, m)

    return _softmax(
        x, y, scale, find, options, column_logits, guide, rows=True, cols=False, weights=weights,
        normalize=normalize, grad=grad, grad_rows=grad_rows,
        workers=workers, check_finite=check_finite, progress=progress,
    )  # fmt: skip


def clip_loss(
    x: Any,
    y: Any,
    *,
    target_offset: int = 0,
    direction: Literal["both", "rows", "columns"] = "both",
    label_smoothing: float = 0.0,
    false_negative_margin: float | None = None,
    x_guide: Any = None,
    y_guide: Any = None,
    guide_margin: float = 0.0,
    guide_margin_strategy: Literal["absolute", "relative"] = "absolute",
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
    r"""CLIP loss: cross-entropy of paired rows in both directions.

    .. math:: \ell_i = \tfrac12 \Bigl(\log \sum_j e^{S_{ij}} + \log \sum_k e^{S_{k t_i}}\Bigr)
              - S_{i t_i}, \quad S = s \, x y^T, \quad t_i = o + i

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        Paired rows, for example of images and of their texts; n = m unless `target_offset` or
        `direction` says otherwise.
    target_offset : int, default 0
        o: row i of x belongs with row o + i of y. Other rows of y than these take part in the
        sums of rows only.
    direction : {"both", "rows", "columns"}, default "both"
        Only one of the two directions: the sum of a row less its positive, or that of a column.
    label_smoothing : float, default 0.0
        As for `info_nce`, in each direction.
    false_negative_margin : float, optional
        As for `info_nce`; the sum of a column leaves out negatives by the column's own positive.
    x_guide, y_guide, guide_margin, guide_margin_strategy
        As for `info_nce`; the sum of column t_i leaves out rows k with
        :math:`c_{k t_i} > c_{i t_i} - \mu`, or the share of it.
    weights, temperature, logit_scale, normalize, grad, grad_rows, workers, check_finite, progress
        As for `info_nce`.

    Returns
    -------
    ContrastiveResult
        With `per_row` = ℓ, `loss` its mean, `lse_row`, `lse_col`, and with ``grad=True`` the
        gradients. The log-sum-exps of a direction that was not asked for are None.

    Raises
    ------
    TypeError, ValueError
        As `info_nce`, and for rows of x without a partner in y.

    Notes
    -----
    2nmd flops for the loss and 6nmd more for the gradients; memory is inputs, gradients and a
    few tiles. A guide begins with a search for each direction, as `info_nce` describes it.

    References
    ----------
    Radford et al., Learning transferable visual models from natural language supervision (2021).
    Solatorio, GISTEmbed (2024): `x_guide` and `y_guide`.

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[1.0, 0.0], [0.0, 1.0]]
    >>> pt.clip_loss(x, x, temperature=1.0).per_row
    array([0.31326169, 0.31326169])
    """
    scale = scale_of(temperature, logit_scale)
    scalars.choice("direction", direction, ("both", "rows", "columns"))
    options = Options.of(label_smoothing, false_negative_margin)
    guide = Guide.of(x_guide, y_guide, guide_margin, guide_margin_strategy)
    options.check_guide(guide)
    return _softmax(
        x, y, scale, lambda n, m: positives.paired(n, m, target_offset), options, None, guide,
        rows=direction != "columns", cols=direction != "rows", weights=weights,
        normalize=normalize, grad=grad, grad_rows=grad_rows,
        workers=workers, check_finite=check_finite, progress=progress,
    )  # fmt: skip


def _logits(values: Any) -> NDArray[np.float64] | None:
    given = validate.host(values, "column_logits")
    if given.ndim != 1 or not len(given):
        raise ValueError(f"column_logits must have one entry per row of y, got {given.shape}")
    return validate.weights("column_logits", given, len(given), signed=True)


def _maybe(read: Callable[[str, Any], Number], name: str, value: Any) -> Number | None:
    return None if value is None else read(name, value)


@dataclass(frozen=True)
class Options:
    """What changes the scores of positives, or which scores are in the sums."""

    label_smoothing: float
    false_negative_margin: float | None
    margin: float
    angular_margin: float
    tau_plus: float
    top_negatives: int | None

    @staticmethod
    def of(
        label_smoothing: Any,
        false_negative_margin: Any,
        *,
        margin: Any = 0.0,
        angular_margin: Any = 0.0,
        tau_plus: Any = 0.0,
        top_negatives: Any = None,
    ) -> Options:
        """As they were given, each by itself checked."""
        return Options(
            scalars.real("label_smoothing", label_smoothing, least=0, most=1),
            _maybe(scalars.real, "false_negative_margin", false_negative_margin),
            scalars.real("margin", margin),
            scalars.real("angular_margin", angular_margin, least=0, most=math.pi),
            scalars.real("tau_plus", tau_plus, least=0),
            _maybe(scalars.count, "top_negatives", top_negatives),
        )

    def check(self, *, normalize: bool, **several: bool) -> None:
        """ValueError naming two options that exclude each other; `several` positives, how."""
        if self.angular_margin and not normalize:
            raise ValueError("angular_margin needs normalize=True")
        not_together(margin=self.margin != 0, angular_margin=self.angular_margin != 0)
        if self.tau_plus >= 1:
            raise ValueError(f"tau_plus must be below 1, got {self.tau_plus}")
        others = {
            **several,
            "top_negatives": self.top_negatives is not None,
            "label_smoothing": self.label_smoothing > 0,
        }
        if self.tau_plus:
            for name, used in others.items():
                not_together(tau_plus=True, **{name: used})
        if self.false_negative_margin is not None:
            others["tau_plus"] = self.tau_plus > 0
            del others["label_smoothing"]
            for name, used in others.items():
                not_together(false_negative_margin=True, **{name: used})

    def check_guide(self, guide: Guide | None, **several: bool) -> None:
        """ValueError naming what a guide excludes."""
        others = {
            **several,
            "top_negatives": self.top_negatives is not None,
            "tau_plus": self.tau_plus > 0,
            "false_negative_margin": self.false_negative_margin is not None,
        }
        for name, used in others.items():
            not_together(x_guide=guide is not None, **{name: used})

    def seam(self) -> dict[str, Any]:
        """Options of the seam, those that depend on the rows left out."""
        return {
            "margin": self.margin,
            "angular_margin": self.angular_margin,
            "label_smoothing": self.label_smoothing,
            "false_negative_margin": self.false_negative_margin,
            "tau_plus": self.tau_plus,
        }


def _masked(
    guide: Guide | None, found: Positives, reports: list[Any], *, rows: bool, cols: bool
) -> dict[str, Any]:
    """Options of the seam: the pairs that the guide takes out of the sums."""
    pairs: dict[str, Any] = {}
    if guide is None:
        return pairs
    assert found.targets is not None
    if rows:
        pairs["row_masked"] = guide.of_rows(found.targets, reports[0])
    if cols:
        pairs["col_masked"] = guide.of_columns(found.targets, reports[rows])
    return pairs


def _softmax(
    x: Any,
    y: Any,
    scale: Scale,
    find: Callable[[int, int], Positives],
    options: Options,
    column_logits: Any,
    guide: Guide | None,
    *,
    rows: bool,
    cols: bool,
    progress: Any,
    **common: Any,
) -> ContrastiveResult:
    logits = None
    if column_logits is not None:
        logits = _logits(column_logits)
    largest = abs(options.margin) + (0.0 if logits is None else float(np.abs(logits).max()))
    given = asked({"x": x, "y": y}, beyond=scale.beyond_float32(largest), **common)
    a, b = given.sets
    n, m = len(a), len(b)
    scale.fits(n, "x")
    if logits is not None and logits.shape != (m,):
        raise ValueError(
            f"column_logits must have shape ({m},), one per row of y, got {logits.shape}"
        )
    found = find(n, m)
    mean = given.mean(found.counts)
    # what all logits share is left out, so that it costs no digits; the floor of tau_plus knows it
    shared = 0.0 if logits is None or options.tau_plus else logits.max() / 2 + logits.min() / 2
    kept: tuple[Any, Any] = (None, None)
    q = options.top_negatives
    some = q is not None and q < m  # else all of them
    if guide is not None:
        guide = guide.read(n, m, check_finite=common["check_finite"], workers=given.workers)
    searches = some if guide is None else rows + cols
    with reporting(progress, *([n * m] * searches), n * m) as reports:
        masked = _masked(guide, found, reports, rows=rows, cols=cols)
        if q is not None and some:
            kept = positives.largest_negatives(
                a, b, q, found,
                scales=scale.value if scale.by_row is None else scale.by_row,
                column_logits=logits, normalize=given.normalize, workers=given.workers,
                progress=reports[0],
            )  # fmt: skip
        per_row, lse_row, lse_col, grad_x, grad_y, grad_scale = choose.module(
            a, b
        ).softmax_losses(
            a, b, scale.value,
            SoftmaxOptions(
                **found.seam(), **masked, **options.seam(), rows=rows, cols=cols, kept=kept,
                column_logits=None if logits is None else logits - shared,
            ),
            row_scales=scale.by_row, **given.seam(mean),
            grad_x=given.wants("x"), grad_y=given.wants("y"), progress=reports[-1],
        )  # fmt: skip
    if shared:
        lse_row = lse_row + shared
    return given.result(
        mean, per_row, lse_row=lse_row, lse_col=lse_col,
        grad_x=grad_x, grad_y=grad_y, grad_scale=grad_scale,
    )  # fmt: skip
