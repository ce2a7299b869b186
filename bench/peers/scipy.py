"""SciPy: k-d tree, pdist and cdist, all of them in float64."""

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist, pdist

from bench.cases import Arrays, Energy, Knn, Median, exclude_self
from bench.peers import distribution_version


def start(threads: int) -> None:
    """Nothing to set: pdist and cdist use one thread, the tree takes the number per call."""


def describe() -> str:
    return distribution_version("scipy")


def knn(case: Knn, arrays: Arrays, threads: int) -> Callable[[], object]:
    """Only asked for in few dimensions, where a tree is what a user would take."""
    queries = arrays["queries"]
    reference = arrays.get("reference", queries)

    def call() -> object:
        tree = cKDTree(reference)
        distances, indices = tree.query(queries, case.fetched, workers=threads)
        return exclude_self(case, distances, indices)

    return call


def median(case: Median, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    return lambda: float(np.median(pdist(np.concatenate([x, y])), overwrite_input=True))


def energy(case: Energy, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    return lambda: float(2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())
