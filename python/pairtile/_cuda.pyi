"""The GPU engine: launches on device memory that `_backends.cuda` owns through CuPy.

An address is a device pointer as an integer, 0 for "none". A `_View` is a matrix: its address,
rows, columns, bytes from row to row and from column to column, and dtype. `_Sets` are the queries,
the references and what their rows are divided by. A `_Measure` is a metric with its parameters p,
weights, transform, ranges and n_bits. A `_Table` is what a kernel matrix is multiplied by: its
address, whether it holds bits, elements from row to row, and columns; a table of bits has one more
column, of ones. `kernels` are a sum of at most `most_terms` that read the same number of a pair.
`orders` are lists of rows, of the queries and of the references, in blocks of one size. `keys` are
the lowest and the highest of a range, and `kept` is where those inside go and how many there is
room for. A `_Space` is a set, against itself, with the terms of its kernel and what is taken
off it. A `_Memory` has room for blocks of so many pairs and for the states of folds over them: its
address and that number. A `_DeviceStream` is a device and a stream. A launch returns at
once; a CUDA error is a RuntimeError with CUDA's own words.
"""

from collections.abc import Sequence

_View = tuple[int, int, int, int, int, str]
_DeviceStream = tuple[int, int]
_Range = tuple[int, int]
_Pair = tuple[int, int]
_Sets = tuple[_View, _View, _Pair]
_Measure = tuple[str, float, int, int, int, int]
_Kernel = tuple[float, str, Sequence[float]]
_Counts = tuple[int, int, int]  # radii, counts per query, counts per reference
_Aside = tuple[int, int, int]  # pairs, how many there is room for, how many were found
_Filled = tuple[int, int, int, int]  # indptr, where rows are filled next, indices, values
_Table = tuple[int, bool, int, int]
# rows of both sets, features, slices; float64, rows beside the keys, weights, gradients; bytes of
# each row along each line, and of all
_SlicePlan = tuple[int, int, int, int, bool, bool, bool, bool, int, int]
_Axes = tuple[int, int, int, float]  # directions, slices, centre, scale
_Lists = tuple[int, int, int, int]  # rows, keys, rows beside the keys, levels
_Columns = tuple[int, int, int, int, int]  # numbers, columns, levels and how many, quantiles
_Pieces = tuple[int, int, int, int, int]  # places of a list; rows of x, of y, mass, squares
_Memory = tuple[int, int]
_PairBlock = tuple[_Range, _Range, bool, bool]  # rows, columns; only those behind a row, paired
_KernelPart = tuple[int, float, int]  # terms up to here, step, digits
_Space = tuple[_Sets, Sequence[_Kernel], float]

_Segments = tuple[int, int, int]  # of the references: first of a sweep, of all sweeps, of this one
_RowMap = tuple[int, int, int]  # centre, lengths of the columns, transform
_Packed = tuple[int, int, int, int, int, int]  # slices, norms, residuals, rows, features, parts
# factor, factors of both, targets, first of both; whether bounded, and the offset
_Logits = tuple[float, int, int, int, _Range, bool, float]

# of a loss: whether in float64, products and their pitch, rows, columns, factors of both, weights
_Block = tuple[bool, int, int, _Range, _Range, _Pair, int]
# targets, labels of both, their width, a sparse matrix, whether rows are the first columns
_Positives = tuple[int, _Pair, float, tuple[int, int, int], bool]
# column logits, margins, kept columns, limits of both, pairs masked in both
_Options = tuple[_Positives, int, float, float, _Pair, _Pair, tuple[_Pair, _Pair]]
_RowTerms = tuple[float, int, int, int]  # scale; scales, shares, derivatives of rows
_PairLoss = tuple[str, Sequence[float], _Positives, float]

__version__: str
scale_bytes: int
log_sum_bytes: int
contraction_width: int
slice_share: int
column_partials: int
most_terms: int
value_size_bytes: int
digit_bits: int
most_digits: int
most_digit_columns: int
labellings_together: int
quantile_cells: int
tally_bytes: int
held_pairs: int
held_state_numbers: int
permuted_parts: int
softmax_column_bytes: int
softmax_side_bytes: int
tile_columns: int
softmax_state_bytes: int
softmax_terms_bytes: int
pair_extremes_bytes: int
sigmoid_sums: int
pair_state_bytes: int
pair_terms_bytes: int
screened_short_k: int
farthest_bytes: int
findings_bytes: int
grid_findings_bytes: int
candidate_bytes: int
radius_limits_bytes: int
rows_together: int
OutOfMemory: type[MemoryError]
NotBuilt: type[RuntimeError]  # no code for the device, and none that its driver can compile

