"""What was measured: a JSON file that is never half written, a table and a picture made of it."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench.gpu.steps import ROOT
from bench.report import NOTHING, time_text

Document = dict[str, Any]
OURS = "pairtile"
ABSENT = ("not installed", "not available", "has no such function")
SETTLED = ("ok", "out of memory", "takes too long", *ABSENT)  # not asked again
FLOOR = "floor"


def load(file: Path) -> Document:
    """Read what earlier runs left; nothing where there is no file, or it is no such document."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "cells" in found else {}


def save(document: Document, file: Path) -> None:
    """Put the file in place of the old one at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1) + "\n")
    os.replace(part, file)


def commit() -> str | None:
    """Return the commit of the working tree, marked where files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def seconds_of(cell: Document, contender: str = OURS) -> float | None:
    """Return the median time of a contender, None where it has none."""
    entry = cell["contenders"].get(contender)
    return median(entry["seconds"]) if entry and entry["status"] == "ok" else None


def floor_of(cell: Document) -> float:
    """Return the seconds below which a cell cannot be."""
    return float(max(cell["floors"].values()))


def peers_of(document: Document) -> list[str]:
    """Name the peers that were there for at least one cell."""
    found: dict[str, None] = {}
    for cell in document["cells"].values():
        for name, entry in cell["contenders"].items():
            if name != OURS and entry["status"] not in ABSENT:
                found[name] = None
    return list(found)


def markdown(document: Document) -> str:
    """Lay out one row per cell, and under the table why an entry has no time."""
    peers = peers_of(document)
    heads = ["cell", OURS, "min – max", "products", "traffic", f"/ {FLOOR}"]
    heads += [*peers, "memory", "error"]
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    rows += [_row(cell, peers) for cell in document["cells"].values()]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    parts = ["# On a GPU", *_head(document), table, _FOOT, *_steps(document)]
    notes = list(_notes(document))
    if notes:
        parts.append("\n".join(notes))
    return "\n\n".join(parts) + "\n"


_FOOT = (
    "Median seconds between two CUDA events, arrays on the device before and after; ¹ called "
    "once, without a warm-up of that size. Products: the multiply-adds at the rate of a large "
    "bfloat16 product; traffic: the bytes that must cross the memory (inputs once, sort keys once "
    "for each pass) at that of a copy, which counts what is read and what is written. The longer "
    "is the floor; both rates were measured in the same run. Memory is the peak of both allocators "
    "above the inputs. Errors are against float64 on the same device. Losses take bfloat16 rows."
)


def _head(document: Document) -> Iterator[str]:
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    if document["rehearsal"]:
        yield "**Rehearsed in a simulator: none of these times was measured on a GPU.**"
    yield (
        f"{machine['device']}, driver {machine['driver'] or NOTHING}, CUDA "
        f"{machine['runtime_cuda']}; "
        f"{versions}, CuPy {machine['cupy']}, Python {machine['python']}."
    )
    rates = "; ".join(
        f"{name} {rate / 1e12:.3g} {'TB/s' if name == 'copy' else 'TF/s'}"
        for name, rate in document["ceilings"].items()
    )
    yield f"Ceilings: {rates}."


def _row(cell: Document, peers: list[str]) -> list[str]:
    entry, seconds = cell["contenders"].get(OURS, {}), seconds_of(cell)
    spread = memory = ratio = errors = NOTHING
    if seconds is not None:
        spread = f"{time_text(min(entry['seconds']))} – {time_text(max(entry['seconds']))}"
        ratio = f"{seconds / floor_of(cell):.2f}"
        memory = f"{entry['memory'] / 1e6:,.0f} MB"
        errors = ", ".join(f"{name} {error:.1e}" for name, error in entry["errors"].items())
        errors += " **wrong**" if entry["wrong"] else ""
    cells = [_cell(cell["contenders"].get(name)) for name in (OURS, *peers)]
    floors = map(time_text, cell["floors"].values())
    return [cell["title"], cells[0], spread, *floors, ratio, *cells[1:], memory, errors]


def _cell(entry: Document | None) -> str:
    if entry is None or entry["status"] in ABSENT:
        return NOTHING
    if entry["status"] != "ok":
        return str(entry["status"])
    return time_text(median(entry["seconds"])) + ("¹" if entry["once"] else "")


def line(cell: Document) -> str:
    """One cell in one line, for who is waiting."""
    told = (f"{name} {_cell(entry)}" for name, entry in cell["contenders"].items())
    return f"{cell['title']}: {', '.join(told)}; floor {time_text(floor_of(cell))}"


def _steps(document: Document) -> Iterator[str]:
    steps = document.get("steps", {})
    if steps:
        yield "; ".join(
            f"{name}: {step['status']} in {step['seconds']:.0f} s" for name, step in steps.items()
        )


def _notes(document: Document) -> Iterator[str]:
    for cell in document["cells"].values():
        for name, entry in cell["contenders"].items():
            if entry["status"] not in ("ok", *ABSENT) and "message" in entry:
                message = " ".join(entry["message"].split())
                yield f"- {cell['title']}: {name} {entry['status']}: {message[:200]}"


def draw(document: Document, file: Path) -> None:
    """Draw the seconds of everybody, a line per cell, log scale; ImportError without Matplotlib."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    cells = [c for c in document["cells"].values() if seconds_of(c) is not None]
    markers = dict(zip(peers_of(document), "sD^vP*", strict=False))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pairtile", "font.size": 10}):
        figure = Figure(figsize=(9, 1.2 + 0.4 * max(1, len(cells))), layout="constrained")
        axes = figure.subplots()
        for height, cell in enumerate(reversed(cells)):
            axes.plot([floor_of(cell)], [height], "|", color="#777777", markersize=14, label=FLOOR)
            for name, marker in markers.items():
                if (seconds := seconds_of(cell, name)) is not None:
                    axes.plot([seconds], [height], marker, color="#0072b2", label=name)
            if (seconds := seconds_of(cell)) is not None:
                axes.plot([seconds], [height], "o", color="#c1272d", label=OURS)
        axes.set_yticks(range(len(cells)), [cell["title"] for cell in reversed(cells)])
        axes.set(xscale="log", xlabel="seconds")
        axes.set_title(
            "a simulator's times" if document["rehearsal"] else document["machine"]["device"]
        )
        axes.grid(axis="x", color="#dddddd")
        handles, labels = axes.get_legend_handles_labels()
        once = dict(zip(labels, handles, strict=True))
        figure.legend(
            once.values(), once.keys(), loc="outside upper center", ncols=6, frameon=False
        )
        figure.savefig(file, format="svg", metadata={"Date": None})
