"""A softmax loss over several blocks of columns on the GPU: states of one, and gradients.

States are those of `_backends/numpy/losses/blocks`; on the device positives have sums of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda.loss_blocks import Pace, Products
from pairtile._backends.cuda.losses import RowTerms, Softmax, empty_states, softmax_positives
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
    from pairtile._definitions.softmax import SoftmaxOptions, SoftmaxSides
    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]


def _fold(products: Products, rows: RowTerms, options: SoftmaxOptions, *, itself: bool) -> Softmax:
    """The fold of all pairs of the block, by row and by column."""
    positives = softmax_positives(options, itself=itself)
    return Softmax(products, rows, positives, options._replace(rows=True, cols=True))


def _limited(options: SoftmaxOptions) -> bool:
    """Whether positives of the block say what stays in the sums."""
    return options.false_negative_margin is not None and options.targets is not None


def _limit(loss: Softmax, options: SoftmaxOptions, pace: Pace) -> Floats | None:
    """Limits of the rows and columns; those that positives of the block set are given back."""
    found = None
    if _limited(options):
        assert options.false_negative_margin is not None
        loss.find_limits(options.false_negative_margin, pace)
        found = loss.limits[0].get()
    given = float64(options.row_limits), float64(options.col_limits)
    of_rows, of_cols = (
        own if own is not None else other for own, other in zip(given, loss.limits, strict=True)
    )
    loss.limits = of_rows, of_cols
    return found


def softmax_states(
    x: Any,
    y: Any,
    scale: float,
    options: SoftmaxOptions,
    *,
    row_scales: Floats | None = None,
    normalize: bool = False,
    itself: bool = False,
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats | None, Floats]:
    """States of the rows and of the columns, and the largest products that stay in a row's sum."""
    del workers
    with device_of(x, y):
        a = Rows(x)
        b = a if itself else Rows(y)
        products = Products(a, b, scale, normalize=normalize, grad=False)
        terms = RowTerms(a.n, scale, row_scales, None)
        loss = _fold(products, terms, options, itself=itself)
        pace = Pace(progress, (1 + _limited(options)) * a.n * b.n)
        limits = _limit(loss, options, pace)
        states = empty_states(a.n), empty_states(b.n) if options.cols else None
        for block in products.blocks(pace):
            _cuda.softmax_states(
                block.arguments,
                loss.options(),
                terms.arguments(),
                addresses(states),
                current_stream(),
            )
        smoothed = options.label_smoothing > 0
        of_rows = _on_the_host(states[0], smoothed=smoothed, own=options.tau_plus == 0)
        if not options.rows:  # positives alone
            of_rows[:, :2], of_rows[:, 4:] = (-np.inf, 0.0), 0.0
        of_cols = None
        if options.cols:
            of_cols = _on_the_host(states[1], smoothed=smoothed)
            of_cols[:, 2:4] = 0.0
        return of_rows, of_cols, np.full(a.n, np.inf) if limits is None else limits


def _on_the_host(states: Any, *, smoothed: bool, own: bool = True) -> Floats:
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
    options: SoftmaxOptions,
    sides: SoftmaxSides,
    *,
    row_scales: Floats | None = None,
    normalize: bool = False,
    itself: bool = False,
    grad_x: bool,
    grad_y: bool,
    workers: int,
    progress: Report | None = None,
) -> tuple[Any, Any, float | Floats]:
    """What the pairs of a block add to the gradients of Σ weight · loss; states are over all."""
    del workers
    row_states, row_weights, col_states, col_weights, negatives = sides
    label_smoothing, tau_plus = options.label_smoothing, options.tau_plus
    weighted = (
        (row_states, row_weights if options.rows else None),
        (col_states, col_weights if options.cols else None),
    )
    wanted = grad_x, grad_x if itself else grad_y
    sizes = [float(np.abs(w).max(initial=0.0)) for _, w in weighted if w is not None]
    unit = max([*sizes, 0.0]) or 1.0
    with device_of(x, y):
        a = Rows(x)
        b = a if itself else Rows(y)
        products = Products(a, b, scale, normalize=normalize, grad=True, sides=wanted)
        terms = RowTerms(a.n, scale, row_scales, np.full(a.n, unit))
        loss = _fold(products, terms, options, itself=itself)
        pace = Pace(progress, (3 + _limited(options)) * a.n * b.n)
        _limit(loss, options, pace)
        of_rows, of_cols = (
            None if states is None or w is None else _terms(states, w / unit, label_smoothing)
            for states, w in weighted
        )
        by_floor = np.zeros(a.n)
        if tau_plus > 0 and row_weights is not None and options.targets is not None:
            scales = scale if row_scales is None else row_scales
            found = debiased(row_states, tau_plus, negatives, scales)
            of_rows = _debiased_terms(row_states, row_weights / unit, found)
            # what the floor of a sum gives is told once, with the positive
            some = (options.targets >= 0) & (row_states[:, 3] > 0)
            by_floor = np.where(some, row_weights * found.by_scale, 0.0)
        sums = upload(of_rows), upload(of_cols)
        for block in products.blocks(pace):
            _cuda.softmax_block_weights(
                block.arguments,
                loss.options(),
                terms.arguments(),
                addresses(sums),
                current_stream(),
            )
            products.add(block, unit)
            pace.add(2 * block.pairs)
        of_x, of_y = products.gradients()
        if itself and grad_x:
            of_x, of_y = of_x + of_y, None
        of_x, of_y = to_input_namespace(x, of_x, of_y)
        by_scale = terms.grad_scale()
        if row_scales is None:
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
