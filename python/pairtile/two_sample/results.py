"""What a test says: its result, made of the statistic under the null.

T_0 … T_B, #{T_b ≥ T_0 − τ} -> concluded -> TestResult
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front.binomial import clopper_pearson
from pairtile._front.results import Result

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import NDArray


class _Fields(NamedTuple):
    statistic: float
    pvalue: float
    null_distribution: NDArray[np.float64]


class TestResult(Result, _Fields):
    """Outcome of a test; unpacks to its first three attributes.

    Attributes
    ----------
    statistic : float
        Of the samples as they were given.
    pvalue : float
        (1 + #{T_b ≥ T_0 − τ}) / (1 + B): one-tailed, never 0. Of an exact null
        #{T ≥ T_0 − τ} / #relabellings; the tail of the distribution where none is sampled.
    null_distribution : ndarray of shape (B,), float64
        The statistic under the null, B times, the observed one excluded; of an exact null all
        values, the observed one first; empty where no null is sampled.
    null : str
        Where the null distribution comes from: "permutation" (relabellings drawn at random),
        "exact" (all of them), or the test's `method`.
    kernel : str or None
        With the bandwidth that was used, to six digits; None for tests of distances.
    n, m : int or None
        Rows of x and of y; all rows and None in a test of one sample, or of more than two.
    n_permutations : int
        Length of `null_distribution`.
    pvalue_interval : tuple of two floats, or None
        Where p would lie with all relabellings: the Clopper–Pearson interval of 95 % for
        #{T_b ≥ T_0 − τ} of B. The point itself for an exact null; None where a limit of the
        distribution is taken for it ("gamma", "spectrum", "normal").
    """

    null: str
    kernel: str | None
    n: int | None
    m: int | None
    n_permutations: int
    pvalue_interval: tuple[float, float] | None

    def __new__(
        cls,
        statistic: float,
        pvalue: float,
        null_distribution: NDArray[np.float64],
        null: str = "permutation",
        *,
        kernel: str | None = None,
        n: int | None = None,
        m: int | None = None,
        pvalue_interval: tuple[float, float] | None = None,
    ) -> TestResult:
        """Of three fields and what else is known."""
        result = super().__new__(cls, statistic, pvalue, null_distribution)
        result.null, result.kernel = null, kernel
        result.n, result.m = n, m
        result.n_permutations = len(null_distribution)
        result.pvalue_interval = pvalue_interval
        return result

    def _replace(self, /, **changes: Any) -> Self:
        result = super()._replace(**changes)
        vars(result).update(vars(self))
        return result

    def _items(self) -> dict[str, Any]:
        return {**self._asdict(), **vars(self)}

    def _brief(self) -> dict[str, Any]:
        left_out = {"null_distribution", "pvalue_interval"}
        return {k: v for k, v in self._items().items() if k not in left_out and v is not None}


TestResult.__test__ = False  # type: ignore[attr-defined]  # pytest goes by the name and collects it


def holm(pvalues: Sequence[float]) -> list[float]:
    """p-values adjusted for one another (Holm): the chance of any false rejection is kept."""
    p = np.asarray(pvalues, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(v) for v in adjusted]


def concluded(
    values: NDArray[np.float64],
    at_least: int,
    null: str,
    *,
    wrap: Any,
    kernel: str | None = None,
    n: int | None = None,
    m: int | None = None,
) -> TestResult:
    """The result that follows from the statistics, the observed one first.

    `at_least` of them, that one among them, are no smaller than it; `wrap` makes the null
    distribution the kind of array that the user gave.
    """
    p, interval = at_least / len(values), None
    sampled = values[1:]
    if null == "exact":
        sampled, interval = values, (p, p)
    elif null != "spectrum":
        interval = clopper_pearson(at_least - 1, len(sampled))
    return TestResult(
        float(values[0]),
        p,
        wrap(sampled.copy()),
        null,
        kernel=kernel,
        n=n,
        m=m,
        pvalue_interval=interval,
    )
