"""Nearest neighbours, distances to the k-th, and the small matrix to check them against.

Validates (`validate`), chooses the backend (`choose`) and wraps what comes back; the search
itself is one sweep over tiles of pairs with a top-k fold. `radius` and `fidelity` take their words
for the two sets from here.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._backends.refusals import refuse_rows
from pairtile._front import metrics, scalars, validate
from pairtile._front.categories import coded
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from pairtile._backends.refusals import Finite
    from pairtile._front.progress import Progress
    from pairtile._front.words import GroupRule, Metric, Precision


class _Neighbors(NamedTuple):
    distances: NDArray[np.floating[Any]]
    indices: NDArray[np.int64]


class Neighbors(Result, _Neighbors):
    """Nearest neighbours of each query, nearest first.

    Attributes
    ----------
    distances : ndarray of shape (n, k), float32 or float64
        In the unit of the metric; +inf (inner_product: -inf) where there is no neighbour left.
    indices : ndarray of shape (n, k), int64
        Rows of the reference set; -1 where there is no neighbour left.
    """


def point_sets(
    name: str,
    queries: Any,
    reference: Any,
    *,
    check_finite: Finite,
    workers: int,
    memory_limit: int,
    now: bool = True,
) -> tuple[Any, Any]:
    """Queries, under the name of their argument, and references, None for a self-join.

    With `now=False`, references in memory are left to the backend's knn to check.
    """
    reference, queries = validate.aligned("reference", reference, name, queries)
    q = validate.matrix(name, queries, check_finite=check_finite, workers=workers, blocks=True)
    r = None
    if reference is not None:
        r = validate.matrix(
            "reference", reference, check_finite=check_finite, workers=workers, blocks=True, now=now
        )
        validate.check_alike(name, q, "reference", r)
    later = False if now else check_finite
    return validate.streamed(name, q, "reference", r, memory_limit, y_check=later)


def enough_others(k: int, n: int, of: str = "") -> None:
    """ValueError where a self-join of n rows has fewer than k neighbours for each."""
    if k > n - 1:
        raise ValueError(
            f"k={k} is too large: each of the {n} rows{of} has {n - 1} others, its own excluded"
        )


def _groups(
    name: str,
    query_groups: ArrayLike | None,
    reference_groups: ArrayLike | None,
    n: int,
    m: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    query = validate.labels("query_groups", query_groups, name, n)
    reference = validate.labels("reference_groups", reference_groups, "reference", m)
    if query.dtype.kind != reference.dtype.kind:
        raise TypeError(
            "query_groups and reference_groups must both be integers or both be strings, "
            f"got dtypes {query.dtype} and {reference.dtype}"
        )
    if query.dtype.kind == "U":
        codes = np.unique(np.concatenate([query, reference]), return_inverse=True)[1]
        query, reference = codes[:n], codes[n:]
    return query.astype(np.int64, copy=False), reference.astype(np.int64, copy=False)


def _times(
    name: str,
    query_times: ArrayLike | None,
    reference_times: ArrayLike | None,
    n: int,
    m: int,
) -> tuple[NDArray[Any], NDArray[Any]]:
    found = []
    for argument, values, rows, count in (
        ("query_times", query_times, name, n),
        ("reference_times", reference_times, "reference", m),
    ):
        a = validate.host(values, argument)
        if a.shape != (count,):
            raise ValueError(
                f"{argument} must have shape ({count},), one per row of {rows}, got {a.shape}"
            )
        if a.dtype.kind not in "iuf":
            raise TypeError(f"{argument} must be integers or floats, got dtype {a.dtype}")
        refuse_rows(argument, np.isnan(a), "NaN")
        found.append(a)
    query: NDArray[Any]
    reference: NDArray[Any]
    if all(a.dtype.kind == "f" for a in found):
        query, reference = (np.ascontiguousarray(a, dtype=np.float64) for a in found)
    elif all(a.dtype.kind in "iu" and a.dtype != np.uint64 for a in found):
        query, reference = (np.ascontiguousarray(a, dtype=np.int64) for a in found)
    else:  # numbers that no one type holds, such as nanosecond stamps in uint64: their ranks
        alike = found[0].dtype == found[1].dtype
        both = np.concatenate([a if alike else a.astype(object) for a in found])
        ranks = np.unique(both, return_inverse=True)[1].astype(np.int64, copy=False)
        query, reference = ranks[:n], ranks[n:]
    return query, reference


def columns_of(k: Any) -> tuple[int, int | list[int]]:
    """The largest k asked for, and the column of each in a search for that many."""
    if isinstance(k, Sequence) or (isinstance(k, np.ndarray) and k.ndim == 1):
        ks = [scalars.count("k", one) for one in k]
        if not ks:
            raise ValueError("k is an empty sequence; give at least one number of neighbours")
        return max(ks), [one - 1 for one in ks]
    one = scalars.count("k", k)
    return one, one - 1


def _not_k(reference: object) -> None:
    """TypeError where k came in the place of the reference set."""
    if isinstance(reference, numbers.Integral):
        raise TypeError(
            f"reference must be an array or None, got the integer {reference}; "
            f"for that many neighbours write k={reference}"
        )


def enough_references(k: int, n: int, m: int, *, itself: bool) -> None:
    """ValueError where n queries cannot have k neighbours each among m rows."""
    if itself:
        enough_others(k, n)
    elif k > m:
        raise ValueError(f"k={k} is too large: reference has {m} rows")


def admissible(
    name: str,
    n: int,
    m: int,
    *,
    itself: bool,
    query_groups: ArrayLike | None,
    reference_groups: ArrayLike | None,
    group_rule: str | None,
    query_times: ArrayLike | None,
    reference_times: ArrayLike | None,
    reference_mask: ArrayLike | None,
) -> dict[str, Any]:
    """Validated predicates as the backends take them; the queries are called `name`."""
    predicates: dict[str, Any] = {}
    if query_groups is not None or reference_groups is not None:
        if group_rule is None:
            raise ValueError("groups need group_rule='same' or group_rule='different'")
        predicates["group_rule"] = scalars.choice("group_rule", group_rule, ("same", "different"))
        if reference_groups is None and itself:
            reference_groups = query_groups
        if query_groups is None or reference_groups is None:
            raise ValueError("query_groups and reference_groups must be given together")
        predicates["query_groups"], predicates["reference_groups"] = _groups(
            name, query_groups, reference_groups, n, m
        )
    elif group_rule is not None:
        raise ValueError(f"group_rule={group_rule!r} needs query_groups")
    if query_times is not None or reference_times is not None:
        if reference_times is None and itself:
            reference_times = query_times
        if query_times is None or reference_times is None:
            raise ValueError("query_times and reference_times must be given together")
        predicates["query_times"], predicates["reference_times"] = _times(
            name, query_times, reference_times, n, m
        )
    if reference_mask is not None:
        mask = validate.host(reference_mask, "reference_mask")
        if mask.dtype.kind != "b":
            raise TypeError(f"reference_mask must be boolean, got dtype {mask.dtype}")
        if mask.shape != (m,):
            raise ValueError(
                f"reference_mask must have shape ({m},), one per reference row, got {mask.shape}"
            )
        predicates["reference_mask"] = np.ascontiguousarray(mask)
    return predicates


def _search(
    name: str,
    queries: ArrayLike,
    reference: ArrayLike | None,
    k: int,
    *,
    metric: str,
    metric_params: Mapping[str, Any] | None,
    distance_dtype: str | None,
    precision: str,
    workers: int | None,
    check_finite: bool,
    progress: Progress,
    memory_limit: int | str | None,
    devices: Sequence[int] | None,
    **predicates: Any,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Distances and indices for `knn` and `kth_distance`, whose queries are called `name`."""
    metric = metrics.check(metric, metric_params)
    metric_params, (reference, queries) = coded(
        metric, metric_params, reference=reference, **{name: queries}
    )
    scalars.choice("precision", precision, scalars.PRECISIONS)
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    finite = metrics.finite(metric, check_finite)
    q, r = point_sets(
        name, queries, reference, check_finite=finite, workers=workers, memory_limit=limit,
        now=finite == "but NaN",
    )  # fmt: skip
    over = validate.devices(devices, **{name: q}, reference=r)
    n, m = len(q), len(q if r is None else r)
    enough_references(k, n, m, itself=r is None)
    predicates = admissible(name, n, m, itself=r is None, **predicates)
    measure = metrics.resolve(metric, metric_params, reference=r, **{name: q})
    dtype = scalars.float_dtype("distance_dtype", distance_dtype)
    with reporting(progress, n * m) as (report,):
        found: tuple[NDArray[Any], NDArray[Any]] = choose.over(over, q, r).knn(
            q,
            r,
            k,
            measure.name,
            dtype=dtype or validate.working_dtype(q, q if r is None else r).name,
            precision=precision,
            metric_params=measure.params,
            check_finite=finite is True and r is not None,
            workers=workers,
            memory_limit=limit,
            progress=report,
            **predicates,
        )
    return found


