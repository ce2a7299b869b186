"""Some rows of the scores of a softmax loss: which are positives, which are in the sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends.numpy.losses.rows import rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._backends.numpy.losses.rows import Array, Float64

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]


class Block(NamedTuple):
    """Rows × all columns.

    S = s φ + c, with φ the product C or what it is for a positive, and dφ/dC its slope. `shares` of
    the positives sum to 1 in each row that has one. `in_rows` and `in_cols` are the pairs that are
    in the sums of their row, and of their column.
    """

    x: Float64
    scales: Float64
    phi: Float64
    slope: Float64
    scores: Float64
    shares: Float64
    in_rows: Mask
    in_cols: Mask


def given(*parts: Any) -> Any:
    """The parts of a sparse matrix; None where there is none."""
    return None if parts[0] is None else parts


@dataclass
class Scores:
    """What a softmax loss is asked; `block` has some rows of its scores."""

    x: Array
    y: Array
    scales: Float64
    targets: Ints | None
    row_labels: Float64 | None
    col_labels: Float64 | None
    label_width: float
    positives: tuple[Ints, Ints, Float64] | None
    kept: tuple[Ints, Ints] | None
    column_logits: Float64 | None
    margin: float
    angular_margin: float
    false_negative_margin: float | None
    normalize: bool
    # in place of what a row's own positive allows, where positives may be elsewhere
    row_limits: Float64 | None = None
    col_limits: Float64 | None = None
    # negatives out of the sums of rows, and of columns
    row_masked: tuple[Ints, Ints] | None = None
    col_masked: tuple[Ints, Ints] | None = None
    itself: bool = False  # y is x, no row of which is compared with itself

    def __post_init__(self) -> None:
        self.y64 = rows_of(self.y, self.normalize)
        self.limits = np.full(len(self.y), np.inf)  # of the products in the sum of a column
        if self.targets is not None and self.false_negative_margin is not None:
            own = np.flatnonzero(self.targets >= 0)
            cols = self.targets[own]
            products = np.einsum("ij,ij->i", rows_of(self.x[own], self.normalize), self.y64[cols])
            self.limits[cols] = products + self.false_negative_margin

    def block(self, rows: slice) -> Block:
        x64, s = rows_of(self.x[rows], self.normalize), self.scales[rows, None]
        products = x64 @ self.y64.T
        shares = self._shares(rows)
        positive = shares > 0
        phi, slope = self._with_margin(products, positive)
        scores = s * phi
        if self.column_logits is not None:
            scores += self.column_logits
        in_rows = in_cols = np.ones(products.shape, dtype=bool)
        if self.kept is not None:
            in_rows = positive.copy()
            in_rows[_entries(self.kept[0], rows), _columns(*self.kept, rows)] = True
        if self.false_negative_margin is not None:
            own = np.max(products, axis=1, initial=-np.inf, where=positive)
            limit = np.where(own == -np.inf, np.inf, own + self.false_negative_margin)
            in_rows = positive | ~(products > limit[:, None])
            in_cols = positive | ~(products > self.limits)
        if self.row_limits is not None:
            in_rows = positive | ~(products > self.row_limits[rows, None])
        if self.col_limits is not None:
            in_cols = positive | ~(products > self.col_limits)
        if self.row_masked is not None:
            in_rows = in_rows & (positive | ~_listed(*self.row_masked, rows, positive.shape))
        if self.col_masked is not None:
            in_cols = in_cols & (positive | ~_listed(*self.col_masked, rows, positive.shape))
        if self.itself:
            own = np.arange(rows.start, rows.stop)[:, None]
            in_rows = in_rows & (np.arange(len(self.y)) != own)
        return Block(x64, s, phi, slope, scores, shares, in_rows, in_cols)

    def _shares(self, rows: slice) -> Float64:
        n, m = len(range(len(self.x))[rows]), len(self.y)
        shares = np.zeros((n, m))
        if self.positives is not None:
            indptr, columns, weights = self.positives
            chosen = slice(indptr[rows.start], indptr[rows.stop])
            shares[_entries(indptr, rows), columns[chosen]] = weights[chosen]
        elif self.row_labels is not None and self.col_labels is not None:
            apart = np.abs(self.row_labels[rows, None] - self.col_labels)
            shares[apart <= self.label_width] = 1
            shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
        elif self.targets is not None:
            own = np.flatnonzero(self.targets[rows] >= 0)
            shares[own, self.targets[rows][own]] = 1
        return shares

    def _with_margin(self, products: Float64, positive: Mask) -> tuple[Float64, Float64]:
        if self.angular_margin:
            cosine = np.clip(products, -1, 1)
            sine = np.sqrt(1 - cosine**2)
            a, b = np.cos(self.angular_margin), np.sin(self.angular_margin)
            moved = a * cosine - b * sine
            # along the angle 0 there is no direction in which it grows
            slope = a + b * np.divide(cosine, sine, out=np.zeros_like(sine), where=sine > 0)
            return np.where(positive, moved, products), np.where(positive, slope, 1.0)
        return products - self.margin * positive, np.ones(products.shape)


def _entries(indptr: Ints, rows: slice) -> Ints:
    """Row within the block of each entry of a compressed matrix."""
    lengths = np.diff(indptr[rows.start : rows.stop + 1])
    return np.repeat(np.arange(len(lengths)), lengths)


def _listed(indptr: Ints, columns: Ints, rows: slice, shape: tuple[int, ...]) -> Mask:
    """Which pairs of the block a compressed matrix holds."""
    found = np.zeros(shape, dtype=bool)
    found[_entries(indptr, rows), _columns(indptr, columns, rows)] = True
    return found


def _columns(indptr: Ints, columns: Ints, rows: slice) -> Ints:
    chosen: Ints = columns[indptr[rows.start] : indptr[rows.stop]]
    return chosen
