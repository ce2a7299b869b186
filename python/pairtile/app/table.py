"""One file's table, as `io` reads it and `pair` makes it fit the other's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front.frames import Column, Frame
from pairtile.app.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pairtile.app.text import Strings

    Matrix = np.ndarray[Any, Any]

# Values are looked at in blocks of so many, so that a memory map is never held whole.
_BLOCK_VALUES = 1 << 20


@dataclass(frozen=True)
class Table:
    """Rows of a file: a matrix of numbers, or columns of any kind.

    Attributes
    ----------
    path : str
        For messages.
    names : list of str
        Of the columns.
    named : bool
        Whether they are the file's; else they are x0, x1, ….
    rows : int
        How many.
    places : list of int
        Where in the file the columns are.
    matrix : ndarray of shape (rows, at least d) or None
        In the file's dtype, memory-mapped if it can be.
    columns : list of Column
        If there is no matrix.
    index : ndarray of shape (rows,) or None
        Labels of the rows.
    strings : dict of Strings
        What a text file has in its columns.
    notes : list of str
        What is to be said about the reading of the file.
    """

    path: str
    names: list[str]
    named: bool
    rows: int
    places: list[int]
    matrix: Matrix | None = None
    columns: list[Column] = field(default_factory=list)
    index: Matrix | None = None
    strings: dict[str, Strings] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of_matrix(cls, path: str, matrix: Matrix) -> Table:
        """Of an array that names no columns."""
        d = matrix.shape[1]
        names = [f"x{j}" for j in range(d)]
        return cls(path, names, False, len(matrix), list(range(d)), matrix)

    def select(self, names: Sequence[str]) -> Table:
        """These columns, in this order."""
        chosen = [self.names.index(name) for name in names]
        return replace(
            self,
            names=list(names),
            places=[self.places[j] for j in chosen],
            columns=[self.columns[j] for j in chosen] if self.columns else [],
        )

    def called(self, names: Sequence[str]) -> Table:
        """The same columns under the names of the other table's."""
        columns = [c._replace(name=names[j]) for j, c in enumerate(self.columns)]
        new = dict(zip(self.names, names, strict=True))
        strings = {new[old]: fields for old, fields in self.strings.items() if old in new}
        return replace(self, names=list(names), columns=columns, strings=strings)

    def checked(self, missing: bool) -> Table:
        """The same with its matrix as columns, or an `InputError` for the first unfit value.

        Parameters
        ----------
        missing : bool
            Whether values may be missing. None may be infinite, or beyond what can be squared.
        """
        if self.matrix is not None:
            return replace(self, matrix=None, columns=self._of_matrix(self.matrix, missing))
        for j, column in enumerate(self.columns):
            if column.kind == "other":
                raise InputError(
                    f"{self.path}: {self.place(j)} ({column.dtype}) cannot be compared; leave it "
                    "out with --drop"
                )
            if column.missing is not None and not missing:
                row = int(np.argmax(column.missing))
                raise InputError(f"{self.path}: row {row}: missing value in {self.place(j)}")
            if column.kind in ("number", "list"):
                values = column.values.reshape(self.rows, -1)
                beyond = np.abs(values) > _largest(values.dtype)
                self._refuse(values, beyond, 0, [j] * values.shape[1])
        return self

    def _of_matrix(self, matrix: Matrix, missing: bool) -> list[Column]:
        """Views of its columns, and where in them values are missing."""
        masks: dict[int, np.ndarray[Any, Any]] = {}
        step = max(1, _BLOCK_VALUES // matrix.shape[1])
        for start in range(0, self.rows if matrix.dtype.kind == "f" else 0, step):
            block = matrix[start : start + step][:, self.places]
            if (fit := np.abs(block) <= _largest(matrix.dtype)).all():
                continue
            gone = np.isnan(block)
            self._refuse(block, ~(fit | gone) if missing else ~fit, start, range(len(self.names)))
            for j in np.flatnonzero(gone.any(axis=0)):
                mask = masks.setdefault(int(j), np.zeros(self.rows, dtype=np.bool_))
                mask[start : start + step] = gone[:, j]
        return [
            Column(name, matrix.dtype.name, "number", matrix[:, place], masks.get(j))
            for j, (name, place) in enumerate(zip(self.names, self.places, strict=True))
        ]

    def _refuse(self, values: Matrix, unfit: Matrix, start: int, columns: Sequence[int]) -> None:
        if unfit.any():
            row, j = (int(k) for k in np.argwhere(unfit)[0])
            value = float(values[row, j])
            what, why = f"infinite value ({value})", ""
            if np.isnan(value):
                what = "missing value (nan)"
            elif np.isfinite(value):
                what = f"value {value:g}"
                why = ", whose square float64 cannot hold: was the file misread, or is it missing?"
            at = self.place(columns[j])
            raise InputError(f"{self.path}: row {start + row}: {what} in {at}{why}")

    def frame(self) -> Frame:
        """What tables are compared as."""
        return Frame(tuple(self.columns), self.index, self.rows)

    def place(self, column: int) -> str:
        """A column for messages: by its name, or by its place in a file without names."""
        return f"column {self.names[column]!r}" if self.named else f"column {self.places[column]}"


def _largest(dtype: np.dtype[Any]) -> float:
    """The largest finite number of a dtype, or what float64 can square if that is less."""
    return 1e150 if dtype.kind != "f" else min(1e150, float(np.finfo(dtype).max))