def knn(
    queries: ArrayLike,
    reference: ArrayLike | None = None,
    k: int = 10,
    *,
    metric: Metric = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    query_groups: ArrayLike | None = None,
    reference_groups: ArrayLike | None = None,
    group_rule: GroupRule | None = None,
    query_times: ArrayLike | None = None,
    reference_times: ArrayLike | None = None,
    reference_mask: ArrayLike | None = None,
    distance_dtype: str | None = None,
    precision: Precision = "default",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    memory_limit: int | str | None = None,
    devices: Sequence[int] | None = None,
) -> Neighbors:
    r"""The k nearest rows of a reference set, for each query, exactly.

    Neighbours come in the order of (canonical float64 value, index), so the result is the same
    on every backend, instruction set and number of threads, and the list for k is a prefix of
    the list for any larger k. Metrics that end in a root or a mean are ordered before it
    (euclidean by :math:`d^2`, minkowski by :math:`d^p`); equal float32 distances therefore need
    not have ascending indices.

    Parameters
    ----------
    queries : array_like of shape (n, d)
        Real numbers. float16, bfloat16, int8, uint8 and float32 are searched in float32,
        everything else in float64; the order is that of float64 either way.
    reference : array_like of shape (m, d), optional
        None searches the queries among themselves, each row's own index excluded: duplicates of
        a row remain its neighbours, at distance 0.
    k : int, default 10
        Neighbours per query, 1 to m (to n - 1 when `reference` is None).
    metric : str, default "euclidean"
        ======================== ==========================================================
        euclidean, sqeuclidean   :math:`d = \sqrt{\sum_j (x_j - y_j)^2}`, :math:`d^2`
        cosine                   :math:`\tfrac12 \|x/\|x\| - y/\|y\|\,\|^2 = 1 - \cos`; a zero
                                 row has distance 1 to every other row
        correlation              the same of rows less their means, :math:`1 - r`; a
                                 constant row has distance 1 to every other row
        inner_product            :math:`\sum_j x_j y_j`, largest first
        manhattan                :math:`\sum_j |x_j - y_j|`
        chebyshev                :math:`\max_j |x_j - y_j|`
        minkowski                :math:`(\sum_j |x_j - y_j|^p)^{1/p}`, not a metric for p < 1
        canberra                 :math:`\sum_j |x_j - y_j| / (|x_j| + |y_j|)`, 0/0 = 0
        braycurtis               :math:`\sum_j |x_j - y_j| / \sum_j |x_j + y_j|`, 0/0 = 0
        lorentzian               :math:`\sum_j \log(1 + |x_j - y_j|)`
        nan_euclidean            :math:`\sqrt{d/p \sum_j (x_j - y_j)^2}` over the p features
                                 that both rows have, NaN being what is missing; p = 0: inf
        weuclidean               :math:`\sqrt{\sum_j w_j (x_j - y_j)^2}`
        mahalanobis              :math:`\sqrt{(x - y)^\top V^{-1} (x - y)}`
        gower                    mean over j of :math:`|x_j - y_j| / \text{range}_j`, or of
                                 :math:`1[x_j \ne y_j]` for categories and ranges of 0; of
                                 the features that both rows have, NaN being what is missing
        hamming                  share of the bits that differ; rows of packed bits
        jaccard                  :math:`1 - |x \wedge y| / |x \vee y|`, 0 between two zero rows;
                                 rows of packed bits
        ======================== ==========================================================

        Packed bits are rows of uint8, as ``np.packbits(booleans, axis=1)`` makes them, in
        either bit order.
    metric_params : mapping, optional
        Of those metrics that take parameters; array_likes of float64 precision.

        ============ =====================================================================
        minkowski    ``p``, required: from 1/1024 to 1024, or inf. 1, 2 and inf are
                     manhattan, euclidean and chebyshev
        weuclidean   ``w`` of shape (d,), required: not negative
        mahalanobis  either ``VI`` of shape (d, d), the inverse covariance, symmetric positive
                     semidefinite; or ``V``, the covariance, symmetric positive definite
        gower        ``categorical``: column numbers or a mask of shape (d,), none by default;
                     of frames also all columns of categories or strings.
                     ``ranges`` of shape (d,): by default largest less smallest of the finite
                     values of each column of the reference set. ``clip``: True if a feature
                     counts 1 at most; by default it counts more beyond its range. Two rows
                     without a common feature are an error that names them
        hamming,     ``n_bits``: bits in a row, by default 8 per byte, at least 8 per byte but
        jaccard      the last. Bits beyond it must be 0
        ============ =====================================================================
    query_groups, reference_groups : array_like of shape (n,) and (m,), optional
        Integers or strings. `reference_groups` defaults to `query_groups` when `reference` is
        None.
    group_rule : {"same", "different"}, optional
        Which group a neighbour must be of; required with groups, forbidden without.
    query_times, reference_times : array_like of shape (n,) and (m,), optional
        Integers or floats. A reference is admissible if its time is not after the query's.
        `reference_times` defaults to `query_times` when `reference` is None.
    reference_mask : array_like of shape (m,), bool, optional
        True for admissible references.
    distance_dtype : {"float32", "float64"}, optional
        Of the distances; by default float64 as soon as one input is, else float32.
    precision : {"default", "float64", "fast"}
        "default" screens in float32 under an error bound and confirms in float64; "float64"
        computes everything in float64, with the same result; "fast" does not confirm.
    workers : int, optional
        Threads. None is the setting of `set_num_threads`, -1 all allowed cores.
    check_finite : bool, default True
        False skips the search for NaN and Inf; a NaN distance is then never a neighbour. For
        nan_euclidean and gower only Inf is searched for.
    progress : bool or callable, default False
        True for a bar on standard error: of tqdm in a notebook where that is installed, a line
        every 10 s where it is no terminal. Or a callable(done, total).
    memory_limit : int or str, optional
        Bytes of workspace, or text such as "1GB" (10⁹ bytes) or "512MiB", beside what is in memory
        already and the result. For sets that are not in memory (see Notes) it holds blocks of their
        rows, lists to be merged and the engine's workspace: 256 MiB by default. For sets in memory
        it is the engine's alone: by
        default about 50 MB, more where k is in the ten thousands or a large set is searched among
        itself (see Notes). It changes no result, but much below the default a search for large k
        slows down. It holds fewer threads where their buffers would not fit. On a GPU it is
        what a call holds there beside inputs, results and a few numbers per row: at most 1.3 GB
        by default. Much below that large searches get slower, and some leave tensor cores. With
        the backend "cuda" it holds blocks of sets in files, and of host arrays that are larger:
        without it one half of what the device has free, and at most 8 GB.
    devices : sequence of int, optional
        For arrays on a CUDA device: the numbers of those that compute, each an equal share of the
        queries, in this order; references are copied to the others. A device may be listed more
        than once, and its shares then divide `memory_limit`. None is the device of the arrays. It
        changes no result.

    Returns
    -------
    Neighbors
        ``(distances, indices)``. Where predicates leave fewer than k references, the rest of the
        row has index -1 and distance +inf (inner_product: -inf). Torch tensors in, torch
        tensors out, on the same device; likewise CuPy.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind: object, string or complex arrays, ``knn(x, 5)`` for
        ``knn(x, k=5)``, a mask that is not boolean, bits that are not packed, `devices` for arrays
        in host memory.
    ValueError
        If shapes disagree, a set is empty, k is out of range (whatever the predicates leave),
        `metric` is unknown, `metric_params` lack what it needs or hold what it does not take or
        cannot use, groups come without a rule or a rule without groups, the data hold NaN or
        Inf, or bits are set beyond ``n_bits``; if `memory_limit` is too small for one row at a
        time (the message has the smallest that works), `devices` has a number that is none, or the
        file of a memory map has become shorter.
    MemoryError
        If a CUDA device is out of memory.

    Notes
    -----
    O(n m d) operations; memory beyond inputs and result is O(tiles), never n x m. Metrics that are
    sums of other terms than products, squares or sizes of differences are computed in float64
    throughout, whatever the precision. minkowski takes whole p by multiplications, p like 1.5 by a
    square root more, any other by a logarithm, which takes ten times as long. Powers beyond float64
    are infinite, or 0.

    A large set among itself has each pair computed once, for both of its rows. The candidates of
    all rows are then held at once, about 12 (k + max(32, k)) bytes a row, twice that where float64
    screens, and more where bytes leave many pairs to be confirmed. Where that is more than 3/8 of
    `memory_limit` (by default: than 384 MiB), or k so large for these n and d that it would not
    pay, the set is searched like two.

    Every pair is visited. In two or three dimensions a k-d tree (of scikit-learn or SciPy) visits
    far fewer: with 3 features it took a third of the time at 20,000 x 100,000 rows, with 16 more
    than a hundred times as long.

    Pairs are screened by :math:`t = \|\hat x\|^2 + \|\hat y\|^2 - 2 \hat x \cdot \hat y` of rows
    :math:`\hat x = s(x - c)`, which misses :math:`s^2 d^2` by no more than
    :math:`\varepsilon = u (2c + 10) (\|\hat x\| + \|\hat y\|)^2`, with u = 2^-24 and c the
    additions in one chain of the sum, at most 256 + d/256. From 16 features on, where the
    processor multiplies bytes or bfloat16, the rows are rounded to them (bytes on a scale of each
    row), and what that takes off them adds
    :math:`2(\|\delta x\| \|\hat y\| + \|\hat x\| \|\delta y\|)`. The k nearest are among the
    pairs whose :math:`t - \varepsilon` is not above the k-th smallest :math:`t + \varepsilon`; only
    these are computed in float64. For up to 16 queries the references are read only once, at the
    rate of memory: differences are summed as the rows lie, missing :math:`d^2` by no more than
    :math:`u (d / 2 + 20) d^2`. Other metrics have bounds of the same kind: docs/numerics.md.

    A `numpy.memmap`, and any object that is no array in memory but has a 2-D shape, a dtype and
    row slicing (h5py, zarr, dask), is read block by block, as queries or as reference: the
    references once for each block of queries. The result has the bits of the search in memory,
    except under precision "fast". A memory map is read through its file: what is written to the
    file meanwhile is seen.

    A sparse matrix of SciPy in CSR form is read in the same way, its rows becoming dense in blocks,
    for the metrics that are made of products: cosine and inner_product.

    Examples
    --------
    >>> import pairtile as pt
    >>> pt.knn([[0.0], [1.0], [5.0]], k=1).indices.ravel().tolist()
    [1, 0, 1]
    """
    _not_k(reference)
    distances, indices = _search(
        "queries",
        queries,
        reference,
        scalars.count("k", k),
        metric=metric,
        metric_params=metric_params,
        query_groups=query_groups,
        reference_groups=reference_groups,
        group_rule=group_rule,
        query_times=query_times,
        reference_times=reference_times,
        reference_mask=reference_mask,
        distance_dtype=distance_dtype,
        precision=precision,
        workers=workers,
        check_finite=check_finite,
        progress=progress,
        memory_limit=memory_limit,
        devices=devices,
    )
    wrap = validate.like(queries, reference)
    return Neighbors(wrap(distances), wrap(indices))


