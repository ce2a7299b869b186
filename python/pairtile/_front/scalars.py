"""Numbers, names and seeds that come in: each becomes a plain value, or an error that names it."""

from __future__ import annotations

import math
import numbers
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

PRECISIONS = ("default", "float64", "fast")


def choice(name: str, value: Any, known: Iterable[str]) -> str:
    """One of the known strings; the message lists them."""
    known = tuple(known)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, one of {', '.join(known)}; got {value!r}")
    if value not in known:
        raise ValueError(f"unknown {name} {value!r}; known: {', '.join(known)}")
    return value


def count(name: str, value: Any, *, least: int = 1) -> int:
    """An integer (no bool, no float) of at least `least`."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def real(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
) -> float:
    """A finite number greater than `above`, at least `least`, at most `most`.

    An array or tensor of no dimensions counts as the number that it holds.
    """
    single = value.item() if getattr(value, "shape", None) == () else value
    if isinstance(single, bool) or not isinstance(single, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = float(single)
    if not (math.isfinite(number) and number > above and least <= number <= most):
        wanted = [
            *([f"> {above:g}"] if above > -math.inf else []),
            *([f">= {least:g}"] if least > -math.inf else []),
            *([f"<= {most:g}"] if most < math.inf else []),
        ]
        raise ValueError(f"{name} must be finite{''.join(f', {w}' for w in wanted)}; got {number}")
    return number


def float_dtype(name: str, value: Any) -> str | None:
    """Name of the dtype float32 or float64, or None, from anything NumPy reads as one."""
    if value is None:
        return None
    try:
        dtype: str = np.dtype(value).name
    except TypeError:
        dtype = ""
    if dtype not in ("float32", "float64"):
        raise ValueError(f"{name} must be 'float32' or 'float64', got {value!r}")
    return dtype


def memory_limit(value: Any) -> int:
    """Bytes of workspace, 0 for None."""
    return 0 if value is None else count("memory_limit", value)


def generator(rng: Any) -> np.random.Generator:
    """NumPy generator from a seed, a Generator (used as it is) or None, as in SciPy."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng must be a seed, a Generator or None: {error}") from None
