"""A generated set beside the real one: whether it looks like it, covers it, or copies it.

    real, fake -> distance of each row to its k-th neighbour in its own set   (top-k fold)
               -> who lies within whose, one sweep over real x fake           (counting fold)

Distances and radii stay in float64 throughout, whatever the inputs: a float32 rounding would make
ties where there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile import _arrays, _backend
from pairtile._progress import reporting
from pairtile.neighbors import Neighbors, check_distance, enough_others, params_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from pairtile._progress import Progress, Report


class PRDC(NamedTuple):
    """Fidelity and diversity of a generated set.

    Attributes
    ----------
    precision : float
        Share of the fake rows within the radius of some real row.
    recall : float
        Share of the real rows within the radius of some fake row.
    density : float
        Number of real rows within whose radius a fake row lies, over k, on average; may exceed 1.
    coverage : float
        Share of the real rows that have a fake row within their radius.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def _own_radii(
    x: NDArray[Any],
    k: int,
    metric: str,
    params: dict[str, Any] | None,
    workers: int,
    report: Report | None,
) -> NDArray[np.float64]:
    """Distance of each row to its k-th neighbour in its own set, itself left out."""
    distances, _ = _backend.module(x).knn(
        x,
        None,
        k,
        metric,
        metric_params=params,
        dtype="float64",
        precision="default",
        workers=workers,
        progress=report,
    )
    kth: NDArray[np.float64] = distances.take(k - 1, axis=1)
    return kth


