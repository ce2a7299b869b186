"""What the losses of logits S = s · x yᵀ share: what they are asked, and what they give back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front import scalars, validate
from pairtile._front.threads import resolve_workers

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ContrastiveResult:
    """A contrastive loss, row by row, and its gradients; None where a field does not apply.

    Attributes
    ----------
    loss : float
        Mean of `per_row`.
    per_row : (n,) array of float64
        Loss of each row.
    lse_row, lse_col : (n,) and (m,) arrays of float64
        Log-sum-exp of the scores of each row, and of each column where the loss uses it.
    grad_x, grad_y : (n, d) and (m, d) arrays
        Gradients with respect to the inputs, in the working dtype.
    grad_scale : float
        Derivative with respect to the multiplier s of the scores, whichever of `temperature` and
        `logit_scale` was passed.
    grad_bias : float
        Derivative with respect to the bias, for the losses that have one.
    """

    loss: float
    per_row: Any
    lse_row: Any = None
    lse_col: Any = None
    grad_x: Any = None
    grad_y: Any = None
    grad_scale: float | None = None
    grad_bias: float | None = None


@dataclass(frozen=True)
class Asked:
    """Rows, multiplier, weights of the rows in the gradients (None: even) and threads.

    Rows are widened to float64 where float32 could not hold their scores; `dtype` is that of
    the gradients.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    scale: float
    row_upstream: NDArray[np.float64] | None
    workers: int
    dtype: np.dtype[Any]

    def rounded(self, gradient: Any) -> Any:
        """A gradient as it is returned; None stays None."""
        if gradient is None or gradient.dtype == self.dtype:
            return gradient
        return validate.narrowed(gradient, self.dtype)


def asked(
    x: Any,
    y: Any,
    *,
    temperature: float | None,
    logit_scale: float | None,
    grad: bool,
    grad_rows: Any,
    normalize: bool,
    workers: int | None,
    check_finite: bool,
) -> Asked:
    """The arguments of a loss, validated."""
    scale = scale_of(temperature, logit_scale)
    n_workers = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=n_workers)
    if grad_rows is not None and not grad:
        raise ValueError("grad_rows weights the gradients; it needs grad=True")
    upstream = validate.weights("grad_rows", grad_rows, len(a), signed=True)
    dtype = validate.working_dtype(a, b)
    if dtype == np.float32 and _beyond_float32(a, b, scale, normalize):
        a, b = (validate.narrowed(rows, np.float64) for rows in (a, b))
    return Asked(a, b, scale, upstream, n_workers, dtype)


def _beyond_float32(a: Any, b: Any, scale: float, normalize: bool) -> bool:
    """Whether scores can be so large that float32, or sums of a few, would not hold them."""
    product = 1.0
    for rows in () if normalize else (a, b):
        product *= max(abs(float(rows.max())), abs(float(rows.min()))) * math.sqrt(rows.shape[1])
    return not max(scale, 1.0) * product < 1e37


def scale_of(temperature: float | None, logit_scale: float | None) -> float:
    """The multiplier s."""
    if (temperature is None) == (logit_scale is None):
        given = "neither" if temperature is None else "both"
        raise ValueError(f"pass exactly one of temperature= and logit_scale=, got {given}")
    if logit_scale is not None:
        return scalars.real("logit_scale", logit_scale, above=0)
    scale = 1 / scalars.real("temperature", temperature, above=0)
    if math.isinf(scale):
        raise ValueError(f"temperature is {temperature}, and its inverse is not finite")
    return scale
