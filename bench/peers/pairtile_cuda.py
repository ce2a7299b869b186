"""pairtile on a GPU: inputs in its memory as CuPy arrays, results copied back in the timed call."""

from collections.abc import Callable
from typing import Any

import cupy

import pairtile as pt
from bench.case import Arrays
from bench.cases import Energy, Mmd, Permutation
from bench.neighbors import Fidelity, Hamming, Knn
from bench.peers import distribution_version
from bench.peers.pairtile import start

__all__ = [
    "describe",
    "energy",
    "fidelity",
    "hamming",
    "knn",
    "mmd",
    "permutation",
    "start",
]


def describe() -> str:
    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    return f"{distribution_version('pairtile')}, {name}, CuPy {cupy.__version__}"


def _on_device(arrays: Arrays) -> dict[str, Any]:
    return {name: cupy.asarray(array) for name, array in arrays.items()}


def _neighbors(arrays: Arrays, k: int, **options: Any) -> Callable[[], object]:
    sets = _on_device(arrays)
    queries, reference = sets["queries"], sets.get("reference")
    return lambda: tuple(map(cupy.asnumpy, pt.knn(queries, reference, k, **options)))


def knn(case: Knn, arrays: Arrays, threads: int) -> Callable[[], object]:
    return _neighbors(arrays, case.k)


def hamming(case: Hamming, arrays: Arrays, threads: int) -> Callable[[], object]:
    return _neighbors(arrays, case.k, metric="hamming")


def fidelity(case: Fidelity, arrays: Arrays, threads: int) -> Callable[[], object]:
    sets, k = _on_device(arrays), case.k
    return lambda: pt.precision_recall_density_coverage(sets["x"], sets["y"], k=k)


def mmd(case: Mmd, arrays: Arrays, threads: int) -> Callable[[], object]:
    sets, kernel = _on_device(arrays), pt.Gaussian(sigma=case.sigma)
    return lambda: pt.mmd(sets["x"], sets["y"], kernel=kernel)


def permutation(case: Permutation, arrays: Arrays, threads: int) -> Callable[[], object]:
    sets, kernel = _on_device(arrays), pt.Gaussian(sigma=case.sigma)

    def call() -> object:
        result = pt.mmd_test(
            sets["x"], sets["y"], kernel=kernel, n_permutations=case.permutations, rng=case.seed
        )
        return result.statistic, cupy.asnumpy(result.null_distribution)

    return call


def energy(case: Energy, arrays: Arrays, threads: int) -> Callable[[], object]:
    sets = _on_device(arrays)
    return lambda: pt.energy_distance(sets["x"], sets["y"])
