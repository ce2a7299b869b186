"""Exact all-pairs statistics on two point sets, without ever holding the n x m matrix.

Nearest neighbours, counts within a radius, precision and recall of generated sets, kernel
two-sample statistics and tests, energy distance, sliced Wasserstein, contrastive losses. Every
public function takes the same way: `_front` validates, `_backends` chooses the compiled engine, the
NumPy fallback or CUDA, and the function wraps what comes back.

`reference` and `x` are the reference sample, `queries` and `y` the new one; statistics are
squared unless ``squared=False``; results are named tuples.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from pairtile._backends.choose import backend, set_backend, show_config
from pairtile._front import words as _words
from pairtile._front.threads import set_num_threads
from pairtile.kernels import (
    Cauchy,
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
    Retrieval,
    SimilarityHistogram,
    alignment,
    circle_loss,
    clip_loss,
    gist_loss,
    info_nce,
    multi_similarity_loss,
    nt_xent_loss,
    retrieval_metrics,
    siglip_loss,
    similarity_histogram,
    supcon_loss,
    triplet_loss,
    uniformity,
)
from pairtile.neighbors import (
    PRDC,
    ClosestRecord,
    Dedup,
    MaxSimilarity,
    NearDuplicates,
    NeighborIndex,
    Neighbors,
    PrecisionRecall,
    RadiusNeighbors,
    SearchPlan,
    authenticity,
    closest_record_test,
    deduplicate,
    distance_to_closest_record,
    knn,
    kth_distance,
    max_similarity,
    near_duplicates,
    pairwise_distances,
    precision_recall_density_coverage,
    probabilistic_precision_recall,
    radius_count,
    radius_neighbors,
    realism,
    top_pairs,
)
from pairtile.paired import (
    DependenceGradient,
    cka,
    distance_correlation,
    distance_covariance,
    hsic,
    independence_test,
)
from pairtile.slices import (
    ColumnStatistics,
    MaxSliced,
    SlicedPlan,
    SlicedResult,
    column_statistics,
    expected_sliced_plan,
    max_sliced_wasserstein,
    min_sliced_plan,
    partial_wasserstein_1d,
    sliced_energy,
    sliced_wasserstein,
    sliced_wasserstein_sphere,
    sphere_directions,
    wasserstein_1d,
)
from pairtile.stein import SteinGradient, kernel_stein_discrepancy, stein_test
from pairtile.two_sample import (
    KID,
    AggregatedTest,
    KernelTest,
    MMDGradient,
    MMDPower,
    OnlineMMD,
    OnlineResult,
    Pairwise,
    Power,
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
    power,
    sliced_test,
)

if _TYPE_CHECKING:
    from pairtile.tables import (
        ColumnDrift,
        Drift,
        DriftOverTime,
        Encoded,
        Period,
        RowDrift,
        drift,
        drift_over_time,
        encode,
    )

__version__ = "0.1.0"

__all__ = [
    "KID",
    "PRDC",
    "AggregatedTest",
    "Cauchy",
    "ClosestRecord",
    "ColumnDrift",
    "ColumnStatistics",
    "ContrastiveResult",
    "Cosine",
    "Dedup",
    "DependenceGradient",
    "Drift",
    "DriftOverTime",
    "Encoded",
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
    "MaxSimilarity",
    "MaxSliced",
    "NearDuplicates",
    "NeighborIndex",
    "Neighbors",
    "OnlineMMD",
    "OnlineResult",
    "Pairwise",
    "Period",
    "Polynomial",
    "Power",
    "PrecisionRecall",
    "RadiusNeighbors",
    "RationalQuadratic",
    "Retrieval",
    "RowDrift",
    "SearchPlan",
    "SimilarityHistogram",
    "SlicedPlan",
    "SlicedResult",
    "SteinGradient",
    "TestResult",
    "__version__",
    "alignment",
    "authenticity",
    "backend",
    "cauchy_schwarz_divergence",
    "circle_loss",
    "cka",
    "clip_loss",
    "closest_record_test",
    "column_statistics",
    "deduplicate",
    "disco_test",
    "distance_correlation",
    "distance_covariance",
    "distance_to_closest_record",
    "drift",
    "drift_over_time",
    "encode",
    "energy_distance",
    "energy_test",
    "expected_sliced_plan",
    "gist_loss",
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
    "max_similarity",
    "max_sliced_wasserstein",
    "median_distance",
    "min_sliced_plan",
    "mmd",
    "mmd_aggregated_test",
    "mmd_power",
    "mmd_test",
    "multi_similarity_loss",
    "near_duplicates",
    "nt_xent_loss",
    "pairwise_distances",
    "partial_wasserstein_1d",
    "power",
    "precision_recall_density_coverage",
    "probabilistic_precision_recall",
    "radius_count",
    "radius_neighbors",
    "realism",
    "retrieval_metrics",
    "set_backend",
    "set_num_threads",
    "show_config",
    "siglip_loss",
    "similarity_histogram",
    "sliced_energy",
    "sliced_test",
    "sliced_wasserstein",
    "sliced_wasserstein_sphere",
    "sphere_directions",
    "stein_test",
    "supcon_loss",
    "top_pairs",
    "triplet_loss",
    "uniformity",
    "wasserstein_1d",
    "witness",
]

# The room of tables is loaded when first used: engines that import pairtile do without.
_TABLES = {
    "ColumnDrift",
    "Drift",
    "DriftOverTime",
    "Encoded",
    "Period",
    "RowDrift",
    "drift",
    "drift_over_time",
    "encode",
}

globals().update(
    (_name, _words.hint(globals()[_name], __name__)) for _name in __all__ if _name not in _TABLES
)


def __getattr__(name: str) -> _Any:
    if name not in _TABLES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pairtile import tables

    found = globals()[name] = _words.hint(getattr(tables, name), __name__)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_TABLES})
