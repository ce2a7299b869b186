"""A comparison as text, for a screen or a log."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pairtile.tables.text import WORDS, short
from pairtile.two_sample import TestResult

if TYPE_CHECKING:
    from pairtile.app.compare import Comparison
    from pairtile.tables.columns import ColumnDrift

_LABEL = 22  # width of the first column
_NAME = 24
_COLUMNS = 10  # at most so many are listed
_WIDTH = 80


def report(result: Comparison) -> str:
    """The table a person reads."""
    blocks = [
        _sizes(result),
        _statistics(result),
        [_verdict(result)],
        _columns(result),
        _rows(result),
        _warnings(result),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _sizes(result: Comparison) -> list[str]:
    return [
        f"{result.n_reference} reference rows, {result.n_current} current rows, "
        f"{result.d} {'feature' if result.d == 1 else 'features'}"
    ]


def _statistics(result: Comparison) -> list[str]:
    lines = [f"{'':<{_LABEL}}{'statistic':<20}p-value"]
    for name in result.options.tests:
        test = result.found.results.get(name)
        label = "MMD²" if name == "mmd" else WORDS[name]
        if test is None:
            lines.append(f"{label:<{_LABEL}}not computed")
            continue
        statistic = f"{test.statistic:<20.4g}" if isinstance(test, TestResult) else " " * 20
        sigma = f"    Gaussian kernel, σ = {result.found.sigma:.4g}" if name == "mmd" else ""
        lines.append(f"{label:<{_LABEL}}{statistic}{test.pvalue:.3g}{sigma}")
    sliced = f"{result.sliced_wasserstein:.4g} ± {result.sliced_wasserstein_error:.2g}"
    lines.append(f"{'sliced Wasserstein':<{_LABEL}}{sliced:<31}± standard error over directions")
    for name, value in (result.prdc or {}).items():
        lines.append(f"{name:<{_LABEL}}{value:.4g}")
    return lines


def _verdict(result: Comparison) -> str:
    if result.undecided:
        return f"nothing can be said: {result.undecided}"
    if not result.found.results:
        return "no drift: all rows are equal"
    adjusted = "Holm-adjusted " if len(result.found.results) > 1 else ""
    verdict, sign = ("DRIFT", "≤") if result.drift else ("no drift", ">")
    return (
        f"{verdict}: {adjusted}p-value {result.found.pvalue:.3g} {sign} alpha "
        f"{result.options.alpha:g}"
    )


def _columns(result: Comparison) -> list[str]:
    """Under drift those of most effect; else those that differ by themselves, if any do."""
    columns = sorted(result.found.columns, key=lambda c: (-c.effect, c.pvalue))
    if len(columns) < 2:
        return []
    if not result.drift:
        columns = [c for c in columns if c.pvalue_adjusted <= result.options.alpha]
    if not columns:
        return []
    title = "columns by effect" if result.drift else "columns that differ by themselves"
    return [
        f"{title}; p-values Holm-adjusted over columns",
        f"{'column':>{_NAME}}{'kind':>10}{'effect':>9}{'p-value':>10}",
        *(_column(c) for c in columns[:_COLUMNS]),
        *([f"and {len(columns) - _COLUMNS} more"] if len(columns) > _COLUMNS else []),
    ]


def _column(column: ColumnDrift) -> str:
    line = (
        f"{short(column.name, _NAME):>{_NAME}}{column.kind:>10}{column.effect:>9.3f}"
        f"{_pvalue(column.pvalue_adjusted):>10}"
    )
    if column.missing_reference or column.missing_current:
        line += f"    missing {column.missing_reference:.1%} → {column.missing_current:.1%}"
    return line


def _pvalue(p: float) -> str:
    return f"{p:.3g}" if p >= 1e-16 else "<1e-16"  # less is no more certain


def _rows(result: Comparison) -> list[str]:
    rows = result.found.rows
    if not result.drift or not rows:
        return []
    labelled = any(row.label != row.index for row in rows)
    lines = ["rows of CURRENT that drifted most", f"{'row':>12}{'witness':>14}"]
    if result.d > 1:
        lines[1] += "    most by"
    if labelled:
        lines[1] = f"{'label':>{_NAME}}{lines[1]}"
    for row in rows:
        line = f"{row.index:>12}{row.witness:>14.4g}"
        if result.d > 1 and row.columns:
            line += "    " + short(", ".join(row.columns), _WIDTH - 30)
        if labelled:
            line = f"{short(row.label, _NAME):>{_NAME}}{line}"
        lines.append(line)
    return lines


def _warnings(result: Comparison) -> list[str]:
    """Of the comparison; what is said of the files has gone to standard error before."""
    lines: list[str] = []
    for text in result.warnings[len(result.notes) :]:
        lines += textwrap.wrap(text, _WIDTH, initial_indent="! ", subsequent_indent="  ")
    return lines
