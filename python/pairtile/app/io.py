"""Reads one table from a file for the `pairtile` command: the step before any statistic.

    path -> loader for its suffix -> columns checked -> finite values checked -> Table

Every fault of the file ends in `InputError`, whose message names the file and, where there is
one, the column and the row, so that `cli` can answer with exit status 2. Rows are counted from 0,
as in the results; a header is not a row.
"""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front.extras import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What a spreadsheet or pandas writes for a value that is not there.
_MISSING = frozenset({"", "-", "na", "n/a", "nan", "null", "none", "<na>"})

# Rows are checked for NaN in blocks of this many values, so a memory map is never held whole.
_BLOCK_VALUES = 1 << 20


class InputError(ValueError):
    """A file, or a pair of files, that cannot be compared."""


class Table(NamedTuple):
    """Rows of numbers, and the names of the columns where the format has them."""

    values: np.ndarray[Any, Any]
    columns: list[str] | None


def load_table(path: str | Path, key: str | None = None) -> Table:
    """Load a two-dimensional table of finite numbers.

    Parameters
    ----------
    path : str or Path
        A ``.npy`` file (memory-mapped, never read whole), ``.npz``, ``.csv`` or ``.parquet``.
    key : str, optional
        Which array of a ``.npz`` archive; needed when it holds more than one.

    Returns
    -------
    Table
        ``values`` of shape (n, d) in the file's own dtype (``.csv``: float64).

    Raises
    ------
    InputError
        If the file cannot be read, is not what its suffix says, or holds anything but at least
        two rows of finite real numbers.
    MissingExtraError
        If a ``.parquet`` file is given and pyarrow is not installed.
    """
    path = Path(path)
    loader = _LOADERS.get(path.suffix.lower())
    if loader is None:
        known = ", ".join(_LOADERS)
        raise InputError(f"{path}: unknown suffix {path.suffix!r}; known are {known}")
    if path.is_dir():
        raise InputError(f"{path}: is a directory, not a file")
    try:
        table = loader(path, key)
    except (InputError, MissingExtraError, MemoryError):
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except Exception as error:
        # Whatever a parser trips over, the fault is the file's: zip, zlib, Arrow and NumPy have
        # a dozen exception types for a damaged one.
        raise InputError(f"{path}: not a readable {path.suffix} file ({error})") from error
    _check(path, table)
    return table


def _load_npy(path: Path, key: str | None) -> Table:
    # open_memmap and not np.load: the latter answers a damaged header with advice on pickles.
    return Table(np.lib.format.open_memmap(path, mode="r"), None)


def _load_npz(path: Path, key: str | None) -> Table:
    path.open("rb").close()  # is_zipfile answers False to a missing file too
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not a .npz archive, or a truncated one")
    with np.load(path) as archive:
        names = list(archive.files)
        if key is None and len(names) == 1:
            key = names[0]
        if key is None or key not in names:
            asked = "which array? pass --key" if key is None else f"no array {key!r}"
            raise InputError(f"{path}: {asked}; it holds {', '.join(names) or 'none'}")
        return Table(archive[key], None)


def _load_csv(path: Path, key: str | None) -> Table:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        first = next((row for row in reader if row), None)
        if first is None:
            raise InputError(f"{path}: the file is empty")
        # A first row with anything that is neither a number nor a missing value is a header.
        has_header = any(_number(field) is None for field in first)
        header_lines = reader.line_num if has_header else 0
    columns = [name.strip() for name in first] if has_header else None
    with path.open(newline="", encoding="utf-8-sig") as file:
        file_lines = _skip(file, header_lines)
        if not any(line.strip() for line in file_lines):
            raise InputError(f"{path}: a header and no rows")
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            values = np.loadtxt(
                file,
                delimiter=",",
                skiprows=header_lines,
                comments=None,
                quotechar='"',
                ndmin=2,
            )
        except ValueError as error:
            raise InputError(f"{path}: {_csv_fault(path, columns) or error}") from error
    if columns is not None and len(columns) != values.shape[1]:
        raise InputError(
            f"{path}: the header names {len(columns)} columns, the rows have {values.shape[1]}"
        )
    if columns is not None and "" in columns:
        # pandas writes its index so. Row numbers taken for a feature would drown the others.
        raise InputError(
            f"{path}: column {columns.index('')} has no name in the header; "
            "if it is a saved index, leave it out (pandas: index=False)"
        )
    return Table(values, columns)


