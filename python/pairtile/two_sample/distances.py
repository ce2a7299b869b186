"""The energy test by any metric: values of −distance^α, a strip of the pooled rows at a time.

    x, y -> strips of the matrix of distances -> label sums, or sums over bins -> `nulls`

The kernel sweeps know Euclidean distances and sums of absolute differences. Here a strip is the
backend's `pairwise_distances`, and label sums are products with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._front import metrics, scalars, validate
from pairtile._front.categories import coded
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.two_sample import nulls
from pairtile.two_sample.relabelling import Exchange, at_least, pairs_of_rows, plan
from pairtile.two_sample.results import concluded
from pairtile.two_sample.statistics import check_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.metrics import Measure
    from pairtile._front.progress import Progress, Report
    from pairtile.two_sample.relabelling import Words
    from pairtile.two_sample.results import TestResult

    Floats = NDArray[np.float64]

_STRIP = 1 << 21  # distances held at a time: 16 MB
_LABELLINGS = 128  # multiplied at a time
METHODS = ("permutation", "random", "cheap_permutation")


class DistanceSamples:
    """`nulls.Samples` whose kernel is −distance^exponent by a metric."""

    def __init__(
        self, x: Any, y: Any, measure: Measure, exponent: float, estimator: str, workers: int
    ) -> None:
        self.x, self.y, self.estimator, self.workers = x, y, estimator, workers
        self._measure, self._exponent = measure, exponent

    def label_sums(self, words: Words, report: Report | None) -> tuple[Floats, Floats, Floats]:
        """V'KV and V'K1 of every labelling of the pooled rows, and 1'K1, of shape (1,)."""
        n, count = len(self.x) + len(self.y), words.shape[1]
        within, row, total = np.zeros(count), np.zeros(count), np.zeros(1)
        for first, values in self._strips(report):
            strip = slice(first, first + len(values))
            sums = values.sum(axis=1)
            total += sums.sum()
            for start in range(0, count, _LABELLINGS):
                some = slice(start, start + _LABELLINGS)
                labels = _unpacked(words[:, some], n)
                within[some] += np.einsum("ib,ib->b", labels[strip], values @ labels)
                row[some] += sums @ labels[strip]
        return within, row, total

    def bin_sums(
        self,
        x_edges: NDArray[np.int64],
        y_edges: NDArray[np.int64],
        reports: Sequence[Report | None],
    ) -> Floats:
        """Sum of k(z_i, z_j), i ≠ j, over every two bins of consecutive rows."""
        edges = np.concatenate([x_edges[:-1], len(self.x) + y_edges])
        bins = len(edges) - 1
        sums = np.zeros((bins, bins))
        of_row = np.repeat(np.arange(bins), np.diff(edges))
        for first, values in self._strips(*reports):
            by_row = np.add.reduceat(values, edges[:-1], axis=1)
            np.add.at(sums, of_row[first : first + len(values)], by_row)
        return (sums + sums.T) / 2

    def own(self) -> Floats:
        """k(z, z) of the pooled rows."""
        return np.zeros(len(self.x) + len(self.y))

    def _strips(self, *reports: Report | None) -> Iterator[tuple[int, Floats]]:
        """The first row and the values of each strip; the diagonal is 0."""
        n = len(self.x) + len(self.y)
        step = max(1, _STRIP // n)
        module = choose.module(self.x, self.y)
        done = 0
        for offset, sample in ((0, self.x), (len(self.x), self.y)):
            for start in range(0, len(sample), step):
                rows = sample[start : start + step]
                values = np.empty((len(rows), n))
                for at, other in ((0, self.x), (len(self.x), self.y)):
                    found = module.pairwise_distances(
                        rows,
                        other,
                        self._measure.name,
                        dtype="float64",
                        metric_params=self._measure.params,
                        workers=self.workers,
                    )
                    values[:, at : at + len(other)] = validate.host(found)
                np.power(values, self._exponent, out=values)
                np.negative(values, out=values)
                own = np.arange(len(rows))
                values[own, offset + start + own] = 0.0
                yield offset + start, values
                done += len(rows)
                for report in reports:
                    if report is not None:
                        report(done, n)


def _unpacked(words: Words, n: int) -> Floats:
    """Labels of n rows as numbers, a column for each labelling."""
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, bitorder="little")
    by_row = bits.reshape(len(words), words.shape[1], 64).transpose(0, 2, 1)
    return by_row.reshape(64 * len(words), words.shape[1])[:n].astype(np.float64)


def distance_test(
    x: ArrayLike,
    y: ArrayLike,
    metric: str,
    metric_params: Mapping[str, Any] | None,
    exponent: float,
    *,
    n_permutations: int,
    estimator: str,
    method: str,
    n_bins: int | None,
    groups: ArrayLike | None,
    strata: ArrayLike | None,
    paired: bool,
    rng: Any,
    workers: int | None,
    check_finite: bool,
    progress: Progress,
) -> TestResult:
    """`energy_test` by a metric that is not Euclidean."""
    if method not in METHODS:
        raise ValueError(
            f"method={method!r} needs metric='euclidean', got {metric!r}; others have "
            f"{', '.join(METHODS)}"
        )
    count = scalars.count("n_permutations", n_permutations)
    threads = resolve_workers(workers)
    metric_params, (x, y) = coded(metric, metric_params, x=x, y=y)
    finite = metrics.finite(metric, check_finite)
    a, b = validate.pair("x", x, "y", y, check_finite=finite, workers=threads, sample=True)
    params = dict(metric_params or {})
    if metric == "gower" and params.get("ranges") is None:
        params["ranges"] = metrics.spread(a, b)
    measure = metrics.resolve(metric, params, itself=("x", "y"), x=a, y=b)
    n, m = len(a), len(b)
    check_sizes(estimator, n, m)
    samples = DistanceSamples(a, b, measure, exponent, estimator, threads)
    draws = scalars.generator(rng)
    null = method
    infinite = np.errstate(over="ignore", invalid="ignore")  # is refused below
    with reporting(progress, (n + m) ** 2) as (report,), infinite:
        if method == "cheap_permutation":
            bins = nulls.check_bins(n_bins, n, m, estimator)
            values, tie = nulls.cheap_permutation(samples, bins, count, draws, [report])
        else:
            if paired:
                strata = pairs_of_rows(n, m, groups=groups, strata=strata)
            exchange = Exchange(n, m, groups, strata)
            planned = plan(exchange, count, method, draws)
            null = planned.null
            values, tie = nulls.permutation(samples, exchange, planned, report)
    if not np.isfinite(values).all():
        raise ValueError(
            f"distances by metric {metric!r} are infinite between some rows, or too large to be "
            "added; leave out rows without a common feature, and bring the columns nearer to 1"
        )
    return concluded(values, at_least(values, tie), null, wrap=validate.like(x, y), n=n, m=m)
