"""Metrics and their parameters: names, validation, and what of them reaches the engine.

Public functions call `check` (or `check_distance`) before they look at any array, and `resolve`
once the reference set is validated: a `Measure` is what the backends take. `check` gives the name
that a metric has here, which may be called otherwise elsewhere.
"""

from __future__ import annotations

import math
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from pairtile._backends.refusals import Finite
from pairtile._backends.rows import Rows
from pairtile._definitions.metrics import METRICS
from pairtile._front import scalars, validate, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pairtile._front.words import Metric

    Floats = NDArray[np.float64]

_LARGEST_P = 1024.0
_ROWS = 4096  # looked at together


class Measure(NamedTuple):
    """A metric as the backends know it: parameters validated, as float64 and contiguous."""

    name: str
    params: dict[str, Any] | None = None


def check(metric: str, metric_params: Mapping[str, Any] | None) -> Metric:
    """Its name here; raise unless there is such a metric, with parameters of these names."""
    metric = cast("Metric", scalars.choice("metric", metric, METRICS, words.METRICS))
    known = METRICS[metric].parameters
    given = dict(metric_params or {})
    unknown = sorted(set(given) - set(known), key=str)
    if unknown and not known:
        raise ValueError(f"metric {metric!r} takes no metric_params, got {unknown}")
    if unknown:
        raise ValueError(f"metric {metric!r} takes the metric_params {list(known)}, got {unknown}")
    missing = [name for name in METRICS[metric].required if given.get(name) is None]
    if missing:
        raise ValueError(f"metric {metric!r} needs metric_params={{{missing[0]!r}: ...}}")
    if metric == "mahalanobis" and (given.get("VI") is None) == (given.get("V") is None):
        raise ValueError(
            "metric 'mahalanobis' needs metric_params={'VI': ...}, the inverse covariance, or "
            "{'V': ...}, the covariance: exactly one of them"
        )
    return metric


def check_distance(metric: str, metric_params: Mapping[str, Any] | None) -> Metric:
    """`check`, and raise unless it grows as rows move apart."""
    metric = check(metric, metric_params)
    if METRICS[metric].largest_first:
        distances = ", ".join(name for name in METRICS if not METRICS[name].largest_first)
        raise ValueError(
            f"metric {metric!r} is largest for the nearest rows; "
            f"a distance is needed here: {distances}"
        )
    return metric


def finite(metric: str, check_finite: bool) -> Finite:
    """What is to be checked of the rows of a metric."""
    return "but NaN" if check_finite and METRICS[metric].takes_nan else check_finite


def resolve(
    metric: str,
    metric_params: Mapping[str, Any] | None,
    *,
    itself: Sequence[str] = (),
    **sets: NDArray[Any] | Rows | None,
) -> Measure:
    """The checked metric for validated sets by their names, the reference set first.

    A set that is None is left out. Rows of different sets meet, and those of the sets that are
    named in `itself` or alone.
    """
    given = dict(metric_params or {})
    sets = {name: rows for name, rows in sets.items() if rows is not None}
    reference: Any = next(iter(sets.values()))
    d = reference.shape[1]
    if not METRICS[metric].takes_sparse:
        for name, rows in sets.items():
            if isinstance(rows, Rows) and rows.sparse:
                sparse = " and ".join(name for name in METRICS if METRICS[name].takes_sparse)
                raise TypeError(
                    f"{name} is a sparse {type(rows.source).__name__}, which metric {metric!r} "
                    f"does not take ({sparse} do); pass {name}.toarray()"
                )
    if metric == "minkowski":
        return minkowski(given["p"])
    if metric == "weuclidean":
        w = _numbers("metric_params['w']", given["w"], (d,))
        if w.min() < 0:
            j = int(np.argmax(w < 0))
            raise ValueError(f"metric_params['w'] must not be negative, got {w[j]} at position {j}")
        return Measure(metric, {"w": w})
    if metric == "mahalanobis":
        name = "VI" if given.get("VI") is not None else "V"
        matrix = _numbers(f"metric_params[{name!r}]", given[name], (d, d))
        return Measure(metric, {"transform": _transform(name, matrix)})
    if metric == "nan_euclidean":
        return Measure(metric, {"features": float(d)})
    if METRICS[metric].on_bits:
        return Measure(metric, {"n_bits": _n_bits(metric, given.get("n_bits"), sets)})
    if metric == "gower":
        ranges = _ranges(given.get("categorical"), given.get("ranges"), reference)
        clip = given.get("clip", False)
        if not isinstance(clip, (bool, np.bool_)):
            raise TypeError(f"metric_params['clip'] must be True or False, got {clip!r}")
        _require_common(sets, itself)
        return Measure(metric, {"ranges": ranges, "clip": 1.0 if clip else math.inf})
    return Measure(metric)


