"""Results as plain text: at most a screen, 24 lines of 80 characters."""

from __future__ import annotations

import textwrap
import unicodedata
from typing import TYPE_CHECKING

from pairtile.two_sample import TestResult

if TYPE_CHECKING:
    from pairtile.tables.drift import Drift
    from pairtile.tables.over_time import DriftOverTime

_COLUMNS = 8
_ROWS = 3
_PERIODS = 14
_SCREEN = 24
_WIDTH = 80
_NAME = 24
WORDS = {
    "energy": "energy distance",
    "mmd": "MMD",
    "aggregated": "MMD over many kernels",
    "sliced": "sliced energy distance",
}


def short(text: object, width: int) -> str:
    """On one line of at most so many characters, none of them invisible."""
    shown = "".join(c if unicodedata.category(c)[0] != "C" else "�" for c in str(text))
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def pvalue(p: float | None) -> str:
    """As tables print it."""
    return "" if p is None else f"{p:.3g}"


def drift_as_text(drift: Drift) -> str:
    """Decision, columns by effect, rows, warnings."""
    sign = "≤" if drift.drift else ">"
    lines = [
        f"{'DRIFT' if drift.drift else 'no drift'}: p = {drift.pvalue:.3g} {sign} alpha "
        f"{drift.alpha:g} by {WORDS[drift.test_name]}{_null(drift)}",
        f"{drift.n_reference:,} reference rows, {drift.n_current:,} current rows, "
        f"{len(drift.columns):,} columns",
        "",
        f"{'column':<{_NAME}} {'kind':<9} {'effect':>7} {'p (Holm)':>9}  missing",
    ]
    by_effect = sorted(drift.columns, key=lambda c: (-c.effect, c.pvalue))
    for column in by_effect[:_COLUMNS]:
        missing = ""
        if column.missing_reference or column.missing_current:
            missing = f"{column.missing_reference:.1%} → {column.missing_current:.1%}"
        mark = " *" if column.pvalue_adjusted <= drift.alpha else ""
        lines.append(
            f"{short(column.name, _NAME):<{_NAME}} {column.kind:<9} {column.effect:>7.3f} "
            f"{pvalue(column.pvalue_adjusted):>9}  {missing}{mark}".rstrip()
        )
    if len(by_effect) > _COLUMNS:
        rest = sum(c.pvalue_adjusted <= drift.alpha for c in by_effect[_COLUMNS:])
        lines.append(f"and {len(by_effect) - _COLUMNS:,} more, {rest:,} of them drifted (*)")
    if drift.drift and drift.rows:
        lines += ["", f"{'row of current':<{_NAME}} {'witness':>9}  made so by"]
        lines += [
            f"{short(row.label, _NAME):<{_NAME}} {row.witness:>9.3g}  "
            + short(", ".join(row.columns), _WIDTH - _NAME - 12)
            for row in drift.rows[:_ROWS]
        ]
    return _with_warnings([line.rstrip() for line in lines], drift.warnings)


def _null(drift: Drift) -> str:
    test = drift.test
    return f" ({test.null})" if isinstance(test, TestResult) else ""


def over_time_as_text(result: DriftOverTime) -> str:
    """Decision, periods, warnings; of many periods first those that drifted."""
    drifted = [period for period in result.periods if period.drift]
    tested = sum(period.pvalue is not None for period in result.periods)
    said = f"DRIFT in {len(drifted):,}" if drifted else "no drift in any"
    if not tested:
        said = "nothing can be said: tested none"
    lines = [
        f"{said} of {len(result.periods):,} periods of {short(result.by, _NAME)!r}",
        f"at level {result.alpha:g} (Holm) by {WORDS[result.test_name]}",
        "",
        f"{'period':<{_NAME}} {'rows':>9} {'statistic':>10} {'p (Holm)':>9}",
    ]
    shown = result.periods
    if len(shown) > _PERIODS:
        shown = drifted[:_PERIODS] or result.periods[-_PERIODS:]
    for period in shown:
        statistic = "" if period.statistic is None else f"{period.statistic:.4g}"
        lines.append(
            f"{short(period.label, _NAME):<{_NAME}} {period.n:>9,} {statistic:>10} "
            f"{pvalue(period.pvalue_adjusted):>9}{' *' if period.drift else ''}".rstrip()
        )
    if len(shown) < len(result.periods):
        lines.append(f"and {len(result.periods) - len(shown):,} more in .periods")
    return _with_warnings(lines, result.warnings)


def _with_warnings(lines: list[str], warnings: list[str]) -> str:
    """As many warnings, most important first, as a screen has lines left for."""
    left = _SCREEN - len(lines) - 2
    shown: list[str] = []
    for i, warning in enumerate(warnings):
        wrapped = textwrap.wrap(short(warning, 4 * _WIDTH), _WIDTH - 2, max_lines=3)
        if len(shown) + len(wrapped) > left:
            shown.append(f"! and {len(warnings) - i} more in .warnings")
            break
        shown += [f"{' ' if k else '!'} {line}" for k, line in enumerate(wrapped)]
    return "\n".join([*lines, *([""] if shown else []), *shown])
