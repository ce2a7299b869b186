"""MMD of blocks of rows alone: each gives an unbiased value, and their spread says how far off.

x, y -> kernel, its length from a few rows -> kernel_subset_sums -> a value for each block
-> mean: the statistic
-> mean over its standard error -> normal tail
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.kernels.kernel import (
    Kernel,
    diagonal,
    in_range,
    joint_precision,
    lengths_of,
    median_sizes,
    text_of,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress

BLOCK_ESTIMATORS = ("linear", "block")
_BANDWIDTH_ROWS = 2000  # of each sample, which a rule looks at where all pairs would cost most
_LARGEST_BLOCK = 1024  # that is taken unasked


class Blocks(NamedTuple):
    """What the blocks of two samples say."""

    values: NDArray[np.float64]  # unbiased MMD² of each block
    kernel: str  # with its length
    n: int

    def tail(self) -> float:
        """One-sided p-value of their mean by the normal distribution with their spread."""
        mean = float(self.values.mean())
        error = float(self.values.std(ddof=1)) / math.sqrt(len(self.values))
        if error == 0:
            return 0.0 if mean > 0 else 1.0
        return math.erfc(mean / error / math.sqrt(2)) / 2


def check_block_size(block_size: Any, estimator: str) -> None:
    """Raise if a size is given that has no use."""
    if block_size is not None and estimator != "block":
        raise ValueError(f"block_size is for estimator='block', not {estimator!r}")


def in_blocks(
    x: ArrayLike,
    y: ArrayLike,
    kernel: Kernel,
    *,
    estimator: str,
    block_size: int | None,
    precision: str,
    least: int = 1,
    workers: int | None,
    check_finite: bool,
    progress: Progress,
) -> Blocks:
    """The U-statistic of h(z_i, z_j) of each block of rows, z_i being the pair (x_i, y_i).

    What in it is only rounding is 0. There have to be at least `least` blocks.
    """
    threads = resolve_workers(workers)
    a, b = validate.pair("x", x, "y", y, check_finite=check_finite, workers=threads, sample=True)
    n = len(a)
    if n != len(b):
        raise ValueError(
            f"estimator={estimator!r} pairs row i of x with row i of y and needs as many of both; "
            f"x has {n} rows, y has {len(b)}"
        )
    if n < 2:
        raise ValueError(f"estimator={estimator!r} needs at least 2 rows; x and y have {n}")
    if estimator == "linear":
        size = 2
    else:
        size = min(max(2, math.isqrt(n)), _LARGEST_BLOCK)
        if block_size is not None:
            size = scalars.count("block_size", block_size, least=2)
        if size > n:
            raise ValueError(f"block_size={size} is more than the {n} rows of x")
    if n // size < least:
        raise ValueError(
            f"{n} rows make {n // size} block of {size}, and a spread needs at least {least}: "
            "pass more rows or a smaller block_size"
        )
    given = kernel
    (a, b), kernel, unit = in_range(kernel, a, b)
    rows = np.arange(n // size * size).reshape(-1, size)
    seen, other = a, b
    if n > _BANDWIDTH_ROWS:
        draws = np.random.default_rng(0)
        seen, other = (validate.taken(s, draws.permutation(n)[:_BANDWIDTH_ROWS]) for s in (a, b))
    with reporting(progress, *median_sizes(kernel, 2 * len(seen)), 2 * size * rows.size) as (
        *medians,
        report,
    ):
        lengths = lengths_of(kernel, seen, other, workers=threads, reports=medians)
        terms = kernel._terms(a.shape[1], lengths)
        sums = choose.module(a, b).kernel_subset_sums(
            a,
            b,
            rows,
            rows,
            terms,
            paired=True,
            precision=joint_precision(precision, a, b),
            workers=threads,
            progress=report,
        )
    xx, yy, xy = sums.T
    pairs = size * (size - 1)
    values = xx + yy - 2 * xy
    # a kernel value is right beside the largest ones, those of a row and itself
    largest = float(np.abs(diagonal(seen, terms)).mean())
    rounding = np.maximum(
        2.0**-46 * (np.abs(xx) + np.abs(yy) + 2 * np.abs(xy)), 2.0**-48 * largest * pairs
    )
    values[np.abs(values) <= rounding] = 0.0
    return Blocks(values / pairs, text_of(given, lengths, unit), n)
