"""The NumPy backend: every function of `_native`, with the same signature, in plain NumPy.

It serves where the compiled engine is missing, and it is what the engine is tested against:
float64 throughout, direct differences, a block of rows at a time.
"""

from pairtile._numpy.contrastive import contrastive
from pairtile._numpy.dependence import (
    joint_kernel_sums,
    line_products,
    permuted_kernel_products,
)
from pairtile._numpy.fidelity import distance_products, largest_radius_ratios
from pairtile._numpy.kernel_gradient import kernel_gradient
from pairtile._numpy.kernels import (
    kernel_label_sums,
    kernel_logsumexp,
    kernel_matvec,
    kernel_moments,
    kernel_row_sums,
    kernel_subset_sums,
    kernel_total,
)
from pairtile._numpy.neighbors import (
    Index,
    distance_quantile,
    first_nonfinite,
    knn,
    least_memory,
    pairwise_distances,
)
from pairtile._numpy.radius import radius_counts, radius_neighbors
from pairtile._numpy.slices import sliced_costs, sliced_energy_costs
from pairtile._numpy.stein import stein_label_sums

__all__ = [
    "Index",
    "contrastive",
    "distance_products",
    "distance_quantile",
    "first_nonfinite",
    "joint_kernel_sums",
    "kernel_gradient",
    "kernel_label_sums",
    "kernel_logsumexp",
    "kernel_matvec",
    "kernel_moments",
    "kernel_row_sums",
    "kernel_subset_sums",
    "kernel_total",
    "knn",
    "largest_radius_ratios",
    "least_memory",
    "line_products",
    "pairwise_distances",
    "permuted_kernel_products",
    "radius_counts",
    "radius_neighbors",
    "sliced_costs",
    "sliced_energy_costs",
    "stein_label_sums",
]
