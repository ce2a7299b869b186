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
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import islice
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.slices import energy_factor, sphere_directions
from pairtile.two_sample.relabelling import Exchange, at_least, pairs_of_rows, plan
from pairtile.two_sample.results import TestResult, concluded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress
    from pairtile._front.words import DirectionMethod

    Floats = NDArray[np.float64]

STATISTICS = ("energy", "wasserstein", "max")
_PROJECTIONS = 1 << 23  # float64 numbers held at a time
_BATCH = 1 << 17  # float64 numbers in one step along a slice, which stay in cache
_CENTRE_ROWS = 256  # of each sample, whose median is moved to 0


class _Labels:
    """Relabellings of N rows, packed along the relabellings: a gathered row brings all of them."""

    def __init__(self, columns: Iterator[NDArray[np.bool_]], rows: int, count: int) -> None:
        self.rows, self.count = rows, count
        self.sizes = np.empty(count, dtype=np.int64)  # rows called x
        self._bits = np.empty((rows, -(-count // 8)), dtype=np.uint8)
        for byte in range(self._bits.shape[1]):
            some = np.array(list(islice(columns, 8)))
            self.sizes[8 * byte : 8 * byte + len(some)] = some.sum(axis=1)
            self._bits[:, byte] = np.packbits(some, axis=0, bitorder="little")[0]

    def of(self, rows: NDArray[np.int64], some: slice) -> NDArray[np.uint8]:
        """1 where a row is called x: one line for each row, one column for each of `some`."""
        first = some.start // 8
        packed = self._bits[:, first : -(-some.stop // 8)].take(rows, axis=0)
        bits = np.unpackbits(packed, axis=1, bitorder="little")
        return bits[:, some.start - 8 * first : some.stop - 8 * first]


class _Slice(NamedTuple):
    """Costs of one direction, in p-th powers of 2^exponent."""

    costs: Floats  # one for each relabelling
    size: float  # of what they are made of, by which ties are judged
    exponent: int


class _Slices:
    """Computes the costs of sorted projections under all relabellings."""

    def __init__(self, labels: _Labels, statistic: str, p: float) -> None:
        self._labels, self._statistic, self._p = labels, statistic, p
        self._stopped = Event()
        if statistic == "energy" or p == 1:
            self._costs = self._from_counts
        else:
            self._costs = self._by_rank
            kept = max(1, _BATCH // labels.rows)  # groups may make as many sizes as relabellings
            self._pieces = lru_cache(kept)(partial(_pieces, labels.rows))

    def along(self, a: Any, b: Any, directions: Floats, workers: int) -> Iterator[_Slice]:
        """The slices in order, computed by so many threads."""
        centre = _centre(a, b)
        step = max(1, _PROJECTIONS // self._labels.rows)
        for start in range(0, directions.shape[1], step):
            some = directions[:, start : start + step]
            yield from self._of(_projected(a, b, centre, some), workers)

    def _of(self, lines: Floats, workers: int) -> Iterator[_Slice]:
        if workers == 1 or len(lines) == 1:
            yield from map(self._slice, lines)
            return
        with ThreadPoolExecutor(min(workers, len(lines))) as pool:
            try:
                yield from pool.map(self._slice, lines)
            finally:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
                self._stopped.clear()

    def _slice(self, line: Floats) -> _Slice:
        """Of the projections of all rows, x first."""
        order = np.argsort(line, kind="stable")
        values = line[order]
        values -= values[len(values) // 2]
        exponent = int(np.frexp(values[-1] - values[0])[1])
        values = np.ldexp(values, -exponent)
        costs = self._costs(values, order)
        return _Slice(costs, self._size(values, order), exponent)

    def _from_counts(self, values: Floats, order: NDArray[np.int64]) -> Floats:
        r"""2 ∫ (F − G)² or ∫ |F − G|, from :math:`F - G = \frac{N}{nm} (k - n i/N)`.

        k is how many of the i smallest values are called x. In float64 it is exact, and of the
        size of its own deviation where it is added up.
        """
        labels = self._labels
        gaps = np.append(np.diff(values), 0.0)
        costs = np.zeros(labels.count)
        width = min(labels.count, 1 << 12)
        height = max(1, _BATCH // width)
        steps = np.arange(1, height + 1)[:, None]
        for first in range(0, labels.count, width):
            some = slice(first, min(first + width, labels.count))
            share = _one_of_equals(labels.sizes[some] / labels.rows)
            ahead = np.zeros(some.stop - some.start)  # of k before this step
            for start in range(0, labels.rows, height):
                self._check()
                at = slice(start, min(start + height, labels.rows))
                count = _accumulated(labels.of(order[at], some))
                deviation = ahead - share * (steps[: len(count)] + start)
                deviation += count
                ahead += count[-1]
                if self._statistic == "energy":
                    np.multiply(deviation, deviation, out=deviation)
                else:
                    np.abs(deviation, out=deviation)
                deviation *= gaps[at, None]
                costs[some] += deviation.sum(axis=0)
        scale = labels.rows / (labels.sizes * (labels.rows - labels.sizes))
        return costs * (2 * scale**2 if self._statistic == "energy" else scale)

    def _by_rank(self, values: Floats, order: NDArray[np.int64]) -> Floats:
        """∫ |F⁻¹ − G⁻¹|^p, piece by piece of the two quantile functions."""
        labels = self._labels
        costs = np.empty(labels.count)
        step = max(1, _BATCH // labels.rows)
        step -= step % 8 if step > 8 else 0  # whole bytes of labels
        repeated = np.tile(values, min(step, labels.count))
        for first in range(0, labels.count, step):
            self._check()
            some = slice(first, min(first + step, labels.count))
            is_x = np.ascontiguousarray(labels.of(order, some).T).view(np.bool_)
            sizes = labels.sizes[some]
            for n in np.unique(sizes):
                chosen = sizes == n
                mine = is_x[chosen] if len(chosen) > 1 else is_x
                x = repeated[np.flatnonzero(mine)].reshape(len(mine), -1)
                y = repeated[np.flatnonzero(~mine)].reshape(len(mine), -1)
                costs[some][chosen] = self._transport(x, y, int(n))
        return costs

    def _transport(self, x: Floats, y: Floats, n: int) -> Floats:
        """W_p^p of each line of ascending x and y."""
        of_x, of_y, shares = self._pieces(n)
        moved = x - y if x.shape == y.shape else x[:, of_x] - y[:, of_y]
        if self._p == 2:
            np.multiply(moved, moved, out=moved)
        else:
            np.abs(moved, out=moved)
            with np.errstate(under="ignore"):
                moved **= self._p
        moved *= shares
        sums: Floats = moved.sum(axis=1)
        return sums

    def _size(self, values: Floats, order: NDArray[np.int64]) -> float:
        """Mean of |u|^p; of the energy distance, |E_xx| + |E_yy| + 2|E_xy|."""
        if self._statistic != "energy":
            with np.errstate(under="ignore"):
                return float(np.mean(np.abs(values) ** self._p))
        n, m = self._labels.sizes[0], self._labels.rows - self._labels.sizes[0]
        both = np.cumsum(np.where(self._labels.of(order, slice(0, 1))[:, 0], 1 / n, 1 / m))[:-1]
        # 2 F (1 − F) lies within x, 2 G (1 − G) within y, and twice F + G − 2 F G between them
        return float(np.sum(2 * np.diff(values) * both * (2 - both)))

    def _check(self) -> None:
        if self._stopped.is_set():
            raise CancelledError


def _accumulated(bits: NDArray[np.uint8]) -> NDArray[Any]:
    """Cumulative sums down the lines; of few in place, by doubling: whole arrays at a time."""
    if len(bits) > 255:  # which do not fit 8 bits
        return np.cumsum(bits, axis=0, dtype=np.int32)
    step = 1
    while step < len(bits):
        bits[step:] += bits[:-step]
        step *= 2
    return bits


def _one_of_equals(values: Floats) -> Floats:
    return values[:1] if (values == values[0]).all() else values


def _pieces(rows: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Pieces on which the quantile functions of n and rows − n values are both constant.

    Which value of either sample a piece has, and its share of the mass; ends are whole numbers in
    units of 1/(n (rows − n)).
    """
    m = rows - n
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    starts = np.concatenate([[0], ends[:-1]])
    return starts // m, starts // n, (ends - starts) / (n * m)


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

    def push(self, one: _Slice, p: float) -> None:
        if one.costs.any() or one.size:
            exponent = max(self.exponent, one.exponent)
            mine, other = (2.0 ** (p * (e - exponent)) for e in (self.exponent, one.exponent))
            self.costs = self._join(mine * self.costs, other * one.costs)
            self.size = float(self._join(mine * self.size, other * one.size))
            self.exponent = exponent

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
    method: DirectionMethod = "gaussian",
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
    method : {"gaussian", "orthogonal", "sobol"}
        How `sphere_directions` draws them.
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
    power = _order(statistic, p)
    count = scalars.count("n_permutations", n_permutations)
    scalars.count("n_projections", n_projections)
    threads = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=threads, sample=True)
    if paired:
        strata = pairs_of_rows(len(a), len(b), groups=groups, strata=strata)
    exchange = Exchange(len(a), len(b), groups, strata)
    draws = scalars.generator(rng)
    directions = sphere_directions(a.shape[1], n_projections, rng=draws, method=method)
    planned = plan(exchange, count, "permutation", draws)
    labels = _Labels(planned.columns, exchange.rows, planned.total)
    if min(labels.sizes.min(), exchange.rows - labels.sizes.max()) == 0:
        raise ValueError("exchanging whole groups leaves a sample without rows")
    (a, b), unit = validate.near_one(a, b)
    total = _Total(labels.count, largest=statistic == "max")
    with reporting(progress, n_projections) as (report,):
        slices = _Slices(labels, statistic, power)
        for done, one in enumerate(slices.along(a, b, directions, threads), start=1):
            total.push(one, power)
            if report is not None:
                report(done, n_projections)
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
