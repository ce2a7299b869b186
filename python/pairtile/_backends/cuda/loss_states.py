"""A softmax loss over several blocks of columns on the GPU: states of one, and gradients.

States are those of `_backends/numpy/losses/blocks`; on the device positives have sums of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda.loss_blocks import Pace, Products
from pairtile._backends.cuda.losses import Positives, RowTerms, Softmax, empty_states
from pairtile._backends.cuda.memory import (
    Rows,
    addresses,
    current_stream,
    device_of,
    float64,
    to_input_namespace,
    upload,
)
from pairtile._definitions.debiased import debiased

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._definitions.debiased import Debiased
    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class Asked(NamedTuple):
    """What the loss of a block is asked."""

    targets: Ints | None
    row_labels: Floats | None
    col_labels: Floats | None
    column_logits: Floats | None
    margin: float
    angular_margin: float
    false_negative_margin: float | None
    row_limits: Floats | None
    col_limits: Floats | None
    row_scales: Floats | None = None
    positive_indptr: Ints | None = None
    positive_columns: Ints | None = None
    positive_weights: Floats | None = None
    kept_indptr: Ints | None = None
    kept_columns: Ints | None = None
    row_masked_indptr: Ints | None = None
    row_masked_columns: Ints | None = None
    col_masked_indptr: Ints | None = None
    col_masked_columns: Ints | None = None
    itself: bool = False

    def loss(self, products: Products, rows: RowTerms) -> Softmax:
        """The fold of all pairs of the block."""
        return Softmax(
            products,
            rows,
            Positives(
                targets=self.targets,
                labels=(self.row_labels, self.col_labels),
                sparse=(self.positive_indptr, self.positive_columns, self.positive_weights),
                itself=self.itself,
            ),
            targets=self.targets,
            kept=(self.kept_indptr, self.kept_columns),
            masked=(
                (self.row_masked_indptr, self.row_masked_columns),
                (self.col_masked_indptr, self.col_masked_columns),
            ),
            column_logits=self.column_logits,
            margins=(self.margin, self.angular_margin),
            sides=(True, True),
        )

    def limit(self, loss: Softmax, pace: Pace) -> Floats | None:
        """Limits of the rows and columns, and those that positives of the block set."""
        found = None
        if self.targets is not None and self.false_negative_margin is not None:
            loss.find_limits(self.false_negative_margin, pace)
            found = loss.limits[0].get()
        given = float64(self.row_limits), float64(self.col_limits)
        of_rows, of_cols = (
            own if own is not None else other for own, other in zip(given, loss.limits, strict=True)
        )
        loss.limits = of_rows, of_cols
        return found


def softmax_states(
    x: Any,
    y: Any,
    scale: float,
    *,
    label_smoothing: float,
    tau_plus: float = 0.0,
    rows: bool,
    cols: bool,
    normalize: bool = False,
    itself: bool = False,
    workers: int,
    progress: Report | None = None,
    **options: Any,
) -> tuple[Floats, Floats | None, Floats]:
    """States of the rows and of the columns, and the largest products that stay in a row's sum."""
    del workers
    asked = Asked(**options, itself=itself)
    with device_of(x, y):
        a = Rows(x)
        b = a if itself else Rows(y)
        products = Products(a, b, scale, normalize=normalize, grad=False)
        terms = RowTerms(a.n, scale, asked.row_scales, None)
        loss = asked.loss(products, terms)
        limited = asked.false_negative_margin is not None and asked.targets is not None
        pace = Pace(progress, (1 + limited) * a.n * b.n)
        limits = asked.limit(loss, pace)
        states = empty_states(a.n), empty_states(b.n) if cols else None
        for block in products.blocks(pace):
            _cuda.softmax_states(
                block.told, loss.options(), terms.told(), addresses(states), current_stream()
            )
        smoothed = label_smoothing > 0
        of_rows = _told(states[0], smoothed=smoothed, own=tau_plus == 0)
        if not rows:  # positives alone
            of_rows[:, :2], of_rows[:, 4:] = (-np.inf, 0.0), 0.0
        of_cols = None
        if cols:
            of_cols = _told(states[1], smoothed=smoothed)
            of_cols[:, 2:4] = 0.0
        return of_rows, of_cols, np.full(a.n, np.inf) if limits is None else limits


