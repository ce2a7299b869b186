"""Where public functions work on a GPU: `python -m bench.places` writes the table of docs/gpu.md.

It is made of `pairtile/_backends/places.py`, which the functions themselves are served by.
"""

from collections.abc import Iterator
from pathlib import Path

from pairtile._backends.places import PLACES, Where

DOCUMENT = Path(__file__).parents[1] / "docs" / "gpu.md"
HEADS = "| what runs there | where | how |", "|---|---|---|"


def lines() -> Iterator[str]:
    """The table, line by line."""
    yield from HEADS
    for place in PLACES:
        if place.where is not Where.ELSEWHERE:
            functions = ", ".join(f"`{name}`" for name in place.functions)
            yield f"| {functions}{place.more} | {place.where.value} | {place.how} |"


def renewed(text: str) -> str:
    """The document with the table as it is now."""
    before, _, rest = text.partition(HEADS[0])
    after = rest.partition("\n\n")[2]
    return before + "\n".join(lines()) + "\n\n" + after


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text()))
