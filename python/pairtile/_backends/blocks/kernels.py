"""Kernel sums and quantiles of distances of rows in files, for a backend that reads them itself.

That of a GPU does; others are given such rows in memory (`validate.matrix`).
"""

from __future__ import annotations

from typing import Any

from pairtile._backends import choose


def kernel_total(*arguments: Any, **options: Any) -> Any:
    """Sum over pairs."""
    return choose.module().kernel_total(*arguments, **options)


def kernel_row_sums(*arguments: Any, **options: Any) -> Any:
    """Sums by row."""
    return choose.module().kernel_row_sums(*arguments, **options)


def kernel_matvec(*arguments: Any, **options: Any) -> Any:
    """Products with columns."""
    return choose.module().kernel_matvec(*arguments, **options)


def kernel_logsumexp(*arguments: Any, **options: Any) -> Any:
    """Logarithms of sums by row."""
    return choose.module().kernel_logsumexp(*arguments, **options)


def kernel_gradient(*arguments: Any, **options: Any) -> Any:
    """Sums by row and by column, and gradients."""
    return choose.module().kernel_gradient(*arguments, **options)


def distance_quantile(*arguments: Any, **options: Any) -> Any:
    """A quantile of all distances."""
    return choose.module().distance_quantile(*arguments, **options)
