"""The compiled engine: the seam between Python and C++, shared by every backend.

Arrays are validated before they get here: 2-D, of one of the six engine dtypes (float16,
bfloat16, int8, uint8, float32, float64), any strides and byte order. `workers` is at least 1.
`progress` is called with (done, total) from the calling thread; raising in it aborts the call.
`memory_limit` is in bytes of workspace beside inputs and results, 0 for what a call is tuned for;
`least_memory` is the least for k neighbours (k = 0: for radii) of rows of d features. A knn of
dtype "ordered" and `radius_neighbors` with `ordered` give, in place of distances, the float64
values that neighbours are ordered by (NaN where there is no neighbour); `pairs_within`, in the
order of (i, j), and `nearest_pairs`, in the order of (value, i, j), have them too, of pairs i < j
where there is no second set. With `earlier` a knn looks at references j < i. With `check_finite`
it raises ValueError where the reference holds NaN or Inf. `knn_plan` says what a knn would do:
(strategy, distances computed in full, reasons).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pairtile._definitions.softmax import SoftmaxOptions, SoftmaxSides

_Array = NDArray[Any]
_Counts = NDArray[np.int64]
_Floats = NDArray[np.float64]
# minkowski {"p": float}, weuclidean {"w": (d,)}, mahalanobis {"transform": (d, d)}, gower
# {"ranges": (d,)}, contiguous float64; hamming and jaccard {"n_bits": int}; every other metric None
_Params = dict[str, Any] | None
_Progress = Callable[[int, int], object] | None
_Term = tuple[float, str, tuple[float, ...]]

__version__: str

def isa() -> str: ...
def isas() -> list[str]: ...
def build_config() -> dict[str, str]: ...
def least_memory(d: int, k: int) -> int: ...
def first_nonfinite(x: _Array, *, workers: int) -> int: ...

# a module: what tests force, and what they ask of a search beside its result
class _testing:
    """Pairs of a search of default precision.

    `rescored_pairs` are those that its screen left to be confirmed, `finished_pairs` those that
    were computed in full after tiles of lower bounds (-1 without such tiles).
    """

    @staticmethod
    def set_tile(rows: int, cols: int) -> None: ...
    @staticmethod
    def set_screen(name: str) -> None: ...
    @staticmethod
    def set_skipping(name: str) -> None: ...
    @staticmethod
    def rescored_pairs(
        queries: _Array, reference: _Array | None, k: int, metric: str, *, workers: int
    ) -> int: ...
    @staticmethod
    def computed_pairs(
        queries: _Array,
        reference: _Array | None,
        k: int,
        metric: str,
        *,
        index: Index | None = None,
        workers: int,
    ) -> int: ...
    @staticmethod
    def computed_pairs_within(
        queries: _Array, reference: _Array | None, radius: float, metric: str, *, workers: int
    ) -> int: ...
    @staticmethod
    def finished_pairs(
        queries: _Array,
        reference: _Array | None,
        k: int,
        metric: str,
        *,
        index: Index | None = None,
        workers: int,
    ) -> int: ...
    @staticmethod
    def computed_of_nearest(
        x: _Array, y: _Array | None, count: int, metric: str, *, workers: int
    ) -> int: ...

class WatchedRange:
    def __init__(self, begin: int, bytes: int) -> None: ...
    def lost(self) -> bool: ...

class Index:
    """References packed once; passed to searches with the same reference and metric.

    `pack` holds the panels as views and what they depend on, for another process of the same
    instruction set to take over; any other packs anew. None where there is nothing packed. It has
    the order of rows and the turned rows too, where a search (or `knn_plan`) has made them. With
    `verify` an order that is taken over is compared with the rows: ValueError if it is not theirs.
    """

    def __init__(
        self,
        reference: _Array,
        metric: str,
        *,
        precision: str,
        pack: dict[str, Any] | None = None,
        verify: bool = True,
        workers: int,
    ) -> None: ...
    @property
    def pack(self) -> dict[str, Any] | None: ...

def knn(
    queries: _Array,
    reference: _Array | None,
    k: int,
    metric: str,
    *,
    dtype: str,
    precision: str,
    query_groups: NDArray[np.int64] | None = None,
    reference_groups: NDArray[np.int64] | None = None,
    group_rule: str = "",
    query_times: _Array | None = None,
    reference_times: _Array | None = None,
    reference_mask: NDArray[np.bool_] | None = None,
    earlier: bool = False,
    metric_params: _Params = None,
    index: Index | None = None,
    check_finite: bool = False,
    workers: int,
    memory_limit: int = 0,
    progress: _Progress = None,
) -> tuple[_Array, NDArray[np.int64]]: ...
def knn_plan(
    queries: _Array,
    reference: _Array | None,
    k: int,
    metric: str,
    *,
    precision: str,
    metric_params: _Params = None,
    index: Index | None = None,
    workers: int,
    memory_limit: int = 0,
) -> tuple[str, int, list[str]]: ...
def pairwise_distances(
    x: _Array,
    y: _Array | None,
    metric: str,
    *,
    dtype: str,
    metric_params: _Params = None,
    workers: int,
    progress: _Progress = None,
) -> _Array: ...
def radius_counts(
    queries: _Array,
    reference: _Array | None,
    metric: str,
    query_radii: _Array | None,
    reference_radii: _Array | None,
    *,
    closed: bool,
    dtype: str,
    per_reference: bool = True,
    metric_params: _Params = None,
    index: Index | None = None,
    workers: int,
    memory_limit: int = 0,
    progress: _Progress = None,
) -> tuple[_Counts | None, _Counts | None, _Counts | None, _Counts | None]: ...
def radius_neighbors(
    queries: _Array,
    reference: _Array | None,
    metric: str,
    radii: _Array,
    *,
    closed: bool,
    dtype: str,
    ordered: bool = False,
    metric_params: _Params = None,
    index: Index | None = None,
    workers: int,
    memory_limit: int = 0,
    progress: _Progress = None,
) -> tuple[_Counts, _Counts, _Array]: ...
def pairs_within(
    x: _Array,
    y: _Array | None,
    metric: str,
    limit: float,
    *,
    metric_params: _Params = None,
    workers: int,
    memory_limit: int = 0,
    progress: _Progress = None,
) -> tuple[_Counts, _Counts, _Floats]: ...
def nearest_pairs(
    x: _Array,
    y: _Array | None,
    count: int,
    metric: str,
    *,
    metric_params: _Params = None,
    workers: int,
    memory_limit: int = 0,
    progress: _Progress = None,
) -> tuple[_Counts, _Counts, _Floats]: ...
def keep_first(rows: int, i: _Counts, j: _Counts) -> NDArray[np.bool_]: ...
def connected_rows(rows: int, i: _Counts, j: _Counts) -> _Counts: ...
def group_medoids(
    x: _Array,
    metric: str,
    indptr: _Counts,
    members: _Counts,
    *,
    metric_params: _Params = None,
    workers: int,
    progress: _Progress = None,
) -> _Counts: ...
def largest_radius_ratios(
    queries: _Array,
    reference: _Array,
    metric: str,
    radii: _Floats,
    *,
    metric_params: _Params = None,
    workers: int,
    progress: _Progress = None,
) -> _Floats: ...
def distance_products(
    queries: _Array,
    reference: _Array,
    metric: str,
    query_radius: float,
    reference_radius: float,
    *,
    metric_params: _Params = None,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Floats]: ...
def farthest_of_group(
    x: _Array,
    metric: str,
    groups: NDArray[np.int64],
    *,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, NDArray[np.int64]]: ...
def next_beyond(
    x: _Array,
    metric: str,
    groups: NDArray[np.int64],
    anchors: NDArray[np.int64],
    indptr: NDArray[np.int64],
    listed: NDArray[np.int64],
    *,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Floats, NDArray[np.int64]]: ...
def distance_histogram(
    x: _Array,
    metric: str,
    groups: NDArray[np.int64],
    n_groups: int,
    limits: _Floats,
    *,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Counts, _Counts]: ...
def pair_ranks(
    queries: _Array,
    reference: _Array,
    metric: str,
    targets: NDArray[np.int64],
    *,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Counts, _Counts]: ...
def kernel_total(
    x: _Array,
    y: _Array | None,
    terms: Sequence[_Term],
    x_weights: _Floats | None,
    y_weights: _Floats | None,
    *,
    precision: str,
    workers: int,
    progress: _Progress = None,
) -> float: ...
def kernel_moments(
    x: _Array,
    y: _Array | None,
    terms: Sequence[_Term],
    *,
    precision: str,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Floats, float]: ...
def kernel_subset_sums(
    x: _Array,
    y: _Array,
    x_rows: NDArray[np.int64],
    y_rows: NDArray[np.int64],
    terms: Sequence[_Term],
    *,
    paired: bool,
    precision: str,
    workers: int,
    progress: _Progress = None,
) -> _Floats: ...
def kernel_gradient(
    x: _Array,
    y: _Array | None,
    terms: Sequence[_Term],
    x_weights: _Floats,
    y_weights: _Floats | None,
    *,
    diagonal: bool,
    grad_x: bool = True,
    grad_y: bool = True,
    precision: str,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Floats, _Floats | None, _Floats | None]: ...
def kernel_row_sums(
    z: _Array,
    y: _Array,
    terms: Sequence[_Term],
    y_weights: _Floats | None,
    *,
    precision: str,
    workers: int,
    progress: _Progress = None,
) -> _Floats: ...
def kernel_matvec(
    x: _Array,
    y: _Array,
    v: _Floats,
    terms: Sequence[_Term],
    *,
    precision: str,
    workers: int,
    progress: _Progress = None,
) -> _Floats: ...
def kernel_logsumexp(
    x: _Array,
    y: _Array | None,
    terms: Sequence[_Term],
    log_weights: _Floats | None,
    rates: _Floats | None,
    *,
    precision: str,
    workers: int,
    progress: _Progress = None,
) -> _Floats: ...
def stein_label_sums(
    x: _Array,
    scores: _Array,
    labels: NDArray[np.uint64],
    terms: Sequence[_Term],
    *,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Floats, float]: ...
def kernel_label_sums(
    x: _Array,
    y: _Array,
    labels: NDArray[np.uint64],
    kernels: Sequence[Sequence[_Term]],
    *,
    paired: bool,
    rounding_steps: Sequence[float] = (),
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Floats, _Floats]: ...
def random_labels(
    rng: np.random.Generator,
    members: NDArray[np.uint32],
    sizes: NDArray[np.uint32],
    chosen: NDArray[np.uint32],
    unit: NDArray[np.uint32] | None,
    count: int,
) -> NDArray[np.uint64]: ...
def random_orders(
    rng: np.random.Generator,
    members: NDArray[np.uint32],
    sizes: NDArray[np.uint32],
    count: int,
) -> NDArray[np.int64]: ...
def joint_kernel_sums(
    x: _Array,
    y: _Array,
    x_terms: Sequence[_Term],
    y_terms: Sequence[_Term],
    *,
    x_shift: float,
    y_shift: float,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Floats, _Floats, float, float]: ...
def joint_kernel_gradient(
    x: _Array,
    y: _Array,
    x_terms: Sequence[_Term],
    y_terms: Sequence[_Term],
    by_row: _Floats,
    *,
    diagonal: bool,
    workers: int,
    progress: _Progress = None,
) -> _Floats: ...
def permuted_kernel_products(
    x: _Array,
    y: _Array,
    x_terms: Sequence[_Term],
    y_terms: Sequence[_Term],
    orders: NDArray[np.int64],
    *,
    x_shift: float,
    y_shift: float,
    workers: int,
    progress: _Progress = None,
) -> _Floats: ...
def line_products(
    x: _Floats, y: _Floats, orders: NDArray[np.int64], *, workers: int, progress: _Progress = None
) -> _Floats: ...
def distance_quantile(
    x: _Array,
    y: _Array | None,
    metric: str,
    q: float,
    squared: bool,
    *,
    workers: int,
    progress: _Progress = None,
) -> float: ...
def sliced_costs(
    x: _Array,
    y: _Array,
    directions: _Array | None,
    p: float,
    x_weights: _Floats | None,
    y_weights: _Floats | None,
    *,
    gradient: bool,
    grad_x: bool = True,
    grad_y: bool = True,
    weight_gradient: bool = False,
    moments: bool = False,
    direction_weights: _Floats | None,
    workers: int,
    progress: _Progress = None,
    memory_limit: int = 0,
) -> tuple[
    _Floats, _Array | None, _Array | None, _Floats | None, _Floats | None, _Floats | None
]: ...
def column_statistics(
    x: _Array,
    y: _Array,
    levels: _Floats,
    *,
    workers: int,
    progress: _Progress = None,
    memory_limit: int = 0,
) -> tuple[_Floats, _Floats, _Floats, _Floats, _Floats, _Floats]: ...
def partial_masses(x: _Floats, y: _Floats, share: float, p: float) -> tuple[_Floats, _Floats]: ...
def least_line_memory(n: int, m: int, *, wide: bool, weighted: bool) -> int: ...
def centre_rows(n: int, d: int) -> NDArray[np.int64]: ...
def line_centre(x: _Array, y: _Array) -> _Floats: ...
def largest_offset(x: _Array, centre: _Floats, *, workers: int) -> float: ...
def project_rows(
    x: _Array, directions: _Array, centre: _Floats, scale: float, out: _Array, *, workers: int
) -> None: ...
def column_moments(
    x: _Array, weights: _Floats | None, *, workers: int
) -> tuple[_Floats, _Floats]: ...
def sliced_energy_costs(
    x: _Array,
    y: _Array,
    directions: _Array | None,
    *,
    gradient: bool,
    grad_x: bool = True,
    grad_y: bool = True,
    workers: int,
    progress: _Progress = None,
    memory_limit: int = 0,
) -> tuple[_Floats, _Array | None, _Array | None]: ...

# W_p^p of each direction, and its derivatives by it, (d, L)
def sliced_direction_slopes(
    x: _Array,
    y: _Array,
    directions: _Array,
    p: float,
    x_weights: _Floats | None,
    y_weights: _Floats | None,
    *,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Floats]: ...

# the highest points (R, d) on the ways from the starts up, and log W_p there
def sliced_climbs(
    x: _Array,
    y: _Array,
    starts: _Floats,
    units: _Floats,
    p: float,
    x_weights: _Floats | None,
    y_weights: _Floats | None,
    *,
    rounds: int,
    kept: int,
    tol: float,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Floats]: ...
def sliced_plan_distances(
    x: _Array,
    y: _Array,
    directions: _Array,
    p: float,
    x_weights: _Floats | None,
    y_weights: _Floats | None,
    *,
    workers: int,
    progress: _Progress = None,
) -> _Floats: ...

# rows and columns of the mean plan, mass; distances of the plan of each direction
def sliced_plan(
    x: _Array,
    y: _Array,
    directions: _Array,
    p: float,
    x_weights: _Floats | None,
    y_weights: _Floats | None,
    *,
    workers: int,
    progress: _Progress = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], _Floats, _Floats]: ...
def relabelled_line_costs(
    lines: _Floats,
    bits: NDArray[np.uint8],
    sizes: NDArray[np.int64],
    *,
    energy: bool,
    p: float,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Floats, NDArray[np.int64]]: ...
def circle_distances(
    x: _Array,
    y: _Array,
    frames: _Array,
    p: float,
    *,
    linear: bool,
    workers: int,
    progress: _Progress = None,
) -> _Floats: ...

# Losses, with gradients of the sum of row_upstream times the losses of the rows. A row without a
# positive has loss 0 and no gradient. `row_scales` stand for `scale` where there are any, and there
# is a derivative by each of them. Labels are of positives where they differ by at most
# `label_width`. What is computed: `_backends/numpy/losses`.
def softmax_losses(
    x: _Array,
    y: _Array,
    scale: float,
    options: SoftmaxOptions,
    *,
    row_scales: _Floats | None,
    normalize: bool,
    grad: bool,
    grad_x: bool,
    grad_y: bool,
    row_upstream: _Floats,
    workers: int,
    progress: _Progress = None,
) -> tuple[
    _Floats, _Floats | None, _Floats | None, _Array | None, _Array | None, float | _Floats | None
]: ...

# A block of columns of a softmax loss: states of rows and columns, and the limits of the rows; then
# what it adds to the gradients, given the states over all blocks and the weights of the losses.
# With `itself` y is x, no row of which is compared with itself: the gradient by x is all of it.
def softmax_states(
    x: _Array,
    y: _Array,
    scale: float,
    options: SoftmaxOptions,
    *,
    row_scales: _Floats | None = None,
    normalize: bool = False,
    itself: bool = False,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Floats | None, _Floats]: ...
def softmax_gradients(
    x: _Array,
    y: _Array,
    scale: float,
    options: SoftmaxOptions,
    sides: SoftmaxSides,
    *,
    row_scales: _Floats | None = None,
    normalize: bool = False,
    itself: bool = False,
    grad_x: bool,
    grad_y: bool,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Array | None, _Array | None, float | _Floats]: ...
def supcon_losses(
    x: _Array,
    second: _Array | None,
    bank: _Array | None,
    scale: float,
    *,
    row_scales: _Floats | None,
    labels: _Floats,
    label_width: float,
    normalize: bool,
    grad: bool,
    grad_x: bool,
    grad_y: bool,
    row_upstream: _Floats,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Floats, _Array | None, _Array | None, float | _Floats | None]: ...
def pair_losses(
    x: _Array,
    loss: str,  # "circle": (margin, gamma); "multi_similarity": (alpha, beta, base, epsilon or -1)
    parameters: tuple[float, ...],
    *,
    labels: _Floats,
    normalize: bool,
    grad: bool,
    row_upstream: _Floats,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Array | None]: ...
def row_pulls(
    x: _Array,
    lengths: _Floats | None,
    one: _Counts,
    other: _Counts,
    weights: _Floats,
    gradient: _Array,  # added to
    *,
    workers: int,
) -> None: ...
def sigmoid_losses(
    x: _Array,
    y: _Array,
    scale: float,
    bias: float,
    *,
    row_scales: _Floats | None,
    row_labels: _Floats | None,
    col_labels: _Floats | None,
    target_offset: int,
    normalize: bool,
    grad: bool,
    grad_x: bool,
    grad_y: bool,
    row_upstream: _Floats,
    workers: int,
    progress: _Progress = None,
) -> tuple[_Floats, _Array | None, _Array | None, float | _Floats | None, float | None]: ...