def architectures() -> list[str]: ...
def batches(
    statistic: str, rows: int, references: int, work: int, k: int = 0, limit: int = 0
) -> list[_Range]: ...
def segments(
    statistic: str, rows: int, references: int, k: int = 0, limit: int = 0
) -> list[_Range]: ...
def workspace(statistic: str, rows: int, references: int, k: int = 0, limit: int = 0) -> int: ...
def reads_normalised_rows(kernel: str, /) -> bool: ...
def survey(x: _View, findings: int, stream: _DeviceStream, /) -> None: ...
def row_scales(x: _View, centred: bool, scales: int, stream: _DeviceStream, /) -> None: ...
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
    limit: int,
    wide_distances: bool,
    ordered: bool = False,
    distances: int,
    indices: int,
    stream: _DeviceStream,
) -> None: ...
def radius_counts(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    exclude_self: bool,
    closed: bool,
    wide_distances: bool,
    negated: bool = False,
    by_query_radii: _Counts,
    by_reference_radii: _Counts,
    stream: _DeviceStream,
) -> None: ...
def radius_neighbors(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    exclude_self: bool,
    closed: bool,
    wide_distances: bool,
    negated: bool = False,
    radii: int,
    filled: _Filled,
    stream: _DeviceStream,
) -> None: ...
def sort_radius_rows(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    filled: _Filled,
    wide_distances: bool,
    distances: int,
    stream: _DeviceStream,
) -> None: ...
def pairwise_distances(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    exclude_self: bool,
    wide_distances: bool,
    distances: int,
    stream: _DeviceStream,
) -> None: ...
def largest_radius_ratios(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    radii: int,
    workspace: int,
    largest: int,
    stream: _DeviceStream,
) -> None: ...
def distance_products(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    radius: float,
    workspace: int,
    of_queries: int,
    stream: _DeviceStream,
) -> None: ...
def farthest_of_group(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    groups: int,
    workspace: _Pair,
    values: int,
    indices: int,
    stream: _DeviceStream,
) -> None: ...
def group_histogram(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    groups: int,
    bins: tuple[int, int, int, int],  # limits, how many bins, counts within and between groups
    stream: _DeviceStream,
) -> None: ...
def ranks(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    own: int,
    targets: int,
    before: int,
    stream: _DeviceStream,
) -> None: ...
def paired_values(
    *, sets: _Sets, measure: _Measure, rows: _Range, own: int, stream: _DeviceStream
) -> None: ...
def count_distances(
    *,
    sets: _Sets,
    measure: _Measure,
    rows: _Range,
    triangle: bool,
    keys: _Range,
    shift: int,
    tally: int,
    kept: _Pair,
    stream: _DeviceStream,
) -> None: ...
def count_keys(
    *,
    list: int,
    count: int,
    keys: _Range,
    shift: int,
    tally: int,
    kept: _Pair,
    stream: _DeviceStream,
) -> None: ...
def sample_distances(
    *,
    sets: _Sets,
    measure: _Measure,
    pooled: bool,
    count: int,
    keys: int,
    stream: _DeviceStream,
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
    stream: _DeviceStream,
) -> None: ...
def weighted_total(
    sums: int, n: int, weights: int, total: int, stream: _DeviceStream, /
) -> None: ...
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
    stream: _DeviceStream,
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
    stream: _DeviceStream,
) -> None: ...
def float32_will_do(kernel: _Kernel, largest: float, typical: float, error: float) -> bool: ...
def kernel_argument(kernel: str, /) -> int: ...
def contract_paired(
    *,
    sets: _Sets,
    kernels: Sequence[_Kernel],
    rounding_step: float,
    rows: _Range,
    table: _Table,
    columns: _Range,
    workspace: int,
    out: int,
    out_stride: int,
    stream: _DeviceStream,
) -> None: ...
def value_size_states(sets: _Sets, block: _PairBlock) -> int: ...
def value_sizes(
    *,
    sets: _Sets,
    kernels: Sequence[_Kernel],
    parts: Sequence[_KernelPart],
    block: _PairBlock,
    states: int,
    sizes: int,
    stream: _DeviceStream,
) -> None: ...
def relabelled_sums(
    *,
    sets: _Sets,
    kernels: Sequence[_Kernel],
    parts: Sequence[_KernelPart],
    block: _PairBlock,
    labels: _Pair,
    labellings: int,
    planes: int,
    sums: int,
    stream: _DeviceStream,
) -> None: ...
def kernel_moments(
    *,
    sets: _Sets,
    kernels: Sequence[_Kernel],
    rows: _Range,
    wide: bool,
    exclude_self: bool,
    workspace: int,
    sums: int,
    squares: int,
    stream: _DeviceStream,
) -> None: ...
def kernel_block_sums(
    *,
    sets: _Sets,
    orders: _Pair,
    size: int,
    blocks: int,
    kernels: Sequence[_Kernel],
    rows: _Range,
    wide: bool,
    pairs: str,
    workspace: int,
    sums: int,
    stream: _DeviceStream,
) -> None: ...
def block_totals(
    sums: int,
    blocks: int,
    size: int,
    factor: float,
    totals: int,
    stride: int,
    stream: _DeviceStream,
    /,
) -> None: ...
def column_totals(
    *,
    products: int,
    rows: _Range,
    table: _Table,
    columns: _Range,
    within: int,
    all: int,
    stream: _DeviceStream,
) -> None: ...
def slice_stride(rows: int, /) -> int: ...
def slice_batches(plan: _SlicePlan, /) -> list[_Range]: ...
def slice_least(plan: _SlicePlan, /) -> int: ...
def slice_spares(plan: _SlicePlan, in_batch: int, /) -> int: ...
def slice_lanes(plan: _SlicePlan, in_batch: int, /) -> int: ...
def slice_centre(
    x: _View, y: _View, scale: float, wide: bool, centre: int, stream: _DeviceStream, /
) -> None: ...
def project_slices(
    *, rows: _View, axes: _Axes, batch: _Range, wide: bool, out: _Pair, stream: _DeviceStream
) -> None: ...
def pull_back_slices(
    *,
    slopes: int,
    rows: int,
    features: int,
    axes: _Axes,
    batch: _Range,
    wide: bool,
    gradient: int,
    stream: _DeviceStream,
) -> None: ...
def turn_segments(rows: int, features: int, count: int, /) -> int: ...
def turn_slices(
    *,
    rows: _View,
    slopes: int,
    axes: _Axes,
    batch: _Range,
    wide: bool,
    partial: int,
    out: int,
    stream: _DeviceStream,
) -> None: ...
def sort_scratch(
    *, rows: int, count: int, slices: int, wide: bool, ranked: bool, stream: _DeviceStream
) -> int: ...
def sort_slices(
    *,
    rows: int,
    count: int,
    slices: int,
    wide: bool,
    lists: _Pair,
    spare: _Pair,
    scratch: _Pair,  # and the bytes of each lane
    side: Sequence[int],  # streams, one for each lane
    stream: _DeviceStream,
) -> bool: ...
def slice_levels(
    *,
    beside: int,
    quanta: int,
    rows: int,
    count: int,
    sums: int,
    levels: int,
    stream: _DeviceStream,
) -> None: ...
def transport_costs(
    *,
    x: _Lists,
    y: _Lists,
    count: int,
    wide: bool,
    p: float,
    partial: int,
    costs: int,
    stream: _DeviceStream,
) -> None: ...
def transport_slopes(
    *,
    own: _Lists,
    other: _Lists,
    count: int,
    wide: bool,
    p: float,
    factors: int,
    slopes: int,
    stream: _DeviceStream,
) -> None: ...
def slice_energies(
    *, x: _Lists, y: _Lists, count: int, wide: bool, partial: int, costs: int, stream: _DeviceStream
) -> None: ...
def energy_slopes(
    *,
    own: _Lists,
    other: _Lists,
    count: int,
    wide: bool,
    factor: float,
    slopes: int,
    stream: _DeviceStream,
) -> None: ...
def column_statistics(
    *,
    x: _Lists,
    y: _Lists,
    count: int,
    wide: bool,
    partial: int,
    out: _Columns,
    stream: _DeviceStream,
) -> None: ...
def list_pieces(
    *, x: _Lists, y: _Lists, count: int, out: _Pieces, stream: _DeviceStream
) -> None: ...
def pay_pieces(
    *,
    x: _View,
    y: _View,
    pieces: _Pieces,
    count: int,
    p: float,
    partial: int,
    tops: int,
    costs: int,
    stream: _DeviceStream,
) -> None: ...
def total_runs(
    *, starts: int, runs: int, mass: int, totals: int, stream: _DeviceStream
) -> None: ...
def turn_into_angles(
    *, keys: int, rows: int, count: int, wide: bool, stream: _DeviceStream
) -> None: ...
def circle_distances(
    *,
    x: _Lists,
    y: _Lists,
    count: int,
    wide: bool,
    p: float,
    linear: bool,
    distances: int,
    stream: _DeviceStream,
) -> None: ...
def held_batches(rows: int, references: int, work: int) -> list[_Range]: ...
def kernel_gradient(
    *,
    sets: _Sets,
    kernels: Sequence[_Kernel],
    rows: _Range,
    itself: bool,
    diagonal: bool,
    weights: _Pair,
    memory: _Memory,
    sums: int,
    by_rows: int,
    by_directions: int,
    stream: _DeviceStream,
) -> None: ...
def joint_kernel_gradient(
    *,
    sets: _Sets,
    kernels: Sequence[_Kernel],
    beside: _Space,
    by_row: int,
    rows: _Range,
    diagonal: bool,
    weights: _Pair,
    memory: _Memory,
    sums: int,
    by_rows: int,
    by_directions: int,
    stream: _DeviceStream,
) -> None: ...
def gradient_through_normalization(
    rows: _View, scales: int, by_directions: int, by_rows: int, stream: _DeviceStream, /
) -> None: ...
def joint_kernel_sums(
    *,
    x: _Space,
    y: _Space,
    rows: _Range,
    orders: int,
    itself: bool,
    memory: _Memory,
    x_rows: int,
    y_rows: int,
    numbers: int,
    totals: int,
    stream: _DeviceStream,
) -> None: ...
def kernel_matrix(
    space: _Space, *, itself: bool, after: int, matrix: int, stream: _DeviceStream
) -> None: ...
def permuted_products(
    *,
    matrices: _Pair,
    n: int,
    orders: int,
    count: int,
    parts: int,
    products: int,
    stream: _DeviceStream,
) -> None: ...
def stein_products(
    *,
    sets: _Sets,
    scores: tuple[_View, _View],
    kernels: Sequence[_Kernel],
    rows: _Range,
    itself: bool,
    table: _Table,
    columns: _Range,
    memory: _Memory,
    products: int,
    stream: _DeviceStream,
) -> None: ...
def logit_segments(rows: int, cols: int) -> int: ...
def panel_splits(*, rows_out: int, features: int, summands: int, most: int, path: str) -> int: ...
def pack_transposed(
    x: _View, rows: _Range, scales: int, packed: _Packed, stream: _DeviceStream, /
) -> None: ...
def softmax_sums(
    *,
    rows: _Packed,
    cols: _Packed,
    segments: int,
    logits: _Logits,
    workspace: _Pair,
    positives: int,
    of_rows: int,
    of_cols: int,
    path: str,
    stream: _DeviceStream,
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
    stream: _DeviceStream,
) -> None: ...
def softmax_levels(
    sides: int, rows: int, offset: float, levels: int, stream: _DeviceStream, /
) -> None: ...
def softmax_weights(
    *,
    rows: _Packed,
    cols: _Packed,
    segments: int,
    logits: _Logits,
    sides: _Pair,
    levels: _Pair,
    weights: _Packed,
    path: str,
    stream: _DeviceStream,
) -> None: ...
def sigmoid_sweep(
    *,
    rows: _Packed,
    cols: _Packed,
    segments: int,
    logits: _Logits,
    arguments: tuple[float, float, int, tuple[int, int, int]],
    workspace: int,
    weights: _Packed,
    path: str,
    stream: _DeviceStream,
) -> None: ...
def panel_product(
    *,
    weights: _Packed,
    others: _Packed,
    by_column: bool,
    splits: int,
    partial: int,
    factor: float,
    divisors: int,
    out: int,
    path: str,
    stream: _DeviceStream,
) -> None: ...
def dot_block(
    rows: _Packed, cols: _Packed, dots: int, path: str, stream: _DeviceStream, /
) -> None: ...
def wide_block(
    sets: _Sets, rows: _Range, dots: int, pitch: int, stream: _DeviceStream, /
) -> None: ...
def wide_weight_product(
    *,
    weights: int,
    steps: _Range,
    rows: int,
    others: _View,
    scales: int,
    factor: float,
    out: int,
    stream: _DeviceStream,
) -> None: ...
def softmax_limits(
    block: _Block, targets: int, margin: float, limits: _Pair, stream: _DeviceStream, /
) -> None: ...
def softmax_states(
    block: _Block, options: _Options, rows: _RowTerms, states: _Pair, stream: _DeviceStream, /
) -> None: ...
def softmax_empty(states: int, count: int, stream: _DeviceStream, /) -> None: ...
def softmax_loss_end(
    *,
    count: int,
    states: int,
    part: float,
    whole_weights: bool,
    smoothing: float,
    among: _Range,
    tau_plus: float,
    rows: _RowTerms,
    more: _Pair,
    out: tuple[int, int, int],
    stream: _DeviceStream,
) -> None: ...
def softmax_block_weights(
    block: _Block, options: _Options, rows: _RowTerms, terms: _Pair, stream: _DeviceStream, /
) -> None: ...
def sigmoid_losses(
    block: _Block,
    positives: _Positives,
    rows: _RowTerms,
    bias: float,
    losses: int,
    by_bias: int,
    stream: _DeviceStream,
    /,
) -> None: ...
def pair_begin(extremes: int, states: int, count: int, stream: _DeviceStream, /) -> None: ...
def pair_extremes(
    block: _Block, rule: _PairLoss, extremes: int, mirrored: bool, stream: _DeviceStream, /
) -> None: ...
def pair_states(
    block: _Block,
    rule: _PairLoss,
    extremes: int,
    states: int,
    mirrored: bool,
    stream: _DeviceStream,
    /,
) -> None: ...
def pair_losses_end(
    rule: _PairLoss,
    states: int,
    count: int,
    shares: int,
    losses: int,
    terms: int,
    stream: _DeviceStream,
    /,
) -> None: ...
def pair_block_weights(
    block: _Block,
    rule: _PairLoss,
    extremes: int,
    terms: int,
    mirrored: bool,
    stream: _DeviceStream,
    /,
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
    stream: _DeviceStream,
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
    stream: _DeviceStream,
) -> None: ...
def along_rows(
    x: _View, scales: int, gradient: int, wide: bool, along: int, stream: _DeviceStream, /
) -> None: ...
def through_normalization(
    x: _View, scales: int, gradient: int, wide: bool, stream: _DeviceStream, /
) -> None: ...
def tensor_path(device: int, most: str = "wgmma") -> str: ...
def limit_shared_bytes(most: int) -> None: ...
def tensor_core_error(d: int, x: float, y: float) -> float: ...
def panels_bytes(rows: int, d: int, parts: int) -> int: ...
def sample_centre(x: _View, y: _View, centre: int, stream: _DeviceStream, /) -> None: ...
def pack(
    x: _View,
    first: int,
    scales: int,
    centre: int,
    packed: _Packed,
    findings: int,
    stream: _DeviceStream,
    /,
) -> None: ...
def map_rows(x: _View, map: _RowMap, out: int, stream: _DeviceStream, /) -> None: ...
def widen_residuals(
    x: _View, map: _RowMap, residuals: int, findings: int, stream: _DeviceStream, /
) -> None: ...
def candidate_room(k: int, references: int) -> int: ...
def list_room(k: int, references: int) -> int: ...
def multiprocessors() -> int: ...
def screened_segments(rows: int, references: int, most: int = 2**63 - 1) -> int: ...
def screened_sweep(
    *,
    sets: _Sets,
    measure: _Measure,
    packed: tuple[_Packed, _Packed, _Range],
    k: int,
    exact: bool,
    segments: _Segments,
    of_references: int,
    workspace: tuple[int, int, int, int, int],
    numbers: int,
    exclude_self: bool,
    same_group: bool,
    groups: _Pair,
    times: _Pair,
    ticks: _Pair,
    reference_mask: int,
    path: str,
    stream: _DeviceStream,
) -> None: ...
def guess_limits(
    *,
    sets: _Sets,
    measure: _Measure,
    packed: tuple[_Packed, _Packed, _Range],
    k: int,
    exact: bool,
    segments: _Segments,
    of_references: int,
    workspace: tuple[int, int, int, int, int],
    numbers: int,
    exclude_self: bool,
    same_group: bool,
    groups: _Pair,
    times: _Pair,
    ticks: _Pair,
    reference_mask: int,
    rank: int,
    limits: int,
    stream: _DeviceStream,
) -> None: ...
def screened_lists(
    *,
    sets: _Sets,
    measure: _Measure,
    packed: tuple[_Packed, _Packed, _Range],
    k: int,
    exact: bool,
    segments: _Segments,
    of_references: int,
    workspace: tuple[int, int, int, int, int],
    lists: tuple[int, int, int],
    exclude_self: bool,
    same_group: bool,
    groups: _Pair,
    times: _Pair,
    ticks: _Pair,
    reference_mask: int,
    wide_distances: bool,
    distances: int,
    indices: int,
    stream: _DeviceStream,
) -> None: ...
def screened_decision(
    *,
    sets: _Sets,
    measure: _Measure,
    packed: tuple[_Packed, _Packed, _Range],
    k: int,
    exact: bool,
    segments: _Segments,
    of_references: int,
    workspace: tuple[int, int, int, int, int],
    exclude_self: bool,
    same_group: bool,
    groups: _Pair,
    times: _Pair,
    ticks: _Pair,
    reference_mask: int,
    wide_distances: bool,
    distances: int,
    indices: int,
    stream: _DeviceStream,
) -> None: ...
def screened_radius_sweep(
    *,
    sets: _Sets,
    measure: _Measure,
    packed: tuple[_Packed, _Packed, _Range],
    exact: bool,
    findings: _Pair,
    exclude_self: bool,
    closed: bool,
    wide_distances: bool,
    by_query_radii: _Counts,
    by_reference_radii: _Counts,
    limits: _Pair,
    aside: _Aside,
    listed: bool,
    path: str,
    stream: _DeviceStream,
) -> None: ...
def screened_radius_decision(
    *,
    sets: _Sets,
    measure: _Measure,
    packed: tuple[_Packed, _Packed, _Range],
    exact: bool,
    findings: _Pair,
    exclude_self: bool,
    closed: bool,
    wide_distances: bool,
    by_query_radii: _Counts,
    by_reference_radii: _Counts,
    limits: _Pair,
    aside: _Aside,
    values: int = 0,
    stream: _DeviceStream,
) -> None: ...
def screened_radius_placement(
    *, listed: tuple[int, int, int, int, int, int], filled: _Filled, stream: _DeviceStream
) -> None: ...
def tensor_serves(kernels: Sequence[_Kernel]) -> bool: ...
def pack_on_grid(
    x: _View,
    first: int,
    centre: int,
    packed: _Packed,
    findings: int,
    stream: _DeviceStream,
    /,
) -> None: ...
def squared_distance_error(
    x: Sequence[float], y: Sequence[float], d: int, products: int
) -> float: ...
def sums_error(weighted: bool) -> float: ...
def near_distance(
    kernels: Sequence[_Kernel],
    x: Sequence[float],
    y: Sequence[float],
    d: int,
    products: int,
    tolerance: float,
) -> float: ...
def tensor_sums_segments(rows: int, columns: int) -> int: ...
def tensor_row_sums(
    *,
    sets: tuple[_View, _View],
    packed: tuple[_Packed, _Packed, _Range],
    kernels: Sequence[_Kernel],
    products: int,
    near: float,
    triangle: bool,
    weights: int,
    states: int,
    computed_again: int,
    sums: int,
    path: str,
    stream: _DeviceStream,
) -> None: ...
