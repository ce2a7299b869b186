"""Plain NumPy: what one writes without any of these libraries, where that is a contender at all."""

from collections.abc import Callable

import numpy as np

from bench.case import Arrays
from bench.cases import Permutation, Sliced
from bench.peers import distribution_version


def start(threads: int) -> None:
    """Nothing to set: NumPy's BLAS reads the size of its pool from the environment."""


def describe() -> str:
    return distribution_version("numpy")


def permutation(case: Permutation, arrays: Arrays, threads: int) -> Callable[[], object]:
    """The kernel matrix once, and all relabellings as one matrix product with it."""
    x, y = arrays["x"], arrays["y"]
    n, m = len(x), len(y)

    def call() -> object:
        pooled = np.concatenate([x, y])
        norms = np.einsum("ij,ij->i", pooled, pooled)
        kernel = pooled @ pooled.T
        kernel *= -2
        kernel += norms
        kernel += norms[:, None]
        kernel *= -case.gamma
        np.exp(kernel, out=kernel)
        np.fill_diagonal(kernel, 0)
        rng = np.random.default_rng(case.seed)
        labels = np.zeros((n + m, 1 + case.permutations), dtype=np.float32)
        labels[:n, 0] = 1
        for column in range(1, 1 + case.permutations):
            labels[rng.permutation(n + m)[:n], column] = 1
        products = kernel @ labels
        within = np.einsum("ib,ib->b", labels, products, dtype=np.float64)
        row = products.sum(axis=0, dtype=np.float64)
        between = row - within
        rest = kernel.sum(dtype=np.float64) - within - 2 * between
        values = within / (n * (n - 1)) + rest / (m * (m - 1)) - 2 * between / (n * m)
        return float(values[0]), values[1:]

    return call


def sliced(case: Sliced, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y, directions = arrays["x"], arrays["y"], arrays["directions"]

    def call() -> object:
        along_x = directions.T @ x.T  # one projection per row: contiguous for the sort
        along_y = directions.T @ y.T
        along_x.sort(axis=1)
        along_y.sort(axis=1)
        along_x -= along_y
        return float(np.sqrt(np.mean(np.square(along_x, out=along_x), dtype=np.float64)))

    return call
