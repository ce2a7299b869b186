"""Do synthetic records come nearer to those they were made from than to others: a test for copies.

train, holdout  -> as many rows of each                                  ┐
synthetic       -> distance to the nearest of either, one search for each ┘
-> who is nearer, ties apart -> exact binomial tail
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.metrics import METRICS
from pairtile._front import metrics, scalars, validate
from pairtile._front.binomial import upper_tail
from pairtile._front.categories import coded
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress
    from pairtile._front.words import Metric

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class _ClosestRecord(NamedTuple):
    share_nearer_to_train: float
    pvalue: float
    n: int
    ties: int
    quantiles: NDArray[np.float64]


class ClosestRecord(Result, _ClosestRecord):
    """Whether synthetic records keep nearer to the training records than to others.

    Attributes
    ----------
    share_nearer_to_train : float
        Share of the synthetic records whose nearest record is a training record, ties counting
        half; about 1/2 where training records are no nearer than new ones.
    pvalue : float
        Chance of as many, or more, of the n − ties that are no ties, if either were as likely.
    n : int
        Synthetic records.
    ties : int
        Those as near to a training record as to one held out; they are not in the test.
    quantiles : ndarray of shape (2, 5), float64
        Of the distances to the nearest training record (first row) and to the nearest record held
        out (second row), at .05, .25, .5, .75 and .95.
    """


def _thinned(a: Any, rows: int, rng: np.random.Generator) -> Any:
    """That many rows of a set, in their order."""
    if len(a) == rows:
        return a
    return validate.taken(a, np.sort(rng.permutation(len(a))[:rows]))


def _require_near(name: str, distances: NDArray[np.float64]) -> None:
    """ValueError unless each synthetic row shares a feature with some row of a set."""
    bad = np.flatnonzero(np.isinf(distances))
    if bad.size:
        raise ValueError(
            f"row {bad[0]} of synthetic has no feature in common with any row of {name}, so that "
            "there is no distance to compare; leave out rows of which little is known"
        )


def closest_record_test(
    train: ArrayLike,
    holdout: ArrayLike,
    synthetic: ArrayLike,
    *,
    metric: Metric = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    rng: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    memory_limit: int | str | None = None,
) -> ClosestRecord:
    r"""Test of whether synthetic records lie nearer to the training records than to new ones.

    A generator that has learnt the distribution and not the records makes rows that have their
    nearest record among the training rows as often as among as many rows it never saw; one that
    repeats what it has learnt from makes more of the former. The p-value is that of the sign test,
    :math:`\sum_{i \ge k} \binom{r}{i} 2^{-r}` for k of r rows nearer to a training row.

    Parameters
    ----------
    train : array_like of shape (n, d)
        The records that the generator learnt from.
    holdout : array_like of shape (m, d)
        Records of the same source that it has not seen.
    synthetic : array_like of shape (r, d)
        The records it made.
    metric, metric_params
        As in `knn`; inner_product is not a distance and rejected. What a metric takes from a
        reference set (the ranges of gower) it takes from `train`.
    rng : int, numpy.random.Generator or None
        Of train and holdout the one with more rows is thinned to as many as the other has:
        ``rng.permutation(n)[:m]``, in their order.
    workers, check_finite, progress, memory_limit
        As in `knn`.

    Returns
    -------
    ClosestRecord
        ``(share_nearer_to_train, pvalue, n, ties, quantiles)``.

    Raises
    ------
    TypeError, ValueError
        If the sets or the metric are not acceptable, as in `knn`.

    Notes
    -----
    Distances are compared as float64. O(r (n + m) d) operations; memory beyond the inputs is O(r)
    and a copy of what is left of the thinned set.

    The test takes the synthetic records for independent of one another. Where many share a nearest
    record they are not, and p is too small.

    References
    ----------
    Platzer and Reutterer, "Holdout-based empirical assessment of mixed-type synthetic data",
    Frontiers in Big Data 4 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> rng = np.random.default_rng(0)
    >>> train, holdout, fresh = rng.normal(size=(3, 200, 4))
    >>> copied = train + 0.1 * rng.normal(size=train.shape)
    >>> pt.closest_record_test(train, holdout, fresh).pvalue > 0.05
    True
    >>> pt.closest_record_test(train, holdout, copied).share_nearer_to_train
    0.98
    """
    metric = metrics.check_distance(metric, metric_params)
    metric_params, (train, holdout, synthetic) = coded(
        metric, metric_params, train=train, holdout=holdout, synthetic=synthetic
    )
    finite = metrics.finite(metric, check_finite)
    threads = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    options: dict[str, Any] = {"check_finite": finite, "workers": threads}
    a, b, c = validate.sets({"train": train, "holdout": holdout, "synthetic": synthetic}, **options)
    measure = metrics.resolve(metric, metric_params, train=a, synthetic=c)
    metrics.resolve(metric, metric_params, holdout=b, synthetic=c)  # what it asks of pairs of rows
    draws = scalars.generator(rng)
    rows = min(len(a), len(b))
    sets = [_thinned(a, rows, draws), _thinned(b, rows, draws)]
    with reporting(progress, *[rows * len(c)] * 2) as reports:
        to_train, to_holdout = (
            validate.host(
                choose.module(c, known).knn(
                    c, known, 1, measure.name,
                    dtype="float64", precision="default", metric_params=measure.params,
                    workers=threads, memory_limit=limit, progress=report,
                )[0]
            )[:, 0]
            for known, report in zip(sets, reports, strict=True)
        )  # fmt: skip
    if METRICS[measure.name].takes_nan:
        for name, distances in (("train", to_train), ("holdout", to_holdout)):
            _require_near(name, distances)
    nearer = int(np.count_nonzero(to_train < to_holdout))
    ties = int(np.count_nonzero(to_train == to_holdout))
    with np.errstate(invalid="ignore"):  # between two infinite distances
        quantiles = np.quantile(np.stack([to_train, to_holdout]), QUANTILES, axis=1).T
    quantiles[np.isnan(quantiles)] = np.inf
    return ClosestRecord(
        (nearer + ties / 2) / len(c),
        upper_tail(nearer, len(c) - ties),
        len(c),
        ties,
        np.ascontiguousarray(quantiles),
    )
