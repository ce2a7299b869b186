"""The CUDA backend: the functions of the seam (see `_native.pyi`) on the GPU.

CuPy owns all device memory, workspace included; `_cuda` launches on its current stream. A call
is cut into batches of query rows that take well below a second each, so that it can be
interrupted and report progress between two of them.

    arrays -> Rows -> batches of rows -> sweep and merge in `_cuda` -> CuPy arrays

Results are CuPy arrays; NumPy arrays, which come here when "cuda" is the chosen backend, get
NumPy arrays back. Imported only when a call needs it, and importable only where `_cuda` was
built and CuPy is installed.
"""

import pairtile._cuda as _cuda  # `from pairtile import _cuda` would not tell missing from broken
from pairtile._backends.cuda.columns import column_statistics
from pairtile._backends.cuda.dependence import (
    joint_kernel_gradient,
    line_products,
    permuted_kernel_products,
)
from pairtile._backends.cuda.duplicates import (
    connected_rows,
    group_medoids,
    keep_first,
    nearest_pairs,
    pairs_within,
)
from pairtile._backends.cuda.embeddings import (
    distance_histogram,
    farthest_of_group,
    next_beyond,
    pair_ranks,
)
from pairtile._backends.cuda.fidelity import distance_products, largest_radius_ratios
from pairtile._backends.cuda.kernel_blocks import (
    joint_kernel_sums,
    kernel_gradient,
    kernel_logsumexp,
    kernel_matvec,
    kernel_moments,
    kernel_row_sums,
    kernel_subset_sums,
    kernel_total,
    stein_label_sums,
)
from pairtile._backends.cuda.loss_states import softmax_gradients, softmax_states
from pairtile._backends.cuda.losses import (
    pair_losses,
    row_pulls,
    sigmoid_losses,
    softmax_losses,
    supcon_losses,
)
from pairtile._backends.cuda.maximum import sliced_climbs, sliced_direction_slopes
from pairtile._backends.cuda.memory import device_count, host_room, least_memory
from pairtile._backends.cuda.neighbors import (
    Index,
    first_nonfinite,
    knn,
    knn_plan,
    pairwise_distances,
    radius_counts,
    radius_neighbors,
)
from pairtile._backends.cuda.plans import sliced_plan, sliced_plan_distances
from pairtile._backends.cuda.quantile import distance_quantile
from pairtile._backends.cuda.relabelled_sums import kernel_label_sums
from pairtile._backends.cuda.shuffles import random_labels, random_orders
from pairtile._backends.cuda.slices import (
    centre_rows,
    column_moments,
    largest_offset,
    least_line_memory,
    line_centre,
    partial_masses,
    project_rows,
    relabelled_line_costs,
    sliced_costs,
    sliced_energy_costs,
)
from pairtile._backends.cuda.sphere import circle_distances
from pairtile._backends.cuda.streaming import block_memory, held_as, uploaded
from pairtile._cuda import architectures

__all__ = [
    "Index",
    "_cuda",
    "architectures",
    "block_memory",
    "centre_rows",
    "circle_distances",
    "column_moments",
    "column_statistics",
    "connected_rows",
    "device_count",
    "distance_histogram",
    "distance_products",
    "distance_quantile",
    "farthest_of_group",
    "first_nonfinite",
    "group_medoids",
    "held_as",
    "host_room",
    "joint_kernel_gradient",
    "joint_kernel_sums",
    "keep_first",
    "kernel_gradient",
    "kernel_label_sums",
    "kernel_logsumexp",
    "kernel_matvec",
    "kernel_moments",
    "kernel_row_sums",
    "kernel_subset_sums",
    "kernel_total",
    "knn",
    "knn_plan",
    "largest_offset",
    "largest_radius_ratios",
    "least_line_memory",
    "least_memory",
    "line_centre",
    "line_products",
    "nearest_pairs",
    "next_beyond",
    "pair_losses",
    "pair_ranks",
    "pairs_within",
    "pairwise_distances",
    "partial_masses",
    "permuted_kernel_products",
    "project_rows",
    "radius_counts",
    "radius_neighbors",
    "random_labels",
    "random_orders",
    "relabelled_line_costs",
    "row_pulls",
    "sigmoid_losses",
    "sliced_climbs",
    "sliced_costs",
    "sliced_direction_slopes",
    "sliced_energy_costs",
    "sliced_plan",
    "sliced_plan_distances",
    "softmax_gradients",
    "softmax_losses",
    "softmax_states",
    "stein_label_sums",
    "supcon_losses",
    "uploaded",
]
