"""Do two samples come from one distribution: MMD and energy distance, and their tests.

Three kernel sums make the statistic; a test needs one sweep for all its relabellings together,
because each is a 0/1 column V_b and its three sums follow from V_b'KV_b and V_b'K1.

    x, y -> kernel terms -> kernel_total x 3 -> statistic
    x, y -> relabellings as packed bits -> kernel_label_sums -> statistics -> p-value
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile import _arrays, _backend
from pairtile._progress import reporting
from pairtile.kernels import (
    Energy,
    Kernel,
    as_kernel,
    diagonal,
    joint_precision,
    median_sizes,
    resolve,
)

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import ArrayLike, NDArray

    from pairtile._progress import Progress, Report
    from pairtile.kernels import Term

    Floats = NDArray[np.float64]

ESTIMATORS = ("unbiased", "biased")


class TestResult(NamedTuple):
    """Outcome of a permutation test.

    Attributes
    ----------
    statistic : float
        Of the samples as they were given.
    pvalue : float
        (1 + #{T_b ≥ T_0 − τ}) / (1 + B): one-tailed, never 0.
    null_distribution : ndarray of shape (B,), float64
        The statistic of each random relabelling, the observed one excluded.
    """

    statistic: float
    pvalue: float
    null_distribution: NDArray[np.float64]


TestResult.__test__ = False  # type: ignore[attr-defined]  # pytest goes by the name and collects it


def _check_sizes(estimator: str, n: int, m: int) -> None:
    for name, rows in (("x", n), ("y", m)):
        if estimator == "unbiased" and rows < 2:
            raise ValueError(
                f"{name} has {rows} row and the unbiased estimator needs at least 2; "
                "estimator='biased' does without"
            )


def _mean_within(
    module: ModuleType,
    name: str,
    x: NDArray[Any],
    w: Floats | None,
    terms: list[Term],
    *,
    estimator: str,
    **options: Any,
) -> float:
    """Estimate of E k(X, X'); w sums to 1."""
    total: float = module.kernel_total(x, None, terms, w, None, **options)
    n = len(x)
    if estimator == "biased":
        own = diagonal(x, terms)
        return (total + float(own.sum())) / n**2 if w is None else total + float((w * w) @ own)
    if w is None:
        return total / (n * (n - 1))
    pairs = 1 - math.fsum(w * w)
    if abs(pairs) < 2.0**-48:
        raise ValueError(
            f"{name}_weights leave the unbiased estimator no pair: (Σw)² − Σw² is 0; "
            "estimator='biased' does without"
        )
    return total / pairs


def _statistic(
    x: ArrayLike,
    y: ArrayLike,
    kernel: Kernel,
    *,
    estimator: str,
    x_weights: ArrayLike | None,
    y_weights: ArrayLike | None,
    signed: bool,
    squared: bool,
    precision: str,
    workers: int | None,
    check_finite: bool,
    progress: Progress,
) -> float:
    _arrays.choice("estimator", estimator, ESTIMATORS)
    _arrays.choice("precision", precision, _arrays.PRECISIONS)
    threads = _arrays.resolve_workers(workers)
    a, b = _arrays.pair("x", x, "y", y, check_finite=check_finite, workers=threads)
    n, m = len(a), len(b)
    _check_sizes(estimator, n, m)
    v = _arrays.unit_weights("x_weights", x_weights, n, signed=signed)
    w = _arrays.unit_weights("y_weights", y_weights, m, signed=signed)
    module = _backend.module(a, b)
    options: dict[str, Any] = {
        "precision": joint_precision(precision, a, b),
        "workers": threads,
    }
    sizes = (*median_sizes(kernel, n + m), n * n // 2, m * m // 2, n * m)
    with reporting(progress, *sizes) as (*medians, of_x, of_y, of_both):
        terms = resolve(kernel, a, b, workers=threads, reports=medians)
        xx = _mean_within(module, "x", a, v, terms, estimator=estimator, progress=of_x, **options)
        yy = _mean_within(module, "y", b, w, terms, estimator=estimator, progress=of_y, **options)
        xy = module.kernel_total(a, b, terms, v, w, progress=of_both, **options)
    xy /= (n if v is None else 1) * (m if w is None else 1)
    value = float(xx + yy - 2 * xy)
    return value if squared else math.sqrt(max(value, 0.0))


def mmd(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel | str = "gaussian",
    estimator: str = "unbiased",
    x_weights: ArrayLike | None = None,
    y_weights: ArrayLike | None = None,
    squared: bool = True,
    precision: str = "default",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> float:
    r"""Squared maximum mean discrepancy of two samples.

    .. math:: \mathrm{MMD}^2 = \hat E\,k(X, X') + \hat E\,k(Y, Y') - 2\,\hat E\,k(X, Y)

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Reference sample and new sample; real numbers.
    kernel : Kernel or str, default "gaussian"
        A kernel, a weighted sum of kernels, or a name: "gaussian" and "laplace" (bandwidth: the
        median distance of the pooled sample), "polynomial", "linear", "cosine", "energy".
    estimator : {"unbiased", "biased"}
        "unbiased" leaves the pairs i = i out of both within-sample means, and can be negative;
        "biased" keeps them.
    x_weights, y_weights : array_like of shape (n,) and (m,), optional
        Finite, of any sign, divided by their sum. The unbiased within-sample mean is then
        :math:`\sum_{i \ne j} w_i w_j k_{ij} / ((\sum w)^2 - \sum w^2)`.
    squared : bool, default True
        False returns the root of max(MMD², 0).
    precision : {"default", "float64", "fast"}
        "default" computes kernel values in float32 (float64 as soon as one input is float64),
        adds in float64, and recomputes tiles whose error bound exceeds 2e-6; "float64" computes
        everything in float64; "fast" recomputes nothing.
    workers : int, optional
        Threads. None is the setting of `set_num_threads`, -1 all allowed cores. The result has
        the same bits for any number.
    check_finite : bool, default True
        False skips the search for NaN and Inf.
    progress : bool or callable, default False
        True for a bar on standard error if that is a terminal, or a callable(done, total).

    Returns
    -------
    float
        MMD², without any factor nm/(n+m).

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable: unequal numbers of columns, a sample of one row with
        the unbiased estimator, weights that sum to zero, a median distance of zero, NaN or Inf.

    Notes
    -----
    O((n + m)² d) operations; memory O(n + m) beside the inputs, never n x m.

    References
    ----------
    Gretton et al., "A Kernel Two-Sample Test", JMLR 13 (2012), equations 3 and 5.
    """
    return _statistic(
        x,
        y,
        as_kernel(kernel),
        estimator=estimator,
        x_weights=x_weights,
        y_weights=y_weights,
        signed=True,
        squared=squared,
        precision=precision,
        workers=workers,
        check_finite=check_finite,
        progress=progress,
    )


def energy_distance(
    x: ArrayLike,
    y: ArrayLike,
    *,
    exponent: float = 1.0,
    estimator: str = "biased",
    x_weights: ArrayLike | None = None,
    y_weights: ArrayLike | None = None,
    squared: bool = True,
    precision: str = "default",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> float:
    r"""Energy distance of two samples: the squared MMD of the kernel :math:`-d^\alpha`.

    .. math:: 2\,\hat E\|X - Y\|^\alpha - \hat E\|X - X'\|^\alpha - \hat E\|Y - Y'\|^\alpha

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Reference sample and new sample; real numbers.
    exponent : float, default 1
        α in (0, 2]. At 2 it only compares means.
    estimator : {"biased", "unbiased"}
        Whether the zero distances of rows to themselves count in the within-sample means.
    x_weights, y_weights : array_like of shape (n,) and (m,), optional
        Finite, not negative, divided by their sum.
    squared : bool, default True
        False returns the root of max(·, 0), as `scipy.stats.energy_distance` does.
    precision, workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    float
        In the unit of the data to the power α; no factor nm/(n+m).

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, as in `mmd`; besides, a negative weight or an exponent
        outside (0, 2].

    Notes
    -----
    O((n + m)² d) operations; memory O(n + m) beside the inputs, never n x m.

    References
    ----------
    Székely and Rizzo, "Energy statistics: a class of statistics based on distances", Journal of
    Statistical Planning and Inference 143 (2013).
    """
    return _statistic(
        x,
        y,
        Energy(exponent),
        estimator=estimator,
        x_weights=x_weights,
        y_weights=y_weights,
        signed=False,
        squared=squared,
        precision=precision,
        workers=workers,
        check_finite=check_finite,
        progress=progress,
    )


def _by_appearance(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Labels as 0, 1, 2, ... in the order in which they first appear."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[codes]


def _relabellings(
    n: int, m: int, count: int, groups: Any, strata: Any, rng: Any
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Packed bits of the observed labelling and `count` random ones, and rows labelled x in each.

    What is exchanged are units: rows, or groups of rows. With strata, each stratum's units are
    exchanged among themselves.
    """
    rows = n + m
    unit = np.arange(rows)
    if groups is not None:
        unit = _by_appearance(_arrays.labels("groups", groups, "x and y together", rows))
    first = np.unique(unit, return_index=True)[1]
    is_x = first < n
    mixed = np.flatnonzero(is_x[unit] != (np.arange(rows) < n))
    if mixed.size:
        raise ValueError(
            f"groups are exchanged whole, but the group of row {mixed[0] - n} of y also has "
            f"rows in x: row {first[unit[mixed[0]]]}"
        )
    stratum = np.zeros(len(first), dtype=np.int64)
    if strata is not None:
        of_row = _by_appearance(_arrays.labels("strata", strata, "x and y together", rows))
        stratum = of_row[first]
        split = np.flatnonzero(of_row != stratum[unit])
        if split.size:
            raise ValueError(
                f"groups are exchanged within strata, but pooled rows {first[unit[split[0]]]} "
                f"and {split[0]} share a group and not a stratum"
            )
    strata_units = [np.flatnonzero(stratum == s) for s in range(int(stratum.max()) + 1)]
    strata_sizes = [int(is_x[units].sum()) for units in strata_units]

    labels = np.zeros((rows, (count + 8) // 8), dtype=np.uint8)
    sizes = np.empty(count + 1, dtype=np.int64)
    for b in range(count + 1):
        if b > 0:
            is_x = np.zeros(len(first), dtype=np.bool_)
            for units, size in zip(strata_units, strata_sizes, strict=True):
                is_x[units[rng.permutation(len(units))[:size]]] = True
        column = is_x[unit]
        sizes[b] = column.sum()
        labels[:, b // 8] |= column.astype(np.uint8) << (b % 8)
    return labels, sizes


def _own_sums(labels: NDArray[np.uint8], n_labels: int, own: Floats) -> Floats:
    """Sum of k(z_i, z_i) over the rows labelled x, for each labelling."""
    sums = np.zeros(n_labels)
    step = max(1, (1 << 21) // n_labels)
    for start in range(0, len(own), step):
        rows = slice(start, start + step)
        bits = np.unpackbits(labels[rows], axis=1, count=n_labels, bitorder="little")
        sums += own[rows] @ bits.astype(np.float64)
    return sums


def _test(
    x: ArrayLike,
    y: ArrayLike,
    kernel: Kernel,
    *,
    n_permutations: int,
    estimator: str,
    groups: ArrayLike | None,
    strata: ArrayLike | None,
    rng: Any,
    workers: int | None,
    check_finite: bool,
    progress: Progress,
) -> TestResult:
    _arrays.choice("estimator", estimator, ESTIMATORS)
    count = _arrays.count("n_permutations", n_permutations)
    threads = _arrays.resolve_workers(workers)
    a, b = _arrays.pair("x", x, "y", y, check_finite=check_finite, workers=threads)
    n, m = len(a), len(b)
    _check_sizes(estimator, n, m)
    labels, x_sizes = _relabellings(n, m, count, groups, strata, _arrays.generator(rng))
    y_sizes = n + m - x_sizes
    # What is not labelled comes out as a difference, which would cancel for a small sample.
    y_labelled = m < n
    if y_labelled:
        labels = ~labels
    least = min(x_sizes.min(), y_sizes.min())
    if least < (2 if estimator == "unbiased" else 1):
        raise ValueError(
            f"exchanging whole groups leaves a sample with {least} rows, too few for the "
            f"{estimator} estimator"
        )

    def listen(sweep: Report | None) -> dict[str, Any]:
        return {"n_labels": count + 1, "workers": threads, "progress": sweep}

    with reporting(progress, *median_sizes(kernel, n + m), (n + m) ** 2 // 2) as (*medians, sweep):
        terms = resolve(kernel, a, b, workers=threads, reports=medians)
        within, row, total = _backend.module(a, b).kernel_label_sums(
            a, b, labels, terms, **listen(sweep)
        )
    own = np.concatenate([diagonal(a, terms), diagonal(b, terms)])
    labelled, xy, other = within, row - within, total - 2 * row + within
    if estimator == "biased":
        own_labelled = _own_sums(labels, count + 1, own)
        labelled, other = labelled + own_labelled, other + (own.sum() - own_labelled)
    xx, yy = (other, labelled) if y_labelled else (labelled, other)
    if estimator == "biased":
        xx, yy = xx / x_sizes**2, yy / y_sizes**2
    else:
        xx, yy = xx / (x_sizes * (x_sizes - 1)), yy / (y_sizes * (y_sizes - 1))
    xy = xy / (x_sizes * y_sizes)
    statistic = xx + yy - 2 * xy
    # Relabellings that tie in theory differ by rounding; within this they count as ties. Where
    # kernel values of both signs cancel, the diagonal tells how large those are that were added.
    tolerance = 2.0**-40 * (abs(xx[0]) + abs(yy[0]) + 2 * abs(xy[0]))
    tolerance = max(tolerance, 2.0**-44 * float(np.abs(own).mean()))
    null = statistic[1:].copy()
    below = int(np.count_nonzero(null < statistic[0] - tolerance))
    return TestResult(
        float(statistic[0]),
        (1 + count - below) / (1 + count),
        _arrays.like(x, y)(null),
    )


def mmd_test(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel | str = "gaussian",
    n_permutations: int = 999,
    estimator: str = "unbiased",
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    rng: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> TestResult:
    r"""Permutation test of equal distributions by the squared MMD.

    The labels of the pooled sample (rows of x, then rows of y) are redrawn `n_permutations`
    times, ``rng.permutation(n + m)[:n]`` being the rows called x; the p-value is one-tailed.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Reference sample and new sample; real numbers.
    kernel : Kernel or str, default "gaussian"
        As in `mmd`. "median" is taken once, on the pooled sample, so relabelling leaves it.
    n_permutations : int, default 999
        B, at least 1.
    estimator : {"unbiased", "biased"}
        As in `mmd`.
    groups : array_like of shape (n + m,), integers or strings, optional
        Rows of one group, all in the same sample, are exchanged whole: the rows of a patient,
        say. Groups take the place of rows in the draw, in the order in which they first appear.
    strata : array_like of shape (n + m,), integers or strings, optional
        Rows (or groups) are exchanged within their stratum only; strata are drawn one after
        the other, in the order in which they first appear.
    rng : int, numpy.random.Generator or None
        One seed gives one null distribution on every backend.
    workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    TestResult
        ``(statistic, pvalue, null_distribution)``; ``(1 + #{T_b ≥ T_0 − τ}) / (1 + B)`` with
        :math:`\tau = 2^{-40}(|\hat E_{xx}| + |\hat E_{yy}| + 2|\hat E_{xy}|)`, or
        :math:`2^{-44}` of the mean of k(z, z) if larger, so that relabellings that tie in
        theory tie here.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, as in `mmd`; besides, if `n_permutations` is below 1,
        a group has rows in both samples or in two strata, or a relabelling by groups leaves a
        sample with too few rows.

    Notes
    -----
    One sweep in float64 for all relabellings: O((n + m)² (d + B)) operations; memory
    O((n + m) B / 8) bytes for the labels, never n x m.

    References
    ----------
    Gretton et al., "A Kernel Two-Sample Test", JMLR 13 (2012). Phipson and Smyth, "Permutation
    p-values should never be zero", Statistical Applications in Genetics 9 (2010).
    """
    return _test(
        x,
        y,
        as_kernel(kernel),
        n_permutations=n_permutations,
        estimator=estimator,
        groups=groups,
        strata=strata,
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
    n_permutations: int = 999,
    estimator: str = "biased",
    groups: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    rng: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> TestResult:
    """Permutation test of equal distributions by the energy distance.

    Parameters
    ----------
    x, y : array_like of shape (n, d) and (m, d)
        Reference sample and new sample; real numbers.
    exponent : float, default 1
        Of the distance, in (0, 2].
    n_permutations, groups, strata, rng
        As in `mmd_test`.
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
    O((n + m)² (d + B)) operations; memory O((n + m) B / 8) bytes, never n x m.

    References
    ----------
    Székely and Rizzo, "Testing for equal distributions in high dimension", InterStat 5 (2004).
    """
    return _test(
        x,
        y,
        Energy(exponent),
        n_permutations=n_permutations,
        estimator=estimator,
        groups=groups,
        strata=strata,
        rng=rng,
        workers=workers,
        check_finite=check_finite,
        progress=progress,
    )
