"""POT (Python Optimal Transport): the sliced Wasserstein distance over given projections."""

from collections.abc import Callable

import ot

from bench.case import Arrays
from bench.cases import Sliced
from bench.peers import distribution_version


def start(threads: int) -> None:
    """Nothing to set: it sorts through NumPy."""


def describe() -> str:
    return distribution_version("pot")


def sliced(case: Sliced, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y, directions = arrays["x"], arrays["y"], arrays["directions"]
    return lambda: float(ot.sliced_wasserstein_distance(x, y, projections=directions, p=2))
