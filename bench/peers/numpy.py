"""Plain NumPy: what one writes without any of these libraries, where that is a contender at all."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.case import Arrays
from bench.cases import Aggregated, Permutation
from bench.neighbors import NearDuplicates
from bench.peers import distribution_version, in_files
from bench.slices import (
    Columns,
    MaxSliced,
    Pieces,
    Sliced,
    SlicedControl,
    SlicedFiles,
    controlled,
    even_pieces,
    weighted_pieces,
)

_FILE_ROWS = 1 << 14  # of a file, projected at a time


def start(threads: int) -> None:
    """Nothing to set: NumPy's BLAS reads the size of its pool from the environment."""


def describe() -> str:
    return distribution_version("numpy")


def near_duplicates(case: NearDuplicates, arrays: Arrays, threads: int) -> Callable[[], object]:
    """Products of blocks of rows, each with itself and those after it."""
    x, height, width = arrays["x"], 1024, 4096

    def call() -> object:
        found = []
        for first in range(0, case.n, height):
            for start in range(first, case.n, width):
                products = x[first : first + height] @ x[start : start + width].T
                i, j = np.nonzero(products >= np.float32(case.threshold))
                later = first + i < start + j
                i, j = i[later], j[later]
                found.append((first + i, start + j, products[i, j]))
        return tuple(np.concatenate(part) for part in zip(*found, strict=True))

    return call


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


