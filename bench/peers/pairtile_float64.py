"""pairtile with `precision="float64"`: what that costs over the default."""

from collections.abc import Callable

import pairtile as pt
from bench.case import Arrays
from bench.cases import Energy, Mmd
from bench.peers.pairtile import describe, start

__all__ = ["describe", "energy", "mmd", "start"]


def mmd(case: Mmd, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y, kernel = arrays["x"], arrays["y"], pt.Gaussian(sigma=case.sigma)
    return lambda: pt.mmd(x, y, kernel=kernel, precision="float64", workers=threads)


def energy(case: Energy, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    return lambda: pt.energy_distance(x, y, precision="float64", workers=threads)
