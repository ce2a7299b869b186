"""What a softmax loss is asked beside its rows, as every backend takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Pairs = tuple[Ints | None, Ints | None]  # row pointers, and columns ascending; None: no list
    Sparse = tuple[Ints | None, Ints | None, Floats | None]  # and weights


class SoftmaxOptions(NamedTuple):
    """With C the product of a pair: S = s φ(C) + column logit, φ being C but for positives.

    Positives are `targets` (-1: none), pairs of equal labels, or `positives`, whose weights sum to
    1 in each row. `rows` and `cols` say whose log-sum-exps have a loss; columns need targets.
    """

    targets: Ints | None = None
    row_labels: Floats | None = None
    col_labels: Floats | None = None
    positives: Sparse = (None, None, None)
    rows: bool = True
    cols: bool = False
    margin: float = 0.0  # off C of a positive
    angular_margin: float = 0.0  # added to the angle of a positive
    column_logits: Floats | None = None
    kept: Pairs = (None, None)  # the only columns in the sum of a row beside its positives
    false_negative_margin: float | None = None  # out of sums: C > C of the positive + this
    # in its place, where positives are in another block: the largest C that stays
    row_limits: Floats | None = None
    col_limits: Floats | None = None
    # pairs out of the sums of their rows, and of their columns
    row_masked: Pairs = (None, None)
    col_masked: Pairs = (None, None)
    label_smoothing: float = 0.0
    tau_plus: float = 0.0


class SoftmaxSides(NamedTuple):
    """States of rows and columns over all blocks, and the weights of their losses."""

    row_states: Floats
    row_weights: Floats | None
    col_states: Floats | None = None
    col_weights: Floats | None = None
    negatives: int = 0  # of a row in all blocks, for tau_plus
