"""dcor: the energy distance, from the three distance matrices."""

from collections.abc import Callable

import dcor

from bench.case import Arrays
from bench.cases import Energy
from bench.peers import distribution_version


def start(threads: int) -> None:
    """Nothing to set: its distance matrices come from NumPy."""


def describe() -> str:
    return distribution_version("dcor")


def energy(case: Energy, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    return lambda: float(dcor.energy_distance(x, y))