def _n_bits(metric: str, n_bits: Any, sets: Mapping[str, Any]) -> int:
    """Bits in a row of packed bits, of which the sets have none beyond.

    `np.packbits` leaves the rest of the last byte 0, at the low end of the byte or, with
    ``bitorder="little"``, at the high end.
    """
    for name, rows in sets.items():
        if rows.dtype != np.uint8:
            raise TypeError(
                f"metric {metric!r} needs packed bits: {name} must be an array of dtype uint8, "
                f"as np.packbits({name}, axis=1) makes it of booleans"
            )
    most = 8 * int(next(iter(sets.values())).shape[1])
    if n_bits is None:
        return most
    given = scalars.count("metric_params['n_bits']", n_bits)
    if not most - 8 < given <= most:
        raise ValueError(
            f"metric_params['n_bits'] must be {most - 7} to {most} for rows of {most // 8} bytes, "
            f"got {given}"
        )
    padding = most - given
    last = 0  # every bit that is set in the last byte of some row
    for rows in sets.values() if padding else ():
        for part in _parts(rows):
            last |= int(np.bitwise_or.reduce(part[:, -1]))
    if last & ((1 << padding) - 1) and last >> (8 - padding):
        raise ValueError(
            f"metric_params['n_bits']={given} leaves {padding} bits of the last byte unused, but "
            "some row has bits set there; they must be 0, as np.packbits leaves them"
        )
    return given


def _parts(rows: Any) -> Iterator[NDArray[Any]]:
    """A set in host memory, some rows at a time."""
    for start in range(0, len(rows), _ROWS):
        some = slice(start, min(start + _ROWS, len(rows)))
        yield rows.read(some) if isinstance(rows, Rows) else validate.host(rows[some])


def minkowski(p: Any) -> Measure:
    """The metric for an exponent, under its own name where it has one."""
    if isinstance(p, (float, np.floating)) and p == math.inf:
        return Measure("chebyshev")
    p = scalars.real("metric_params['p']", p, above=0)
    if not 1 / _LARGEST_P <= p <= _LARGEST_P:
        raise ValueError(
            f"metric_params['p'] must be from 1/{_LARGEST_P:g} to {_LARGEST_P:g}, or inf, got {p}"
        )
    known = {1.0: Measure("manhattan"), 2.0: Measure("euclidean")}
    return known.get(p, Measure("minkowski", {"p": p}))


def _numbers(name: str, values: Any, shape: tuple[int, ...]) -> Floats:
    a = validate.host(values, name)
    if a.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {a.dtype}")
    if a.shape != shape:
        raise ValueError(
            f"{name} must have shape {shape}, by the number of features; got {a.shape}"
        )
    a = np.ascontiguousarray(a, dtype=np.float64)
    if not np.isfinite(a).all():
        raise ValueError(f"{name} contains NaN or Inf")
    return a


def _transform(name: str, matrix: Floats) -> Floats:
    """A with AᵀA = VI, or = V⁻¹: by Cholesky, by eigenvalues where VI is singular."""
    what = f"metric_params[{name!r}]"
    size = float(np.abs(matrix).max())
    if np.abs(matrix - matrix.T).max() > 1e-8 * size:
        raise ValueError(f"{what} must be symmetric")
    matrix = (matrix + matrix.T) / 2
    if name == "V":
        _check_definite(what, matrix)
    try:
        lower = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        pass
    else:
        factor = lower.T if name == "VI" else np.linalg.inv(lower)
        if np.isfinite(factor).all():
            return np.ascontiguousarray(factor)
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -1e-10 * max(values[-1], 0.0):
        raise ValueError(
            f"{what} must be positive semidefinite; its least eigenvalue is {values[0]:.3g}"
        )
    return np.ascontiguousarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


