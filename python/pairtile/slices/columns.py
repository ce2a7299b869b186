"""How two tables differ column by column, all of it off one sort of each column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._backends.rows import steps_of
from pairtile._front import frames, scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile.slices import kolmogorov

if TYPE_CHECKING:
    from collections.abc import Iterable

_LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
_AT_ONCE = 1 << 25  # numbers of two frames that are read together


class _ColumnStatistics(NamedTuple):
    names: list[str]
    w1: Any
    w2: Any
    ks: Any
    ks_pvalue: Any
    energy: Any
    cvm: Any
    crps: Any
    quantile_difference: Any


class ColumnStatistics(Result, _ColumnStatistics):
    """How the distributions F of x and G of y differ in each of d columns.

    Attributes
    ----------
    names : list of str
        Those of the columns of a frame, else x0, x1, ….
    w1 : (d,) array
        1-Wasserstein distance ∫ |F − G| dt.
    w2 : (d,) array
        2-Wasserstein distance, root taken.
    ks : (d,) array
        Kolmogorov–Smirnov statistic, the largest |F − G|.
    ks_pvalue : (d,) array
        Its p-value, by the law of one sample of round(nm/(n + m)) values.
    energy : (d,) array
        Energy distance 2E|X − Y| − E|X − X'| − E|Y − Y'| = 2 ∫ (F − G)² dt, no root taken.
    cvm : (d,) array
        Cramér–von Mises distance ∫ (F − G)² dH, H being the distribution of both samples together.
    crps : (d,) array
        ∫ (F − G)² dt: half of `energy`, and of one value y its continuous ranked probability score.
    quantile_difference : (d, 5) array
        Quantiles of y less those of x at levels 0.05, 0.25, 0.5, 0.75 and 0.95.
    """


def column_statistics(
    x: Any,
    y: Any,
    *,
    workers: int | None = None,
    check_finite: bool = True,
    memory_limit: int | str | None = None,
    progress: Any = False,
) -> ColumnStatistics:
    r"""Distances of two samples in each column: Wasserstein, Kolmogorov, energy, quantiles.

    .. math:: W_1 = \int |F - G| \, dt, \quad \mathrm{KS} = \max |F - G|, \quad
        E = 2 \int (F - G)^2 \, dt, \quad \mathrm{CvM} = \int (F - G)^2 \, dH

    of the distribution functions F of a column of x, G of that of y, and H of both together. Each
    column is sorted once, and one walk over both sorted samples gives all of them.

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d), or (n,) and (m,)
        The samples, of any sizes; frames by the names of their columns. 1-D is one column. Memory
        maps, and arrays of h5py, zarr and dask, are read block by block, with the same result.
    workers, check_finite, memory_limit, progress
        As everywhere, see `sliced_wasserstein`; progress counts columns. Samples that are not in
        memory are read once for as many columns as the limit holds.

    Returns
    -------
    ColumnStatistics
        ``(names, w1, w2, ks, ks_pvalue, energy, cvm, crps, quantile_difference)``, arrays of
        float64 with an entry for each column.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, empty or not finite; for different columns.

    Notes
    -----
    Quantiles are NumPy's (`np.quantile`, linear between two values). `ks_pvalue` is that of
    `scipy.stats.ks_2samp` with ``method="asymp"``. `cvm` is the statistic of
    `scipy.stats.cramervonmises_2samp` without the factor nm/(n + m), as long as no value is in both
    samples; where some are, F and G are taken behind each value, and SciPy takes mean ranks, which
    do not find samples of different sizes equal.

    O(d N log N) time for N = n + m. Eight columns are in work at a time, or more as long as these
    need less than 40 MB; frames are converted a few columns at a time.

    References
    ----------
    Ramdas, García Trillos and Cuturi, On Wasserstein two-sample testing and related families of
    nonparametric tests (2017). Anderson, On the distribution of the two-sample Cramér–von Mises
    criterion (1962).

    Examples
    --------
    >>> import pairtile as pt
    >>> found = pt.column_statistics([[0.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [2.0, 5.0]])
    >>> found.names, found.w1.tolist(), found.ks.tolist()
    (['x0', 'x1'], [1.0, 2.0], [0.5, 0.5])
    >>> found.quantile_difference[:, 2].tolist()
    [1.0, 2.0]
    """
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    checks = {"check_finite": check_finite, "workers": workers, "sample": True}
    names, sizes, pairs = _tables(x, y, checks) or _arrays(x, y, checks)
    found, n, m = [], 0, 0
    with reporting(progress, *sizes) as reports:
        for (a, b), report in zip(pairs, reports, strict=True):
            a, b = validate.streamed("x", a, "y", b, limit)
            n, m = len(a), len(b)
            backend = choose.module(a, b)
            found.append(
                backend.column_statistics(
                    a, b, _LEVELS, workers=workers, progress=report, memory_limit=limit
                )
            )
    w1, w2, ks, energy, cvm, quantiles = (np.concatenate(one) for one in zip(*found, strict=True))
    effective = round(n * m / (n + m))
    pvalues = np.array([kolmogorov.one_sample(effective, float(distance)) for distance in ks])
    to_user = validate.like(x, y)
    return ColumnStatistics(
        names,
        *map(to_user, (w1, w2, ks, pvalues.clip(0, 1), energy, cvm, energy / 2, quantiles)),
    )


def _arrays(x: Any, y: Any, checks: dict[str, Any]) -> tuple[list[str], list[int], Iterable[Any]]:
    """Names of the columns, how many steps they take, and the one pair that they are in."""
    framed = next((s for s in (x, y) if frames.is_frame(s) or frames.is_series(s)), None)
    a, b = validate.pair("x", x, "y", y, blocks=True, sparse=False, **checks)
    d = a.shape[1]
    names = [f"x{j}" for j in range(d)] if framed is None else frames.names("x", framed)
    return names, [d * steps_of(a, b)], [(a, b)]


def _tables(
    x: Any, y: Any, checks: dict[str, Any]
) -> tuple[list[str], list[int], Iterable[Any]] | None:
    """The same of two frames with the same names, in pairs of some columns, made one by one."""
    if not (frames.is_frame(x) and frames.is_frame(y)):
        return None
    names = frames.names("x", x)
    if not names or set(names) != set(frames.names("y", y)):
        return None
    for argument, frame in (("x", x), ("y", y)):
        frames.require_numbers(
            argument, (frames.read(argument, frame, [name]).columns[0] for name in names)
        )
    at_once = max(checks["workers"], _AT_ONCE // max(1, len(x) + len(y)))
    parts = [names[i : i + at_once] for i in range(0, len(names), at_once)]
    pairs = (
        validate.pair("x", frames.read("x", x, part), "y", frames.read("y", y, part), **checks)
        for part in parts
    )
    return names, [len(part) for part in parts], pairs
