"""The statistic of `two_sample` with its gradients.

Derivatives of the sums come from the engine; here they become those of the statistic.

    x, y, kernel terms -> kernel_gradient x 3 -> statistic, chain rule through weights and root
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front import validate
from pairtile._front.results import Result
from pairtile._front.wanted import wants
from pairtile.kernels.kernel import diagonal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from numpy.typing import NDArray

    from pairtile._definitions.kernels import Term
    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]


class _MMDGradient(NamedTuple):
    value: float
    grad_x: Any
    grad_y: Any
    grad_x_weights: Any
    grad_y_weights: Any


class MMDGradient(Result, _MMDGradient):
    """A two-sample statistic and its derivatives.

    Attributes
    ----------
    value : float
        The statistic.
    grad_x, grad_y : (n, d) and (m, d) arrays
        By the rows, in the working dtype of the inputs.
    grad_x_weights, grad_y_weights : (n,) and (m,) float64 arrays
        By the weights as they were given; by ones where none were.
    """


class _Within(NamedTuple):
    """Estimate of E k(X, X') and its derivatives; those by weights are by unit weights."""

    value: float
    by_rows: Floats | None
    by_weights: Floats


def pairs_between(name: str, w: Floats) -> float:
    """Σ_{i≠j} w_i w_j of weights that sum to 1: what the unbiased estimator divides by."""
    pairs = 1 - math.fsum(w * w)
    if abs(pairs) < 2.0**-48:
        raise ValueError(
            f"{name}_weights leave the unbiased estimator no pair: (Σw)² − Σw² is 0; "
            "estimator='biased' does without"
        )
    return pairs


def _within(
    module: ModuleType,
    name: str,
    x: NDArray[Any],
    w: Floats,
    terms: list[Term],
    *,
    estimator: str,
    by_rows: bool,
    **options: Any,
) -> _Within:
    biased = estimator == "biased"
    of_rows, _, pull, _ = module.kernel_gradient(
        x, None, terms, w, None, diagonal=biased, grad_x=by_rows, grad_y=False, **options
    )
    sums = validate.host(of_rows)
    if biased:
        sums = sums + w * diagonal(x, terms)
        value = float(w @ sums)
        return _Within(value, _times(2, pull), 2 * (sums - value))
    pairs = pairs_between(name, w)
    value = float(w @ sums) / pairs
    return _Within(value, _times(2 / pairs, pull), 2 / pairs * (sums - value * (1 - w)))


def _times(factor: float, gradient: Any) -> Any:
    return None if gradient is None else factor * gradient


def statistic_with_gradient(
    module: ModuleType,
    x: NDArray[Any],
    y: NDArray[Any],
    v: Floats,
    w: Floats,
    terms: list[Term],
    *,
    estimator: str,
    squared: bool,
    asked: Any,
    reports: Sequence[Report | None],
    **options: Any,
) -> MMDGradient:
    """Value and gradients for weights that sum to 1, in float64; by rows where `asked` has them."""
    of_x, of_y, of_both = reports
    by_x, by_y = (wants(asked, name) for name in "xy")
    within_x = _within(
        module, "x", x, v, terms, estimator=estimator, by_rows=by_x, progress=of_x, **options
    )
    within_y = _within(
        module, "y", y, w, terms, estimator=estimator, by_rows=by_y, progress=of_y, **options
    )
    near_x, near_y, pull_x, pull_y = module.kernel_gradient(
        x, y, terms, v, w, diagonal=False, grad_x=by_x, grad_y=by_y, progress=of_both, **options
    )
    near_x, near_y = validate.host(near_x), validate.host(near_y)
    between = float(v @ near_x)
    value = within_x.value + within_y.value - 2 * between
    factor = 1.0
    if not squared:
        value = math.sqrt(max(value, 0.0))
        factor = 1 / (2 * value) if value > 0 else 0.0
    return MMDGradient(
        value,
        None if within_x.by_rows is None else factor * (within_x.by_rows - 2 * pull_x),
        None if within_y.by_rows is None else factor * (within_y.by_rows - 2 * pull_y),
        factor * (within_x.by_weights - 2 * (near_x - between)),
        factor * (within_y.by_weights - 2 * (near_y - between)),
    )
