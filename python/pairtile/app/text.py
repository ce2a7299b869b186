"""Text files for the `pairtile` command: from bytes to columns of strings.

    bytes -> encoding -> separator -> pyarrow's reader, or the standard library's -> Fields

Nothing is guessed in silence. The encoding is UTF-8, or what a byte order mark says. The separator
is the one under which the first rows have equally many fields, the most of them numbers; where two
do equally well, the file is refused. What was found, and was not commas in a .csv, is a note.

pyarrow reads a large file five times as fast; the two readers give the same fields, and where
pyarrow refuses a file the standard library's reader is asked again and says in which line.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile.app import values
from pairtile.app.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
_MARKS = (  # the longer first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_ROWS = 100  # by which a separator is judged, and a header
_SAMPLE_CHARACTERS = 1 << 20
_BLOCK_BYTES = 1 << 24  # of pyarrow's reader; no row may be longer
# A last row of our own. It arrives as it is unless a quoted field before it was left open.
_END = "\x00end"


class Strings(NamedTuple):
    """One column: different fields, and which of them each row has.

    Each is looked at once; of columns of numbers nearly all are different, and it may have one for
    every row.
    """

    levels: Any  # list of str, or pyarrow.StringArray
    codes: NDArray[np.int64]

    def texts(self) -> list[str]:
        """The different fields."""
        return self.levels if isinstance(self.levels, list) else self.levels.to_pylist()

    def row_of(self, level: int) -> int:
        """The first row that has a level."""
        return int(np.argmax(self.codes == level))


class Fields(NamedTuple):
    """What a text file holds."""

    names: list[str] | None  # of the header, if there is one
    columns: list[Strings]
    notes: list[str]


def read(
    path: Path, data: bytes, *, sep: str | None, encoding: str | None, decimal: str | None
) -> Fields:
    """Split the text of a file into fields.

    Parameters
    ----------
    path : Path
        For messages; fields of a .tsv, perhaps with .gz after it, are separated by tabs.
    data : bytes
        The whole file.
    sep : str, optional
        One character; found from the first rows if None.
    encoding : str, optional
        As Python names them; that of the byte order mark, or UTF-8, if None. The mark of UTF-8
        counts before it.
    decimal : {".", ","}, optional
        What begins a fraction; it separates no fields.

    Raises
    ------
    InputError
        If the file is empty, is no text of that encoding, has rows of different lengths or a
        quote that does not end, or if two separators would do.
    """
    text, notes = _decoded(path, data, encoding)
    with _fields_of_any_length(len(text)):
        return _read(path, text, notes, sep, decimal)


@contextmanager
def _fields_of_any_length(most: int) -> Iterator[None]:
    """The standard library's reader takes 128 KB for a quote that was forgotten."""
    before = csv.field_size_limit(max(most + len(_END), csv.field_size_limit()))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read(path: Path, text: str, notes: list[str], sep: str | None, decimal: str | None) -> Fields:
    text, declared = _sep_line(text)
    before = 0 if declared is None else 1  # lines taken off
    if not text.strip("\r\n"):
        raise InputError(f"{path}: the file is empty")
    if sep is None:
        sep = declared or ("\t" if ".tsv" in (s.lower() for s in path.suffixes) else None)
    if sep is None:
        sep = _separator(path, text, decimal)
        if sep != "," and sep in text:
            notes.append(f"{path}: fields are separated by {SEPARATORS[sep]} (--sep)")
    sample = _sample(text, sep)
    header = values.header(sample)
    if header.note is not None:
        notes.append(f"{path}: {header.note}")
    first = 1 if header.found else 0
    columns = None if sep == " " else _by_pyarrow(text, sep, len(sample[0]), first)
    if columns is None:
        columns = _by_csv(path, text, sep, first, before)
    names = [name.strip() for name in sample[0]] if header.found else None
    return Fields(names, columns, notes)


def _decoded(path: Path, data: bytes, encoding: str | None) -> tuple[str, list[str]]:
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    chosen = encoding or marked or "utf-8"
    if data.startswith(codecs.BOM_UTF8):  # begins no text in another encoding
        chosen = "utf-8-sig"
    try:
        text = data.decode(chosen)
    except UnicodeError as error:
        where = ""
        if isinstance(error, UnicodeDecodeError):
            line = data.count(b"\n", 0, error.start) + 1
            where = f", line {line} has the byte {data[error.start]:#04x}"
        ask = "" if encoding else "; name its encoding, for example --encoding cp1252"
        raise InputError(f"{path}: not text in {chosen}{where}{ask}") from error
    if "\x00" in text:
        ask = "" if encoding else "; if this is UTF-16 without its mark, pass --encoding utf-16-le"
        raise InputError(f"{path}: text in {chosen} with bytes of zero{ask}")
    return text, [] if encoding or chosen.startswith("utf-8") else [f"{path}: text in {chosen}"]


def _sep_line(text: str) -> tuple[str, str | None]:
    """Take off the line in which Excel names the separator."""
    first, _, rest = text.partition("\n")
    first = first.rstrip("\r").strip('"')
    if len(first) == 5 and first.lower().startswith("sep="):
        return rest, first[4]
    return text, None


