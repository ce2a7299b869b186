"""NumPy twin of `cpp/slices/partial`: what moves of each point when a share of all mass does."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def partial_masses(x: Float64, y: Float64, share: float, p: float) -> tuple[Float64, Float64]:
    """Masses of ascending points, n and m, that some cheapest plan moves.

    Mass is added along the cheapest of the augmenting paths, each of which joins two neighbours
    among the points that have some left, and shifts the sorted matching between them.
    """
    n, m = len(x), len(y)
    divisor = math.gcd(n, m)
    units = (m // divisor, n // divisor)
    at = np.concatenate([x, y])
    order = np.argsort(at, kind="stable")
    of_y = order >= n
    left = np.where(of_y, units[1], units[0])
    wanted = share * units[0] * n
    part = np.zeros(n + m)
    offers: dict[tuple[int, int], tuple[float, int]] = {}
    while wanted > 0:
        open_points = np.flatnonzero(left)
        joined = [
            (int(k), int(r)) for k, r in itertools.pairwise(open_points) if of_y[k] != of_y[r]
        ]
        if not joined:
            break
        # what is left up to a point, and so the price, is changed by no other pair than its own
        offers = {
            pair: offers.get(pair) or _offer(at[order], of_y, left, units, p, *pair)
            for pair in joined
        }
        k, r = min(joined, key=lambda pair: offers[pair][0])
        _, most = offers.pop((k, r))
        most = min(most, int(left[k]), int(left[r]))
        if most > wanted:
            part[[k, r]] = wanted
            break
        left[[k, r]] -= most
        wanted -= most
    moved = np.where(of_y, units[1], units[0]) - left + part
    masses = np.empty(n + m)
    masses[order] = moved / (units[0] * n)
    return masses[:n], masses[n:]


def _offer(
    at: Float64,
    of_y: NDArray[np.bool_],
    left: NDArray[np.int64],
    units: tuple[int, int],
    p: float,
    k: int,
    r: int,
) -> tuple[float, int]:
    """Price of the next unit between two points, and how many there are at that price."""
    own_is_y = bool(of_y[k])
    shift = int(left[: k + 1][~of_y[: k + 1]].sum() - left[: k + 1][of_y[: k + 1]].sum())
    own, other = at[of_y == own_is_y], at[of_y != own_is_y]
    own_units, other_units = units[::-1] if own_is_y else units
    first = int(np.count_nonzero(of_y[: k + 1] == own_is_y))
    last = int(np.count_nonzero(of_y[:r] == own_is_y))
    ends = np.arange(first, last + 1)
    level = own_units * ends + (shift if own_is_y else -shift)
    there = level // other_units
    with np.errstate(over="ignore", under="ignore"):
        more = np.minimum(np.abs(own[ends - 1] - other[there]) ** p, 2.0**300)
        less = np.minimum(np.abs(own[ends[:-1]] - other[there[:-1]]) ** p, 2.0**300)
    return float(more.sum() - less.sum()), int(((there + 1) * other_units - level).min())
