"""FAISS: the exact flat index."""

from collections.abc import Callable

import faiss
import numpy as np

from bench.cases import Arrays, Knn, exclude_self
from bench.peers import distribution_version


def start(threads: int) -> None:
    faiss.omp_set_num_threads(threads)


def describe() -> str:
    return distribution_version("faiss")


def _index(case: Knn, arrays: Arrays) -> faiss.IndexFlatL2:
    index = faiss.IndexFlatL2(case.d)
    index.add(arrays.get("reference", arrays["queries"]))
    return index


def _search(case: Knn, index: faiss.IndexFlatL2, arrays: Arrays) -> object:
    squared, indices = index.search(arrays["queries"], case.fetched)
    return exclude_self(case, np.sqrt(np.maximum(squared, 0)), indices)


def knn(case: Knn, arrays: Arrays, threads: int) -> Callable[[], object]:
    return lambda: _search(case, _index(case, arrays), arrays)


def knn_prebuilt(case: Knn, arrays: Arrays, threads: int) -> Callable[[], object]:
    index = _index(case, arrays)
    return lambda: _search(case, index, arrays)
