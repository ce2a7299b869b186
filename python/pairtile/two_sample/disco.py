"""Equality of several distributions: the k-sample test of energy statistics (DISCO).

    samples -> pooled rows, a label plane per sample and relabelling -> kernel_label_sums -> F
            -> every two of them -> the same -> Holm

A relabelling leaves S + W as it is, so the sums within samples say all.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile.kernels.kernel import Energy
from pairtile.two_sample import shuffles
from pairtile.two_sample.relabelling import binomial, packed, plan
from pairtile.two_sample.results import TestResult, concluded, holm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress, Report
    from pairtile._front.words import Enumerable


class _Fields(NamedTuple):
    first: Any
    second: Any
    statistic: float
    pvalue: float
    pvalue_adjusted: float


class Pairwise(Result, _Fields):
    """Outcome of a test of two of several samples.

    Attributes
    ----------
    first, second : int or str
        The samples: their labels, or their places in the sequence.
    statistic : float
        F of these two.
    pvalue : float
        Of these two alone.
    pvalue_adjusted : float
        For all pairs (Holm): at most α where these two differ, whichever others do.
    """


class _Assignments:
    """Ways to share rows out to samples of given sizes, as the sample of each row."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)
        self.observed = np.repeat(np.arange(len(self.sizes)), self.sizes)

    def count(self, limit: int | None = None) -> int:
        """How many there are; above `limit`, some number above it."""
        total, rows = 1, sum(self.sizes)
        for size in self.sizes:
            total *= binomial(rows, size, limit)
            rows -= size
            if limit is not None and total > limit:
                break
        return total

    def at_random(self, count: int, rng: Any) -> Iterator[NDArray[np.int64]]:
        """As observed, then `count` at random."""
        yield self.observed[None]
        cells = shuffles.Cells.of([np.arange(len(self.observed))])
        for orders in shuffles.orders(rng, cells, count):
            samples = np.empty_like(orders)
            np.put_along_axis(samples, orders, self.observed[None], axis=1)
            yield samples

    def every(self) -> Iterator[NDArray[np.int64]]:
        """As observed, then in all other ways."""
        yield self.observed[None]
        for sample in self._from(0, np.zeros_like(self.observed), np.arange(len(self.observed))):
            if (sample != self.observed).any():
                yield sample[None]

    def _from(
        self, first: int, sample: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> Iterator[NDArray[np.int64]]:
        """With the rows that are left shared out to the samples from `first` on."""
        if first == len(self.sizes):
            yield sample
            return
        for chosen in itertools.combinations(rows.tolist(), self.sizes[first]):
            shared = sample.copy()
            shared[list(chosen)] = first
            yield from self._from(first + 1, shared, np.setdiff1d(rows, chosen))


class _Options(NamedTuple):
    exponent: float
    n_permutations: int
    method: str
    rng: Any
    workers: int
    wrap: Any  # makes the null distribution the kind of array that the user gave


def _one_test(sets: Sequence[Any], options: _Options, report: Report | None) -> TestResult:
    """Of validated sets."""
    terms = Energy(options.exponent)._terms(0, {})
    sizes = [len(s) for s in sets]
    n, k = sum(sizes), len(sets)
    first, rest = sets[0], sets[1]
    if k > 2:
        host = [validate.host(s) for s in sets[1:]]
        rest = np.concatenate([s.astype(validate.working_dtype(*host)) for s in host])
    (first, rest), _ = validate.near_one(first, rest)  # F has no unit
    planned = plan(_Assignments(sizes), options.n_permutations, options.method, options.rng)
    planes = (some[:, None] == np.arange(k)[:, None] for some in planned.batches)
    labels = np.concatenate([packed(some.reshape(-1, n)) for some in planes])
    words = np.ascontiguousarray(labels.T)
    (within,), _, (total,) = choose.module(first, rest).kernel_label_sums(
        first, rest, words, [terms], paired=False, workers=options.workers, progress=report
    )
    # the kernel is −d^α
    inner = (-within.reshape(planned.total, k) / (2 * np.array(sizes))).sum(axis=1)
    whole = -float(total) / (2 * n)
    between = np.maximum(whole - inner, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(between > 0, (between / (k - 1)) / (inner / (n - k)), 0.0)
    at_least = int(np.count_nonzero(inner <= inner[0] + 2.0**-40 * whole))
    two = {"n": sizes[0], "m": sizes[1]} if k == 2 else {"n": n, "m": None}
    return concluded(statistic, at_least, planned.null, wrap=options.wrap, **two)


def _by_label(x: Any, labels: Any, *, check_finite: bool, workers: int) -> dict[Any, Any]:
    """The rows of each label, in the order of the labels."""
    a = validate.matrix("samples", x, check_finite=check_finite, workers=workers, sample=True)
    values, which = np.unique(
        validate.labels("labels", labels, "samples", len(a)), return_inverse=True
    )
    return {
        value: validate.taken(a, np.flatnonzero(which == j))
        for j, value in enumerate(values.tolist())
    }


def _listed(samples: list[Any], *, check_finite: bool, workers: int) -> dict[Any, Any]:
    """The sets of a sequence, by their place in it."""
    named = {f"samples[{j}]": s for j, s in enumerate(samples)}
    if not named:
        return {}
    sets = validate.sets(named, check_finite=check_finite, workers=workers, sample=True)
    return dict(enumerate(sets))


@overload
def disco_test(
    samples: Sequence[ArrayLike] | ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pairwise: Literal[False] = False,
    exponent: float = 1.0,
    n_permutations: int = 999,
    rng: Any = None,
    method: Enumerable = "permutation",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> TestResult: ...
@overload
def disco_test(
    samples: Sequence[ArrayLike] | ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pairwise: Literal[True],
    exponent: float = 1.0,
    n_permutations: int = 999,
    rng: Any = None,
    method: Enumerable = "permutation",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> list[Pairwise]: ...
def disco_test(
    samples: Sequence[ArrayLike] | ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pairwise: bool = False,
    exponent: float = 1.0,
    n_permutations: int = 999,
    rng: Any = None,
    method: Enumerable = "permutation",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> TestResult | list[Pairwise]:
    r"""Permutation test that K samples come from one distribution, by energy statistics.

    The distances take the part that squared deviations have in an analysis of variance:

    .. math:: F = \frac{S/(K-1)}{W/(N-K)}, \quad
              S = \sum_{j<l} \frac{n_j n_l}{2N} (2 g_{jl} - g_{jj} - g_{ll}), \quad
              W = \sum_j \frac{n_j}{2} g_{jj},

    :math:`g_{jl}` being the mean of :math:`d^\alpha` over all pairs of samples j and l.

    Parameters
    ----------
    samples : sequence of K array_like of shape (n_j, d), or array_like of shape (N, d)
        At least two samples; real numbers. With `labels`, all rows in one array.
    labels : array_like of shape (N,), integers or strings, optional
        The sample of each row; samples are in the order of ``np.unique(labels)``.
    pairwise : bool, default False
        Test every two of the samples by themselves, one pair after the other with the same `rng`.
    exponent : float, default 1
        α in (0, 2]. At 2, in one dimension, F is that of the analysis of variance.
    n_permutations : int, default 999
        B, at least 1. Relabelling b is ``rng.permutation(N)``: its first n_1 rows of the pooled
        sample are called sample 1, and so on. If there are at most B distinct ones,
        :math:`N!/\prod n_j!`, the test is exact: it takes each of them once.
    rng : int, numpy.random.Generator or None
        One seed gives one null distribution on every backend.
    method : {"permutation", "random"}
        "random" draws relabellings where all could be looked at, too.
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    TestResult, or list of Pairwise
        ``(statistic, pvalue, null_distribution)``; the statistic is F, infinite where only W is
        0 and 0 where S is too. The p-value counts the relabellings whose W is at most the
        observed one plus :math:`2^{-40}(S + W)`: S + W is the same for all of them. With
        `pairwise` ``(first, second, statistic, pvalue, pvalue_adjusted)`` of each two samples.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable: fewer than two samples, as many samples as rows, labels
        that are not one per row, an exponent outside (0, 2], `n_permutations` below 1.

    Notes
    -----
    One sweep in float64: O(N² (d + K B)) operations; memory O(N K B / 8) bytes for the labels,
    and one copy of the samples if there are more than two.

    References
    ----------
    Rizzo and Székely, "DISCO analysis: a nonparametric extension of analysis of variance", Annals
    of Applied Statistics 4 (2010).

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> rng = np.random.default_rng(0)
    >>> samples = [rng.normal(size=(50, 2)) + shift for shift in (0, 0, 1)]
    >>> pt.disco_test(samples, rng=0).pvalue
    0.001
    >>> x, site = np.concatenate(samples), np.repeat(["a", "b", "c"], 50)
    >>> for pair in pt.disco_test(x, labels=site, pairwise=True, rng=0):
    ...     print(pair.first, pair.second, round(pair.pvalue_adjusted, 3))
    a b 0.845
    a c 0.003
    b c 0.003
    """
    Energy(exponent)  # refuses what is none
    scalars.choice("method", method, ("permutation", "random"))
    count = scalars.count("n_permutations", n_permutations)
    threads = resolve_workers(workers)
    check: dict[str, Any] = {"check_finite": check_finite, "workers": threads}
    in_one: Any = samples
    if labels is None and len(getattr(in_one, "shape", (0, 0, 0))) < 3:
        raise ValueError("samples is one set of rows; pass labels=, or a list of samples")
    given = list(in_one) if labels is None else [in_one]
    sets = _listed(given, **check) if labels is None else _by_label(in_one, labels, **check)
    if len(sets) < 2:
        raise ValueError(f"disco_test compares at least two samples, got {len(sets)}")
    chosen = list(itertools.combinations(sets, 2)) if pairwise else [tuple(sets)]
    for names in chosen:
        if all(len(sets[name]) == 1 for name in names):
            which = (
                f"samples {names[0]!r} and {names[1]!r}" if pairwise else f"all {len(sets)} samples"
            )
            raise ValueError(f"{which} have one row, which leaves no distance within them")
    wrap = validate.like(*given)
    options = _Options(exponent, count, method, scalars.generator(rng), threads, wrap)
    sizes = [sum(len(sets[name]) for name in names) ** 2 // 2 for names in chosen]
    with reporting(progress, *sizes) as reports:
        results = [
            _one_test([sets[name] for name in names], options, report)
            for names, report in zip(chosen, reports, strict=True)
        ]
    if not pairwise:
        return results[0]
    adjusted = holm([result.pvalue for result in results])
    return [
        Pairwise(names[0], names[1], result.statistic, result.pvalue, p)
        for names, result, p in zip(chosen, results, adjusted, strict=True)
    ]
