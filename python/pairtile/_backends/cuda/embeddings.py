"""What losses and analyses of embeddings ask of neighbours: canonical values of all pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends import choose
from pairtile._backends.cuda import panels
from pairtile._backends.cuda.memory import (
    address,
    addresses,
    current_stream,
    device_of,
    float64,
    in_launches,
    to_input_namespace,
    upload,
    workspace,
)
from pairtile._backends.cuda.neighbors import PairOfSets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Counts = NDArray[np.int64]
    Floats = NDArray[np.float64]


_COLUMNS = 1 << 27  # bytes of what a launch finds for the columns of its tiles


def farthest_of_group(
    x: Any,
    metric: str,
    groups: Counts,
    *,
    workers: int,
    progress: Report | None = None,
) -> tuple[Any, Any]:
    """Ordered value and index of the farthest other row of the same group; NaN and -1 for none."""
    del workers
    with device_of(x):
        join = PairOfSets(x, None, metric, None)
        n = join.q.n
        values = cupy.full(n, cupy.nan, dtype=cupy.float64)
        indices = cupy.full(n, -1, dtype=cupy.int64)
        of_rows = upload(groups)
        tile = n * _cuda.farthest_bytes  # of 32 rows
        batches = [
            (first + a, first + b)
            for first, stop in join.batches("farthest")
            for a, b in panels.batches(stop - first, 32 * (_COLUMNS // tile))
        ]
        states = workspace("farthest", batches, n)
        tiles = max(-(-(stop - first) // 32) for first, stop in batches)
        columns = cupy.empty(tiles * tile, dtype=cupy.uint8)
        for batch in in_launches(batches, progress):
            _cuda.farthest_of_group(
                **join.arguments,
                rows=batch,
                groups=address(of_rows),
                workspace=addresses((states, columns)),
                values=address(values),
                indices=address(indices),
                stream=current_stream(),
            )
        found: tuple[Any, Any] = to_input_namespace(x, values, indices)
        return found


def next_beyond(
    x: Any,
    metric: str,
    groups: Counts,
    anchors: Counts,
    indptr: Counts,
    listed: Counts,
    *,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, Counts]:
    """What semi-hard triplets are made of, on the host: rows are fetched."""
    rows = x if isinstance(x, np.ndarray) else x.get()
    found: tuple[Floats, Floats, Counts] = choose.host_module().next_beyond(
        rows, metric, groups, anchors, indptr, listed, workers=workers, progress=progress
    )
    return found


def distance_histogram(
    x: Any,
    metric: str,
    groups: Counts,
    n_groups: int,
    limits: Floats,
    *,
    workers: int,
    progress: Report | None = None,
) -> tuple[Any, Any]:
    """Pairs i < j by ordered value, within each group and between groups.

    Bin b is limits[b - 1] < v <= limits[b], open at either end.
    """
    del workers
    bins = len(limits) + 1
    with device_of(x):
        join = PairOfSets(x, None, metric, None)
        same = cupy.zeros((n_groups, bins), dtype=cupy.int64)
        different = cupy.zeros(bins, dtype=cupy.int64)
        of_rows, ascending = upload(groups), float64(limits)
        for batch in in_launches(join.batches("histogram"), progress):
            _cuda.group_histogram(
                **join.arguments,
                rows=batch,
                groups=address(of_rows),
                bins=(address(ascending), bins, address(same), address(different)),
                stream=current_stream(),
            )
        found: tuple[Any, Any] = to_input_namespace(x, same, different)
        return found


def pair_ranks(
    queries: Any,
    reference: Any,
    metric: str,
    targets: Counts,
    *,
    workers: int,
    progress: Report | None = None,
) -> tuple[Any, Any]:
    """Rank of targets[i] among the references of query i, and of i among the queries of it."""
    del workers
    with device_of(queries, reference):
        join = PairOfSets(queries, reference, metric, None)
        n, m = join.q.n, join.r.n
        # the target of each row, in its place
        turned = join.taken(None, cupy.asarray(targets)).turned()
        own = cupy.empty(n, dtype=cupy.float64)
        for batch in in_launches(turned.batches("ranks"), None):
            _cuda.paired_values(
                **turned.arguments, rows=batch, own=address(own), stream=current_stream()
            )
        ranks = []
        for sweep, (one, column) in enumerate(
            ((join, targets), (turned, np.arange(n, dtype=np.int64)))
        ):
            before, wanted = cupy.zeros(n, dtype=cupy.int64), upload(column)
            for batch in in_launches(one.batches("ranks"), progress, sweep * n, 2 * n):
                _cuda.ranks(
                    **one.arguments,
                    rows=batch,
                    own=address(own),
                    targets=address(wanted),
                    before=address(before),
                    stream=current_stream(),
                )
            last = n if sweep else m  # NaN comes last
            ranks.append(cupy.where(cupy.isnan(own), last, before + 1))
        found: tuple[Any, Any] = to_input_namespace(queries, *ranks)
        return found
