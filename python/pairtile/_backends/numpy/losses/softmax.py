"""Softmax losses of rows against columns, in plain NumPy: InfoNCE and CLIP with their options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends.numpy.losses.rows import chunks, exp_of, level, wanted
from pairtile._backends.numpy.losses.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from pairtile._backends.numpy.losses.rows import Array, Float64
    from pairtile._backends.numpy.losses.scores import Block
    from pairtile._definitions.softmax import SoftmaxOptions


class _Rows(NamedTuple):
    """Losses of some rows, and their derivatives by the scores and by s where that stands alone."""

    losses: Float64
    log_sums: Float64
    by_score: Float64
    by_scale: Float64


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def softmax_losses(
    x: Array,
    y: Array,
    scale: float,
    options: SoftmaxOptions,
    *,
    row_scales: Float64 | None,
    normalize: bool,
    grad: bool,
    grad_x: bool,
    grad_y: bool,
    row_upstream: Float64,
    workers: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Any, ...]:
    """Losses of the rows, and gradients of Σ u_i · per_row_i by x, y and scales.

    Per row, log-sum-exps of rows and of columns, gradients by x, y and the scales.
    """
    n, m = len(x), len(y)
    scores = Scores(x, y, scale, options, row_scales=row_scales, normalize=normalize)
    rows, cols, targets = options.rows, options.cols, options.targets
    label_smoothing, tau_plus = options.label_smoothing, options.tau_plus
    parts = list(chunks(n, max(m, x.shape[1])))
    total = (1 + cols) * n
    part = 0.5 if rows and cols else 1.0
    per_row, lse_row, lse_col = np.zeros(n), None, None
    down = None
    if cols:
        assert targets is not None
        down = _Columns(m)
        for chunk in parts:
            down.add(scores.block(chunk))
            _tell(progress, chunk.stop, total)
        lse_col = down.log_sums()
        own = np.flatnonzero(targets >= 0)
        per_row[own] += part * down.losses(label_smoothing)[targets[own]]
        down.upstream[targets[own]] = row_upstream[own]
    if rows:
        lse_row = np.empty(n)
    by_scale, by_x, by_y = np.zeros(n), np.zeros(x.shape), np.zeros(y.shape)
    for chunk in parts:
        block = scores.block(chunk)
        weights = np.zeros(block.scores.shape)
        if rows:
            found = _debiased(block, tau_plus) if tau_plus > 0 else _plain(block, label_smoothing)
            some = (block.shares > 0).any(axis=1)
            per_row[chunk] += part * np.where(some, found.losses, 0)
            assert lse_row is not None
            lse_row[chunk] = found.log_sums
            u = part * np.where(some, row_upstream[chunk], 0)
            weights += u[:, None] * found.by_score
            by_scale[chunk] += u * found.by_scale
        if down is not None:
            weights += part * down.by_score(block, label_smoothing)
        if grad:
            by_scale[chunk] += np.einsum("ij,ij->i", weights, block.phi)
            weights *= block.scales * block.slope
            if grad_x:
                by_x[chunk] = weights @ scores.y64
            if grad_y:
                by_y += weights.T @ block.x
        _tell(progress, total - n + chunk.stop, total)
    if not grad:
        return per_row, lse_row, lse_col, None, None, None
    grad_scale = float(by_scale.sum()) if row_scales is None else by_scale
    by_rows = wanted([x, y], [by_x, by_y], [grad_x, grad_y], normalize)
    return per_row, lse_row, lse_col, *by_rows, grad_scale


def _tell(progress: Callable[[int, int], object] | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _plain(block: Block, smoothing: float) -> _Rows:
    """R − Σ T S of each row, T being the positives' shares, and in part even over the sum."""
    top = level(block.scores, block.in_rows)
    exps = exp_of(block.scores, top, block.in_rows)
    total = exps.sum(axis=1)
    wanted = block.shares
    if smoothing:
        found = np.maximum(block.in_rows.sum(axis=1, keepdims=True), 1)
        wanted = (1 - smoothing) * wanted + smoothing * block.in_rows / found
    # (maximum − positive) + log(sum), because lse − positive would cancel
    losses = (top - np.sum(wanted * block.scores, axis=1, where=wanted > 0)) + np.log(total)
    weights = exps / np.where(total > 0, total, 1)[:, None] - wanted
    return _Rows(losses, top + np.log(total), weights, np.zeros(len(losses)))


def _debiased(block: Block, tau: float) -> _Rows:
    """log(e^S_t + G) − S_t of each row, G the negatives' sum less the positives that are in it.

    Chuang, Robinson, Lin, Torralba and Jegelka, Debiased contrastive learning (2020).
    """
    others = block.scores.shape[1] - 1
    scales = block.scales[:, 0]
    least = np.log(others) - scales  # of the sum, as a logarithm
    top = np.maximum(level(block.scores, True), least)
    exps = exp_of(block.scores, top, True)
    positive = block.shares > 0
    own = np.sum(exps, axis=1, where=positive)
    rest = np.sum(exps, axis=1, where=~positive)
    estimate = (rest - others * tau * own) / (1 - tau)
    floor = np.exp(least - top)
    kept = np.maximum(estimate, floor)
    total = own + kept
    score = np.sum(block.scores, axis=1, where=positive)
    share = np.where(estimate >= floor, 1 / (1 - tau), 0.0) / total  # of e^S in the sum
    weights = exps * share[:, None]
    of_own = -kept / total - others * tau * own * share
    weights = np.where(positive, of_own[:, None], weights)
    # a small loss is not lost in the 1 of its positive
    losses = np.where(score == top, np.log1p(kept), (top - score) + np.log(total))
    return _Rows(
        losses,
        top + np.log(total),
        weights,
        np.where(estimate >= floor, 0.0, -floor / total),
    )


class _Columns:
    """What is folded of each column, and then its losses."""

    def __init__(self, m: int) -> None:
        self.top = np.full(m, -np.inf)
        self.exps, self.scores, self.found = np.zeros(m), np.zeros(m), np.zeros(m)
        self.positive = np.zeros(m)
        self.upstream = np.zeros(m)

    def add(self, block: Block) -> None:
        scores, among = block.scores, block.in_cols
        top = np.maximum(self.top, scores.max(axis=0, initial=-np.inf, where=among))
        base = np.where(top == -np.inf, 0, top)
        exps = np.where(among, np.exp(scores - base), 0).sum(axis=0)
        self.exps = self.exps * np.exp(self.top - base) + exps
        self.top = top
        self.scores += np.sum(scores, axis=0, where=among)
        self.found += among.sum(axis=0)
        self.positive += np.sum(scores, axis=0, where=block.shares > 0)

    def log_sums(self) -> Float64:
        log_sums: Float64 = self.top + np.log(self.exps)
        return log_sums

    def losses(self, smoothing: float) -> Float64:
        wanted = self.positive
        if smoothing:
            wanted = (1 - smoothing) * wanted + smoothing * self.scores / self.found
        losses: Float64 = (self.top - wanted) + np.log(self.exps)
        return losses

    def by_score(self, block: Block, smoothing: float) -> Float64:
        shares = np.where(block.in_cols, np.exp(block.scores - self.top), 0) / self.exps
        wanted = (1 - smoothing) * (block.shares > 0) + smoothing * block.in_cols / self.found
        weights: Float64 = self.upstream * (shares - wanted)
        return weights
