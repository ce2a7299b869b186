"""MMD test aggregated over kernels and bandwidths (MMDAgg).

    x, y -> kernels x bandwidths -> one sweep for all kernels and relabellings
         -> p-value of each kernel -> p-values of all together

The level correction of the paper looks by bisection for the largest u at which the share of
resamples that some kernel rejects at level u·w stays below the level. That share is a step
function of u, so its steps are compared here instead, which is where the bisection converges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile.kernels.kernel import Gaussian, Kernel, Laplace, kernel_name
from pairtile.two_sample.nulls import Samples
from pairtile.two_sample.permutation import check_paired
from pairtile.two_sample.relabelling import Exchange, Sums, pack, signed_sums, signs, statistics
from pairtile.two_sample.statistics import check_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress
    from pairtile._front.words import AggregatedKernel

    Floats = NDArray[np.float64]

_SAMPLED_ROWS = 2048  # whose distances give the bandwidths

# How a bandwidth λ, in units of the distance, makes a kernel of each family; and which distance.
_FAMILIES: dict[str, tuple[str, Callable[[float], Kernel]]] = {
    "gaussian": ("euclidean", lambda length: Gaussian(gamma=1 / length**2)),
    "laplace": ("euclidean", lambda length: Laplace(gamma=1 / length)),
    "laplace_l1": ("manhattan", lambda length: Laplace(gamma=1 / length, norm="l1")),
}


class _KernelTest(NamedTuple):
    kernel: Kernel
    statistic: float
    pvalue: float
    adjusted_pvalue: float


class KernelTest(Result, _KernelTest):
    """What an aggregated test says of one of its kernels.

    Attributes
    ----------
    kernel : Kernel
        With its bandwidth.
    statistic : float
        Unbiased squared MMD.
    pvalue : float
        Of a test with this kernel alone.
    adjusted_pvalue : float
        Corrected for all kernels together: where it is at most the level, this kernel rejects.
    """


class _AggregatedTest(NamedTuple):
    rejected: bool
    pvalue: float
    per_kernel: tuple[KernelTest, ...]


class AggregatedTest(Result, _AggregatedTest):
    """Outcome of a test aggregated over kernels.

    Attributes
    ----------
    rejected : bool
        Whether the p-value is at most the level.
    pvalue : float
        The smallest adjusted p-value of a kernel; never 0.
    per_kernel : tuple of KernelTest
        One for each kernel and bandwidth, in the order of `kernels`, bandwidths ascending.
    """


def _bandwidths(
    x: Any, y: Any, metric: str, count: int, chosen: NDArray[np.intp], workers: int
) -> list[float]:
    """`count` numbers in geometric progression from half the 5 % to twice the 95 % quantile."""
    n = len(x)
    parts = [validate.taken(x, chosen[chosen < n]), validate.taken(y, chosen[chosen >= n] - n)]
    a, b = [p for p in parts if len(p)] + [None] * (not all(map(len, parts)))
    low, high = (
        choose.module(x, y).distance_quantile(a, b, metric, q, False, workers=workers)
        for q in (0.05, 0.95)
    )
    if not high > 0:
        raise ValueError(
            "no bandwidth follows from distances that are nearly all 0; pass kernels with a "
            "bandwidth, such as kernels=[Gaussian(1.0)]"
        )
    first, last = (low or high / 100) / 2, 2 * high
    if count == 1:
        return [float(np.sqrt(first * last))]
    return [float(b) for b in np.geomspace(first, last, count)]


def _collection(
    x: Any, y: Any, kernels: Any, bandwidths: Any, rng: Any, workers: int
) -> list[Kernel]:
    """Every kernel, with every bandwidth it takes."""
    given = None
    if not isinstance(bandwidths, (list, tuple)):
        bandwidths = np.asarray(validate.host(bandwidths)).tolist()
    if not isinstance(bandwidths, (list, tuple)):
        count = scalars.count("bandwidths", bandwidths)
    else:
        given = [scalars.real("bandwidths", b, above=0) for b in bandwidths]
        if not given:
            raise ValueError("bandwidths is empty")
    if isinstance(kernels, (str, Kernel)):
        kernels = [kernels]
    rows = len(x) + len(y)
    chosen = np.arange(rows)
    if rows > _SAMPLED_ROWS:
        chosen = np.sort(rng.permutation(rows)[:_SAMPLED_ROWS])
    out: list[Kernel] = []
    lengths: dict[str, list[float]] = {}
    for kernel in kernels:
        if isinstance(kernel, Kernel):
            if rules := sorted(kernel._rules()):
                raise ValueError(f"{kernel} has a parameter {rules[0][0]!r}; give it a number")
            out.append(kernel)
            continue
        metric, make = _FAMILIES[kernel_name("kernels", kernel, _FAMILIES)]
        if metric not in lengths:
            lengths[metric] = sorted(given or _bandwidths(x, y, metric, count, chosen, workers))
        out.extend(make(length) for length in lengths[metric])
    if not out:
        raise ValueError("kernels is empty")
    return out


def _ranks(values: Floats, null: Floats, tolerance: Floats) -> NDArray[np.int64]:
    """1 + the number of null values that each value does not exceed, kernel by kernel."""
    out = np.empty(values.shape, dtype=np.int64)
    for q, sample in enumerate(np.sort(null, axis=1)):
        out[q] = 1 + len(sample) - np.searchsorted(sample, values[q] - tolerance[q])
    return out


def mmd_aggregated_test(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernels: Sequence[Kernel | AggregatedKernel] = ("gaussian", "laplace"),
    bandwidths: int | Sequence[float] = 10,
    n_permutations: int = 2000,
    level: float = 0.05,
    rng: Any = None,
    method: Literal["permutation", "wild_bootstrap"] = "permutation",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> AggregatedTest:
    r"""Test of equal distributions by the MMD over many kernels and bandwidths (MMDAgg).

    No bandwidth has to be chosen beforehand: the test is about as powerful as that with the best
    of its kernels, and its level holds for all of them together.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Reference sample and new sample; real numbers. 1-D is one feature; columns of frames go
        together by name.
    kernels : sequence of str or Kernel, default ("gaussian", "laplace")
        Families "gaussian" :math:`e^{-\|x-y\|^2/\lambda^2}`, "laplace"
        :math:`e^{-\|x-y\|/\lambda}` and "laplace_l1", the same in the Manhattan distance; each
        with every bandwidth λ. A kernel object counts as it is.
    bandwidths : int or sequence of float, default 10
        How many bandwidths λ each family has: in geometric progression from half the 5 % to
        twice the 95 % quantile of the distances of the pooled sample, or of 2048 of its rows
        drawn by `rng`; a single one is in the middle. (Where more than 5 % of them are 0, a
        hundredth of the 95 % quantile stands for the lower one.) Or the bandwidths themselves.
    n_permutations : int, default 2000
        B, at least 1. 2B resamples are drawn: B for the null distribution of each kernel, and B
        more for the correction over kernels; the paper's B₁ and B₂.
    level : float, default 0.05
        In (0, 1).
    rng : int, numpy.random.Generator or None
        One seed gives one outcome on every backend, up to rounding.
    method : {"permutation", "wild_bootstrap"}
        As in `mmd_test`. The wild bootstrap needs n = m and is four times faster, eight times
        where its terms are rounded.
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    AggregatedTest
        ``(rejected, pvalue, per_kernel)``. With :math:`p_q(T) = (1 + \#\{b \le B : T_{qb} \ge T
        - \tau_q\}) / (1 + B)` and :math:`g(b) = \min_q p_q(T_{qb})` for the second half of the
        resamples, the adjusted p-value of kernel q is :math:`(1 + \#\{b > B : g(b) \le p_q\}) /
        (1 + B)`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable: a sample with one row, n ≠ m for the wild bootstrap, a
        bandwidth that is not positive, a level outside (0, 1), `n_permutations` below 1, or
        distances that are nearly all 0 and give no bandwidth.

    Notes
    -----
    Kernels have equal weights. The paper's bisection for the corrected level (B₃ steps) is
    replaced by what it converges to; counting the observed sample among the second half too, as
    here, makes the level exact for any B.

    One sweep for all kernels and resamples, kernels of one distance sharing its tiles:
    O((n + m)² (d + Q B)) operations for Q kernels; memory O((n + m) B / 8) bytes for the labels
    and O(Q B) per block of rows. Everything is in float64, but for terms of the wild bootstrap
    that `mmd_test` would round, which changes statistics by about 1e-7 of the standard deviation
    that they have under the null. On a GPU with tensor cores other values are
    multiples of a step of at most :math:`2^{-46}` of their mean size, and summed exactly.

    References
    ----------
    Schrab, Kim, Albert, Laurent, Guedj and Gretton, "MMD Aggregated Two-Sample Test", JMLR 24
    (2023).

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> x, y = np.random.default_rng(0).normal(size=(2, 200, 2))
    >>> y[:, 1] = y[:, 0] + 0.3 * y[:, 1]
    >>> result = pt.mmd_aggregated_test(x, y, n_permutations=500, rng=0)
    >>> result.rejected, len(result.per_kernel)
    (True, 20)
    """
    count = scalars.count("n_permutations", n_permutations)
    level = scalars.real("level", level, above=0, most=np.nextafter(1, 0))
    scalars.choice("method", method, ("permutation", "wild_bootstrap"))
    threads = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=threads, sample=True)
    n, m = len(a), len(b)
    check_sizes("unbiased", n, m)
    paired = method == "wild_bootstrap"
    if paired:
        check_paired(n, m)
    draws = scalars.generator(rng)
    collection = _collection(a, b, kernels, bandwidths, draws, threads)
    terms = [kernel._terms(a.shape[1], {}) for kernel in collection]
    if paired:
        words = pack(signs(n, 2 * count, draws), n, 2 * count + 1)
    else:
        exchange = Exchange(n, m)
        words, sizes = exchange.words(exchange.at_random(2 * count, draws))
    samples = [Samples(a, b, of_kernel, "unbiased", threads) for of_kernel in terms]
    rounding_steps = [s.rounding_step() for s in samples] if paired else ()
    with reporting(progress, (n + m) ** 2 // 2) as (report,):
        within, row, total = choose.module(a, b).kernel_label_sums(
            a,
            b,
            words,
            terms,
            paired=paired,
            rounding_steps=rounding_steps,
            workers=threads,
            progress=report,
        )
    total = total[:, None]
    if paired:
        values = signed_sums(within, row, total) / (n * (n - 1))
        tolerance = np.array([[s.tie(q)] for s, q in zip(samples, rounding_steps, strict=True)])
    else:
        none = np.zeros(1)
        sums = Sums(within, row, total, none, none, sizes, n + m)
        values, tolerance = statistics(sums, "unbiased")
    null = values[:, 1 : count + 1]
    ranks = _ranks(np.hstack([values[:, :1], values[:, count + 1 :]]), null, tolerance)
    lowest = np.sort(ranks[:, 1:].min(axis=0))
    adjusted = (1 + np.searchsorted(lowest, ranks[:, 0], side="right")) / (1 + count)
    per_kernel = tuple(
        KernelTest(kernel, float(t), float(p), float(q))
        for kernel, t, p, q in zip(
            collection, values[:, 0], ranks[:, 0] / (1 + count), adjusted, strict=True
        )
    )
    p = float(adjusted.min())
    return AggregatedTest(p <= level, p, per_kernel)
