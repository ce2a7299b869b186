"""The CUDA backend: functions of the seam (see `_native.pyi`) that run on the GPU.

CuPy owns all device memory, workspace included; `_cuda` launches on its current stream. A call
is cut into batches of query rows that take well below a second each, so that it can be
interrupted and report progress between two of them.

    arrays -> _Rows -> batches of rows -> sweep and merge in `_cuda` -> CuPy arrays

Results are CuPy arrays; NumPy arrays, which come here when "cuda" is the chosen backend, get
NumPy arrays back. Imported only when a call needs it, and importable only where `_cuda` was
built and CuPy is installed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda, _numpy
from pairtile._cuda import architectures
from pairtile._numpy.neighbors import require_finite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pairtile._progress import Report

    Term = tuple[float, str, tuple[float, ...]]

__all__ = [
    "architectures",
    "first_nonfinite",
    "kernel_row_sums",
    "kernel_total",
    "knn",
    "radius_counts",
    "radius_neighbors",
]


def __getattr__(name: str) -> Any:
    if name in _numpy.__all__:
        raise NotImplementedError(
            f"this needs {name}, which pairtile does not compute on a GPU; copy the arrays to host "
            "memory first"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _device(*arrays: Any) -> Any:
    """The device that all of them are on, as a context; the current one for host arrays."""
    found = {a.device.id for a in arrays if a is not None and not isinstance(a, np.ndarray)}
    if len(found) > 1:
        raise ValueError(f"arrays are on the CUDA devices {sorted(found)}; they must be on one")
    return cupy.cuda.Device(found.pop() if found else None)


def _where() -> tuple[int, int]:
    return cupy.cuda.Device().id, cupy.cuda.get_current_stream().ptr


def _address(a: Any) -> int:
    return 0 if a is None else int(a.data.ptr)


def _upload(a: NDArray[Any] | None) -> Any:
    """Native, contiguous copy on the device; as plain bits, because CuPy may lack the dtype."""
    if a is None:
        return None
    native = np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("="))
    return cupy.asarray(native.view(f"u{native.itemsize}"))


class _Rows:
    """A matrix in device memory, and what `_cuda` is told about it."""

    def __init__(self, x: Any) -> None:
        self.dtype = x.dtype.name
        memory = _upload(x) if isinstance(x, np.ndarray) else cupy.asarray(x)
        if any(step % memory.itemsize for step in (_address(memory), *memory.strides)):
            memory = memory.copy()  # a load must be aligned
        self.memory = memory
        self.n, self.d = memory.shape
        self.view = (_address(memory), *memory.shape, *memory.strides, self.dtype)

    def scales(self) -> Any:
        """Norms to divide by where rows are L2-normalised."""
        out = cupy.empty(self.n * _cuda.scale_bytes, dtype=cupy.uint8)
        _cuda.row_scales(self.view, _address(out), _where())
        return out

    def survey(self) -> tuple[int, float]:
        """First row with NaN or Inf (-1: none), and the largest finite magnitude."""
        out = cupy.empty(2, dtype=cupy.int64)
        _cuda.survey(self.view, _address(out), _where())
        first_bad, largest = out.get()
        return int(first_bad), float(largest.view(np.float64))


def _addresses(pair: tuple[Any, Any]) -> tuple[int, int]:
    return _address(pair[0]), _address(pair[1])


def _as_given(x: Any, *results: Any) -> tuple[Any, ...]:
    """The results as the kind of array that x is."""
    if not isinstance(x, np.ndarray):
        return results
    return tuple(None if result is None else result.get() for result in results)


def _radii(radii: Any) -> Any:
    """Radii of either memory, widened, which is exact."""
    return None if radii is None else cupy.asarray(radii, dtype=cupy.float64, order="C")


def _zeros(n: int) -> Any:
    return cupy.zeros(n, dtype=cupy.int64)


def _scales(wanted: bool, x: _Rows, y: _Rows) -> tuple[Any, Any]:
    if not wanted:
        return None, None
    of_x = x.scales()
    return of_x, of_x if y is x else y.scales()


class _Join:
    """Queries, references, and what every launch on pairs of them is told."""

    def __init__(self, queries: Any, reference: Any, metric: str) -> None:
        self.q = _Rows(queries)
        self.r = self.q if reference is None else _Rows(reference)
        self.scales = _scales(metric == "cosine", self.q, self.r)
        self.told: dict[str, Any] = {
            "queries": self.q.view,
            "references": self.r.view,
            "metric": metric,
            "scales": _addresses(self.scales),
            "exclude_self": reference is None,
        }


def _paced(
    batches: list[tuple[int, int]], m: int, progress: Report | None, sweep: int = 1, sweeps: int = 1
) -> Iterator[tuple[int, int]]:
    """The batches; each is awaited before the next is launched."""
    n = batches[-1][1]
    for first, stop in batches:
        yield first, stop
        if stop < n or progress is not None:
            cupy.cuda.get_current_stream().synchronize()
        if progress is not None:
            progress(((sweep - 1) * n + stop) * m, sweeps * n * m)


def _workspace(sizes: Iterator[int]) -> Any:
    return cupy.empty(max(sizes), dtype=cupy.uint8)


def first_nonfinite(x: Any, *, workers: int) -> int:
    """First row holding NaN or Inf, -1 if there is none."""
    del workers
    with _device(x):
        return _Rows(x).survey()[0]


def _check_served(metric: str, memory_limit: int) -> None:
    """NotImplementedError for what the GPU has not. None of its metrics takes parameters."""
    if memory_limit:
        raise NotImplementedError("memory_limit bounds host memory; on a GPU it must be None")
    if metric not in _cuda.metrics():
        raise NotImplementedError(
            f"metric {metric!r} is not computed on a GPU; copy the arrays to host memory first"
        )


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
    metric_params: dict[str, Any] | None = None,
    check_finite: bool = False,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> tuple[Any, Any]:
    """The k nearest admissible references of each query, in order of (value, index).

    Every value is the canonical one, whatever the precision.
    """
    del precision, metric_params, workers
    _check_served(metric, memory_limit)
    with _device(queries, reference):
        join = _Join(queries, reference, metric)
        q, r = join.q, join.r
        if check_finite:
            require_finite("reference", r.survey()[0])
        groups = _upload(query_groups), _upload(reference_groups)
        times = _upload(query_times), _upload(reference_times)
        mask = _upload(reference_mask)
        nothing = (None, None)
        whole = query_times is not None and query_times.dtype.kind == "i"

        distances = cupy.empty((q.n, k), dtype=dtype)
        indices = cupy.empty((q.n, k), dtype=cupy.int64)
        batches = _cuda.knn_batches(q.n, r.n, q.d, k)
        heights = {stop - first for first, stop in batches}
        workspace = _workspace(_cuda.knn_workspace(rows, r.n, k) for rows in heights)
        for batch in _paced(batches, r.n, progress):
            _cuda.knn(
                **join.told,
                k=k,
                rows=batch,
                same_group=group_rule == "same",
                groups=_addresses(groups),
                times=_addresses(nothing if whole else times),
                ticks=_addresses(times if whole else nothing),
                reference_mask=_address(mask),
                workspace=_address(workspace),
                wide_distances=dtype == "float64",
                distances=_address(distances),
                indices=_address(indices),
                where=_where(),
            )
        found: tuple[Any, Any] = _as_given(queries, distances, indices)
        return found


def radius_counts(
    queries: Any,
    reference: Any,
    metric: str,
    query_radii: Any,
    reference_radii: Any,
    *,
    closed: bool,
    dtype: str,
    metric_params: dict[str, Any] | None = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> tuple[Any, Any, Any, Any]:
    """Pairs inside by the radii of queries, then of references; each per query and per reference.

    None where those radii were not given.
    """
    del metric_params, workers
    _check_served(metric, memory_limit)
    with _device(queries, reference, query_radii, reference_radii):
        join = _Join(queries, reference, metric)
        radii = [_radii(given) for given in (query_radii, reference_radii)]
        sides = [
            (None, None) if own is None else (_zeros(join.q.n), _zeros(join.r.n)) for own in radii
        ]
        by_query_radii, by_reference_radii = (
            (_address(own), *_addresses(side)) for own, side in zip(radii, sides, strict=True)
        )
        for batch in _paced(_cuda.radius_batches(join.q.n, join.r.n, join.q.d), join.r.n, progress):
            _cuda.radius_counts(
                **join.told,
                rows=batch,
                closed=closed,
                wide_distances=dtype == "float64",
                by_query_radii=by_query_radii,
                by_reference_radii=by_reference_radii,
                where=_where(),
            )
        counts: tuple[Any, Any, Any, Any] = _as_given(queries, *sides[0], *sides[1])
        return counts


def radius_neighbors(
    queries: Any,
    reference: Any,
    metric: str,
    radii: Any,
    *,
    closed: bool,
    dtype: str,
    metric_params: dict[str, Any] | None = None,
    workers: int,
    memory_limit: int = 0,
    progress: Report | None = None,
) -> tuple[Any, Any, Any]:
    """CSR of the references inside each query's radius, in order of (value, index)."""
    del metric_params, workers
    _check_served(metric, memory_limit)
    with _device(queries, reference, radii):
        join = _Join(queries, reference, metric)
        n, m = join.q.n, join.r.n
        own = _radii(radii)
        options = {**join.told, "closed": closed, "wide_distances": dtype == "float64"}
        batches = _cuda.radius_batches(n, m, join.q.d)
        indptr = _zeros(n + 1)
        counts = indptr[1:]
        for batch in _paced(batches, m, progress, 1, 2):
            _cuda.radius_counts(
                **options,
                rows=batch,
                by_query_radii=(_address(own), _address(counts), 0),
                by_reference_radii=(0, 0, 0),
                where=_where(),
            )
        indptr = cupy.cumsum(indptr)
        total = int(indptr[-1])
        indices = cupy.empty(total, dtype=cupy.int64)
        values = cupy.empty(total, dtype=cupy.float64)
        distances = cupy.empty(total, dtype=dtype)
        following = indptr.copy()
        for batch in _paced(batches, m, progress, 2, 2):
            _cuda.radius_neighbors(
                **options,
                rows=batch,
                radii=_address(own),
                indptr=_address(indptr),
                next=_address(following),
                indices=_address(indices),
                values=_address(values),
                distances=_address(distances),
                where=_where(),
            )
        found: tuple[Any, Any, Any] = _as_given(queries, indptr, indices, distances)
        return found


