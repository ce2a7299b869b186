"""What pages are made of: the file, its sections, tables, lists of facts.

The page needs nothing besides itself: the style is in it, pictures are inline SVG, there is no
script, and its content security policy forbids a browser to load or run anything. What comes in
here is HTML already, warnings aside.
"""

from __future__ import annotations

import platform
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

import pairtile
from pairtile.tables.markup import data, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Row = tuple[str, Sequence[str]]  # class and cells

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_EVIDENT = ("Distribution",)  # heads that need not be repeated in each row of a narrow screen


def document(title: str, sections: Iterable[str]) -> str:
    """The file."""
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · pairtile</title>
<style>
{style}</style>
</head>
<body>
<main>
{"".join(sections)}</main>
</body>
</html>
"""


def section(anchor: str, title: str, *parts: str) -> str:
    """A heading and what is below it; empty parts are left out."""
    head = f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{title}</h2>\n'
    return head + "\n".join(part for part in parts if part) + "\n</section>\n"


def table(kind: str, heads: Sequence[str], rows: Iterable[Row]) -> str:
    """The first cell of a row is its header; "#…" is the head of a column of numbers.

    The roles are those that the elements have by themselves, until a narrow screen shows them as
    blocks.
    """
    plain = [head.removeprefix("#") for head in heads]
    look = ['class="number" ' if head.startswith("#") else "" for head in heads]
    out = [f'<table role="table" class="{kind}">\n<thead role="rowgroup"><tr role="row">']
    for head, classes in zip(plain, look, strict=True):
        out.append(f'<th {classes}role="columnheader" scope="col">{head}</th>')
    out.append('</tr></thead>\n<tbody role="rowgroup">\n')
    for row, cells in rows:
        out.append(f'<tr role="row" class="{row}">' if row else '<tr role="row">')
        out.append(f'<th role="rowheader" scope="row">{cells[0]}</th>')
        for cell, head, classes in zip(cells[1:], plain[1:], look[1:], strict=True):
            label = "" if head in _EVIDENT else f' data-label="{head}"'
            out.append(f'<td {classes}role="cell"{label}>{cell}</td>')
        out.append("</tr>\n")
    return "".join([*out, "</tbody>\n</table>"])


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Terms and values, a line each."""
    lines = "".join(f"<dt>{term}</dt><dd>{value}</dd>\n" for term, value in pairs)
    return f"<dl>\n{lines}</dl>"


def warnings(lines: Sequence[str]) -> str:
    """A section of plain text, nothing without any."""
    if not lines:
        return ""
    items = "".join(f"<li>{text(line, 2000)}</li>\n" for line in lines)
    return section("warnings", "Warnings", f"<ul>\n{items}</ul>")


def link_to_warnings(lines: Sequence[str]) -> str:
    """Where a reader of the decision finds them."""
    if not lines:
        return ""
    count = "a warning" if len(lines) == 1 else f"{len(lines)} warnings"
    return f'<p class="quiet">With <a href="#warnings">{count}</a>.</p>'


def seed(value: int | None) -> tuple[str, str]:
    """A fact: what repeats the numbers."""
    return "Seed", "none given" if value is None else data(value, str(value))


def versions() -> list[tuple[str, str]]:
    """Facts: by what the page was made."""
    return [
        ("pairtile", text(pairtile.__version__)),
        ("NumPy", text(np.__version__)),
        ("Python", text(platform.python_version())),
    ]


def bare_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose alignment needs no style sheet."""
    left = 'style="text-align:left;vertical-align:top"'
    top = "".join(f'<th scope="col" {left}>{head}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row" {left}>{first}</th>'
        + "".join(f"<td {left}>{cell}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
