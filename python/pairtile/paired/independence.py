"""Permutation test of independence of paired rows.

x, y              -> sums of both kernels, once             -> values -> p-value
n, groups, strata -> orders of y -> sum of products of each -^
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.options import options
from pairtile._front.progress import reporting
from pairtile.kernels import univariate
from pairtile.kernels.kernel import (
    Energy,
    as_kernel,
    lengths_of,
    median_sizes,
    not_below_zero,
    text_of,
)
from pairtile.paired.arguments import in_unit, invariant, paired_rows, scaled
from pairtile.paired.centring import centred_products
from pairtile.paired.orders import Orders
from pairtile.paired.sums import on_lines, over_pairs, typical
from pairtile.two_sample.relabelling import at_least, plan
from pairtile.two_sample.results import TestResult, concluded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress, Report
    from pairtile._front.words import Enumerable, KernelName
    from pairtile.kernels.kernel import Kernel, Rule
    from pairtile.paired.arguments import Scaled
    from pairtile.paired.sums import Joint

    Floats = NDArray[np.float64]

_KERNELS = {"distance_covariance": Energy(1.0), "hsic": as_kernel("gaussian")}
_METHODS = ("permutation", "random")
_BUFFER = 1 << 26  # bytes of kernel matrices, and of permuted rows at a time


def _kernel(statistic: str, name: str, given: Kernel | str | None) -> Kernel:
    if given is None:
        return _KERNELS[statistic]
    kernel = as_kernel(given, name)
    if statistic == "distance_covariance" and not isinstance(kernel, Energy):
        raise ValueError(
            f"{name}={kernel} needs statistic='hsic'; 'distance_covariance' takes Energy(exponent)"
        )
    return kernel


def _batches(drawn: Iterator[NDArray[np.int64]], size: int) -> Iterator[NDArray[np.int64]]:
    """The orders, `size` of them at a time."""
    orders = itertools.chain.from_iterable(drawn)
    while some := list(itertools.islice(orders, size)):
        yield np.stack(some)


class _Products:
    """Centred products of two kernels over the pairs of rows, those of y in any order."""

    def __init__(self, x: Scaled, y: Scaled, *, workers: int) -> None:
        self._x, self._y, self._workers = x, y, workers
        self._n = len(x.rows)
        # to reorder y is to reorder x by the inverse: that of fewer columns is
        self._inverse = x.rows.shape[1] < y.rows.shape[1]
        self._on_lines = all(univariate.on_a_line(side.kernel, side.rows) for side in (x, y))
        self._held = not self._on_lines and 2 * 8 * self._n**2 <= _BUFFER
        self._sums: Joint | None = None

    @property
    def _sides(self) -> tuple[Scaled, Scaled]:
        return (self._y, self._x) if self._inverse else (self._x, self._y)

    def at_a_time(self, count: int) -> int:
        """How many of so many orders are read at once; where each has a thread, one for each."""
        moved = self._n if self._held else self._sides[1].rows.size
        return min(count, max(self._workers if self._on_lines else 1, _BUFFER // (8 * moved)))

    def resolve(
        self, x_reports: Sequence[Report | None], y_reports: Sequence[Report | None]
    ) -> tuple[Mapping[Rule, float], Mapping[Rule, float]]:
        """What rules give for the lengths of both kernels."""
        x, y = self._x, self._y
        x_lengths = lengths_of(x.kernel, x.rows, None, workers=self._workers, reports=x_reports)
        y_lengths = lengths_of(y.kernel, y.rows, None, workers=self._workers, reports=y_reports)
        x_terms = invariant(x.kernel._terms(x.rows.shape[1], x_lengths))
        y_terms = invariant(y.kernel._terms(y.rows.shape[1], y_lengths))
        self._terms = (y_terms, x_terms) if self._inverse else (x_terms, y_terms)
        return x_lengths, y_lengths

    def centred(self, orders: NDArray[np.int64], report: Report | None) -> Floats:
        """The biased value for each order of the rows of y; that as it is comes first."""
        if self._inverse:
            orders = np.argsort(orders, axis=1)
        sums = self._joint(orders, report)
        self._sums = first = self._sums or sums
        return centred_products(sums.products, first.x, first.y, orders)

    def _joint(self, orders: NDArray[np.int64], report: Report | None) -> Joint:
        a, b = (side.rows for side in self._sides)
        if self._on_lines:
            return on_lines(a, b, orders, workers=self._workers, progress=report)
        if not self._held:
            return over_pairs(a, b, *self._terms, orders, workers=self._workers, progress=report)
        sums = self._sums or over_pairs(a, b, *self._terms, workers=self._workers, progress=None)
        products = choose.module(a, b).permuted_kernel_products(
            a, b, *self._terms, orders,
            x_shift=typical(a, self._terms[0]), y_shift=typical(b, self._terms[1]),
            workers=self._workers, progress=report,
        )  # fmt: skip
        return sums._replace(products=products)

    @property
    def scale(self) -> float:
        """The size of what is added up, by which ties are judged."""
        assert self._sums is not None
        return math.sqrt(self._sums.x.mean_square) * math.sqrt(self._sums.y.mean_square)


def independence_test(
    x: ArrayLike,
    y: ArrayLike,
    *,
    statistic: Literal["distance_covariance", "hsic"] = "distance_covariance",
    x_kernel: Kernel | KernelName | None = None,
    y_kernel: Kernel | KernelName | None = None,
    n_permutations: int = 999,
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    rng: Any = None,
    method: Enumerable = "permutation",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> TestResult:
    r"""Permutation test of independence of paired rows.

    The rows of y are put in another order ``rng.permutation(n)``, `n_permutations` times, or in
    all orders where there are no more than that; the p-value is one-tailed.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (n, e)
        Paired rows, of any two dtypes; real numbers.
    statistic : {"distance_covariance", "hsic"}
        That function, biased.
    x_kernel, y_kernel : Kernel or str, optional
        Of "hsic", as in `hsic`: "gaussian" by default, with the median of each sample as
        bandwidth. "distance_covariance" takes ``Energy(exponent)`` alone, for the exponent of
        either distance; 1 by default.
    n_permutations : int, default 999
        B, at least 1.
    groups : array_like of shape (n,), integers or strings, optional
        Rows of one group stay together, and in their order: the visits of a patient, say. The
        rows of y of one group change places with those of another one that is as large; a group
        of a size of its own stays where it is.
    strata : array_like of shape (n,), integers or strings, optional
        Rows (or groups) change places within their stratum only. That tests whether x and y are
        independent given the stratum.
    rng : int, numpy.random.Generator or None
        One seed gives one null distribution on every backend. Strata, and the sizes of groups in
        them, are drawn one after the other, in the order in which they first appear.
    method : {"permutation", "random"}
        "random" draws orders even where all of them could be enumerated.
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    TestResult
        ``(statistic, pvalue, null_distribution)``; ``(1 + #{T_b ≥ T_0 − τ}) / (1 + B)`` with
        :math:`\tau = 2^{-38} \sqrt{\hat E K^2\,\hat E L^2}`, so that orders that tie in
        theory tie here. Where there are at most B orders (n!, or the product over strata and
        sizes of groups), `null` is "exact", `null_distribution` holds the statistic in all of
        them, that of the data first, and p is the share that is at least :math:`T_0 - \tau`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, as in `distance_covariance` and `hsic`; besides, if
        `n_permutations` is below 1, a group has rows in two strata, or groups and strata leave
        nothing to exchange.

    Notes
    -----
    In float64 throughout. Up to 2048 rows both kernel matrices are held, in at most 64 MB, and
    read in each order: O(n² (d + e) + B n²) operations. Of more rows, values of the kernel of y
    are computed again for each order: O(B n² e) operations, where y is the one of the two with
    fewer columns; memory O(n) and at most 64 MB of rows in other orders, never n x n. Distance
    covariance of two single columns takes O(B n log n).

    References
    ----------
    Székely, Rizzo and Bakirov, "Measuring and testing dependence by correlation of distances",
    Annals of Statistics 35 (2007). Gretton et al., "A kernel statistical test of independence",
    NIPS 2007.

    Examples
    --------
    >>> import numpy as np, pairtile as pt
    >>> x = np.arange(30.0)[:, None]
    >>> pt.independence_test(x, (x - 10) ** 2, n_permutations=99, rng=0).pvalue
    0.01
    """
    scalars.choice("statistic", statistic, _KERNELS)
    scalars.choice("method", method, _METHODS)
    given = _kernel(statistic, "x_kernel", x_kernel), _kernel(statistic, "y_kernel", y_kernel)
    count = scalars.count("n_permutations", n_permutations)
    generator = scalars.generator(rng)
    asked = options("biased", workers, check_finite, progress)
    rows = paired_rows(x, y, asked)
    n = len(rows[0])
    planned = plan(Orders(n, groups, strata), count, method, generator)
    sides = [scaled(kernel, a) for kernel, a in zip(given, rows, strict=True)]
    medians = [median_sizes(side.kernel, n) for side in sides]
    products = _Products(*sides, workers=asked.workers)
    size = products.at_a_time(planned.total)
    sweeps = [n * n // 2] * -(-planned.total // size)
    with reporting(progress, *medians[0], *medians[1], *sweeps) as reports:
        first, last = len(medians[0]), len(medians[0]) + len(medians[1])
        lengths = products.resolve(reports[:first], reports[first:last])
        batches = zip(_batches(planned.batches, size), reports[last:], strict=True)
        values = np.concatenate([products.centred(orders, report) for orders, report in batches])
    texts = map(text_of, given, lengths, (side.unit for side in sides))
    return concluded(
        in_unit(not_below_zero(values, "biased", *given), sides[0].factor * sides[1].factor),
        at_least(values, 2.0**-38 * products.scale),
        planned.null,
        wrap=validate.like(x, y),
        kernel=", ".join(texts) if statistic == "hsic" else None,
        n=n,
        m=n,
    )
