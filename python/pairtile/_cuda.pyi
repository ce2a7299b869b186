"""The GPU engine: launches on device memory that `_cuda_backend` owns through CuPy.

An address is a device pointer as an integer, 0 for "none". A `_View` is a matrix: its address,
rows, columns, bytes from row to row and from column to column, and dtype. A `_Where` is a device
and a stream. A launch returns at once; a CUDA error is a RuntimeError with CUDA's own words.
"""

from collections.abc import Sequence

_View = tuple[int, int, int, int, int, str]
_Where = tuple[int, int]
_Range = tuple[int, int]
_Pair = tuple[int, int]
_Counts = tuple[int, int, int]  # radii, counts per query, counts per reference

__version__: str
scale_bytes: int

def architectures() -> list[str]: ...
def metrics() -> list[str]: ...
def knn_batches(rows: int, references: int, d: int, k: int, /) -> list[_Range]: ...
def knn_segments(rows: int, references: int, k: int, /) -> list[_Range]: ...
def knn_workspace(rows: int, references: int, k: int, /) -> int: ...
def radius_batches(rows: int, references: int, d: int, /) -> list[_Range]: ...
def radius_segments(rows: int, references: int, /) -> list[_Range]: ...
def sums_batches(rows: int, references: int, d: int, /) -> list[_Range]: ...
def sums_segments(rows: int, references: int, /) -> list[_Range]: ...
def sums_workspace(rows: int, references: int, /) -> int: ...
def reads_normalised_rows(kernel: str, /) -> bool: ...
def survey(x: _View, findings: int, where: _Where, /) -> None: ...
def row_scales(x: _View, scales: int, where: _Where, /) -> None: ...
def knn(
    *,
    queries: _View,
    references: _View,
    k: int,
    metric: str,
    rows: _Range,
    scales: _Pair,
    exclude_self: bool,
    same_group: bool,
    groups: _Pair,
    times: _Pair,
    ticks: _Pair,
    reference_mask: int,
    workspace: int,
    wide_distances: bool,
    distances: int,
    indices: int,
    where: _Where,
) -> None: ...
def radius_counts(
    *,
    queries: _View,
    references: _View,
    metric: str,
    rows: _Range,
    scales: _Pair,
    exclude_self: bool,
    closed: bool,
    wide_distances: bool,
    by_query_radii: _Counts,
    by_reference_radii: _Counts,
    where: _Where,
) -> None: ...
def radius_neighbors(
    *,
    queries: _View,
    references: _View,
    metric: str,
    rows: _Range,
    scales: _Pair,
    exclude_self: bool,
    closed: bool,
    wide_distances: bool,
    radii: int,
    indptr: int,
    next: int,
    indices: int,
    values: int,
    distances: int,
    where: _Where,
) -> None: ...
def kernel_row_sums(
    *,
    x: _View,
    y: _View,
    weight: float,
    kernel: str,
    params: Sequence[float],
    rows: _Range,
    scales: _Pair,
    wide: bool,
    triangle: bool,
    y_weights: int,
    workspace: int,
    sums: int,
    where: _Where,
) -> None: ...
def weighted_total(sums: int, n: int, weights: int, total: int, where: _Where, /) -> None: ...