def _fits_float32(terms: Sequence[Term], largest: float, d: int) -> bool:
    """Whether data, parameters and powers stay far from float32's overflow and underflow."""
    if largest and not 2.0**-30 < largest < 2.0**30:
        return False
    for _, name, params in terms:
        if any(p and not 2.0**-40 < abs(p) < 2.0**40 for p in params):
            return False
        if name == "polynomial":
            degree, gamma, coef0 = params
            if degree * math.log2(1 + gamma * d * largest**2 + abs(coef0)) > 100:
                return False
        if name == "inverse_multiquadric":
            c2, beta = params
            if beta * abs(math.log2(c2)) > 50:
                return False
    return True


def _row_sums(
    x: _Rows,
    y: _Rows,
    terms: Sequence[Term],
    y_weights: Any,
    *,
    precision: str,
    triangle: bool,
    progress: Report | None,
) -> Any:
    """Sum over j of w_j k(x_i, y_j), for each i; only over j > i if `triangle`."""
    wide = precision == "float64" or "float64" in (x.dtype, y.dtype)
    if not wide:
        largest = max(rows.survey()[1] for rows in {x, y})
        wide = not _fits_float32(terms, largest, x.d)
    normalised = any(_cuda.reads_normalised_rows(name) for _, name, _ in terms)
    scales = _scales(normalised, x, y)
    sums = cupy.zeros(x.n, dtype=cupy.float64)
    batches = _cuda.sums_batches(x.n, y.n, x.d)
    heights = {stop - first for first, stop in batches}
    workspace = _workspace(_cuda.sums_workspace(rows, y.n) for rows in heights)
    for batch in _paced(batches, y.n, progress):
        for weight, name, params in terms:
            own = scales if _cuda.reads_normalised_rows(name) else (None, None)
            _cuda.kernel_row_sums(
                x=x.view,
                y=y.view,
                weight=weight,
                kernel=name,
                params=params,
                rows=batch,
                scales=_addresses(own),
                wide=wide,
                triangle=triangle,
                y_weights=_address(y_weights),
                workspace=_address(workspace),
                sums=_address(sums),
                where=_where(),
            )
    return sums


