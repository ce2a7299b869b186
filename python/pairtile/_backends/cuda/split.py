"""Calls whose first set is split between devices: the `devices=` keyword of the public functions.

Each share of the rows is computed in a thread of its own, on its device, as if it were a call by
itself; what comes back is put together on the device of the inputs. Neighbours and counts are those
of the whole. Sums are added in the order of the devices, so that one list of them gives the same
bits every time. A device may be listed more than once.

    rows -> shares -> references copied to each device -> a thread for each share -> put together
"""

from __future__ import annotations

import math
import queue
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile._backends.cuda.kernels import kernel_total
from pairtile._backends.cuda.memory import device_count, device_of, least_memory
from pairtile._backends.cuda.neighbors import first_nonfinite, knn, radius_counts
from pairtile._backends.refusals import require_finite, require_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Term = tuple[float, str, tuple[float, ...]]
    Work = Callable[[slice, Any, "Report"], Any]  # rows of a share, the references where it is

_AT_ONCE = 1 << 22  # neighbours from which a row itself is taken out at a time


class _Stopped(Exception):
    """Ends a share whose call has failed elsewhere."""


class Split:
    """Functions of the seam, over some devices."""

    def __init__(self, devices: Sequence[int]) -> None:
        known = device_count()
        for device in devices:
            if device >= known:
                raise ValueError(
                    f"devices has {device}, and the CUDA devices here are 0 to {known - 1}"
                )
        self._devices = list(devices)

    def knn(
        self,
        queries: Any,
        reference: Any,
        k: int,
        metric: str,
        *,
        check_finite: bool = False,
        memory_limit: int = 0,
        progress: Report | None = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        """The k nearest admissible references of each query, in order of (value, index)."""
        itself = reference is None
        if check_finite and not itself:
            require_finite("reference", first_nonfinite(reference, workers=1))
        most = k + itself  # a row meets itself, which is taken out again
        limit = self._limit_of_share(memory_limit, queries.shape[1], most)

        def search(rows: slice, others: Any, report: Report) -> tuple[Any, Any]:
            found = knn(
                _here(queries[rows]),
                others,
                most,
                metric,
                memory_limit=limit,
                progress=report,
                **{name: _of_rows(name, given, rows) for name, given in options.items()},
            )
            return _without_self(*found, rows.start) if itself else found

        shares = self._even(len(queries))
        found = self._run(search, shares, queries, queries if itself else reference, progress)
        distances, indices = _together(queries, found)
        return distances, indices

    def radius_counts(
        self,
        queries: Any,
        reference: Any,
        metric: str,
        query_radii: Any,
        reference_radii: Any,
        *,
        memory_limit: int = 0,
        progress: Report | None = None,
        **options: Any,
    ) -> tuple[Any, Any, Any, Any]:
        """Pairs inside by the radii of queries, then of references; each per query.

        None in the places of the counts per reference, which no share has alone.
        """
        limit = self._limit_of_share(memory_limit, queries.shape[1], 0)

        def count(rows: slice, others: Any, report: Report) -> list[Any]:
            own = _here(queries[rows])
            radii = None if query_radii is None else _here(query_radii[rows])
            m = len(others)
            parts = [(slice(0, m), others)]
            if reference is None:  # a row does not count itself
                before, after = slice(0, rows.start), slice(rows.stop, m)
                parts = [(rows, None), (before, others[before]), (after, others[after])]
            totals: list[Any] = [None, None]
            done = 0
            for cols, some in parts:
                size = cols.stop - cols.start
                if not size:
                    continue
                of_own, _, of_others, _ = radius_counts(
                    own,
                    some,
                    metric,
                    radii,
                    None if reference_radii is None else _here(reference_radii[cols]),
                    memory_limit=limit,
                    progress=_within(report, done, size, m),
                    **options,
                )
                done += size
                for side, counts in enumerate((of_own, of_others)):
                    total = totals[side]
                    totals[side] = counts if total is None or counts is None else total + counts
            return totals

        shares = self._even(len(queries))
        others = queries if reference is None else reference
        found = self._run(count, shares, queries, others, progress)
        by_query_radii, by_reference_radii = _together(queries, found)
        return by_query_radii, None, by_reference_radii, None

    def kernel_total(
        self,
        x: Any,
        y: Any,
        terms: Sequence[Term],
        x_weights: NDArray[np.float64] | None,
        y_weights: NDArray[np.float64] | None,
        *,
        progress: Report | None = None,
        **options: Any,
    ) -> float:
        """Sum over ordered pairs of w_i w_j k(x_i, y_j); y None: over i != j of x."""
        itself = y is None
        n = len(x)

        def add(rows: slice, others: Any, report: Report) -> float:
            own = _here(x[rows])
            v = None if x_weights is None else x_weights[rows]
            if not itself:
                return kernel_total(own, others, terms, v, y_weights, progress=report, **options)
            # pairs within the share, and twice those with the rows that come after it
            size, after = rows.stop - rows.start, n - rows.stop
            whole = size + 2 * after
            near = _within(report, 0, size, whole)
            total = kernel_total(own, None, terms, v, None, progress=near, **options)
            if after:
                w = None if x_weights is None else x_weights[rows.stop :]
                far = _within(report, size, 2 * after, whole)
                rest = others[rows.stop :]
                total += 2.0 * kernel_total(own, rest, terms, v, w, progress=far, **options)
            return total

        shares = self._triangular(n) if itself else self._even(n)
        return float(sum(self._run(add, shares, x, x if itself else y, progress)))

    def _even(self, n: int) -> list[slice]:
        """Shares of as many rows; an empty one where there are more devices than rows."""
        s = len(self._devices)
        return [slice(n * i // s, n * (i + 1) // s) for i in range(s)]

    def _triangular(self, n: int) -> list[slice]:
        """Shares of as many pairs with rows that do not come before."""
        s = len(self._devices)
        bounds = [round(n * (1.0 - math.sqrt(1.0 - i / s))) for i in range(s + 1)]
        return [slice(bounds[i], bounds[i + 1]) for i in range(s)]

    def _limit_of_share(self, memory_limit: int, d: int, k: int) -> int:
        """What each of the shares on one device has of the limit for it."""
        most = max(Counter(self._devices).values())
        require_memory(memory_limit, most * least_memory(d, k))
        return memory_limit // most

    def _run(
        self, work: Work, shares: list[slice], x: Any, others: Any, progress: Report | None
    ) -> list[Any]:
        """What work returns for each share, None for empty ones; the first error is raised."""
        with device_of(x, others):
            cupy.cuda.get_current_stream().synchronize()  # the shares come on other streams
        references = {device: _copied(others, device) for device in set(self._devices)}
        results: list[Any] = [None] * len(shares)
        errors: list[BaseException | None] = [None] * len(shares)
        done = [0] * len(shares)
        news: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        stopped = threading.Event()

        def run(share: int, rows: slice, device: int) -> None:
            def report(part: int, total: int) -> None:
                if stopped.is_set():
                    raise _Stopped
                news.put((share, (rows.stop - rows.start) * part // total if total else 0))

            try:
                with cupy.cuda.Device(device):
                    results[share] = work(rows, references[device], report)
                    cupy.cuda.get_current_stream().synchronize()
            except BaseException as error:
                errors[share] = error
                stopped.set()
            finally:
                news.put(None)

        threads = [
            threading.Thread(target=run, args=(share, rows, device), daemon=True)
            for share, (rows, device) in enumerate(zip(shares, self._devices, strict=True))
            if rows.start < rows.stop
        ]
        for thread in threads:
            thread.start()
        try:
            running = len(threads)
            while running:
                share = news.get()
                if share is None:
                    running -= 1
                elif progress is not None:
                    done[share[0]] = share[1]
                    progress(sum(done), len(x))
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
        for error in errors:
            if error is not None and not isinstance(error, _Stopped):
                raise error
        return [result for result in results if result is not None]


def _here(a: Any) -> Any:
    """The array on the current device; NumPy's stay where they are."""
    there = isinstance(a, np.ndarray) or a.device.id == cupy.cuda.Device().id
    return a if there else a.copy()


def _copied(a: Any, device: int) -> Any:
    """The array on a device, ready for every stream."""
    with cupy.cuda.Device(device), device_of():
        found = _here(a)
        cupy.cuda.get_current_stream().synchronize()
    return found


def _of_rows(name: str, given: Any, rows: slice) -> Any:
    """What an option says of some queries."""
    return given[rows] if name.startswith("query_") and given is not None else given


def _without_self(distances: Any, indices: Any, first: int) -> tuple[Any, Any]:
    """One neighbour less for each row: itself, or else the last."""
    n, k = indices.shape[0], indices.shape[1] - 1
    kept = tuple(cupy.empty((n, k), dtype=a.dtype) for a in (distances, indices))
    step = max(1, _AT_ONCE // (k + 1))
    for start in range(0, n, step):
        rows = slice(start, min(n, start + step))
        own = cupy.arange(first + rows.start, first + rows.stop)[:, None]
        beyond = cupy.cumsum(indices[rows] == own, axis=1)[:, :k] > 0
        for out, given in zip(kept, (distances, indices), strict=True):
            out[rows] = cupy.where(beyond, given[rows][:, 1:], given[rows][:, :k])
    return kept[0], kept[1]


def _together(x: Any, found: list[Any]) -> list[Any]:
    """Results of the shares one after another, on the device of x."""
    wholes: list[Any] = []
    with device_of(x):
        for parts in zip(*found, strict=True):
            if parts[0] is None:
                wholes.append(None)
                continue
            whole = cupy.empty((len(x), *parts[0].shape[1:]), dtype=parts[0].dtype)
            start = 0
            for part in parts:
                whole[start : start + len(part)] = _here(part)
                start += len(part)
            wholes.append(whole)
        cupy.cuda.get_current_stream().synchronize()  # the parts belong to other streams
    return wholes


def _within(report: Report, before: int, size: int, whole: int) -> Report:
    """Where a part of this size reports its own (done, total)."""
    return lambda done, total: report(before + (size * done // total if total else 0), whole)
