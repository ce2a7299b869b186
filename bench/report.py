"""Outcomes as text for people and as JSON for programs."""

import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench.footprint import Footprint
from bench.harness import Entry, Outcome, Settings
from bench.peers import DISTRIBUTIONS

NOTHING = "—"
HEADINGS = (
    "contender",
    "one-shot",
    "/ best peer",
    "/ floor",
    "/ pairtile",
    "prebuilt",
    "peak memory",
    "candidates / row",
    "error against float64",
)


def table(outcome: Outcome, settings: Settings) -> str:
    """Lay out one case: a title, the floor, a row per contender; ratios are of times."""
    rate = median(outcome.sgemm_rates) / 1e9
    floor = "no floor"
    if outcome.floor is not None:
        floor = (
            f"floor {time_text(outcome.floor)}: {outcome.case.flops / 1e9:.4g} GF"
            f" at {rate:.4g} GF/s (sgemm, {settings.threads} threads)"
        )
    if outcome.case.keys:
        copied = median(outcome.copy_rates) / 1e9
        floor += f" and {outcome.case.keys / 1e6:.4g} M keys at {copied:.4g} GB/s"
    rows = [HEADINGS, *(_row(entry, outcome) for entry in outcome.entries)]
    return "\n".join([outcome.case.title, floor, *_aligned(rows)])


def _row(entry: Entry, outcome: Outcome) -> tuple[str, ...]:
    if entry.status == "not installed":
        return entry.contender, f"not installed (pip install {DISTRIBUTIONS[entry.contender]})"
    name = f"{entry.contender} {entry.version or ''}".rstrip()
    if entry.status != "ok":
        return name, entry.status
    best, ours = outcome.best_peer, outcome.ours
    errors = ", ".join(f"{what} {error:.1e}" for what, error in entry.errors.items())
    return (
        name,
        time_text(entry.seconds()) + (" once" if entry.once else ""),
        _ratio(entry, best.seconds() if best else None),
        _ratio(entry, outcome.floor),
        _ratio(entry, ours.seconds() if ours else None),
        time_text(entry.seconds("prebuilt")),
        NOTHING if entry.peak_memory is None else f"{entry.peak_memory / 1e6:.0f} MB",
        candidates_text(entry.candidates),
        errors + (" (over tolerance)" if entry.wrong else ""),
    )


def footprint_table(footprints: list[Footprint]) -> str:
    """Lay out what it costs to have each package at all."""
    rows: list[tuple[str, ...]] = [("package", "import over NumPy's", "installed")]
    for item in footprints:
        if item.seconds is None:
            rows.append((item.package, "not installed", ""))
        else:
            size = NOTHING if item.installed is None else f"{item.installed / 1e6:.1f} MB"
            rows.append((item.package, time_text(item.seconds), size))
    return "\n".join(["footprint: without dependencies", *_aligned(rows)])


def document(
    outcomes: list[Outcome], footprints: list[Footprint], settings: Settings
) -> dict[str, Any]:
    """Return everything measured, times one by one, in SI units and bytes."""
    return {
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "numpy": version("numpy"),
        },
        "settings": asdict(settings),
        "cases": [_case(outcome) for outcome in outcomes],
        "footprint": [asdict(item) for item in footprints],
    }


def _case(outcome: Outcome) -> dict[str, Any]:
    case, best = outcome.case, outcome.best_peer
    return {
        "family": case.family,
        "task": case.task,
        "title": case.title,
        "sizes": asdict(case),
        "flops": case.flops,
        "keys": case.keys,
        "in_grid": case.in_grid,
        "floor": outcome.floor,
        "sgemm_rate": median(outcome.sgemm_rates),
        "copy_rate": median(outcome.copy_rates) if case.keys else None,
        "best_peer": best.contender if best else None,
        "contenders": [
            asdict(e) | {"median": e.seconds(), "once": e.once} for e in outcome.entries
        ],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "")


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Pad columns; a row shorter than the headings runs on after its second cell."""
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(len(row[i]) for row in full) for i in range(len(rows[0]))]
    widths[0] = max(len(row[0]) for row in rows)
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        if len(row) < len(rows[0]):
            cells[1:] = [" " * 2 + row[1]]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def time_text(seconds: float | None) -> str:
    """Three digits, in the unit that suits."""
    if seconds is None:
        return NOTHING
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def candidates_text(candidates: float | None) -> str:
    return NOTHING if candidates is None else f"{candidates:.1f}"


def _ratio(entry: Entry, seconds: float | None) -> str:
    own = entry.seconds()
    return NOTHING if own is None or seconds is None else f"{own / seconds:.2f}"
