"""Searches of sets that are not in memory, block by block, with the result of a search in memory.

Every block is reported in ordered canonical values, which know nothing of the block they were
computed in: merged by (value, index), the lists are those of the whole. A self-join cuts queries
and references alike, so that a block either meets itself, or shares no row with the other.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._backends.blocks.reading import (
    BESIDE,
    block_bytes,
    blocks,
    in_host_memory,
    load,
    within,
)
from pairtile._backends.pairs import first_of, no_pairs, together
from pairtile._backends.refusals import require_finite, require_memory
from pairtile._backends.rows import Rows, spans
from pairtile._definitions.metrics import finish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pairtile._backends.pairs import Pairs
    from pairtile._definitions.metrics import Params
    from pairtile._front.progress import Report

    Set = NDArray[Any] | Rows
    Counts = NDArray[np.int64]
    Visit = Callable[[slice, slice, NDArray[Any], NDArray[Any] | None, Report | None], None]

__all__ = [
    "distance_products",
    "group_medoids",
    "knn",
    "knn_plan",
    "largest_radius_ratios",
    "nearest_pairs",
    "pairs_within",
    "radius_counts",
    "radius_neighbors",
]

MEMORY_LIMIT = 256 << 20
ENGINE_MEMORY = 64 << 20  # more is of no use to the engine, unless k asks for it
MERGED = 1 << 15  # entries of lists or of CSR rows that are put in order at once ...
MERGED_BYTES = 64  # ... and what each of them takes meanwhile


class _Cut(NamedTuple):
    """How the memory is shared out."""

    queries: int  # rows of a block
    references: int
    merged: int  # entries
    engine: int  # bytes


def _usual_memory() -> tuple[int, int]:
    """Bytes in all where there is no limit, and those that the engine has a use for."""
    if choose.backend() != "cuda":
        return MEMORY_LIMIT, ENGINE_MEMORY
    found: tuple[int, int] = choose.module().block_memory()
    return found


def _ahead() -> int:
    """Blocks of references that are held: on a device the next one, too."""
    return 2 if choose.backend() == "cuda" else 1


def _cut(
    queries: Set,
    reference: Set | None,
    memory_limit: int,
    *,
    k: int = 0,
    bytes_per_query: int = 16,
    merged: int = MERGED,
    neighbors: bool = False,
) -> _Cut:
    """The largest blocks within the limit, or half of them and many `neighbors` at once."""
    others = queries if reference is None else reference
    m = len(others)
    usual, most_engine = _usual_memory()
    per_query = bytes_per_query + block_bytes(queries)
    per_reference = _ahead() * block_bytes(others)
    engine = choose.module().least_memory(queries.shape[1], k)
    merging = 0 if choose.backend() == "cuda" else MERGED_BYTES * merged  # or on the host
    least = engine + merging + per_query + per_reference
    require_memory(memory_limit, least, beside=BESIDE)
    spare = max(memory_limit or usual, least) - least
    more = min(spare // 4, max(0, most_engine - engine))
    engine, spare = engine + more, spare - more
    if neighbors:
        merged += spare // 2 // MERGED_BYTES
        spare -= spare // 2
    room = spare + per_query + per_reference
    if reference is None:
        rows = room // (per_query + per_reference)
        return _Cut(rows, rows, merged, engine)
    # half for either side, and what one of them does not need for the other
    rows = max(room // 2, room - m * max(1, per_reference)) // per_query
    rows = min(len(queries), max(1, rows))
    return _Cut(rows, max(1, (room - rows * per_query) // max(1, per_reference)), merged, engine)


def _sweep(
    queries: Set,
    reference: Set | None,
    cut: _Cut,
    workers: int,
    progress: Report | None,
    visit: Visit,
    which: Literal["all", "earlier", "later"] = "all",
) -> None:
    """visit(rows, cols, queries[rows], references[cols], report) for all pairs of blocks.

    The references are None where a block of a self-join meets itself. Of such a join, blocks of
    columns before that one can be left out, or those after it.
    """
    others = queries if reference is None else reference
    n, m = len(queries), len(others)
    for rows in spans(n, cut.queries):
        q: Any = None  # so that no block is held while the next one is read
        with closing(blocks(queries, [rows], workers)) as loaded:
            q = next(loaded)
        met = [
            cols
            for cols in spans(m, cut.references)
            if not (which == "earlier" and cols.start >= rows.stop)
            and not (which == "later" and cols.stop <= rows.start)
        ]
        read = [cols for cols in met if reference is not None or cols != rows]
        with closing(blocks(others, read, workers)) as loaded:
            for cols in met:
                r: Any = None
                if reference is not None or cols != rows:
                    r = next(loaded)
                before = rows.start * m + len(q) * cols.start
                pairs = len(q) * (cols.stop - cols.start)
                visit(rows, cols, q, r, within(progress, before, pairs, n * m))
                if progress is not None:
                    progress(before + pairs, n * m)


def _merge(
    values: NDArray[np.float64],
    indices: Counts,
    new_values: NDArray[np.float64],
    new_indices: Counts,
) -> None:
    """Puts the lists of later references into those of earlier ones.

    All are sorted by (value, index), and a stable sort lets earlier references win a tie. NaN, for
    no neighbour, sorts last, and those of the lists so far come first: no new one gets in.
    """
    k = values.shape[1]
    for rows in spans(len(values), max(1, MERGED // (2 * k))):
        both = np.concatenate([values[rows], new_values[rows]], axis=1)
        order = np.argsort(both, axis=1, kind="stable")[:, :k]
        values[rows] = np.take_along_axis(both, order, axis=1)
        numbers = np.concatenate([indices[rows], new_indices[rows]], axis=1)
        indices[rows] = np.take_along_axis(numbers, order, axis=1)


def knn_plan(
    queries: Set, reference: Set | None, k: int, metric: str, **options: Any
) -> tuple[str, int, list[str]]:
    """What `knn` does, at most."""
    del k, metric, options
    pairs = len(queries) * len(queries if reference is None else reference)
    return "all pairs", pairs, ["rows are read block by block, and every two blocks meet"]


def knn(
    queries: Set,
    reference: Set | None,
    k: int,
    metric: str,
    *,
    dtype: str,
    precision: str,
    metric_params: Params = None,
    earlier: bool = False,
    check_finite: bool = False,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
    **predicates: Any,
) -> tuple[NDArray[Any], Counts]:
    """The k nearest admissible references of each query, in order of (value, index)."""
    n, m = len(queries), len(queries if reference is None else reference)
    backend = choose.module()
    if check_finite and isinstance(reference, np.ndarray):  # blocks of `Rows` are when read
        require_finite("reference", backend.first_nonfinite(reference, workers=workers))
    # per query: the best values so far, and what a block finds
    cut = _cut(
        queries, reference, memory_limit, k=k, bytes_per_query=24 * k, merged=max(MERGED, 2 * k)
    )
    distances = np.empty((n, k), dtype=dtype)
    indices = np.full((n, k), -1, dtype=np.int64)
    best = np.empty((min(n, cut.queries), k))

    def visit(
        rows: slice, cols: slice, q: NDArray[Any], r: NDArray[Any] | None, report: Report | None
    ) -> None:
        values = best[: len(q)]
        if cols.start == 0:
            values[:] = np.nan
        others = cols.stop - cols.start - (r is None)
        if others > 0:
            found = in_host_memory(
                backend.knn(
                    q,
                    r,
                    min(k, others),
                    metric,
                    dtype="ordered",
                    precision=precision,
                    earlier=earlier and r is None,
                    metric_params=metric_params,
                    workers=workers,
                    memory_limit=cut.engine,
                    progress=report,
                    **{name: _part(name, given, rows, cols) for name, given in predicates.items()},
                )
            )
            _merge(values, indices[rows], found[0], found[1] + cols.start)
        if cols.stop == m or (earlier and r is None):
            missing = -np.inf if metric == "inner_product" else np.inf
            for some in spans(len(q), max(1, MERGED // k)):
                with np.errstate(over="ignore"):
                    reported = finish(metric, values[some], metric_params)
                    reported[indices[rows][some] < 0] = missing
                    distances[rows][some] = reported

    which: Literal["all", "earlier"] = "earlier" if earlier else "all"
    _sweep(queries, reference, cut, workers, progress, visit, which)
    return distances, indices


def _part(name: str, given: Any, rows: slice, cols: slice) -> Any:
    """What a predicate says of the rows of one pair of blocks."""
    if name.startswith("query_"):
        return given[rows]
    return given[cols] if name.startswith("reference_") else given


def radius_counts(
    queries: Set,
    reference: Set | None,
    metric: str,
    query_radii: NDArray[Any] | None,
    reference_radii: NDArray[Any] | None,
    *,
    per_reference: bool = True,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
    **options: Any,
) -> tuple[Counts | None, Counts | None, Counts | None, Counts | None]:
    """Pairs inside by the radii of queries, then of references; each per query and per reference.

    None where those radii were not given, and in place of counts per reference unless asked for.
    """
    cut = _cut(queries, reference, memory_limit, merged=0)
    n, m = len(queries), len(queries if reference is None else reference)
    count = choose.module().radius_counts
    totals = tuple(
        np.zeros(rows, np.int64) if radii is not None and asked else None
        for radii in (query_radii, reference_radii)
        for rows, asked in ((n, True), (m, per_reference))
    )

    def visit(
        rows: slice, cols: slice, q: NDArray[Any], r: NDArray[Any] | None, report: Report | None
    ) -> None:
        found = in_host_memory(
            count(
                q,
                r,
                metric,
                None if query_radii is None else query_radii[rows],
                None if reference_radii is None else reference_radii[cols],
                per_reference=per_reference,
                workers=workers,
                memory_limit=cut.engine,
                progress=report,
                **options,
            )
        )
        for total, counts, part in zip(totals, found, (rows, cols, rows, cols), strict=True):
            if total is not None:
                total[part] += counts

    _sweep(queries, reference, cut, workers, progress, visit)
    return totals[0], totals[1], totals[2], totals[3]


def radius_neighbors(
    queries: Set,
    reference: Set | None,
    metric: str,
    radii: NDArray[Any],
    *,
    dtype: str,
    metric_params: Params = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
    **options: Any,
) -> tuple[Counts, Counts, NDArray[Any]]:
    """CSR of the references inside each query's radius, in order of (value, index)."""
    pairs = len(queries) * len(queries if reference is None else reference)
    search = choose.module().radius_neighbors
    cut = _cut(queries, reference, memory_limit, neighbors=True)
    options.update(dtype=dtype, metric_params=metric_params, workers=workers)
    counts, *_ = radius_counts(
        queries,
        reference,
        metric,
        radii,
        None,
        per_reference=False,
        memory_limit=memory_limit,
        progress=within(progress, 0, pairs, 2 * pairs),
        **options,
    )
    assert counts is not None
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = np.empty(indptr[-1], np.int64)
    values = np.empty(indptr[-1])
    filled = indptr[:-1].copy()

    def visit(
        rows: slice, cols: slice, q: NDArray[Any], r: NDArray[Any] | None, report: Report | None
    ) -> None:
        for some in _spans_of(indptr[rows.start : rows.stop + 1], cut.merged):
            starts, numbers, ordered = in_host_memory(
                search(
                    q[some],
                    q if r is None else r,
                    metric,
                    radii[rows][some],
                    ordered=True,
                    memory_limit=cut.engine,
                    progress=within(report, some.start, some.stop - some.start, len(q)),
                    **options,
                )
            )
            numbers += cols.start
            row = np.repeat(np.arange(rows.start, rows.stop)[some], np.diff(starts))
            if r is None:  # a row is no neighbour of itself
                other = numbers != row
                row, numbers, ordered = row[other], numbers[other], ordered[other]
            found = np.bincount(row - rows.start - some.start, minlength=some.stop - some.start)
            first = np.cumsum(found) - found
            to = np.arange(len(row)) + np.repeat(filled[rows][some] - first, found)
            indices[to] = numbers
            values[to] = ordered
            filled[rows][some] += found

    report_fill = within(progress, pairs, pairs, 2 * pairs)
    _sweep(queries, reference, cut, workers, report_fill, visit)
    distances = values if dtype == "float64" else np.empty(len(values), dtype)
    for some in _spans_of(indptr, cut.merged):
        at = slice(indptr[some.start], indptr[some.stop])
        row = np.repeat(np.arange(some.start, some.stop), counts[some])
        order = np.lexsort((values[at], row))  # stable, and references came in ascending order
        indices[at] = indices[at][order]
        with np.errstate(over="ignore", under="ignore"):
            distances[at] = finish(metric, values[at][order], metric_params)
    return indptr, indices, distances


