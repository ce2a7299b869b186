"""prdc: precision, recall, density and coverage from three whole distance matrices."""

import contextlib
from collections.abc import Callable

from prdc import compute_prdc

from bench.case import Arrays
from bench.neighbors import Fidelity
from bench.peers import distribution_version


def start(threads: int) -> None:
    """Nothing to set: it asks scikit-learn for eight threads itself, whatever the machine."""


def describe() -> str:
    return distribution_version("prdc")


def fidelity(case: Fidelity, arrays: Arrays, threads: int) -> Callable[[], object]:
    real, fake = arrays["x"], arrays["y"]

    def call() -> object:
        with contextlib.redirect_stdout(None):  # it prints the numbers of rows
            found = compute_prdc(real, fake, case.k)
        return [found[name] for name in ("precision", "recall", "density", "coverage")]

    return call
