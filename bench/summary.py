"""Many cases as one table: the best peer of each, what it takes over us, and where we lose.

Made from what a run saved (`report.document`), so that a table needs no second run and the parts of
one that ran apart join.
"""

from math import prod
from typing import Any

from bench.harness import OURS
from bench.report import NOTHING, candidates_text, time_text

Document = dict[str, Any]


def merged(documents: list[Document]) -> Document:
    """Join runs of one machine; of a case that several have, the last one counts."""
    cases = {case["title"]: case for document in documents for case in document["cases"]}
    return documents[-1] | {"cases": list(cases.values())}


def markdown(document: Document) -> str:
    """Lay out a table per family; the cells of a grid have one of their own."""
    parts = [_machine(document)]
    for family in dict.fromkeys(case["family"] for case in document["cases"]):
        cases = [case for case in document["cases"] if case["family"] == family]
        for in_grid in (True, False):
            group = [case for case in cases if case["in_grid"] == in_grid]
            if group:
                parts.append("\n".join(_table(group)))
        parts += _verdict(cases)
    return "\n\n".join(parts) + "\n"


def _machine(document: Document) -> str:
    cases, machine, settings = document["cases"], document["machine"], document["settings"]
    versions = {
        entry["contender"]: entry["version"]
        for case in cases
        for entry in case["contenders"]
        if entry["version"]
    }
    named = "; ".join(f"{name} {version}" for name, version in versions.items())
    return f"{machine['processor']}, {settings['threads']} threads. {named}."


def _table(cases: list[Document]) -> list[str]:
    names = list(dict.fromkeys(e["contender"] for case in cases for e in case["contenders"]))
    heads = ["case", "floor", *names, "best peer", f"best peer / {OURS}", f"{OURS} / floor"]
    counted = any(_candidates(case) is not None for case in cases)
    heads += ["candidates / row"] * counted
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for case in cases:
        entries = {entry["contender"]: entry for entry in case["contenders"]}
        gain, ours, floor = gain_over_best(case), _median(case, OURS), case["floor"]
        rows.append(
            [
                _name(case),
                time_text(floor),
                *(_cell(entries.get(name)) for name in names),
                case["best_peer"] or NOTHING,
                NOTHING if gain is None else f"{gain:.2f}" if gain >= 1 else f"**{gain:.2f}**",
                f"{ours / floor:.2f}" if ours and floor else NOTHING,
                *[candidates_text(_candidates(case))] * counted,
            ]
        )
    return [f"| {' | '.join(row)} |" for row in rows]


def _cell(entry: Document | None) -> str:
    if entry is None:
        return ""
    if entry["status"] != "ok":
        return str(entry["status"])
    return time_text(entry["median"]) + ("¹" if entry["once"] else "")


def _verdict(cases: list[Document]) -> list[str]:
    """Return the sentences under the tables of a family."""
    lines = []
    if any(entry["once"] for case in cases for entry in case["contenders"]):
        lines.append("¹ called once.")
    gains = [(case, gain) for case in cases if (gain := gain_over_best(case)) is not None]
    grid = [gain for case, gain in gains if case["in_grid"]]
    if grid:
        mean = prod(grid) ** (1 / len(grid))
        lines.append(
            f"Best peer / {OURS}, geometric mean over {len(grid)} cells of the grid: {mean:.2f}."
        )
    lost = [f"{_name(case)} ({gain:.2f})" for case, gain in gains if gain < 1]
    lines.append(f"{OURS} is slower than the best peer in: {'; '.join(lost) or 'no case'}.")
    missing = [_name(case) for case in cases if _median(case, OURS) is None]
    if missing:
        lines.append(f"{OURS} has no time in: {'; '.join(missing)}.")
    return lines


def _name(case: Document) -> str:
    return str(case["title"].removeprefix(f"{case['family']}: "))


def gain_over_best(case: Document) -> float | None:
    """How many times our time the best peer takes; None where either is missing."""
    ours, best = _median(case, OURS), _median(case, case["best_peer"])
    return best / ours if ours and best else None


def _candidates(case: Document) -> float | None:
    found = (e.get("candidates") for e in case["contenders"] if e["contender"] == OURS)
    return next(found, None)


def _median(case: Document, contender: str | None) -> float | None:
    found = (e["median"] for e in case["contenders"] if e["contender"] == contender)
    median: float | None = next(found, None)
    return median
