"""Data and kernels that the tests of the GPU share."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from pairtile._backends.numpy import neighbors, radius
from pairtile._definitions.metrics import METRICS, ordered

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
