"""Sets that are not in memory: read block by block, with the result of the same call in memory.

Exports functions of the seam (see `_native.pyi`) for arguments of which one or both are `Rows`, on
top of the backend that serves arrays in host memory:

    Rows -> a block of queries x a block of references -> backend -> merge -> result
    Rows -> blocks of rows -> projections of a batch of directions -> backend -> costs
"""

from pairtile._backends.blocks.kernels import (
    distance_quantile,
    kernel_gradient,
    kernel_logsumexp,
    kernel_matvec,
    kernel_row_sums,
    kernel_total,
)
from pairtile._backends.blocks.neighbors import (
    distance_products,
    group_medoids,
    knn,
    knn_plan,
    largest_radius_ratios,
    nearest_pairs,
    pairs_within,
    radius_counts,
    radius_neighbors,
)
from pairtile._backends.blocks.slices import column_statistics, sliced_costs, sliced_energy_costs

__all__ = [
    "column_statistics",
    "distance_products",
    "distance_quantile",
    "group_medoids",
    "kernel_gradient",
    "kernel_logsumexp",
    "kernel_matvec",
    "kernel_row_sums",
    "kernel_total",
    "knn",
    "knn_plan",
    "largest_radius_ratios",
    "nearest_pairs",
    "pairs_within",
    "radius_counts",
    "radius_neighbors",
    "sliced_costs",
    "sliced_energy_costs",
]