def kth_distance(
    x: ArrayLike,
    reference: ArrayLike | None = None,
    k: int | Sequence[int] | NDArray[np.integer[Any]] = 10,
    *,
    metric: Metric = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    query_groups: ArrayLike | None = None,
    reference_groups: ArrayLike | None = None,
    group_rule: GroupRule | None = None,
    query_times: ArrayLike | None = None,
    reference_times: ArrayLike | None = None,
    reference_mask: ArrayLike | None = None,
    distance_dtype: str | None = None,
    precision: Precision = "default",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    memory_limit: int | str | None = None,
    devices: Sequence[int] | None = None,
) -> NDArray[np.floating[Any]]:
    r"""Distance of each row to its k-th nearest neighbour, for one k or several at once.

    :math:`r_i(k)`, the radius of a ball around row i that k neighbours reach: what density and
    entropy estimates, bandwidth rules and precision and recall are made of.

    Parameters
    ----------
    x : array_like of shape (n, d)
        Real numbers.
    reference : array_like of shape (m, d), optional
        Among whom neighbours are looked for. None: among the rows of x, each row's own index
        excluded.
    k : int or sequence of int, default 10
        Each 1 to m (to n - 1 when `reference` is None), in any order.
    query_groups, reference_groups, group_rule, query_times, reference_times, reference_mask
        As in `knn`; those of "queries" are those of the rows of x.
    metric, metric_params, distance_dtype, precision, workers, check_finite, progress, memory_limit
        As in `knn`.
    devices : sequence of int, optional
        As in `knn`: CUDA devices that the rows of x are split between.

    Returns
    -------
    ndarray of shape (n,), or (n, len(k)) for a sequence, float32 or float64
        Columns in the order in which k was asked for; +inf (inner_product: -inf) where
        predicates leave fewer than k references.

    Raises
    ------
    TypeError, ValueError
        As in `knn`; also for an empty sequence of k.

    Notes
    -----
    One search for the largest k: O(n m d) operations, and n max(k) neighbours of memory beyond
    inputs and result.

    Examples
    --------
    >>> import pairtile as pt
    >>> pt.kth_distance([[0.0], [1.0], [5.0]], k=(2, 1))
    array([[5., 1.],
           [4., 1.],
           [5., 4.]])
    """
    _not_k(reference)
    most, columns = columns_of(k)
    distances, _ = _search(
        "x",
        x,
        reference,
        most,
        metric=metric,
        metric_params=metric_params,
        query_groups=query_groups,
        reference_groups=reference_groups,
        group_rule=group_rule,
        query_times=query_times,
        reference_times=reference_times,
        reference_mask=reference_mask,
        distance_dtype=distance_dtype,
        precision=precision,
        workers=workers,
        check_finite=check_finite,
        progress=progress,
        memory_limit=memory_limit,
        devices=devices,
    )
    wrap = validate.like(x, reference)
    kth: NDArray[np.floating[Any]] = wrap(distances.take(columns, axis=1))
    return kth


