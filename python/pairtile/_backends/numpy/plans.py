"""NumPy twin of `cpp/slices/plans.cpp`: transport plans in space that lines give."""

import numpy as np
from numpy.typing import NDArray

from pairtile._backends.numpy.slices import (
    Array,
    Float64,
    Progress,
    _coupling,
    _cumulative_mass,
    _project,
    even_pieces,
)

_BUFFER = 1 << 22  # float64 numbers of differences held at a time
Int64 = NDArray[np.int64]


def sliced_plan_distances(
    x: Array,
    y: Array,
    directions: Array,
    p: float,
    x_weights: Float64 | None,
    y_weights: Float64 | None,
    *,
    workers: int,
    progress: Progress = None,
) -> Float64:
    """(Σ mass ‖x_i − y_j‖^p)^{1/p} over the monotone coupling along each direction."""
    distances = np.empty(directions.shape[1])
    for at in range(len(distances)):
        rows, columns, mass = _pieces(x, y, directions, at, x_weights, y_weights)
        distances[at] = _distance(x, y, rows, columns, mass, p)
        if progress is not None:
            progress(at + 1, len(distances))
    return distances


def sliced_plan(
    x: Array,
    y: Array,
    directions: Array,
    p: float,
    x_weights: Float64 | None,
    y_weights: Float64 | None,
    *,
    workers: int,
    progress: Progress = None,
) -> tuple[Int64, Int64, Float64, Float64]:
    """The mean of the couplings along all directions, by row and column; their distances."""
    distances = np.empty(directions.shape[1])
    pairs: Int64 = np.empty((0, 2), dtype=np.int64)
    masses: Float64 = np.empty(0)
    for at in range(len(distances)):
        rows, columns, mass = _pieces(x, y, directions, at, x_weights, y_weights)
        distances[at] = _distance(x, y, rows, columns, mass, p)
        pairs, places = np.unique(
            np.concatenate([pairs, np.stack([rows, columns], axis=1)]), axis=0, return_inverse=True
        )
        all_masses = np.concatenate([masses, mass])
        masses = np.bincount(places.ravel(), all_masses).astype(np.float64)
        if progress is not None:
            progress(at + 1, len(distances))
    return pairs[:, 0].copy(), pairs[:, 1].copy(), masses / len(distances), distances


def _pieces(
    x: Array,
    y: Array,
    directions: Array,
    at: int,
    x_weights: Float64 | None,
    y_weights: Float64 | None,
) -> tuple[Int64, Int64, Float64]:
    """Rows of x and y that the coupling along one direction joins, and their mass."""
    x_order, y_order = (
        np.argsort(_project(s, directions, slice(at, at + 1))[:, 0], kind="stable") for s in (x, y)
    )
    if x_weights is None and y_weights is None:
        mass, i, j = even_pieces(len(x), len(y))
    else:
        mass, i, j = _coupling(
            _cumulative_mass(x_order, x_weights), _cumulative_mass(y_order, y_weights)
        )
    some = mass > 0
    return x_order[i[some]], y_order[j[some]], mass[some]


def _distance(
    x: Array, y: Array, rows: Int64, columns: Int64, mass: Float64, p: float
) -> np.float64:
    apart = np.empty(len(rows))
    step = max(1, _BUFFER // x.shape[1])
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        apart[some] = np.linalg.norm(
            x[rows[some]].astype(np.float64) - y[columns[some]].astype(np.float64), axis=1
        )
    largest = apart.max() or 1.0
    with np.errstate(under="ignore"):
        return np.float64(largest * (mass @ (apart / largest) ** p) ** (1 / p))
