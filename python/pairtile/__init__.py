"""Exact all-pairs statistics on two point sets, without ever holding the n x m matrix.

Nearest neighbours, counts within a radius, precision and recall of generated sets, kernel
two-sample statistics and tests, energy distance, sliced Wasserstein, contrastive losses. Every
public function takes the same way: `_front` validates, `_backends` chooses the compiled engine, the
NumPy fallback or CUDA, and the function wraps what comes back.

`reference` and `x` are the reference sample, `queries` and `y` the new one; statistics are
squared unless ``squared=False``; results are named tuples.
"""

from pairtile._backends.choose import backend, set_backend, show_config
from pairtile._front.threads import set_num_threads
from pairtile.dependence import (
    cka,
    distance_correlation,
    distance_covariance,
    hsic,
    independence_test,
)
from pairtile.kernels import (
    Cosine,
    Energy,
    Gaussian,
    InverseMultiquadric,
    Kernel,
    Laplace,
    Linear,
    Matern,
    Polynomial,
    RationalQuadratic,
    kernel_logsumexp,
    kernel_matvec,
    kernel_sum,
    median_distance,
    witness,
)
from pairtile.losses import (
    ContrastiveResult,
    clip_loss,
    info_nce,
)
from pairtile.neighbors import (
    PRDC,
    NeighborIndex,
    Neighbors,
    PrecisionRecall,
    RadiusNeighbors,
    authenticity,
    distance_to_closest_record,
    knn,
    kth_distance,
    pairwise_distances,
    precision_recall_density_coverage,
    probabilistic_precision_recall,
    radius_count,
    radius_neighbors,
    realism,
)
from pairtile.slices import (
    SlicedResult,
    sliced_energy,
    sliced_wasserstein,
    sphere_directions,
    wasserstein_1d,
)
from pairtile.stein import kernel_stein_discrepancy, stein_test
from pairtile.two_sample import (
    KID,
    AggregatedTest,
    KernelTest,
    MMDGradient,
    MMDPower,
    OnlineMMD,
    OnlineResult,
    TestResult,
    cauchy_schwarz_divergence,
    disco_test,
    energy_distance,
    energy_test,
    kid,
    mmd,
    mmd_aggregated_test,
    mmd_power,
    mmd_test,
)

__version__ = "0.1.0"

__all__ = [
    "KID",
    "PRDC",
    "AggregatedTest",
    "ContrastiveResult",
    "Cosine",
    "Energy",
    "Gaussian",
    "InverseMultiquadric",
    "Kernel",
    "KernelTest",
    "Laplace",
    "Linear",
    "MMDGradient",
    "MMDPower",
    "Matern",
    "NeighborIndex",
    "Neighbors",
    "OnlineMMD",
    "OnlineResult",
    "Polynomial",
    "PrecisionRecall",
    "RadiusNeighbors",
    "RationalQuadratic",
    "SlicedResult",
    "TestResult",
    "__version__",
    "authenticity",
    "backend",
    "cauchy_schwarz_divergence",
    "cka",
    "clip_loss",
    "disco_test",
    "distance_correlation",
    "distance_covariance",
    "distance_to_closest_record",
    "energy_distance",
    "energy_test",
    "hsic",
    "independence_test",
    "info_nce",
    "kernel_logsumexp",
    "kernel_matvec",
    "kernel_stein_discrepancy",
    "kernel_sum",
    "kid",
    "knn",
    "kth_distance",
    "median_distance",
    "mmd",
    "mmd_aggregated_test",
    "mmd_power",
    "mmd_test",
    "pairwise_distances",
    "precision_recall_density_coverage",
    "probabilistic_precision_recall",
    "radius_count",
    "radius_neighbors",
    "realism",
    "set_backend",
    "set_num_threads",
    "show_config",
    "sliced_energy",
    "sliced_wasserstein",
    "sphere_directions",
    "stein_test",
    "wasserstein_1d",
    "witness",
]