def kernel_row_sums(
    z: Any,
    y: Any,
    terms: Sequence[Term],
    y_weights: NDArray[np.float64] | None,
    *,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> Any:
    """Sum over j of w_j k(z_i, y_j), for each i."""
    del workers
    with _device(z, y):
        sums = _row_sums(
            _Rows(z),
            _Rows(y),
            terms,
            _upload(y_weights),
            precision=precision,
            triangle=False,
            progress=progress,
        )
        return sums.get() if isinstance(z, np.ndarray) else sums


def kernel_total(
    x: Any,
    y: Any,
    terms: Sequence[Term],
    x_weights: NDArray[np.float64] | None,
    y_weights: NDArray[np.float64] | None,
    *,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> float:
    """Sum over ordered pairs of w_i w_j k(x_i, y_j); y None: over i != j of x."""
    del workers
    itself = y is None
    with _device(x, y):
        rows = _Rows(x)
        v = _upload(x_weights)
        sums = _row_sums(
            rows,
            rows if itself else _Rows(y),
            terms,
            v if itself else _upload(y_weights),
            precision=precision,
            triangle=itself,
            progress=progress,
        )
        total = cupy.empty(1, dtype=cupy.float64)
        _cuda.weighted_total(_address(sums), rows.n, _address(v), _address(total), _where())
        value = float(total.get()[0])
    return 2.0 * value if itself else value
