"""Null distributions of the squared MMD and the energy distance, one function each.

    Samples (x, y, terms) -> permutation | wild_bootstrap | cheap_permutation -> T_0 … T_B, τ
                          -> gamma | spectrum                                 -> p, or T_0 … T_B

The first three resample; the last two approximate the limit of the statistic.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.kernels import evaluate, one_argument
from pairtile._front import scalars, validate
from pairtile.kernels import univariate
from pairtile.kernels.kernel import diagonal, paired_diagonal
from pairtile.two_sample.relabelling import (
    Exchange,
    Sums,
    own_sums,
    pack,
    signed_sums,
    signs,
    statistics,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pairtile._definitions.kernels import Term
    from pairtile._front.progress import Report
    from pairtile.two_sample.distances import DistanceSamples
    from pairtile.two_sample.relabelling import Plan, Words

    Floats = NDArray[np.float64]

METHODS = ("permutation", "random", "wild_bootstrap", "cheap_permutation", "gamma", "spectrum")
_BINS = 64  # of a cheap permutation
_MOST_BINS = 4096  # the sums over every two take 128 MB
_RELABELLINGS = 10**5  # of bins, at least
_SPECTRUM_ROWS = 512  # of the Gram matrix whose eigenvalues are taken: 2 MB
_SCALE_ROWS = 64  # by which the size of kernel values is judged
_ROUNDED_PAIRS = 512  # fewer take no time


class Samples(NamedTuple):
    """Two validated samples and the kernel's terms."""

    x: Any
    y: Any
    terms: Sequence[Term]
    estimator: str
    workers: int
    on_a_line: bool = False

    @property
    def module(self) -> Any:
        """The backend that serves these samples."""
        return choose.module(self.x, self.y)

    def label_sums(self, words: Words, report: Report | None) -> tuple[Floats, Floats, Floats]:
        """V'KV and V'K1 of every labelling of the pooled rows, and 1'K1, of shape (1,)."""
        if self.on_a_line:
            return univariate.label_sums(self.x, self.y, words, progress=report)
        (within,), (row,), total = self.module.kernel_label_sums(
            self.x, self.y, words, [self.terms],
            paired=False, workers=self.workers, progress=report,
        )  # fmt: skip
        return within, row, total

    def bin_sums(
        self,
        x_edges: NDArray[np.int64],
        y_edges: NDArray[np.int64],
        reports: Sequence[Report | None],
    ) -> Floats:
        """Sum of k(z_i, z_j), i ≠ j, over every two bins."""
        of_x, bins = len(x_edges) - 1, len(x_edges) + len(y_edges) - 2
        half = np.zeros((bins, bins))
        options = {"precision": "float64", "workers": self.workers}
        for q, report in enumerate(reports):
            sample, edges, at = (self.x, x_edges, q) if q < of_x else (self.y, y_edges, q - of_x)
            of_bin = sample[edges[at] : edges[at + 1]]
            row_sums = self.module.kernel_row_sums
            near = validate.host(
                row_sums(
                    sample[: edges[at + 1]], of_bin, self.terms, None, progress=report, **options
                )
            )
            half[q - at : q + 1, q] = np.add.reduceat(near, edges[: at + 1])
            half[q, q] = (half[q, q] - diagonal(of_bin, self.terms).sum()) / 2
            if q >= of_x:
                across = validate.host(row_sums(self.x, of_bin, self.terms, None, **options))
                half[:of_x, q] = np.add.reduceat(across, x_edges[:-1])
        return half + half.T

    def own(self) -> Floats:
        """k(z, z) of the pooled rows."""
        return np.concatenate([diagonal(self.x, self.terms), diagonal(self.y, self.terms)])

    def rows(self, count: int, rng: Any = None) -> Floats:
        """At most `count` pooled rows in float64: at a fixed stride, or drawn by `rng`."""
        n, m = len(self.x), len(self.y)
        if n + m <= count:
            chosen = np.arange(n + m)
        elif rng is None:
            chosen = np.arange(count) * (n + m) // count
        else:
            chosen = np.sort(rng.permutation(n + m)[:count])
        of_x, of_y = chosen[chosen < n], chosen[chosen >= n] - n
        parts = (validate.taken(self.x, of_x), validate.taken(self.y, of_y))
        return np.concatenate([np.asarray(validate.host(p), dtype=np.float64) for p in parts])

    def tie(self, rounding_step: float = 0.0) -> float:
        """Within what means of signed kernel values tie: a share of the size of those values.

        Equal values halfway between two multiples of `rounding_step` may go either way.
        """
        some = self.rows(_SCALE_ROWS)
        size = float(np.abs(evaluate(some, some, self.terms)).mean())
        return 2.0**-38 * size + 4 * rounding_step / len(self.x)

    def rounding_step(self) -> float:
        """What the h_ij of a wild bootstrap are rounded to multiples of, or 0 for not at all.

        2⁻²² of the mean |h| over 64 pairs of rows. One step for all of them makes the rounded h
        another function of two pairs, odd as h is where x_i and y_i change places. So the signs of
        h are exchangeable where those of h were, and the p-values as valid; equal h stay equal; and
        sums of whole rounding steps are exact, so that signs that tie do tie.

        The statistics move little beside their spread, too. Random signs give Σ ε_i ε_j h_ij the
        variance 2 Σ h²: whatever h is like, its own size is that of the null. (Those of a
        permutation test can be far smaller than kernel values, which cancel: they stay in float64.)
        """
        n = len(self.x)
        narrow = validate.working_dtype(self.x, self.y) == np.float32
        if n < _ROUNDED_PAIRS or not narrow or not one_argument(self.terms):
            return 0.0
        chosen = np.arange(_SCALE_ROWS) * n // _SCALE_ROWS
        x, y = (
            np.asarray(validate.host(validate.taken(z, chosen)), dtype=np.float64)
            for z in (self.x, self.y)
        )
        between = evaluate(x, y, self.terms)
        h = evaluate(x, x, self.terms) + evaluate(y, y, self.terms) - between - between.T
        np.fill_diagonal(h, 0.0)
        rounding_step = 2.0**-22 * float(np.abs(h).mean())
        return rounding_step if 2.0**-500 < rounding_step < math.inf else 0.0


