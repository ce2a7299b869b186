"""scikit-learn: brute-force neighbours and the Gaussian kernel matrix."""

from collections.abc import Callable

from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

from bench.case import Arrays
from bench.cases import Mmd
from bench.neighbors import Knn, float_sets
from bench.peers import distribution_version


def start(threads: int) -> None:
    """Nothing to set: its OpenMP pool reads the size from the environment."""


def describe() -> str:
    return distribution_version("sklearn")


def knn(case: Knn, arrays: Arrays, threads: int) -> Callable[[], object]:
    queries, reference = float_sets(arrays)
    asked = None if case.self_join else queries  # None leaves each row itself out
    brute = NearestNeighbors(n_neighbors=case.k, algorithm="brute")
    return lambda: brute.fit(reference).kneighbors(asked)


def mmd(case: Mmd, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    n, m = len(x), len(y)

    def call() -> object:
        within_x = (rbf_kernel(x, gamma=case.gamma).sum(dtype=float) - n) / (n * (n - 1))
        within_y = (rbf_kernel(y, gamma=case.gamma).sum(dtype=float) - m) / (m * (m - 1))
        between = rbf_kernel(x, y, gamma=case.gamma).mean(dtype=float)
        return float(within_x + within_y - 2 * between)

    return call
