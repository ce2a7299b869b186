"""Directions to project on: drawn, or given and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front import scalars, validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pairtile._front.words import DirectionMethod

METHODS = ("gaussian", "orthogonal", "sobol")


def sphere_directions(
    d: int, n: int, *, rng: Any = None, method: DirectionMethod = "gaussian"
) -> NDArray[np.float64]:
    """Directions uniform on the unit sphere, drawn by NumPy on the host.

    Parameters
    ----------
    d : int
        Dimension of the space.
    n : int
        Number of directions.
    rng : int, numpy.random.Generator or None
        Where they come from.
    method : {"gaussian", "orthogonal", "sobol"}
        Independent directions; independent random orthogonal bases, one after the other (the last
        one cut at n), so that d directions cover all of space; or a randomly shifted Sobol
        sequence sent through the normal quantile function, which fills the sphere more evenly
        (needs SciPy).

    Returns
    -------
    (d, n) array of float64
        One direction of length 1 per column.

    Raises
    ------
    TypeError, ValueError
        If d or n is not a positive integer, or the method is unknown.
    ImportError
        For "sobol" without SciPy.

    Notes
    -----
    O(d n) time, O(d² n) for "orthogonal", which goes through bases of more than 256 columns panel
    by panel.

    References
    ----------
    Stewart, The efficient generation of random orthogonal matrices (1980).
    """
    d, n = scalars.count("d", d), scalars.count("n", n)
    scalars.choice("method", method, METHODS)
    generator = scalars.generator(rng)
    if method == "orthogonal":
        points = np.empty((d, n))
        for start in range(0, n, d):
            _fill_orthogonal(points[:, start : start + d], generator)
        return points
    draw = _sobol_normals if method == "sobol" else _normals
    points = draw(d, n, generator)
    for some in _spans(n, d):
        points[:, some] /= np.linalg.norm(points[:, some], axis=0)
    return points


# No call to NumPy below takes long, so that Ctrl-C is soon heard.
_AT_A_TIME = 1 << 20  # numbers


def _spans(n: int, d: int) -> Iterator[slice]:
    """0, ..., n − 1 in spans of about `_AT_A_TIME` numbers, d for each."""
    step = max(1, _AT_A_TIME // d)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _normals(d: int, n: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """The very numbers of ``generator.standard_normal((d, n))``."""
    points = np.empty((d, n))
    flat = points.reshape(-1)
    for some in _spans(d * n, 1):
        generator.standard_normal(out=flat[some])
    return points


def _fill_orthogonal(out: NDArray[np.float64], generator: np.random.Generator) -> None:
    """Columns of a Haar distributed orthogonal matrix: Q of a Gaussian one, signs set by R.

    A panel of columns at a time, after what the panels before it span was taken off, twice:
    the first time leaves rounding errors of its own.
    """
    d, n = out.shape
    width = max(16, min(256, (1 << 23) // d))
    out[:] = _normals(d, n, generator)
    for start in range(0, n, width):
        panel = out[:, start : start + width].copy()
        for _ in range(2 if start else 0):
            for before in range(0, start, width):
                q = out[:, before : before + width]
                panel -= q @ (q.T @ panel)
        q, r = np.linalg.qr(panel)
        out[:, start : start + width] = q * np.copysign(1.0, np.diagonal(r))


def _sobol_normals(d: int, n: int, generator: np.random.Generator) -> NDArray[np.float64]:
    try:
        from scipy.special import ndtri
        from scipy.stats import qmc
    except ImportError as error:
        raise ImportError(
            'method="sobol" needs SciPy; "gaussian" and "orthogonal" do not'
        ) from error
    sequence = qmc.Sobol(d, scramble=False)
    # A random shift modulo 1 makes every point uniform and keeps them evenly spread.
    shift = generator.random(d)
    points = np.empty((d, n))
    step = 1 << max(0, (_AT_A_TIME // d).bit_length() - 1)  # powers of two, as the sequence wants
    for start in range(0, n, step):
        lattice = sequence.random(min(step, 1 << (n - 1).bit_length()))[: n - start]
        points[:, start : start + step] = ndtri((lattice + shift) % 1).T
    return points


def chosen_directions(
    directions: Any, dim: int, n_projections: int, rng: Any
) -> tuple[NDArray[Any], int | None]:
    """The (d, L) directions, and how many neighbouring ones depend on each other.

    None in place of that number where independent blocks are not to be had.
    """
    if directions is None or isinstance(directions, str):
        method: Any = "gaussian" if directions is None else directions
        scalars.choice("directions", method, METHODS)
        n_projections = scalars.count("n_projections", n_projections)
        drawn = sphere_directions(dim, n_projections, rng=rng, method=method)
        return drawn, {"gaussian": 1, "orthogonal": dim, "sobol": None}[method]
    given = validate.matrix("directions", validate.host(directions))
    if given.shape[0] != dim:
        raise ValueError(
            f"directions has {given.shape[0]} rows and x has {dim} columns; "
            "directions has shape (features, directions)"
        )
    return (given if given.dtype.name == "float32" else given.astype(np.float64)), None