def permutation(
    s: Samples | DistanceSamples, exchange: Exchange, planned: Plan, report: Report | None
) -> tuple[Floats, float]:
    """Statistics of the planned labellings, the observed one first, and the tie tolerance."""
    words, sizes = exchange.words(planned.batches)
    least = min(sizes.min(), exchange.rows - sizes.max())
    if least < (2 if s.estimator == "unbiased" else 1):
        raise ValueError(
            f"exchanging whole groups leaves a sample with {least} rows, too few for the "
            f"{s.estimator} estimator"
        )
    within, row, total = s.label_sums(words, report)
    own = s.own()
    sums = Sums(within, row, total, own_sums(words, own), own.sum(keepdims=True), sizes, len(own))
    values, tolerance = statistics(sums, s.estimator)
    return values, float(tolerance[0])


def wild_bootstrap(s: Samples, count: int, rng: Any, report: Report | None) -> tuple[Floats, float]:
    """As `permutation`, of Σ ε_i ε_j h_ij for random signs ε."""
    n = len(s.x)
    words = pack(signs(n, count, rng), n, count + 1)
    rounding_step = s.rounding_step()
    (within,), (row,), total = s.module.kernel_label_sums(
        s.x, s.y, words, [s.terms],
        paired=True, rounding_steps=[rounding_step], workers=s.workers, progress=report,
    )  # fmt: skip
    sums = signed_sums(within, row, total)
    if s.estimator == "biased":
        between = paired_diagonal(s.x, s.y, s.terms)
        sums, pairs = sums + s.own().sum() - 2 * between.sum(), n**2
    else:
        pairs = n * (n - 1)
    return sums / pairs, s.tie(rounding_step)


