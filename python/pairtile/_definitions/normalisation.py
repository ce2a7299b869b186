"""The chain rule through a -> a/‖a‖."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pairtile._definitions.metrics import normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def through_normalisation(a: Floats, grad: Floats) -> Floats:
    """From the gradient by a/‖a‖ to that by a: what lies along a row is lost, a zero row has 0."""
    unit = normalised(a)
    across = grad - unit * np.einsum("ij,ij->i", unit, grad)[:, None]
    length = np.einsum("ij,ij->i", unit, a)[:, None]
    return np.where(length > 0, across / np.where(length > 0, length, 1.0), 0.0)
