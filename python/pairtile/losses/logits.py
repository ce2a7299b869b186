"""What the losses share: what they are asked, which rows count, and what they give back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front import scalars, validate
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile._front.wanted import Only, wants

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]


@dataclass(frozen=True, repr=False)
class ContrastiveResult(Result):
    """A contrastive loss, row by row, and its gradients; None where a field does not apply.

    Attributes
    ----------
    loss : float
        Mean of `per_row` over the rows that count, weighted by `weights` where they were given;
        0 where no row counts.
    per_row : (n,) array of float64
        Loss of each row; 0 for those that do not count.
    lse_row, lse_col : (n,) and (m,) arrays of float64
        Log-sum-exp of the scores of each row, and of each column where the loss uses it.
    grad_x, grad_y : (n, d) and (m, d) arrays
        Gradients with respect to the inputs, in the working dtype.
    grad_scale : float or (n,) array of float64
        Derivative with respect to the multiplier s of the scores, whichever of `temperature` and
        `logit_scale` was passed; one per row where that was.
    grad_bias : float
        Derivative with respect to the bias, for the losses that have one.
    grad_weights : (n,) array of float64
        Derivative of `loss` with respect to `weights`, where they were given: (per_row - loss)
        divided by the sum of the weights of the rows that count.
    """

    loss: float
    per_row: Any
    lse_row: Any = None
    lse_col: Any = None
    grad_x: Any = None
    grad_y: Any = None
    grad_scale: Any = None
    grad_bias: float | None = None
    grad_weights: Any = None


@dataclass(frozen=True)
class Asked:
    """What every loss is asked, validated: sets of rows, and what is done with the losses of rows.

    Sets are widened to float64 where float32 could not hold their scores; `dtype` is that of the
    gradients. None among `given` was not asked for. `grad` says whether there are gradients to
    compute, of which those by weights take no more than the losses.
    """

    given: tuple[Any, ...]
    sets: tuple[Any, ...]
    normalize: bool
    asked_grad: Any
    grad_rows: Floats | None
    weights: Floats | None
    workers: int
    dtype: np.dtype[Any]

    @property
    def grad(self) -> bool:
        """Whether the backend has gradients to compute."""
        by_weights = isinstance(self.asked_grad, Only) and self.asked_grad <= {"weights"}
        return bool(self.asked_grad) and not by_weights

    def wants(self, *names: str) -> bool:
        """Whether the gradient of any of these arguments was asked for."""
        return wants(self.asked_grad, *names)

    def seam(self, mean: Mean) -> dict[str, Any]:
        """Arguments that every function of the seam takes."""
        return {
            "normalize": self.normalize,
            "grad": self.grad,
            "row_upstream": mean.shares if self.grad_rows is None else mean.only(self.grad_rows),
            "workers": self.workers,
        }

    def mean(self, counts: Mask) -> Mean:
        """The mean over the rows that count."""
        return Mean.of(counts, self.weights)

    def result(
        self,
        mean: Mean,
        per_row: Floats,
        *,
        lse_row: Any = None,
        lse_col: Any = None,
        grad_x: Any = None,
        grad_y: Any = None,
        grad_scale: Any = None,
        grad_bias: float | None = None,
    ) -> ContrastiveResult:
        """What the user gets, as the kind of array that came in."""
        to_user = validate.like(*self.given)
        loss = mean.loss(validate.host(per_row))
        grad_weights = None
        if self.wants("weights") and self.grad_rows is None:
            grad_weights = mean.by_weights(validate.host(per_row), loss)
        return ContrastiveResult(
            loss=loss,
            per_row=to_user(per_row),
            lse_row=to_user(lse_row),
            lse_col=to_user(lse_col),
            grad_x=to_user(self._rounded(grad_x)),
            grad_y=to_user(self._rounded(grad_y)),
            grad_scale=to_user(grad_scale) if _by_row(grad_scale) else _number(grad_scale),
            grad_bias=_number(grad_bias),
            grad_weights=to_user(grad_weights),
        )

    def _rounded(self, gradient: Any) -> Any:
        if gradient is None or gradient.dtype == self.dtype:
            return gradient
        return validate.narrowed(gradient, self.dtype)


def _by_row(value: Any) -> bool:
    """Whether it is an array, of either memory, and no number."""
    return getattr(value, "ndim", 0) > 0


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


@dataclass(frozen=True)
class Mean:
    """A mean of the losses of some rows: Σ w_i ℓ_i / Σ w_i over those that count."""

    counts: Mask
    shares: Floats  # w_i / Σ w of the rows that count, 0 of the others
    total: float | None  # Σ w, None without weights
    even: bool  # all rows count, and equally

    @staticmethod
    def of(counts: Mask, weights: Floats | None) -> Mean:
        """The mean over the rows that count, with weights as they were given."""
        n = len(counts)
        if weights is None:
            return Mean(counts, counts / max(1, counts.sum()), None, bool(counts.all()))
        size = weights.max()  # so that no sum of finite weights overflows
        relative = np.where(counts, weights / size, 0.0)
        total = math.fsum(relative)
        shares = relative / total if total > 0 else np.zeros(n)
        return Mean(counts, shares, total * float(size), False)

    def only(self, upstream: Floats) -> Floats:
        """Weights of rows in the gradients, 0 for those that do not count."""
        return np.where(self.counts, upstream, 0.0)

    def loss(self, per_row: Floats) -> float:
        """The mean, 0 where no row counts."""
        if self.even:
            return float(np.mean(per_row))
        some = self.shares > 0  # what does not count may be anything
        return float(np.sum(self.shares[some] * per_row[some]))

    def by_weights(self, per_row: Floats, loss: float) -> Floats | None:
        """Derivative of the loss by the weights; None where there are none."""
        if self.total is None:
            return None
        if self.total == 0:
            return np.zeros(len(per_row))
        return np.where(self.counts, (per_row - loss) / self.total, 0.0)


def asked(
    arguments: dict[str, Any],
    *,
    normalize: bool,
    grad: bool,
    grad_rows: Any,
    weights: Any,
    workers: int | None,
    check_finite: bool,
    views: int = 1,
    beyond: Callable[[Any], bool] = lambda largest: False,
) -> Asked:
    """The arguments of a loss, validated.

    `arguments` are sets of rows by their names, None being left out; the first `views` of them
    are those that have a loss. `beyond` says of the largest product of two rows whether float32
    could not hold what is made of it.
    """
    n_workers = resolve_workers(workers)
    given = {name: rows for name, rows in arguments.items() if rows is not None}
    arrays = tuple(validate.sets(given, check_finite=check_finite, workers=n_workers))
    if grad_rows is not None and not grad:
        raise ValueError("grad_rows weights the gradients; it needs grad=True")
    n = sum(len(rows) for rows in arrays[:views])
    upstream = validate.weights("grad_rows", grad_rows, n, signed=True)
    row_weights = validate.weights("weights", weights, n)
    if row_weights is not None and not row_weights.any():
        raise ValueError(f"weights sums to 0 over {n} rows; weights are divided by their sum")
    dtype = validate.working_dtype(*arrays)
    if dtype == np.float32 and beyond(1.0 if normalize else _largest_product(arrays)):
        arrays = tuple(validate.narrowed(rows, np.float64) for rows in arrays)
    return Asked(
        tuple(arguments.values()), arrays, bool(normalize), grad, upstream, row_weights, n_workers,
        dtype,
    )  # fmt: skip


def _largest_product(arrays: tuple[Any, ...]) -> float:
    """At least as large as the product of any two rows."""
    largest = max(map(abs, validate.extremes(*arrays)))
    return largest * largest * float(arrays[0].shape[1])


def beyond_float32(*factors: float) -> bool:
    """Whether float32 does not hold each of these positive numbers, its inverse and its digits."""
    return not 1e-37 < min(factors) <= max(factors) < 1e37


@dataclass(frozen=True)
class Scale:
    """The multiplier s of the scores: one for all rows, or one for each."""

    value: float
    by_row: Floats | None = None

    def fits(self, n: int, rows: str) -> Scale:
        """Itself, if there is one for each of n rows."""
        if self.by_row is not None and self.by_row.shape != (n,):
            raise ValueError(
                f"temperature and logit_scale must be a number, or have shape ({n},), one per row "
                f"of {rows}, got {self.by_row.shape}"
            )
        return self

    def beyond_float32(self, more: float = 0.0) -> Callable[[float], bool]:
        """Whether scores, or sums of a few, can be so large that float32 would not hold them.

        Or the scale itself. `more` is what products or scores grow by, at most.
        """
        least = self.value if self.by_row is None else float(self.by_row.min())
        outside = beyond_float32(least, self.value)
        return lambda largest: outside or not max(self.value, 1.0) * (largest + more) + more < 1e37


def scale_of(temperature: Any, logit_scale: Any) -> Scale:
    """The multiplier s."""
    if (temperature is None) == (logit_scale is None):
        given = "neither" if temperature is None else "both"
        raise ValueError(f"pass exactly one of temperature= and logit_scale=, got {given}")
    name, value = (
        ("temperature", temperature) if logit_scale is None else ("logit_scale", logit_scale)
    )
    if np.ndim(value) == 0:
        scale = scalars.real(name, value, above=0)
        if logit_scale is None:
            scale = 1 / scale
            if math.isinf(scale):
                raise ValueError(f"temperature is {temperature}, and its inverse is not finite")
        return Scale(scale)
    return _scales(name, value)


def _scales(name: str, value: Any) -> Scale:
    given = validate.host(value, name)
    if given.ndim != 1 or not len(given):
        raise ValueError(f"{name} must be a number or have one entry per row, got {given.shape}")
    a = validate.weights(name, given, len(given), signed=True)
    assert a is not None
    with np.errstate(divide="ignore", over="ignore"):
        scales = a if name == "logit_scale" else 1 / a
    bad = np.flatnonzero(~((a > 0) & np.isfinite(scales)))
    if bad.size:
        raise ValueError(
            f"{name} must be finite and > 0, its inverse too; got {a[bad[0]]} in row {bad[0]}"
        )
    return Scale(float(scales.max()), scales)


def not_together(**used: bool) -> None:
    """ValueError naming the first two of the options that are used, where more than one is."""
    names = [name for name, is_used in used.items() if is_used]
    if len(names) > 1:
        raise ValueError(f"{names[0]} and {names[1]} cannot be used together")
