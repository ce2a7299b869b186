"""How results show themselves: one line in a console, a table in a notebook, plain data for JSON.

class _PRDC(NamedTuple): ...      the fields
class PRDC(Result, _PRDC): ...    the public name, with what all results have
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pairtile._front import validate

_FEW = 6  # entries that are printed; of longer ones the size is
_LONGEST = 80  # characters of a text


class Result:
    """What all results have beside their fields."""

    __slots__ = ()

    def _items(self) -> dict[str, Any]:
        """Every field by its name."""
        names = getattr(self, "_fields", None) or self.__dataclass_fields__  # type: ignore[attr-defined]
        return {name: getattr(self, name) for name in names}

    def _brief(self) -> dict[str, Any]:
        """The fields that are printed."""
        return self._items()

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={brief(value)}" for name, value in self._brief().items())
        return f"{type(self).__name__}({shown})"

    def _repr_html_(self) -> str:
        import html  # for notebooks alone

        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(brief(value))}</td></tr>"
            for name, value in self._brief().items()
        )
        return f"<table><caption>{type(self).__name__}</caption><tbody>{rows}</tbody></table>"

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data that JSON has a form for.

        Returns
        -------
        dict
            Of numbers, strings, lists, dicts and None, arrays whole, NaN and infinities as None.
        """
        return {name: plain(value) for name, value in self._items().items()}


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def brief(value: Any) -> str:
    """A value on one line; of what is long, how long it is."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        text = f"{value:.6g}"
        return text if set(text) & set(".en") else f"{text}.0"
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…")
    if _is_array(value):
        if 0 < math.prod(value.shape) <= _FEW:
            return brief(plain(value, text=True))
        dtype = str(value.dtype).removeprefix("torch.")
        return f"<{dtype} array of shape {tuple(value.shape)}>"
    if isinstance(value, Result):
        return repr(value)
    if isinstance(value, Mapping):
        if len(value) <= _FEW:
            return "{" + ", ".join(f"{brief(k)}: {brief(v)}" for k, v in value.items()) + "}"
        return f"<{len(value)} entries>"
    if isinstance(value, (list, tuple)):
        if len(value) > _FEW or any(isinstance(v, Result) for v in value):
            kinds = {type(v).__name__ for v in value}
            return f"<{len(value)} {kinds.pop() if len(kinds) == 1 else 'entries'}>"
        inside = ", ".join(map(brief, value))
        if isinstance(value, list):
            return f"[{inside}]"
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def plain(value: Any, *, text: bool = False) -> Any:
    """Data for JSON: NaN and infinities become None, or stay where it is for a `text`."""
    if _is_array(value):
        value = value.detach() if hasattr(value, "detach") else value
        value = validate.host(value).tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if text or math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(k): plain(v, text=text) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v, text=text) for v in value]
    return repr(value)
