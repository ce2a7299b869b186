"""Tables as matrices of numbers, in which distances mean something.

Features -> numbers, flags, dates: one column each, and an indicator where values are missing
-> categories, texts: a column for each level
-> both tables side by side, and the name and the source of each column
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front import scalars
from pairtile._front.results import Result
from pairtile.tables import features as parts
from pairtile.tables.features import NUMERIC, Feature, Tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RATIO = 10.0  # of scales, beyond which the largest would decide alone


class _Encoded(NamedTuple):
    reference: NDArray[Any]
    current: NDArray[Any]
    names: list[str]
    sources: list[str]


class Encoded(Result, _Encoded):
    """Two tables as matrices with the same columns.

    Attributes
    ----------
    reference : ndarray of shape (n, d)
        float32 if all columns are numbers of at most that width and stay as they are, else
        float64.
    current : ndarray of shape (m, d)
        Likewise.
    names : list of str
        Of the columns: the source's own; "name=level" for a level of a category; "name missing"
        for an indicator; "name[0]" for an entry of a list.
    sources : list of str
        For each column the name of the table's column that it comes from.
    """


def encode(
    reference: Any,
    current: Any,
    *,
    missing: str = "indicator",
    max_categories: int = 50,
    standardize: bool = False,
) -> Encoded:
    r"""Two tables as matrices of numbers, for any function of samples.

    Numbers, flags (bool, and numbers that are all 0 or 1) and dates (days since the earliest date
    of both) become a column each; categories and strings a column of 0 and 1 for each level of
    both tables; lists of one length a column for each position.

    Parameters
    ----------
    reference, current : frame, series or array_like
        Tables with the same names of columns in any order (pandas, polars, pyarrow and what
        speaks their protocols), or arrays of shape (n, d) and (m, d), whose columns are called
        x0, x1, ….
    missing : {"indicator", "drop", "raise"}
        "indicator": a missing number, flag or date is the median of both tables, and a column
        "name missing" of 0 and 1 says where; of a category it is one more level. "drop": rows
        that lack a value are left out. "raise": an error that counts them.
    max_categories : int, default 50
        Levels of a category, over both tables; where there are more, the rarest are one, "other".
    standardize : bool, default False
        True: numbers, dates and flags are centred and divided by the standard deviation (ddof 0)
        of the present values of both tables, and the columns of a category divided by
        :math:`\sqrt{\sum_l p_l (1 - p_l)}` of the shares in both, so that their variances add
        to 1. Over both tables, so that a relabelling of rows leaves all of it as it is: a
        permutation test of what is returned has its level.

    Returns
    -------
    Encoded
        ``(reference, current, names, sources)``.

    Raises
    ------
    TypeError, ValueError
        If the tables have different columns, a column is of different kinds in them, holds
        values that are neither numbers, flags, dates, strings nor lists of one length, or an
        infinite number. The message names the column.

    Notes
    -----
    Durations count in days. A column without any value is all 0, with its indicator.
    O(n + m) memory for each column, beside the matrices.

    Examples
    --------
    >>> import pyarrow as pa
    >>> import pairtile as pt
    >>> old = pa.table({"age": [31, 47], "city": ["Rome", "Oslo"]})
    >>> new = pa.table({"city": ["Oslo", None], "age": [52, None]})
    >>> encoded = pt.encode(old, new)
    >>> encoded.names
    ['age', 'age missing', 'city=Oslo', 'city=Rome', 'city missing']
    >>> encoded.current.tolist()
    [[52.0, 0.0, 1.0, 0.0, 0.0], [47.0, 1.0, 0.0, 0.0, 1.0]]
    """
    scalars.choice("missing", missing, parts.MISSING)
    if not isinstance(standardize, (bool, np.bool_)):
        raise TypeError(f"standardize must be True or False, got {standardize!r}")
    tables = parts.pair(reference, current)
    tables, _ = without_missing(tables, missing)
    return of_features(parts.joined(tables, max_categories), standardize=bool(standardize))


def without_missing(
    tables: Tables, missing: str
) -> tuple[Tables, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The rows that `missing` leaves, and which they are."""
    if missing == "raise":
        parts.refuse_missing(tables)
    rows = [np.arange(frame.rows) for frame in tables[:2]]
    if missing == "drop":
        rows = [np.flatnonzero(~parts.incomplete(frame)) for frame in tables[:2]]
        for name, left in zip(tables.names, rows, strict=True):
            if not len(left):
                raise ValueError(
                    f"every row of {name} lacks a value in some column, so missing='drop' leaves "
                    "none; missing='indicator' keeps them"
                )
        if any(len(left) < frame.rows for left, frame in zip(rows, tables[:2], strict=True)):
            tables = tables.rows(rows[0], rows[1])
    return tables, (rows[0], rows[1])


