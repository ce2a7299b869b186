"""Every metric with parameters that fit the data, and what SciPy says it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.distance import cdist

from pairtile._definitions import metrics as definitions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ALL = definitions.METRICS
METRICS = tuple(name for name in ALL if not ALL[name].on_bits)
BIT_METRICS = tuple(name for name in ALL if ALL[name].on_bits)
PLAIN_METRICS = tuple(name for name in ALL if ALL[name].plain)
FINITE = tuple(name for name in METRICS if not ALL[name].takes_nan)
DISTANCES = tuple(metric for metric in METRICS if not ALL[metric].largest_first)


def parameters(metric: str, d: int) -> dict[str, Any] | None:
    """Something for d features that no simpler metric would do as well; the same at each call."""
    rng = np.random.default_rng([d, len(metric)])
    if metric == "minkowski":
        return {"p": 3}
    if metric == "weuclidean":
        return {"w": np.where(rng.random(d) < 0.1, 0.0, rng.exponential(size=d))}
    if metric == "mahalanobis":
        a = rng.normal(size=(d, d))
        return {"VI": a @ a.T / d + 0.1 * np.eye(d)}
    if metric == "gower":
        return {"categorical": rng.random(d) < 0.3, "ranges": rng.exponential(size=d)}
    return None


def named(metric: str, x: NDArray[Any] | int) -> dict[str, Any]:
    """Arguments that ask for a metric on such rows, with `parameters` where it needs some."""
    d = x if isinstance(x, int) else x.shape[1]
    return {"metric": metric, "metric_params": parameters(metric, d)}


def narrowed(metric: str, x: NDArray[Any]) -> NDArray[Any]:
    """The first features, where a pair costs the twin their square."""
    return x[:, :40] if metric == "mahalanobis" else x


def by_scipy(x: Floats, y: Floats, metric: str, params: dict[str, Any] | None = None) -> Floats:
    """Distances by SciPy; what it does not have by definition."""
    params = parameters(metric, x.shape[1]) if params is None else params
    with np.errstate(all="ignore"):
        if metric == "inner_product":
            return x @ y.T
        if metric == "weuclidean":
            return cdist(x, y, "euclidean", w=params["w"])
        if metric == "nan_euclidean":
            squares = (x[:, None] - y) ** 2
            return np.sqrt(x.shape[1] * np.nanmean(squares, axis=2))
        if metric == "correlation":  # SciPy's is NaN for constant rows
            x, y = (a / np.maximum(np.abs(a).max(axis=1, keepdims=True), 1e-300) for a in (x, y))
            x, y = (a.astype(np.longdouble) for a in (x, y))
            x, y = (a - a.mean(axis=1, keepdims=True) for a in (x, y))
            x, y = (np.where(np.ptp(a, axis=1, keepdims=True) == 0, 0, a) for a in (x, y))
            norms = np.outer(*(np.linalg.norm(a, axis=1) for a in (x, y)))
            cosines = np.divide(x @ y.T, norms, out=np.zeros(norms.shape), where=norms > 0)
            return (1 - cosines).astype(np.float64)
        if metric == "lorentzian":
            return np.log1p(np.abs(x[:, None] - y)).sum(axis=2)
        if metric == "gower":
            apart = np.abs(x[:, None] - y)
            compared = params["categorical"] | (params["ranges"] == 0)
            return np.where(compared, apart > 0, apart / params["ranges"]).mean(axis=2)
        name = {"manhattan": "cityblock"}.get(metric, metric)
        found = cdist(x, y, name, **(params or {}))
    return np.nan_to_num(found, nan=0.0, posinf=np.inf) if metric == "braycurtis" else found
