"""Names and numbers as the text of a page.

Names come from other people's files: whatever they hold, tags, quotes, control characters or halves
of a surrogate pair, is shown as text, cut where it is too long to be read.
"""

from __future__ import annotations

import html
import math
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 120  # characters of a name
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _shown(character: str) -> str:
    """What stands for a character that HTML does not allow."""
    point = ord(character)
    if character in "\t\n\r\f\v\u2028\u2029":
        return " "
    if point < 0x20:
        return chr(0x2400 + point)  # the control pictures
    if point == 0x7F:
        return "␡"
    forbidden = (
        0x80 <= point < 0xA0
        or 0xD800 <= point < 0xE000
        or 0xFDD0 <= point < 0xFDF0
        or point & 0xFFFE == 0xFFFE
    )
    return "\ufffd" if forbidden else character


def plain(value: object, longest: int = _LONGEST) -> str:
    """A value as one line of valid characters, cut to a length; not yet escaped."""
    words = str(value)
    if len(words) > longest:
        words = words[: longest - 1] + "…"
    return "".join(map(_shown, words))


def fitting(value: object, width: float) -> str:
    """As much of a value as fits, in units of an average letter: wide letters count double."""
    words, room = plain(value), width
    for index, character in enumerate(words):
        room -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if room < 0:
            return words[: max(index - 1, 0)] + "…"
    return words


def text(value: object, longest: int = _LONGEST) -> str:
    """A value, escaped for text and for quoted attributes."""
    return html.escape(plain(value, longest))


def name(value: object) -> str:
    """A name within a sentence: its direction of writing does not reach beyond it."""
    return f"<bdi>{text(value)}</bdi>" if str(value).strip() else "<i>no name</i>"


def listed(values: Iterable[object], most: int) -> str:
    """Names as "a, b and c", or "a, b and 7 more"."""
    names = [name(value) for value in values]
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1:,} more"]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def number(value: float | None) -> str:
    """Three significant digits: 1,234, 0.05 or 1.2×10⁻⁹; a dash for what there is none of."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    mantissa, _, power = f"{value:.2e}".partition("e")  # rounded: 9.999 has exponent 1
    exponent = int(power)
    if -4 <= exponent < 7:
        decimals = max(0, 2 - exponent)
        digits = f"{value:,.{decimals}f}"
        if decimals:
            digits = digits.rstrip("0").rstrip(".")
    else:
        mantissa = mantissa.rstrip("0").rstrip(".")
        digits = f"{mantissa}×10{str(exponent).translate(_SUPERSCRIPTS)}"
    return digits.replace("-", "−")


def percent(share: float) -> str:
    """A share of rows in percent."""
    if 0 < share < 0.001:
        return "<0.1 %"
    if 0.999 < share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def data(value: float | None, shown: str | None = None) -> str:
    """A number as it is shown, with all its digits where a program looks for them."""
    shown = number(value) if shown is None else shown
    if value is None or math.isnan(value):
        return html.escape(shown)
    exact = repr(value) if isinstance(value, int) else repr(float(value))
    return f'<data value="{exact}">{html.escape(shown)}</data>'
