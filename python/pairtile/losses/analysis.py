"""What is looked at after training, without the matrix of similarities: one sweep over pairs each.

similarity_histogram   rows with labels -> counts of pairs by cosine similarity
retrieval_metrics      rows with targets -> ranks, both ways -> recall, MRR, mAP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile.losses import labels as names
from pairtile.losses import positives

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Retrieval", "SimilarityHistogram", "retrieval_metrics", "similarity_histogram"]


class _SimilarityHistogram(NamedTuple):
    edges: Floats
    same: Ints
    different: Ints


class SimilarityHistogram(Result, _SimilarityHistogram):
    """How many pairs of rows have which cosine similarity.

    Attributes
    ----------
    edges : (bins + 1,) array of float64
        From -1 to 1, evenly spaced.
    same : (C, bins) array of int64
        Pairs of rows of one class, class by class in the order of ``np.unique(labels)``.
    different : (bins,) array of int64
        Pairs of rows of two classes.
    """


class _Retrieval(NamedTuple):
    recall: dict[int, tuple[float, float]]
    mrr: tuple[float, float]
    map: tuple[float, float]


class Retrieval(Result, _Retrieval):
    """How well rows find what belongs to them; each pair is for x in y, and for y in x.

    Attributes
    ----------
    recall : dict
        From k to the shares of rows that have a positive among the first k.
    mrr : (float, float)
        Mean of one over the rank of the first positive.
    map : (float, float)
        Mean of the average precision, which is the mean of m over the rank of the m-th positive.
    """


def similarity_histogram(
    x: ArrayLike,
    labels: ArrayLike,
    *,
    bins: int = 200,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> SimilarityHistogram:
    r"""Histogram of the cosine similarities of all pairs of rows, by class.

    Parameters
    ----------
    x : array_like, shape (n, d)
        Embeddings, of any length.
    labels : array_like of int or str, shape (n,)
        The class of each row.
    bins : int, default 200
        Number of bins between -1 and 1. As in ``np.histogram``, a bin holds its lower edge and not
        its upper one, but for the last, which holds both.
    workers : int, optional
        Number of threads; None and -1 are all allowed cores. The result does not depend on it.
    check_finite : bool, default True
        Look for NaN and Inf first.
    progress : bool or callable(done, total), default False
        Show a bar, or be called now and then.

    Returns
    -------
    SimilarityHistogram
        ``edges, same, different``: each of the n(n - 1)/2 pairs i < j is counted once.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, 2-D, not empty and finite; for labels of another
        length than x, or that are neither integers nor strings; for less than one bin.

    Notes
    -----
    n²d flops; memory is inputs, counts and a few tiles, never n x n. Counts are exact: those of
    the similarity 1 - d, with d the canonical float64 cosine distance of `knn`, at most 1 and at
    least -1. A zero row has similarity 0 to every other row.

    From the counts follow error rates at any threshold: the share of ``different`` above it is the
    false acceptance rate, that of ``same`` below it the false rejection rate.

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]]
    >>> edges, same, different = pt.similarity_histogram(x, ["a", "a", "b"], bins=4)
    >>> same.tolist(), different.tolist()
    ([[0, 0, 0, 1], [0, 0, 0, 0]], [2, 0, 0, 0])
    """
    bins = scalars.count("bins", bins)
    n_workers = resolve_workers(workers)
    a = validate.matrix("x", x, check_finite=check_finite, workers=n_workers)
    n = len(a)
    (codes,) = names.numbered(("labels", labels, "x", n))
    edges = np.linspace(-1.0, 1.0, bins + 1)
    with reporting(progress, n * n) as (report,):
        same, different = choose.module(a).distance_histogram(
            a, "cosine", codes, int(codes.max()) + 1, _distances_of(edges[1:-1])[::-1].copy(),
            workers=n_workers, progress=report,
        )  # fmt: skip
    to_user = validate.like(x)
    # the nearest come first in bins of distances, and last in those of similarities
    same, different = (
        np.ascontiguousarray(validate.host(counts)[..., ::-1]) for counts in (same, different)
    )
    return SimilarityHistogram(to_user(edges), to_user(same), to_user(different))


def _distances_of(similarities: Floats) -> Floats:
    """The largest distance d >= 0 of which 1 - d, rounded, is at least each similarity."""
    # non-negative numbers are ordered as their bits are
    low = np.zeros(len(similarities), dtype=np.int64)  # 1 - 0 is
    high = np.full(len(similarities), 4.0).view(np.int64)  # 1 - 4 is not
    while (high - low > 1).any():
        middle = low + (high - low) // 2
        enough = 1.0 - middle.view(np.float64) >= similarities
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return low.view(np.float64)


def retrieval_metrics(
    x: ArrayLike,
    y: ArrayLike,
    *,
    k: int | Sequence[int] = (1, 5, 10),
    targets: ArrayLike | None = None,
    normalize: bool = False,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> Retrieval:
    r"""Recall, mean reciprocal rank and mean average precision, of x in y and of y in x.

    Row i of x belongs to row t_i of y, and to no other. Rows are ranked by their inner product,
    largest first, equal ones by index.

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        Embeddings, for example of texts and of images.
    k : int or sequence of int, default (1, 5, 10)
        For recall: how far down the ranking a positive may be.
    targets : array_like of int, shape (n,), optional
        t. Several rows of x may have one target, as the captions of an image have. None pairs row
        i with row i.
    normalize : bool, default False
        Rank by the cosine instead, as inner products of rows of length 1 do. A zero row has cosine
        0 with every row.
    workers, check_finite, progress
        As for `similarity_histogram`.

    Returns
    -------
    Retrieval
        ``recall, mrr, map``. A row of x has one positive, so that its average precision is its
        reciprocal rank. A row of y has as many as there are rows of x with it as their target:
        recall and MRR are of the first of them, and rows of y without any are left out.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, 2-D, not empty and finite; for different numbers of
        columns; targets out of range, of the wrong length or not integers; more rows in x than in
        y without targets; k that is not at least 1.

    Notes
    -----
    2nmd flops, in one sweep for both directions; memory is inputs, ranks and a few tiles, never
    n x m. Ranks are exact: those of the canonical float64 inner products of `knn`.

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]
    >>> found = pt.retrieval_metrics(x, [[1.0, 0.1], [0.2, 0.9], [0.1, 1.0]], k=(1, 2))
    >>> found.recall
    {1: (0.6666666666666666, 0.6666666666666666), 2: (1.0, 1.0)}
    """
    many = k if np.ndim(k) else [k]
    ks = [scalars.count("k", one) for one in many]  # type: ignore[union-attr]
    if not ks:
        raise ValueError("k is an empty sequence; give at least one number of ranks")
    n_workers = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=n_workers)
    n, m = len(a), len(b)
    of = positives.by_target(targets, None, n, m).targets
    assert of is not None
    with reporting(progress, n * m) as (report,):
        among_y, among_x = choose.module(a, b).pair_ranks(
            a, b, "cosine" if normalize else "inner_product", of,
            workers=n_workers, progress=report,
        )  # fmt: skip
    among_y, among_x = validate.host(among_y), validate.host(among_x)
    first, precision = _by_target(of, among_x)
    return Retrieval(
        {one: (_mean(among_y <= one), _mean(first <= one)) for one in ks},
        (_mean(1 / among_y), _mean(1 / first)),
        (_mean(1 / among_y), _mean(precision)),
    )


def _mean(values: Any) -> float:
    return float(np.mean(values))


def _by_target(targets: Ints, ranks: Ints) -> tuple[Ints, Floats]:
    """Of each target that somebody has, the first rank and the average precision."""
    order = np.lexsort((ranks, targets))
    targets, ranks = targets[order], ranks[order]
    starts = np.flatnonzero(np.concatenate([[True], targets[1:] != targets[:-1]]))
    number = np.diff(np.append(starts, len(targets)))
    position = np.arange(len(targets)) - np.repeat(starts, number) + 1
    return ranks[starts], np.add.reduceat(position / ranks, starts) / number
