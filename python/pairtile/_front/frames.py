"""Anything with named columns, read into plain arrays: pandas, polars, pyarrow, other frames.

None of those packages is imported here: a frame cannot exist before its module does. A column is
read by what its values are and not by what its dtype is called, so that the same table is the same
`Frame` whichever package holds it.

    frame -> read -> Frame of Columns -> numbers, align       (functions on arrays of numbers)
                                      -> pairtile.tables      (drift of mixed tables)
    frame -> table -> Table of numbers                        (the same, without a look at columns)
"""

from __future__ import annotations

import datetime
import math
import numbers as numeric
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front.extras import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    Values = NDArray[Any]
    Mask = NDArray[np.bool_]

_NARROW = ("float16", "float32", "int8", "uint8")  # the engine's own; the rest becomes float64
_PER_DAY = {"s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}


class Column(NamedTuple):
    """One column of a frame.

    Attributes
    ----------
    name : str
        As the frame has it; names that are no strings as `str` writes them.
    dtype : str
        The frame's own word for it.
    kind : str
        "number" (durations and times of day too, in days), "bool", "date" (dates and instants),
        "category", "text", "list" (of numbers, all of one length) or "other".
    values : ndarray of shape (n,)
        number: float16, float32, int8, uint8 as they were, else float64, NaN where missing; bool;
        date: datetime64[us], that of UTC if the column has a time zone, NaT where missing;
        category and text: objects, str or None. list: (n, length) floats, NaN where missing.
        other: objects.
    missing : ndarray of shape (n,), bool, or None
        Where there is no value: null, None, NA, NaT or NaN. None if there is one everywhere.
    """

    name: str
    dtype: str
    kind: str
    values: Values
    missing: Mask | None


class Frame(NamedTuple):
    """Named columns of equal length.

    Attributes
    ----------
    columns : tuple of Column
        In the frame's order; no name twice.
    index : ndarray of shape (n,) or None
        Labels of the rows; None where they are 0, 1, 2, ….
    rows : int
        How many.
    """

    columns: tuple[Column, ...]
    index: Values | None  # type: ignore[assignment]  # the field, not the method of tuples
    rows: int

    @property
    def names(self) -> list[str]:
        """Those of the columns."""
        return [column.name for column in self.columns]


class Table(NamedTuple):
    """A frame of numbers and flags alone.

    Attributes
    ----------
    names : list of str
        Those of the columns.
    labels : ndarray of shape (n,) or None
        Those of the rows; None where they are 0, 1, 2, ….
    values : ndarray of shape (n, d), float64
        NaN where a value is missing.
    """

    names: list[str]
    labels: Values | None
    values: Values


def _isinstance(x: object, module: str, *types: str) -> bool:
    """Whether x is of one of these types of a module, which need not be installed."""
    loaded = sys.modules.get(module)
    known = (getattr(loaded, name, None) for name in types)
    return any(isinstance(kind, type) and isinstance(x, kind) for kind in known)


def is_series(x: object) -> bool:
    """Whether x is a single column of pandas, polars or pyarrow."""
    return (
        _isinstance(x, "pandas", "Series", "Index")
        or _isinstance(x, "polars", "Series")
        or _isinstance(x, "pyarrow", "Array", "ChunkedArray")
    )


def is_frame(x: object) -> bool:
    """Whether x has named columns: a frame of any package, or a `Frame`."""
    if isinstance(x, (Frame, np.ndarray)):
        return isinstance(x, Frame)
    if is_series(x):
        return False
    return (
        _isinstance(x, "pandas", "DataFrame")
        or _isinstance(x, "polars", "DataFrame", "LazyFrame")
        or _isinstance(x, "pyarrow", "Table", "RecordBatch")
        or hasattr(x, "__dataframe__")
        or (hasattr(x, "__arrow_c_stream__") and hasattr(x, "columns"))
    )


def read(name: str, x: Any, columns: Sequence[str] | None = None) -> Frame:
    """The columns of a frame, or the one of a series, as arrays.

    Parameters
    ----------
    name : str
        Of the argument, for messages.
    x : frame or series
        What `is_frame` or `is_series` is true of.
    columns : sequence of str, optional
        Which to read, in this order; the others are not looked at.

    Raises
    ------
    TypeError, ValueError
        If two columns have one name, one that is asked for is not there, or a value cannot be
        read; named.
    MissingExtraError
        If x can only be read by pyarrow and that is not installed.
    """
    labels, index, rows, column_of = _opened(name, x)
    known = _distinct(name, labels)
    wanted = known if columns is None else list(columns)
    unknown = [label for label in wanted if label not in known]
    if unknown:
        raise ValueError(f"{name} has no column {listed(unknown)}; it has {listed(known)}")
    found = []
    for label in wanted:
        try:
            found.append(column_of(known.index(label))._replace(name=label))
        except (ArithmeticError, TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"column {label!r} of {name}: {error}") from error
    return Frame(tuple(found), index, rows)


def _distinct(name: str, labels: Iterable[Any]) -> list[str]:
    found = [str(label) for label in labels]
    twice = [label for label, count in Counter(found).items() if count > 1]
    if twice:
        raise ValueError(f"{name} has more than one column called {listed(twice)}; rename them")
    return found


def table(name: str, x: Any) -> Table:
    """A frame, or a series as its one column, as numbers; errors as of `read` and `numbers`.

    Frames whose columns are plain numbers are taken whole, which spares hundreds of columns of an
    embedding a look at each.
    """
    values = None
    if _isinstance(x, "pandas", "DataFrame"):
        if all(isinstance(d, np.dtype) and d.kind in "biuf" for d in x.dtypes):
            values = x.to_numpy(dtype=np.float64)
        labels = _pandas_index(x)
    elif _isinstance(x, "polars", "DataFrame"):
        polars: Any = sys.modules["polars"]
        if all(d.is_numeric() or d == polars.Boolean for d in x.dtypes):
            values = x.cast(polars.Float64).to_numpy()
        labels = None
    if values is not None:
        return Table(_distinct(name, x.columns), labels, values)
    frame = read(name, x)
    values = numbers(name, frame).astype(np.float64, copy=False)
    return Table(frame.names, frame.index, values)


def names(name: str, x: Any) -> list[str]:
    """Those of the columns that `read` would read, none of them looked at."""
    return _distinct(name, _opened(name, x)[0])


def numbers(name: str, frame: Frame, order: Sequence[int] | None = None) -> Values:
    """The columns side by side, as functions of arrays take them.

    Parameters
    ----------
    name : str
        Of the argument, for messages.
    frame : Frame
        Of numbers and flags alone; others are a TypeError that names them.
    order : sequence of int, optional
        Which columns, as `align` gives them.

    Returns
    -------
    ndarray of shape (n, d)
        float32 if all columns are, else float64; NaN where a value is missing.
    """
    chosen = [frame.columns[i] for i in (range(len(frame.columns)) if order is None else order)]
    require_numbers(name, chosen)
    narrow = bool(chosen) and all(c.values.dtype == np.float32 for c in chosen)
    values = np.empty((frame.rows, len(chosen)), dtype=np.float32 if narrow else np.float64)
    for j, column in enumerate(chosen):
        values[:, j] = column.values
        if column.missing is not None:
            values[column.missing, j] = np.nan
    return values


def require_numbers(name: str, columns: Iterable[Column]) -> None:
    """TypeError that names those columns of an argument which are no numbers or flags."""
    others = [f"{c.name!r} ({c.dtype})" for c in columns if c.kind not in ("number", "bool")]
    if others:
        raise TypeError(
            f"{name} has columns that are not numbers: {', '.join(others)}; leave them out, "
            "take metric='gower' where a metric is asked for, which compares words, or pass both "
            "tables to pairtile.drift, which takes all kinds of columns"
        )


def align(x_name: str, x_frame: Frame, y_name: str, y_frame: Frame) -> list[int]:
    """Where in y_frame the columns of x_frame are; ValueError unless both have the same names."""
    return order(x_name, x_frame.names, y_name, y_frame.names)


def order(x_name: str, x_names: Sequence[str], y_name: str, y_names: Sequence[str]) -> list[int]:
    """Where among y_names each of x_names is; ValueError unless they are the same."""
    lacking = [label for label in x_names if label not in y_names]
    extra = [label for label in y_names if label not in x_names]
    if lacking or extra:
        faults = [
            *([f"lacks {listed(lacking)}"] if lacking else []),
            *([f"has {listed(extra)} besides"] if extra else []),
        ]
        raise ValueError(
            f"{y_name} must have the columns of {x_name}, but it {' and '.join(faults)}"
        )
    return [y_names.index(label) for label in x_names]


def listed(names: Sequence[str], most: int = 10) -> str:
    """Names as messages show them, no more than some."""
    shown = ", ".join(repr(label) for label in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _opened(name: str, x: Any) -> tuple[list[Any], Values | None, int, Callable[[int], Column]]:
    """Names, row labels, number of rows, and how to read the column at a position."""
    if isinstance(x, Frame):
        frame = x
        return frame.names, frame.index, frame.rows, lambda i: frame.columns[i]
    if _isinstance(x, "pandas", "Index"):
        x = x.to_series()
    if _isinstance(x, "pandas", "Series"):
        return [_series_name(x.name)], _pandas_index(x), len(x), lambda i: _of_pandas(x)
    if _isinstance(x, "pandas", "DataFrame"):
        return list(x.columns), _pandas_index(x), len(x), lambda i: _of_pandas(x.iloc[:, i])
    if _isinstance(x, "polars", "Series"):
        return [_series_name(x.name)], None, len(x), lambda i: _of_polars(x)
    if _isinstance(x, "polars", "LazyFrame"):
        raise TypeError(f"{name} is a polars LazyFrame; pass {name}.collect()")
    if _isinstance(x, "polars", "DataFrame"):
        return x.columns, None, x.height, lambda i: _of_polars(x.to_series(i))
    if _isinstance(x, "pyarrow", "Array", "ChunkedArray"):
        return ["x0"], None, len(x), lambda i: _of_arrow(x)
    if not _isinstance(x, "pyarrow", "Table", "RecordBatch"):
        x = _as_arrow(name, x)
    return x.schema.names, None, x.num_rows, lambda i: _of_arrow(x.column(i))


def _series_name(name: Any) -> Any:
    return "x0" if name is None or name == "" else name


def _as_arrow(name: str, x: Any) -> Any:
    """A frame of another package, handed over in Arrow's memory."""
    kind = type(x).__name__
    if not (hasattr(x, "__arrow_c_stream__") or hasattr(x, "__dataframe__")):
        raise TypeError(f"{name} must be a table with named columns, got {kind}")
    try:
        import pyarrow
        import pyarrow.interchange
    except ImportError as error:
        raise MissingExtraError(
            f'reading {name}, a {kind}, needs pyarrow: pip install "pairtile[parquet]"; or pass '
            "a frame of pandas or polars"
        ) from error
    if hasattr(x, "__arrow_c_stream__"):
        return pyarrow.table(x)
    return pyarrow.interchange.from_dataframe(x)


def _masked(mask: Any) -> Mask | None:
    found = np.asarray(mask, dtype=np.bool_)
    return found if found.any() else None


def _number(dtype: str, values: Any, mask: Mask | None = None) -> Column:
    """A column of numbers; those that are missing may have any value."""
    a = np.asarray(values)
    if a.dtype.kind not in "biuf":
        return Column("", dtype, "other", a.astype(object), mask)
    name = a.dtype.name
    if mask is not None and name in ("int8", "uint8"):
        name = "float32"  # which has a NaN
    a = a.astype(name if name in _NARROW or name == "float32" else np.float64, copy=False)
    if mask is not None:
        a = a.copy()
        a[mask] = np.nan
    if a.dtype.kind == "f":
        mask = _masked(np.isnan(a))
    return Column("", dtype, "number", np.ascontiguousarray(a), mask)


def _flags(dtype: str, values: Any, mask: Mask | None) -> Column:
    return Column("", dtype, "bool", np.asarray(values, dtype=np.bool_), mask)


def _strings(dtype: str, kind: str, values: Any, mask: Mask | None) -> Column:
    a = np.array(values, dtype=object)
    if mask is not None:
        a[mask] = None
    return Column("", dtype, kind, a, mask)


def _dates(dtype: str, values: Values) -> Column:
    """Instants of any unit, NaT where missing."""
    a = values.astype("datetime64[us]")
    present = ~np.isnat(values)
    back = a.astype(values.dtype)
    if np.datetime_data(values.dtype)[0] != "ns" and (back != values)[present].any():
        raise ValueError("holds dates beyond the year 294,246, which microseconds cannot count")
    return Column("", dtype, "date", a, _masked(~present))


def _ticks(dtype: str, kind: str, unit: str, ticks: Any, mask: Mask | None) -> Column:
    """Instants ("date") or lengths of time ("number"), counted in a unit since 1970 or 0."""
    counted = np.asarray(ticks, dtype=np.int64)
    if kind == "number":
        return _number(dtype, counted / _PER_DAY[unit], mask)
    values = counted.astype(f"datetime64[{unit}]")
    if mask is not None:
        values[mask] = np.datetime64("NaT")
    return _dates(dtype, values)


def level_text(value: Any) -> str:
    """The text of a level of a category: 1, 1.0 and Decimal("1.0") are one."""
    if isinstance(value, numeric.Number) and not isinstance(value, (bool, np.bool_, complex)):
        number = float(value)  # type: ignore[arg-type]
        if not math.isfinite(number):
            return str(number)
        whole = int(value)  # type: ignore[call-overload]  # as it is, where float64 would round
        return str(whole) if value == whole else str(number)
    return str(value)


def _lists(dtype: str, flat: Any, lengths: Any, mask: Mask | None) -> Column | None:
    """Lists of numbers, laid end to end: None if they are not numbers or not of one length."""
    lengths = np.asarray(lengths)
    present = lengths if mask is None else lengths[~mask]
    a = np.asarray(flat)
    if not len(present) or (present != present[0]).any() or a.dtype.kind not in "biuf":
        return None
    width = int(present[0])
    if not width or len(a) != width * len(present):
        return None
    name = a.dtype.name if a.dtype.name in ("float16", "float32") else "float64"
    values = np.full((len(lengths), width), np.nan, dtype=name)
    values[slice(None) if mask is None else ~mask] = a.reshape(-1, width)
    return Column("", dtype, "list", values, mask)


def _of_objects(dtype: str, values: Any, missing: Any) -> Column:
    """A column of Python objects, by what these are."""
    mask = _masked(missing)
    items = np.empty(len(values), dtype=object)
    items[:] = list(values)
    there = np.ones(len(items), dtype=np.bool_) if mask is None else ~mask
    present = items[there]
    kinds = {_kind_of(type(value)) for value in present}
    if not kinds:  # nothing is known but that nothing is there
        return _number(dtype, np.full(len(items), np.nan))
    kind = kinds.pop() if len(kinds) == 1 else "other"

    def spread(of_present: Any, dtype: Any) -> Values:
        out = np.zeros(len(items), dtype=dtype)
        out[there] = of_present
        return out

    if kind == "text":
        return _strings(dtype, "text", items, mask)
    if kind == "bool":
        return _flags(dtype, spread(present.astype(np.bool_), np.bool_), mask)
    if kind == "number":
        return _number(dtype, spread([float(v) for v in present], np.float64), mask)
    if kind in ("date", "duration"):
        ticks = spread([_microseconds(v) for v in present], np.int64)
        return _ticks(dtype, "date" if kind == "date" else "number", "us", ticks, mask)
    if kind == "list":
        rows = [np.asarray(v) for v in present if np.ndim(v) == 1]
        lengths = spread([len(v) for v in present], np.int64)
        if len(rows) == len(present):
            column = _lists(dtype, np.concatenate(rows), lengths, mask)
            if column is not None:
                return column
    return Column("", dtype, "other", items, mask)


def _kind_of(kind: type) -> str:
    if issubclass(kind, str):
        return "text"
    if issubclass(kind, (bool, np.bool_)):
        return "bool"
    if issubclass(kind, (datetime.timedelta, datetime.time, np.timedelta64)):
        return "duration"
    decimal = getattr(sys.modules.get("decimal"), "Decimal", numeric.Real)
    if issubclass(kind, (decimal, numeric.Real)):
        return "number"
    if issubclass(kind, (datetime.date, np.datetime64)):
        return "date"
    return "list" if issubclass(kind, (list, tuple, np.ndarray)) else "other"


def _microseconds(value: Any) -> int:
    """Of a date or an instant since 1970, of a length of time, or of a time of day."""
    if isinstance(value, (np.datetime64, np.timedelta64)):
        kind = "datetime64[us]" if isinstance(value, np.datetime64) else "timedelta64[us]"
        return int(value.astype(kind).astype(np.int64))
    if isinstance(value, datetime.time):
        value = datetime.timedelta(
            hours=value.hour,
            minutes=value.minute,
            seconds=value.second,
            microseconds=value.microsecond,
        )
    elif isinstance(value, datetime.datetime):
        utc = datetime.UTC
        # without a time zone the clock is taken as it is, as where a whole column has none
        value = value.astimezone(utc) if value.tzinfo else value.replace(tzinfo=utc)
        value -= datetime.datetime(1970, 1, 1, tzinfo=utc)
    elif isinstance(value, datetime.date):
        value -= datetime.date(1970, 1, 1)
    microseconds: int = value // datetime.timedelta(microseconds=1)
    return microseconds


def _pandas_index(x: Any) -> Values | None:
    index = x.index
    pandas = sys.modules["pandas"]
    if isinstance(index, pandas.RangeIndex) and index.start == 0 and index.step == 1:
        return None
    labels: Values = index.to_numpy()
    return labels


def _of_pandas(series: Any) -> Column:
    pandas: Any = sys.modules["pandas"]
    dtype, word = series.dtype, str(series.dtype)
    if isinstance(dtype, pandas.SparseDtype):
        series = series.sparse.to_dense()
        dtype = series.dtype
    if isinstance(dtype, pandas.ArrowDtype):
        import pyarrow

        return _of_arrow(pyarrow.array(series.array))._replace(dtype=word)
    missing = series.isna().to_numpy(dtype=np.bool_)
    mask = _masked(missing)
    if isinstance(dtype, pandas.CategoricalDtype):
        levels = [*map(level_text, series.cat.categories), None]
        codes = series.cat.codes.to_numpy()  # −1, the last, where missing
        return _strings(word, "category", np.array(levels, dtype=object)[codes], mask)
    if isinstance(dtype, pandas.StringDtype):
        return _strings(word, "text", series.to_numpy(dtype=object), mask)
    if isinstance(dtype, pandas.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return _dates(word, series.to_numpy())
    if isinstance(dtype, pandas.PeriodDtype):
        return _dates(word, series.dt.to_timestamp().to_numpy())
    if isinstance(dtype, pandas.api.extensions.ExtensionDtype):
        types = pandas.api.types
        if types.is_bool_dtype(dtype):
            return _flags(word, series.to_numpy(dtype=np.bool_, na_value=False), mask)
        if types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype):
            plain = np.dtype(dtype.numpy_dtype)
            return _number(word, series.to_numpy(dtype=plain, na_value=plain.type(0)), mask)
        return Column("", word, "other", series.to_numpy(dtype=object), mask)
    values = series.to_numpy()
    if dtype.kind == "b":
        return _flags(word, values, None)
    if dtype.kind == "M":
        return _dates(word, values)
    if dtype.kind == "m":
        ticks = values.view(np.int64)
        return _ticks(word, "number", np.datetime_data(dtype)[0], ticks, mask)
    if dtype.kind == "O":
        return _of_objects(word, values, missing)
    return _number(word, values)


def _of_polars(series: Any) -> Column:
    polars: Any = sys.modules["polars"]
    dtype, word = series.dtype, str(series.dtype)
    mask = _masked(series.is_null().to_numpy())
    if dtype.is_numeric():
        whole = dtype.is_integer() and dtype not in (polars.Int8, polars.UInt8)
        if whole or dtype.is_decimal():
            series = series.cast(polars.Float64)
        return _number(word, series.fill_null(0).to_numpy(), mask)
    if dtype == polars.Boolean:
        return _flags(word, series.fill_null(False).to_numpy(), mask)
    if dtype == polars.Date:
        days = series.to_physical().fill_null(0).to_numpy().astype(np.int64)
        return _ticks(word, "date", "s", days * 86_400, mask)
    if dtype in (polars.Datetime, polars.Duration, polars.Time):
        kind = "date" if dtype == polars.Datetime else "number"
        unit = getattr(dtype, "time_unit", "ns")
        return _ticks(word, kind, unit, series.to_physical().fill_null(0).to_numpy(), mask)
    if dtype in (polars.String, polars.Categorical, polars.Enum):
        kind = "text" if dtype == polars.String else "category"
        return _strings(word, kind, series.cast(polars.String).to_list(), mask)
    if dtype in (polars.List, polars.Array) and dtype.inner.is_numeric():
        lists = series if dtype == polars.List else series.arr.to_list()
        lengths = lists.list.len().fill_null(0).to_numpy()
        present = lists.drop_nulls()
        flat = present.filter(present.list.len() > 0).explode()
        if dtype.inner.is_decimal() or flat.null_count():
            flat = flat.cast(polars.Float64).fill_null(math.nan)
        column = _lists(word, flat.to_numpy(), lengths, mask)
        if column is not None:
            return column
    if dtype == polars.Null or dtype == polars.Object:
        return _of_objects(word, series.to_list(), series.is_null().to_numpy())
    return _other(word, series.to_list(), mask)


def _other(dtype: str, values: list[Any], mask: Mask | None) -> Column:
    items = np.empty(len(values), dtype=object)
    items[:] = values
    return Column("", dtype, "other", items, mask)


def _of_arrow(column: Any) -> Column:
    pyarrow: Any = sys.modules["pyarrow"]
    compute, types = _arrow_compute(), pyarrow.types
    word, kind = str(column.type), ""
    while isinstance(column.type, pyarrow.BaseExtensionType):
        column = column.cast(column.type.storage_type)
    if types.is_run_end_encoded(column.type):
        column = compute.run_end_decode(column)
    if types.is_dictionary(column.type):
        column, kind = column.cast(column.type.value_type), "category"
    dtype = column.type
    mask = _masked(column.is_null().to_numpy(zero_copy_only=False)) if column.null_count else None

    def plain(values: Any) -> Values:
        """Without nulls, as NumPy has it."""
        if isinstance(values, pyarrow.ChunkedArray):
            values = values.combine_chunks()
        a: Values = values.fill_null(0).to_numpy(zero_copy_only=False)
        return a

    if types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype):
        return _strings(word, kind or "text", column.to_pylist(), mask)
    if kind:
        levels = [None if v is None else level_text(v) for v in column.to_pylist()]
        return _strings(word, kind, levels, mask)
    if types.is_boolean(dtype):
        return _flags(word, plain(column.cast(pyarrow.uint8())), mask)
    if types.is_decimal(dtype):
        column, dtype = column.cast(pyarrow.float64()), pyarrow.float64()
    if types.is_integer(dtype) or types.is_floating(dtype):
        return _number(word, plain(column), mask)
    if types.is_date(dtype):
        days = plain(column.cast(pyarrow.date32()).cast(pyarrow.int32())).astype(np.int64)
        return _ticks(word, "date", "s", days * 86_400, mask)
    if types.is_timestamp(dtype) or types.is_duration(dtype) or types.is_time64(dtype):
        named = "date" if types.is_timestamp(dtype) else "number"
        return _ticks(word, named, dtype.unit, plain(column.cast(pyarrow.int64())), mask)
    if types.is_time32(dtype):
        return _ticks(word, "number", dtype.unit, plain(column.cast(pyarrow.int32())), mask)
    if types.is_list(dtype) or types.is_large_list(dtype) or types.is_fixed_size_list(dtype):
        present = column.drop_null()
        flat = compute.list_flatten(present)
        lengths = plain(compute.list_value_length(column))
        if types.is_floating(flat.type) or types.is_integer(flat.type):
            numbers_of = flat.combine_chunks() if hasattr(flat, "combine_chunks") else flat
            found = _lists(word, numbers_of.to_numpy(zero_copy_only=False), lengths, mask)
            if found is not None:
                return found
    if types.is_null(dtype):
        return _number(word, np.full(len(column), np.nan))
    return _other(word, column.to_pylist(), mask)


def _arrow_compute() -> Any:
    import pyarrow.compute

    return pyarrow.compute
