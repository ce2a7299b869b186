"""SciPy: pdist and cdist, both in float64."""

from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import cdist, pdist

from bench.case import Arrays
from bench.cases import Energy, Median
from bench.peers import distribution_version


def start(threads: int) -> None:
    """Nothing to set: pdist and cdist use one thread."""


def describe() -> str:
    return distribution_version("scipy")


def median(case: Median, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    return lambda: float(np.median(pdist(np.concatenate([x, y])), overwrite_input=True))


def energy(case: Energy, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    return lambda: float(2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())
