"""Reads one table from a file for the `pairtile` command: the step before any statistic.

    path -> .npy, .npz                    -> a matrix, memory-mapped where it can be
         -> .csv, .tsv (.gz), text, typed -> columns
         -> .parquet, pyarrow, frames     -> columns

Every fault of a file ends in `InputError`, whose message names the file and, where there is one,
the column and the row, so that `cli` can answer with exit status 2. Rows are counted from 0, as in
the results; a header is not a row.
"""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front import frames
from pairtile._front.extras import MissingExtraError
from pairtile.app import text, typed
from pairtile.app.errors import InputError
from pairtile.app.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

# Arrays that scipy.sparse.save_npz writes.
_SPARSE = {"format", "shape", "data"}


class Reading(NamedTuple):
    """How a file is to be read, where the command line says so."""

    key: str | None = None
    sep: str | None = None
    decimal: str | None = None
    encoding: str | None = None


def load(path: str | Path, reading: Reading) -> Table:
    """Load a table.

    Parameters
    ----------
    path : str or Path
        A ``.npy`` file (memory-mapped, never read whole), ``.npz``, ``.csv``, ``.tsv``, either of
        these with ``.gz`` after it, or ``.parquet``.
    reading : Reading
        Which array of a ``.npz`` archive, needed when it holds more than one; separator,
        beginning of fractions and encoding of a text.

    Returns
    -------
    Table
        Of at least two rows and one column. Its values are not looked at before `Table.check`.

    Raises
    ------
    InputError
        If the file cannot be read, is not what its suffix says, or holds no such table.
    MissingExtraError
        If a ``.parquet`` file is given and pyarrow is not installed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".gz":
        suffix = Path(path.stem).suffix.lower()
        suffix = suffix if suffix in (".csv", ".tsv") else ".gz"
    loader = _LOADERS.get(suffix)
    if loader is None:
        known = ", ".join([*_LOADERS, ".csv.gz", ".tsv.gz"])
        raise InputError(f"{path}: unknown suffix {path.suffix!r}; known are {known}")
    if path.is_dir():
        raise InputError(f"{path}: is a directory, not a file")
    try:
        table = loader(path, reading)
    except (InputError, MissingExtraError, MemoryError):
        raise
    except gzip.BadGzipFile as error:
        raise InputError(f"{path}: not a readable .gz file ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except Exception as error:
        # Whatever a parser trips over, the fault is the file's: zip, zlib, Arrow and NumPy have
        # a dozen exception types for a damaged one.
        raise InputError(f"{path}: not a readable {path.suffix} file ({error})") from error
    if table.rows < 2 or not table.names:
        raise InputError(
            f"{path}: {table.rows} rows and {len(table.names)} features; "
            "at least 2 and 1 are needed"
        )
    return table


def _load_npy(path: Path, reading: Reading) -> Table:
    # open_memmap and not np.load: the latter answers a damaged header with advice on pickles.
    try:
        matrix = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        if "Python objects" not in str(error):
            raise
        raise InputError(_of_objects(path, "the array")) from error
    return _of_matrix(path, matrix)


def _load_npz(path: Path, reading: Reading) -> Table:
    path.open("rb").close()  # is_zipfile answers False to a missing file too
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not a .npz archive, or a truncated one")
    key = reading.key
    with np.load(path) as archive:
        names = list(archive.files)
        if set(names) >= _SPARSE:
            raise InputError(
                f"{path}: a sparse matrix, as scipy.sparse.save_npz writes it; save its "
                ".toarray() with numpy.save"
            )
        if key is None and len(names) == 1:
            key = names[0]
        if key is None or key not in names:
            asked = "which array? pass --key" if key is None else f"no array {key!r}"
            raise InputError(f"{path}: {asked}; it holds {', '.join(names) or 'none'}")
        try:
            return _of_matrix(path, archive[key])
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            raise InputError(_of_objects(path, f"array {key!r}")) from error


def _of_objects(path: Path, array: str) -> str:
    return (
        f"{path}: {array} holds Python objects (text, dates, None, or rows of different lengths). "
        "They are never read, because reading them can run code; save an array of numbers, or a "
        "table as .parquet or .csv"
    )


def _of_matrix(path: Path, matrix: Any) -> Table:
    if matrix.dtype.kind not in "biuf":
        raise InputError(f"{path}: dtype {matrix.dtype} is not real numbers")
    if matrix.ndim != 2:
        hint = "; save x[:, None] for one feature per row" if matrix.ndim == 1 else ""
        raise InputError(
            f"{path}: an array of {matrix.ndim} dimensions, shape {matrix.shape}; "
            f"expected 2, rows and features{hint}"
        )
    return Table.of_matrix(str(path), matrix)


def _load_text(path: Path, reading: Reading) -> Table:
    data = path.read_bytes()
    if path.suffix.lower() == ".gz":
        data = gzip.decompress(data)
    _, sep, decimal, encoding = reading
    found = text.read(path, data, sep=sep, encoding=encoding, decimal=decimal)
    rows = len(found.columns[0].codes)
    if not rows:
        raise InputError(f"{path}: a header and no rows")
    names = found.names or [f"x{j}" for j in range(len(found.columns))]
    names = [name or f"Unnamed: {j}" for j, name in enumerate(names)]  # as pandas has it
    twice = sorted({repr(name) for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: more than one column is called {', '.join(twice)}")
    columns, notes = typed.columns(path, names, found.columns, decimal)
    return Table(
        path=str(path),
        names=names,
        named=found.names is not None,
        rows=rows,
        places=list(range(len(names))),
        columns=columns,
        strings=dict(zip(names, found.columns, strict=True)),
        notes=found.notes + notes,
    )


def _load_parquet(path: Path, reading: Reading) -> Table:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError(
            f'{path}: reading .parquet needs pyarrow: pip install "pairtile[parquet]"'
        ) from error
    with path.open("rb") as file:
        table = pq.ParquetFile(file).read()
    if not table.column_names:
        raise InputError(f"{path}: no columns")
    try:
        frame = frames.read("the table", table)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
    # pandas stores an index it could not write as a range among the columns.
    declared = (table.schema.pandas_metadata or {}).get("index_columns", [])
    index = [column for column in frame.columns if column.name in declared]
    columns = [column for column in frame.columns if column.name not in declared]
    return Table(
        path=str(path),
        names=[column.name for column in columns],
        named=True,
        rows=frame.rows,
        places=list(range(len(columns))),
        columns=columns,
        index=index[0].values if len(index) == 1 else None,
    )


_LOADERS: dict[str, Callable[[Path, Reading], Table]] = {
    ".npy": _load_npy,
    ".npz": _load_npz,
    ".csv": _load_text,
    ".parquet": _load_parquet,
    ".tsv": _load_text,
}
