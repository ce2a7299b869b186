"""scikit-learn's k-d tree, in float64: another algorithm, for few dimensions."""

from collections.abc import Callable

from sklearn.neighbors import NearestNeighbors

from bench.case import Arrays
from bench.neighbors import Knn, float_sets
from bench.peers import distribution_version


def start(threads: int) -> None:
    """Nothing to set: the number is given per call."""


def describe() -> str:
    return distribution_version("kdtree")


def knn(case: Knn, arrays: Arrays, threads: int) -> Callable[[], object]:
    queries, reference = float_sets(arrays)
    asked = None if case.self_join else queries  # None leaves each row itself out
    tree = NearestNeighbors(n_neighbors=case.k, algorithm="kd_tree", n_jobs=threads)
    return lambda: tree.fit(reference).kneighbors(asked)
