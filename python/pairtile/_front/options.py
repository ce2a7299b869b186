"""What statistics of paired rows have in common beside their rows and kernels, as one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pairtile._front import scalars
from pairtile._front.threads import resolve_workers

if TYPE_CHECKING:
    from pairtile._front.progress import Progress

ESTIMATORS = ("biased", "unbiased")


class Options(NamedTuple):
    """The estimator and how it is computed."""

    estimator: str
    workers: int
    check_finite: bool
    progress: Progress


def options(estimator: str, workers: int | None, check_finite: bool, progress: Progress) -> Options:
    """The options, validated but for `progress`, which `reporting` looks at."""
    scalars.choice("estimator", estimator, ESTIMATORS)
    return Options(estimator, resolve_workers(workers), check_finite, progress)
