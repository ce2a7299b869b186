"""Some rows of the scores of a softmax loss: which are positives, which are in the sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pairtile._backends.numpy.losses.rows import rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._backends.numpy.losses.rows import Array, Float64
    from pairtile._definitions.softmax import Pairs, SoftmaxOptions

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


class Scores:
    """The scores of a softmax loss; `block` has those of some rows."""

    def __init__(
        self,
        x: Array,
        y: Array,
        scale: float,
        options: SoftmaxOptions,
        *,
        row_scales: Float64 | None,
        normalize: bool,
        itself: bool = False,
    ) -> None:
        self.x, self.y, self.options = x, y, options
        self.scales = np.full(len(x), scale) if row_scales is None else row_scales
        self.normalize = normalize
        self.itself = itself  # y is x, no row of which is compared with itself
        self.y64 = rows_of(y, normalize)
        self.limits = np.full(len(y), np.inf)  # of the products in the sum of a column
        if options.targets is not None and options.false_negative_margin is not None:
            own = np.flatnonzero(options.targets >= 0)
            cols = options.targets[own]
            products = np.einsum("ij,ij->i", rows_of(x[own], normalize), self.y64[cols])
            self.limits[cols] = products + options.false_negative_margin

    def block(self, rows: slice) -> Block:
        options = self.options
        x64, s = rows_of(self.x[rows], self.normalize), self.scales[rows, None]
        products = x64 @ self.y64.T
        shares = self._shares(rows)
        positive = shares > 0
        phi, slope = self._with_margin(products, positive)
        scores = s * phi
        if options.column_logits is not None:
            scores += options.column_logits
        in_rows = in_cols = np.ones(products.shape, dtype=bool)
        if options.kept[0] is not None:
            in_rows = positive | _listed(options.kept, rows, positive.shape)
        if options.false_negative_margin is not None:
            own = np.max(products, axis=1, initial=-np.inf, where=positive)
            limit = np.where(own == -np.inf, np.inf, own + options.false_negative_margin)
            in_rows = positive | ~(products > limit[:, None])
            in_cols = positive | ~(products > self.limits)
        if options.row_limits is not None:
            in_rows = positive | ~(products > options.row_limits[rows, None])
        if options.col_limits is not None:
            in_cols = positive | ~(products > options.col_limits)
        in_rows = in_rows & (positive | ~_listed(options.row_masked, rows, positive.shape))
        in_cols = in_cols & (positive | ~_listed(options.col_masked, rows, positive.shape))
        if self.itself:
            own = np.arange(rows.start, rows.stop)[:, None]
            in_rows = in_rows & (np.arange(len(self.y)) != own)
        return Block(x64, s, phi, slope, scores, shares, in_rows, in_cols)

    def _shares(self, rows: slice) -> Float64:
        options = self.options
        n, m = len(range(len(self.x))[rows]), len(self.y)
        shares = np.zeros((n, m))
        indptr, columns, weights = options.positives
        if indptr is not None and columns is not None and weights is not None:
            chosen = slice(indptr[rows.start], indptr[rows.stop])
            shares[_entries(indptr, rows), columns[chosen]] = weights[chosen]
        elif options.row_labels is not None and options.col_labels is not None:
            shares[options.row_labels[rows, None] == options.col_labels] = 1
            shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
        elif options.targets is not None:
            own = np.flatnonzero(options.targets[rows] >= 0)
            shares[own, options.targets[rows][own]] = 1
        return shares

    def _with_margin(self, products: Float64, positive: Mask) -> tuple[Float64, Float64]:
        options = self.options
        if options.angular_margin:
            cosine = np.clip(products, -1, 1)
            sine = np.sqrt(1 - cosine**2)
            a, b = np.cos(options.angular_margin), np.sin(options.angular_margin)
            moved = a * cosine - b * sine
            # along the angle 0 there is no direction in which it grows
            slope = a + b * np.divide(cosine, sine, out=np.zeros_like(sine), where=sine > 0)
            return np.where(positive, moved, products), np.where(positive, slope, 1.0)
        return products - options.margin * positive, np.ones(products.shape)


def _entries(indptr: Ints, rows: slice) -> Ints:
    """Row within the block of each entry of a compressed matrix."""
    lengths = np.diff(indptr[rows.start : rows.stop + 1])
    return np.repeat(np.arange(len(lengths)), lengths)


def _listed(pairs: Pairs, rows: slice, shape: tuple[int, ...]) -> Mask:
    """Which pairs of the block a list of them holds."""
    found = np.zeros(shape, dtype=bool)
    indptr, columns = pairs
    if indptr is not None and columns is not None:
        found[_entries(indptr, rows), columns[indptr[rows.start] : indptr[rows.stop]]] = True
    return found
