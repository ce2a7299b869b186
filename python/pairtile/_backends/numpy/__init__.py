"""The NumPy backend: every function of `_native`, with the same signature, in plain NumPy.

It serves where the compiled engine is missing, and it is what the engine is tested against:
float64 throughout, direct differences, a block of rows at a time.
"""

from pairtile._backends.numpy.columns import column_statistics
from pairtile._backends.numpy.dependence import (
    joint_kernel_sums,
    line_products,
    permuted_kernel_products,
)
from pairtile._backends.numpy.duplicates import (
    connected_rows,
    group_medoids,
    keep_first,
    nearest_pairs,
    pairs_within,
)
from pairtile._backends.numpy.embeddings import (
    distance_histogram,
    farthest_of_group,
    next_beyond,
    pair_ranks,
)
from pairtile._backends.numpy.fidelity import distance_products, largest_radius_ratios
from pairtile._backends.numpy.kernel_gradient import joint_kernel_gradient, kernel_gradient
from pairtile._backends.numpy.kernels import (
    kernel_label_sums,
    kernel_logsumexp,
    kernel_matvec,
    kernel_moments,
    kernel_row_sums,
    kernel_subset_sums,
    kernel_total,
)
from pairtile._backends.numpy.losses import (
    pair_losses,
    row_pulls,
    sigmoid_losses,
    softmax_gradients,
    softmax_losses,
    softmax_states,
    supcon_losses,
)
from pairtile._backends.numpy.maximum import sliced_climbs, sliced_direction_slopes
from pairtile._backends.numpy.neighbors import (
    Index,
    distance_quantile,
    first_nonfinite,
    knn,
    knn_plan,
    least_memory,
    pairwise_distances,
)
from pairtile._backends.numpy.partial import partial_masses
from pairtile._backends.numpy.plans import sliced_plan, sliced_plan_distances
from pairtile._backends.numpy.radius import radius_counts, radius_neighbors
from pairtile._backends.numpy.relabelled import relabelled_line_costs
from pairtile._backends.numpy.shuffles import random_labels, random_orders
from pairtile._backends.numpy.slices import (
    centre_rows,
    column_moments,
    largest_offset,
    least_line_memory,
    line_centre,
    project_rows,
    sliced_costs,
    sliced_energy_costs,
)
from pairtile._backends.numpy.sphere import circle_distances
from pairtile._backends.numpy.stein import stein_label_sums

__all__ = [
    "Index",
    "centre_rows",
    "circle_distances",
    "column_moments",
    "column_statistics",
    "connected_rows",
    "distance_histogram",
    "distance_products",
    "distance_quantile",
    "farthest_of_group",
    "first_nonfinite",
    "group_medoids",
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
]
