"""NumPy twin of W_p^p along directions, of its derivatives by them and of climbs along these."""

import numpy as np

from pairtile._backends.climbs import highest_points
from pairtile._backends.numpy.slices import Array, Float64, Progress, sliced_costs


def sliced_direction_slopes(
    x: Array,
    y: Array,
    directions: Array,
    p: float,
    x_weights: Float64 | None,
    y_weights: Float64 | None,
    *,
    workers: int,
    progress: Progress = None,
) -> tuple[Float64, Float64]:
    """W_p^p of each direction, and its derivatives by it, (d, L).

    A row moves its projection on θ as θ moves: through the gradient by rows, which is a multiple of
    θ for each of them, Σ_i x_i (∂W_p^p/∂x_i · θ) / ‖θ‖².
    """
    costs, slopes = np.empty(directions.shape[1]), np.empty(directions.shape)
    # in one layout, whatever theirs is: an ascent magnifies how their sums round
    a, b = (s.astype(np.float64, order="C") for s in (x, y))
    centre = a.mean(axis=0)
    for at in range(len(costs)):
        along = directions[:, at : at + 1].astype(np.float64)
        costs[at : at + 1], *grads = sliced_costs(
            a, b, along, p, x_weights, y_weights,
            gradient=True, direction_weights=None, workers=workers,
        )[:3]  # fmt: skip
        of_a, of_b = (np.asarray(grad, dtype=np.float64) @ along[:, 0] for grad in grads)
        slope = (a - centre).T @ of_a + (b - centre).T @ of_b
        slopes[:, at] = slope / (along[:, 0] @ along[:, 0])
        if progress is not None:
            progress(at + 1, len(costs))
    return costs, slopes


def sliced_climbs(
    x: Array,
    y: Array,
    starts: Float64,
    units: Float64,
    p: float,
    x_weights: Float64 | None,
    y_weights: Float64 | None,
    *,
    rounds: int,
    kept: int,
    tol: float,
    workers: int,
    progress: Progress = None,
) -> tuple[Float64, Float64]:
    """The highest points (R, d) on the ways from the starts up, and log W_p there."""

    def slopes(along: Float64, report: Progress) -> tuple[Float64, Float64]:
        return sliced_direction_slopes(
            x, y, along, p, x_weights, y_weights, workers=workers, progress=report
        )

    return highest_points(slopes, starts, units, p, progress, rounds=rounds, kept=kept, tol=tol)