def _told(states: Any, *, smoothed: bool, own: bool = True) -> Floats:
    """Maximum, Σ e^(S − max), Σ S and number of the positives, Σ S and number of all.

    The first two without the positives unless `own`.
    """
    fields = states.get().view(np.float64).reshape(-1, 8)
    others = fields[:, 4:]
    parts = [fields[:, :2], fields[:, 2:4]] if own else [fields[:, :2]]
    top = np.max([part[:, 0] for part in parts], axis=0)
    base = np.where(top == -np.inf, 0.0, top)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        sums = sum(part[:, 1] * np.exp(part[:, 0] - base) for part in parts)
    return np.column_stack([top, sums, others[:, :2], others[:, 2:] * smoothed])


def softmax_gradients(
    x: Any,
    y: Any,
    scale: float,
    *,
    label_smoothing: float,
    tau_plus: float = 0.0,
    rows: bool,
    cols: bool,
    normalize: bool = False,
    itself: bool = False,
    negatives: int = 0,
    row_states: Floats,
    row_weights: Floats | None,
    col_states: Floats | None,
    col_weights: Floats | None,
    grad_x: bool,
    grad_y: bool,
    workers: int,
    progress: Report | None = None,
    **options: Any,
) -> tuple[Any, Any, float | Floats]:
    """What the pairs of a block add to the gradients of Σ weight · loss; states are over all."""
    del workers
    asked = Asked(**options, itself=itself)
    sides = (
        (row_states, row_weights if rows else None),
        (col_states, col_weights if cols else None),
    )
    wanted = grad_x, grad_x if itself else grad_y
    sizes = [float(np.abs(w).max(initial=0.0)) for _, w in sides if w is not None]
    unit = max([*sizes, 0.0]) or 1.0
    with device_of(x, y):
        a = Rows(x)
        b = a if itself else Rows(y)
        products = Products(a, b, scale, normalize=normalize, grad=True, sides=wanted)
        terms = RowTerms(a.n, scale, asked.row_scales, np.full(a.n, unit))
        loss = asked.loss(products, terms)
        limited = asked.false_negative_margin is not None and asked.targets is not None
        pace = Pace(progress, (3 + limited) * a.n * b.n)
        asked.limit(loss, pace)
        of_rows, of_cols = (
            None if states is None or w is None else _terms(states, w / unit, label_smoothing)
            for states, w in sides
        )
        by_floor = np.zeros(a.n)
        if tau_plus > 0 and row_weights is not None and asked.targets is not None:
            scales = scale if asked.row_scales is None else asked.row_scales
            found = debiased(row_states, tau_plus, negatives, scales)
            of_rows = _debiased_terms(row_states, row_weights / unit, found)
            # what the floor of a sum gives is told once, with the positive
            some = (asked.targets >= 0) & (row_states[:, 3] > 0)
            by_floor = np.where(some, row_weights * found.by_scale, 0.0)
        sums = upload(of_rows), upload(of_cols)
        for block in products.blocks(pace):
            _cuda.softmax_block_weights(
                block.told, loss.options(), terms.told(), addresses(sums), current_stream()
            )
            products.add(block, unit)
            pace.add(2 * block.pairs)
        of_x, of_y = products.gradients()
        if itself and grad_x:
            of_x, of_y = of_x + of_y, None
        of_x, of_y = to_input_namespace(x, of_x, of_y)
        by_scale = terms.grad_scale()
        if asked.row_scales is None:
            return of_x, of_y, float(by_scale + by_floor.sum())
        of_scales: Floats = by_scale.get() + by_floor
        return of_x, of_y, of_scales


def _terms(states: Floats, weights: Floats, smoothing: float) -> Floats:
    """What turns logits into derivatives: top, log of the sum, share, even, of a positive."""
    top, exps, _, share, _, count = states.T
    some = (share > 0) & (weights != 0)
    with np.errstate(divide="ignore"):
        logs = np.where(some, np.log(exps), 0.0)
    weights = np.where(some, weights, 0.0)
    even = weights * smoothing / np.where(count > 0, count, 1.0)
    wanted = weights * (1 - smoothing) / np.where(some, share, 1.0)
    nothing = np.zeros(len(states))
    return np.column_stack(
        [np.where(some, top, 0.0), logs, weights, even, wanted, nothing, nothing]
    )


def _debiased_terms(states: Floats, weights: Floats, found: Debiased) -> Floats:
    """The same where the sum over the negatives is one that `tau_plus` corrected."""
    some = (states[:, 3] > 0) & (weights != 0)
    weights = np.where(some, weights, 0.0)
    nothing = np.zeros(len(states))
    share, positive = (
        np.where(some, weights * by_score, 0.0) for by_score in (found.share, found.of_own)
    )
    return np.column_stack(
        [np.where(some, found.level, 0.0), nothing, share, nothing, nothing, positive, some]
    )
