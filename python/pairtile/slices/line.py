"""Transport on a line, column by column."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._backends.rows import Rows, is_rows, steps_of
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile._front.wanted import wants
from pairtile.slices.reach import InReach, out_of_reach
from pairtile.slices.results import SlicedResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def wasserstein_1d(
    x: Any,
    y: Any,
    *,
    p: float = 1,
    x_weights: Any = None,
    y_weights: Any = None,
    return_gradient: bool = False,
    workers: int | None = None,
    check_finite: bool = True,
    memory_limit: int | str | None = None,
    progress: Any = False,
) -> Any:
    r"""Wasserstein distance between one-dimensional samples, column by column.

    .. math:: W_p(x, y) = \Bigl(\int_0^1 |F_x^{-1}(q) - F_y^{-1}(q)|^p \, dq\Bigr)^{1/p}

    computed exactly from the sorted samples: the difference of the k-th values for samples of
    equal size without weights, the merge of the two quantile functions otherwise.

    Parameters
    ----------
    x, y : array_like, shapes (n,) and (m,), or (n, d) and (m, d)
        The samples. Each column of 2-D input is a problem of its own. Memory maps, and arrays of
        h5py, zarr and dask, are read block by block, with the same result; whole if gradients are
        asked for.
    p : float, default 1
        Order of the distance, at least 1; infinity for the largest distance that mass is moved.
    x_weights, y_weights : array_like, shapes (n,) and (m,), optional
        Weights of the rows, not negative, divided by their sum; the same for every column. Equal
        ones are the same as none.
    return_gradient : bool, default False
        Return a `SlicedResult` with the gradients of the distance; not of infinite p.
    workers, check_finite, memory_limit, progress
        As everywhere, see `sliced_wasserstein`. Samples that are not in memory are read once for
        as many columns as the limit holds.

    Returns
    -------
    float, array of float64 of shape (d,), or SlicedResult
        W_p, the root taken: one number for 1-D input, one per column for 2-D input. Each column
        of `grad_x` and `grad_y`, which have the shapes of x and y and the working dtype, is the
        gradient of the distance of that column. `grad_x_weights` and `grad_y_weights`, of shapes
        (n,) and (m,), or (n, d) and (m, d), are those by the weights as they were given. All are 0
        where the distance is 0. `standard_error` is nan.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, empty, not finite, or of different numbers of
        columns; for p < 1; for weights of the wrong length, negative, or with zero sum; for the
        gradient of infinite p.

    Notes
    -----
    O(d N log N) time for N = n + m, and O(N) memory per column in work. The gradient by weights is
    the Kantorovich potential of the point, through the division by the sum. Where the distance has
    a kink (points that meet at p = 1, cumulative weights that are equal), the gradient is in the
    middle of the slopes to both sides.

    References
    ----------
    Peyré and Cuturi, Computational Optimal Transport (2019), remark 2.30.
    """
    x, y = validate.aligned("x", x, "y", y)
    # gradients are as large as their samples, which may as well be read whole
    blocks = not return_gradient
    a, b = (
        s if type(s) is np.ndarray or (blocks and is_rows(s)) else validate.array(name, s)
        for name, s in (("x", x), ("y", y))
    )
    dimensions = len(a.shape)
    if dimensions != len(b.shape):
        raise ValueError(
            f"x is {dimensions}-D and y is {len(b.shape)}-D; both need the same features"
        )
    one_column = dimensions == 1
    plain = type(p) in (int, float) or np.ndim(p) == 0
    p = math.inf if plain and p == math.inf else scalars.real("p", p, least=1)
    if return_gradient and p == math.inf:
        raise ValueError("p=inf has no gradient: the largest distance that mass is moved jumps")
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    # in the engine no distance is finite of points that are not, so most calls need no look at them
    shows = p < math.inf and x_weights is None and y_weights is None and not return_gradient
    on_sight = shows and choose.backend() == "native" and type(a) is type(b) is np.ndarray
    a, b = validate.pair(
        "x", a, "y", b, check_finite=check_finite and not on_sight, workers=workers, sample=True,
        blocks=blocks, sparse=False,
    )  # fmt: skip
    if not return_gradient:
        a, b = validate.streamed("x", a, "y", b, limit)
    weights = (
        row_weights("x_weights", x_weights, len(a)),
        row_weights("y_weights", y_weights, len(b)),
    )
    if not return_gradient:
        with reporting(progress, a.shape[1] * steps_of(a, b)) as (report,):
            suspects = {"x": a, "y": b} if check_finite and on_sight else {}
            distances = _distances(a, b, p, *weights, workers, limit, report, suspects)
        return float(distances[0]) if one_column else validate.like(x, y)(distances)

    by_mass = wants(return_gradient, "x_weights", "y_weights") and not (
        x_weights is None and y_weights is None
    )
    d = a.shape[1]
    with reporting(progress, *([d, d] if p > 2 else [d])) as reports:
        found = _gradients(a, b, p, *weights, return_gradient, by_mass, workers, limit, reports)
    distances, *by_points, of_x, of_y = found
    of_weights = (
        by_weights(w if by_mass else None, g) for w, g in ((x_weights, of_x), (y_weights, of_y))
    )
    gradients = [*by_points, *of_weights]
    to_user = validate.like(x, y)
    if one_column:
        gradients = [None if g is None else g[:, 0] for g in gradients]
    value = float(distances[0]) if one_column else to_user(distances)
    return SlicedResult(value, math.nan, *map(to_user, gradients))


def _distances(
    a: Any, b: Any, p: float, wa: Any, wb: Any, workers: int, limit: int, report: Any,
    suspects: Mapping[str, Any] = MappingProxyType({}),
) -> NDArray[np.float64]:  # fmt: skip
    """W_p of the columns; ValueError if one is not finite and neither are suspects."""
    streamed = isinstance(a, Rows) or isinstance(b, Rows)
    if p == math.inf and not streamed:
        return InReach(a, b, None, p, wa, wb, workers).distances
    costs, *_ = choose.module(a, b).sliced_costs(
        a, b, None, p, wa, wb, gradient=False, direction_weights=None, workers=workers,
        progress=report, memory_limit=limit,
    )  # fmt: skip
    if p == math.inf:
        found: NDArray[np.float64] = costs
        return found
    lost = out_of_reach(costs, p)
    (some,) = lost.nonzero()
    if p == 1 and not len(some):
        return np.asarray(costs)
    if len(some):
        for name, suspect in suspects.items():
            validate.matrix(name, suspect, workers=workers)
    with np.errstate(over="ignore", invalid="ignore"):
        distances: NDArray[np.float64] = costs ** (1 / p)
    # column by column where all of them may be more than memory holds
    at_once = 1 if streamed else max(1, len(some))
    for which in (some[i : i + at_once] for i in range(0, len(some), at_once)):
        distances[which] = InReach(
            validate.columns(a, which), validate.columns(b, which), None, p, wa, wb, workers
        ).distances
    return distances


def _gradients(
    a: Any, b: Any, p: float, wa: Any, wb: Any, asked: Any, by_mass: bool, workers: int,
    limit: int, reports: Any,
) -> list[Any]:  # fmt: skip
    """Distances of the columns; their gradients by x, by y, and by shares of mass, d × n, d × m."""
    # d W / d W^p = W^(1 − p) / p. Derivatives of W^p leave the backend in the working dtype, where
    # high powers of W may not fit, so W is found first for those.
    in_advance = p > 2
    shares = np.ones(a.shape[1])
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        if in_advance:
            distances = _distances(a, b, p, wa, wb, workers, limit, reports[0])
            reached = ~out_of_reach(distances**p, p)
            shares = np.where(reached, distances ** (1 - p) / p, 0.0)
        costs, *gradients, _ = choose.module(a, b).sliced_costs(
            a, b, None, p, wa, wb, gradient=wants(asked, "x", "y"), grad_x=wants(asked, "x"),
            grad_y=wants(asked, "y"), weight_gradient=by_mass,
            direction_weights=shares, workers=workers, progress=reports[-1], memory_limit=limit,
        )  # fmt: skip
        lost = out_of_reach(costs, p)
        if not in_advance:
            distances = costs ** (1 / p)
            factors = np.where(lost, 0.0, distances ** (1 - p) / p)
            for gradient in gradients[:2]:
                if gradient is not None:
                    np.multiply(gradient, validate.like(gradient)(factors), out=gradient)
            for gradient in gradients[2:] if by_mass else []:
                gradient *= factors[:, None]
    if lost.any():
        some = np.flatnonzero(lost)
        apart = InReach(
            validate.columns(a, some), validate.columns(b, some), None, p, wa, wb, workers,
            massless=by_mass,
        )  # fmt: skip
        distances[lost] = apart.distances
        found = apart.gradients_by_column(by_mass)
        for gradient, right in zip(gradients[:2], found[:2], strict=True):
            if gradient is not None:
                like = validate.like(gradient)
                gradient[:, like(some)] = like(right)
        for gradient, right in zip(gradients[2:], found[2:], strict=True):
            if by_mass:
                gradient[lost] = right
    return [distances, *gradients]


def by_weights(given: Any, by_mass: Any) -> Any:
    """The gradient by weights as they were given, from that by shares of mass: (n, d) from (d, n).

    Shares are weights over their sum, and of the change of all by one factor the latter knows not.
    """
    if given is None:
        return None
    w = validate.host(given).astype(np.float64)
    size = w.max()
    return np.ascontiguousarray(by_mass.T) / math.fsum(w / size) / size


def row_weights(name: str, w: Any, n: int) -> NDArray[np.float64] | None:
    """Weights that sum to 1; None for equal ones, whose steps are then those of none."""
    weights = validate.unit_weights(name, w, n)
    return None if weights is None or bool((weights == weights[0]).all()) else weights