def _bin_edges(n: int, m: int, n_bins: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Edges of `n_bins` bins of about one size, none of which holds rows of both samples."""
    of_x = min(max(round(n_bins * n / (n + m)), 1, n_bins - m), n_bins - 1, n)
    return (
        np.arange(of_x + 1) * n // of_x,
        np.arange(n_bins - of_x + 1) * m // (n_bins - of_x),
    )


def _default_bins(n: int, m: int) -> int:
    """64 bins or more, so many that those of x and of y are of one size.

    A sample that is much the smaller has few bins, each of few rows, and the other one many: were
    they larger, relabellings would have more rows in that sample than it has, and p be too small.
    """
    if n + m <= _BINS:
        return n + m
    small, large = sorted((n, m))

    def of_large(of_small: int) -> int:
        return round(large * of_small / small)

    def unlike(of_small: int) -> float:
        return abs(of_large(of_small) * small / (of_small * large) - 1)

    least = -(-_BINS * small // (n + m))
    while least < small and math.comb(least + of_large(least), least) < _RELABELLINGS:
        least += 1
    if least + of_large(least) > _MOST_BINS:
        raise ValueError(
            f"method='cheap_permutation' exchanges bins of one size, and samples of {n:,} and "
            f"{m:,} rows need more than {_MOST_BINS:,} of them; use method='permutation', or "
            "fewer rows of the larger sample"
        )
    some = [k for k in range(least, min(2 * least, small) + 1) if k + of_large(k) <= 4 * _BINS]
    best = min(some, key=unlike, default=least)
    return best + of_large(best)


def cheap_permutation(
    s: Samples | DistanceSamples,
    n_bins: int,
    count: int,
    rng: Any,
    reports: Sequence[Report | None],
) -> tuple[Floats, float]:
    """As `permutation`, exchanging whole bins: all it takes is the sum over every two bins."""
    x_edges, y_edges = _bin_edges(len(s.x), len(s.y), n_bins)
    of_x = len(x_edges) - 1
    between = s.bin_sums(x_edges, y_edges, reports)
    bin_sizes = np.concatenate([np.diff(x_edges), np.diff(y_edges)])
    own = s.own()
    bin_own = np.add.reduceat(own, np.cumsum(bin_sizes) - bin_sizes)
    values = np.empty(count + 1)
    tolerance = 0.0
    step = max(1, (1 << 17) // n_bins)
    for first in range(0, count + 1, step):
        v = np.zeros((n_bins, min(step, count + 1 - first)))
        for b in range(v.shape[1]):
            observed = first + b == 0
            v[np.arange(of_x) if observed else rng.permutation(n_bins)[:of_x], b] = 1
        sums = Sums(
            np.einsum("ib,ib->b", v, between @ v),
            between.sum(axis=1) @ v,
            between.sum(keepdims=True)[0],
            bin_own @ v,
            own.sum(keepdims=True),
            np.rint(bin_sizes @ v).astype(np.int64),
            len(own),
        )
        some, tie = statistics(sums, s.estimator)
        values[first : first + len(some)] = some
        tolerance = tolerance or float(tie[0])
    return values, tolerance


def check_bins(n_bins: Any, n: int, m: int, estimator: str) -> int:
    """The number of bins, validated."""
    bins = _default_bins(n, m) if n_bins is None else scalars.count("n_bins", n_bins, least=2)
    if bins > n + m:
        raise ValueError(f"n_bins is {bins}, but x and y together have only {n + m} rows")
    sizes = np.concatenate([np.diff(edges) for edges in _bin_edges(n, m, bins)])
    of_x = len(_bin_edges(n, m, bins)[0]) - 1
    smallest = np.sort(sizes)
    least = min(smallest[:of_x].sum(), smallest[: bins - of_x].sum())
    if estimator == "unbiased" and least < 2:
        raise ValueError(
            f"exchanging {bins} bins of {n} and {m} rows can leave a sample with one row, too few "
            "for the unbiased estimator"
        )
    return bins


def _observed(s: Samples, report: Report | None) -> float:
    n, rows = len(s.x), len(s.x) + len(s.y)
    is_x = np.arange(rows) < n
    within, row, total = s.label_sums(pack(iter([is_x]), rows, 1), report)
    own = s.own()
    sums = Sums(
        within, row, total, own[:n].sum(keepdims=True), own.sum(keepdims=True), np.array([n]), rows
    )
    return float(statistics(sums, s.estimator)[0][0])


def gamma(s: Samples, reports: Sequence[Report | None]) -> tuple[float, float]:
    """The statistic, and its p-value under the gamma distribution of the null's two moments."""
    if not one_argument(s.terms):
        raise ValueError(
            "method='gamma' needs the squares of kernel values, which one sweep does not give for "
            "a sum of kernels of distances and of dot products; method='spectrum' does without"
        )
    n, m = len(s.x), len(s.y)
    count = n + m
    if count < 4:
        raise ValueError(f"method='gamma' needs at least 4 rows in x and y together, got {count}")
    # sums by row, by column and of squares: within x, within y, between
    (of_x, _, xx), (of_y, _, yy), (to_y, to_x, xy) = (
        s.module.kernel_moments(
            a, b, s.terms, precision="float64", workers=s.workers, progress=report
        )
        for (a, b), report in zip(((s.x, None), (s.y, None), (s.x, s.y)), reports, strict=True)
    )
    own = s.own()
    rows = np.concatenate([of_x + to_y, of_y + to_x])
    total, by_row, squares = math.fsum(rows), float(rows @ rows), xx + yy + 2 * xy
    within, row, every = (np.array([v]) for v in (of_x.sum(), rows[:n].sum(), total))
    own_x, own_total = own[:n].sum(keepdims=True), own.sum(keepdims=True)
    sums = Sums(within, row, every, own_x, own_total, np.array([n]), count)
    value = float(statistics(sums, s.estimator)[0][0])
    pairs = count * (count - 1)
    triples = pairs * (count - 2)
    # E k̃² of the centred kernel, from pairs, triples and quadruples of different rows
    spread = (
        squares / pairs
        - 2 * (by_row - squares) / triples
        + (total**2 - 4 * by_row + 2 * squares) / (triples * (count - 3))
    )
    scale = 1 / n + 1 / m
    mean = scale * (float(own.mean()) - total / pairs)
    variance = 2 * scale**2 * spread
    if mean <= 0 or spread <= 2.0**-40 * squares / pairs or variance <= 2.0**-72 * mean**2:
        return value, 1.0  # a kernel that tells no two rows apart, or every two
    biased = value if s.estimator == "biased" else value + mean
    return value, gamma_tail(mean**2 / variance, biased * mean / variance)


def gamma_tail(shape: float, x: float) -> float:
    """Regularised upper incomplete gamma function Q(shape, x)."""
    if x <= 0:
        return 1.0
    if shape > 1e6:
        # Temme (1979): a normal tail and the first term of its correction
        mu = (x - shape) / shape
        eta = math.copysign(math.sqrt(2 * max(0.0, mu - math.log1p(mu))), mu)
        tail = math.erfc(eta * math.sqrt(shape / 2)) / 2
        skew = 1 / mu - 1 / eta if abs(mu) > 1e-5 else -1 / 3
        return tail + skew * math.exp(-shape * eta**2 / 2) / math.sqrt(2 * math.pi * shape)
    front = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if x < shape + 1:
        # series of the lower function
        term = total = 1 / shape
        k = shape
        while term > total * 2.0**-54:
            k += 1
            term *= x / k
            total += term
        return max(0.0, 1 - front * total)
    # continued fraction, from the front (Lentz)
    b = x + 1 - shape
    c, d = math.inf, 1 / b
    value = d
    for i in range(1, 10_000):
        a = -i * (i - shape)
        b += 2
        d = 1 / (a * d + b)
        c = b + a / c
        value *= c * d
        if abs(c * d - 1) < 2.0**-52:
            break
    return front * value


def spectrum(s: Samples, count: int, rng: Any, report: Report | None) -> tuple[Floats, float]:
    """As `permutation`, of draws of (1/n + 1/m) Σ λ_l z_l², the limit under the null."""
    values = np.empty(count + 1)
    values[0] = _observed(s, report)
    some = s.rows(_SPECTRUM_ROWS, rng)
    gram = evaluate(some, some, s.terms)
    gram -= gram.mean(axis=0)
    gram -= gram.mean(axis=1)[:, None]
    weights = np.maximum(np.linalg.eigvalsh(gram), 0) / len(some)
    weights *= 1 / len(s.x) + 1 / len(s.y)
    centre = weights.sum() if s.estimator == "unbiased" else 0.0
    step = max(1, (1 << 18) // len(weights))
    for first in range(1, count + 1, step):
        z = rng.standard_normal((min(step, count + 1 - first), len(weights)))
        values[first : first + len(z)] = z**2 @ weights - centre
    return values, s.tie()
