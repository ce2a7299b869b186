"""The debiased softmax loss of a row, from the sum over its negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Debiased(NamedTuple):
    """Losses of rows, and their derivatives: by a negative share · e^(S − level)."""

    losses: Floats
    level: Floats
    share: Floats
    of_own: Floats
    by_scale: Floats


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def debiased(states: Floats, tau: float, negatives: int, scales: Any) -> Debiased:
    """What `tau_plus` makes of states whose sums lack the positive."""
    highest, exps, positive = states.T[:3]
    least = np.log(negatives) - scales  # of the sum, as a logarithm
    top = np.maximum(np.maximum(highest, positive), least)
    own, floor = np.exp(positive - top), np.exp(least - top)
    estimate = (exps * np.exp(highest - top) - negatives * tau * own) / (1 - tau)
    kept = np.maximum(estimate, floor)
    total = own + kept
    share = np.where(estimate > floor, 1 / (1 - tau), 0.0) / total
    return Debiased(
        np.where(positive == top, np.log1p(kept), (top - positive) + np.log(total)),
        top,
        share,
        -kept / total - negatives * tau * own * share,
        np.where(estimate > floor, 0.0, -floor / total),
    )