def _lines(text: str) -> Iterator[str]:
    return iter(io.StringIO(text, newline=""))


def _rows(lines: Iterator[str], sep: str) -> Iterator[list[str]]:
    """Records that are not empty."""
    if sep == " ":  # one or more of them, and those at either end count for nothing
        lines = (line.strip(" \r\n") + "\n" for line in lines)
    return (row for row in csv.reader(lines, delimiter=sep, skipinitialspace=sep == " ") if row)


def _sample(text: str, sep: str) -> list[list[str]]:
    """The first rows. The last of a text cut short is left out, for it is not whole."""
    rows = _rows(_lines(text[:_SAMPLE_CHARACTERS]), sep)
    found = list(itertools.islice(rows, _SAMPLE_ROWS))
    return found[:-1] if len(text) > _SAMPLE_CHARACTERS and 1 < len(found) < _SAMPLE_ROWS else found


def _separator(path: Path, text: str, decimal: str | None) -> str:
    """The separator under which the first rows make a table; a comma if none does."""
    scores: dict[str, float] = {}
    for sep in SEPARATORS:
        if sep == decimal:
            continue
        rows = _sample(text, sep)
        width = len(rows[0])
        if width < 2 or any(len(row) != width for row in rows):
            continue
        beneath = [field for row in rows[1:] or rows for field in row]
        share = sum(map(values.is_value, beneath)) / len(beneath)
        if sep != " " or share == 1.0:  # words have blanks between them
            scores[sep] = share
    best = [sep for sep, score in scores.items() if score == max(scores.values())]
    if len(best) > 1 and set(best) != {",", " "}:
        either = " or ".join(SEPARATORS[sep] for sep in best)
        raise InputError(f"{path}: fields may be separated by {either}: say which with --sep")
    return best[0] if best else _most_frequent(text, decimal)


def _most_frequent(text: str, decimal: str | None) -> str:
    """What the first line has most of: for files of one column, and for messages."""
    first = next(line for line in _lines(text) if line.strip("\r\n"))
    return max((sep for sep in SEPARATORS if sep not in (decimal, " ")), key=first.count)


def _by_pyarrow(text: str, sep: str, width: int, first: int) -> list[Strings] | None:
    """The columns from row `first` on, or None if pyarrow is missing or finds a fault."""
    try:
        import pyarrow as pa
        import pyarrow.csv as pc
    except ImportError:
        return None
    names = [str(j) for j in range(width)]
    tail = "\n" + _END + sep * (width - 1) + "\n"
    try:
        table = pc.read_csv(
            pa.BufferReader((text + tail).encode()),
            read_options=pc.ReadOptions(column_names=names, block_size=_BLOCK_BYTES),
            parse_options=pc.ParseOptions(delimiter=sep, newlines_in_values=True),
            convert_options=pc.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[],
                strings_can_be_null=False,
            ),
        )
        whole = table.column(0)[-1].as_py() == _END
        rows = table.slice(first, table.num_rows - 1 - first)
        columns = [pa.concat_arrays([pa.array([], pa.string()), *c.chunks]) for c in rows.columns]
    except pa.ArrowInvalid:
        return None
    return [_by_levels(column) for column in columns] if whole else None


def _by_levels(column: Any) -> Strings:
    """A pyarrow.StringArray by its different fields, unless nearly all differ."""
    head = column.slice(0, _SAMPLE_ROWS)
    if 2 * len(head.unique()) > len(head):
        return Strings(column, np.arange(len(column)))
    encoded = column.dictionary_encode()
    return Strings(encoded.dictionary, encoded.indices.to_numpy().astype(np.int64))


def _by_csv(path: Path, text: str, sep: str, first: int, before: int) -> list[Strings]:
    """The columns from row `first` on, or an `InputError` that says in which line the fault is."""
    end = [_END] if text.endswith("\n") else ["\n", _END]
    lines = _Counted(itertools.chain(_lines(text), end), before)
    levels: list[dict[str, int]] = []
    codes: list[list[int]] = []
    whole = before  # lines up to the last record
    for row, fields in enumerate(_rows(lines, sep), -first):
        if fields == [_END]:
            break
        if fields[-1].endswith(_END):
            raise InputError(f"{path}: a quote in line {whole + 1} or beneath does not end")
        if not levels:
            levels, codes = [{} for _ in fields], [[] for _ in fields]
        if len(fields) != len(levels):
            what = f"row {row} has {len(fields)} fields, expected {len(levels)}"
            if first and row == 0:
                what = f"the header names {len(levels)} columns, the rows have {len(fields)} fields"
            raise InputError(
                f"{path}: {what} (line {lines.count}; fields separated by "
                f"{SEPARATORS.get(sep, repr(sep))}, or pass --sep)"
            )
        if row >= 0:
            for known, column, field in zip(levels, codes, fields, strict=True):
                column.append(known.setdefault(field, len(known)))
        whole = lines.count
    return [
        Strings(list(known), np.array(column, dtype=np.int64))
        for known, column in zip(levels, codes, strict=True)
    ]


class _Counted:
    """Lines, counted as they are taken."""

    def __init__(self, lines: Iterator[str], before: int) -> None:
        self._lines = lines
        self.count = before

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.count += 1
        return line
