"""Makes the tables of two files fit each other: the same columns by name, each of one kind.

Tables -> saved indexes left out -> --columns, --drop -> aligned -> kinds agree -> checked
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pairtile.app import typed
from pairtile.app.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pairtile._front.frames import Column
    from pairtile.app.table import Table

_UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)*")  # what pandas calls a column without a name
_WORDS = {"text", "category"}
_ALIKE = ({"number", "bool"}, _WORDS)  # kinds that can be compared


class Choice(NamedTuple):
    """Which columns the command line names."""

    columns: list[str] | None = None
    drop: list[str] | None = None

    @property
    def asked(self) -> list[str]:
        """All of them."""
        return [*(self.columns or []), *(self.drop or [])]


def fit(
    reference: Table, current: Table, choice: Choice, *, missing: bool
) -> tuple[Table, Table, list[str]]:
    """The columns to compare, of both tables, and what is to be said about them.

    Parameters
    ----------
    reference, current : Table
        A table that names no columns has those of the other, by position.
    choice : Choice
        Columns to compare, and to leave out.
    missing : bool
        Whether values may be missing.

    Raises
    ------
    InputError
        If a column is in one table only, is of different kinds in them, or holds what cannot be
        compared; if none is left.
    """
    first, notes = _without_index(reference, choice)
    second, more = _without_index(current, choice)
    notes += more
    if first.named and not second.named:
        second = _called(second, first)
    elif second.named and not first.named:
        first = _called(first, second)
    elif not first.named and len(first.names) != len(second.names):
        raise InputError(
            f"REFERENCE has {len(first.names)} features per row, CURRENT has {len(second.names)}"
        )
    first, second = _chosen(first, second, choice)
    first, second, more = _of_one_kind(first.checked(missing), second.checked(missing))
    return first, second, notes + more


def _without_index(table: Table, choice: Choice) -> tuple[Table, list[str]]:
    """Leave out what is the index of a frame: row numbers, which would drown the features."""
    left_out, notes = [], []
    for place, column in zip(table.places, table.columns, strict=False):
        name = column.name
        if not table.named or not _UNNAMED.fullmatch(name) or name in choice.asked:
            continue
        if _nothing(column):
            what = "holds nothing"
        elif _one_apart(column):
            what = "holds consecutive integers, as a saved index does,"
        elif choice.columns is not None:
            continue
        else:
            raise InputError(
                f"{table.path}: column {place} has no name in the header; if it is a saved index, "
                f"leave it out (--drop {name!r}; pandas: index=False), if not, name it in the "
                "header or in --columns"
            )
        left_out.append(name)
        notes.append(f"{table.path}: column {name!r} {what} and is left out (--columns keeps it)")
    return table.select([name for name in table.names if name not in left_out]), notes


def _one_apart(column: Column) -> bool:
    if column.kind != "number" or column.missing is not None:
        return False
    steps: bool = (np.diff(column.values) == 1).all() and column.values[0] % 1 == 0
    return steps


def _called(table: Table, other: Table) -> Table:
    """A table without names, under those of the other."""
    if len(table.names) != len(other.names):
        raise InputError(
            f"{other.path} has {len(other.names)} features per row, {table.path} has "
            f"{len(table.names)} and no names to go by"
        )
    return table.called(other.names)


def _chosen(first: Table, second: Table, choice: Choice) -> tuple[Table, Table]:
    """The columns asked for, those of the second table in the order of the first."""
    wanted = [list(table.names) for table in (first, second)]
    for table in (first, second):
        unknown = [name for name in choice.columns or [] if name not in table.names]
        if unknown:
            raise InputError(
                f"{table.path}: no column {_listed(unknown)} (--columns); "
                f"it has {_listed(table.names)}"
            )
    unknown = [name for name in choice.drop or [] if name not in [*wanted[0], *wanted[1]]]
    if unknown:
        raise InputError(
            f"no column {_listed(unknown)} in either file (--drop); {first.path} has "
            f"{_listed(first.names)}"
        )
    if choice.columns is not None:
        wanted = [[name for name in names if name in choice.columns] for names in wanted]
    wanted = [[name for name in names if name not in (choice.drop or [])] for names in wanted]
    lacking = [name for name in wanted[0] if name not in wanted[1]]
    extra = [name for name in wanted[1] if name not in wanted[0]]
    if lacking or extra:
        faults = [
            *([f"lacks {_listed(lacking)}"] if lacking else []),
            *([f"has {_listed(extra)} besides"] if extra else []),
        ]
        raise InputError(
            f"{second.path} (CURRENT) must have the columns of {first.path} (REFERENCE), but "
            f"{' and '.join(faults)}; --columns and --drop choose among them"
        )
    if not wanted[0]:
        raise InputError("no column is left to compare")
    return first.select(wanted[0]), second.select(wanted[0])


def _listed(names: Sequence[str], most: int = 10) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _of_one_kind(first: Table, second: Table) -> tuple[Table, Table, list[str]]:
    """Columns that are of one kind in one table and of another in the other, as words."""
    notes = []
    ours, theirs = list(first.columns), list(second.columns)
    for j, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a.kind == b.kind == "list" and a.values.shape[1] != b.values.shape[1]:
            raise InputError(
                f"{first.place(j)} holds lists of {a.values.shape[1]} numbers in {first.path} and "
                f"of {b.values.shape[1]} in {second.path}"
            )
        if a.kind == b.kind or _nothing(a) or _nothing(b) or {a.kind, b.kind} in _ALIKE:
            continue
        kinds = f"of kind {a.kind} in {first.path} and of kind {b.kind} in {second.path}"
        ours[j], theirs[j] = _as_words(first, a), _as_words(second, b)
        if not {ours[j].kind, theirs[j].kind} <= _WORDS:
            raise InputError(f"{first.place(j)} is {kinds}: these cannot be compared")
        notes.append(f"{first.place(j)} is compared as words, for it is {kinds}")
    return replace(first, columns=ours), replace(second, columns=theirs), notes


def _nothing(column: Column) -> bool:
    return column.missing is not None and bool(column.missing.all())


def _as_words(table: Table, column: Column) -> Column:
    """A column of a text file as words; of other files it stays what it is."""
    if column.kind in _WORDS or column.name not in table.strings:
        return column
    return typed.words(column.name, table.strings[column.name])
