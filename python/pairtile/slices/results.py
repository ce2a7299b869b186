"""What the functions of sliced transport return."""

from __future__ import annotations

from typing import Any, NamedTuple

from pairtile._front.results import Result


class _SlicedResult(NamedTuple):
    value: float
    standard_error: float
    grad_x: Any
    grad_y: Any
    grad_x_weights: Any = None
    grad_y_weights: Any = None
    control: str | None = None


class SlicedResult(Result, _SlicedResult):
    """A sliced statistic, how well it is known, and its derivatives.

    Attributes
    ----------
    value : float, or (d,) array
        The statistic; of `wasserstein_1d` one for each column.
    standard_error : float
        Monte Carlo error of `value` over random directions; nan where it cannot be told.
    grad_x, grad_y : (n, d) and (m, d) arrays or None
        Gradients of `value` with respect to the points, when asked for.
    grad_x_weights, grad_y_weights : (n,) and (m,) arrays of float64 or None
        Gradients with respect to the weights as they were given, when asked for and weights were
        given; of `wasserstein_1d` (n, d) and (m, d), those of each column.
    control : str or None
        The control variates that were used.
    """
