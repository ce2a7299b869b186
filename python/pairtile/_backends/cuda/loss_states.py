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

if TYPE_CHECKING:
    from numpy.typing import NDArray

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

    def loss(self, products: Products, rows: RowTerms) -> Softmax:
        """The fold of all pairs of the block."""
        labels = self.row_labels, self.col_labels
        return Softmax(
            products,
            rows,
            Positives(targets=self.targets, labels=labels),
            targets=self.targets,
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
    rows: bool,
    cols: bool,
    workers: int,
    progress: Report | None = None,
    **options: Any,
) -> tuple[Floats, Floats | None, Floats]:
    """States of the rows and of the columns, and the largest products that stay in a row's sum."""
    del workers
    asked = Asked(**options)
    with device_of(x, y):
        a, b = Rows(x), Rows(y)
        products = Products(a, b, scale, normalize=False, grad=False)
        terms = RowTerms(a.n, scale, None, None)
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
        of_rows = _told(states[0], smoothed=smoothed)
        if not rows:  # positives alone
            of_rows[:, :2], of_rows[:, 4:] = (-np.inf, 0.0), 0.0
        of_cols = None
        if cols:
            of_cols = _told(states[1], smoothed=smoothed)
            of_cols[:, 2:4] = 0.0
        return of_rows, of_cols, np.full(a.n, np.inf) if limits is None else limits


def _told(states: Any, *, smoothed: bool) -> Floats:
    """Maximum, Σ e^(S − max), Σ S and number of the positives, Σ S and number of all."""
    fields = states.get().view(np.float64).reshape(-1, 8)
    rest, own, others = fields[:, :2], fields[:, 2:4], fields[:, 4:]
    top = np.maximum(rest[:, 0], own[:, 0])
    base = np.where(top == -np.inf, 0.0, top)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        sums = sum(part[:, 1] * np.exp(part[:, 0] - base) for part in (rest, own))
    return np.column_stack([top, sums, others[:, :2], others[:, 2:] * smoothed])


def softmax_gradients(
    x: Any,
    y: Any,
    scale: float,
    *,
    label_smoothing: float,
    rows: bool,
    cols: bool,
    row_states: Floats,
    row_weights: Floats | None,
    col_states: Floats | None,
    col_weights: Floats | None,
    grad_x: bool,
    grad_y: bool,
    workers: int,
    progress: Report | None = None,
    **options: Any,
) -> tuple[Any, Any, float]:
    """What the pairs of a block add to the gradients of Σ weight · loss; states are over all."""
    del workers
    asked = Asked(**options)
    sides = (
        (row_states, row_weights if rows else None),
        (col_states, col_weights if cols else None),
    )
    sizes = [float(np.abs(w).max(initial=0.0)) for _, w in sides if w is not None]
    unit = max([*sizes, 0.0]) or 1.0
    with device_of(x, y):
        a, b = Rows(x), Rows(y)
        products = Products(a, b, scale, normalize=False, grad=True, sides=(grad_x, grad_y))
        terms = RowTerms(a.n, scale, None, np.full(a.n, unit))
        loss = asked.loss(products, terms)
        limited = asked.false_negative_margin is not None and asked.targets is not None
        pace = Pace(progress, (3 + limited) * a.n * b.n)
        asked.limit(loss, pace)
        of_rows, of_cols = (
            None
            if states is None or w is None
            else upload(_terms(states, w / unit, label_smoothing))
            for states, w in sides
        )
        for block in products.blocks(pace):
            _cuda.softmax_block_weights(
                block.told, loss.options(), terms.told(), addresses((of_rows, of_cols)),
                current_stream(),
            )  # fmt: skip
            products.add(block, unit)
            pace.add(2 * (block.rows[1] - block.rows[0]) * (block.cols[1] - block.cols[0]))
        of_x, of_y = to_input_namespace(x, *products.gradients())
        return of_x, of_y, float(terms.grad_scale())


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
