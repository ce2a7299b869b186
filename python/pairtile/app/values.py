"""What a field of a text file is: a number, a flag, a date, missing, or a word.

And, from the first rows of all fields, whether the very first is a header.
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

# What pandas takes for missing, and what else stands for it among numbers and dates; there "none"
# and "-" cannot be words.
MISSING_WORDS = frozenset(
    "#N/A #NA -NaN -nan <NA> N/A NA NULL NaN NaT None n/a nan null".split()  # noqa: SIM905
) | {""}
MISSING = frozenset([*(word.lower() for word in MISSING_WORDS), "-"])
FLAGS = {"true": True, "false": False}
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity)", re.ASCII | re.I)
_COMMA_NUMBER = re.compile(r"[+-]?(?:\d+,\d*|,\d+)(?:e[+-]?\d+)?", re.ASCII | re.I)
_FRACTION = re.compile(r"[+-]?\d*(?:[.,]\d*(?:e[+-]?\d+)?|e-\d+)", re.ASCII | re.I)
_GROUPED = re.compile(
    r"[+-]?[1-9]\d{0,2}([,.' \u00a0\u2019\u202f])\d{3}(?:\1\d{3})*(?:(?!\1)[.,]\d*)?", re.ASCII
)
_DATE = re.compile(
    r"\d{4}-\d\d(?:-\d\d(?:[T ]\d\d:?\d\d(?::?\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?)?",
    re.ASCII,
)
_OTHER_DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}(?:[T ].*)?", re.ASCII)
_RUN = 5  # numbers one apart that are a header whatever is beneath


def number(field: str, decimal: str = ".") -> float | None:
    """Value of a field without blanks around it; None if it is no number."""
    if decimal == ",":
        if "." in field:
            return None
        field = field.replace(",", ".")
    return float(field) if _NUMBER.fullmatch(field) else None


def is_comma_number(field: str) -> bool:
    """Whether a field is a number if a comma is what begins its fraction."""
    return _COMMA_NUMBER.fullmatch(field) is not None


def is_grouped(field: str) -> bool:
    """Whether a field is a number if its thousands are set apart: 1,234 or 1.234,50."""
    return _GROUPED.fullmatch(field) is not None


def date(field: str) -> datetime.datetime | None:
    """The instant of a field in ISO 8601, that of UTC if it names a zone; None if it is none."""
    if not _DATE.fullmatch(field):
        return None
    try:
        found = datetime.datetime.fromisoformat(field if len(field) > 7 else f"{field}-01")
        return found.astimezone(datetime.UTC).replace(tzinfo=None) if found.tzinfo else found
    except (ValueError, OverflowError):
        return None


def is_other_date(field: str) -> bool:
    """Whether a field may be a date in another order: 31.12.2024 or 12/31/2024."""
    return _OTHER_DATE.fullmatch(field) is not None


def is_value(field: str) -> bool:
    """Whether a field is no word: a number, with point or comma, a flag, a date, or missing."""
    field = field.strip()
    return (
        field in MISSING_WORDS
        or _NUMBER.fullmatch(field) is not None
        or is_comma_number(field)
        or field.lower() in FLAGS
        or date(field) is not None
    )


class Header(NamedTuple):
    """Whether the first row names the columns, and what is to be said about that."""

    found: bool
    note: str | None


def header(sample: Sequence[Sequence[str]]) -> Header:
    """Decide by the first rows whether the very first is a header.

    A row with a word in it is one. A row of whole numbers that increase is one if every row
    beneath has a fraction in it, or if the numbers are five or more, one apart, and no row beneath
    is like that; a single number only if it is 0. An empty first field, the name that pandas gives
    an index, counts for nothing.
    """
    first = [field.strip() for field in sample[0]]
    if not all(map(is_value, first)):
        return Header(True, None)
    names = first[1:] if first[0] == "" else first
    step = _step(names)
    if step is None or (len(names) == 1 and names != ["0"]):
        return Header(False, None)
    beneath = [[field.strip() for field in row] for row in sample[1:]]
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    fractions = all(any(map(_FRACTION.fullmatch, row)) for row in beneath)
    alone = step == 1 and not any(_step(row[-len(names) :]) == 1 for row in beneath)
    if beneath and (fractions or (alone and len(names) >= _RUN)):
        return Header(True, f"the first row ({shown}) is taken for a header, not for data")
    if alone and len(names) > 1:
        return Header(False, f"the first row ({shown}) is taken for data, not for a header")
    return Header(False, None)


def _step(fields: Sequence[str]) -> int | None:
    """1 if whole numbers go up one by one, 2 if they go up; else None."""
    if not fields or not all(re.fullmatch(r"\d{1,18}", field, re.ASCII) for field in fields):
        return None
    steps = np.diff([int(field) for field in fields])
    return None if (steps < 1).any() else 1 if (steps == 1).all() else 2
