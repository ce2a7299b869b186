"""pairtile itself, through its public functions."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import pairtile as pt
from bench.case import SEED, Arrays
from bench.cases import (
    Aggregated,
    Clip,
    Energy,
    Median,
    Mmd,
    Permutation,
    SigLip,
    SupCon,
    Triplet,
)
from bench.neighbors import Fidelity, Hamming, Knn, NearDuplicates
from bench.peers import distribution_version, in_files
from bench.slices import Columns, MaxSliced, Sliced, SlicedControl, SlicedFiles


def start(threads: int) -> None:
    pt.set_num_threads(threads)


def describe() -> str:
    """Name the backend too and, for the compiled one, its instruction set."""
    serving = pt.backend()
    if serving == "native":
        serving += f" {importlib.import_module('pairtile._native').isa()}"
    return f"{distribution_version('pairtile')}, {serving}"


def knn(case: Knn, arrays: Arrays, threads: int) -> Callable[[], object]:
    queries, reference = arrays["queries"], arrays.get("reference")
    return lambda: tuple(pt.knn(queries, reference, case.k, workers=threads))


def knn_candidates(case: Knn, arrays: Arrays, threads: int) -> float | None:
    """Pairs per query that the screen left to be rescored; the NumPy backend has no screen."""
    if pt.backend() != "native":
        return None
    native = importlib.import_module("pairtile._native")
    queries, reference = arrays["queries"], arrays.get("reference")
    pairs = native._testing.rescored_pairs(queries, reference, case.k, "euclidean", workers=threads)
    return float(pairs / case.n)


def hamming(case: Hamming, arrays: Arrays, threads: int) -> Callable[[], object]:
    queries, reference = arrays["queries"], arrays["reference"]
    return lambda: tuple(pt.knn(queries, reference, case.k, metric="hamming", workers=threads))


def near_duplicates(case: NearDuplicates, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, threshold = arrays["x"], case.threshold
    return lambda: tuple(pt.near_duplicates(x, threshold=threshold, workers=threads))


def fidelity(case: Fidelity, arrays: Arrays, threads: int) -> Callable[[], object]:
    real, fake, k = arrays["x"], arrays["y"], case.k
    return lambda: pt.precision_recall_density_coverage(real, fake, k=k, workers=threads)


def mmd(case: Mmd, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y, kernel = arrays["x"], arrays["y"], pt.Gaussian(sigma=case.sigma)
    return lambda: pt.mmd(x, y, kernel=kernel, workers=threads)


def median(case: Median, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    return lambda: pt.median_distance(x, y, workers=threads)


def permutation(case: Permutation, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y, kernel = arrays["x"], arrays["y"], pt.Gaussian(sigma=case.sigma)

    def call() -> object:
        result = pt.mmd_test(
            x, y, kernel=kernel, n_permutations=case.permutations, rng=case.seed, workers=threads
        )
        return result.statistic, result.null_distribution

    return call


def aggregated(case: Aggregated, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]

    def call() -> object:
        result = pt.mmd_aggregated_test(
            x,
            y,
            bandwidths=case.bandwidths,
            n_permutations=case.resamples,
            method=case.method,
            rng=case.seed,
            workers=threads,
        )
        return np.array([kernel.statistic for kernel in result.per_kernel])

    return call


def energy(case: Energy, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    return lambda: pt.energy_distance(x, y, workers=threads)


def sliced(case: Sliced, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    options: dict[str, Any] = {
        "directions": arrays["directions"],
        "x_weights": arrays.get("x_weights"),
        "y_weights": arrays.get("y_weights"),
        "workers": threads,
    }
    if not case.gradient:
        return lambda: pt.sliced_wasserstein(x, y, p=2, **options)

    def call() -> object:
        found = pt.sliced_wasserstein(x, y, p=2, return_gradient=True, **options)
        return found.value, found.grad_x, found.grad_y

    return call


def sliced_control(case: SlicedControl, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    return lambda: pt.sliced_wasserstein(
        x, y, n_projections=case.directions, method="gaussian", control="moments", rng=SEED,
        workers=threads,
    )  # fmt: skip


def sliced_files(case: SlicedFiles, arrays: Arrays, threads: int) -> Callable[[], object]:
    (x, y), folder = in_files(arrays["x"], arrays["y"])

    def call() -> object:
        assert Path(folder.name).is_dir()
        return pt.sliced_wasserstein(x, y, directions=arrays["directions"], workers=threads)

    return call


def columns(case: Columns, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    return lambda: pt.wasserstein_1d(x, y, workers=threads)


def max_sliced(case: MaxSliced, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    return lambda: pt.max_sliced_wasserstein(x, y, rng=0, workers=threads).value


def triplet(case: Triplet, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, labels = arrays["x"], arrays["labels"]

    def call() -> object:
        result = pt.triplet_loss(x, labels, margin=case.margin, grad=True, workers=threads)
        return result.loss, result.grad_x

    return call


def contrastive(case: Clip, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]

    def call() -> object:
        result = pt.clip_loss(x, y, logit_scale=case.logit_scale, grad=True, workers=threads)
        return result.loss, result.grad_x, result.grad_y

    return call


def siglip(case: SigLip, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]

    def call() -> object:
        result = pt.siglip_loss(
            x, y, logit_scale=case.logit_scale, bias=case.bias, grad=True, workers=threads
        )
        return result.loss, result.grad_x, result.grad_y

    return call


def supcon(case: SupCon, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, labels = arrays["x"], arrays["labels"]

    def call() -> object:
        result = pt.supcon_loss(x, labels, temperature=case.temperature, grad=True, workers=threads)
        return result.loss, result.grad_x

    return call
