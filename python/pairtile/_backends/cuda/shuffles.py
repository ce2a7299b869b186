"""Random relabellings and orders: in host memory, where the random numbers are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairtile._backends import choose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.uint32]


def random_labels(
    rng: np.random.Generator,
    members: Numbers,
    sizes: Numbers,
    chosen: Numbers,
    unit: Numbers | None,
    count: int,
) -> NDArray[np.uint64]:
    """Bits of the rows whose units a shuffle brings to the first places of their cell."""
    drawn: NDArray[np.uint64] = choose.host_module().random_labels(
        rng, members, sizes, chosen, unit, count
    )
    return drawn


def random_orders(
    rng: np.random.Generator, members: Numbers, sizes: Numbers, count: int
) -> NDArray[np.int64]:
    """What a shuffle of each cell brings to the places of its members."""
    drawn: NDArray[np.int64] = choose.host_module().random_orders(rng, members, sizes, count)
    return drawn
