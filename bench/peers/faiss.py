"""FAISS: exact search, of an index or of the array as it is, and the index of bits."""

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from bench.case import Arrays
from bench.neighbors import Hamming, Knn, NearDuplicates, exclude_self, float_sets
from bench.peers import distribution_version


def start(threads: int) -> None:
    faiss.omp_set_num_threads(threads)


def describe() -> str:
    return distribution_version("faiss")


def _finish(case: Knn, squared: NDArray[Any], indices: NDArray[Any]) -> object:
    return exclude_self(case, np.sqrt(np.maximum(squared, 0)), indices)


def knn(case: Knn, arrays: Arrays, threads: int) -> Callable[[], object]:
    """Do what `IndexFlatL2` does without the copy into the index, which one call need not pay."""
    queries, reference = float_sets(arrays)
    return lambda: _finish(case, *faiss.knn(queries, reference, case.fetched))


def knn_prebuilt(case: Knn, arrays: Arrays, threads: int) -> Callable[[], object]:
    queries, reference = float_sets(arrays)
    index = faiss.IndexFlatL2(case.d)
    index.add(reference)
    return lambda: _finish(case, *index.search(queries, case.fetched))


def near_duplicates(case: NearDuplicates, arrays: Arrays, threads: int) -> Callable[[], object]:
    """All rows against all: an index knows nothing of a set with itself."""
    x = arrays["x"]

    def call() -> object:
        index = faiss.IndexFlatIP(case.d)
        index.add(x)
        starts, products, j = index.range_search(x, case.threshold)
        i = np.repeat(np.arange(case.n), np.diff(starts.astype(np.int64)))
        later = i < j
        return i[later], j[later], products[later]

    return call


def hamming(case: Hamming, arrays: Arrays, threads: int) -> Callable[[], object]:
    def call() -> object:
        index = faiss.IndexBinaryFlat(case.d)
        index.add(arrays["reference"])
        differing, indices = index.search(arrays["queries"], case.k)
        return differing / case.d, indices

    return call
