"""Neighbours and distances on the GPU: canonical float64 values of all pairs."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends import choose
from pairtile._backends.cuda import panels, screened, screened_radius
from pairtile._backends.cuda.memory import (
    Rows,
    address,
    addresses,
    current_stream,
    device_of,
    float64,
    in_launches,
    to_input_namespace,
    upload,
    workspace,
    workspace_within,
)
from pairtile._backends.refusals import require_finite
from pairtile._definitions.metrics import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Params = dict[str, Any] | None

_SORTED = 1 << 16  # rows that one launch puts in order


def first_nonfinite(x: Any, *, workers: int) -> int:
    """First row holding NaN or Inf, -1 if there is none."""
    if isinstance(x, np.ndarray):  # which a device need not hold
        found: int = choose.host_module().first_nonfinite(x, workers=workers)
        return found
    with device_of(x):
        return Rows(x).survey()[0]


class Index:
    """The references in device memory, and the norms that cosine divides by."""

    pack = None

    def __init__(
        self,
        reference: Any,
        metric: str,
        *,
        precision: str,
        pack: dict[str, Any] | None = None,
        verify: bool = True,
        workers: int,
    ) -> None:
        del precision, pack, verify, workers
        with device_of(reference):
            self.rows = Rows(reference)
            self.scales = _scales(metric, self.rows)
            cupy.cuda.get_current_stream().synchronize()  # searches may come on any other


def _memory_of(index: Index | None) -> Any:
    return None if index is None else index.rows.memory


def _scales(metric: str, rows: Rows) -> Any:
    """What rows are divided by for a metric, if anything."""
    definition = METRICS[metric]
    return rows.scales(centred=definition.centred) if definition.unit_rows else None


class PairOfSets:
    """Queries, references, and the arguments of every launch on pairs of them."""

    def __init__(
        self,
        queries: Any,
        reference: Any,
        metric: str,
        params: Params,
        index: Index | None = None,
    ) -> None:
        self.itself = reference is None
        if index is None:
            self.r = Rows(queries if self.itself else reference)
            of_references = _scales(metric, self.r)
        else:
            self.r, of_references = index.rows, index.scales
        self.q = self.r if self.itself else Rows(queries)
        of_queries = of_references if self.itself else _scales(metric, self.q)
        self.scales = of_queries, of_references
        given = self._given = params or {}
        self._params = [upload(given.get(name)) for name in ("w", "transform", "ranges")]
        self._measure = (
            "cosine" if METRICS[metric].unit_rows else metric,  # of rows as the scales make them
            given.get("p", 0.0),
            *map(address, self._params),
            given.get("clip", 0.0),
            given.get("n_bits", 0),
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """The metric, and who meets whom."""
        return {
            "sets": (self.q.view, self.r.view, addresses(self.scales)),
            "measure": self._measure,
        }

    def centre(self) -> Any:
        """Where rows are packed about, None for metrics that depend on the origin."""
        if self._measure[0] not in panels.TRANSLATED:
            return None
        centre = cupy.empty(self.q.d, dtype=cupy.float64)
        _cuda.sample_centre(self.q.view, self.r.view, address(centre), current_stream())
        return centre

    def row_map(self, centre: Any, limit: int) -> panels.RowMap | None:
        """What the metric reads rows through, if anything."""
        w, transform = (self._given.get(name) for name in ("w", "transform"))
        with np.errstate(over="ignore"):
            if w is not None:
                return panels.RowMap(float64(np.sqrt(w)), None, centre, limit)
            if transform is not None:
                lengths = np.sqrt((transform**2).sum(axis=0))
                return panels.RowMap(float64(lengths), self._params[1], centre, limit)
        return None

    def turned(self) -> PairOfSets:
        """The same, queries and references changing places."""
        other = copy(self)
        other.q, other.r, other.scales = self.r, self.q, self.scales[::-1]
        return other

    def taken(self, queries: Any, references: Any) -> PairOfSets:
        """The same of some rows of either set, by their numbers; None: of all."""
        other = copy(self)
        other.itself = False
        sides = zip((self.q, self.r), self.scales, (queries, references), strict=True)
        (other.q, of_q), (other.r, of_r) = (_taken(*side) for side in sides)
        other.scales = of_q, of_r
        return other

    def of_rows(self, first: int, stop: int) -> PairOfSets:
        """The same of the queries [first, stop), where they are."""
        other = copy(self)
        other.q = Rows(self.q.memory[first:stop], self.q.dtype)
        if self.scales[0] is not None:
            size = _cuda.scale_bytes
            other.scales = self.scales[0][size * first : size * stop], self.scales[1]
        return other

    def batches(self, statistic: str, k: int = 0, limit: int = 0) -> list[tuple[int, int]]:
        """Query rows of each launch, by what a pair costs in features of a plain metric."""
        metric, d = self._measure[0], self.q.d
        work = d * d if metric == "mahalanobis" else d if METRICS[metric].plain else 16 * d
        return _cuda.batches(statistic, self.q.n, self.r.n, work, k, limit)


def _taken(rows: Rows, scales: Any, which: Any) -> tuple[Rows, Any]:
    if which is None:
        return rows, scales
    some = Rows(rows.memory[which], rows.dtype)
    if scales is not None:
        scales = scales.reshape(rows.n, _cuda.scale_bytes)[which].ravel()
    return some, scales


def knn_plan(
    queries: Any,
    reference: Any,
    k: int,
    metric: str,
    *,
    precision: str,
    metric_params: Params = None,
    index: Index | None = None,
    workers: int,
    memory_limit: int = 0,
) -> tuple[str, int, list[str]]:
    """What `knn` does: every pair, screened on tensor cores where that suffices."""
    del k, metric, precision, metric_params, index, workers, memory_limit
    pairs = len(queries) * len(queries if reference is None else reference)
    return "all pairs", pairs, ["the GPU visits every pair"]


def knn(
    queries: Any,
    reference: Any,
    k: int,
    metric: str,
    *,
    dtype: str,
    precision: str,
    query_groups: NDArray[np.int64] | None = None,
    reference_groups: NDArray[np.int64] | None = None,
    group_rule: str = "",
    query_times: NDArray[Any] | None = None,
    reference_times: NDArray[Any] | None = None,
    reference_mask: NDArray[np.bool_] | None = None,
    earlier: bool = False,
    metric_params: Params = None,
    index: Index | None = None,
    check_finite: bool = False,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> tuple[Any, Any]:
    """The k nearest admissible references of each query, in order of (value, index).

    Every value is the canonical one, whatever the precision. `earlier` takes the place of times.
    """
    del workers
    ordered = dtype == "ordered"
    if ordered:
        dtype = "float64"
        metric = "sqeuclidean" if metric == "euclidean" else metric
    if earlier:
        reference_times = np.arange(len(queries))
        query_times = reference_times - 1
    limit = workspace_within(memory_limit, queries.shape[1], k)
    with device_of(queries, reference, _memory_of(index), limited=True):
        join = PairOfSets(queries, reference, metric, metric_params, index)
        q, r = join.q, join.r
        groups = upload(query_groups), upload(reference_groups)
        times = upload(query_times), upload(reference_times)
        mask = upload(reference_mask)
        nothing = (None, None)
        whole = query_times is not None and query_times.dtype.kind == "i"

        predicate: dict[str, Any] = {
            "exclude_self": join.itself,
            "same_group": group_rule == "same",
            "groups": addresses(groups),
            "times": addresses(nothing if whole else times),
            "ticks": addresses(times if whole else nothing),
            "reference_mask": address(mask),
        }
        distances = cupy.empty((q.n, k), dtype=dtype)
        indices = cupy.empty((q.n, k), dtype=cupy.int64)
        wide = dtype == "float64"
        # as whose distances the ordered values are returned, but for where there is none
        if (
            precision != "float64"
            and not (ordered and (metric == "inner_product" or metric in panels.MAPPED))
            and screened.serves(join.arguments["measure"][0], q, r)
            and screened.knn(join, k, predicate, wide, distances, indices, limit, progress)
        ):
            if ordered:
                distances = cupy.where(indices < 0, np.nan, distances)
            return to_input_namespace(queries, distances, indices)
        if check_finite:  # which a search that is screened to its end has found out by packing
            require_finite("reference", r.survey()[0])
        batches = join.batches("knn", k, limit)
        lists = workspace("knn", batches, r.n, k=k, limit=limit)
        for batch in in_launches(batches, progress):
            _cuda.knn(
                **join.arguments,
                rows=batch,
                k=k,
                **predicate,
                workspace=address(lists),
                limit=limit,
                wide_distances=wide,
                ordered=ordered,
                distances=address(distances),
                indices=address(indices),
                stream=current_stream(),
            )
        found: tuple[Any, Any] = to_input_namespace(queries, distances, indices)
        return found


def _zeros(n: int) -> Any:
    return cupy.zeros(n, dtype=cupy.int64)


def _count(
    join: PairOfSets,
    radii: list[Any],
    sides: list[tuple[Any, Any]],
    closed: bool,
    dtype: str,
    limit: int,
    progress: Report | None,
    total: int | None = None,
    *,
    negated: bool = False,
) -> None:
    """Add to the counts of each side, of queries and of references, those inside its radii.

    Reported as in `in_launches`.
    """
    by_query_radii, by_reference_radii = (
        (address(own), *addresses(side)) for own, side in zip(radii, sides, strict=True)
    )
    arguments: dict[str, Any] = {
        **join.arguments,
        "exclude_self": join.itself,
        "closed": closed,
        "wide_distances": dtype == "float64",
        "by_query_radii": by_query_radii,
        "by_reference_radii": by_reference_radii,
    }
    if screened_radius.serves(arguments["measure"][0], join.q, join.r):
        if screened_radius.counts(join, arguments, limit, progress, total):
            return
        for counts in (*sides[0], *sides[1]):
            if counts is not None:
                counts.fill(0)
    for batch in in_launches(join.batches("radius"), progress, 0, total):
        _cuda.radius_counts(**arguments, negated=negated, rows=batch, stream=current_stream())


def radius_counts_of(
    join: PairOfSets, radii: Any, negated: bool, limit: int, progress: Report | None
) -> tuple[Any, Any]:
    """Pairs within the radii of the queries, per query and per reference.

    Distances are not rounded; `negated`, the negatives of products are compared.
    """
    sides = [(_zeros(join.q.n), None if join.itself else _zeros(join.r.n)), (None, None)]
    _count(join, [radii, None], sides, True, "float64", limit, progress, negated=negated)
    return sides[0]


def inside(
    join: PairOfSets,
    radii: Any,
    *,
    closed: bool = True,
    dtype: str = "float64",
    limit: int = 0,
    negated: bool = False,
    progress: Report | None = None,
) -> tuple[Any, Any, Any, Any]:
    """CSR of the references inside each query's radius: ordered values, and distances."""
    n = join.q.n
    options: dict[str, Any] = {
        **join.arguments,
        "exclude_self": join.itself,
        "closed": closed,
        "wide_distances": dtype == "float64",
    }
    indptr = _zeros(n + 1)
    listed = None
    if screened_radius.serves(join.arguments["measure"][0], join.q, join.r):
        by_query_radii = address(radii), address(indptr[1:]), 0
        radii_of_both = {"by_query_radii": by_query_radii, "by_reference_radii": (0, 0, 0)}
        listed = screened_radius.lists(join, options | radii_of_both, limit, progress, 2 * n)
    if listed is None:
        indptr.fill(0)
        sides = [(indptr[1:], None), (None, None)]
        _count(join, [radii, None], sides, closed, dtype, limit, progress, 2 * n, negated=negated)
    indptr = cupy.cumsum(indptr)
    total = int(indptr[-1])
    indices = cupy.empty(total, dtype=cupy.int64)
    values = cupy.empty(total, dtype=cupy.float64)
    following = indptr.copy()
    filled = address(indptr), address(following), address(indices), address(values)
    while listed:
        listed.pop().place(filled)
    distances = cupy.empty(total, dtype=dtype)
    batches = join.batches("radius") if listed is None else list(panels.batches(n, _SORTED))
    for batch in in_launches(batches, progress, n, 2 * n):
        if listed is None:
            _cuda.radius_neighbors(
                **options,
                negated=negated,
                rows=batch,
                radii=address(radii),
                filled=filled,
                stream=current_stream(),
            )
        _cuda.sort_radius_rows(
            **join.arguments,
            rows=batch,
            filled=filled,
            wide_distances=dtype == "float64",
            distances=address(distances),
            stream=current_stream(),
        )
    return indptr, indices, values, distances


