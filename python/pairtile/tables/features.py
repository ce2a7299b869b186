"""Two tables side by side: what each column is in both of them, and its values as numbers or codes.

    two tables -> read, aligned by name -> rows without, or with missing values -> Features

First station of everything in this room. Messages name the table and the column.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front import frames, scalars, validate
from pairtile._front.frames import Column, Frame, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

MISSING = ("indicator", "drop", "raise")
NUMERIC = ("number", "flag", "date")
OTHER = "other"  # the rarest levels of a text column together
_NAMES = ("reference", "current")


class Feature(NamedTuple):
    """A column of both tables.

    Attributes
    ----------
    name : str
        The column's; of a column of lists, with the position in brackets.
    source : str
        The column's.
    kind : {"number", "category", "flag", "date", "text"}
    reference, current : ndarray of shape (n,) and (m,)
        Numbers, flags as 0 and 1 and dates as days since `origin`: float64, NaN where missing.
        Categories and texts: positions in `levels`, int64, −1 where missing.
    levels : tuple of str
        Of categories and texts, sorted; a text has "other" last.
    origin : datetime64 or None
        The earliest date of both.
    dtype : dtype
        What the numbers came as.
    """

    name: str
    source: str
    kind: str
    reference: NDArray[Any]
    current: NDArray[Any]
    levels: tuple[str, ...] = ()
    origin: np.datetime64 | None = None
    dtype: np.dtype[Any] = np.dtype(np.float64)

    @property
    def missing(self) -> tuple[Mask, Mask]:
        """Where there is no value, in either table."""
        if self.kind in NUMERIC:
            return np.isnan(self.reference), np.isnan(self.current)
        return self.reference < 0, self.current < 0

    @property
    def present(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The values that there are."""
        of_x, of_y = self.missing
        return self.reference[~of_x], self.current[~of_y]


class Tables(NamedTuple):
    """Two frames of the same columns in the same order, and the rows they were cut from."""

    reference: Frame
    current: Frame
    names: tuple[str, str] = _NAMES

    def rows(self, of_reference: NDArray[np.int64], of_current: NDArray[np.int64]) -> Tables:
        """These rows of either."""
        return self._replace(
            reference=taken(self.reference, of_reference), current=taken(self.current, of_current)
        )


def unnamed(name: str, x: Any) -> Frame:
    """A series, or an array of numbers whose columns are called x0, x1, …."""
    return frames.read(name, x) if frames.is_series(x) else _of_array(name, x)


def _of_array(name: str, x: Any) -> Frame:
    if isinstance(x, (str, os.PathLike)):
        raise TypeError(
            f"{name} is a path, {str(x)!r}: pass the table that is read from it, or compare files "
            "with `pairtile compare`"
        )
    if isinstance(x, dict):
        raise TypeError(f"{name} is a dict: pass pandas.DataFrame({name}) or pyarrow.table({name})")
    try:
        a = validate.host(validate.array(name, x))
    except TypeError as error:
        raise TypeError(
            f"{name} must be a table with named columns or an array of numbers: {error}"
        ) from None
    if a.ndim == 1:
        a = a[:, None]
    if a.ndim != 2:
        raise ValueError(
            f"{name} must be 2-D (rows, features) or 1-D (one feature), got {a.ndim}-D with shape "
            f"{a.shape}"
        )
    columns = []
    for j in range(a.shape[1]):
        missing = np.isnan(a[:, j]) if a.dtype.kind == "f" else None
        if missing is not None and not missing.any():
            missing = None
        columns.append(Column(f"x{j}", a.dtype.name, "number", a[:, j], missing))
    return Frame(tuple(columns), None, len(a))


def _named_alike(x: Frame, y: Frame) -> Frame:
    """One feature is compared with one feature, whatever the series are called."""
    if len(x.columns) == len(y.columns) == 1:
        return y._replace(columns=(y.columns[0]._replace(name=x.columns[0].name),))
    return y


def pair(
    reference: Any,
    current: Any,
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] | None = None,
    names: tuple[str, str] = _NAMES,
) -> Tables:
    """Both tables, with the same columns in the order of the first.

    Raises
    ------
    TypeError, ValueError
        If one is no table, a name is not known, the sets of names differ, or no column or no row
        is left.
    """
    chosen = _name_list("columns", columns)
    dropped = _name_list("drop", drop)
    of_frames = [frames.is_frame(x) for x in (reference, current)]
    if of_frames[0] != of_frames[1]:
        table, array = names if of_frames[0] else names[::-1]
        raise TypeError(
            f"{table} has named columns and {array} has none; pass both as tables or both as arrays"
        )
    given = [reference, current]
    if not of_frames[0]:
        given = [unnamed(name, x) for name, x in zip(names, given, strict=True)]
        given[1] = _named_alike(given[0], given[1])
    both, known = [], set()
    for name, x in zip(names, given, strict=True):
        there = frames.names(name, x)
        known.update(there)
        wanted = there if chosen is None else chosen
        both.append(frames.read(name, x, [c for c in wanted if c not in (dropped or ())]))
    unknown = [c for c in dropped or () if c not in known]
    if unknown:
        raise ValueError(f"drop names {listed(unknown)}, which no table has")
    x, y = both
    if x.names != y.names:
        try:
            order = frames.align(names[0], x, names[1], y)
        except ValueError as error:
            raise ValueError(f"{error}; columns= and drop= choose among them") from None
        y = y._replace(columns=tuple(y.columns[i] for i in order))
    for name, frame in zip(names, (x, y), strict=True):
        if not frame.columns:
            raise ValueError(f"{name} has no columns left to compare")
        if not frame.rows:
            raise ValueError(f"{name} is empty: it has no rows")
    return Tables(x, y, names)


