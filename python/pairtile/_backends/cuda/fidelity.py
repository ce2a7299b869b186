"""Realism and products of distances on the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy

from pairtile import _cuda
from pairtile._backends.cuda.memory import (
    address,
    current_stream,
    device_of,
    float64,
    in_launches,
    to_input_namespace,
    workspace,
)
from pairtile._backends.cuda.neighbors import PairOfSets

if TYPE_CHECKING:
    from pairtile._backends.cuda.neighbors import Params
    from pairtile._front.progress import Report


def largest_radius_ratios(
    queries: Any,
    reference: Any,
    metric: str,
    radii: Any,
    *,
    metric_params: Params = None,
    workers: int,
    progress: Report | None = None,
) -> Any:
    """For each query the largest radius / distance over the references, inf at distance 0.

    References of negative radius are left out; 0 where nothing remains.
    """
    del workers
    with device_of(queries, reference, radii):
        join = PairOfSets(queries, reference, metric, metric_params)
        own = float64(radii)
        largest = cupy.empty(join.q.n, dtype=cupy.float64)
        batches = join.batches("fidelity")
        states = workspace("fidelity", batches, join.r.n)
        for batch in in_launches(batches, progress):
            _cuda.largest_radius_ratios(
                **join.arguments,
                rows=batch,
                radii=address(own),
                workspace=address(states),
                largest=address(largest),
                stream=current_stream(),
            )
        return to_input_namespace(queries, largest)[0]


def distance_products(
    queries: Any,
    reference: Any,
    metric: str,
    query_radius: float,
    reference_radius: float,
    *,
    metric_params: Params = None,
    workers: int,
    progress: Report | None = None,
) -> tuple[Any, Any]:
    """Products of min(1, distance / radius) over all pairs of a query, and of a reference.

    Two sweeps, one for each side: a distance is the same from both.
    """
    del workers
    with device_of(queries, reference):
        join = PairOfSets(queries, reference, metric, metric_params)
        sides = (join, query_radius), (join.turned(), reference_radius)
        results = []
        before, total = 0, join.q.n + join.r.n
        for side, radius in sides:
            products = cupy.empty(side.q.n, dtype=cupy.float64)
            batches = side.batches("fidelity")
            states = workspace("fidelity", batches, side.r.n)
            for batch in in_launches(batches, progress, before, total):
                _cuda.distance_products(
                    **side.arguments,
                    rows=batch,
                    radius=radius,
                    workspace=address(states),
                    of_queries=address(products),
                    stream=current_stream(),
                )
            results.append(products)
            before += side.q.n
        found: tuple[Any, Any] = to_input_namespace(queries, *results)
        return found
