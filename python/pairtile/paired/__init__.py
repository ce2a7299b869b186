"""Do paired rows depend on each other? Distance covariance, HSIC, CKA and their permutation test.

With K_ij = k(x_i, x_j) and L_ij = l(y_i, y_j), all of them are the inner product of K and L after
double centring, which takes Σ K∘L, the row sums of K and L and the diagonals.

    x, y -> `arguments` -> `sums`, in three ways -> `centring` -> value
                                                               -> `gradient`
                        -> sums in other orders of y           -> `independence`
"""

from pairtile.paired.distance import distance_correlation, distance_covariance
from pairtile.paired.gradient import DependenceGradient
from pairtile.paired.hsic import cka, hsic
from pairtile.paired.independence import independence_test

__all__ = [
    "DependenceGradient",
    "cka",
    "distance_correlation",
    "distance_covariance",
    "hsic",
    "independence_test",
]
