"""Which rows belong together: labels and groups as numbers, and who has a positive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front import scalars, validate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]


def numbered(*parts: tuple[str, Any, str, int]) -> list[Ints]:
    """Integers or strings as numbers, equal ones alike; each by (name, values, rows, n)."""
    found = [validate.labels(*part) for part in parts]
    if len({a.dtype.kind for a in found}) > 1:
        names = " and ".join(part[0] for part in parts)
        dtypes = " and ".join(str(a.dtype) for a in found)
        raise TypeError(f"{names} must all be integers or all be strings, got dtypes {dtypes}")
    numbers = np.unique(np.concatenate(found), return_inverse=True)[1].astype(np.int64)
    return np.split(numbers, np.cumsum([len(a) for a in found])[:-1])


def groups(x_groups: Any, y_groups: Any, n: int, m: int) -> tuple[Ints, Ints] | None:
    """Numbers of the groups of both sets; None without any."""
    if x_groups is None and y_groups is None:
        return None
    if x_groups is None:
        raise ValueError("y_groups needs x_groups")
    if y_groups is None:
        if n != m:
            raise ValueError(f"x_groups needs y_groups: x has {n} rows and y has {m}")
        y_groups = x_groups
    of_x, of_y = numbered(("x_groups", x_groups, "x", n), ("y_groups", y_groups, "y", m))
    return of_x, of_y


def of_width(*parts: tuple[str, Any, str, int], label_width: Any) -> tuple[Floats, float]:
    """Labels as float64, and the most by which those of positives differ: 0 for None."""
    if label_width is None:
        return np.concatenate(numbered(*parts)).astype(np.float64), 0.0
    width = scalars.real("label_width", label_width, least=0)
    found = []
    for name, values, rows, n in parts:
        if np.shape(values) != (n,):
            raise ValueError(
                f"{name} must have shape ({n},), one per row of {rows}, got {np.shape(values)}"
            )
        found.append(validate.weights(name, values, n, signed=True))
    return np.concatenate([a for a in found if a is not None]), width


def have_positives(labels: Floats, width: float) -> Mask:
    """Whether another label is within the width: the nearest above or below is."""
    order = np.argsort(labels)
    near = np.diff(labels[order]) <= width
    found = np.empty(len(labels), dtype=bool)
    found[order] = np.append(near, False) | np.insert(near, 0, False)
    return found
