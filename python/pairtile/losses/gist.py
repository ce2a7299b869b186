"""GIST: anchors against positives, anchors and negatives, without what a guide finds alike.

    guide -> pairs that leave the sums -> states of three blocks of pairs, merged: losses
    -> the blocks once more: gradients

A block is n rows against others, anchors against positives and negatives, or rows among themselves,
anchors or positives, each pair of which is computed once for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.softmax import SoftmaxOptions, SoftmaxSides
from pairtile._front import validate
from pairtile._front.progress import reporting
from pairtile.losses import positives, states
from pairtile.losses.guide import Guide
from pairtile.losses.logits import ContrastiveResult, asked, scale_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pairtile._front.progress import Report
    from pairtile.losses.guide import Pairs
    from pairtile.losses.logits import Asked, Mean, Scale

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["gist_loss"]


def gist_loss(
    x: Any,
    y: Any,
    *,
    x_guide: Any,
    y_guide: Any,
    guide_margin: float = 0.0,
    guide_margin_strategy: Literal["absolute", "relative"] = "absolute",
    contrast_anchors: bool = True,
    contrast_positives: bool = True,
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
    r"""GIST loss: cross-entropy of paired rows, without the negatives that a guide finds alike.

    .. math:: \ell_i = \log \Bigl(\sum_{j \notin F_i} e^{s \, x_i \cdot y_j} +
              \sum_{k \notin F'_i} e^{s \, x_i \cdot x_k} +
              \sum_{k \notin F''_i} e^{s \, y_i \cdot y_k}\Bigr) - s \, x_i \cdot y_i

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        Anchors, and their positives: row i of y is that of row i of x. Rows of y from n on are
        hard negatives of every anchor.
    x_guide, y_guide : array_like, shapes (n, g) and (m, g)
        Rows of the guide, another model, for those of x and of y. With c the cosine of two of its
        rows, F_i are the j ≠ i with :math:`c(x_i, y_j) > c(x_i, y_i) - \mu`, F'_i the k with
        :math:`c(x_i, x_k)` and F''_i those with :math:`c(y_i, y_k)` above the same, each with i
        itself.
    guide_margin : float, default 0.0
        μ: how much less alike than anchor and positive a negative has to be.
    guide_margin_strategy : {"absolute", "relative"}, default "absolute"
        What the margin is of: leave out what is above :math:`c(x_i, y_i) - \mu`, or above
        :math:`(1 - \mu) c(x_i, y_i)`.
    contrast_anchors, contrast_positives : bool, default True
        Whether the second sum is there, of other anchors, and the third, of other positives.
    weights, temperature, logit_scale, normalize, grad, grad_rows, workers, check_finite, progress
        As for `info_nce`.

    Returns
    -------
    ContrastiveResult
        With `per_row` = ℓ, `loss` its mean, `lse_row` the logarithm of all three sums together,
        and with ``grad=True`` the gradients.

    Raises
    ------
    TypeError, ValueError
        As `info_nce`, for more rows in x than in y, and for a guide that is missing or has another
        number of rows than x and y.

    Notes
    -----
    2(nm + n²)d flops for the loss, of other anchors and positives each pair once, and three times
    as many more for the gradients, after searches within radii in nm + 2n² pairs of the guide's
    rows; twice the n² where each row has a temperature. Memory is inputs, gradients, a few tiles
    and what the guide leaves out: 8 bytes for each of these pairs and up to 64 while they are
    sought. They are constants for the gradients. Cosines of the guide are compared as canonical
    distances 1 − c in float64, strictly, as `info_nce` has it.

    References
    ----------
    Solatorio, GISTEmbed: Guided in-sample selection of training negatives for text embedding
    fine-tuning (2024). `GISTEmbedLoss` and `CachedGISTEmbedLoss` of sentence-transformers, whose
    cosines are those of ``normalize=True``.

    Examples
    --------
    >>> import pairtile as pt
    >>> x, y = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [[1.0, 0.2], [0.1, 1.0], [1.0, 0.8]]
    >>> alike = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]  # the guide: rows 0 and 2 mean the same
    >>> guided = pt.gist_loss(x, y, x_guide=alike, y_guide=alike, guide_margin=0.1, temperature=1.0)
    >>> guided.per_row
    array([0.82023541, 1.61688251, 0.85547176])
    """
    scale = scale_of(temperature, logit_scale)
    guide = Guide.of(x_guide, y_guide, guide_margin, guide_margin_strategy)
    if guide is None:
        raise ValueError("gist_loss needs x_guide and y_guide; without a guide it is info_nce")
    given = asked(
        {"x": x, "y": y}, beyond=scale.beyond_float32(), weights=weights, normalize=normalize,
        grad=grad, grad_rows=grad_rows, workers=workers, check_finite=check_finite,
    )  # fmt: skip
    # rows of x meet others of x, in the type that both sets work in
    dtype = validate.working_dtype(*given.sets)
    sets = tuple(
        rows if validate.working_dtype(rows) == dtype else validate.narrowed(rows, dtype)
        for rows in given.sets
    )
    n, m = (len(rows) for rows in sets)
    scale.fits(n, "x")
    found = positives.paired(n, m)
    guide = guide.read(n, m, check_finite=check_finite, workers=given.workers)
    mean = given.mean(found.counts)
    sizes = [n * m, *[n * n] * (bool(contrast_anchors) + bool(contrast_positives))]
    with reporting(progress, *sizes * (2 + given.grad)) as reports:
        next_report = iter(reports).__next__
        blocks = list(
            _blocks(
                sets, guide, found.targets, next_report,
                anchors=contrast_anchors, positives=contrast_positives,
            )
        )  # fmt: skip
        of_rows = _states(blocks, scale, given, next_report)
        per_row = states.losses(of_rows, 0.0)
        gradients = (None, None, None)
        if given.grad:
            gradients = _gradients(blocks, scale, given, mean, of_rows, next_report)
    return given.result(
        mean, per_row, lse_row=states.log_sums(of_rows),
        grad_x=gradients[0], grad_y=gradients[1], grad_scale=gradients[2],
    )  # fmt: skip


class _Block(NamedTuple):
    """Pairs of n rows with others, or among themselves; `sides` are of which set these are."""

    rows: Any
    others: Any
    sides: tuple[str, ...]
    targets: Ints
    masked: Pairs

    def alone(self, scale: Scale) -> bool:
        """Whether each pair is computed once for both its rows."""
        return len(self.sides) == 1 and scale.by_row is None

    def seam(self, scale: Scale, given: Asked) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of the seam, by position and by name."""
        options = SoftmaxOptions(targets=self.targets, row_masked=self.masked)
        return (self.rows, self.others, scale.value, options), {
            "row_scales": scale.by_row, "normalize": given.normalize,
            "itself": self.alone(scale), "workers": given.workers,
        }  # fmt: skip