def _name_list(argument: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not np.iterable(value):
        raise TypeError(f"{argument} must be a list of names of columns, got {value!r}")
    found = [str(name) for name in value]
    twice = [name for name, count in Counter(found).items() if count > 1]
    if twice:
        raise ValueError(f"{argument} names {listed(twice)} more than once")
    return found


def taken(frame: Frame, rows: NDArray[np.int64]) -> Frame:
    """Some rows of a frame."""
    columns = []
    for column in frame.columns:
        missing = None if column.missing is None else column.missing[rows]
        if missing is not None and not missing.any():
            missing = None
        columns.append(column._replace(values=column.values[rows], missing=missing))
    index = None if frame.index is None else frame.index[rows]
    return Frame(tuple(columns), index, len(rows))


def incomplete(frame: Frame) -> Mask:
    """Rows that lack a value in some column."""
    found = np.zeros(frame.rows, dtype=np.bool_)
    for column in frame.columns:
        if (missing := lacking(column)) is not None:
            found[missing] = True
    return found


def lacking(column: Column) -> Mask | None:
    """Rows without a value, or with a list that has a gap; None if there is none."""
    if column.kind != "list":
        return column.missing
    gaps = np.asarray(np.isnan(column.values).any(axis=1))
    return gaps if gaps.any() else None


def refuse_missing(tables: Tables) -> None:
    """ValueError that counts the missing values of each column, if there are any."""
    faults = [
        f"{column.name!r} of {name} ({int(missing.sum())})"
        for name, frame in zip(tables.names, tables[:2], strict=True)
        for column in frame.columns
        if (missing := lacking(column)) is not None
    ]
    if faults:
        raise ValueError(
            f"values are missing in {', '.join(faults[:10])}"
            f"{f' and {len(faults) - 10} more' if len(faults) > 10 else ''}; "
            "missing='indicator' makes that a feature, missing='drop' leaves such rows out"
        )


def joined(tables: Tables, max_categories: int = 50) -> list[Feature]:
    """The columns of both tables, as what they are in both.

    Raises
    ------
    TypeError, ValueError
        If a column holds values that cannot be compared, of two kinds, or not finite; named.
    """
    scalars.count("max_categories", max_categories, least=2)
    features = []
    for x, y in zip(tables.reference.columns, tables.current.columns, strict=True):
        features += _features(x, y, tables.names, max_categories)
    counts = Counter(feature.name for feature in features)
    for feature in features:
        if feature.name != feature.source and counts[feature.name] > 1:
            raise ValueError(
                f"the lists of column {feature.source!r} make a column {feature.name!r}, and there "
                f"is another of that name; rename one, or leave it out: drop=[{feature.name!r}]"
            )
    return features


def _features(x: Column, y: Column, names: tuple[str, str], most: int) -> list[Feature]:
    for name, column in zip(names, (x, y), strict=True):
        if column.kind == "other" and not _all_missing(column):
            raise TypeError(_unfit(name, column))
    kinds = {_joined_kind(c) for c in (x, y) if not _all_missing(c)}
    kinds = kinds or {_joined_kind(c) for c in (x, y)} - {"number", "other"} or {"number"}
    if len(kinds) > 1:
        raise TypeError(
            f"column {x.name!r} is of different kinds: {x.kind} ({x.dtype}) in {names[0]} and "
            f"{y.kind} ({y.dtype}) in {names[1]}; make both the same"
        )
    kind = kinds.pop()
    if kind == "category":
        return [_categorical(x, y, most)]
    if kind == "list":
        return _listwise(x, y, names)
    if kind == "date":
        return [_dated(x, y)]
    return [_numeric(x.name, x.name, x, y, names)]


def _joined_kind(column: Column) -> str:
    return {"text": "category", "bool": "number"}.get(column.kind, column.kind)


def _all_missing(column: Column) -> bool:
    return column.missing is not None and bool(column.missing.all())


def _unfit(name: str, column: Column) -> str:
    missing = np.zeros(len(column.values)) if column.missing is None else column.missing
    types = sorted({type(v).__name__ for v, gone in zip(column.values, missing, strict=True)
                    if not gone})  # fmt: skip
    return (
        f"column {column.name!r} of {name} ({column.dtype}) holds {' and '.join(types)}: neither "
        f"numbers, flags, dates, strings nor lists of one length; convert it, or leave it out: "
        f"drop=[{column.name!r}]"
    )


def _floats(column: Column) -> Floats:
    if _all_missing(column):  # of whatever kind
        return np.full(len(column.values), np.nan)
    values = column.values.astype(np.float64)
    if column.missing is not None:
        values[column.missing] = np.nan
    return values


def _numeric(name: str, source: str, x: Column, y: Column, names: tuple[str, str]) -> Feature:
    values = [_floats(column) for column in (x, y)]
    is_flag = True
    for table, a in zip(names, values, strict=True):
        infinite = np.flatnonzero(np.isinf(a))
        if infinite.size:
            raise ValueError(
                f"column {name!r} of {table} is {a[infinite[0]]:g} in row {infinite[0]}; give a "
                "number there, or nan for a missing value"
            )
        is_flag = is_flag and bool((np.isnan(a) | (a == 0) | (a == 1)).all())
    known = not all(map(_all_missing, (x, y)))
    kind = "flag" if is_flag and (known or "bool" in (x.kind, y.kind)) else "number"
    narrow = {c.values.dtype.name for c in (x, y)} <= {"float16", "float32", "int8", "uint8"}
    dtype = np.dtype(np.float32 if narrow else np.float64)
    return Feature(name, source, kind, values[0], values[1], dtype=dtype)


def _listwise(x: Column, y: Column, names: tuple[str, str]) -> list[Feature]:
    """A feature for each position."""
    widths = [c.values.shape[1] for c in (x, y) if c.kind == "list"]
    if len(set(widths)) > 1:
        raise ValueError(
            f"column {x.name!r} holds lists of {widths[0]} numbers in {names[0]} and of "
            f"{widths[1]} in {names[1]}"
        )

    def at(column: Column, j: int) -> Column:
        if column.kind != "list":  # nothing but missing values
            return column
        values = column.values[:, j]
        missing = np.isnan(values)
        return column._replace(
            kind="number", values=values, missing=missing if missing.any() else None
        )

    return [_numeric(f"{x.name}[{j}]", x.name, at(x, j), at(y, j), names) for j in range(widths[0])]


def _dated(x: Column, y: Column) -> Feature:
    """Days since the earliest date of both."""
    dates = [
        np.full(len(c.values), np.datetime64("NaT"), dtype="datetime64[us]")
        if _all_missing(c)
        else c.values
        for c in (x, y)
    ]
    present = [a[~np.isnat(a)] for a in dates]
    origin = min((a.min() for a in present if len(a)), default=np.datetime64(0, "us"))
    days = [(a - origin) / np.timedelta64(1, "D") for a in dates]  # NaT: NaN
    return Feature(x.name, x.name, "date", days[0], days[1], origin=origin)


def _categorical(x: Column, y: Column, most: int) -> Feature:
    counts: Counter[str] = Counter()
    for column in (x, y):
        if not _all_missing(column):
            counts.update(column.values.tolist())
    counts.pop(None, None)  # type: ignore[call-overload]
    levels, kind = sorted(counts), "category"
    position = {level: i for i, level in enumerate(levels)}
    if len(levels) > most:
        kind = "text"
        common = sorted(levels, key=lambda level: (-counts[level], level))[: most - 1]
        kept = sorted(set(common) - {OTHER})
        position = {level: len(kept) for level in levels}
        position |= {level: i for i, level in enumerate(kept)}
        levels = [*kept, OTHER]

    def codes(column: Column) -> NDArray[np.int64]:
        if _all_missing(column):
            return np.full(len(column.values), -1, dtype=np.int64)
        found = (position.get(v, -1) for v in column.values)
        return np.fromiter(found, dtype=np.int64, count=len(column.values))

    return Feature(x.name, x.name, kind, codes(x), codes(y), tuple(levels))


def pooled(feature: Feature) -> NDArray[Any]:
    """The present values of both tables."""
    return np.concatenate(feature.present)


def spread(values: Floats) -> float:
    """Standard deviation (ddof 0), exactly 0 of equal values, and of any size."""
    if not len(values) or values.max() == values.min():
        return 0.0
    unit = unit_of(values)
    return float(np.std(values / unit)) * unit


def unit_of(values: Floats) -> float:
    """1, or a power of two by which values too large or small to be squared are divided."""
    largest = float(np.abs(values).max())
    if 1e-100 < largest < 1e100 or largest == 0:
        return 1.0
    return 2.0 ** min(max(math.frexp(largest)[1], -1021), 1023)


def scale(feature: Feature) -> float:
    """How far values lie apart: the standard deviation, of categories √Σ_l p_l(1 − p_l)."""
    if feature.kind in NUMERIC:
        return spread(pooled(feature))
    return math.sqrt(max(0.0, 1 - float((level_shares(feature) ** 2).sum())))


def level_shares(feature: Feature) -> Floats:
    """Pooled shares of the levels, and of missing values last."""
    codes = np.concatenate([feature.reference, feature.current])
    counts = np.bincount(np.where(codes < 0, len(feature.levels), codes),
                         minlength=len(feature.levels) + 1)  # fmt: skip
    shares: Floats = counts / len(codes)
    return shares
