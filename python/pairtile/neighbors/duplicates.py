"""Near-duplicates: the pairs that are, the rows to keep, each row's best match, the nearest pairs.

Validates (`validate`, `search`), says which canonical values are near enough (`_limit`), chooses
the backend (`choose`) and wraps what comes back. The pairs are one sweep with a list, or with one
selection for all rows; a best match is a search for one neighbour.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._backends.refusals import refuse_rows
from pairtile._backends.rows import Rows
from pairtile._definitions.metrics import METRICS, finish
from pairtile._front import metrics, scalars, validate
from pairtile._front.categories import coded
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile.neighbors.search import point_sets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.metrics import Measure
    from pairtile._front.progress import Progress
    from pairtile._front.words import KeepRule, Metric

    Counts = NDArray[np.int64]
    Floats = NDArray[np.float64]


class _NearDuplicates(NamedTuple):
    i: NDArray[np.int64]
    j: NDArray[np.int64]
    similarity: NDArray[np.float64]


class NearDuplicates(Result, _NearDuplicates):
    """Pairs of rows, each once.

    Attributes
    ----------
    i, j : ndarray of shape (pairs,), int64
        The two rows; i < j where both are of one set, else i of the first and j of the second.
    similarity : ndarray of shape (pairs,), float64
        1 - distance for cosine, the product for inner_product, the distance for every other
        metric: the very number that was compared.
    """


class _Dedup(NamedTuple):
    keep: NDArray[np.bool_]
    group: NDArray[np.int64]
    pairs: NearDuplicates


class _Rule(NamedTuple):
    """What `rethreshold` needs beside the pairs."""

    threshold: float
    measure: Measure
    keep: str | Floats  # or scores
    x: Any  # rows, where medoids ask for them
    workers: int


class Dedup(Result, _Dedup):
    """Which rows to keep of a set, and which belong together.

    Attributes
    ----------
    keep : ndarray of shape (n,), bool
        True for rows to keep: ``x[found.keep]`` is the set without near-duplicates.
    group : ndarray of shape (n,), int64
        The smallest row that a chain of pairs leads to; of a row without pairs its own number.
    pairs : NearDuplicates
        All pairs within the threshold, sorted by (i, j).
    """

    _rule: _Rule | None = None

    def rethreshold(self, threshold: float) -> Dedup:
        """The same for a stricter threshold, without another search.

        Parameters
        ----------
        threshold : float
            At least the one of this result for similarities, at most that for distances.

        Returns
        -------
        Dedup
            As `deduplicate` would return it. With ``keep="medoid"`` distances within the new
            groups are computed from the rows as they are now.

        Raises
        ------
        TypeError
            If threshold is no number.
        ValueError
            If it is looser, or not a threshold of the metric.

        Examples
        --------
        >>> import pairtile as pt
        >>> found = pt.deduplicate([[0.0], [1.0], [1.5]], threshold=1.0, metric="euclidean")
        >>> found.keep.tolist(), found.rethreshold(0.5).keep.tolist()
        ([True, False, True], [True, True, False])
        """
        if self._rule is None:
            raise ValueError("only a result of deduplicate knows its rule")
        metric = self._rule.measure.name
        threshold = _threshold(threshold, metric)
        at_least = _is_similarity(metric)
        before = self._rule.threshold
        if threshold < before if at_least else threshold > before:
            raise ValueError(
                f"threshold={threshold} is looser than that of this result, {before}; pairs beyond "
                "it are not known: call deduplicate"
            )
        i, j, similarity = map(validate.host, self.pairs)
        within = similarity >= threshold if at_least else similarity <= threshold
        pairs = NearDuplicates(i[within], j[within], similarity[within])
        rule = self._rule._replace(threshold=threshold)
        found = _reduced(len(self.keep), pairs, rule)
        return _wrapped(found, rule, validate.like(self.keep))


class _MaxSimilarity(NamedTuple):
    similarity: NDArray[np.float64]
    index: NDArray[np.int64]  # type: ignore[assignment]  # tuples have a method of that name


class MaxSimilarity(Result, _MaxSimilarity):
    """The best match of each row.

    Attributes
    ----------
    similarity : ndarray of shape (n,), float64
        1 - distance for cosine, the product for inner_product, the distance for every other
        metric. Without a match -inf, for distances inf.
    index : ndarray of shape (n,), int64
        Its row in the reference set; -1 without a match.
    """


def _is_similarity(metric: str) -> bool:
    """Whether the most alike have the largest number."""
    return metric == "cosine" or METRICS[metric].largest_first


def _threshold(value: Any, metric: str) -> float:
    """The threshold as a number that this metric has."""
    if metric == "cosine":
        return scalars.real("threshold", value, least=-1, most=1)
    if METRICS[metric].largest_first:
        return scalars.real("threshold", value)
    return scalars.real("threshold", value, least=0)


def _similarity(measure: Measure, ordered: Floats) -> Floats:
    """What is compared with a threshold, of canonical values."""
    value = finish(measure.name, ordered, measure.params)
    return 1.0 - value if measure.name == "cosine" else value


def _limit(measure: Measure, threshold: float) -> float:
    """The largest canonical value that is within the threshold; below all where none is.

    Canonical values of distances are not negative, and floats that are not are ordered as their
    bits: bisection finds the last one inside.
    """
    if METRICS[measure.name].largest_first:
        return -threshold

    def inside(bits: int) -> bool:
        value = _similarity(measure, np.array([bits], np.int64).view(np.float64))[0]
        return bool(value >= threshold if measure.name == "cosine" else value <= threshold)

    low, high = 0, int(np.array([np.inf]).view(np.int64)[0])
    if not inside(low):
        return -1.0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if inside(middle) else (low, middle)
    return float(np.array([low], np.int64).view(np.float64)[0])


def near_duplicates(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    threshold: float = 0.95,
    metric: Metric = "cosine",
    metric_params: Mapping[str, Any] | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    memory_limit: int | str | None = None,
) -> NearDuplicates:
    r"""All pairs of rows that are at least as alike as a threshold.

    Parameters
    ----------
    x : array_like of shape (n, d)
        Real numbers; float16 and bfloat16 rows are read as they are.
    y : array_like of shape (m, d), optional
        None looks for pairs i < j among the rows of x; otherwise for pairs of a row of x and a
        row of y.
    threshold : float, default 0.95
        For cosine the least similarity 1 - d, from -1 to 1; for inner_product the least product;
        for every other metric the largest distance. A pair exactly at it is one.
    metric, metric_params
        As in `knn`.
    workers, check_finite, progress
        As in `knn`.
    memory_limit : int or str, optional
        Bytes of workspace beside inputs and pairs, as in `knn`.

    Returns
    -------
    NearDuplicates
        ``(i, j, similarity)``, sorted by (i, j). Torch tensors in, torch tensors out; likewise
        CuPy.

    Raises
    ------
    TypeError
        If threshold is no real number, or as in `knn`.
    ValueError
        If threshold is not finite, negative for a distance or beyond ±1 for cosine, or as in
        `knn`.

    Notes
    -----
    O(n m d) operations, half of them within one set; memory beyond inputs and result is O(tiles)
    and 16 bytes for each pair, never n x m. Where near rows are few, tiles that can hold no pair
    are left out, as in `knn`. Sets that are not in memory are read block by block.

    Pairs are screened as in `knn`; what the screen cannot tell from the threshold is decided by the
    canonical float64 distance d, as the number that is returned: a pair is one if and only if
    ``similarity >= threshold`` (cosine, where similarity is 1 - d rounded once, and inner_product)
    or ``similarity <= threshold`` (distances). So the pairs are the same on every backend, with any
    number of threads, and for rows of float16 as for the same numbers in float64.

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [1.0, 1.0]]
    >>> pt.near_duplicates(x, threshold=0.7)
    NearDuplicates(i=[0, 0, 1, 2], j=[2, 3, 3, 3], similarity=[1.0, 0.707107, 0.707107, 0.707107])
    """
    metric = metrics.check(metric, metric_params)
    threshold = _threshold(threshold, metric)
    metric_params, (x, y) = coded(metric, metric_params, x=x, y=y)
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    a, b = _sets(x, y, metric, check_finite, workers, limit)
    measure = metrics.resolve(metric, metric_params, y=b, x=a)
    found = _pairs(a, b, measure, threshold, workers, limit, progress)
    return NearDuplicates(*map(validate.like(x, y), found))


def _sets(
    x: Any, y: Any, metric: str, check_finite: bool, workers: int, memory_limit: int
) -> tuple[Any, Any]:
    options: Any = {
        "check_finite": metrics.finite(metric, check_finite), "workers": workers, "blocks": True,
    }  # fmt: skip
    a, b = (
        (validate.matrix("x", x, **options), None)
        if y is None
        else validate.pair("x", x, "y", y, **options)
    )
    return validate.streamed("x", a, "y", b, memory_limit)


def _pairs(
    a: Any,
    b: Any,
    measure: Measure,
    threshold: float,
    workers: int,
    memory_limit: int,
    progress: Progress,
) -> NearDuplicates:
    with reporting(progress, len(a) * len(a if b is None else b)) as (report,):
        i, j, ordered = choose.module(a, b).pairs_within(
            a,
            b,
            measure.name,
            _limit(measure, threshold),
            metric_params=measure.params,
            workers=workers,
            memory_limit=memory_limit,
            progress=report,
        )
    return _found(measure, i, j, ordered)


def _found(measure: Measure, *pairs: Any) -> NearDuplicates:
    """Pairs in host memory, from what a backend found."""
    i, j, ordered = map(validate.host, pairs)
    return NearDuplicates(i, j, _similarity(measure, ordered))


def deduplicate(
    x: ArrayLike,
    *,
    threshold: float = 0.95,
    metric: Metric = "cosine",
    metric_params: Mapping[str, Any] | None = None,
    keep: KeepRule | ArrayLike = "first",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    memory_limit: int | str | None = None,
) -> Dedup:
    r"""Which rows of a set to keep so that no two of them are near-duplicates.

    Parameters
    ----------
    x : array_like of shape (n, d)
        Real numbers; float16 and bfloat16 rows are read as they are.
    threshold : float, default 0.95
        As in `near_duplicates`: the least similarity, or the largest distance.
    metric, metric_params
        As in `knn`.
    keep : {"first", "medoid"} or array_like of shape (n,)
        "first": in the order of the rows, keep a row if no kept earlier row is within the
        threshold. Scores do the same from the highest score down, equal ones in the order of the
        rows. "medoid": keep of each group, the rows that chains of pairs connect, the one with
        the least sum of distances (inner_product: the largest sum of products) to the others, the
        first of those that have it; rows of a group need not be within the threshold of it.
    workers, check_finite, progress, memory_limit
        As in `near_duplicates`.

    Returns
    -------
    Dedup
        ``(keep, group, pairs)``, with a method `rethreshold` for stricter thresholds. Torch
        tensors in, torch tensors out.

    Raises
    ------
    TypeError
        If scores are not real numbers, or as in `near_duplicates`.
    ValueError
        If `keep` is another word, or scores are not one finite number for each row; or as in
        `near_duplicates`.

    Notes
    -----
    The search of `near_duplicates`, then O(n + pairs) for "first", O(n log n + pairs log pairs)
    for scores, and the distances of all pairs within each group for "medoid", which no group
    should be too large for. Sums of distances are those of canonical float64 values, compensated.
    Of sets that are not in memory, the rows of a group are held for it; `memory_limit` refuses a
    group that does not fit.

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[0.0], [1.0], [2.0], [9.0]]
    >>> found = pt.deduplicate(x, threshold=1.0, metric="euclidean")
    >>> found.keep
    array([ True, False,  True,  True])
    >>> found.group
    array([0, 0, 0, 3])
    >>> pt.deduplicate(x, threshold=1.0, metric="euclidean", keep="medoid").keep
    array([False,  True, False,  True])
    """
    metric = metrics.check(metric, metric_params)
    threshold = _threshold(threshold, metric)
    if isinstance(keep, str):
        scalars.choice("keep", keep, ("first", "medoid"))
    metric_params, (x,) = coded(metric, metric_params, x=x)
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    a, _ = _sets(x, None, metric, check_finite, workers, limit)
    rule: str | Floats = keep if isinstance(keep, str) else _scores(keep, len(a))
    measure = metrics.resolve(metric, metric_params, x=a)
    pairs = _pairs(a, None, measure, threshold, workers, limit, progress)
    with_rows = isinstance(rule, str) and rule == "medoid"
    known = _Rule(threshold, measure, rule, a if with_rows else None, workers)
    found = _reduced(len(a), pairs, known, limit)
    return _wrapped(found, known, validate.like(x))


def _scores(keep: Any, n: int) -> Floats:
    scores = validate.host(keep, "keep")
    if scores.dtype.kind not in "biuf":
        raise TypeError(
            f"keep must be 'first', 'medoid' or scores, real numbers; got dtype {scores.dtype}"
        )
    if scores.shape != (n,):
        raise ValueError(
            f"keep must have shape ({n},), a score for each row of x, got {scores.shape}"
        )
    refuse_rows("keep", ~np.isfinite(scores))
    return scores


def _reduced(n: int, pairs: NearDuplicates, rule: _Rule, memory_limit: int = 0) -> Dedup:
    """What the rule keeps, and the groups."""
    module = choose.module()
    i, j, _ = pairs
    group = module.connected_rows(n, i, j)
    keep: NDArray[np.bool_]
    if not isinstance(rule.keep, str):
        keep = _by_scores(module, n, i, j, rule.keep)
    elif rule.keep == "first":
        keep = module.keep_first(n, i, j)
    else:
        keep = _medoids(rule, group, memory_limit)
    return Dedup(keep, group, pairs)


def _by_scores(module: Any, n: int, i: Counts, j: Counts, scores: Floats) -> NDArray[np.bool_]:
    """The rule of the first, of rows in the order of their scores."""
    # a stable sort from the back, for scores that have no negative
    order = n - 1 - np.argsort(scores[::-1], kind="stable")[::-1]
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    a, b = place[i], place[j]
    first, second = np.minimum(a, b), np.maximum(a, b)
    by_first = np.lexsort((second, first))
    keep = np.empty(n, np.bool_)
    keep[order] = module.keep_first(n, first[by_first], second[by_first])
    return keep


def _medoids(rule: _Rule, group: Counts, memory_limit: int) -> NDArray[np.bool_]:
    """Rows without a pair, and the medoid of each group."""
    n = len(group)
    sizes = np.bincount(group, minlength=n)
    keep: NDArray[np.bool_] = sizes[group] == 1
    together = np.flatnonzero(~keep)
    if not together.size:
        return keep
    members = together[np.argsort(group[together], kind="stable")]
    indptr = np.concatenate([[0], np.cumsum(sizes[sizes > 1])])
    options = {"memory_limit": memory_limit} if isinstance(rule.x, Rows) else {}
    medoids = choose.module(rule.x).group_medoids(
        rule.x,
        rule.measure.name,
        indptr,
        members,
        metric_params=rule.measure.params,
        workers=rule.workers,
        **options,
    )
    keep[medoids] = True
    return keep


def _wrapped(found: Dedup, rule: _Rule, wrap: Any) -> Dedup:
    result = Dedup(wrap(found.keep), wrap(found.group), NearDuplicates(*map(wrap, found.pairs)))
    result._rule = rule
    return result


def max_similarity(
    x: ArrayLike,
    reference: ArrayLike | None = None,
    *,
    metric: Metric = "cosine",
    metric_params: Mapping[str, Any] | None = None,
    earlier_only: bool = False,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    memory_limit: int | str | None = None,
) -> MaxSimilarity:
    """The best match of each row: how new it is.

    Parameters
    ----------
    x : array_like of shape (n, d)
        Real numbers.
    reference : array_like of shape (m, d), optional
        Where matches are looked for; None: among the other rows of x.
    metric, metric_params
        As in `knn`.
    earlier_only : bool, default False
        Whether only rows before a row are looked at; without `reference`. What is not above a
        threshold then would be kept, were all rows before it kept.
    workers, check_finite, progress, memory_limit
        As in `knn`.

    Returns
    -------
    MaxSimilarity
        ``(similarity, index)``; matches with the same canonical value are told apart by the
        smallest index. A row that has none, as the first one with `earlier_only`, has similarity
        -inf (a distance: inf) and index -1. Torch tensors in, torch tensors out; likewise CuPy.

    Raises
    ------
    TypeError
        As in `knn`.
    ValueError
        If `earlier_only` is used with a reference, or as in `knn`.

    Notes
    -----
    A search for one neighbour, O(n m d) operations, half of them with `earlier_only`; memory beyond
    inputs and result is O(tiles).

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]
    >>> pt.max_similarity(x, earlier_only=True)
    MaxSimilarity(similarity=[-inf, 0.0, 1.0], index=[-1, 0, 0])
    """
    metric = metrics.check(metric, metric_params)
    if not isinstance(earlier_only, (bool, np.bool_)):
        raise TypeError(f"earlier_only must be True or False, got {earlier_only!r}")
    if earlier_only and reference is not None:
        raise ValueError("earlier_only looks at rows of x; it takes no reference")
    metric_params, (reference, x) = coded(metric, metric_params, reference=reference, x=x)
    finite = metrics.finite(metric, check_finite)
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    q, r = point_sets("x", x, reference, check_finite=finite, workers=workers, memory_limit=limit)
    measure = metrics.resolve(metric, metric_params, reference=r, x=q)
    wrap = validate.like(x, reference)
    if r is None and len(q) == 1:
        missing = -math.inf if _is_similarity(metric) else math.inf
        return MaxSimilarity(wrap(np.array([missing])), wrap(np.array([-1])))
    with reporting(progress, len(q) * len(q if r is None else r)) as (report,):
        distance, index = choose.module(q, r).knn(
            q,
            r,
            1,
            measure.name,
            dtype="float64",
            precision="default",
            earlier=bool(earlier_only),
            metric_params=measure.params,
            workers=workers,
            memory_limit=limit,
            progress=report,
        )
    similarity = 1.0 - distance[:, 0] if metric == "cosine" else distance[:, 0]
    return MaxSimilarity(wrap(similarity), wrap(index[:, 0]))


def top_pairs(
    x: ArrayLike,
    n: int,
    *,
    metric: Metric = "cosine",
    metric_params: Mapping[str, Any] | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    memory_limit: int | str | None = None,
) -> NearDuplicates:
    """The n most similar pairs of rows of a set.

    Parameters
    ----------
    x : array_like of shape (rows, d)
        Real numbers.
    n : int
        How many pairs: 1 to rows (rows - 1) / 2.
    metric, metric_params, workers, check_finite, progress
        As in `knn`.
    memory_limit : int or str, optional
        As in `near_duplicates`.

    Returns
    -------
    NearDuplicates
        ``(i, j, similarity)`` with i < j, most similar first, in the order of (canonical value, i,
        j). Torch tensors in, torch tensors out.

    Raises
    ------
    TypeError, ValueError
        If n is no integer or out of range, or as in `knn`.

    Notes
    -----
    One sweep, O(rows² d) operations at most, with one bound for all pairs that falls as nearer ones
    are found; tiles of rows that are farther apart are left out, where there are such. Memory
    beyond inputs is O(tiles + n). The order is that of canonical float64 distances, as in `knn`:
    similarities that are equal when rounded need not have ascending rows.

    Examples
    --------
    >>> import pairtile as pt
    >>> pt.top_pairs([[0.0], [1.0], [1.5], [9.0]], 2, metric="euclidean")
    NearDuplicates(i=[1, 0], j=[2, 1], similarity=[0.5, 1.0])
    """
    n = scalars.count("n", n)
    metric = metrics.check(metric, metric_params)
    metric_params, (x,) = coded(metric, metric_params, x=x)
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    a, _ = _sets(x, None, metric, check_finite, workers, limit)
    rows = len(a)
    if n > rows * (rows - 1) // 2:
        raise ValueError(f"n={n} is too large: {rows} rows have {rows * (rows - 1) // 2} pairs")
    measure = metrics.resolve(metric, metric_params, x=a)
    with reporting(progress, rows * rows) as (report,):
        i, j, ordered = choose.module(a).nearest_pairs(
            a,
            None,
            n,
            measure.name,
            metric_params=measure.params,
            workers=workers,
            memory_limit=limit,
            progress=report,
        )
    return NearDuplicates(*map(validate.like(x), _found(measure, i, j, ordered)))
