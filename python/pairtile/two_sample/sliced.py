"""Test of equal distributions by one-dimensional projections.

    x, y        -> directions -> projections, sorted once -> costs of all relabellings ┐
    relabellings              -> packed bits -------------^                            v
                                                    mean or largest over slices -> p-value

What a relabelling changes of a slice is who is called x, not the order: the energy distance and W_1
are a cumulative count of labels along the sorted values, W_p picks the values of either sample in
their order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.slices import energy_factor, sphere_directions
from pairtile.slices.directions import METHODS
from pairtile.two_sample.relabelling import Exchange, at_least, pairs_of_rows, plan
from pairtile.two_sample.results import TestResult, concluded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress
    from pairtile._front.words import DirectionMethod, Enumerable

    Floats = NDArray[np.float64]
    Words = NDArray[np.uint64]

STATISTICS = ("energy", "wasserstein", "max")
RELABELLED = ("permutation", "random")  # methods that say nothing of directions
_NUMBERS = 1 << 23  # of projections held at a time, and of their costs
_CENTRE_ROWS = 256  # of each sample, whose median is moved to 0


class _Labels:
    """Relabellings of N rows, packed along the relabellings: a gathered row brings all of them."""

    def __init__(self, batches: Iterator[Words], rows: int) -> None:
        labels = np.concatenate(list(batches)).astype("<u8", copy=False).view(np.uint8)
        self.count = len(labels)
        self.sizes = np.empty(self.count, dtype=np.int64)  # rows called x
        self.bits = np.empty((rows, -(-self.count // 8)), dtype=np.uint8)
        for byte in range(self.bits.shape[1]):
            these = slice(8 * byte, 8 * byte + 8)
            some = np.unpackbits(labels[these], axis=1, count=rows, bitorder="little")
            self.sizes[these] = some.sum(axis=1)
            self.bits[:, byte] = np.packbits(some, axis=0, bitorder="little")[0]


def _centre(a: Any, b: Any) -> Floats:
    """A middle value of each column, from some of the rows: whole numbers stay whole."""
    parts = (validate.host(s[:: -(-len(s) // _CENTRE_ROWS)]) for s in (a, b))
    some = np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])
    middle: Floats = np.partition(some, len(some) // 2, axis=0)[len(some) // 2]
    return middle


def _projected(a: Any, b: Any, centre: Floats, directions: Floats) -> Floats:
    """One line of float64 for each direction: the rows of x, then those of y."""
    lines = np.empty((directions.shape[1], len(a) + len(b)))
    step = max(1, (1 << 20) // len(centre))
    done = 0
    for s in (a, b):
        for start in range(0, len(s), step):
            rows = np.asarray(validate.host(s[start : start + step]), dtype=np.float64) - centre
            np.matmul(directions.T, rows.T, out=lines[:, done : done + len(rows)])
            done += len(rows)
    return lines


class _Total:
    """Sum or maximum of slices whose units differ, in that of the largest of them so far."""

    def __init__(self, count: int, largest: bool) -> None:
        self.costs, self.size, self.exponent = np.zeros(count), 0.0, -(1 << 20)
        self._join = np.maximum if largest else np.add

    def push(self, costs: Floats, size: float, exponent: int, p: float) -> None:
        """Costs of one slice, and the size of what they are made of, in p-th powers of its unit."""
        if costs.any() or size:
            largest = max(self.exponent, exponent)
            mine, other = (2.0 ** (p * (e - largest)) for e in (self.exponent, exponent))
            self.costs = self._join(mine * self.costs, other * costs)
            self.size = float(self._join(mine * self.size, other * size))
            self.exponent = largest

    def tie(self, statistic: str, p: float) -> float:
        """Within what relabellings tie with the observed one.

        Values that are off by a share δ of their size move W_p by at most δ S^(1/p), the triangle
        inequality says; its p-th power, by far more or less.
        """
        if statistic == "energy":
            return 2.0**-40 * self.size
        observed = float(self.costs[0])
        distance = observed ** (1 / p)
        nearest = distance - 2.0**-38 * (self.size ** (1 / p) + distance)
        return observed - float(max(0.0, nearest) ** p)


def _scaled(values: Any, exponent: float) -> Any:
    """Values · 2^exponent, which may be beyond float64 where the product is not."""
    first = math.floor(exponent / 2)
    with np.errstate(over="ignore", under="ignore"):
        product = values * np.float64(2.0) ** first * np.float64(2.0) ** (exponent - first)
    return np.where(values == 0, 0.0, product)[()]


def sliced_test(
    x: ArrayLike,
    y: ArrayLike,
    *,
    statistic: Literal["energy", "wasserstein", "max"] = "energy",
    p: float = 2,
    n_projections: int = 128,
    method: DirectionMethod | Enumerable = "gaussian",
    n_permutations: int = 999,
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    paired: bool = False,
    rng: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> TestResult:
    r"""Permutation test of equal distributions by one-dimensional projections.

    Its cost grows as N log N with the number of rows, where `mmd_test` and `energy_test` visit
    all pairs of them.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Reference sample and new sample; real numbers. 1-D is one feature; columns of frames go
        together by name.
    statistic : {"energy", "wasserstein", "max"}
        The mean over directions of the energy distance of the projected samples, times
        :math:`c_d`, which is `sliced_energy`; the mean of their :math:`W_p^p`, which is
        `sliced_wasserstein` to the power p; or the largest :math:`W_p^p` of all directions.
    p : float, default 2
        Order of "wasserstein" and "max", at least 1; "energy" has none.
    n_projections : int, default 128
        Number L of directions.
    method : {"gaussian", "orthogonal", "sobol", "spiral", "permutation", "random"}
        How `sphere_directions` draws them. The last two are the methods of `mmd_test`, along
        Gaussian directions: "permutation" is the default by that name, "random" draws relabellings
        even where all of them could be looked at.
    n_permutations, groups, strata, paired
        As in `mmd_test`; few relabellings are enumerated, for the directions that are drawn.
    rng : int, numpy.random.Generator or None
        Where directions come from and then, once they are all drawn, relabellings.
    workers, check_finite, progress
        As in `sliced_wasserstein`.

    Returns
    -------
    TestResult
        As from `mmd_test`. For "energy" τ is as there. Relabellings tie in :math:`W_p^p` if
        :math:`W_p` is within :math:`2^{-38}(S^{1/p} + W_p)` of the observed one, S being the
        mean over directions (for "max" the largest) of :math:`\frac1N \sum_i |u_i|^p` of the
        projected rows u, moved to have the median 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, as in `sliced_wasserstein` and `mmd_test`.
    ImportError
        For Sobol directions without SciPy.

    Notes
    -----
    In float64 throughout, and in host memory whatever the input. O(L N (d + log N + B)) operations
    for N = n + m rows; memory O(N B / 8) bytes for the relabellings, at most 64 MB of projections
    (those of one direction at least) and O(N) for each thread.

    The directions are the same for all relabellings, so the test is exact whatever their number
    and however they are drawn.

    References
    ----------
    Hu and Lin, "Two-sample distribution tests in high dimensions via max-sliced Wasserstein
    distance and bootstrapping" (2022). Székely and Rizzo, "Testing for equal distributions in high
    dimension", InterStat 5 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> x, y = np.random.default_rng(0).normal(size=(2, 300, 4)) + [[[0.0]], [[0.5]]]
    >>> pt.sliced_test(x, y, rng=0).pvalue
    0.001
    """
    scalars.choice("statistic", statistic, STATISTICS)
    scalars.choice("method", method, (*METHODS, *RELABELLED))
    power = _order(statistic, p)
    count = scalars.count("n_permutations", n_permutations)
    scalars.count("n_projections", n_projections)
    threads = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=threads, sample=True)
    if paired:
        strata = pairs_of_rows(len(a), len(b), groups=groups, strata=strata)
    exchange = Exchange(len(a), len(b), groups, strata)
    draws = scalars.generator(rng)
    drawn, relabelled = method, "permutation"
    if drawn == "permutation" or drawn == "random":
        drawn, relabelled = "gaussian", drawn
    directions = sphere_directions(a.shape[1], n_projections, rng=draws, method=drawn)
    planned = plan(exchange, count, relabelled, draws)
    labels = _Labels(planned.batches, exchange.rows)
    if min(labels.sizes.min(), exchange.rows - labels.sizes.max()) == 0:
        raise ValueError("exchanging whole groups leaves a sample without rows")
    (a, b), unit = validate.near_one(a, b)
    total = _Total(labels.count, largest=statistic == "max")
    centre = _centre(a, b)
    step = max(1, _NUMBERS // max(exchange.rows, labels.count))
    starts = range(0, n_projections, step)
    batches = [directions[:, start : start + step] for start in starts]
    with reporting(progress, *(some.shape[1] for some in batches)) as reports:
        for some, report in zip(batches, reports, strict=True):
            lines = _projected(a, b, centre, some)
            slices = choose.module(lines).relabelled_line_costs(
                lines, labels.bits, labels.sizes, energy=statistic == "energy", p=power,
                workers=threads, progress=report,
            )  # fmt: skip
            for costs, size, exponent in zip(*slices, strict=True):
                total.push(costs, float(size), int(exponent), power)
    factor = 1.0 if statistic == "max" else 1 / n_projections
    if statistic == "energy":
        factor *= energy_factor(a.shape[1])
    values = _scaled(factor * total.costs, power * (total.exponent + math.log2(unit)))
    return concluded(
        values,
        at_least(total.costs, total.tie(statistic, power)),
        planned.null,
        wrap=validate.like(x, y),
        n=len(a),
        m=len(b),
    )


def _order(statistic: str, p: Any) -> float:
    """By which power of the unit of the data the statistic grows."""
    order = scalars.real("p", p, least=1)
    if statistic != "energy":
        return order
    if order != 2:
        raise ValueError(
            f"p={p} is for statistic='wasserstein' and 'max'; statistic='energy' has no order"
        )
    return 1.0
