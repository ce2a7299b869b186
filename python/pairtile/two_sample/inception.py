"""Kernel Inception Distance: MMD² of a cubic kernel, over subsets of features of images.

Subsets are drawn here, on the host, and handed to the engine all at once.

    real, fake -> rows of each subset -> kernel_subset_sums -> MMD² per subset -> mean, std
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile.kernels.kernel import Polynomial, joint_precision
from pairtile.two_sample.statistics import mmd

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pairtile._front.progress import Progress
    from pairtile._front.words import Precision


class _KID(NamedTuple):
    mean: float
    std: float


class KID(Result, _KID):
    """Mean and standard deviation of the MMD² over subsets.

    Attributes
    ----------
    mean, std : float
        `std` is nan for the full U-statistic.
    """


def kid(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    rng: Any = None,
    full: bool = False,
    precision: Precision = "default",
    workers: int | None = None,
    check_finite: bool = True,
    progress: Progress = False,
) -> KID:
    r"""Kernel Inception Distance of two sets of features.

    The unbiased MMD² with the kernel :math:`(x \cdot y / d + 1)^3`, averaged over random subsets.

    Parameters
    ----------
    real, fake : array_like of shape (n, d) and (m, d)
        Features of real and of generated images.
    subsets : int, default 100
        Number of subsets.
    subset_size : int, default 1000
        Rows of each subset, drawn from each set without replacement; at least 2.
    rng : int, numpy.random.Generator or None
        For each subset, ``rng.choice(n, subset_size, replace=False)`` for `real`, then the same
        for `fake`: one seed gives one result on every backend.
    full : bool, default False
        The MMD² of all rows instead, which no subset can make more precise.
    precision, workers, check_finite, progress
        As in `mmd`.

    Returns
    -------
    KID
        `mean` and `std` over the subsets, `std` with ddof=0 and nan for ``full=True``. Some
        packages report 1000 times these.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable; a subset larger than one of the sets.

    Notes
    -----
    O(subsets · subset_size² d) operations, with ``full=True`` O((n + m)² d); memory O(n + m +
    subsets · subset_size) beside the inputs, and two subsets per thread.

    References
    ----------
    Bińkowski et al., "Demystifying MMD GANs", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> rng = np.random.default_rng(0)
    >>> real, fake = rng.normal(size=(500, 8)), rng.normal(size=(400, 8)) + 0.5
    >>> pt.kid(real, fake, subsets=10, subset_size=100, rng=0).mean > 0.1
    True
    """
    if full:
        value = mmd(
            real,
            fake,
            kernel=Polynomial(3),
            precision=precision,
            workers=workers,
            check_finite=check_finite,
            progress=progress,
        )
        return KID(value, math.nan)
    scalars.choice("precision", precision, scalars.PRECISIONS)
    count = scalars.count("subsets", subsets)
    size = scalars.count("subset_size", subset_size, least=2)
    threads = resolve_workers(workers)
    a, b = validate.pair(
        "real", real, "fake", fake, check_finite=check_finite, workers=threads, sample=True
    )
    if size > min(len(a), len(b)):
        raise ValueError(
            f"subset_size={size} is larger than a set: real has {len(a)} rows, fake has {len(b)}"
        )
    generator = scalars.generator(rng)
    in_real, in_fake = np.empty((2, count, size), dtype=np.int64)
    for s in range(count):
        in_real[s] = generator.choice(len(a), size, replace=False)
        in_fake[s] = generator.choice(len(b), size, replace=False)
    with reporting(progress, 2 * count * size * size) as (report,):
        sums = choose.module(a, b).kernel_subset_sums(
            a,
            b,
            in_real,
            in_fake,
            Polynomial(3)._terms(a.shape[1], {}),
            paired=False,
            precision=joint_precision(precision, a, b),
            workers=threads,
            progress=report,
        )
    with np.errstate(over="ignore", invalid="ignore"):  # of values beyond the root of float64
        values = (sums[:, 0] + sums[:, 1]) / (size * (size - 1)) - 2 * sums[:, 2] / size**2
        return KID(float(values.mean()), float(values.std()))
