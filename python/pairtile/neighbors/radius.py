"""Who lies within a radius: how many, and which ones.

Validates (`validate`, `neighbors`), chooses the backend (`choose`) and wraps what comes back; the
count itself is one sweep over tiles of pairs with a counting fold.
"""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._front import metrics, scalars, validate
from pairtile._front.categories import coded
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile.neighbors.search import point_sets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress
    from pairtile._front.words import Metric


class _RadiusNeighbors(NamedTuple):
    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    distances: NDArray[np.floating[Any]]


class RadiusNeighbors(Result, _RadiusNeighbors):
    """Neighbours within a radius of each query, in the form of a sparse CSR matrix.

    Those of query i, nearest first, are ``indices[indptr[i]:indptr[i + 1]]``; their distances lie
    at the same places. ``scipy.sparse.csr_array((distances, indices, indptr), shape=(n, m))``
    takes them as they are.

    Attributes
    ----------
    indptr : ndarray of shape (n + 1,), int64
        Where the neighbours of each query begin; the last entry is the number of all.
    indices : ndarray of shape (indptr[-1],), int64
        Rows of the reference set.
    distances : ndarray of shape (indptr[-1],), float32 or float64
        In the unit of the metric.
    """


def needs_radius(function: str, reference: object, radius: Any) -> None:
    """TypeError where there is none."""
    if radius is None:
        seen = f"; write radius={reference}" if isinstance(reference, numbers.Real) else ""
        raise TypeError(f"{function} needs radius=, a number or one per row{seen}")


def radii_of(radius: Any, rows: str, n: int, dtype: str) -> NDArray[np.floating[Any]]:
    """One radius per row of the set called `rows`, rounded to the dtype of the distances."""
    a = validate.host(radius, "radius")
    if a.dtype.kind not in "iuf":
        raise TypeError(f"radius must hold real numbers, got dtype {a.dtype}")
    if a.shape not in ((), (n,)):
        raise ValueError(
            f"radius must be a number or have shape ({n},), one per row of {rows}, got {a.shape}"
        )
    bad = ~(a >= 0)  # NaN compares as false
    if bad.any():
        where = f" at position {bad.argmax()}" if a.ndim else ""
        raise ValueError(f"radius must be 0 or more, got {a.flat[bad.argmax()]}{where}")
    with np.errstate(over="ignore", under="ignore"):
        rounded = a.astype(dtype)
    return np.ascontiguousarray(np.broadcast_to(rounded, (n,)))


def radius_count(
    queries: ArrayLike,
    reference: ArrayLike | None = None,
    radius: ArrayLike | None = None,
    *,
    metric: Metric = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    radius_of: Literal["query", "reference"] = "query",
    closed: bool = True,
    distance_dtype: str | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    memory_limit: int | str | None = None,
    devices: Sequence[int] | None = None,
) -> NDArray[np.int64]:
    r"""How many references lie within a radius of each query.

    :math:`\#\{j : d_{ij} \le r_i\}`, or with the radii of the references
    :math:`\#\{j : d_{ij} \le r_j\}`: the number of balls around references that query i lies in.

    Parameters
    ----------
    queries : array_like of shape (n, d)
        Real numbers.
    reference : array_like of shape (m, d), optional
        None counts among the queries, each row's own index excluded.
    radius : float, or array_like of shape (n,) or (m,)
        Required: one for all, or one per row of the set that `radius_of` names. At least 0,
        infinity allowed.
    metric, metric_params
        As in `knn`; inner_product is not a distance and rejected.
    radius_of : {"query", "reference"}
        Whose the radii are.
    closed : bool, default True
        Whether a pair exactly at its radius counts: :math:`\le`, or :math:`<` when False.
    distance_dtype : {"float32", "float64"}, optional
        What distances and radii are rounded to before they are compared; by default float64 as
        soon as one input is, else float32. So the counts agree with the distances that `knn`
        returns.
    workers, check_finite, progress, memory_limit, devices
        As in `knn`.

    Returns
    -------
    ndarray of shape (n,), int64
        One count per query, whosever the radii.

    Raises
    ------
    TypeError
        If radius is missing or not real, or as in `knn`.
    ValueError
        If a radius is negative or NaN (the first such position is named), there are more or fewer
        of them than rows, the metric is inner_product, or as in `knn`.

    Notes
    -----
    O(n m d) operations; memory beyond inputs and result is O(tiles), never n x m. Pairs whose
    screened distance is too near to the radius to be told apart are settled by their canonical
    float64 value, so the counts are the same on every backend and number of threads.

    Examples
    --------
    >>> import pairtile as pt
    >>> x = [[0.0], [1.0], [3.0]]
    >>> pt.radius_count(x, radius=2.0)
    array([1, 2, 1])
    >>> pt.radius_count(x, radius=2.0, closed=False)
    array([1, 1, 0])
    >>> pt.radius_count(x, radius=[0.0, 1.0, 3.0], radius_of="reference")
    array([2, 1, 0])
    """
    needs_radius("radius_count", reference, radius)
    metric = metrics.check_distance(metric, metric_params)
    metric_params, (reference, queries) = coded(
        metric, metric_params, reference=reference, queries=queries
    )
    finite = metrics.finite(metric, check_finite)
    scalars.choice("radius_of", radius_of, ("query", "reference"))
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    q, r = point_sets(
        "queries", queries, reference, check_finite=finite, workers=workers, memory_limit=limit
    )
    over = validate.devices(devices, queries=q, reference=r)
    n, m = len(q), len(q if r is None else r)
    measure = metrics.resolve(metric, metric_params, reference=r, queries=q)
    dtype = scalars.float_dtype("distance_dtype", distance_dtype)
    dtype = dtype or validate.working_dtype(q, q if r is None else r).name
    of_query = radius_of == "query"
    rows = "queries" if of_query or r is None else "reference"
    radii = radii_of(radius, rows, n if of_query else m, dtype)
    with reporting(progress, n * m) as (report,):
        by_query_radii, _, by_reference_radii, _ = choose.over(over, q, r).radius_counts(
            q,
            r,
            measure.name,
            radii if of_query else None,
            None if of_query else radii,
            closed=bool(closed),
            dtype=dtype,
            per_reference=False,
            metric_params=measure.params,
            workers=workers,
            memory_limit=limit,
            progress=report,
        )
    wrap = validate.like(queries, reference)
    counts: NDArray[np.int64] = wrap(by_query_radii if of_query else by_reference_radii)
    return counts


