"""Columns of strings, as text files have them, become columns of numbers, flags, dates or words.

    Strings of a file -> columns -> agree, with those of the other file -> Frame

A column is what all its fields are that are not missing. Where the files disagree, as on codes that
are all digits in one of them, both are taken as words, and that is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front.frames import Column
from pairtile.app import values
from pairtile.app.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pairtile.app.text import Strings

    Values = NDArray[Any]
    Parsed = tuple[Values, NDArray[np.bool_]]  # of the distinct fields; and which are missing

_DTYPES = {"number": "float64", "bool": "bool", "date": "datetime64[us]", "text": "str"}
_NOTHING = {"number": np.nan, "bool": False, "date": np.datetime64("NaT", "us")}


def columns(
    path: Path, names: Sequence[str], strings: Sequence[Strings], decimal: str | None
) -> tuple[list[Column], list[str]]:
    """The columns of one file, and what is to be said about them.

    Parameters
    ----------
    path : Path
        For messages.
    names : sequence of str
        Of the columns.
    strings : sequence of Strings
        Their fields.
    decimal : {".", ","}, optional
        What a fraction begins with; found from the fields if None.

    Raises
    ------
    InputError
        If that cannot be found, or numbers have their thousands set apart.
    """
    notes = []
    numbers = [_numbers(one, decimal or ".") for one in strings]
    if decimal is None and _has_decimal_commas(path, names, strings, numbers):
        decimal = ","
        numbers = [_numbers(one, decimal) for one in strings]
        notes.append(f"{path}: fractions begin with a comma (--decimal)")
    found = []
    for name, one, number in zip(names, strings, numbers, strict=True):
        if number is not None and number[1].all() and _present(one):
            found.append(words(name, one))  # "none" or "-" throughout
        elif number is not None:
            found.append(_column(name, "number", one, number))
        elif (flags := _all(one, _flag, "bool")) is not None:
            found.append(_column(name, "bool", one, flags))
        elif (dates := _all(one, values.date, "date")) is not None:
            found.append(_column(name, "date", one, dates))
        else:
            notes += _remarks(path, name, one, decimal or ".")
            found.append(words(name, one))
    return found, notes


def words(name: str, strings: Strings) -> Column:
    """A column whose fields are words, whatever they look like."""
    texts = [text.strip() for text in strings.texts()]
    missing = np.array([text in values.MISSING_WORDS for text in texts], dtype=np.bool_)
    levels = np.array(texts, dtype=object)
    levels[missing] = None
    return _column(name, "text", strings, (levels, missing))


def _column(name: str, kind: str, strings: Strings, parsed: Parsed) -> Column:
    levels, missing = parsed
    rows = missing[strings.codes]
    return Column(name, _DTYPES[kind], kind, levels[strings.codes], rows if rows.any() else None)


def _all(strings: Strings, read: Callable[[str], Any], kind: str) -> Parsed | None:
    """The different fields read one by one; None at the first that cannot be."""
    texts = strings.texts()
    levels = np.full(len(texts), _NOTHING[kind], dtype=_DTYPES[kind])
    missing = np.zeros(len(texts), dtype=np.bool_)
    for i, text in enumerate(texts):
        stripped = text.strip()
        if stripped.lower() in values.MISSING:
            missing[i] = True
        elif (value := read(stripped)) is None:
            return None
        else:
            levels[i] = value
    return levels, missing


def _flag(text: str) -> bool | None:
    return values.FLAGS.get(text.lower())


def _numbers(strings: Strings, decimal: str) -> Parsed | None:
    at_once = None if isinstance(strings.levels, list) else _by_pyarrow(strings.levels, decimal)
    if at_once is not None:
        return at_once
    return _all(strings, lambda text: values.number(text, decimal), "number")


def _by_pyarrow(levels: Any, decimal: str) -> Parsed | None:
    """All numbers at once; None where pyarrow finds one that is none, and Python is to look."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pc.utf8_trim_whitespace(levels)
    missing = pc.is_in(pc.ascii_lower(texts), value_set=pa.array(sorted(values.MISSING)))
    texts = pc.if_else(missing, pa.scalar(None, pa.string()), texts)
    if decimal == ",":
        if pc.any(pc.match_substring(texts, ".")).as_py():
            return None
        texts = pc.replace_substring(texts, ",", ".")
    try:
        numbers = texts.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None
    gone = missing.to_numpy(zero_copy_only=False)
    return None if np.isnan(numbers[~gone]).any() else (numbers, gone)


def _present(strings: Strings) -> list[tuple[int, str]]:
    """The distinct fields that are not missing, and their numbers."""
    texts = enumerate(text.strip() for text in strings.texts())
    return [(i, text) for i, text in texts if text not in values.MISSING_WORDS]


def _has_decimal_commas(
    path: Path,
    names: Sequence[str],
    strings: Sequence[Strings],
    numbers: Sequence[Parsed | None],
) -> bool:
    """Whether columns that are no numbers with decimal points are numbers with commas."""
    commas: list[tuple[str, str]] = []
    for name, one, number in zip(names, strings, numbers, strict=True):
        if number is None and _numbers(one, ",") is not None:
            commas += [(name, text) for _, text in _present(one) if "," in text]
    if not commas:
        return False
    name, text = commas[0]
    pointed = next(
        (
            (other, text)
            for other, one, number in zip(names, strings, numbers, strict=True)
            if number is not None
            for _, text in _present(one)
            if "." in text
        ),
        None,
    )
    if pointed is not None:
        raise InputError(
            f"{path}: column {pointed[0]!r} has decimal points ({pointed[1]}) and column {name!r} "
            f"commas ({text}): say with --decimal which begins a fraction"
        )
    if all(values.is_grouped(text) for _, text in commas):
        raise InputError(
            f"{path}: column {name!r} holds {text!r}, with a decimal comma or with its thousands "
            "set apart: pass --decimal , if it is the first, write the file without them if not"
        )
    return True


def _remarks(path: Path, name: str, strings: Strings, decimal: str) -> list[str]:
    """What is to be said of a column that is taken as words but looks like something else."""
    present = _present(strings)
    others = [(i, text) for i, text in present if values.number(text, decimal) is None]
    level, text = others[0]
    row = strings.row_of(level)
    if all(values.is_grouped(text) or values.is_comma_number(text) for _, text in others):
        raise InputError(
            f"{path}: column {name!r}: row {row} holds {text!r}, which is a number only if its "
            f"thousands are set apart, or with another --decimal than {decimal!r}: write the file "
            "without marks of thousands, pass --decimal, or leave the column out with --drop"
        )
    counts = np.bincount(strings.codes, minlength=len(strings.levels))
    numbers = sum(counts[i] for i, _ in present) - sum(counts[i] for i, _ in others)
    if 2 * numbers >= len(strings.codes):
        return [
            f"{path}: column {name!r} is compared as words: {numbers} of its rows hold numbers, "
            f"but row {row} holds {text!r}"
        ]
    if all(values.is_other_date(text) for _, text in present):
        return [
            f"{path}: column {name!r} is compared as words: {text!r} is no date of ISO 8601 "
            "(year-month-day)"
        ]
    return []
