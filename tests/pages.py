"""A page read strictly: every element closed where it was opened, every attribute once.

`parse` makes the tree, `shape` what of it may not depend on the names in a table: the elements and
their attributes, without text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VOID = {"meta", "br", "hr", "img", "input", "link"}


@dataclass
class Element:
    """An element and what is in it; text is `str`."""

    tag: str
    attributes: dict[str, str | None]
    inside: list[Element | str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Element]:
        """Itself and all elements below, in their order."""
        yield self
        for part in self.inside:
            if isinstance(part, Element):
                yield from part

    def all(self, tag: str) -> list[Element]:
        return [element for element in self if element.tag == tag]

    def one(self, tag: str) -> Element:
        (element,) = self.all(tag)
        return element

    def __getitem__(self, identity: str) -> Element:
        """The element of this id, or the section that its heading names."""
        (found,) = [
            e
            for e in self
            if identity in (e.attributes.get("id"), e.attributes.get("aria-labelledby"))
            and e.tag in ("section", "div")
        ]
        return found

    @property
    def text(self) -> str:
        return "".join(p if isinstance(p, str) else p.text for p in self.inside)

    @property
    def children(self) -> list[Element]:
        return [part for part in self.inside if isinstance(part, Element)]


class _Parser(HTMLParser):
    CDATA_CONTENT_ELEMENTS = ("script", "style")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice: <{tag} {names}>"
        element = Element(tag, dict(attrs))
        self.open[-1].inside.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.open[-1].inside.append(data)


def parse(page: str) -> Element:
    """The tree of a page or a part of one."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    assert parser.open == [parser.root], f"not closed: {[e.tag for e in parser.open[1:]]}"
    return parser.root


def shape(root: Element) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Elements and attributes in their order; what marks an empty name counts as a name."""
    return [("bdi" if e.tag == "i" else e.tag, list(e.attributes.items())) for e in root]


def value(shown: str) -> float:
    """The number that a reader takes a text for: 1,234, −0.05, 1.2×10⁻⁹, 14 %."""
    digits = shown.translate(str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789")).replace(",", "")
    if digits.endswith(" %"):
        return float(digits[:-2]) / 100
    mantissa, _, power = digits.partition("×10")
    return float(f"{mantissa}e{power or 0}")


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def schemes(style: str) -> list[dict[str, str]]:
    """The colours of a style sheet by name, one dict for each scheme: light, then dark."""
    return [
        dict(re.findall(r"(--\w+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