def _check_definite(what: str, covariance: Floats) -> None:
    """ValueError where some columns depend on others, as far as float64 can tell.

    Of columns in their own units: with an eigenvalue that is nothing but rounding, Cholesky goes
    through or not by luck, and distances are multiples of that rounding.
    """
    variances = np.diagonal(covariance)
    least = -math.inf
    if variances.min() > 0:
        units = np.sqrt(variances)
        values = np.linalg.eigvalsh(covariance / units[:, None] / units)
        least = values[0] / values[-1]
    if least < 2.0**-42:
        raise ValueError(
            f"{what} must be positive definite; where columns depend on each other pass a "
            "pseudo-inverse as 'VI'"
        )


def _ranges(categorical: Any, ranges: Any, reference: NDArray[Any] | Rows) -> Floats:
    """Range of each column, 0 for those that are only compared."""
    d = reference.shape[1]
    compared = compared_columns(categorical, d)
    if ranges is None:
        found = spread(reference)
    else:
        found = _numbers("metric_params['ranges']", ranges, (d,))
        if found.min() < 0:
            j = int(np.argmax(found < 0))
            raise ValueError(
                f"metric_params['ranges'] must not be negative, got {found[j]} in column {j}"
            )
    return np.where(compared, 0.0, found)


def compared_columns(categorical: Any, d: int) -> NDArray[np.bool_]:
    """The parameter `categorical` of gower as a mask."""
    name = "metric_params['categorical']"
    compared = np.zeros(d, dtype=bool)
    if categorical is None:
        return compared
    a = validate.host(categorical, name)
    if a.dtype.kind == "b":
        if a.shape != (d,):
            raise ValueError(f"{name} must have shape ({d},), one per column, got {a.shape}")
        return a
    if a.size == 0:
        return compared
    if a.dtype.kind not in "iu" or a.ndim != 1:
        raise TypeError(
            f"{name} must be column numbers or a boolean mask, got dtype {a.dtype} and shape "
            f"{a.shape}"
        )
    bad = a[(a < -d) | (a >= d)]
    if bad.size:
        raise ValueError(f"{name} holds the column {bad[0]}; there are {d} columns")
    compared[a] = True
    return compared


def spread(*sets: NDArray[Any] | Rows) -> Floats:
    """Largest less smallest of the finite values of each column, in all sets."""
    low = np.full(sets[0].shape[1], np.inf)
    high = -low
    for part in chain.from_iterable(map(_parts, sets)):
        rows = part.astype(np.float64)
        finite = np.isfinite(rows)
        low = np.minimum(low, np.where(finite, rows, np.inf).min(axis=0))
        high = np.maximum(high, np.where(finite, rows, -np.inf).max(axis=0))
    with np.errstate(over="ignore", invalid="ignore"):
        found = high - low
    if (found == np.inf).any():
        column = int(np.argmax(found == np.inf))
        raise ValueError(
            f"the range of column {column} of the reference set exceeds float64; "
            "pass metric_params={'ranges': ...}"
        )
    return np.where(found > 0, found, 0.0)  # -inf: no finite value at all


def _require_common(sets: Mapping[str, Any], itself: Sequence[str]) -> None:
    """ValueError that names two rows without a feature that both have, if there are any."""
    missing = {name: _Missing.of(rows) for name, rows in sets.items()}
    names = list(missing)
    alone = names if len(names) == 1 else itself
    for name, other in [*combinations(names, 2), *((one, one) for one in alone)]:
        mine, others = missing[name], missing[other]
        for i in np.flatnonzero(mine.counts + others.counts.max() >= mine.d):
            apart = np.flatnonzero(mine.counts[i] + others.counts >= mine.d)
            apart = apart[(others.bits[apart] | mine.bits[i] == 255).all(axis=1)]
            apart = apart[apart != i] if name == other else apart
            if apart.size:
                raise ValueError(
                    f"metric 'gower' needs a feature that both rows have: row {apart[0]} of "
                    f"{other} and row {i} of {name} have none in common"
                )


class _Missing(NamedTuple):
    """Which features the rows of a set lack: their number by row, and packed bits, padded by 1."""

    counts: NDArray[np.int64]
    bits: NDArray[np.uint8]
    d: int

    @classmethod
    def of(cls, rows: Any) -> _Missing:
        counts, bits = [], []
        for part in _parts(rows):
            missing = np.isnan(part) if "float" in part.dtype.name else np.zeros(part.shape, bool)
            counts.append(np.count_nonzero(missing, axis=1))
            bits.append(~np.packbits(~missing, axis=1))
        return cls(np.concatenate(counts), np.concatenate(bits), int(rows.shape[1]))