def radius_counts(
    queries: Any,
    reference: Any,
    metric: str,
    query_radii: Any,
    reference_radii: Any,
    *,
    closed: bool,
    dtype: str,
    per_reference: bool = True,
    metric_params: Params = None,
    index: Index | None = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> tuple[Any, Any, Any, Any]:
    """Pairs inside by the radii of queries, then of references; each per query and per reference.

    None where those radii were not given, and in place of counts per reference unless asked for.
    """
    del workers
    limit = workspace_within(memory_limit, queries.shape[1], 0)
    with device_of(
        queries, reference, query_radii, reference_radii, _memory_of(index), limited=True
    ):
        join = PairOfSets(queries, reference, metric, metric_params, index)
        radii = [float64(given) for given in (query_radii, reference_radii)]
        sides = [
            (None, None)
            if own is None
            else (_zeros(join.q.n), _zeros(join.r.n) if per_reference else None)
            for own in radii
        ]
        _count(join, radii, sides, closed, dtype, limit, progress)
        counts: tuple[Any, Any, Any, Any] = to_input_namespace(queries, *sides[0], *sides[1])
        return counts


def radius_neighbors(
    queries: Any,
    reference: Any,
    metric: str,
    radii: Any,
    *,
    closed: bool,
    dtype: str,
    ordered: bool = False,
    metric_params: Params = None,
    index: Index | None = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> tuple[Any, Any, Any]:
    """CSR of the references inside each query's radius, in order of (value, index)."""
    del workers
    limit = workspace_within(memory_limit, queries.shape[1], 0)
    with device_of(queries, reference, radii, _memory_of(index), limited=True):
        join = PairOfSets(queries, reference, metric, metric_params, index)
        indptr, indices, values, distances = inside(
            join, float64(radii), closed=closed, dtype=dtype, limit=limit, progress=progress
        )
        found: tuple[Any, Any, Any] = to_input_namespace(
            queries, indptr, indices, values if ordered else distances
        )
        return found


def pairwise_distances(
    x: Any,
    y: Any,
    metric: str,
    *,
    dtype: str,
    metric_params: Params = None,
    workers: int,
    progress: Report | None = None,
) -> Any:
    """The n x m matrix of canonical distances; y None: of x to itself."""
    del workers
    with device_of(x, y):
        join = PairOfSets(x, y, metric, metric_params)
        distances = cupy.empty((join.q.n, join.r.n), dtype=dtype)
        for batch in in_launches(join.batches("pairwise"), progress):
            _cuda.pairwise_distances(
                **join.arguments,
                rows=batch,
                exclude_self=join.itself,
                wide_distances=dtype == "float64",
                distances=address(distances),
                stream=current_stream(),
            )
        return to_input_namespace(x, distances)[0]
