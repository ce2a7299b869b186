"""Data and kernels that the tests of the GPU share."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from pairtile._backends.numpy import neighbors, radius
from pairtile._definitions.metrics import METRICS, ordered
from pairtile._front import metrics

TERMS: dict[str, tuple[float, ...]] = {
    "gaussian": (0.05,),
    "laplace": (0.3,),
    "laplace_l1": (0.1,),
    "rational_quadratic": (0.2, 1.3),
    "cauchy": (0.3,),
    "matern32": (0.4,),
    "matern52": (0.6,),
    "polynomial": (3.0, 0.1, 1.0),
    "linear": (),
    "cosine": (),
    "energy": (1.0,),
}


def data(n: int, d: int, dtype: str, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng([seed, n, d])
    x = rng.normal(size=(n, d)) * (20 if "int" in dtype else 1)
    x = np.abs(x) if dtype == "uint8" else x
    x[n // 2] = x[0]  # a repeated row
    x[n // 3] = 0  # a zero row
    return x.astype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)


def params_of(metric: str, **sets: Any) -> Any:
    """What a metric is given beside rows: weights from 0 on, a matrix that mixes all features."""
    d = next(iter(sets.values())).shape[1]
    rng = np.random.default_rng(d)
    mixed = rng.normal(size=(d, 2 * d))
    given: dict[str, Any] = {
        "weuclidean": {"w": np.where(np.arange(d) % 5 == 4, 0, 10.0 ** rng.uniform(-2, 2, size=d))},
        "mahalanobis": {"VI": mixed @ mixed.T},
    }
    return metrics.resolve(metric, given.get(metric), **sets).params


def twin_searches_infinite_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the twin leave out rows with NaN alone, as a GPU does: Inf is infinitely far."""

    def of_numbers(metric: str, a: Any, b: Any, params: Any = None) -> Any:
        with np.errstate(all="ignore"):
            value = ordered(metric, a, b, params)
        if not METRICS[metric].takes_nan:
            for side, rows in ((value, a), (value.T, b)):
                side[np.isnan(rows).any(axis=1)] = np.nan
        return value

    for module in (neighbors, radius):
        monkeypatch.setattr(module, "ordered_of_finite", of_numbers)


def list_bytes(k: int) -> int:
    """Of a list of neighbours: for up to 32 of them 128 places, else half as many more, twice."""
    places = 128 if k <= 32 else 2 * (k + min(max(256, k // 2), 65_536))
    return 16 * places + 8
