"""The GPU engine: launches on device memory that `_cuda_backend` owns through CuPy.

An address is a device pointer as an integer, 0 for "none". A `_View` is a matrix: its address,
rows, columns, bytes from row to row and from column to column, and dtype. `_Sets` are the queries,
the references and what their rows are divided by. A `_Measure` is a metric with its parameters p,
weights, transform, ranges and n_bits. A `_Table` is what a kernel matrix is multiplied by: its
address, whether it holds bits, elements from row to row, and columns; a table of bits has one more
column, of ones. A `_Where` is a device and a stream. A launch returns at once; a CUDA error is a
RuntimeError with CUDA's own words.
"""

from collections.abc import Sequence

_View = tuple[int, int, int, int, int, str]
_Where = tuple[int, int]
_Range = tuple[int, int]
_Pair = tuple[int, int]
_Sets = tuple[_View, _View, _Pair]
_Measure = tuple[str, float, int, int, int, int]
_Kernel = tuple[float, str, Sequence[float]]
_Counts = tuple[int, int, int]  # radii, counts per query, counts per reference
_Table = tuple[int, bool, int, int]
_Packed = tuple[int, int, int, int, int, int]  # slices, norms, residuals, rows, features, parts
# factor, factors of both, targets, first of both; whether bounded, and the offset
_Logits = tuple[float, int, int, int, _Range, bool, float]

__version__: str
scale_bytes: int
log_sum_bytes: int
contraction_width: int
softmax_column_bytes: int
softmax_side_bytes: int

def architectures() -> list[str]: ...
def batches(statistic: str, rows: int, references: int, work: int, k: int = 0) -> list[_Range]: ...
def segments(statistic: str, rows: int, references: int, k: int = 0) -> list[_Range]: ...
def workspace(statistic: str, rows: int, references: int, k: int = 0) -> int: ...
def reads_normalised_rows(kernel: str, /) -> bool: ...
def survey(x: _View, findings: int, where: _Where, /) -> None: ...
def row_scales(x: _View, scales: int, where: _Where, /) -> None: ...
def knn(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    k: int,
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
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    exclude_self: bool,
    closed: bool,
    wide_distances: bool,
    by_query_radii: _Counts,
    by_reference_radii: _Counts,
    where: _Where,
) -> None: ...
def radius_neighbors(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
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
def pairwise_distances(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    exclude_self: bool,
    wide_distances: bool,
    distances: int,
    where: _Where,
) -> None: ...
def largest_radius_ratios(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    radii: int,
    workspace: int,
    largest: int,
    where: _Where,
) -> None: ...
def distance_products(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    radius: float,
    workspace: int,
    of_queries: int,
    where: _Where,
) -> None: ...
def kernel_row_sums(
    *,
    sets: _Sets,
    kernel: _Kernel,
    rows: _Range,
    wide: bool,
    triangle: bool,
    reference_weights: int,
    workspace: int,
    sums: int,
    where: _Where,
) -> None: ...
def weighted_total(sums: int, n: int, weights: int, total: int, where: _Where, /) -> None: ...
def kernel_log_sums(
    *,
    sets: _Sets,
    kernel: _Kernel,
    rows: _Range,
    exclude_self: bool,
    log_weights: int,
    rates: int,
    is_first: bool,
    workspace: int,
    so_far: int,
    sums: int,
    where: _Where,
) -> None: ...
def contract(
    *,
    sets: _Sets,
    kernel: _Kernel,
    rows: _Range,
    wide: bool,
    exclude_self: bool,
    table: _Table,
    columns: _Range,
    workspace: int,
    out: int,
    out_stride: int,
    where: _Where,
) -> None: ...
def column_totals(
    *,
    products: int,
    rows: _Range,
    table: _Table,
    columns: _Range,
    within: int,
    all: int,
    where: _Where,
) -> None: ...
def logit_segments(rows: int, cols: int) -> int: ...
def product_splits(rows: int, cols: int, features: int, most: int) -> int: ...
def pack_transposed(
    x: _View, rows: _Range, scales: int, packed: _Packed, where: _Where, /
) -> None: ...
def softmax_sums(
    *,
    rows: _Packed,
    cols: _Packed,
    logits: _Logits,
    workspace: _Pair,
    positives: int,
    of_rows: int,
    of_cols: int,
    path: str,
    where: _Where,
) -> None: ...
def softmax_end(
    *,
    rows: int,
    wide: bool,
    of_rows: int,
    of_cols: int,
    positives: int,
    shares: int,
    out: tuple[int, int, int, int],
    sides: _Pair,
    where: _Where,
) -> None: ...
def softmax_levels(sides: int, rows: int, offset: float, levels: int, where: _Where, /) -> None: ...
def softmax_weights(
    *,
    rows: _Packed,
    cols: _Packed,
    logits: _Logits,
    sides: _Pair,
    levels: _Pair,
    panels: _Pair,
    parts: int,
    path: str,
    where: _Where,
) -> None: ...
def weight_product(
    *,
    weights: _Packed,
    cols: _Packed,
    splits: int,
    partial: int,
    factor: float,
    out: int,
    path: str,
    where: _Where,
) -> None: ...
def wide_softmax_sums(
    *,
    sets: _Sets,
    scale: float,
    targets: int,
    transposed: bool,
    rows: _Range,
    workspace: int,
    positives: int,
    sums: int,
    where: _Where,
) -> None: ...
def wide_softmax_products(
    *,
    sets: _Sets,
    scale: float,
    targets: int,
    transposed: bool,
    rows: _Range,
    sides: _Pair,
    features: _Range,
    workspace: int,
    factor: float,
    wide: bool,
    out: int,
    where: _Where,
) -> None: ...
def along_rows(
    x: _View, scales: int, gradient: int, wide: bool, along: int, where: _Where, /
) -> None: ...
def through_normalization(
    x: _View, scales: int, gradient: int, wide: bool, where: _Where, /
) -> None: ...
