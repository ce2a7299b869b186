"""Kernels as values, their bandwidths, and sums and products of their matrices."""

from pairtile.kernels.kernel import (
    Cauchy,
    Cosine,
    Energy,
    Gaussian,
    InverseMultiquadric,
    Kernel,
    Laplace,
    Linear,
    Matern,
    Polynomial,
    RationalQuadratic,
    kernel_sum,
    median_distance,
    witness,
)
from pairtile.kernels.products import kernel_logsumexp, kernel_matvec

__all__ = [
    "Cauchy",
    "Cosine",
    "Energy",
    "Gaussian",
    "InverseMultiquadric",
    "Kernel",
    "Laplace",
    "Linear",
    "Matern",
    "Polynomial",
    "RationalQuadratic",
    "kernel_logsumexp",
    "kernel_matvec",
    "kernel_sum",
    "median_distance",
    "witness",
]
