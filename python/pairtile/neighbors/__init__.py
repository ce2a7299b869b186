"""Nearest neighbours and what is read off them: one search, counts, an index, generated sets."""

from pairtile.neighbors.duplicates import (
    Dedup,
    MaxSimilarity,
    NearDuplicates,
    deduplicate,
    max_similarity,
    near_duplicates,
    top_pairs,
)
from pairtile.neighbors.generated import (
    PRDC,
    PrecisionRecall,
    authenticity,
    distance_to_closest_record,
    precision_recall_density_coverage,
    probabilistic_precision_recall,
    realism,
)
from pairtile.neighbors.index import NeighborIndex
from pairtile.neighbors.plan import SearchPlan
from pairtile.neighbors.radius import RadiusNeighbors, radius_count, radius_neighbors
from pairtile.neighbors.records import ClosestRecord, closest_record_test
from pairtile.neighbors.search import Neighbors, knn, kth_distance, pairwise_distances

__all__ = [
    "PRDC",
    "ClosestRecord",
    "Dedup",
    "MaxSimilarity",
    "NearDuplicates",
    "NeighborIndex",
    "Neighbors",
    "PrecisionRecall",
    "RadiusNeighbors",
    "SearchPlan",
    "authenticity",
    "closest_record_test",
    "deduplicate",
    "distance_to_closest_record",
    "knn",
    "kth_distance",
    "max_similarity",
    "near_duplicates",
    "pairwise_distances",
    "precision_recall_density_coverage",
    "probabilistic_precision_recall",
    "radius_count",
    "radius_neighbors",
    "realism",
    "top_pairs",
]
