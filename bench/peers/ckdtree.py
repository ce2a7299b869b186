"""SciPy's k-d tree, in float64."""

from collections.abc import Callable

from scipy.spatial import cKDTree

from bench.case import Arrays
from bench.neighbors import Knn, exclude_self, float_sets
from bench.peers import distribution_version


def start(threads: int) -> None:
    """Nothing to set: the number is given per call."""


def describe() -> str:
    return distribution_version("ckdtree")


def knn(case: Knn, arrays: Arrays, threads: int) -> Callable[[], object]:
    queries, reference = float_sets(arrays)
    wanted = range(1, case.fetched + 1)  # a list keeps the axis of one neighbour

    def call() -> object:
        found = cKDTree(reference).query(queries, wanted, workers=threads)
        return exclude_self(case, *found)

    return call
