"""Real data for `pairtile compare --demo`: scikit-learn's handwritten digits, halved.

The images come in the order in which they were collected, a writer at a time, and between the
first and the second half of the file the writers differ: that is drift. So the rows are shuffled
first. Of the two halves, one is the reference; the other is compared with it twice, as it is and
as a worse sensor would have seen it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pairtile._front.extras import MissingExtraError
from pairtile.app.table import Table

_SEED = 0
_WHITE = 16.0  # the grey values of the images run from 0 to 16
_SIDE = 8


def tables() -> tuple[Table, Table, Table]:
    """The reference half, the other half, and the other half through the worse sensor.

    Each has 64 columns, the 8×8 pixels row by row; 898, 899 and 899 rows of float64.

    Raises
    ------
    MissingExtraError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError(
            'the demo needs scikit-learn: pip install "pairtile[demo]"'
        ) from error
    images = load_digits().data
    rng = np.random.default_rng(_SEED)
    images = images[rng.permutation(len(images))]
    half = len(images) // 2
    reference, current = images[:half], images[half:]
    worse = _worse_sensor(current, rng)
    return (
        _table("first half", reference),
        _table("other half", current),
        _table("other half", worse),
    )


def _table(name: str, images: Any) -> Table:
    """Pixels as columns, named by row and column of the image."""
    names = [f"r{i}c{j}" for i in range(_SIDE) for j in range(_SIDE)]
    return Table.of_matrix(name, images).called(names).checked(missing=False)


def _worse_sensor(images: Any, rng: np.random.Generator) -> Any:
    """Three quarters of the contrast, noise of one grey value, and one row of pixels dead."""
    seen = 0.75 * images + 0.125 * _WHITE + rng.normal(size=images.shape)
    seen = seen.clip(0.0, _WHITE).reshape(-1, _SIDE, _SIDE)
    seen[:, _SIDE // 2] = 0.0
    return seen.reshape(images.shape)