def differing_scales(features: Sequence[Feature]) -> tuple[str, str] | None:
    """The two columns whose scales differ most, if they do by more than 10×: smallest, largest.

    Of columns that are not constant; the scale of a category is √Σ_l p_l(1 − p_l).
    """
    scales = [(parts.scale(f), f.name) for f in features]
    scales = [s for s in scales if s[0] > 0]
    if not scales or max(scales)[0] <= RATIO * min(scales)[0]:
        return None
    return min(scales)[1], max(scales)[1]


def of_features(features: Sequence[Feature], *, standardize: bool) -> Encoded:
    """The matrices of joined columns."""
    names: list[str] = []
    sources: list[str] = []
    for feature in features:
        own = [feature.name]
        if feature.kind not in NUMERIC:
            own = [f"{feature.name}={level}" for level in feature.levels]
        if _misses(feature):
            own.append(f"{feature.name} missing")
        names += own
        sources += [feature.source] * len(own)
    narrow = not standardize and all(f.dtype == np.float32 for f in features)
    dtype = np.float32 if narrow else np.float64
    x = np.zeros((len(features[0].reference), len(names)), dtype=dtype)
    y = np.zeros((len(features[0].current), len(names)), dtype=dtype)
    at = 0
    for feature in features:
        if feature.kind in NUMERIC:
            at = _put_number(feature, x, y, at, standardize)
        else:
            at = _put_levels(feature, x, y, at, standardize)
    return Encoded(x, y, names, sources)


def _misses(feature: Feature) -> bool:
    return any(bool(m.any()) for m in feature.missing)


def _put_number(
    feature: Feature, x: NDArray[Any], y: NDArray[Any], at: int, standardize: bool
) -> int:
    present = parts.pooled(feature)
    middle = _median(present)
    centre, scale, unit = 0.0, 1.0, 1.0
    if standardize and (deviation := parts.spread(present)):
        unit = parts.unit_of(present)
        centre, scale = float((present / unit).mean()), deviation / unit
    misses = _misses(feature)
    for out, values, gone in zip((x, y), (feature.reference, feature.current), feature.missing,
                                 strict=True):  # fmt: skip
        whole = np.where(gone, middle, values)
        out[:, at] = (whole / unit - centre) / scale
        if misses:
            out[:, at + 1] = gone
    return at + 1 + misses


def _median(values: NDArray[Any]) -> float:
    """That of numpy.median, and no overflow between two numbers; 0 of none."""
    if not len(values):
        return 0.0
    half = (len(values) - 1) // 2, len(values) // 2
    low, high = np.partition(values, half)[list(half)]
    return float(low / 2 + high / 2) if low != high else float(low)


def _put_levels(
    feature: Feature, x: NDArray[Any], y: NDArray[Any], at: int, standardize: bool
) -> int:
    scale = parts.scale(feature) if standardize else 1.0
    height = 1 / scale if scale else 1.0
    last = len(feature.levels)
    for out, codes in ((x, feature.reference), (y, feature.current)):
        out[np.arange(len(codes)), at + np.where(codes < 0, last, codes)] = height
    return at + last + _misses(feature)
