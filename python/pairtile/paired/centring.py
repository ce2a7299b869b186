"""The centred product of two kernels, from their joint sums.

Joint -> mean product after double centring, or U-centring -> value, correlation
      -> weights of the other kernel in its derivative     -> gradients
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pairtile.kernels.univariate import dot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile.paired.sums import Joint, Side

    Floats = NDArray[np.float64]

_AT_A_TIME = 1 << 16  # numbers of rows in other orders


def centred_product(estimator: str, product: float, k: Side, other: Side) -> float:
    """The mean product of K and L after double centring; unbiased, after U-centring.

    Row sums enter as deviations from their mean, so that little cancels.
    """
    n = len(k.rows)
    if estimator == "biased":
        product += dot(k.own, other.own)
        of_rows, of_all, pairs = 2 / n, 1.0, n * n
        k_rows, other_rows = k.rows + k.own, other.rows + other.own
    else:
        of_rows, of_all, pairs = 2 / (n - 2), n / (n - 1), n * (n - 3)
        k_rows, other_rows = k.rows, other.rows
    k_mean, other_mean = float(k_rows.mean()), float(other_rows.mean())
    rows = dot(k_rows - k_mean, other_rows - other_mean)
    return (product - of_rows * rows - of_all * k_mean * other_mean) / pairs


def centred_products(products: Floats, k: Side, other: Side, orders: NDArray[np.int64]) -> Floats:
    """`centred_product`, biased, with the rows of the other kernel in each of these orders."""
    n = len(k.rows)
    k_rows = k.rows + k.own
    k_mean = k_rows.mean()
    found = np.empty(len(orders))
    some = max(1, _AT_A_TIME // n)
    for start in range(0, len(orders), some):
        part = slice(start, start + some)
        own = other.own[orders[part]]
        rows = other.rows[orders[part]] + own
        means = rows.mean(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            whole = products[part] + np.sum(k.own * own, axis=1)
            deviations = np.sum((k_rows - k_mean) * (rows - means[:, None]), axis=1)
        found[part] = (whole - 2 / n * deviations - k_mean * means) / (n * n)
    return found


def variance(estimator: str, k: Side) -> float:
    """The centred product with itself; 0 where it is nothing but rounding."""
    value = centred_product(estimator, k.squares, k, k)
    return value if value > 2.0**-80 * k.mean_square else 0.0


def correlation(estimator: str, sums: Joint) -> float:
    """The centred product of two kernels by those of each with itself; 0 where one of these is."""
    sizes = math.sqrt(variance(estimator, sums.x)) * math.sqrt(variance(estimator, sums.y))
    product = centred_product(estimator, float(sums.products[0]), sums.x, sums.y)
    return max(-1.0, min(1.0, product / sizes)) if sizes > 0 else 0.0


def centred_weights(estimator: str, side: Side) -> tuple[float, Floats]:
    """A factor and b, so that ∂ centred product / ∂K_ij = factor (L_ij + b_i + b_j); L is `side`'s.

    That is L after the centring of the estimator. L itself is not less its shift.
    """
    n = len(side.rows)
    if estimator == "biased":
        rows = side.rows + side.own
        factor, of_rows, of_all = 1 / n**2, 1 / n, 1 / n**2
    else:
        rows = side.rows
        factor, of_rows, of_all = 1 / (n * (n - 3)), 1 / (n - 2), 1 / ((n - 1) * (n - 2))
    return factor, -of_rows * rows + 0.5 * (of_all * math.fsum(rows) - side.shift)