def _blocks(
    sets: tuple[Any, ...],
    guide: Guide,
    targets: Ints | None,
    report: Callable[[], Report | None],
    *,
    anchors: bool,
    positives: bool,
) -> Iterator[_Block]:
    assert targets is not None
    x, y = sets
    n = len(x)
    own, of_own = (a if len(a) == n else a[:n] for a in (y, guide.y))
    nothing = np.full(n, -1)
    radii = guide.radii(targets)
    yield _Block(x, y, ("x", "y"), targets, guide.near(guide.x, guide.y, radii, report()))
    if anchors:
        masked = guide.near(guide.x, guide.x, radii, report(), itself=True)
        yield _Block(x, x, ("x",), nothing, masked)
    if positives:
        masked = guide.near(of_own, of_own, radii, report(), itself=True)
        yield _Block(own, own, ("y",), nothing, masked)


def _states(
    blocks: list[_Block], scale: Scale, given: Asked, report: Callable[[], Report | None]
) -> Floats:
    found = np.tile(states.EMPTY, (len(blocks[0].rows), 1))
    for block in blocks:
        told, common = block.seam(scale, given)
        more, _, _ = choose.module(block.rows, block.others).softmax_states(
            *told, **common, progress=report()
        )
        found = states.merged(found, more)
    return found


def _gradients(
    blocks: list[_Block],
    scale: Scale,
    given: Asked,
    mean: Mean,
    of_rows: Floats,
    report: Callable[[], Report | None],
) -> tuple[Any, Any, Any]:
    """By x, by y and by the scale: what each block adds to them."""
    upstream = given.seam(mean)["row_upstream"]
    sums: dict[str, Any] = {"x": None, "y": None}
    by_scale = 0.0
    for block in blocks:
        told, common = block.seam(scale, given)
        *found, of_scale = choose.module(block.rows, block.others).softmax_gradients(
            *told, SoftmaxSides(of_rows, upstream), **common,
            grad_x=given.wants(block.sides[0]), grad_y=given.wants(block.sides[-1]),
            progress=report(),
        )  # fmt: skip
        for side, gradient in zip((block.sides[0], block.sides[-1]), found, strict=True):
            if gradient is None:
                continue
            if sums[side] is None:
                sums[side] = gradient
            else:  # of some of its rows
                sums[side][: len(gradient)] += gradient
        by_scale = by_scale + of_scale
    return sums["x"], sums["y"], by_scale
