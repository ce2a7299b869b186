"""NumPy twin of `cpp/slices`: one-dimensional transport and energy of many projections.

Same functions and signatures as `pairtile._native`, in float64 throughout: project a few
directions at a time, sort each projection, merge the two sorted lists, reduce. It serves where
the compiled module is missing and is the oracle of the tests.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pairtile._backends.refusals import require_memory

Array = NDArray[np.generic]
Float64 = NDArray[np.float64]
Progress = Callable[[int, int], object] | None

_BUFFER = 1 << 22  # float64 numbers in one chunk of rows or one batch of projections (32 MB)


def sliced_costs(
    x: Array,
    y: Array,
    directions: Array | None,
    p: float,
    x_weights: Float64 | None,
    y_weights: Float64 | None,
    *,
    gradient: bool,
    grad_x: bool = True,
    grad_y: bool = True,
    weight_gradient: bool = False,
    moments: bool = False,
    direction_weights: Float64 | None,
    workers: int,
    progress: Progress = None,
    memory_limit: int = 0,
) -> tuple[Float64, Array | None, Array | None, Float64 | None, Float64 | None, Float64 | None]:
    """W_p^p of each projection, and the gradients of their sum weighted by `direction_weights`.

    By the points; by the shares of mass of the rows, (n,) and (m,), or a line of them for each
    column without directions; and of each projection the means of x and y, counted from one point,
    and their variances. Of infinite p, W_p itself, without gradients.
    """
    costs = np.empty(_n_slices(x, directions))
    weights = np.ones(len(costs)) if direction_weights is None else direction_weights
    by_point = _zero_gradients(x, y, gradient and grad_x, gradient and grad_y)
    of_weights = None
    if weight_gradient:
        of_weights = [np.zeros((len(costs) if directions is None else 1, len(s))) for s in (x, y)]
    of_lines = np.empty((len(costs), 4)) if moments else None
    for batch in _batches(len(costs), len(x) + len(y), memory_limit):
        px, py = _project(x, directions, batch), _project(y, directions, batch)
        slopes_x, slopes_y = np.zeros_like(px), np.zeros_like(py)
        for column, slice_ in enumerate(range(batch.start, batch.stop)):
            x_order = np.argsort(px[:, column], kind="stable")
            y_order = np.argsort(py[:, column], kind="stable")
            x_mass, y_mass = (
                _cumulative_mass(x_order, x_weights),
                _cumulative_mass(y_order, y_weights),
            )
            if x_weights is None and y_weights is None:
                mass, i, j = even_pieces(len(x), len(y))
            else:
                mass, i, j = _coupling(x_mass, y_mass)
            i, j = x_order[i], y_order[j]
            with np.errstate(invalid="ignore"):  # of infinite projections
                difference = px[i, column] - py[j, column]
            if of_lines is not None:
                of_lines[slice_] = _moments(px[:, column], py[:, column], x_weights, y_weights)
            if p == np.inf:
                costs[slice_] = np.abs(difference[mass > 0]).max()
                continue
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                costs[slice_] = mass @ np.abs(difference) ** p
            if gradient:
                with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                    slope = mass * p * np.abs(difference) ** (p - 1) * np.sign(difference)
                slopes_x[:, column] = np.bincount(i, slope, minlength=len(x))
                slopes_y[:, column] = -np.bincount(j, slope, minlength=len(y))
            if of_weights is not None:
                u, v = px[x_order, column], py[y_order, column]
                y_mass = _together(x_mass, y_mass)
                for total, order, ends in (
                    (of_weights[0], x_order, (u, x_mass, v, y_mass)),
                    (of_weights[1], y_order, (v, y_mass, u, x_mass)),
                ):
                    line = slice_ if directions is None else 0
                    total[line, order] += weights[slice_] * _potential(p, *ends)
        with np.errstate(over="ignore", invalid="ignore"):  # who asks sees it by the costs
            for by, slopes in zip(by_point, (slopes_x, slopes_y), strict=True):
                _pull_back(by, slopes * weights[batch], directions, batch)
        if progress is not None:
            progress(batch.stop, len(costs))
    by_x, by_y = of_weights or (None, None)
    if directions is not None and by_x is not None and by_y is not None:
        by_x, by_y = by_x[0], by_y[0]
    return costs, *_in_working_dtype(x, y, *by_point), by_x, by_y, of_lines


def sliced_energy_costs(
    x: Array,
    y: Array,
    directions: Array | None,
    *,
    gradient: bool,
    grad_x: bool = True,
    grad_y: bool = True,
    workers: int,
    progress: Progress = None,
    memory_limit: int = 0,
) -> tuple[Float64, Array | None, Array | None]:
    """Energy distance of each projection, 2 ∫ (F − G)² dt, and the gradient of their mean."""
    n, m = len(x), len(y)
    costs = np.empty(_n_slices(x, directions))
    by_point = _zero_gradients(x, y, gradient and grad_x, gradient and grad_y)
    for batch in _batches(len(costs), n + m, memory_limit):
        px, py = _project(x, directions, batch), _project(y, directions, batch)
        slopes_x, slopes_y = np.zeros_like(px), np.zeros_like(py)
        for column, slice_ in enumerate(range(batch.start, batch.stop)):
            u, v = np.sort(px[:, column]), np.sort(py[:, column])
            t = np.sort(np.concatenate([u, v]))
            gap = np.searchsorted(u, t, "right") / n - np.searchsorted(v, t, "right") / m
            costs[slice_] = 2.0 * (gap[:-1] ** 2 @ np.diff(t))
            if gradient:
                for slopes, own, other, points in ((slopes_x, u, v, px), (slopes_y, v, u, py)):
                    at = points[:, column]
                    slopes[:, column] = (
                        2.0 / len(own) * (_mean_sign(other, at) - _mean_sign(own, at))
                    )
        for by, slopes in zip(by_point, (slopes_x, slopes_y), strict=True):
            _pull_back(by, slopes / len(costs), directions, batch)
        if progress is not None:
            progress(batch.stop, len(costs))
    return costs, *_in_working_dtype(x, y, *by_point)


def least_line_memory(n: int, m: int, *, wide: bool, weighted: bool) -> int:
    """What either cost takes at least of n and m values along one axis, in bytes beside them."""
    del wide, weighted
    return 128 * (n + m)


def centre_rows(n: int, d: int) -> NDArray[np.int64]:
    """The rows that decide about which point others are projected: none, it is 0 in float64."""
    del n, d
    return np.empty(0, dtype=np.int64)


def line_centre(x: Array, y: Array) -> Float64:
    """The point that rows are projected about."""
    del y
    return np.zeros(x.shape[1])


def largest_offset(x: Array, centre: Float64, *, workers: int) -> float:
    """The largest absolute value of x − centre."""
    del workers
    with np.errstate(over="ignore"):
        return max(
            float(np.abs(x[rows].astype(np.float64) - centre).max(initial=0.0))
            for rows in _row_chunks(x)
        )


def project_rows(
    x: Array, directions: Array, centre: Float64, scale: float, out: Array, *, workers: int
) -> None:
    """Out (directions, rows) of (x − centre)·scale along each direction."""
    del workers
    along = directions.astype(np.float64)
    for rows in _row_chunks(x):
        with np.errstate(over="ignore", invalid="ignore"):  # of rows without mass
            out[:, rows] = (((_numbers(x, rows) - centre) * scale) @ along).T


def column_moments(x: Array, weights: Float64 | None, *, workers: int) -> tuple[Float64, Float64]:
    """Means and variances of the columns, weights counted."""
    del workers
    if weights is not None:  # what has no mass may be of any size
        x, weights = x[weights > 0], weights[weights > 0]
    chunks = list(_row_chunks(x))
    shares = np.full(len(x), 1 / len(x)) if weights is None else weights / weights.sum()
    means = sum(shares[rows] @ x[rows].astype(np.float64) for rows in chunks)
    variances = sum(shares[rows] @ (x[rows].astype(np.float64) - means) ** 2 for rows in chunks)
    return np.asarray(means), np.asarray(variances)


def _n_slices(x: Array, directions: Array | None) -> int:
    return int(x.shape[1] if directions is None else directions.shape[1])


def least_memory(n_points: int, memory_limit: int) -> int:
    """What one direction takes; ValueError where that is above the limit."""
    least: int = least_line_memory(n_points, 0, wide=True, weighted=True)
    require_memory(memory_limit, least, "one direction")
    return least


def _batches(n_slices: int, n_points: int, memory_limit: int) -> Iterator[slice]:
    least = least_memory(n_points, memory_limit)
    step = max(1, min(_BUFFER // n_points, memory_limit // least or n_slices))
    return (slice(a, min(a + step, n_slices)) for a in range(0, n_slices, step))


def _row_chunks(x: Array) -> Iterator[slice]:
    step = max(1, _BUFFER // x.shape[1])
    return (slice(a, a + step) for a in range(0, len(x), step))


def _project(x: Array, directions: Array | None, batch: slice) -> Float64:
    """Coordinates of the rows of x along one batch of directions, (n, batch)."""
    if directions is None:
        return x[:, batch].astype(np.float64)
    along = directions[:, batch].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.concatenate([_numbers(x, rows) @ along for rows in _row_chunks(x)])


def _numbers(x: Array, rows: slice) -> Float64:
    """Rows in one layout, whatever theirs is: products of other layouts round differently."""
    return x[rows].astype(np.float64, order="C")


def _cumulative_mass(order: NDArray[np.intp], weights: Float64 | None) -> Float64:
    """Mass up to each point in sorted order, ending at 1."""
    mass: Float64
    if weights is None:
        mass = np.arange(1, len(order) + 1) / len(order)
    else:
        # with more digits, where the machine has them: what rows weigh are differences of these
        total = np.cumsum(weights[order], dtype=np.longdouble)
        mass = (total / total[-1]).astype(np.float64)
    return mass


def even_pieces(n: int, m: int) -> tuple[Float64, NDArray[np.intp], NDArray[np.intp]]:
    """The monotone coupling of n and m values that all weigh the same.

    Ends of its pieces are whole numbers in units of 1/(nm).
    """
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    starts = np.concatenate([[0], ends[:-1]])
    return (ends - starts) / (n * m), starts // m, starts // n


def _coupling(
    x_mass: Float64, y_mass: Float64
) -> tuple[Float64, NDArray[np.intp], NDArray[np.intp]]:
    """The monotone coupling: masses of its pieces, and which sorted x and y each of them joins.

    Levels that differ by no more than the rounding of the sums, and by far less than either point
    weighs, are one: the sliver between them would join points that do not meet.
    """
    y_mass = _together(x_mass, y_mass)
    levels = np.union1d(x_mass, y_mass)
    levels = levels[levels > 0]  # rows before all mass have none
    return (
        np.diff(levels, prepend=0.0),
        np.searchsorted(x_mass, levels, side="left"),
        np.searchsorted(y_mass, levels, side="left"),
    )


def _together(x_mass: Float64, y_mass: Float64) -> Float64:
    """Levels of y, moved to the one of x where they are the same level."""
    below = np.clip(np.searchsorted(x_mass, y_mass) - 1, 0, len(x_mass) - 1)
    above = np.minimum(below + 1, len(x_mass) - 1)
    nearest = np.where(y_mass - x_mass[below] <= x_mass[above] - y_mass, below, above)
    apart = np.abs(x_mass[nearest] - y_mass)
    weight = np.minimum(np.diff(x_mass, prepend=0.0)[nearest], np.diff(y_mass, prepend=0.0))
    same = (apart <= (nearest + np.arange(len(y_mass)) + 8) * 2.0**-53) & (apart <= 1e-3 * weight)
    return np.where(same, x_mass[nearest], y_mass)


def _potential(p: float, u: Float64, u_mass: Float64, v: Float64, v_mass: Float64) -> Float64:
    """Slopes of W_p^p by the mass of each sorted value u, with the mean 0.

    Where mass goes from one u to the next, what it is moved to is where v is at that level; if v
    steps right there, half of it counts from below and half from above. Values without mass, which
    may be anywhere, are told from one that has some.
    """
    mass, there = np.diff(u_mass, prepend=0.0), np.diff(v_mass, prepend=0.0) > 0
    v, v_mass = v[there], v_mass[there]

    def rises(start: NDArray[np.intp], stop: NDArray[np.intp], levels: Float64) -> Float64:
        total = np.zeros(len(start))
        for side in ("left", "right"):
            met = v[np.minimum(np.searchsorted(v_mass, levels, side), len(v) - 1)]
            total += np.abs(u[stop] - met) ** p - np.abs(u[start] - met) ** p
        return total / 2

    some, others = np.flatnonzero(mass > 0), np.flatnonzero(mass == 0)
    base = some[np.maximum(np.searchsorted(some, others) - 1, 0)]
    potential = np.zeros(len(u))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        potential[some[1:]] = np.cumsum(rises(some[:-1], some[1:], u_mass[some[:-1]]))
        potential[others] = potential[base] + rises(base, others, u_mass[others])
        return np.asarray(potential - mass[some] @ potential[some])


def _moments(
    px: Float64, py: Float64, x_weights: Float64 | None, y_weights: Float64 | None
) -> tuple[float, ...]:
    """Means of both, counted from one point, and variances."""
    sides = []
    for s, w in ((px, x_weights), (py, y_weights)):  # what has no mass may be of any size
        sides.append((s, None) if w is None else (s[w > 0], w[w > 0]))
    middle = np.median(sides[0][0])
    means = [np.average(s - middle, weights=w) for s, w in sides]
    variances = [
        np.average((s - middle - mean) ** 2, weights=w)
        for (s, w), mean in zip(sides, means, strict=True)
    ]
    return *means, *variances


def _mean_sign(sorted_values: Float64, at: Float64) -> Float64:
    """Mean over the values v of sign(at − v)."""
    below = np.searchsorted(sorted_values, at, "left")
    above = len(sorted_values) - np.searchsorted(sorted_values, at, "right")
    return np.asarray((below - above) / len(sorted_values), dtype=np.float64)


def _zero_gradients(
    x: Array, y: Array, by_x: bool, by_y: bool
) -> tuple[Float64 | None, Float64 | None]:
    return np.zeros(x.shape) if by_x else None, np.zeros(y.shape) if by_y else None


def _pull_back(
    grad: Float64 | None, slopes: Float64, directions: Array | None, batch: slice
) -> None:
    """Add the derivatives along a batch of directions to the gradient of the points."""
    if grad is None:
        return
    if directions is None:
        grad[:, batch] += slopes
    else:
        with np.errstate(invalid="ignore"):  # of powers beyond float64 along a direction's zeros
            grad += slopes @ directions[:, batch].astype(np.float64).T


def _in_working_dtype(
    x: Array, y: Array, grad_x: Float64 | None, grad_y: Float64 | None
) -> tuple[Array | None, Array | None]:
    # Any byte order may arrive, so float64 is told by its size.
    dtype = np.float64 if 8 in (x.dtype.itemsize, y.dtype.itemsize) else np.float32

    def narrow(gradient: Float64 | None) -> Array | None:
        return None if gradient is None else gradient.astype(dtype)

    return narrow(grad_x), narrow(grad_y)
