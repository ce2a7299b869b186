"""Transport on a line, column by column."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.slices.reach import InReach, out_of_reach

if TYPE_CHECKING:
    from numpy.typing import NDArray


def wasserstein_1d(
    x: Any,
    y: Any,
    *,
    p: float = 1,
    x_weights: Any = None,
    y_weights: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> Any:
    r"""Wasserstein distance between one-dimensional samples, column by column.

    .. math:: W_p(x, y) = \Bigl(\int_0^1 |F_x^{-1}(q) - F_y^{-1}(q)|^p \, dq\Bigr)^{1/p}

    computed exactly from the sorted samples: the difference of the k-th values for samples of
    equal size without weights, the merge of the two quantile functions otherwise.

    Parameters
    ----------
    x, y : array_like, shapes (n,) and (m,), or (n, d) and (m, d)
        The samples. Each column of 2-D input is a problem of its own.
    p : float, default 1
        Order of the distance, at least 1; infinity for the largest distance that mass is moved.
    x_weights, y_weights : array_like, shapes (n,) and (m,), optional
        Weights of the rows, not negative, divided by their sum; the same for every column. Equal
        ones are the same as none.
    workers, check_finite, progress
        As everywhere, see `sliced_wasserstein`.

    Returns
    -------
    float, or array of float64, shape (d,)
        W_p, the root taken: one number for 1-D input, one per column for 2-D input.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, empty, not finite, or of different numbers of
        columns; for p < 1; for weights of the wrong length, negative, or with zero sum.

    Notes
    -----
    O(d N log N) time for N = n + m, and O(N) memory per column in work.

    References
    ----------
    Peyré and Cuturi, Computational Optimal Transport (2019), remark 2.30.
    """
    x, y = validate.aligned("x", x, "y", y)
    a, b = validate.array("x", x), validate.array("y", y)
    if a.ndim != b.ndim:
        raise ValueError(f"x is {a.ndim}-D and y is {b.ndim}-D; both need the same features")
    one_column = a.ndim == 1
    if one_column:
        a, b = a[:, None], b[:, None]
    p = math.inf if np.ndim(p) == 0 and p == math.inf else scalars.real("p", p, least=1)
    workers = resolve_workers(workers)
    a, b = validate.pair("x", a, "y", b, check_finite=check_finite, workers=workers)
    wa, wb = (
        row_weights("x_weights", x_weights, len(a)),
        row_weights("y_weights", y_weights, len(b)),
    )
    with reporting(progress, a.shape[1]) as (report,):
        if p == math.inf:
            distances = InReach(a, b, None, p, wa, wb, workers).distances
        else:
            costs, *_ = choose.module(a, b).sliced_costs(
                a, b, None, p, wa, wb,
                gradient=False, direction_weights=None, workers=workers, progress=report,
            )  # fmt: skip
            lost = out_of_reach(costs, p)
            with np.errstate(over="ignore", invalid="ignore"):
                distances = costs ** (1 / p)
            if lost.any():
                some = np.flatnonzero(lost)
                distances[lost] = InReach(
                    validate.columns(a, some), validate.columns(b, some), None, p, wa, wb, workers
                ).distances
    return float(distances[0]) if one_column else validate.like(x, y)(distances)


def row_weights(name: str, w: Any, n: int) -> NDArray[np.float64] | None:
    """Weights that sum to 1; None for equal ones, whose steps are then those of none."""
    weights = validate.unit_weights(name, w, n)
    return None if weights is None or bool((weights == weights[0]).all()) else weights
