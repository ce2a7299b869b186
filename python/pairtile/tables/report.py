"""A result as a page to open, print or send, and as a few lines in a notebook.

    Drift, DriftOverTime -> sections of HTML, pictures of `svg` -> one file

`page` has what both pages are made of. What a notebook shows has no style sheet and no ids, so that
it changes nothing around it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pairtile.kernels.kernel import text_of
from pairtile.tables import page, svg
from pairtile.tables.markup import data, listed, name, percent, plain, text
from pairtile.tables.text import WORDS
from pairtile.two_sample import AggregatedTest

if TYPE_CHECKING:
    from pairtile.tables.columns import ColumnDrift
    from pairtile.tables.drift import Drift
    from pairtile.tables.over_time import DriftOverTime, Period
    from pairtile.two_sample import TestResult

_PICTURES = 50  # columns with a picture; more would make a large file
_IN_NOTEBOOK = 5  # columns
_LENGTHS = {"D": "days", "W": "weeks from Monday", "M": "months", "Q": "quarters", "Y": "years"}


def write(document: str, path: str | os.PathLike[str] | None) -> str | None:
    """The page itself without a path; with one, it is written there."""
    if path is None:
        return document
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a str or a path, or None for the text; got {path!r}")
    Path(path).write_text(document, encoding="utf-8")
    return None


# A comparison of two tables.


def of_drift(drift: Drift) -> str:
    """The page of a comparison."""
    return page.document(
        "Drift found" if drift.drift else "No drift found",
        [
            _head(drift),
            _columns(drift),
            _rows(drift),
            _null(drift),
            page.warnings(drift.warnings),
            page.section(
                "facts", "How it was tested", page.facts([*_tested(drift), *page.versions()])
            ),
        ],
    )


def _decision(drift: Drift, strong: str) -> str:
    """The decision in one sentence."""
    p, level = data(drift.pvalue), data(drift.alpha)
    if drift.drift:
        found = f"<{strong}>The current rows have drifted</{strong}> from the reference"
    else:
        found = "No drift found in the current rows"
    return f"{found}: p = {p}, at level {level}."


def _drifted(drift: Drift, column: ColumnDrift) -> bool:
    return column.pvalue_adjusted <= drift.alpha


def _by_effect(drift: Drift) -> list[ColumnDrift]:
    return sorted(drift.columns, key=lambda column: (-column.effect, column.pvalue))


def _explanation(drift: Drift) -> str:
    """Which columns differ when each is tested by itself."""
    names = [column.name for column in _by_effect(drift) if _drifted(drift, column)]
    total = len(drift.columns)
    if total == 1:
        differs = "differs" if names else "does not differ"
        return f"By a test of its own, {name(drift.columns[0].name)} {differs}."
    if not names:
        if drift.drift:
            return "Tested one by one, no column differs: it is in how they go together."
        return "Tested one by one, no column differs either."
    differ = "differs" if len(names) == 1 else "differ"
    said = f"Tested one by one, {len(names):,} of {total:,} columns {differ}: {listed(names, 6)}."
    return said if drift.drift else f"{said} The joint test, which decides, finds no drift."


def _head(drift: Drift) -> str:
    columns = "column" if len(drift.columns) == 1 else "columns"
    sizes = (
        f"{data(drift.n_reference)} reference rows, {data(drift.n_current)} current rows, "
        f"{data(len(drift.columns))} {columns}"
    )
    return (
        f'<header>\n<p class="quiet">{sizes}</p>\n<h1>{_decision(drift, "strong")}</h1>\n'
        f"<p>{_explanation(drift)}</p>\n{page.link_to_warnings(drift.warnings)}\n</header>\n"
    )


def _columns(drift: Drift) -> str:
    heads = ("Column", "Distribution", "Effect", "#p, adjusted", "#Missing")
    columns = _by_effect(drift)
    first, rest = columns[:_PICTURES], columns[_PICTURES:]
    key = (
        '<p class="quiet"><span class="key"></span>reference '
        '<span class="key now"></span>current. Largest effect first: the Kolmogorov distance of '
        "numbers and dates, the total variation of categories and flags, both between 0 and 1. The "
        "outermost bars of a histogram hold what lies beyond it. p-values are adjusted for the "
        "number of columns (Holm).</p>"
    )
    parts = [key, page.table("columns", heads, [_column(drift, column) for column in first])]
    if rest:
        lines = [_column(drift, column, pictured=False) for column in rest]
        parts.append(
            f"<details>\n<summary>{len(rest):,} more columns, with smaller effects</summary>\n"
            f"{page.table('columns', heads, lines)}\n</details>"
        )
    return page.section("columns", "Columns", *parts)


def _picture(drift: Drift, column: ColumnDrift, paint: svg.Paint) -> str:
    """The distributions of a column, or nothing where there are none."""
    profile = drift.profiles.get(column.name)
    if profile is None:
        return ""
    title = f"Distribution of {plain(column.name)} in the reference and in the current rows"
    return svg.distribution(title, profile, paint)


def _column(drift: Drift, column: ColumnDrift, pictured: bool = True) -> page.Row:
    length = 100 * min(max(column.effect, 0.0), 1.0)
    symbol = "D" if column.kind in ("number", "date") else "χ²"
    return "drifted" if _drifted(drift, column) else "", (
        f"{name(column.name)}<small>{text(column.kind)}</small>",
        _picture(drift, column, svg.PAGE) if pictured else "",
        f'{data(column.effect)}<span class="meter"><i style="width:{length:.1f}%"></i></span>',
        f"<b>{data(column.pvalue_adjusted)}</b>"
        f"<small>p {data(column.pvalue)}, {symbol} {data(column.statistic)}</small>",
        _missing(column),
    )


def _missing(column: ColumnDrift) -> str:
    before, after = column.missing_reference, column.missing_current
    if before == after == 0:
        return f'<span class="quiet">{data(0.0, "none")}</span>'
    return f"{data(before, percent(before))} → {data(after, percent(after))}"


def _rows(drift: Drift) -> str:
    if not drift.rows or not drift.drift:
        return ""
    if drift.test_name == "mmd":
        witness = "the mean kernel value with the reference minus that with the current rows"
    else:
        witness = "the mean distance to the current rows minus that to the reference"
    note = (
        '<p class="quiet">Rows of the current table by their own labels, the least like the '
        f"reference first. The witness of a row is {witness}.</p>"
    )
    lines = [
        ("", (name(row.label), data(row.witness), listed(row.columns, 3) or "–"))
        for row in drift.rows
    ]
    table = page.table("rows", ("Row", "#Witness", "Columns that made it"), lines)
    return page.section("rows", "Rows least like the reference", note, table)


def _null(drift: Drift) -> str:
    test = drift.test
    if isinstance(test, AggregatedTest):
        return _kernels(drift, test)
    title = "What chance alone would give"
    count = len(test.null_distribution)
    if not count:
        words = (
            f"The statistic is {data(test.statistic)}. Its distribution under the null is "
            f"computed ({_null_name(test)}), not sampled."
        )
        return page.section("null", title, f"<p>{words}</p>")
    caption = (
        f"The observed statistic, {data(test.statistic)}, and {data(count)} values of it for rows "
        f"dealt to the two tables without regard to where they come from ({_null_name(test)})."
    )
    picture = svg.null_distribution(test.statistic, test.null_distribution, svg.PAGE)
    figure = f'<figure class="null">\n{picture}\n<figcaption>{caption}</figcaption>\n</figure>'
    return page.section("null", title, figure)


def _null_name(test: TestResult) -> str:
    return text(test.null.replace("_", " "))


def _kernels(drift: Drift, test: AggregatedTest) -> str:
    lines = [
        (
            "drifted" if one.adjusted_pvalue <= drift.alpha else "",
            (
                text(text_of(one.kernel, {})),
                data(one.statistic),
                data(one.pvalue),
                f"<b>{data(one.adjusted_pvalue)}</b>",
            ),
        )
        for one in test.per_kernel
    ]
    note = (
        '<p class="quiet">The maximum mean discrepancy under each kernel; the smallest adjusted '
        "p-value is that of them all.</p>"
    )
    table = page.table("kernels", ("Kernel", "#Squared MMD", "#p", "#p, adjusted"), lines)
    return page.section("null", "The test, kernel by kernel", note, table)


def _tested(drift: Drift) -> list[tuple[str, str]]:
    test, p = drift.test, data(drift.test.pvalue)
    named = WORDS[drift.test_name]
    if isinstance(test, AggregatedTest):
        facts = [("Test", f"{named}, {data(len(test.per_kernel))} of them")]
    else:
        facts = [
            ("Test", named if test.kernel is None else f"{named}, {text(test.kernel)}"),
            ("Statistic", data(test.statistic)),
            ("Null", f"{_null_name(test)}, {data(len(test.null_distribution))} values"),
        ]
        if test.pvalue_interval is not None and test.null != "exact":
            low, high = test.pvalue_interval
            p += f" (95 % interval of it over all relabellings: {data(low)} to {data(high)})"
    given = f"{data(drift.n_reference)} reference, {data(drift.n_current)} current"
    facts.append(("p-value", p))
    if drift.pvalue != test.pvalue:  # one of several tests decides
        facts.append(("p-value, adjusted", data(drift.pvalue)))
    facts += [("Level", data(drift.alpha)), ("Rows", given)]
    if drift.sampled is not None:
        x, y = drift.sampled
        facts.append(("Rows used", f"{data(x)} reference, {data(y)} current, drawn at random"))
    return [*facts, page.seed(drift.seed)]


def drift_in_notebook(drift: Drift) -> str:
    """The decision and the columns with the largest effects, for `_repr_html_`."""
    columns = _by_effect(drift)
    shown = columns[:_IN_NOTEBOOK]
    rows = [
        (
            name(column.name),
            _picture(drift, column, svg.NOTEBOOK),
            data(column.effect),
            data(column.pvalue_adjusted),
        )
        for column in shown
    ]
    more = f"{len(columns) - len(shown):,} more columns; " if len(columns) > len(shown) else ""
    return (
        f"<div><p>{_decision(drift, 'b')} {_explanation(drift)}</p>"
        f"{page.bare_table(('Column', 'Distribution', 'Effect', 'p, adjusted'), rows)}"
        f"<p>{more}<code>.to_html(path)</code> writes the whole report.</p></div>"
    )


# A comparison of periods.


def of_periods(result: DriftOverTime) -> str:
    """The page of a comparison over time."""
    heads = ["Period", "#Rows", "#Statistic", "#p", "#p, adjusted"]
    lines = [("drifted" if period.drift else "", _period(period)) for period in result.periods]
    if result.test_name == "aggregated":  # it has no single statistic
        del heads[2]
        for _, cells in lines:
            del cells[2]
    note = (
        '<p class="quiet">Each period is compared with the whole reference; p-values are adjusted '
        "for the number of periods (Holm). A dash stands for what could not be tested.</p>"
    )
    drawn = svg.series(result.periods, svg.PAGE)
    picture = f'<figure class="series" tabindex="0">\n{drawn}\n</figure>'
    rows = sum(period.n for period in result.periods)
    sizes = f"{data(result.n_reference)} reference rows, {data(rows)} rows in periods"
    facts = [
        (
            "Periods",
            f"of {name(result.by)}" + (f", {_LENGTHS[result.freq]}" if result.freq else ""),
        ),
        ("Test", WORDS[result.test_name]),
        ("Level", f"{data(result.alpha)}, of all periods together"),
        page.seed(result.seed),
        *page.versions(),
    ]
    tested = any(period.pvalue is not None for period in result.periods)
    outcome = "Drift found" if result.drift else "No drift found" if tested else "Nothing tested"
    return page.document(
        outcome,
        [
            f'<header>\n<p class="quiet">{sizes}</p>\n<h1>{_found(result, "strong")}</h1>\n'
            f"<p>{_which(result)}</p>\n"
            f"{page.link_to_warnings(result.warnings)}\n</header>\n",
            page.section(
                "periods", "Period by period", note, picture, page.table("periods", heads, lines)
            ),
            page.warnings(result.warnings),
            page.section("facts", "How it was tested", page.facts(facts)),
        ],
    )


def _period(period: Period) -> list[str]:
    return [
        name(period.label),
        data(period.n),
        data(period.statistic),
        data(period.pvalue),
        f"<b>{data(period.pvalue_adjusted)}</b>",
    ]


def _found(result: DriftOverTime, strong: str) -> str:
    """The decision in one sentence."""
    drifted = [period.label for period in result.periods if period.drift]
    tested = sum(period.pvalue is not None for period in result.periods)
    periods = "period" if tested == 1 else "periods"
    if not tested:
        return "Nothing can be said: no period could be tested."
    if not drifted:
        return f"No drift found in {data(tested)} {periods}, at level {data(result.alpha)}."
    have = "has" if len(drifted) == 1 else "have"
    found = f"{data(len(drifted))} of {data(tested)} {periods} {have} drifted"
    return f"<{strong}>{found}</{strong}> from the reference, at level {data(result.alpha)}."


def _which(result: DriftOverTime) -> str:
    """The periods with drift."""
    drifted = [period.label for period in result.periods if period.drift]
    return f"{listed(drifted, 12)}." if drifted else ""


def periods_in_notebook(result: DriftOverTime) -> str:
    """The decision and the picture, for `_repr_html_`."""
    picture = svg.series(result.periods, svg.NOTEBOOK)
    return (
        f"<div><p>{_found(result, 'b')} {_which(result)}</p>{picture}"
        "<p><code>.to_html(path)</code> writes the whole report.</p></div>"
    )
