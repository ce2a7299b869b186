"""Transport on the unit sphere, by circles through its centre."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.slices.directions import length_tolerance, sphere_directions

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sliced_wasserstein_sphere(
    x: Any,
    y: Any,
    *,
    p: float = 2,
    n_projections: int = 128,
    method: Literal["circle", "linear"] = "circle",
    rng: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Any = False,
) -> float:
    r"""Sliced Wasserstein distance on the unit sphere: transport on great circles, averaged.

    .. math:: SSW_p(x, y) = \Bigl(\frac{1}{L} \sum_l W_p(a_l(x), a_l(y))^p\Bigr)^{1/p}

    a_l are the angles of the rows, projected to the l-th of L random planes through the origin, in
    turns: distances on a circle are arc lengths over a whole turn, at most 1/2.

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        The samples, of any sizes, d at least 2: rows of length 1.
    p : float, default 2
        Order of the distance, at least 1; 2 for "linear".
    n_projections : int, default 128
        Number L of planes. For d = 2 there is only one, and the distance is exact.
    method : {"circle", "linear"}
        W_p on each circle, exactly; or linear circular transport: both samples are coupled with the
        uniform distribution by their optimal plans, and thereby with each other, in closed form.
        It is a distance as well, and one that embeds in a Hilbert space locally.
    rng : int, numpy.random.Generator or None
        Where planes come from: the l-th is spanned by columns 2l and 2l + 1 of
        ``sphere_directions(d, 2 * n_projections, rng=rng)``.
    workers, check_finite, progress
        As in `sliced_wasserstein`.

    Returns
    -------
    float
        The distance, root taken, between 0 and 1/2.

    Raises
    ------
    TypeError, ValueError
        For input that is not real numbers, 2-D, not empty and finite; for different numbers of
        columns, or one; rows whose length is not 1 within 1e-5 (in float64 1e-10, in float16 1e-3,
        in bfloat16 1e-2); p < 1, or p ≠ 2 with "linear"; an unknown method.

    Notes
    -----
    O(L N (d + log N)) time for N = n + m, and memory as for `sliced_wasserstein`. On a circle the
    order of the points leaves one parameter of a plan open, by how much mass it is shifted. The
    cost is convex in it and linear between multiples of 1/lcm(n, m), and the best of those is found
    by its slope: exact for samples of any sizes, up to rounding as described there.

    A row orthogonal to a plane has no angle in it, and gets 0.

    References
    ----------
    Bonet, Berg, Courty, Septier, Drumetz and Pham, Spherical sliced-Wasserstein (2023). Delon,
    Salomon and Sobolevski, Fast transport optimization for Monge costs on the circle (2010). Liu et
    al., Linear spherical sliced optimal transport (2025).

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> x, y = np.random.default_rng(0).normal(size=(2, 200, 3)) + [[[0, 0, 1]], [[0, 0, -1]]]
    >>> x, y = (s / np.linalg.norm(s, axis=1, keepdims=True) for s in (x, y))
    >>> print(f"{pt.sliced_wasserstein_sphere(x, y, rng=0):.3f}")
    0.193
    """
    p = scalars.real("p", p, least=1)
    scalars.choice("method", method, ("circle", "linear"))
    n_projections = scalars.count("n_projections", n_projections)
    if method == "linear" and p != 2:
        raise ValueError(f"p={p} is for method='circle'; method='linear' has p=2")
    workers = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=workers, sample=True)
    backend = choose.module(a, b)
    for name, given, rows in (("x", x, a), ("y", y, b)):
        _check_lengths(name, rows, length_tolerance(given, rows))
    frames = _frames(a.shape[1], n_projections, rng)
    with reporting(progress, frames.shape[1] // 2) as (report,):
        distances = backend.circle_distances(
            a, b, frames, p, linear=method == "linear", workers=workers, progress=report
        )
    top = float(distances.max()) or 1.0
    with np.errstate(under="ignore"):
        mean = float(np.mean((distances / top) ** p))
    return top * math.pow(mean, 1 / p)


def _check_lengths(name: str, rows: Any, allowed: float) -> None:
    """ValueError unless all rows are on the unit sphere, which is that of a circle at least."""
    n, d = rows.shape
    if d < 2:
        raise ValueError(f"{name} has 1 column; points on a circle have 2, on a sphere 3 or more")
    step = max(1, (1 << 20) // d)
    for start in range(0, n, step):
        lengths = np.linalg.norm(
            validate.host(rows[start : start + step]).astype(np.float64), axis=1
        )
        off = ~(np.abs(lengths - 1) <= allowed)  # NaN as well
        if off.any():
            row = int(off.argmax())
            raise ValueError(
                f"{name} must have rows of length 1, got {lengths[row]:.6g} in row {start + row}; "
                f"pass {name} / np.linalg.norm({name}, axis=1, keepdims=True)"
            )


def _frames(d: int, count: int, rng: Any) -> NDArray[np.float64]:
    """Two orthonormal columns for each plane, in any direction alike."""
    if d == 2:
        return np.eye(2)
    frames = sphere_directions(d, 2 * count, rng=rng)
    first, second = frames[:, ::2], frames[:, 1::2]
    for _ in range(2):  # the first time leaves rounding errors of its own
        second -= first * np.sum(first * second, axis=0)
        second /= np.linalg.norm(second, axis=0)
    return frames
