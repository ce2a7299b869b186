"""Categories of frames as numbers, for the metric that only asks whether they are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front import frames
from pairtile._front.frames import Table
from pairtile._front.metrics import compared_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pairtile._front.frames import Column, Frame

_LEVELS = ("category", "text")  # kinds of columns


def coded(
    metric: str, metric_params: Mapping[str, Any] | None, **sets: Any
) -> tuple[Mapping[str, Any] | None, list[Any]]:
    """The parameters of gower and the sets, whose text columns are numbers that only compare.

    A level has one number in all sets, a missing value is NaN. What has no such columns, or is not
    a frame in every set, comes back as it is; so it does for other metrics. The columns are
    numbered as those of the first set.
    """
    given = {name: x for name, x in sets.items() if x is not None}
    if metric != "gower" or not all(map(frames.is_frame, given.values())):
        return metric_params, list(sets.values())
    tables = {name: frames.read(name, x) for name, x in given.items()}
    (first, table), *others = tables.items()
    if not any(c.kind in _LEVELS for t in tables.values() for c in t.columns):
        return metric_params, list(sets.values())
    ordered = {first: list(table.columns)}
    for name, other in others:
        places = frames.align(first, table, name, other)
        ordered[name] = [other.columns[i] for i in places]
    codes = [
        _codes(list(ordered), same) if any(c.kind in _LEVELS for c in same) else None
        for same in zip(*ordered.values(), strict=True)
    ]
    compared = np.array([of_column is not None for of_column in codes])
    found = {
        name: _table(
            name, tables[name], ordered[name], [None if c is None else c[i] for c in codes]
        )
        for i, name in enumerate(ordered)
    }
    mask = compared | compared_columns((metric_params or {}).get("categorical"), len(compared))
    params = {**(metric_params or {}), "categorical": mask}
    return params, [None if x is None else found[name] for name, x in sets.items()]


def _codes(names: Sequence[str], same: Sequence[Column]) -> list[NDArray[np.float64]]:
    """Of one column in all sets: the place of each value among the levels of all."""
    for name, column in zip(names, same, strict=True):
        if column.kind not in _LEVELS and not _empty(column):
            raise TypeError(
                f"column {column.name!r} of {name} has dtype {column.dtype}, but holds "
                f"categories elsewhere; metric 'gower' needs one kind"
            )
    place: dict[str | None, float] = {None: np.nan}
    return [
        np.array([place.setdefault(v, len(place)) for v in _levels(column)], dtype=np.float64)
        for column in same
    ]


def _empty(column: Column) -> bool:
    return column.missing is not None and bool(column.missing.all())


def _levels(column: Column) -> NDArray[Any]:
    """Strings, None where missing."""
    return np.full(len(column.values), None) if _empty(column) else column.values


def _table(
    name: str, frame: Frame, columns: Sequence[Column], codes: Sequence[NDArray[np.float64] | None]
) -> Table:
    values = [
        column if code is None else column._replace(kind="number", values=code, missing=None)
        for column, code in zip(columns, codes, strict=True)
    ]
    whole = frame._replace(columns=tuple(values))
    numbers = frames.numbers(name, whole).astype(np.float64, copy=False)
    return Table([c.name for c in columns], frame.index, numbers)
