"""Numbers, names and seeds that come in: each becomes a plain value, or an error that names it."""

from __future__ import annotations

import math
import numbers
import operator
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PRECISIONS = ("default", "float64", "fast")


def choice(
    name: str, value: Any, known: Iterable[str], aliases: Mapping[str, str] | None = None
) -> str:
    """One of the known strings, also for an alias of it; the message lists them."""
    known = tuple(known)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, one of {', '.join(known)}; got {value!r}")
    if value in known:
        return str(value)
    if aliases is not None and aliases.get(value) in known:
        return aliases[value]
    meant = words.nearest(value, known)
    hint = f", did you mean {meant!r}?" if meant else ";"
    raise ValueError(f"unknown {name} {value!r}{hint} known: {', '.join(known)}")


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


_MOST_BYTES = 2**62  # no limit at all
_BYTES = re.compile(r"(\d+\.?\d*|\.\d+) *(?:([KMGT])(I?))?B?", re.IGNORECASE)


def memory_limit(value: Any) -> int:
    """Bytes of workspace, 0 for None: a number, or text such as "1GB" or "512 MiB"."""
    if value is None:
        return 0
    if not isinstance(value, str):
        return min(count("memory_limit", value), _MOST_BYTES)
    found = _BYTES.fullmatch(value.strip())
    if found is None:
        raise ValueError(
            "memory_limit must be a number of bytes, or text such as '1GB' (10⁹ bytes) or "
            f"'512MiB'; got {value!r}"
        )
    unit = (1024 if found[3] else 1000) ** " KMGT".index((found[2] or "").upper())
    return count("memory_limit", int(min(float(found[1]) * unit, _MOST_BYTES)))


def generator(rng: Any) -> np.random.Generator:
    """NumPy generator from a seed, a Generator (used as it is) or None, as in SciPy."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng must be a seed, a Generator or None: {error}") from None
