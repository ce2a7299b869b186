"""The rows of the new table that are least like the reference, and what makes them so.

matrices -> witness function at the new rows -> its least values -> columns without which the
witness would be nearer to 0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front.results import Result
from pairtile.kernels import Energy, Gaussian, witness
from pairtile.tables.features import unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pairtile._front.progress import Report
    from pairtile.tables.encode import Encoded

    Floats = NDArray[np.float64]

_NAMED = 3  # columns that a row names, at most
_LOOKED_AT = 2000  # rows of each table, by which it is judged what makes a row so
_FAR = 1e100  # units of the data, beyond which nothing is nearer or farther
_SHARE = 0.25  # of what the first of them adds; what adds less is not named


class _RowDrift(NamedTuple):
    index: int  # type: ignore[assignment]  # the field, not the method of tuples
    label: Any
    witness: float
    columns: list[str]


class RowDrift(Result, _RowDrift):
    """A row of the new table that is unlike the reference.

    Attributes
    ----------
    index : int
        Its position in the table, from 0.
    label : object
        The frame's own label of the row; the position where it has none.
    witness : float
        Of the energy test: mean distance to the new rows less mean distance to the reference's;
        of the MMD test: mean kernel value with the reference's rows less that with the new ones.
        The more negative, the more such rows are new.
    columns : list of str
        Up to three that made the witness negative, most important first: by the mean of what a
        column adds to the witness by itself and what it adds to all others. Empty where the
        witness is not negative.
    """

    def _items(self) -> dict[str, Any]:
        return {**self._asdict(), "label": _written(self.label)}


def drifted_rows(
    encoded: Encoded,
    top: int,
    positions: NDArray[np.int64],
    labels: NDArray[Any] | None,
    sigma: float | None,
    *,
    workers: int | None,
    report: Report | None,
) -> list[RowDrift]:
    """The `top` rows of current by the energy witness, or by that of a Gaussian kernel.

    O(m (n + m) d) operations and O(n + m) memory.
    """
    if not top:
        return []
    x, y = encoded.reference, encoded.current
    kernel = Energy() if sigma is None else Gaussian(sigma)
    unit = max(map(unit_of, (x, y))) if sigma is None else 1.0
    if unit != 1:  # sums of distances are beyond float64
        x, y = x / unit, y / unit
    values = witness(y, x, y, kernel=kernel, workers=workers, progress=report or False)
    with np.errstate(over="ignore", under="ignore"):
        values = values * unit
    chosen = np.argsort(values, kind="stable")[:top]
    named = _columns(encoded, chosen, sigma)
    return [
        RowDrift(
            int(positions[i]),
            _plain(int(positions[i]) if labels is None else labels[i]),
            float(values[i]),
            names if values[i] < 0 else [],
        )
        for i, names in zip(chosen, named, strict=True)
    ]


def _plain(label: Any) -> Any:
    """Without NumPy's types, but for dates."""
    if isinstance(label, np.generic) and label.dtype.kind not in "mM":
        return label.item()
    return label


def _written(label: Any) -> Any:
    """As JSON has it: numbers, text, lists of them, and dates in words."""
    if isinstance(label, tuple):
        return [_written(part) for part in label]
    return label if isinstance(label, (str, int, float)) else str(label)


def _columns(encoded: Encoded, rows: NDArray[np.intp], sigma: float | None) -> list[list[str]]:
    """For each row the sources that add most to its witness."""
    groups: dict[str, list[int]] = {}
    for j, source in enumerate(encoded.sources):
        groups.setdefault(source, []).append(j)
    if len(groups) == 1:
        return [list(groups) for _ in rows]
    x, y = (_some(a) for a in encoded[:2])
    here = encoded.current[rows].astype(np.float64)
    unit = sigma or max(unit_of(a) for a in (x, y, here))

    def squares(columns: Sequence[int]) -> Floats:
        """Of distances between these rows and all others, over some columns."""
        total = np.zeros((len(rows), len(x) + len(y)))
        for j in columns:
            own, both = (
                np.clip(a, -_FAR * unit, _FAR * unit) / unit
                for a in (here[:, j], np.concatenate([x[:, j], y[:, j]]))
            )
            total += (own[:, None] - both) ** 2
        return total

    def at(total: Floats) -> Floats:
        """The witness of these rows, by squared distances."""
        values = -np.sqrt(total) if sigma is None else np.exp(-total / 2)
        means: Floats = values[:, : len(x)].mean(axis=1) - values[:, len(x) :].mean(axis=1)
        return means

    whole = squares(range(x.shape[1]))
    base = at(whole)
    # mean of what a column adds to none and to all others: of two alike, neither hides the other
    gains = np.empty((len(groups), len(rows)))
    for gain, group in zip(gains, groups.values(), strict=True):
        alone = squares(group)
        gain[:] = (at(np.maximum(whole - alone, 0)) - base - at(alone)) / 2
    names = list(groups)
    found = []
    for gain in gains.T:
        best = np.argsort(-gain, kind="stable")[:_NAMED]
        least = _SHARE * float(gain[best[0]])
        found.append([names[i] for i in best if gain[i] > 0 and gain[i] >= least])
    return found


def _some(a: NDArray[Any]) -> Floats:
    """At most so many rows, evenly spread."""
    count = min(len(a), _LOOKED_AT)
    some: Floats = a[np.arange(count) * len(a) // count].astype(np.float64)
    return some
