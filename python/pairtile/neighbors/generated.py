"""A generated set beside the real one: whether it looks like it, covers it, or copies it.

    real, fake -> distance of each row to its k-th neighbour in its own set   (top-k fold)
               -> who lies within whose, one sweep over real x fake           (counting fold)
               -> largest ratio of radius to distance, products of distances  (scalar folds)

Distances and radii stay in float64 throughout, whatever the inputs: a float32 rounding would make
ties where there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._front import metrics, scalars, validate
from pairtile._front.categories import coded
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile.neighbors.search import Neighbors, enough_others

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress, Report
    from pairtile._front.words import Metric


class _PRDC(NamedTuple):
    precision: float
    recall: float
    density: float
    coverage: float


class PRDC(Result, _PRDC):
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


class _PrecisionRecall(NamedTuple):
    precision: float
    recall: float


class PrecisionRecall(Result, _PrecisionRecall):
    """Probabilistic precision and recall of a generated set.

    Attributes
    ----------
    precision : float
        Mean probability that a fake row lies in the support of the real rows.
    recall : float
        Mean probability that a real row lies in the support of the fake rows.
    """


def _own_radii(
    x: Any, k: int, measure: metrics.Measure, workers: int, limit: int, report: Report | None
) -> NDArray[np.float64]:
    """Distance of each row to its k-th neighbour in its own set, itself left out."""
    distances, _ = choose.module(x).knn(
        x,
        None,
        k,
        measure.name,
        dtype="float64",
        precision="default",
        metric_params=measure.params,
        workers=workers,
        memory_limit=limit,
        progress=report,
    )
    kth: NDArray[np.float64] = distances.take(k - 1, axis=1)
    return kth


def precision_recall_density_coverage(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    k: int = 5,
    metric: Metric = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    memory_limit: int | str | None = None,
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
    workers, check_finite, progress, memory_limit
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
    PRDC(precision=0.666667, recall=1.0, density=1.33333, coverage=1.0)
    """
    metric = metrics.check_distance(metric, metric_params)
    metric_params, (real, fake) = coded(metric, metric_params, real=real, fake=fake)
    finite = metrics.finite(metric, check_finite)
    k = scalars.count("k", k)
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    x, y = validate.pair(
        "real", real, "fake", fake, check_finite=finite, workers=workers, blocks=True
    )
    x, y = validate.streamed("real", x, "fake", y, limit)
    n, m = len(x), len(y)
    enough_others(k, n, " of real")
    enough_others(k, m, " of fake")
    measure = metrics.resolve(metric, metric_params, itself=("real", "fake"), real=x, fake=y)
    with reporting(progress, n * n, m * m, n * m) as (of_real, of_fake, across):
        counts = choose.module(x, y).radius_counts(
            x,
            y,
            measure.name,
            _own_radii(x, k, measure, workers, limit, of_real),
            _own_radii(y, k, measure, workers, limit, of_fake),
            closed=False,
            dtype="float64",
            metric_params=measure.params,
            workers=workers,
            memory_limit=limit,
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


def realism(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    k: int = 3,
    prune: float = 0.5,
    metric: Metric = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> NDArray[np.floating[Any]]:
    r"""How near each generated row comes to the real ones, by their own measure.

    With :math:`d_{ij}` the distance of real row i and fake row j, and :math:`r_i` the distance of
    real row i to its k-th neighbour among the real rows, itself not counted:

    .. math:: \text{realism}_j = \max_{i \in I} \frac{r_i}{d_{ij}}

    where I holds the real rows that remain once the share `prune` of them with the largest radii
    is left out: those whose radius is at most the ``1 - prune`` quantile, the median by default.
    A row scores at least 1 if and only if it lies within the radius of a real row of I.

    Parameters
    ----------
    real : array_like of shape (n, d)
        Real numbers, usually features of a network.
    fake : array_like of shape (m, d)
        The rows to judge, generated or real.
    k : int, default 3
        Neighbours that a radius reaches, 1 to n - 1.
    prune : float, default 0.5
        Share of the real rows, 0 to 1, to leave out: where data are sparse radii are large, and
        any row would look real. Radii that equal the quantile stay, so 1 keeps the smallest.
    metric, metric_params
        As in `knn`; inner_product is not a distance and rejected.
    workers, check_finite, progress
        As in `knn`.

    Returns
    -------
    ndarray of shape (m,), float32 or float64
        float64 as soon as one input is, else float32. At distance 0 from a row of I, whose radius
        may then be 0 too, it is infinite.

    Raises
    ------
    TypeError, ValueError
        If the sets, the metric, k or prune are not acceptable, as in `knn`.

    Notes
    -----
    Distances, radii and ratios are float64, rounded once at the end; the same bits on every
    backend and number of threads. Two sweeps: real in itself, then fake x real. O(n (n + m) d)
    operations, memory of O(k n + m) beyond the inputs.

    The authors' program works with squared distances and adds 1e-5 to the denominator: but for
    that, it is ``realism(..., metric="sqeuclidean")``, the square of the formula of their paper.

    References
    ----------
    T. Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models,
    NeurIPS 2019, section 5 and equation 3.

    Examples
    --------
    >>> import pairtile as pt
    >>> real = [[0.0], [1.0], [2.0], [9.0]]
    >>> pt.realism(real, [[0.5], [4.0], [2.0], [9.0]], k=1)
    array([2.        , 0.5       ,        inf, 0.14285714])
    """
    metric = metrics.check_distance(metric, metric_params)
    metric_params, (real, fake) = coded(metric, metric_params, real=real, fake=fake)
    finite = metrics.finite(metric, check_finite)
    k = scalars.count("k", k)
    prune = scalars.real("prune", prune, least=0.0, most=1.0)
    workers = resolve_workers(workers)
    x, y = validate.pair(
        "real", real, "fake", fake, check_finite=finite, workers=workers, blocks=True, sparse=False
    )
    x, y = validate.streamed("real", x, "fake", y, 0)
    n, m = len(x), len(y)
    enough_others(k, n, " of real")
    measure = metrics.resolve(metric, metric_params, itself=("real",), real=x, fake=y)
    with reporting(progress, n * n, n * m) as (of_real, across):
        radii = validate.host(_own_radii(x, k, measure, workers, 0, of_real))
        # "lower": an interpolated quantile keeps the same rows, and infinite radii have none.
        radii[radii > np.quantile(radii, 1.0 - prune, method="lower")] = -1.0
        ratios = choose.module(x, y).largest_radius_ratios(
            y,
            x,
            measure.name,
            radii,
            metric_params=measure.params,
            workers=workers,
            progress=across,
        )
    with np.errstate(over="ignore", under="ignore"):
        scores: NDArray[np.floating[Any]] = validate.narrowed(ratios, validate.working_dtype(x, y))
    wrapped: NDArray[np.floating[Any]] = validate.like(real, fake)(scores)
    return wrapped


def probabilistic_precision_recall(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    k: int = 4,
    scale: float = 1.2,
    metric: Metric = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> PrecisionRecall:
    r"""Precision and recall by the probability that a row lies in the support of the other set.

    Each row is given the same radius, `scale` times the mean of the distances :math:`r_i` (real)
    or :math:`s_j` (fake) to the k-th neighbour in the own set, itself not counted. A row belongs
    to the ball around another with a probability that falls from 1 at its centre to 0 at its
    radius, independently of all other balls. With n real rows, m fake rows and :math:`d_{ij}` the
    distance of real row i and fake row j:

    .. math::

        R = \text{scale} \cdot \tfrac1n \sum_i r_i \qquad
        \text{precision} = \tfrac1m \sum_j
            \Bigl[1 - \prod_i \bigl(1 - \max(0, 1 - d_{ij} / R)\bigr)\Bigr]

        S = \text{scale} \cdot \tfrac1m \sum_j s_j \qquad
        \text{recall} = \tfrac1n \sum_i
            \Bigl[1 - \prod_j \bigl(1 - \max(0, 1 - d_{ij} / S)\bigr)\Bigr]

    Parameters
    ----------
    real : array_like of shape (n, d)
        Real numbers, usually features of a network.
    fake : array_like of shape (m, d)
        The generated rows.
    k : int, default 4
        Neighbours that a distance reaches, 1 to min(n, m) - 1.
    scale : float, default 1.2
        Radius of the balls in units of the mean distance, above 0.
    metric, metric_params
        As in `knn`; inner_product is not a distance and rejected.
    workers, check_finite, progress
        As in `knn`.

    Returns
    -------
    PrecisionRecall
        ``(precision, recall)``.

    Raises
    ------
    TypeError, ValueError
        If the sets, the metric, k or scale are not acceptable, as in `knn`.

    Notes
    -----
    Everything is float64; the same bits on every number of threads. Each factor of a product is
    right within a relative 2^-38, so either result within 2^-38 (n + m), and usually far nearer.
    A set whose rows all have k copies has the radius 0, and no row lies within it.
    Three sweeps: each set in itself, then real x fake once, for both products.
    O((n + m)^2 d) operations, memory of O(k (n + m)) beyond the inputs.

    References
    ----------
    D. Park and S. Kim, Probabilistic Precision and Recall Towards Reliable Evaluation of
    Generative Models, ICCV 2023. Its authors' program calls the parameters ``kth`` and ``a``.

    Examples
    --------
    >>> import pairtile as pt
    >>> real = [[0.0], [1.0], [2.0], [3.0]]
    >>> pt.probabilistic_precision_recall(real, [[0.5], [2.5]], k=1, scale=2.0)
    PrecisionRecall(precision=0.953125, recall=0.9375)
    """
    metric = metrics.check_distance(metric, metric_params)
    metric_params, (real, fake) = coded(metric, metric_params, real=real, fake=fake)
    finite = metrics.finite(metric, check_finite)
    k = scalars.count("k", k)
    scale = scalars.real("scale", scale, above=0.0)
    workers = resolve_workers(workers)
    x, y = validate.pair(
        "real", real, "fake", fake, check_finite=finite, workers=workers, blocks=True, sparse=False
    )
    x, y = validate.streamed("real", x, "fake", y, 0)
    n, m = len(x), len(y)
    enough_others(k, n, " of real")
    enough_others(k, m, " of fake")
    measure = metrics.resolve(metric, metric_params, itself=("real", "fake"), real=x, fake=y)
    with reporting(progress, n * n, m * m, n * m) as (of_real, of_fake, across):
        with np.errstate(over="ignore"):
            mean_real = validate.host(_own_radii(x, k, measure, workers, 0, of_real)).mean()
            mean_fake = validate.host(_own_radii(y, k, measure, workers, 0, of_fake)).mean()
        outside = choose.module(x, y).distance_products(
            x,
            y,
            measure.name,
            scale * float(mean_fake),
            scale * float(mean_real),
            metric_params=measure.params,
            workers=workers,
            progress=across,
        )
    outside_fake, outside_real = map(validate.host, outside)
    return PrecisionRecall(
        precision=float((1.0 - outside_real).mean()), recall=float((1.0 - outside_fake).mean())
    )


def authenticity(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    metric: Metric = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    memory_limit: int | str | None = None,
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
    workers, check_finite, progress, memory_limit
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
    metric = metrics.check_distance(metric, metric_params)
    metric_params, (real, fake) = coded(metric, metric_params, real=real, fake=fake)
    finite = metrics.finite(metric, check_finite)
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    x, y = validate.pair(
        "real", real, "fake", fake, check_finite=finite, workers=workers, blocks=True
    )
    x, y = validate.streamed("real", x, "fake", y, limit)
    enough_others(1, len(x), " of real")
    measure = metrics.resolve(metric, metric_params, itself=("real",), real=x, fake=y)
    with reporting(progress, len(x) * len(x), len(x) * len(y)) as (of_real, across):
        radii = _own_radii(x, 1, measure, workers, limit, of_real)
        distances, indices = choose.module(x, y).knn(
            y,
            x,
            1,
            measure.name,
            dtype="float64",
            precision="default",
            metric_params=measure.params,
            workers=workers,
            memory_limit=limit,
            progress=across,
        )
    wrap = validate.like(real, fake)
    authentic: NDArray[np.bool_] = wrap(distances[:, 0] > radii[indices[:, 0]])
    return authentic


def distance_to_closest_record(
    x: ArrayLike,
    reference: ArrayLike,
    *,
    metric: Metric = "euclidean",
    metric_params: Mapping[str, Any] | None = None,
    distance_dtype: str | None = None,
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
    memory_limit: int | str | None = None,
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
    distance_dtype, workers, check_finite, progress, memory_limit
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
    Neighbors(distances=[[0.5], [0.0]], indices=[[1], [0]])
    """
    metric = metrics.check_distance(metric, metric_params)
    metric_params, (reference, x) = coded(metric, metric_params, reference=reference, x=x)
    finite = metrics.finite(metric, check_finite)
    workers = resolve_workers(workers)
    limit = scalars.memory_limit(memory_limit)
    reference, x = validate.aligned("reference", reference, "x", x)
    a, b = validate.pair(
        "x", x, "reference", reference, check_finite=finite, workers=workers, blocks=True
    )
    a, b = validate.streamed("x", a, "reference", b, limit)
    measure = metrics.resolve(metric, metric_params, reference=b, x=a)
    dtype = scalars.float_dtype("distance_dtype", distance_dtype)
    with reporting(progress, len(a) * len(b)) as (report,):
        distances, indices = choose.module(a, b).knn(
            a,
            b,
            1,
            measure.name,
            dtype=dtype or validate.working_dtype(a, b).name,
            precision="default",
            metric_params=measure.params,
            workers=workers,
            memory_limit=limit,
            progress=report,
        )
    wrap = validate.like(x, reference)
    return Neighbors(wrap(distances), wrap(indices))
