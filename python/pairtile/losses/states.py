"""States of the rows of a softmax loss whose pairs come in several blocks, on the host.

A state is (max, Σ e^(S − max), Σ w S and Σ w over the positives, Σ S and number of all), as the
backends' `softmax_states` gives it; merged over all blocks it is that of all pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EMPTY = (-np.inf, 0.0, 0.0, 0.0, 0.0, 0.0)  # the state of no pair


def merged(one: Floats, other: Floats) -> Floats:
    """States of two sets of pairs as that of both."""
    both = one + other
    top = np.maximum(one[:, 0], other[:, 0])
    base = np.where(top == -np.inf, 0.0, top)
    both[:, 0] = top
    both[:, 1] = one[:, 1] * np.exp(one[:, 0] - base) + other[:, 1] * np.exp(other[:, 0] - base)
    return both


def losses(states: Floats, smoothing: float) -> Floats:
    """Of each row that has a positive, 0 of the others."""
    top, exps, positive, share, total, count = states.T
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = positive / share
        # not the difference of two sums: a loss may be far smaller than they are
        found = (top - mean) + np.log(exps)
        if smoothing > 0:
            found += smoothing * (mean - total / count)
    return np.where(share > 0, found, 0.0)


def log_sums(states: Floats) -> Floats:
    """Log-sum-exp of each row, −∞ of no pair."""
    with np.errstate(divide="ignore"):
        found: Floats = states[:, 0] + np.log(states[:, 1])
    return found
