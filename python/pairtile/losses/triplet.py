"""Triplet losses: the anchor's positive is to be nearer than its negative, by a margin.

    labels -> who has both sides -> triplets, a part at a time -> losses -> pulls -> gradient

Triplets come from canonical distances, by searches of neighbours: the hardest from two, semi-hard
ones from one for some lists of positives. A gradient is a sum of pulls w (z_i - z_j) along the
pairs of the triplets, both of whose rows it reaches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.metrics import normalised
from pairtile._definitions.normalisation import through_normalisation
from pairtile._front import scalars, validate, words
from pairtile._front.progress import reporting
from pairtile.losses import labels as names
from pairtile.losses.logits import ContrastiveResult, asked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["triplet_loss"]

_METRICS = ("euclidean", "sqeuclidean", "cosine")
_TOGETHER = 256  # rows of classes that are searched in one call, or of one that has more
_LISTED = 1 << 19  # positives of anchors that are searched beyond in one call
_TRIPLETS = 1 << 17  # whose losses and pulls are held at once
_ROWS = 1024  # that go through the normalisation at once


def triplet_loss(
    x: Any,
    labels: Any,
    *,
    margin: float = 0.2,
    mining: Literal["batch_hard", "semi_hard"] = "batch_hard",
    metric: Literal["euclidean", "sqeuclidean", "cosine"] = "euclidean",
    soft: bool = False,
    weights: Any = None,
    normalize: bool = False,
    grad: bool = False,
    grad_rows: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> ContrastiveResult:
    r"""Triplet loss of rows with labels, with the triplets mined from the rows themselves.

    .. math:: \ell_i = \max(0,\, d_{ip} - d_{in} + m), \quad
              p = \arg\max_{l_j = l_i, j \ne i} d_{ij}, \quad n = \arg\min_{l_j \ne l_i} d_{ij}

    Parameters
    ----------
    x : array_like, shape (n, d)
        The rows, each of them an anchor.
    labels : array_like of int or str, shape (n,)
        Which rows belong together.
    margin : float, default 0.2
        m. Not used with `soft`.
    mining : {"batch_hard", "semi_hard"}, default "batch_hard"
        "batch_hard" takes of each anchor the farthest positive and the nearest negative.
        "semi_hard" takes each positive of the anchor in turn, with the nearest negative that is
        farther than it, or the farthest negative where none is; ℓ is then the mean over the
        positives.
    metric : {"euclidean", "sqeuclidean", "cosine"}, default "euclidean"
        d: the distance, its square, or half the square between rows of length 1, which is one
        less the cosine.
    soft : bool, default False
        :math:`\log(1 + e^{d_{ip} - d_{in}})` in place of the hinge.
    weights, grad, grad_rows, workers, check_finite, progress
        As for `info_nce`.
    normalize : bool, default False
        Divide each row by its Euclidean length first; gradients go through the division. A zero
        row stays zero and gets a zero gradient. "cosine" does that anyhow.

    Returns
    -------
    ContrastiveResult
        With `per_row` = ℓ, `loss` its mean over the anchors that have a positive and a negative,
        and with ``grad=True`` `grad_x`. The other anchors have ℓ = 0.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, 2-D, not empty and finite; for labels of another
        length than x, or that are neither integers nor strings; for an unknown mining or metric.

    Notes
    -----
    Distances are compared by their canonical float64 values, as in `knn`, equal ones by index, so
    that the same triplets are found everywhere. "batch_hard" takes n²d flops for the negatives and
    2c²d for the positives of a class of c rows, and O(n d) for the gradient. "semi_hard" takes 2n²d
    flops, a search among the anchor's positives for each pair, and O(d) for each pair of an anchor
    and a positive, in its gradient too. Neither holds more than tiles of distances and a part of
    the triplets. The gradient of a distance of 0 is 0. On a GPU "batch_hard" finds its triplets
    there; those of "semi_hard", losses and gradients are computed on the host.

    References
    ----------
    Hermans, Beyer and Leibe, In defense of the triplet loss for person re-identification (2017):
    batch-hard, soft margin. Schroff, Kalenichenko and Philbin, FaceNet (2015): semi-hard.

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[0.0], [1.0], [1.5], [4.0]]
    >>> pt.triplet_loss(x, [0, 0, 1, 1], margin=1.0).per_row
    array([0.5, 1.5, 3. , 0.5])
    """
    margin = scalars.real("margin", margin)
    scalars.choice("mining", mining, ("batch_hard", "semi_hard"))
    measured_by = scalars.choice("metric", metric, _METRICS, words.METRICS)
    if not isinstance(soft, (bool, np.bool_)):
        raise TypeError(f"soft must be True or False, got {soft!r}")
    given = asked(
        {"x": x}, weights=weights, normalize=normalize, grad=grad, grad_rows=grad_rows,
        workers=workers, check_finite=check_finite,
    )  # fmt: skip
    (a,) = given.sets
    n, d = a.shape
    (codes,) = names.numbered(("labels", labels, "x", n))
    sizes = np.bincount(codes)
    counts = (sizes[codes] > 1) & (sizes[codes] < n)
    mean = given.mean(counts)
    upstream = given.seam(mean)["row_upstream"]
    rows, a = a, validate.host(a) if not validate.in_host_memory(a) else a
    measured = _Measured.of(a, measured_by, given.normalize).searched_as(rows, a)
    gradient = None
    if given.grad:
        # one sum of each row's pulls, or a sum of such sums
        whole = mining == "batch_hard" or int((sizes[codes] - 1)[counts].sum()) <= _TRIPLETS
        gradient = np.zeros((n, d), given.dtype if whole else np.float64)
    per_row = np.zeros(n)
    mine = _hardest if mining == "batch_hard" else _semi_hard
    for part in mine(measured, codes, counts, given.workers, progress):
        losses, slopes = _losses(part, float(margin), bool(soft))
        _add(per_row, part.anchor, losses * part.share)
        if gradient is not None:
            slopes = slopes * part.share * upstream[part.anchor]
            _pull(gradient, measured, part, slopes, given.workers)
    if gradient is not None and measured.unit:
        for start in range(0, n, _ROWS):
            rows = slice(start, start + _ROWS)
            raw = np.ascontiguousarray(a[rows], dtype=np.float64)
            gradient[rows] = through_normalisation(raw, gradient[rows].astype(np.float64))
    return given.result(mean, per_row, grad_x=gradient)


@dataclass(frozen=True)
class _Measured:
    """Rows as they are searched, and how ordered values of pairs become distances."""

    searched: Any  # an array of an engine dtype
    metric: str  # of the search
    unit: bool  # distances are of rows divided by their lengths
    rows: Any
    lengths: Floats | None  # of the rows, to divide by
    factor: float  # from an ordered value to a squared distance, or to the distance
    root: bool
    slope: float  # of a square, in units of the difference of the rows
    size: float  # what the rows are in units of, of a square its square

    @staticmethod
    def of(a: Any, metric: str, normalize: bool) -> _Measured:
        root, slope = metric == "euclidean", 1.0 if metric == "cosine" else 2.0
        if metric != "cosine" and not normalize:
            (rows,), size = validate.near_one(a)
            slope *= size
            size *= 1.0 if root else size
            return _Measured(rows, "sqeuclidean", False, rows, None, 1.0, root, slope, size)
        lengths = _lengths(a)
        if metric == "cosine" or lengths.all():
            # half the squared distance of unit rows, which are never stored
            factor = 1.0 if metric == "cosine" else 2.0
            return _Measured(a, "cosine", True, a, lengths, factor, root, slope, 1.0)
        unit = normalised(np.ascontiguousarray(a, dtype=np.float64))
        return _Measured(unit, "sqeuclidean", True, a, lengths, 1.0, root, slope, 1.0)

    def searched_as(self, given: Any, host: Any) -> _Measured:
        """The same, searched where the rows were given, of which `host` is a copy."""
        if given is host:
            return self
        if self.searched is host:
            return replace(self, searched=given)
        return replace(self, searched=validate.like(given)(self.searched))

    def distances(self, ordered: Floats) -> tuple[Floats, Floats]:
        """Distances, and what the difference of two rows is multiplied with in their gradients."""
        squares = self.factor * ordered
        if not self.root:
            return self.size * squares, np.full(squares.shape, self.slope)
        lengths = np.sqrt(squares)
        return self.size * lengths, np.where(lengths > 0, 1 / np.where(lengths > 0, lengths, 1), 0)


def _lengths(a: Any) -> Floats:
    """Euclidean lengths of rows of any size."""
    lengths = np.empty(len(a))
    for start in range(0, len(a), _ROWS):
        some = np.abs(a[start : start + _ROWS].astype(np.float64))
        largest = some.max(axis=1)
        some /= np.where(largest > 0, largest, 1.0)[:, None]
        lengths[start : start + _ROWS] = largest * np.sqrt(np.einsum("ij,ij->i", some, some))
    return lengths


class _Triplets(NamedTuple):
    """Some triplets: rows, what their two distances are, and each one's share of the anchor's."""

    anchor: Ints
    positive: Ints
    negative: Ints
    to_positive: Floats
    to_negative: Floats
    pull_positive: Floats  # see `_Measured.distances`
    pull_negative: Floats
    share: Floats


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def _triplets(
    measured: _Measured,
    anchor: Ints,
    positive: Ints,
    negative: Ints,
    ordered_positive: Floats,
    ordered_negative: Floats,
    share: Floats,
) -> _Triplets:
    near, pull_near = measured.distances(ordered_positive)
    far, pull_far = measured.distances(ordered_negative)
    return _Triplets(anchor, positive, negative, near, far, pull_near, pull_far, share)


def _hardest(
    measured: _Measured, codes: Ints, counts: NDArray[np.bool_], workers: int, progress: Any
) -> Iterator[_Triplets]:
    """The farthest positive and the nearest negative of each anchor that has both."""
    anchors = np.flatnonzero(counts)
    if not len(anchors):
        return
    a, n = measured.searched, len(codes)
    module = choose.module(a)
    classes = list(_classes(codes))
    with reporting(progress, n * n, *(len(rows) ** 2 for rows in classes)) as (report, *others):
        far, negative = module.knn(
            a, None, 1, measured.metric, dtype="ordered", precision="default",
            query_groups=codes, reference_groups=codes, group_rule="different",
            workers=workers, progress=report,
        )  # fmt: skip
        far, negative = validate.host(far), validate.host(negative)
        near, positive = np.full(n, np.nan), np.full(n, -1, dtype=np.int64)
        for rows, report in zip(classes, others, strict=True):
            values, found = module.farthest_of_group(
                validate.taken(a, rows), measured.metric, codes[rows],
                workers=workers, progress=report,
            )  # fmt: skip
            values, found = validate.host(values), validate.host(found)
            near[rows] = values
            positive[rows] = np.where(found < 0, -1, rows[found])
    yield _triplets(
        measured, anchors, positive[anchors], negative[anchors, 0],
        near[anchors], far[anchors, 0], np.ones(len(anchors)),
    )  # fmt: skip


def _classes(codes: Ints) -> Iterator[Ints]:
    """Rows in classes of two and more, several small ones together, in ascending order in each."""
    order = np.argsort(codes, kind="stable").astype(np.int64)
    sizes = np.bincount(codes)
    order = order[sizes[codes[order]] > 1]
    sizes = sizes[sizes > 1]
    start, end = 0, 0
    for size in sizes:
        end += int(size)
        if end - start >= _TOGETHER:
            yield order[start:end]
            start = end
    if end > start:
        yield order[start:end]


def _semi_hard(
    measured: _Measured, codes: Ints, counts: NDArray[np.bool_], workers: int, progress: Any
) -> Iterator[_Triplets]:
    """Each anchor with each of its positives, and the negative next beyond that."""
    a, n = measured.searched, len(codes)
    module: ModuleType = choose.module(a)
    order = np.argsort(codes, kind="stable").astype(np.int64)
    sizes = np.bincount(codes)
    first = np.cumsum(sizes) - sizes  # of each class in that order
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    parts = list(_together(np.flatnonzero(counts).astype(np.int64), sizes[codes] - 1, _LISTED))
    with reporting(progress, *(len(some) * n for some in parts)) as reports:
        for anchors, report in zip(parts, reports, strict=True):
            number = sizes[codes[anchors]] - 1
            indptr = np.insert(np.cumsum(number), 0, 0).astype(np.int64)
            at = np.repeat(first[codes[anchors]] - indptr[:-1], number) + np.arange(indptr[-1])
            at += at >= np.repeat(place[anchors], number)  # all of the class but the anchor
            positive = order[at]
            near, far, negative = module.next_beyond(
                a, measured.metric, codes, anchors, indptr, positive,
                workers=workers, progress=report,
            )  # fmt: skip
            for some in _together(np.arange(len(anchors)), number, _TRIPLETS):
                these = slice(indptr[some[0]], indptr[some[-1] + 1])
                yield _triplets(
                    measured, np.repeat(anchors[some], number[some]), positive[these],
                    negative[these], near[these], far[these],
                    np.repeat(1 / number[some], number[some]),
                )  # fmt: skip


def _together(anchors: Ints, number: Ints, most: int) -> Iterator[Ints]:
    """Anchors in runs with about so many positives, `number` of each row, or of one with more."""
    if not len(anchors):
        return
    ends = np.cumsum(number[anchors])
    cuts = np.searchsorted(ends, np.arange(most, ends[-1], most), side="right")
    yield from (some for some in np.split(anchors, np.unique(cuts)) if len(some))


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def _losses(part: _Triplets, margin: float, soft: bool) -> tuple[Floats, Floats]:
    """Losses of triplets, and their derivatives by the distance to the positive."""
    apart = part.to_positive - part.to_negative
    if soft:
        losses = np.logaddexp(0.0, apart)
        return losses, np.exp(apart - losses)
    return np.maximum(apart + margin, 0.0), np.where(apart + margin > 0, 1.0, 0.0)


def _add(out: NDArray[Any], at: Ints, values: Floats) -> None:
    """out[at] += values, entries of one place added to each other first, in their order."""
    order = np.argsort(at, kind="stable")
    ascending = at[order]
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    sums = np.add.reduceat(values[order], starts, axis=0)
    out[ascending[starts]] += sums.astype(out.dtype, copy=False)


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def _pull(
    gradient: NDArray[Any], measured: _Measured, part: _Triplets, slopes: Floats, workers: int
) -> None:
    """Adds slope · ∂(d_ip − d_in) by every row."""
    one = np.concatenate([part.anchor, part.positive, part.anchor, part.negative])
    other = np.concatenate([part.positive, part.anchor, part.negative, part.anchor])
    toward, away = slopes * part.pull_positive, -slopes * part.pull_negative
    weight = np.concatenate([toward, toward, away, away])
    some = (weight != 0) & (one >= 0) & (other >= 0)
    if some.any():
        choose.module(measured.rows).row_pulls(
            measured.rows, measured.lengths, one[some], other[some], weight[some], gradient,
            workers=workers,
        )  # fmt: skip