def precision_recall_density_coverage(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    k: int = 5,
    metric: str = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> PRDC:
    r"""Precision, recall, density and coverage of a generated set.

    With n real rows, m fake rows, :math:`d_{ij}` the distance of real row i and fake row j, and
    :math:`r_i`, :math:`s_j` their distances to the k-th neighbour in their own set, the row itself
    not counted:

    .. math::

        \text{precision} = \tfrac1m \sum_j 1[\exists i: d_{ij} < r_i] \qquad
        \text{recall} = \tfrac1n \sum_i 1[\exists j: d_{ij} < s_j]

        \text{density} = \tfrac1{km} \sum_{ij} 1[d_{ij} < r_i] \qquad
        \text{coverage} = \tfrac1n \sum_i 1[\min_j d_{ij} < r_i]

    Parameters
    ----------
    real : array_like of shape (n, d)
        Real numbers, usually features of a network.
    fake : array_like of shape (m, d)
        The generated rows.
    k : int, default 5
        Neighbours that a radius reaches, 1 to min(n, m) - 1. The package ``prdc`` calls it
        ``nearest_k`` and counts in the same way.
    metric, metric_params
        As in `knn`; inner_product is not a distance and rejected.
    workers, check_finite, progress
        As in `knn`.

    Returns
    -------
    PRDC
        ``(precision, recall, density, coverage)``.

    Raises
    ------
    TypeError, ValueError
        If the sets, the metric or k are not acceptable, as in `knn`.

    Notes
    -----
    Everything is float64, and a pair exactly at a radius is outside. Three sweeps: each set in
    itself, then real x fake once, for both radius vectors. O((n + m)^2 d) operations, memory of
    O(k (n + m)) beyond the inputs.

    References
    ----------
    Precision and recall: T. Kynkäänniemi et al., Improved Precision and Recall Metric for
    Assessing Generative Models, NeurIPS 2019. Density and coverage: M. F. Naeem et al., Reliable
    Fidelity and Diversity Metrics for Generative Models, ICML 2020.

    Examples
    --------
    >>> import pairtile as pt
    >>> real = [[0.0], [1.0], [2.0], [3.0]]
    >>> pt.precision_recall_density_coverage(real, [[0.5], [2.5], [9.0]], k=1)
    PRDC(precision=0.6666666666666666, recall=1.0, density=1.3333333333333333, coverage=1.0)
    """
    check_distance(metric, metric_params)
    k = _arrays.count("k", k)
    workers = _arrays.resolve_workers(workers)
    x, y = _arrays.pair("real", real, "fake", fake, check_finite=check_finite, workers=workers)
    params = params_for(metric, metric_params, real=x, fake=y)
    n, m = len(x), len(y)
    enough_others(k, n, " of real")
    enough_others(k, m, " of fake")
    with reporting(progress, n * n, m * m, n * m) as (of_real, of_fake, across):
        counts = _backend.module(x, y).radius_counts(
            x,
            y,
            metric,
            _own_radii(x, k, metric, params, workers, of_real),
            _own_radii(y, k, metric, params, workers, of_fake),
            metric_params=params,
            closed=False,
            dtype="float64",
            workers=workers,
            progress=across,
        )
    in_real_ball, balls_around_fake, in_fake_ball, _ = counts
    return PRDC(
        precision=float((balls_around_fake > 0).mean()),
        recall=float((in_fake_ball > 0).mean()),
        # Multiplied by 1/k, not divided by k, which rounds as prdc does.
        density=float(1.0 / k * balls_around_fake.mean()),
        coverage=float((in_real_ball > 0).mean()),
    )


def authenticity(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    metric: str = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> NDArray[np.bool_]:
    r"""Which generated rows are new, rather than copies of a real row.

    Fake row j, whose nearest real row is i, is authentic if it is farther from i than i is from
    its own nearest real neighbour: :math:`d_{ij} > \min_{l \ne i} d(x_i, x_l)`.

    Parameters
    ----------
    real : array_like of shape (n, d)
        The rows that the generator learnt from, at least 2.
    fake : array_like of shape (m, d)
        The generated rows.
    metric, metric_params
        As in `knn`; inner_product is not a distance and rejected.
    workers, check_finite, progress
        As in `knn`.

    Returns
    -------
    ndarray of shape (m,), bool
        Its mean is the authenticity score of the generator.

    Raises
    ------
    TypeError, ValueError
        If the sets or the metric are not acceptable, as in `knn`.

    Notes
    -----
    Everything is float64. Of several nearest real rows the one with the lowest index counts.
    O(n (n + m) d) operations, memory of O(n + m) beyond the inputs.

    References
    ----------
    A. M. Alaa et al., How Faithful is your Synthetic Data? Sample-level Metrics for Evaluating and
    Auditing Generative Models, ICML 2022.

    Examples
    --------
    >>> import pairtile as pt
    >>> pt.authenticity([[0.0], [1.0], [5.0]], [[0.1], [2.5], [7.0], [10.0]])
    array([False,  True, False,  True])
    """
    check_distance(metric, metric_params)
    workers = _arrays.resolve_workers(workers)
    x, y = _arrays.pair("real", real, "fake", fake, check_finite=check_finite, workers=workers)
    params = params_for(metric, metric_params, real=x, fake=y)
    enough_others(1, len(x), " of real")
    with reporting(progress, len(x) * len(x), len(x) * len(y)) as (of_real, across):
        radii = _own_radii(x, 1, metric, params, workers, of_real)
        distances, indices = _backend.module(x, y).knn(
            y,
            x,
            1,
            metric,
            metric_params=params,
            dtype="float64",
            precision="default",
            workers=workers,
            progress=across,
        )
    wrap = _arrays.like(real, fake)
    authentic: NDArray[np.bool_] = wrap(distances[:, 0] > radii[indices[:, 0]])
    return authentic


def distance_to_closest_record(
    x: ArrayLike,
    reference: ArrayLike,
    *,
    metric: str = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    distance_dtype: str | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> Neighbors:
    """The nearest reference of each row: how near a synthetic record comes to a real one.

    Parameters
    ----------
    x : array_like of shape (n, d)
        The records in question, usually synthetic.
    reference : array_like of shape (m, d)
        The records that they should not repeat.
    metric, metric_params
        As in `knn`; inner_product is not a distance and rejected.
    distance_dtype, workers, check_finite, progress
        As in `knn`.

    Returns
    -------
    Neighbors
        ``(distances, indices)``, each of shape (n, 1). To judge the distances, compare their low
        quantiles with those of real records that the generator has not seen.

    Raises
    ------
    TypeError, ValueError
        If the sets or the metric are not acceptable, as in `knn`.

    Notes
    -----
    O(n m d) operations; memory beyond inputs and result is O(tiles).

    Examples
    --------
    >>> import pairtile as pt
    >>> pt.distance_to_closest_record([[0.5], [4.0]], [[4.0], [0.0]])
    Neighbors(distances=array([[0.5],
           [0. ]]), indices=array([[1],
           [0]]))
    """
    check_distance(metric, metric_params)
    workers = _arrays.resolve_workers(workers)
    a, b = _arrays.pair("x", x, "reference", reference, check_finite=check_finite, workers=workers)
    params = params_for(metric, metric_params, x=a, reference=b)
    dtype = _arrays.float_dtype("distance_dtype", distance_dtype)
    with reporting(progress, len(a) * len(b)) as (report,):
        distances, indices = _backend.module(a, b).knn(
            a,
            b,
            1,
            metric,
            metric_params=params,
            dtype=dtype or _arrays.working_dtype(a, b).name,
            precision="default",
            workers=workers,
            progress=report,
        )
    wrap = _arrays.like(x, reference)
    return Neighbors(wrap(distances), wrap(indices))