def aggregated(case: Aggregated, arrays: Arrays, threads: int) -> Callable[[], object]:
    """MMDAgg as published, in float64: of every kernel the whole matrix, times all resamples.

    A permuted statistic is the sum of three quadratic forms, whose vectors hold ±1 for the rows of
    both samples, of x, and of y; a wild bootstrap one of random signs with the n × n matrix h.
    """
    x, y = arrays["x"].astype(np.float64), arrays["y"].astype(np.float64)
    n, m, count, level, steps = len(x), len(y), case.resamples, 0.05, 50

    def forms(kernel: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.sum(vectors * (kernel @ vectors), axis=0))

    def permuted(rng: np.random.Generator) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        labels = np.full((n + m, 2 * count + 1), -1.0)
        labels[:n, 0] = 1
        for column in range(1, 2 * count + 1):
            labels[rng.permutation(n + m)[:n], column] = 1
        of_x, of_y = np.maximum(labels, 0), np.minimum(labels, 0)

        def statistics(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
            np.fill_diagonal(kernel, 0)
            return (
                forms(kernel, labels) / (n * m)
                + forms(kernel, of_x) * (m - n + 1) / (n * m * (n - 1))
                + forms(kernel, of_y) * (n - m + 1) / (n * m * (m - 1))
            )

        return statistics

    def signed(rng: np.random.Generator) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        signs = np.ones((n, 2 * count + 1))
        signs[:, 1:] = 2.0 * rng.integers(2, size=(n, 2 * count)) - 1

        def statistics(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
            h = kernel[:n, :n] + kernel[n:, n:] - kernel[:n, n:] - kernel[n:, :n]
            np.fill_diagonal(h, 0)
            return forms(h, signs) / (n * (n - 1))

        return statistics

    def rejects(values: NDArray[np.float64]) -> bool:
        """Bisection for the largest level of one kernel at which all together keep theirs."""
        kernels = len(values)
        first, second = np.sort(values[:, : count + 1]), values[:, count + 1 :]
        low, high = 0.0, float(kernels)
        for _ in range(steps):
            u = (low + high) / 2
            place = int(np.ceil((count + 1) * (1 - u / kernels))) - 1
            beaten = np.any(second > first[:, max(place, 0), None], axis=0)
            low, high = (u, high) if beaten.mean() <= level else (low, u)
        place = int(np.ceil((count + 1) * (1 - low / kernels))) - 1
        return bool(np.any(values[:, 0] > first[:, max(place, 0)]))

    def call() -> object:
        pooled = np.concatenate([x, y])
        squares = pooled @ pooled.T
        norms = np.diagonal(squares).copy()
        squares *= -2
        squares += norms
        squares += norms[:, None]
        np.maximum(squares, 0, out=squares)
        draw = permuted if case.method == "permutation" else signed
        statistics = draw(np.random.default_rng(case.seed))
        values = np.stack([statistics(kernel) for kernel in case.kernels(squares)])
        rejects(values)
        return values[:, 0]

    return call


def sliced(case: Sliced, arrays: Arrays, threads: int) -> Callable[[], object]:
    """All projections as products; the lines then in a pool, since sorts let others run."""
    x, y, directions = arrays["x"], arrays["y"], arrays["directions"]
    weights = [arrays["x_weights"], arrays["y_weights"]] if case.weighted else None
    n, m, n_lines = len(x), len(y), directions.shape[1]

    def values(along_x: NDArray[Any], along_y: NDArray[Any], even: Pieces | None) -> float:
        """The sum of the costs of some lines that need no row numbers."""
        along_x.sort(axis=1)
        along_y.sort(axis=1)
        if even is None:
            along_x -= along_y
            return float(np.square(along_x, out=along_x).sum(dtype=np.float64)) / n
        gaps = along_x.take(even.of_x, axis=1)
        gaps -= along_y.take(even.of_y, axis=1)
        return float((np.square(gaps, out=gaps) @ even.mass).sum())

    def with_rows(along_x: NDArray[Any], along_y: NDArray[Any], even: Pieces | None) -> float:
        """The same; for a gradient, projections become half the derivatives of the sum by them."""
        total = 0.0
        for line_x, line_y in zip(along_x, along_y, strict=True):
            order_x, order_y = np.argsort(line_x), np.argsort(line_y)
            if weights is not None:
                even = weighted_pieces(weights[0][order_x], weights[1][order_y])
            mass: NDArray[Any] | float = 1 / n
            if even is not None:
                mass, order_x, order_y = even.mass, order_x[even.of_x], order_y[even.of_y]
            gaps = line_x[order_x] - line_y[order_y]
            total += float(np.sum(mass * np.square(gaps), dtype=np.float64))
            if case.gradient and even is None:
                line_x[order_x] = line_y[order_y] = gaps * np.float32(mass)
            elif case.gradient:
                line_x[:] = np.bincount(order_x, mass * gaps, n)
                line_y[:] = np.bincount(order_y, mass * gaps, m)
        return total

    def call() -> object:
        along_x = directions.T @ x.T  # one projection per row: contiguous for the sort
        along_y = directions.T @ y.T
        even = even_pieces(n, m) if n != m and weights is None else None
        costs = with_rows if case.gradient or case.weighted else values
        with ThreadPoolExecutor(threads) as pool:
            parts = pool.map(
                lambda some: costs(along_x[some], along_y[some], even), _spans(n_lines, threads)
            )
            value = float(np.sqrt(sum(parts) / n_lines))
        if not case.gradient:
            return value
        back = directions.T / np.float32(value * n_lines)
        return value, along_x.T @ back, -(along_y.T @ back)

    return call


def sliced_control(case: SlicedControl, arrays: Arrays, threads: int) -> Callable[[], object]:
    """As `sliced`, with the means and variances of all lines, and least squares at the end."""
    x, y, directions = arrays["x"], arrays["y"], arrays["directions"]

    def lines(along_x: NDArray[Any], along_y: NDArray[Any], pieces: Pieces) -> NDArray[Any]:
        means = [along.mean(axis=1, dtype=np.float64) for along in (along_x, along_y)]
        spreads = [along.var(axis=1, dtype=np.float64) for along in (along_x, along_y)]
        along_x.sort(axis=1)
        along_y.sort(axis=1)
        gaps = along_x.take(pieces.of_x, axis=1) - along_y.take(pieces.of_y, axis=1)
        costs = np.square(gaps, out=gaps) @ pieces.mass
        return np.stack([costs, (means[0] - means[1]) ** 2, *spreads], axis=1)

    def call() -> object:
        along_x, along_y = directions.T @ x.T, directions.T @ y.T
        pieces = even_pieces(len(x), len(y))
        with ThreadPoolExecutor(threads) as pool:
            parts = pool.map(
                lambda some: lines(along_x[some], along_y[some], pieces),
                _spans(directions.shape[1], threads),
            )
            table = np.concatenate(list(parts))
        return controlled(table[:, 0], table[:, 1:], x, y)

    return call


def sliced_files(case: SlicedFiles, arrays: Arrays, threads: int) -> Callable[[], object]:
    """As `sliced`, of rows that are projected a block at a time."""
    (x, y), folder = in_files(arrays["x"], arrays["y"])
    directions = arrays["directions"]

    def along(rows: NDArray[Any]) -> NDArray[Any]:
        found = np.empty((directions.shape[1], len(rows)), rows.dtype)
        for first in range(0, len(rows), _FILE_ROWS):
            some = slice(first, first + _FILE_ROWS)
            np.matmul(directions.T, rows[some].T, out=found[:, some])
        return found

    def costs(along_x: NDArray[Any], along_y: NDArray[Any], even: Pieces) -> float:
        along_x.sort(axis=1)
        along_y.sort(axis=1)
        gaps = along_x.take(even.of_x, axis=1) - along_y.take(even.of_y, axis=1)
        return float((np.square(gaps, out=gaps) @ even.mass).sum())

    def call() -> object:
        assert Path(folder.name).is_dir()
        along_x, along_y = along(x), along(y)
        even = even_pieces(len(x), len(y))
        n_lines = directions.shape[1]
        with ThreadPoolExecutor(threads) as pool:
            parts = pool.map(
                lambda some: costs(along_x[some], along_y[some], even), _spans(n_lines, threads)
            )
            return float(np.sqrt(sum(parts) / n_lines))

    return call


def max_sliced(case: MaxSliced, arrays: Arrays, threads: int) -> Callable[[], object]:
    """The best of the directions."""
    x, y, directions = arrays["x"], arrays["y"], arrays["directions"]

    def largest(along_x: NDArray[Any], along_y: NDArray[Any]) -> float:
        along_x.sort(axis=1)
        along_y.sort(axis=1)
        along_x -= along_y
        return float(np.square(along_x, out=along_x).mean(axis=1, dtype=np.float64).max())

    def call() -> object:
        along_x, along_y = directions.T @ x.T, directions.T @ y.T
        spans = list(_spans(case.directions, threads))
        with ThreadPoolExecutor(threads) as pool:
            found = pool.map(lambda some: largest(along_x[some], along_y[some]), spans)
            return float(np.sqrt(max(found)))

    return call


def columns(case: Columns, arrays: Arrays, threads: int) -> Callable[[], object]:
    """Columns in a pool; of one column the two samples."""
    x, y = arrays["x"], arrays["y"]

    def of_some(some: slice) -> NDArray[Any]:
        along_x, along_y = x.T[some].copy(), y.T[some].copy()
        along_x.sort(axis=1)
        along_y.sort(axis=1)
        return _mean_distance(along_x, along_y)

    def call() -> object:
        with ThreadPoolExecutor(threads) as pool:
            if case.d == 1:
                return _mean_distance(*pool.map(lambda a: np.sort(a.T), (x, y)))
            return np.concatenate(list(pool.map(of_some, _spans(case.d, threads))))

    return call


def _mean_distance(along_x: NDArray[Any], along_y: NDArray[Any]) -> NDArray[Any]:
    along_x -= along_y
    return np.asarray(np.abs(along_x, out=along_x).mean(axis=1, dtype=np.float64))


def _spans(count: int, threads: int) -> Iterator[slice]:
    """0, ..., count − 1 in several spans for each thread."""
    step = max(1, count // (8 * threads))
    return (slice(start, start + step) for start in range(0, count, step))
