"""Tests of equal distributions by MMD and energy distance.

    x, y -> kernel terms -> a null distribution -> p-value

The null distributions are in `nulls`; this is their public face.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front import scalars, validate
from pairtile._front.metrics import check_distance
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.kernels import univariate
from pairtile.kernels.kernel import (
    Energy,
    Kernel,
    as_kernel,
    in_range,
    lengths_of,
    median_sizes,
    not_below_zero,
    text_of,
)
from pairtile.two_sample import nulls
from pairtile.two_sample.blocks import BLOCK_ESTIMATORS, check_block_size, in_blocks
from pairtile.two_sample.distances import distance_test
from pairtile.two_sample.relabelling import Exchange, at_least, pairs_of_rows, plan
from pairtile.two_sample.results import TestResult, concluded
from pairtile.two_sample.statistics import ESTIMATORS, check_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from pairtile._front.progress import Progress
    from pairtile._front.words import (
        BlockEstimator,
        Estimator,
        KernelName,
        Metric,
        NormalMethod,
        NullMethod,
    )


RELABELLED = ("permutation", "random")  # methods that exchange rows, or groups of them


def _method_of(method: str | None, estimator: str, n_bins: Any, **exchange: Any) -> str:
    """The method that is asked for, or that goes with the estimator; refused if they do not."""
    in_blocks = estimator in BLOCK_ESTIMATORS
    if method is None:
        method = "normal" if in_blocks else "permutation"
    scalars.choice("method", method, (*nulls.METHODS, "normal"))
    if in_blocks != (method == "normal"):
        raise ValueError(
            f"estimator={estimator!r} and method={method!r} do not go together: the estimators "
            "'linear' and 'block' have the method 'normal', and no others have"
        )
    if method not in RELABELLED:
        for name, given in exchange.items():
            if given is not None and given is not False:
                raise ValueError(f"{name}= needs method='permutation', got method={method!r}")
    if method != "cheap_permutation" and n_bins is not None:
        raise ValueError(f"n_bins needs method='cheap_permutation', got method={method!r}")
    return method


def _normal_test(
    x: ArrayLike, y: ArrayLike, kernel: Kernel, estimator: str, block_size: Any, **options: Any
) -> TestResult:
    """Of block values, in float64."""
    blocks = in_blocks(
        x, y, kernel,
        estimator=estimator, block_size=block_size, precision="float64", least=2, **options,
    )  # fmt: skip
    return TestResult(
        float(blocks.values.mean()),
        blocks.tail(),
        validate.like(x, y)(np.empty(0)),
        "normal",
        kernel=blocks.kernel,
        n=blocks.n,
        m=blocks.n,
    )


def _test(
    x: ArrayLike,
    y: ArrayLike,
    kernel: Kernel,
    *,
    named: bool,
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
    count = scalars.count("n_permutations", n_permutations)
    threads = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=threads, sample=True)
    n, m = len(a), len(b)
    check_sizes(estimator, n, m)
    triangle = (n + m) ** 2 // 2
    sizes = [triangle]  # of the backend calls to come
    if method in RELABELLED:
        if paired:
            strata = pairs_of_rows(n, m, groups=groups, strata=strata)
        exchange = Exchange(n, m, groups, strata)
    elif method == "wild_bootstrap":
        check_paired(n, m)
    elif method == "cheap_permutation":
        bins = nulls.check_bins(n_bins, n, m, estimator)
        sizes = [triangle // bins] * bins
    elif method == "gamma":
        sizes = [n * n // 2, m * m // 2, n * m]
    draws = scalars.generator(rng)
    given = kernel
    (a, b), kernel, unit = in_range(kernel, a, b)
    grown = 1.0
    if unit != 1 and isinstance(given, Energy):  # whose sums would leave float64 with it
        kernel = given
        with np.errstate(over="ignore", under="ignore"):
            grown = float(np.float64(unit) ** given.exponent)
    with reporting(progress, *median_sizes(kernel, n + m), *sizes) as reports:
        medians, reports = reports[: -len(sizes)], reports[-len(sizes) :]
        lengths = lengths_of(kernel, a, b, workers=threads, reports=medians)
        terms = kernel._terms(a.shape[1], lengths)
        line = univariate.on_a_line(kernel, a, b)
        samples = nulls.Samples(a, b, terms, estimator, threads, line)
        null = method
        if method in RELABELLED:
            planned = plan(exchange, count, method, draws)
            null = planned.null
            values, tolerance = nulls.permutation(samples, exchange, planned, *reports)
        elif method == "wild_bootstrap":
            values, tolerance = nulls.wild_bootstrap(samples, count, draws, *reports)
        elif method == "cheap_permutation":
            values, tolerance = nulls.cheap_permutation(samples, bins, count, draws, reports)
        elif method == "spectrum":
            values, tolerance = nulls.spectrum(samples, count, draws, *reports)
        else:
            statistic, p = nulls.gamma(samples, reports)
    text = text_of(given, lengths, unit) if named else None
    wrap = validate.like(x, y)
    if method == "gamma":
        statistic = not_below_zero(statistic, estimator, kernel) * grown
        return TestResult(statistic, p, wrap(np.empty(0)), method, kernel=text, n=n, m=m)
    shown = not_below_zero(values, estimator, kernel)
    if grown != 1:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            shown = np.where(shown == 0, 0.0, shown * grown)
    return concluded(
        shown,
        at_least(values, tolerance),
        null,
        wrap=wrap,
        kernel=text,
        n=n,
        m=m,
    )


def check_paired(n: int, m: int) -> None:
    """Raise unless the rows of two samples can be paired."""
    if n != m:
        raise ValueError(
            f"the wild bootstrap pairs row i of x with row i of y, so both need the same number "
            f"of rows; x has {n} and y has {m}. method='permutation' does without"
        )


def mmd_test(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel | KernelName = "gaussian",
    n_permutations: int = 999,
    estimator: Estimator | BlockEstimator = "unbiased",
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    paired: bool = False,
    rng: Any = None,
    method: NullMethod | NormalMethod | None = None,
    n_bins: int | None = None,
    block_size: int | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> TestResult:
    r"""Test of equal distributions by the squared MMD.

    By default a permutation test: the labels of the pooled sample (rows of x, then rows of y) are
    redrawn `n_permutations` times, ``rng.permutation(n + m)[:n]`` being the rows called x; or,
    where there are no more relabellings than that, all of them are looked at. The p-value is
    one-tailed.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Reference sample and new sample; real numbers. 1-D is one feature; columns of frames go
        together by name.
    kernel : Kernel or str, default "gaussian"
        As in `mmd`. "median" is taken once, on the pooled sample, so relabelling leaves it.
    n_permutations : int, default 999
        B, at least 1: relabellings, draws of signs, or draws from the limit distribution.
        If there are at most B distinct relabellings (:math:`\binom{n+m}{n}` of single rows), a
        permutation test is exact: it takes each of them once, and the seed does not matter.
    estimator : {"unbiased", "biased", "linear", "block"}
        As in `mmd`. The last two are for samples too large for all pairs: their null is "normal".
    groups : array_like of shape (n + m,), integers or strings, optional
        Rows of one group, all in the same sample, are exchanged whole: the rows of a patient,
        say. Groups take the place of rows in the draw, in the order in which they first appear,
        so that samples of groups of unequal size vary in their number of rows; an exact test takes
        every assignment of whole groups that gives x its n rows.
    strata : array_like of shape (n + m,), integers or strings, optional
        Rows (or groups) are exchanged within their stratum only; strata are drawn one after
        the other, in the order in which they first appear. If no stratum has rows of both samples,
        there is nothing to exchange: p is 1, and a UserWarning names some of them.
    paired : bool, default False
        Row i of x and row i of y belong together, a before and an after: in a relabelling the two
        change places or do not. The same as strata of the pairs; :math:`2^n` relabellings.
    rng : int, numpy.random.Generator or None
        One seed gives one null distribution on every backend.
    method : {"permutation", "random", "wild_bootstrap", "cheap_permutation", "gamma", \
            "spectrum", "normal"}, optional
        The null distribution; all but the first two take neither groups nor strata nor pairs. None
        is "normal" for the estimators "linear" and "block", "permutation" for the others.

        "random": as "permutation", but relabellings are drawn where all could be looked at, too.

        "wild_bootstrap": needs n = m. Row i of x is paired with row i of y, and the two change
        places at random: :math:`\sum \varepsilon_i \varepsilon_j h_{ij}` with
        :math:`h_{ij} = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(y_i, x_j)` and random signs.
        A quarter of the work of permutations. "unbiased" sums over i ≠ j and divides by
        n(n − 1), so k(x_i, y_i) is left out and the statistic differs from `mmd` by O(1/n);
        "biased" sums over all pairs.

        "cheap_permutation": exchanges `n_bins` bins of consecutive rows; exact if all have the
        same size, and then as valid as a permutation test, with a little less power. Bins of x
        that are larger than those of y on average, or smaller, make p too small or too large.

        "gamma": no resampling; the gamma distribution with the first two moments that the biased
        statistic has under the null: mean :math:`(1/n + 1/m)(\bar k_{ii} - \bar k_{i \ne j})`
        and variance :math:`2 (1/n + 1/m)^2\, \hat E\tilde k^2`, of the centred kernel
        :math:`\tilde k` and estimated without bias from the pooled sample. An approximation,
        worst where a few small p-values matter: at the levels 1, 5 and 10 % it rejected 1.7, 6.9
        and 12.0 % of 1000 pairs of normal samples of 200 rows. Where tails are heavy and sizes
        unequal it is no test at small levels: `energy_test` of 20 and 200 Cauchy numbers
        rejected 8.1, 12.0 and 14.5 %, of log-normal ones (σ = 2) 4.5, 8.4 and 11.7 %. The other
        methods, "permutation" first of all, do not have that.

        "spectrum": `n_permutations` draws of :math:`(1/n + 1/m) \sum_l \lambda_l z_l^2`, the
        limit under the null, λ being the eigenvalues of the centred Gram matrix of 512 pooled
        rows drawn by `rng` (of all, if there are fewer), divided by their number. The diagonal
        of that matrix makes the limit a little too wide, so it errs towards a large p.

        "normal": of "linear" and "block" only. The values of blocks are independent, so that their
        mean over its standard error is about standard normal under the null; one-sided. It takes
        blocks enough: at the levels 1, 5 and 10 % it rejected 1.1, 5.0 and 9.5 % of 2000 pairs of
        normal samples of 1000 rows by "linear", 0.5, 3.9 and 8.7 % of 400 rows by 20 blocks of 20,
        but 8.2, 10.2 and 12.4 % where there were two blocks.
    n_bins : int, optional
        Of "cheap_permutation"; bins are shared out to x and y in proportion to their rows. By
        default 64, or as many more as let those of x be as large as those of y; one per row if x
        and y together have no more than 64; ValueError if that takes more than 4096 bins.
    block_size : int, optional
        Of the estimator "block", as in `mmd`.
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    TestResult
        ``(statistic, pvalue, null_distribution)``, and by name what else there is to know. The
        p-value is ``(1 + #{T_b ≥ T_0 − τ}) / (1 + B)``, or the share of all relabellings with
        ``T ≥ T_0 − τ`` if the null is "exact", with
        :math:`\tau = 2^{-40}(|\hat E_{xx}| + |\hat E_{yy}| + 2|\hat E_{xy}|)`, or
        :math:`2^{-44}` of the mean of k(z, z) if larger, so that relabellings that tie in
        theory tie here; for "wild_bootstrap" and "spectrum" τ is :math:`2^{-38}` of the mean of
        |k| over 64 rows (and 4/n of what h is rounded to). With "gamma" and "normal" it is the
        tail of the distribution, and `null_distribution` is empty.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, as in `mmd`; besides, if `n_permutations` is below 1,
        a group has rows in both samples or in two strata, a relabelling by groups or bins leaves
        a sample with too few rows, estimator and method do not go together, there is one block
        only, or n ≠ m for pairs, blocks and the wild bootstrap.

    Notes
    -----
    All in float64, but for the wild bootstrap of more than 511 pairs of rows none of which is
    float64: there every :math:`h_{ij}` is rounded to a multiple of one number, :math:`2^{-22}` of
    the mean of :math:`|h|` over 64 pairs, and then summed exactly. The p-value is that of a kernel
    with such values, and as valid; statistics move by about :math:`10^{-7}` of the standard
    deviation of the null distribution. A sum of kernels of distances and of dot products is left
    as it is. On a GPU with tensor cores other values are multiples of a step of at most
    :math:`2^{-46}` of their mean size, and summed exactly.

    One sweep for all relabellings: O((n + m)² (d + B)) operations; memory
    O((n + m) B / 8) bytes for the labels, never n x m. "cheap_permutation" takes
    O((n + m)² d + B s²) for s bins, "gamma" and "spectrum" O((n + m)² d), "normal" O(n B d) for
    blocks of B rows, in memory O(n).

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> x, y = np.random.default_rng(0).normal(size=(2, 100, 3)) + [[[0.0]], [[1.0]]]
    >>> result = pt.mmd_test(x, y, method="wild_bootstrap", rng=0)
    >>> result.null, result.pvalue
    ('wild_bootstrap', 0.001)

    References
    ----------
    Gretton et al., "A Kernel Two-Sample Test", JMLR 13 (2012). Phipson and Smyth, "Permutation
    p-values should never be zero", Statistical Applications in Genetics 9 (2010). Fromont et al.,
    "Kernels based tests with non-asymptotic bootstrap approaches for two-sample problems", COLT
    (2012). Domingo-Enrich, Dwivedi and Mackey, "Cheap Permutation Testing" (2023). Gretton et
    al., "A fast, consistent kernel two-sample test", NIPS (2009).
    """
    chosen = as_kernel(kernel)
    scalars.choice("estimator", estimator, (*ESTIMATORS, *BLOCK_ESTIMATORS))
    check_block_size(block_size, estimator)
    null = _method_of(method, estimator, n_bins, groups=groups, strata=strata, paired=paired)
    if null == "normal":
        return _normal_test(
            x,
            y,
            chosen,
            estimator,
            block_size,
            workers=workers,
            check_finite=check_finite,
            progress=progress,
        )
    return _test(
        x,
        y,
        chosen,
        named=True,
        n_permutations=n_permutations,
        estimator=estimator,
        method=null,
        n_bins=n_bins,
        groups=groups,
        strata=strata,
        paired=paired,
        rng=rng,
        workers=workers,
        check_finite=check_finite,
        progress=progress,
    )


def energy_test(
    x: ArrayLike,
    y: ArrayLike,
    *,
    exponent: float = 1.0,
    metric: Metric = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    n_permutations: int = 999,
    estimator: Estimator = "biased",
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    paired: bool = False,
    rng: Any = None,
    method: NullMethod | None = None,
    n_bins: int | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> TestResult:
    """Test of equal distributions by the energy distance.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Reference sample and new sample; real numbers. 1-D is one feature; columns of frames go
        together by name.
    exponent : float, default 1
        Of the distance, in (0, 2].
    metric, metric_params
        As in `knn`: any metric that is a distance, with the methods "permutation", "random" and
        "cheap_permutation". The ranges of gower are those of both samples together. Where the
        metric to the power `exponent` is not of negative type, equal distributions need not have
        the least statistic, which may be negative; p-values are as valid.
    n_permutations, groups, strata, paired, rng, method, n_bins
        As in `mmd_test`, the kernel being −d^exponent; the method "normal" is not for it.
    estimator : {"biased", "unbiased"}
        As in `energy_distance`.
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    TestResult
        As from `mmd_test`; the statistic is the squared energy distance.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, as in `mmd_test`; besides, an exponent outside (0, 2].

    Notes
    -----
    As for `mmd_test`: O((n + m)² (d + B)) operations; memory O((n + m) B / 8) bytes, never n x m.
    By permutation, single columns with exponent 1 take O((n + m) (log(n + m) + B)): each
    relabelling is a cumulative sum over the sorted pooled sample. With another metric the
    distances are those of `pairwise_distances`, a strip of 16 MB at a time.

    References
    ----------
    Székely and Rizzo, "Testing for equal distributions in high dimension", InterStat 5 (2004).
    """
    kernel = Energy(exponent)
    scalars.choice("estimator", estimator, ESTIMATORS)
    by = check_distance(metric, metric_params)
    options: dict[str, Any] = {
        "n_permutations": n_permutations,
        "estimator": estimator,
        "method": _method_of(
            method, estimator, n_bins, groups=groups, strata=strata, paired=paired
        ),
        "n_bins": n_bins,
        "groups": groups,
        "strata": strata,
        "paired": paired,
        "rng": rng,
        "workers": workers,
        "check_finite": check_finite,
        "progress": progress,
    }
    if by != "euclidean":
        return distance_test(x, y, by, metric_params, exponent, **options)
    return _test(x, y, kernel, named=False, **options)