def pairwise_distances(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    metric: Metric = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> NDArray[np.floating[Any]]:
    """All distances between two small sets: the only result of size n x m.

    Parameters
    ----------
    x : array_like of shape (n, d)
        Real numbers.
    y : array_like of shape (m, d), optional
        None stands for x.
    metric, metric_params, workers, check_finite, progress
        As in `knn`. inner_product gives dot products.

    Returns
    -------
    ndarray of shape (n, m)
        Canonical float64 values, rounded once to float32 unless an input is float64. Never
        negative; exactly 0 between equal rows (cosine: except two zero rows, whose distance is 1).

    Raises
    ------
    TypeError, ValueError
        If the arrays or the metric are not acceptable, as in `knn`.

    Notes
    -----
    O(n m d) operations in float64 and n m numbers of memory.

    Examples
    --------
    >>> import pairtile as pt
    >>> float(pt.pairwise_distances([[512695.0]], [[512804.0]])[0, 0])
    109.0
    """
    metric = metrics.check(metric, metric_params)
    metric_params, (x, y) = coded(metric, metric_params, x=x, y=y)
    finite = metrics.finite(metric, check_finite)
    workers = resolve_workers(workers)
    wrap = validate.like(x, y)
    if y is None:
        a = validate.matrix("x", x, check_finite=finite, workers=workers)
        b = None
    else:
        a, b = validate.pair("x", x, "y", y, check_finite=finite, workers=workers)
    measure = metrics.resolve(metric, metric_params, y=b, x=a)
    with reporting(progress, len(a) * len(a if b is None else b)) as (report,):
        distances: NDArray[np.floating[Any]] = wrap(
            choose.module(a, b).pairwise_distances(
                a,
                b,
                measure.name,
                dtype=validate.working_dtype(a, a if b is None else b).name,
                metric_params=measure.params,
                workers=workers,
                progress=report,
            )
        )
    return distances