def largest_radius_ratios(
    queries: Set,
    reference: Set,
    metric: str,
    radii: NDArray[np.float64],
    *,
    workers: int,
    progress: Report | None = None,
    **options: Any,
) -> NDArray[np.float64]:
    """For each query the largest radius / distance over the references, inf at distance 0."""
    cut = _cut(queries, reference, 0, merged=0)
    find = choose.module().largest_radius_ratios
    largest = np.zeros(len(queries))

    def visit(
        rows: slice, cols: slice, q: NDArray[Any], r: NDArray[Any] | None, report: Report | None
    ) -> None:
        ratios = find(q, r, metric, radii[cols], workers=workers, progress=report, **options)
        largest[rows] = np.maximum(largest[rows], *in_host_memory([ratios]))

    _sweep(queries, reference, cut, workers, progress, visit)
    return largest


def distance_products(
    queries: Set,
    reference: Set,
    metric: str,
    *radii: float,
    workers: int,
    progress: Report | None = None,
    **options: Any,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Products of min(1, distance / radius) over all pairs of a query, and of a reference."""
    cut = _cut(queries, reference, 0, merged=0)
    find = choose.module().distance_products
    of_queries, of_references = np.ones(len(queries)), np.ones(len(reference))

    def visit(
        rows: slice, cols: slice, q: NDArray[Any], r: NDArray[Any] | None, report: Report | None
    ) -> None:
        found = find(q, r, metric, *radii, workers=workers, progress=report, **options)
        of_rows, of_cols = in_host_memory(found)
        of_queries[rows] *= of_rows
        of_references[cols] *= of_cols

    _sweep(queries, reference, cut, workers, progress, visit)
    return of_queries, of_references


def pairs_within(
    x: Set,
    y: Set | None,
    metric: str,
    limit: float,
    *,
    metric_params: Params = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> Pairs:
    """Pairs (i, j) of a value up to the limit, in order; with y None those of i < j."""
    cut = _cut(x, y, memory_limit, merged=0)
    find = choose.module().pairs_within
    of_rows: list[Pairs] = []  # of each block of rows, in order
    parts: list[Pairs] = []

    def visit(
        rows: slice, cols: slice, q: NDArray[Any], r: NDArray[Any] | None, report: Report | None
    ) -> None:
        i, j, values = in_host_memory(
            find(
                q,
                r,
                metric,
                limit,
                metric_params=metric_params,
                workers=workers,
                memory_limit=cut.engine,
                progress=report,
            )
        )
        parts.append((i + rows.start, j + cols.start, values))
        if cols.stop == len(x if y is None else y):
            i, j, values = together(parts)
            order = np.argsort(i, kind="stable")  # blocks of columns came in ascending order
            of_rows.append((i[order], j[order], values[order]))
            parts.clear()

    _sweep(x, y, cut, workers, progress, visit, "all" if y is not None else "later")
    return together(of_rows)


def nearest_pairs(
    x: Set,
    y: Set | None,
    count: int,
    metric: str,
    *,
    metric_params: Params = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> Pairs:
    """The first pairs by (value, i, j), in order; with y None of those of i < j."""
    cut = _cut(x, y, memory_limit, merged=0)
    find = choose.module().nearest_pairs
    best = no_pairs()

    def visit(
        rows: slice, cols: slice, q: NDArray[Any], r: NDArray[Any] | None, report: Report | None
    ) -> None:
        nonlocal best
        pairs = len(q) * (len(q) - 1) // 2 if r is None else len(q) * len(r)
        if not pairs:
            return
        i, j, values = in_host_memory(
            find(
                q,
                r,
                min(count, pairs),
                metric,
                metric_params=metric_params,
                workers=workers,
                memory_limit=cut.engine,
                progress=report,
            )
        )
        best = first_of([best, (i + rows.start, j + cols.start, values)], count)

    _sweep(x, y, cut, workers, progress, visit, "all" if y is not None else "later")
    return best


def group_medoids(
    x: Rows,
    metric: str,
    indptr: Counts,
    members: Counts,
    *,
    metric_params: Params = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> Counts:
    """The member of each group with the least sum of distances to the others, the first of ties.

    As many groups at a time as fit into half of the memory, and at least one; the other half is
    for blocks of rows to find them in.
    """
    find = choose.module().group_medoids
    room = (memory_limit or MEMORY_LIMIT) // 2
    kept = x.shape[1] * x.dtype.itemsize
    largest = int(np.diff(indptr).max())
    if 0 < memory_limit < 2 * largest * kept:
        raise ValueError(
            f"memory_limit={memory_limit} is too small: the largest group has {largest} rows, and "
            f"its medoid needs {2 * largest * kept} bytes"
        )
    medoids: list[Counts] = []
    for groups in _spans_of(indptr, max(1, room // kept)):
        some = members[indptr[groups.start] : indptr[groups.stop]]
        wanted = np.sort(some)
        rows = np.empty((len(some), x.shape[1]), x.dtype)
        for block in spans(len(x), max(1, room // x.row_bytes)):
            first, last = np.searchsorted(wanted, [block.start, block.stop])
            if first < last:
                read = load(x, block, workers)
                rows[first:last] = read[wanted[first:last] - block.start]
        found = find(
            rows,
            metric,
            indptr[groups.start : groups.stop + 1] - indptr[groups.start],
            np.searchsorted(wanted, some),
            metric_params=metric_params,
            workers=workers,
            progress=within(progress, indptr[groups.start], len(some), len(members)),
        )
        medoids.append(wanted[found])
    return np.concatenate(medoids)


def _spans_of(indptr: Counts, entries: int) -> Iterator[slice]:
    """Rows of a CSR matrix in spans of at most so many entries, of one row where that has more."""
    start, rows = 0, len(indptr) - 1
    while start < rows:
        stop = int(np.searchsorted(indptr, indptr[start] + entries, side="right")) - 1
        stop = max(start + 1, stop)
        yield slice(start, stop)
        start = stop
