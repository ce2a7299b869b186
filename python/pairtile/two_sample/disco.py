"""Equality of several distributions: the k-sample test of energy statistics (DISCO).

    samples -> pooled rows, a label plane per sample and relabelling -> kernel_label_sums -> F

A relabelling leaves S + W as it is, so the sums within samples say all.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.kernels.kernel import Energy
from pairtile.two_sample.permutation import TestResult
from pairtile.two_sample.relabelling import pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress


def _planes(edges: NDArray[np.int64], count: int, rng: Any) -> Iterator[NDArray[np.bool_]]:
    """Who is in each sample: first as observed, then in `count` random relabellings."""
    order = np.arange(edges[-1])
    for b in range(count + 1):
        if b > 0:
            order = rng.permutation(edges[-1])
        for first, last in pairwise(edges):
            plane = np.zeros(edges[-1], dtype=np.bool_)
            plane[order[first:last]] = True
            yield plane


def disco_test(
    samples: Sequence[ArrayLike],
    *,
    exponent: float = 1.0,
    n_permutations: int = 999,
    rng: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> TestResult:
    r"""Permutation test that K samples come from one distribution, by energy statistics.

    The distances take the part that squared deviations have in an analysis of variance:

    .. math:: F = \frac{S/(K-1)}{W/(N-K)}, \quad
              S = \sum_{j<l} \frac{n_j n_l}{2N} (2 g_{jl} - g_{jj} - g_{ll}), \quad
              W = \sum_j \frac{n_j}{2} g_{jj},

    :math:`g_{jl}` being the mean of :math:`d^\alpha` over all pairs of samples j and l.

    Parameters
    ----------
    samples : sequence of K array_like of shape (n_j, d)
        At least two; real numbers.
    exponent : float, default 1
        α in (0, 2]. At 2, in one dimension, F is that of the analysis of variance.
    n_permutations : int, default 999
        B, at least 1. Relabelling b is ``rng.permutation(N)``: its first n_1 rows of the pooled
        sample are called sample 1, and so on.
    rng : int, numpy.random.Generator or None
        One seed gives one null distribution on every backend.
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    TestResult
        ``(statistic, pvalue, null_distribution)``; the statistic is F, infinite where only W is
        0 and 0 where S is too. The p-value counts the relabellings whose W is at most the
        observed one plus :math:`2^{-40}(S + W)`: S + W is the same for all of them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable: fewer than two samples, as many samples as rows, an
        exponent outside (0, 2], `n_permutations` below 1.

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
    """
    terms = Energy(exponent)._terms(0, {})
    count = scalars.count("n_permutations", n_permutations)
    threads = resolve_workers(workers)
    if len(samples) < 2:
        raise ValueError(f"disco_test compares at least two samples, got {len(samples)}")
    names = [f"samples[{j}]" for j in range(len(samples))]
    sets = [
        validate.matrix(name, s, check_finite=check_finite, workers=threads)
        for name, s in zip(names, samples, strict=True)
    ]
    for name, s in zip(names[1:], sets[1:], strict=True):
        validate.check_alike(names[0], sets[0], name, s)
    edges = np.cumsum([0, *map(len, sets)])
    n, k = int(edges[-1]), len(sets)
    if n == k:
        raise ValueError(f"all {k} samples have one row, which leaves no distance within them")
    first, rest = sets[0], sets[1]
    if k > 2:
        host = [validate.host(s) for s in sets[1:]]
        rest = np.concatenate([s.astype(validate.working_dtype(*host)) for s in host])
    (first, rest), _ = validate.near_one(first, rest)  # F has no unit
    with reporting(progress, n * n // 2) as (report,):
        words = pack(_planes(edges, count, scalars.generator(rng)), n, k * (count + 1))
        (within,), _, (total,) = choose.module(first, rest).kernel_label_sums(
            first, rest, words, [terms], paired=False, workers=threads, progress=report
        )
    # the kernel is −d^α
    inner = (-within.reshape(count + 1, k) / (2 * np.diff(edges))).sum(axis=1)
    whole = -float(total) / (2 * n)
    between = np.maximum(whole - inner, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(between > 0, (between / (k - 1)) / (inner / (n - k)), 0.0)
    null = statistic[1:].copy()
    at_least = int(np.count_nonzero(inner[1:] <= inner[0] + 2.0**-40 * whole))
    return TestResult(
        float(statistic[0]), (1 + at_least) / (1 + count), validate.like(*samples)(null)
    )
