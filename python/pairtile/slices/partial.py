"""Transport of a part of the mass on a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.slices.line import wasserstein_1d

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LOST = 2.0**-300  # p-th powers below which those of nearer points may be nothing


def partial_wasserstein_1d(
    x: Any,
    y: Any,
    mass: float,
    *,
    p: float = 1,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> Any:
    r"""Wasserstein distance on a line where a share of the mass moves and the rest may stay.

    .. math:: \Bigl(\min_π \sum_{ij} π_{ij} |x_i - y_j|^p\Bigr)^{1/p}, \quad π \ge 0,\;
        \sum_j π_{ij} \le \tfrac1n,\; \sum_i π_{ij} \le \tfrac1m,\; \sum_{ij} π_{ij} = \mathrm{mass}

    exactly: which points move is found along the path of all cheapest plans from no mass on.

    Parameters
    ----------
    x, y : array_like, shapes (n,) and (m,), or (n, d) and (m, d)
        The samples, of any sizes; each weighs 1 and its points weigh the same. Each column of 2-D
        input is a problem of its own.
    mass : float
        The share that moves, above 0 and at most 1; n·mass need not be a whole number.
    p : float, default 1
        Order of the distance, at least 1 and finite.
    workers, check_finite, progress
        As everywhere, see `sliced_wasserstein`; progress counts columns.

    Returns
    -------
    float, or array of float64, shape (d,)
        The root of the least cost: one number for 1-D input, one per column for 2-D input. The
        cost is not divided by `mass`. With a mass of 1 it is `wasserstein_1d`.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, empty, not finite, or of different numbers of
        columns; for a mass outside of (0, 1]; for p < 1 or infinite.

    Notes
    -----
    O(N log² N) time with p = 1 and n = m, for N = n + m. With other orders a point that is added
    costs as many steps as the run of moving points around it has of the sample with fewer there:
    few where the samples lie among each other, up to min(n, m) where they lie apart. With n ≠ m a
    point is added in parts, at most as many as such a run has points. O(N) memory.

    References
    ----------
    Chapel and Tavenard, One for all and all for one: efficient computation of partial Wasserstein
    distances on the line (2025).

    Examples
    --------
    >>> import pairtile as pt
    >>> pt.partial_wasserstein_1d([0.0, 1.0, 2.0, 100.0], [0.5, 1.5, 2.0, -50.0], 0.75)
    0.25
    """
    x, y = validate.aligned("x", x, "y", y)
    one_column = validate.array("x", x).ndim == 1
    share = scalars.real("mass", mass, above=0, most=1)
    p = scalars.real("p", p, least=1)
    workers = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=workers, sample=True)
    found = np.empty(a.shape[1])
    with reporting(progress, a.shape[1]) as (report,):
        for j in range(len(found)):
            u, v = (np.sort(validate.host(s[:, j]).astype(np.float64)) for s in (a, b))
            found[j] = _of_sorted(u, v, share, p, workers)
            if report is not None:
                report(j + 1, len(found))
    return float(found[0]) if one_column else validate.like(x, y)(found)


def _of_sorted(u: Floats, v: Floats, share: float, p: float, workers: int) -> float:
    if share == 1:
        distance: float = wasserstein_1d(u, v, p=p, workers=workers)
        return distance
    # Which points move is decided by p-th powers of differences in a unit: first the largest there
    # may be, then, if powers of those that count are lost in it, the largest that can count.
    largest = max(abs(float(end)) for s in (u, v) for end in (s[0], s[-1]))
    unit = 2.0 * min(max(largest, 2.0**-1000), 2.0**1022)
    while True:
        with np.errstate(over="ignore", under="ignore"):
            in_unit = (np.clip(s / unit, -(2.0**1000), 2.0**1000) for s in (u, v))
        masses = choose.module(u).partial_masses(*in_unit, share, p)
        (a, w), (b, z) = (
            (s[of_s > 0], of_s[of_s > 0]) for s, of_s in zip((u, v), masses, strict=True)
        )
        distance = wasserstein_1d(a, b, p=p, x_weights=w, y_weights=z, workers=workers)
        if p == 1 or distance == 0 or (distance / unit) ** p >= _LOST:
            return float(distance * share ** (1 / p))
        unit = distance * (2.0 * len(u) * len(v)) ** (1 / p)
