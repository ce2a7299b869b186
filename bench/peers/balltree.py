"""scikit-learn's ball tree, in float64."""

from collections.abc import Callable

from bench.case import Arrays
from bench.neighbors import Knn
from bench.peers import distribution_version, kdtree


def start(threads: int) -> None:
    """Nothing to set: the number is given per call."""


def describe() -> str:
    return distribution_version("balltree")


def knn(case: Knn, arrays: Arrays, threads: int) -> Callable[[], object]:
    return kdtree.knn(case, arrays, threads, algorithm="ball_tree")