def radius_neighbors(
    queries: ArrayLike,
    reference: ArrayLike | None = None,
    radius: ArrayLike | None = None,
    *,
    metric: Metric = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    closed: bool = True,
    distance_dtype: str | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    memory_limit: int | str | None = None,
) -> RadiusNeighbors:
    r"""All references within a radius of each query, nearest first.

    Parameters
    ----------
    queries : array_like of shape (n, d)
        Real numbers.
    reference : array_like of shape (m, d), optional
        None searches the queries among themselves, each row's own index excluded.
    radius : float or array_like of shape (n,)
        Required: one for all queries or one for each. At least 0, infinity allowed.
    metric, metric_params
        As in `knn`; inner_product is not a distance and rejected.
    closed : bool, default True
        Whether a reference exactly at the radius is a neighbour.
    distance_dtype : {"float32", "float64"}, optional
        Of the distances, and what radii are rounded to before they are compared with them; by
        default float64 as soon as one input is, else float32.
    workers, check_finite, progress, memory_limit
        As in `knn`.

    Returns
    -------
    RadiusNeighbors
        ``(indptr, indices, distances)``; neighbours of one query in the order of
        (canonical float64 value, index), as `knn` has it. Torch tensors in, torch tensors out.

    Raises
    ------
    TypeError, ValueError
        As in `radius_count`.

    Notes
    -----
    One sweep of O(n m d) operations, half of them within one set, where each pair serves both of
    its rows; memory beyond inputs and result is O(tiles) and 16 bytes for each neighbour, or each
    pair within one set whose radii are one number. Where near rows are few, tiles that can hold no
    neighbour are left out, as in `knn`. Sets that are not in memory, read block by
    block as in `knn`, are counted first; `memory_limit` then also holds the neighbours of some
    queries at a time, but not those of a single query that has too many.

    Examples
    --------
    >>> import pairtile as pt
    >>> found = pt.radius_neighbors([[0.0], [1.0], [3.0]], radius=2.0)
    >>> found.indptr
    array([0, 1, 3, 4])
    >>> found.indices
    array([1, 0, 2, 1])
    >>> found.distances
    array([1., 1., 2., 2.])
    """
    needs_radius("radius_neighbors", reference, radius)
    metric = metrics.check_distance(metric, metric_params)
    metric_params, (reference, queries) = coded(
        metric, metric_params, reference=reference, queries=queries
    )
    finite = metrics.finite(metric, check_finite)
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    q, r = point_sets(
        "queries", queries, reference, check_finite=finite, workers=workers, memory_limit=limit
    )
    measure = metrics.resolve(metric, metric_params, reference=r, queries=q)
    dtype = scalars.float_dtype("distance_dtype", distance_dtype)
    dtype = dtype or validate.working_dtype(q, q if r is None else r).name
    radii = radii_of(radius, "queries", len(q), dtype)
    with reporting(progress, len(q) * len(q if r is None else r)) as (report,):
        found = choose.module(q, r).radius_neighbors(
            q,
            r,
            measure.name,
            radii,
            closed=bool(closed),
            dtype=dtype,
            metric_params=measure.params,
            workers=workers,
            memory_limit=limit,
            progress=report,
        )
    return RadiusNeighbors(*map(validate.like(queries, reference), found))
