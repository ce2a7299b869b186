"""Directions to project on: drawn, or given and checked."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front import scalars, validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pairtile._front.words import DirectionMethod

METHODS = ("gaussian", "orthogonal", "sobol", "spiral")


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
    method : {"gaussian", "orthogonal", "sobol", "spiral"}
        Independent directions; independent random orthogonal bases, one after the other (the last
        one cut at n), so that d directions cover all of space; a randomly shifted Sobol sequence
        sent through the normal quantile function, which fills the sphere more evenly (needs
        SciPy); or the generalised spiral points of the sphere in three dimensions (d = 3 only),
        which fill it best. The last two are randomly rotated as a whole, so that each direction
        by itself is uniform whatever the method.

    Returns
    -------
    (d, n) array of float64
        One direction of length 1 per column.

    Raises
    ------
    TypeError, ValueError
        If d or n is not a positive integer, the method is unknown, or it is "spiral" and d is not
        3.
    ImportError
        For "sobol" without SciPy.

    Notes
    -----
    O(d n) time, O(d² n) for "orthogonal", which goes through bases of more than 256 columns panel
    by panel.

    References
    ----------
    Stewart, The efficient generation of random orthogonal matrices (1980). Saff and Kuijlaars,
    Distributing many points on a sphere (1997).

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> along = pt.sphere_directions(3, 100, rng=0, method="spiral")
    >>> np.allclose(along @ along.T / 100, np.eye(3) / 3, atol=1e-3)
    True
    """
    d, n = scalars.count("d", d), scalars.count("n", n)
    scalars.choice("method", method, METHODS)
    if method == "spiral" and d != 3:
        raise ValueError(f'method="spiral" is of d = 3, got d = {d}; "sobol" is of any d')
    return _drawn(d, n, method, scalars.generator(rng))


def _drawn(d: int, n: int, method: str, generator: np.random.Generator) -> NDArray[np.float64]:
    if method == "orthogonal":
        points = np.empty((d, n))
        for start in range(0, n, d):
            _fill_orthogonal(points[:, start : start + d], generator)
        return points
    if method == "gaussian":
        return _on_the_sphere(_normals(d, n, generator))
    if method == "spiral":
        points = _spiral(n)
    else:
        points = (_lattice if method == "lattice" else _sobol_normals)(d, n, generator)
    rotation = np.empty((d, d))
    _fill_orthogonal(rotation, generator)
    for some in _spans(n, d):
        points[:, some] = rotation @ points[:, some]
    return _on_the_sphere(points)


# No call to NumPy below takes long, so that Ctrl-C is soon heard.
_AT_A_TIME = 1 << 20  # numbers


