"""A softmax loss over several blocks of columns in plain NumPy: states of one, and its gradients.

States are (max, Σ e^(S − max), Σ S and number of the positives, Σ S and number of all), the last
two with label smoothing alone; those of the blocks of a row are merged before its loss is known.
With tau_plus the sum of a row lacks its positive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.losses.rows import chunks, exp_of, wanted
from pairtile._backends.numpy.losses.scores import Scores
from pairtile._definitions.debiased import debiased

if TYPE_CHECKING:
    from collections.abc import Callable

    from pairtile._backends.numpy.losses.rows import Array, Float64
    from pairtile._backends.numpy.losses.scores import Block
    from pairtile._definitions.softmax import SoftmaxOptions, SoftmaxSides


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def softmax_states(
    x: Array,
    y: Array,
    scale: float,
    options: SoftmaxOptions,
    *,
    row_scales: Float64 | None = None,
    normalize: bool = False,
    itself: bool = False,
    workers: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Float64, Float64 | None, Float64]:
    """States of the rows and of the columns, and the largest products that stay in a row's sum."""
    del workers
    n, m = len(x), len(y)
    scores = Scores(x, y, scale, options, row_scales=row_scales, normalize=normalize, itself=itself)
    smoothed = options.label_smoothing > 0
    of_rows = np.zeros((n, 6))
    parts = []
    for chunk in chunks(n, max(m, x.shape[1])):
        block = scores.block(chunk)
        positive = block.shares > 0
        of_rows[chunk, 0] = -np.inf
        shares = _shares(block, options)
        of_rows[chunk, 2] = np.sum(shares * block.scores, axis=1, where=positive)
        of_rows[chunk, 3] = shares.sum(axis=1)
        if options.rows:
            of_rows[chunk, :2], of_rows[chunk, 4:] = _sums(
                block.scores,
                block.in_rows & ~positive if options.tau_plus > 0 else block.in_rows,
                smoothed=smoothed,
            )
        if options.cols:
            parts.append(_sums(block.scores.T, block.in_cols.T, smoothed=smoothed))
        if progress is not None:
            progress(chunk.stop, n)
    of_cols = None
    if options.cols:
        of_cols = np.zeros((m, 6))
        top = np.max([sums[:, 0] for sums, _ in parts], axis=0)
        base = np.where(top == -np.inf, 0, top)
        of_cols[:, 0] = top
        for sums, totals in parts:
            of_cols[:, 1] += sums[:, 1] * np.exp(sums[:, 0] - base)
            of_cols[:, 4:] += totals
    limits = np.full(n, np.inf)
    if options.targets is not None and options.false_negative_margin is not None:
        own = np.flatnonzero(options.targets >= 0)
        limits[own] = scores.limits[options.targets[own]]
    return of_rows, of_cols, limits


def _sums(scores: Float64, among: Any, *, smoothed: bool) -> tuple[Float64, Float64]:
    """Maximum and sum of exponentials of each row, and Σ S with their number."""
    top = scores.max(axis=1, initial=-np.inf, where=among)
    exps = exp_of(scores, np.where(top == -np.inf, 0, top), among).sum(axis=1)
    totals = np.zeros((len(scores), 2))
    if smoothed:
        totals[:, 0], totals[:, 1] = np.sum(scores, axis=1, where=among), among.sum(axis=1)
    return np.column_stack([top, exps]), totals


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def softmax_gradients(
    x: Array,
    y: Array,
    scale: float,
    options: SoftmaxOptions,
    sides: SoftmaxSides,
    *,
    row_scales: Float64 | None = None,
    normalize: bool = False,
    itself: bool = False,
    grad_x: bool,
    grad_y: bool,
    workers: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Any, Any, Any]:
    """What the pairs of a block add to the gradients of Σ weight · loss; states are over all."""
    del workers
    n, m = len(x), len(y)
    scores = Scores(x, y, scale, options, row_scales=row_scales, normalize=normalize, itself=itself)
    row_states, row_weights, col_states, col_weights, negatives = sides
    label_smoothing, tau_plus = options.label_smoothing, options.tau_plus
    by_x, by_y, by_scale = np.zeros(x.shape), np.zeros(y.shape), np.zeros(n)
    for chunk in chunks(n, max(m, x.shape[1])):
        block = scores.block(chunk)
        positive = block.shares > 0
        weights = np.zeros(positive.shape)
        if tau_plus > 0 and row_weights is not None:
            some = row_states[chunk, 3] > 0
            found = debiased(row_states[chunk], tau_plus, negatives, scores.scales[chunk])
            u = np.where(some, row_weights[chunk], 0)
            exps = exp_of(block.scores, found.level, ~positive) * found.share[:, None]
            by_score = np.where(positive, found.of_own[:, None], exps)
            weights += np.where(some[:, None], u[:, None] * by_score, 0)
            by_scale[chunk] += np.where(positive.any(axis=1), u * found.by_scale, 0)
        elif options.rows and row_weights is not None:
            weights += _weights(
                block.scores, _shares(block, options), block.in_rows, row_states[chunk],
                row_weights[chunk], label_smoothing,
            )  # fmt: skip
        if options.cols and col_states is not None and col_weights is not None:
            of_cols = _weights(
                block.scores.T, positive.T, block.in_cols.T, col_states, col_weights,
                label_smoothing,
            )  # fmt: skip
            weights += of_cols.T
        by_scale[chunk] += np.sum(weights * block.phi, axis=1)
        weights *= block.scales * block.slope
        if grad_x:
            by_x[chunk] = weights @ scores.y64
        if grad_x if itself else grad_y:
            by_y += weights.T @ block.x
        if progress is not None:
            progress(chunk.stop, n)
    if itself:
        by_x, grad_y = by_x + by_y, False
    by_rows = wanted([x, y], [by_x, by_y], [grad_x, grad_y], normalize)
    return *by_rows, float(by_scale.sum()) if row_scales is None else by_scale


def _shares(block: Block, options: SoftmaxOptions) -> Float64:
    """Of a matrix its weights, else 1 for each positive: how many there are is not known here."""
    if options.positives[0] is not None:
        return block.shares
    return (block.shares > 0).astype(np.float64)


def _weights(
    scores: Float64,
    shares: Any,
    among: Any,
    states: Float64,
    weights: Float64,
    smoothing: float,
) -> Float64:
    """Derivatives by the scores of the losses of their rows."""
    top, exps, _, share, _, count = states.T
    some = (share > 0) & (weights != 0)
    lse = np.where(some, top + np.log(exps), 0)
    wanted_share = (1 - smoothing) / np.where(some, share, 1)
    flat = smoothing / np.where(count > 0, count, 1)
    found = exp_of(scores, lse, among) - wanted_share[:, None] * shares - flat[:, None] * among
    by_score: Float64 = np.where(some[:, None], weights[:, None] * found, 0)
    return by_score
