"""How often a test rejects: its power, or its level, by simulation.

sizes -> sampler -> test, again and again -> share of p-values at most alpha -> Power
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front import scalars
from pairtile._front.binomial import clopper_pearson
from pairtile._front.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _Power(NamedTuple):
    n: int
    power: float
    interval: tuple[float, float]


class Power(Result, _Power):
    """How often a test rejected at a size.

    Attributes
    ----------
    n : int
        What the sampler was asked for.
    power : float
        Share of the repeats with a p-value of at most alpha.
    interval : tuple of two floats
        Clopper–Pearson interval of 95 % for the chance of that.
    """


def power(
    test: Callable[..., Any],
    sampler: Callable[[int, np.random.Generator], Sequence[Any]],
    sizes: int | Sequence[int],
    *,
    alpha: float = 0.05,
    repeats: int = 200,
    rng: Any = None,
) -> list[Power]:
    """Power of a test by simulation, for samples of several sizes.

    Parameters
    ----------
    test : callable
        ``test(x, y, rng=rng)``, whose result has a `pvalue`: `energy_test`, or one with its options
        bound by `functools.partial`.
    sampler : callable
        ``sampler(n, rng)`` gives a new pair (x, y) each time: of a change that should be found, or
        of none to see the level of the test.
    sizes : int or sequence of int
        Values of n, each at least 1.
    alpha : float, default 0.05
        Level, in (0, 1).
    repeats : int, default 200
        Pairs of samples for each n, at least 1.
    rng : int, numpy.random.Generator or None
        One generator, which the sampler and the test are given in turn.

    Returns
    -------
    list of Power
        ``(n, power, interval)`` for each of the sizes, in their order.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, the sampler gives no pair, or a result has no p-value in
        [0, 1].

    Notes
    -----
    As many calls of the test as there are sizes times repeats. With 200 repeats the interval is
    0.14 wide where the power is 1/2.

    References
    ----------
    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 26 (1934).

    Examples
    --------
    >>> import functools
    >>> import pairtile as pt
    >>> test = functools.partial(pt.energy_test, n_permutations=99)
    >>> def shifted(n, rng):
    ...     return rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + 0.7
    >>> for found in pt.power(test, shifted, [5, 20, 40], repeats=50, rng=0):
    ...     print(found.n, found.power)
    5 0.22
    20 0.72
    40 1.0
    """
    for name, value in (("test", test), ("sampler", sampler)):
        if not callable(value):
            raise TypeError(f"{name} must be callable, got {value!r}")
    given = list(sizes) if isinstance(sizes, (list, tuple, range, np.ndarray)) else [sizes]
    wanted = [scalars.count("sizes", size) for size in given]
    if not wanted:
        raise ValueError("sizes is empty; give at least one n")
    level = scalars.real("alpha", alpha, above=0, most=np.nextafter(1, 0))
    count = scalars.count("repeats", repeats)
    draws = scalars.generator(rng)
    out = []
    for n in wanted:
        rejected = sum(_pvalue(test, sampler, n, draws) <= level for _ in range(count))
        out.append(Power(n, rejected / count, clopper_pearson(rejected, count)))
    return out


def _pvalue(test: Any, sampler: Any, n: int, rng: np.random.Generator) -> float:
    samples = sampler(n, rng)
    if not isinstance(samples, (tuple, list)) or len(samples) != 2:
        raise TypeError(
            f"sampler must return a pair (x, y), got {type(samples).__name__} for n={n}"
        )
    result = test(*samples, rng=rng)
    p = getattr(result, "pvalue", None)
    if p is None:
        raise TypeError(
            f"test must return a result with a pvalue, got {type(result).__name__} for n={n}"
        )
    return scalars.real("pvalue of the test", p, least=0, most=1)
