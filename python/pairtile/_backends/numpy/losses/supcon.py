"""Softmax losses of rows among themselves, in plain NumPy: SupCon, and NT-Xent of two views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends.numpy.losses.rows import chunks, exp_of, gradients, level, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pairtile._backends.numpy.losses.rows import Array, Float64


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def supcon_losses(
    x: Array,
    second: Array | None,
    bank: Array | None,
    scale: float,
    *,
    row_scales: Float64 | None,
    labels: Float64,
    label_width: float,
    normalize: bool,
    grad: bool,
    grad_x: bool,
    grad_y: bool,
    row_upstream: Float64,
    workers: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Any, ...]:
    """Losses r_i − mean_p S_ip of the rows of x and second among these and the bank, self excluded.

    Per row, its log-sum-exp, and gradients of Σ u_i · per_row_i by rows, bank and scales.
    """
    sets = [a for a in (x, second, bank) if a is not None]
    candidates = np.concatenate([rows_of(a, normalize) for a in sets])
    m = len(candidates)
    n = m if bank is None else m - len(bank)
    scales = np.full(n, scale) if row_scales is None else row_scales
    per_row, lse_row, by_scale = np.zeros(n), np.empty(n), np.zeros(n)
    by_candidate = np.zeros(candidates.shape)
    for rows in chunks(n, max(m, x.shape[1])):
        own, s = candidates[rows], scales[rows, None]
        others = np.arange(n)[rows, None] != np.arange(m)
        positive = others & (np.abs(labels[rows, None] - labels) <= label_width)
        found = positive.sum(axis=1)
        shares = positive / np.maximum(found, 1)[:, None]
        products = own @ candidates.T
        scores = s * products
        top = level(scores, others)
        exps = exp_of(scores, top, others)
        total = exps.sum(axis=1)
        lse_row[rows] = top + np.log(total)
        # (maximum − mean) + log(sum), because lse − mean would cancel
        losses = (top - np.sum(shares * scores, axis=1, where=positive)) + np.log(total)
        per_row[rows] = np.where(found > 0, losses, 0)
        if grad:
            u = np.where(found > 0, row_upstream[rows], 0.0)[:, None]
            weights = u * (exps / np.where(total > 0, total, 1)[:, None] - shares)
            by_candidate[rows] += (s * weights) @ candidates
            by_candidate += (s * weights).T @ own
            by_scale[rows] = np.einsum("ij,ij->i", weights, products)
        if progress is not None:
            progress(rows.stop, n)
    if not grad:
        return per_row, lse_row, None, None, None
    cuts = np.cumsum([len(a) for a in sets])[:-1]
    grads = gradients(sets, np.split(by_candidate, cuts), normalize)
    by_bank = None if bank is None else grads.pop()
    by_rows = np.concatenate(grads) if grad_x else None
    grad_scale = float(by_scale.sum()) if row_scales is None else by_scale
    return per_row, lse_row, by_rows, by_bank if grad_y else None, grad_scale