def _skip(lines: Iterator[str], count: int) -> Iterator[str]:
    for _ in range(count):
        next(lines, None)
    return lines


def _number(field: str) -> float | None:
    """Value of a field: NaN where it is missing, None where it is not a number."""
    field = field.strip()
    if field.lower() in _MISSING:
        return float("nan")
    try:
        return float(field)
    except ValueError:
        return None


def _csv_fault(path: Path, columns: list[str] | None) -> str | None:
    """Say why NumPy refused the rows; a second, slow reading that only a bad file pays for."""
    missing: str | None = None
    not_numeric: dict[int, str] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if columns is not None:
        rows = rows[1:]
    width = len(rows[0]) if columns is None else len(columns)
    for index, row in enumerate(rows):
        if len(row) != width:
            return f"row {index} has {len(row)} fields, expected {width}"
        for column, field in enumerate(row):
            number = _number(field)
            if number is None:
                not_numeric.setdefault(column, f"row {index} holds {field!r}")
            elif np.isnan(number) and missing is None:
                missing = f"row {index}: missing value in {_column(column, columns)}"
    if not_numeric:
        named = ", ".join(f"{_column(c, columns)} ({why})" for c, why in not_numeric.items())
        return f"not numeric: {named}"
    return missing


def _column(index: int, columns: list[str] | None) -> str:
    return f"column {index}" if columns is None else f"column {columns[index]!r}"


def _load_parquet(path: Path, key: str | None) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError(
            f'{path}: reading .parquet needs pyarrow: pip install "pairtile[parquet]"'
        ) from error
    table = pq.read_table(path)
    declared = (table.schema.pandas_metadata or {}).get("index_columns", [])
    # pandas stores an index it could not write as a range among the columns.
    table = table.drop_columns([name for name in declared if isinstance(name, str)])
    columns = list(table.column_names)
    if not columns:
        raise InputError(f"{path}: no columns")
    not_numeric = [
        f"{field.name!r} ({field.type})"
        for field in table.schema
        if not (
            pa.types.is_integer(field.type)
            or pa.types.is_floating(field.type)
            or pa.types.is_boolean(field.type)
        )
    ]
    if not_numeric:
        raise InputError(f"{path}: not numeric: column {', '.join(not_numeric)}")
    arrays = []
    for column in table.columns:
        numeric = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
        arrays.append(numeric.to_numpy())  # a null becomes NaN, and is reported as such
    return Table(np.stack(arrays, axis=1), columns)


def _check(path: Path, table: Table) -> None:
    values, columns = table
    if values.dtype.kind not in "biuf":
        raise InputError(f"{path}: dtype {values.dtype} is not real numbers")
    if values.ndim != 2:
        hint = "; save x[:, None] for one feature per row" if values.ndim == 1 else ""
        raise InputError(
            f"{path}: an array of {values.ndim} dimensions, shape {values.shape}; "
            f"expected 2, rows and features{hint}"
        )
    n_rows, n_features = values.shape
    if n_rows < 2 or n_features < 1:
        raise InputError(
            f"{path}: {n_rows} rows and {n_features} features; at least 2 and 1 are needed"
        )
    if values.dtype.kind != "f":
        return
    step = max(1, _BLOCK_VALUES // n_features)
    for start in range(0, n_rows, step):
        finite = np.isfinite(values[start : start + step])
        if not finite.all():
            row, column = (int(i) for i in np.argwhere(~finite)[0])
            value = float(values[start + row, column])
            what = "missing value (nan)" if np.isnan(value) else f"infinite value ({value})"
            raise InputError(f"{path}: row {start + row}: {what} in {_column(column, columns)}")


_LOADERS: dict[str, Callable[[Path, str | None], Table]] = {
    ".npy": _load_npy,
    ".npz": _load_npz,
    ".csv": _load_csv,
    ".parquet": _load_parquet,
}
