"""scikit-learn's k-d tree, in float64."""

from collections.abc import Callable

from sklearn.neighbors import NearestNeighbors

from bench.case import Arrays
from bench.neighbors import Knn, float_sets
from bench.peers import distribution_version


def start(threads: int) -> None:
    """Nothing to set: the number is given per call."""


def describe() -> str:
    return distribution_version("kdtree")


def knn(
    case: Knn, arrays: Arrays, threads: int, algorithm: str = "kd_tree"
) -> Callable[[], object]:
    queries, reference = float_sets(arrays)
    asked = None if case.self_join else queries  # None leaves each row itself out
    tree = NearestNeighbors(n_neighbors=case.k, algorithm=algorithm, n_jobs=threads)
    return lambda: tree.fit(reference).kneighbors(asked)
