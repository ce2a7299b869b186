"""Permutation tests of MMD and energy distance.

One sweep serves all relabellings together, because each is a 0/1 column V_b and its three sums
follow from V_b'KV_b and V_b'K1.

    x, y -> relabellings as packed bits -> kernel_label_sums -> statistics -> p-value
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile import _arrays, _backend, _line
from pairtile._progress import reporting
from pairtile.kernels import Energy, Kernel, as_kernel, diagonal, median_sizes, resolve
from pairtile.two_sample import ESTIMATORS, check_sizes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pairtile._progress import Progress, Report

    Floats = NDArray[np.float64]


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
    check_sizes(estimator, n, m)
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
        if _line.on_a_line(kernel, a, b):
            within, row, total = _line.label_sums(a, b, labels, n_labels=count + 1, progress=sweep)
        else:
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
    O((n + m)² (d + B)) operations; memory O((n + m) B / 8) bytes, never n x m. Single columns with
    exponent 1 take O((n + m) (log(n + m) + B)): each relabelling is a cumulative sum over the
    sorted pooled sample.

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