def _spans(n: int, d: int) -> Iterator[slice]:
    """0, ..., n − 1 in spans of about `_AT_A_TIME` numbers, d for each."""
    step = max(1, _AT_A_TIME // d)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _on_the_sphere(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The columns, each divided by its length."""
    for some in _spans(points.shape[1], len(points)):
        points[:, some] /= np.linalg.norm(points[:, some], axis=0)
    return points


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


def _spiral(n: int) -> NDArray[np.float64]:
    """Points on a spiral from pole to pole, each in the middle of an n-th of the area."""
    z = 1 - (2 * np.arange(n) + 1) / n
    down = np.arccos(z)
    around = 1.8 * np.sqrt(n) * down
    return np.stack([np.sin(down) * np.cos(around), np.sin(down) * np.sin(around), z])


def _lattice(d: int, n: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """A shifted rank-1 lattice, sent to the sphere by the coordinates in which that is a product.

    A point of the sphere in C^k is k angles, and k squares of lengths, uniform on the simplex. The
    first angle goes half a turn in equal steps, since a line has no sign; everything else in steps
    of powers of the root of g^(m+1) = g + 1, by which m coordinates fill their cube evenly. Of odd
    d it is the sphere of one more dimension, without its last coordinate. For d = 2 these are
    equal angles.
    """
    k = (d + 1) // 2
    others = 2 * k - 2
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (others + 1))
    steps = np.arange(n)
    shifts = generator.random(others + 1)
    turns = (np.outer(root ** -np.arange(1.0, others + 1), steps) + shifts[1:, None]) % 1
    squares, rest = np.empty((k, n)), np.ones(n)
    for i, u in enumerate(turns[: k - 1]):
        left = u ** (1 / (k - 1 - i))
        squares[i] = rest * (1 - left)
        rest = rest * left
    squares[-1] = rest
    angles = np.pi * np.vstack([(steps + shifts[0])[None] / n, 2 * turns[k - 1 :]])
    lengths = np.sqrt(squares)
    return np.concatenate([lengths * np.cos(angles), lengths * np.sin(angles)])[:d]


class Directions(NamedTuple):
    """Directions (d, L), and the first one of each of the sets that are independent.

    None in place of these where nothing is known of it; no set at all where they are exact.
    """

    along: NDArray[Any]
    starts: NDArray[np.intp] | None


def chosen_directions(
    directions: Any,
    dim: int,
    n_projections: int,
    rng: Any,
    *,
    method: Any = "gaussian",
    n_rotations: int | None = None,
    normalize: bool = False,
    controlled: bool | None = None,
) -> Directions:
    """Directions as arguments of these names ask for them: drawn, or given and of length 1.

    The method may be "auto" where it is told whether control variates of degree 2 will be used.
    """
    default = "gaussian" if controlled is None else "auto"
    if isinstance(directions, str):
        scalars.choice("directions", directions, METHODS)
        warnings.warn(
            f"directions={directions!r} is deprecated: pass method={directions!r}",
            DeprecationWarning,
            stacklevel=4,
        )
        method, directions = directions, None
    scalars.choice("method", method, METHODS if controlled is None else ("auto", *METHODS))
    if directions is not None:
        if n_rotations is not None:
            raise ValueError(
                "n_rotations is of directions that are drawn, and directions are given; "
                "pass one of directions= and n_rotations="
            )
        if method != default:
            raise ValueError(
                f"method={method!r} is of directions that are drawn, and directions are given; "
                "pass one of directions= and method="
            )
        return Directions(_unit_columns(directions, dim, normalize), None)
    n = scalars.count("n_projections", n_projections)
    if n_rotations is not None:
        n_rotations = scalars.count("n_rotations", n_rotations)
        if n_rotations > n:
            raise ValueError(
                f"n_rotations is {n_rotations} and n_projections is {n}; "
                "each rotated set needs a direction of its own"
            )
    if method == "spiral" and dim != 3:
        raise ValueError(f'method="spiral" is of d = 3, and x has {dim} columns')
    if method == "auto":
        if dim == 1:  # there is one line only
            return Directions(np.ones((1, 1)), np.arange(0))
        method = _chosen_method(dim, bool(controlled))
        if method != "orthogonal" and n_rotations is None:
            n_rotations = min(n, _ROTATIONS)
    generator = scalars.generator(rng)
    if n_rotations is None:
        block = {"gaussian": 1, "orthogonal": dim}.get(method, n)
        return Directions(_drawn(dim, n, method, generator), np.arange(0, n, block))
    starts = np.arange(n_rotations) * n // n_rotations
    sizes = np.diff(starts, append=n)
    sets = [_drawn(dim, int(k), method, generator) for k in sizes]
    return Directions(np.concatenate(sets, axis=1), starts)


_ROTATIONS = 4  # each more of them costs exactness, and makes the standard error steadier


def _chosen_method(dim: int, controlled: bool) -> str:
    """What is most exact, by measurement: `bench/directions.py`."""
    if dim == 3:
        return "spiral"
    return "lattice" if dim <= (10 if controlled else 4) else "orthogonal"


_ROUNDED = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 1e-2}


def length_tolerance(given: Any, read: Any) -> float:
    """How far from 1 lengths may be, by what the array was rounded to before it was read."""
    names = str(getattr(given, "dtype", "")).rpartition(".")[2], str(read.dtype.name)
    return max(_ROUNDED.get(name, 1e-10) for name in names)


def _unit_columns(directions: Any, dim: int, normalize: bool) -> NDArray[Any]:
    given = validate.matrix("directions", validate.host(directions))
    if given.shape[0] != dim:
        raise ValueError(
            f"directions has {given.shape[0]} rows and x has {dim} columns; "
            "directions has shape (features, directions)"
        )
    wide: NDArray[np.float64] = given.astype(np.float64)
    largest = np.abs(wide).max(axis=0)
    if not largest.all():
        raise ValueError(f"column {np.argmin(largest)} of directions is zero: it has no direction")
    unit = 2.0 ** np.clip(np.frexp(largest)[1], -1021, 1023)  # in which squares are numbers
    with np.errstate(under="ignore"):
        lengths = np.linalg.norm(wide / unit, axis=0)
    if normalize:
        with np.errstate(under="ignore"):
            wide /= unit * lengths
        return wide
    with np.errstate(over="ignore"):
        lengths = lengths * unit
    off = np.abs(lengths - 1)
    allowed = length_tolerance(directions, given)
    if (off > allowed).any():
        worst = int(np.argmax(off))
        raise ValueError(
            f"column {worst} of directions has length {lengths[worst]:.12g}, not 1; "
            "pass normalize_directions=True to divide each by its length"
        )
    if allowed > _ROUNDED["float32"]:  # 16 bits: what was rounded had length 1
        wide /= lengths
        return wide
    return given if given.dtype.name == "float32" else wide
