"""The page of a comparison: valid, self-contained, small, legible, and of the result's numbers."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from drift_results import a_drift, a_test, over_time
from mixed_tables import arrow, pairs_of_tables
from pages import contrast, parse, schemes, shape, value
from pairtile.kernels import Gaussian
from pairtile.tables import Profile, svg
from pairtile.tables.markup import plain
from pairtile.two_sample import AggregatedTest
from pairtile.two_sample.aggregated import KernelTest

pytestmark = pytest.mark.host

HOSTILE = [
    "<script>alert(1)</script>",
    "</title></style></svg><img src=x onerror=alert(1)>",
    "\"' onload='alert(1)",
    "<!-- & &amp; ]]>",
    "https://example.org/?a=1&b=2",
    "\u202eright to left \x00\x1b[31m \ud800",
    "x" * 5_000,
    "",
]
NAMES = st.lists(
    st.one_of(st.text(st.characters(exclude_categories=[])), st.sampled_from(HOSTILE)),
    min_size=1,
    max_size=6,
    unique=True,
)
AGGREGATED = AggregatedTest(
    True,
    0.004,
    (
        KernelTest(Gaussian(0.5), 0.0123, 0.001, 0.004),
        KernelTest(Gaussian(1 / 3), -1e-5, 0.6, 0.9),
    ),
)
PAGES = {
    "drift": a_drift(["age", "city", "signup", "vip", "note", "income"], warnings=["scale", "few"]),
    "no drift": a_drift(["age", "city"], drift=False, pvalue=0.4, rows=[], sampled=(100, 80)),
    "one column": a_drift(["age"], seed=None),
    "many columns": a_drift([f"c{i}" for i in range(80)]),
    "hostile": a_drift(HOSTILE, levels=HOSTILE, labels=HOSTILE, warnings=HOSTILE),
    "kernels": a_drift(["age", "city"], test=AGGREGATED, test_name="aggregated", pvalue=0.004),
    "no null": a_drift(["age"], test=a_test(0, "gamma")),
    "exact null": a_drift(["age"], test=a_test(20, "exact", pvalue_interval=(0.05, 0.05))),
    "mmd": a_drift(["age"], test=a_test(kernel="Gaussian(sigma=1.5)"), test_name="mmd"),
    "time": over_time([f"2024-W{i:02d}" for i in range(1, 40)], warnings=["short"]),
    "hostile time": over_time(HOSTILE, by=HOSTILE[0], warnings=HOSTILE),
    "no drift in time": over_time(["a", "b"], freq=None, periods=over_time("abc").periods[:2]),
    "no period tested": over_time("abcd", periods=over_time("abcd").periods[3:]),
    "kernels in time": over_time(
        "abcdef",
        periods=[p._replace(statistic=None) for p in over_time("abcdef").periods],
        test_name="aggregated",
    ),
}


@pytest.fixture(params=PAGES, scope="module")
def page(request):
    return PAGES[request.param].to_html()


def numbers(element):
    return [float(e.attributes["value"]) for e in element.all("data")]


def body_rows(table):
    return table.one("tbody").all("tr")


# Valid and self-contained.


def test_well_formed_with_unique_ids(page):
    assert page.startswith("<!DOCTYPE html>\n")
    root = parse(page)
    ids = [e.attributes["id"] for e in root if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in root:
        assert element.attributes.get("aria-labelledby", ids[0]) in ids
        if element.tag == "a":
            assert element.attributes["href"].removeprefix("#") in ids


def test_nothing_is_loaded_or_run(page):
    root = parse(page)
    for element in root:
        assert element.tag not in {"script", "link", "iframe", "object", "embed", "img", "image"}
        for name, text in element.attributes.items():
            assert not name.startswith("on")
            assert name not in {"src", "srcset", "data", "action", "xlink:href"}
            assert name != "href" or text.startswith("#")
            assert name != "style" or re.fullmatch(r"width:\d+\.\d%", text)
    style = root.one("style").text
    assert "url(" not in style
    assert "@import" not in style
    assert "://" not in style
    (policy,) = (e for e in root.all("meta") if "http-equiv" in e.attributes)
    assert policy.attributes["content"] == "default-src 'none'; style-src 'unsafe-inline'"


@given(NAMES)
def test_names_change_no_element(names):
    """Whatever a name, level, label or warning holds, the page is that of tame ones."""
    tame = [f"n{i}" for i in range(len(names))]
    pages = [a_drift(n, levels=n, labels=n, warnings=n).to_html() for n in (names, tame)]
    assert shape(parse(pages[0])) == shape(parse(pages[1]))
    pages = [over_time(n, by=n[0], warnings=n).to_html() for n in (names, tame)]
    assert shape(parse(pages[0])) == shape(parse(pages[1]))
    fragments = [a_drift(n, levels=n)._repr_html_() for n in (names, tame)]
    assert shape(parse(fragments[0])) == shape(parse(fragments[1]))


@pytest.mark.parametrize("name", HOSTILE[:4])
def test_a_name_is_text_wherever_it_stands(name):
    root = parse(a_drift([name], levels=[name], labels=[name], warnings=[name]).to_html())
    assert root.one("h1")
    for section in ("columns", "rows"):
        assert name in root[section].one("tbody").text
    assert name in root["columns"].all("title")[0].text
    assert name in root["warnings"].one("ul").text
    assert name in root.one("header").text


def test_labels_need_not_be_text():
    root = parse(a_drift(["a"], labels=[("x", 1), None, np.datetime64("2024-05-01")]).to_html())
    heads = [row.all("th")[0].text for row in body_rows(root["rows"])]
    assert heads == ["('x', 1)", "None", "2024-05-01"]


# Small.


@pytest.mark.parametrize("columns", [50, 500])
def test_size(columns):
    """The worst of 50 columns are categories with long names; of more, the first have pictures."""
    names = [f"{i} " + "<&>" * 40 for i in range(columns)]
    levels = [f"{i} " + "\"'" * 100 for i in range(14)]
    result = a_drift(names, levels=levels)
    fixed = dict.fromkeys(names, result.profiles[names[1]])
    page = replace(result, profiles=fixed).to_html()
    assert len(page.encode()) < (500_000 if columns == 50 else 1_000_000)
    assert len(parse(page)["columns"].all("title")) == 50


def test_every_column_is_listed():
    root = parse(PAGES["many columns"].to_html())
    first, rest = root["columns"].all("table")
    assert (len(body_rows(first)), len(body_rows(rest))) == (50, 30)
    assert root.one("summary").text == "30 more columns, with smaller effects"


def test_the_fragment_is_small_and_alone():
    for result in PAGES.values():
        fragment = result._repr_html_()
        root = parse(fragment)
        assert len(fragment) < 30_000
        assert not {e.tag for e in root} & {"style", "script", "html", "body", "h1"}
        assert not [e for e in root if {"id", "class"} & e.attributes.keys()]


# Legible.


def test_contrast_in_both_schemes():
    """WCAG 2: text 4.5, what a picture is made of 3."""
    found = schemes(parse(PAGES["drift"].to_html()).one("style").text)
    assert len(found) == 2
    for colours in found:
        paper = colours["--paper"]
        for text in ("--ink", "--quiet", "--accent"):
            assert contrast(colours[text], paper) >= 4.5
        assert contrast(colours["--grey"], paper) >= 3
        assert contrast(colours["--accent"], colours["--shade"]) >= 3
    light, dark = found
    assert light.keys() == dark.keys()
    assert contrast(light["--paper"], "#ffffff") < 1.1
    assert contrast(dark["--paper"], "#000000") < 1.3
    assert min(contrast(svg.ACCENT, ground) for ground in ("#ffffff", "#111111")) >= 3


def test_every_colour_is_a_variable():
    style = parse(PAGES["drift"].to_html()).one("style").text
    rules = re.sub(r":root \{.*?\}", "", style, flags=re.DOTALL)
    assert not re.findall(r"#[0-9a-f]{3,8}\b|rgb|hsl", rules)
    used = set(re.findall(r"var\((--\w+)\)", rules))
    assert used == schemes(style)[0].keys()


def test_what_a_screen_reader_needs(page):
    root = parse(page)
    assert root.one("html").attributes["lang"] == "en"
    assert len(root.all("h1")) == len(root.all("main")) == 1
    inner = {id(e) for s in root.all("svg") for e in list(s)[1:]}
    for picture in root.all("svg"):
        if id(picture) not in inner:
            assert picture.attributes["role"] == "img"
            assert picture.children[0].tag == "title"
            assert picture.children[0].text
    for table in root.all("table"):
        assert {e.attributes["scope"] for e in table.one("thead").all("th")} == {"col"}
        for row in body_rows(table):
            assert row.children[0].attributes["scope"] == "row"
            assert len(row.children) == len(table.one("thead").all("th"))
            for cell, head in zip(row.children[1:], table.all("th")[1:], strict=False):
                assert cell.attributes.get("class") == head.attributes.get("class")
                assert cell.attributes.get("data-label", "Distribution") == head.text
        for element in table:
            if element.tag in ("table", "tr", "th", "td", "thead", "tbody"):
                assert element.attributes["role"]


def test_narrow_screens_print_and_dark_are_provided_for():
    style = parse(PAGES["drift"].to_html()).one("style").text
    for query in ("(max-width: 44rem)", "print", "screen and (prefers-color-scheme: dark)"):
        assert f"@media {query} {{" in style


# The result's numbers.


def test_columns_in_the_order_of_effects():
    result = PAGES["drift"]
    table = parse(result.to_html())["columns"].one("table")
    expected = sorted(result.columns, key=lambda c: c.effect, reverse=True)
    for row, column in zip(body_rows(table), expected, strict=True):
        head, picture, effect, p, missing = row.children
        assert picture.one("title").text.startswith(f"Distribution of {column.name} in ")
        assert head.one("bdi").text == column.name
        assert head.one("small").text == column.kind
        assert numbers(effect) == [column.effect]
        assert numbers(p) == [column.pvalue_adjusted, column.pvalue, column.statistic]
        symbol = "D" if column.kind in ("number", "date") else "χ²"
        assert f", {symbol} " in p.text
        shares = [column.missing_reference, column.missing_current]
        assert numbers(missing) == (shares if any(shares) else [0.0])
        drifted = column.pvalue_adjusted <= 0.05
        assert row.attributes.get("class", "") == ("drifted" if drifted else "")
        width = row.one("i").attributes["style"]
        assert width == f"width:{100 * column.effect:.1f}%"


def test_what_is_read_is_what_was_computed(page):
    """The digits shown are those of the exact number behind them."""
    for element in parse(page).all("data"):
        exact, shown = float(element.attributes["value"]), element.text
        if shown in ("none", "<0.1 %"):
            assert exact < 0.001
        else:
            near = 0.0005 if shown.endswith("%") else 0
            assert value(shown) == pytest.approx(exact, rel=0.0051, abs=near)


def test_missing_shares():
    root = parse(a_drift(["a", "b"]).to_html())
    shown = {row.one("bdi").text: row.children[4].text for row in body_rows(root["columns"])}
    assert shown == {"a": "<0.1 % → 25 %", "b": "none"}


def test_rows():
    result = PAGES["drift"]
    rows = body_rows(parse(result.to_html())["rows"])
    for row, expected in zip(rows, result.rows, strict=True):
        label, witness, columns = row.children
        assert label.text == str(expected.label)
        assert numbers(witness) == [expected.witness]
        assert [e.text for e in columns.all("bdi")] == list(expected.columns)


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("drift", "The current rows have drifted from the reference: p = 0.001, at level 0.05."),
        ("no drift", "No drift found in the current rows: p = 0.4, at level 0.05."),
        ("time", "10 of 30 periods have drifted from the reference, at level 0.05."),
        ("no drift in time", "No drift found in 2 periods, at level 0.05."),
        ("no period tested", "Nothing can be said: no period could be tested."),
    ],
)
def test_the_decision_in_one_sentence(page, sentence):
    root = parse(PAGES[page].to_html())
    assert root.one("h1").text == sentence
    title = {"T": "Drift found", "1": "Drift found", "N": "No drift found"}[sentence[0]]
    title = "Nothing tested" if sentence.startswith("Nothing") else title
    assert root.one("head").one("title").text == f"{title} · pairtile"
    assert sentence in parse(PAGES[page]._repr_html_()).text


@pytest.mark.parametrize(
    ("names", "alpha", "fields", "sentence"),
    [
        ("abcdef", 0.05, {}, "Tested one by one, 3 of 6 columns differ: "),
        ("abcdef", 1e-100, {}, "Tested one by one, 1 of 6 columns differs: a."),
        ("abc", 1e-300, {}, "no column differs: it is in how they go together."),
        ("abc", 1e-300, {"drift": False}, "Tested one by one, no column differs either."),
        ("abc", 0.05, {"drift": False}, "The joint test, which decides, finds no drift."),
        ("a", 0.05, {}, "By a test of its own, a differs."),
        ("a", 1e-300, {}, "By a test of its own, a does not differ."),
    ],
)
def test_which_columns_differ(names, alpha, fields, sentence):
    header = parse(a_drift(names, alpha=alpha, **fields).to_html()).one("header")
    assert sentence in header.all("p")[1].text


def facts(root):
    section = root["facts"]
    return dict(
        zip((e.text for e in section.all("dt")), (e.text for e in section.all("dd")), strict=True)
    )


def test_sizes_sampling_seed_and_versions():
    found = facts(parse(PAGES["no drift"].to_html()))
    assert found["Rows"] == "12,345 reference, 80 current"
    assert found["Rows used"] == "100 reference, 80 current, drawn at random"
    assert found["Seed"] == "0"
    assert found["pairtile"] == pt.__version__
    assert found["NumPy"] == np.__version__
    assert re.fullmatch(r"3\.\d+\.\d+\S*", found["Python"])
    assert "Rows used" not in (other := facts(parse(PAGES["one column"].to_html())))
    assert other["Seed"] == "none given"
    seed = 2**64 - 1  # an identifier, not an amount
    assert facts(parse(a_drift("a", seed=seed).to_html()))["Seed"] == str(seed)


def test_the_null_and_the_statistic():
    section = parse(PAGES["drift"].to_html())["null"]
    assert numbers(section.one("figcaption")) == [0.0123, 200.0]
    assert "observed 0.0123" in section.one("svg").text
    found = facts(parse(PAGES["drift"].to_html()))
    assert found["Null"] == "permutation, 200 values"
    assert "2.5×10⁻⁵ to 0.0056" in found["p-value"]
    assert facts(parse(PAGES["exact null"].to_html()))["p-value"] == "0.001"
    assert "Gaussian(sigma=1.5)" in facts(parse(PAGES["mmd"].to_html()))["Test"]


def test_a_decision_of_several_tests():
    """The command adjusts the smaller p-value of two tests; the interval is that of one."""
    found = facts(parse(a_drift(["age"], pvalue=0.002).to_html()))
    assert found["p-value"].startswith("0.001 (95 % interval")
    assert found["p-value, adjusted"] == "0.002"
    assert "p-value, adjusted" not in facts(parse(PAGES["drift"].to_html()))


def test_a_null_that_was_not_sampled():
    section = parse(PAGES["no null"].to_html())["null"]
    assert not section.all("svg")
    assert numbers(section) == [0.0123]
    assert "computed (gamma), not sampled" in section.text


def test_an_aggregated_test_kernel_by_kernel():
    root = parse(PAGES["kernels"].to_html())
    rows = body_rows(root["null"])
    for row, one in zip(rows, AGGREGATED.per_kernel, strict=True):
        assert row.children[0].text == f"Gaussian(sigma={one.kernel.sigma:.6g})"
        assert numbers(row) == [one.statistic, one.pvalue, one.adjusted_pvalue]
    assert [row.attributes.get("class") for row in rows] == ["drifted", None]
    assert facts(root)["Test"] == "MMD over many kernels, 2 of them"


def test_the_witness_is_explained_as_it_was_computed():
    assert "mean distance to the current rows" in parse(PAGES["drift"].to_html())["rows"].text
    assert "mean kernel value" in parse(PAGES["mmd"].to_html())["rows"].text
    assert "mean distance to" in parse(PAGES["kernels"].to_html())["rows"].text


def test_without_drift_no_rows_have_drifted():
    assert 'id="rows"' not in a_drift(["age"], drift=False).to_html()


def test_no_rows_no_warnings_no_section():
    page = a_drift(["age"], rows=[]).to_html()
    assert 'id="rows"' not in page
    assert "#warnings" not in page
    assert 'id="warnings"' not in page


def test_warnings_are_listed_and_pointed_to():
    root = parse(PAGES["drift"].to_html())
    assert [e.text for e in root["warnings"].all("li")] == ["scale", "few"]
    assert root.one("header").one("a").text == "2 warnings"
    long = "column " * 200
    assert parse(a_drift("a", warnings=[long]).to_html())["warnings"].one("li").text == long


def test_periods():
    result = PAGES["time"]
    root = parse(result.to_html())
    rows = body_rows(root["periods"])
    for row, period in zip(rows, result.periods, strict=True):
        assert row.children[0].text == period.label
        known = [period.n, period.statistic, period.pvalue, period.pvalue_adjusted]
        assert numbers(row) == [v for v in known if v is not None]
        if period.pvalue is None:
            assert [cell.text for cell in row.children[2:]] == ["–"] * 3
        assert (row.attributes.get("class") == "drifted") == period.drift
    sizes, listed = (p.text for p in root.one("header").all("p")[:2])
    rows = sum(period.n for period in result.periods)
    assert sizes == f"12,345 reference rows, {rows:,} rows in periods"
    assert listed.startswith("2024-W27, 2024-W29, 2024-W30, ")
    found = facts(root)
    assert found["Periods"] == "of day, weeks from Monday"
    assert (found["Test"], found["Seed"]) == ("energy distance", "0")
    assert facts(parse(PAGES["no drift in time"].to_html()))["Periods"] == "of day"


def test_periods_of_a_test_without_a_single_statistic():
    result = PAGES["kernels in time"]
    root = parse(result.to_html())
    for row, period in zip(body_rows(root["periods"]), result.periods, strict=True):
        known = [period.n, period.pvalue, period.pvalue_adjusted]
        assert numbers(row) == [v for v in known if v is not None]
        assert len(row.children) == 4
    titles = [c.one("title").text for c in root.all("circle")]
    assert titles[0] == "a: −log₁₀ p 0, p 1"
    assert titles[-1] == "f: −log₁₀ p 2.3, p 0.005"


def test_the_fragment_shows_the_largest_effects():
    result = PAGES["many columns"]
    root = parse(result._repr_html_())
    largest = sorted(result.columns, key=lambda c: c.effect, reverse=True)[:5]
    rows = body_rows(root)
    assert [row.all("bdi")[0].text for row in rows] == [c.name for c in largest]
    expected = [x for c in largest for x in (c.effect, c.pvalue_adjusted)]
    assert numbers(root.one("tbody")) == expected
    assert "75 more columns" in root.text
    assert "more columns" not in parse(PAGES["no drift"]._repr_html_()).text


# Pictures.


def steps(path):
    """Heights of the bars of an outline, from its base, and its corners from the left."""
    base = float(re.match(r"M0 ([\d.]+)", path)[1])
    pairs = re.findall(r"V([\d.-]+)H([\d.]+)", path)
    return np.array([base - float(v) for v, _ in pairs]), np.array([float(h) for _, h in pairs])


def test_a_histogram_has_the_shares_as_heights():
    reference = np.array([0.1, 0.4, 0.0, 0.5])
    current = np.array([0.0, 0.1, 0.1, 0.55])  # 0.25 are missing
    profile = Profile("number", np.array([-1.0, 0, 1, 2, 3e6]), None, reference, current)
    root = parse(svg.distribution("t", profile, svg.PAGE))
    area, line = (e.attributes["d"] for e in root.all("path")[:2])
    for path, shares in ((area, reference), (line, current)):
        heights, corners = steps(path)
        np.testing.assert_allclose(heights, 50 * shares / 0.55, atol=0.051)
        np.testing.assert_allclose(corners, 250 * np.arange(1, 5) / 4)
    assert [e.text for e in root.all("text")] == ["−1", "3,000,000"]
    assert root.one("title").text == "t, from −1 to 3,000,000"


@pytest.mark.parametrize(
    ("edges", "ends"),
    [
        (["2024-01-01", "2024-02-01"], ["2024-01-01", "2024-02-01"]),
        (["2024-01-01T06:00", "2024-01-01T18:30"], ["2024-01-01T06:00:00", "2024-01-01T18:30:00"]),
    ],
)
def test_dates_on_an_axis(edges, ends):
    edges = np.array(edges, dtype="datetime64[us]")
    profile = Profile("date", edges, None, np.ones(1), np.ones(1))
    root = parse(svg.distribution("t", profile, svg.PAGE))
    assert [e.text for e in root.all("text")] == ends


def test_bars_of_levels():
    levels = ["Berlin", "missing", "Frankfurt am Main"]
    reference, current = np.array([0.5, 0.0, 0.5]), np.array([0.2, 0.8, 0.0])
    profile = Profile("category", None, levels, reference, current)
    root = parse(svg.distribution("t", profile, svg.PAGE))
    bars = [(e.attributes["class"], float(e.attributes["width"])) for e in root.all("rect")]
    expected = np.stack([reference, current], axis=1).ravel() * 72 / 0.8
    assert [kind for kind, _ in bars] == ["bar", "mark"] * 3
    np.testing.assert_allclose([width for _, width in bars], expected, atol=0.051)
    assert [e.text for e in root.all("text")] == [
        *("Berlin", "50 → 20 %", "missing", "0 → 80 %", "Frankfurt a…", "50 → 0 %"),
    ]


@pytest.mark.parametrize(
    ("edges", "levels"),
    [(None, None), (np.zeros(0), None), (np.array([2.0, 2.0]), None), (None, [])],
)
def test_columns_without_values(edges, levels):
    """Constant ones have a picture; where nothing is present there is none, or an empty one."""
    count = 1 if edges is not None and len(edges) == 2 else 0
    profile = Profile("number", edges, levels, np.ones(count), np.ones(count))
    parse(svg.distribution("t", profile, svg.PAGE))
    result = a_drift(["a"], profiles={"a": profile})
    parse(result.to_html())
    parse(replace(result, profiles={}).to_html())


def test_all_missing_has_no_heights():
    profile = Profile("number", np.array([0.0, 1, 2]), None, np.zeros(2), np.zeros(2))
    root = parse(svg.distribution("t", profile, svg.PAGE))
    assert (steps(root.all("path")[0].attributes["d"])[0] == 0).all()


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40), st.floats(-1e12, 1e12))
def test_the_observed_statistic_stands_where_it_belongs(null, statistic):
    root = parse(svg.null_distribution(statistic, np.array(null), svg.PAGE))
    area, _, line = (e.attributes["d"] for e in root.all("path"))
    heights, _ = steps(area)
    assert (heights > 0).any()
    at = float(re.fullmatch(r"M([\d.]+) 140V8", line)[1])
    assert 0 <= at <= 720
    bins = np.flatnonzero(heights)
    if statistic > max(null):
        assert at >= 12 * bins[-1] - 0.1
    if statistic < min(null):
        assert at <= 12 * (bins[0] + 1) + 0.1


def test_counts_under_the_null():
    null = np.repeat([0.0, 10.0], [30, 10])
    heights, _ = steps(
        parse(svg.null_distribution(5.0, null, svg.PAGE)).all("path")[0].attributes["d"]
    )
    assert sorted(heights[heights > 0]) == pytest.approx([110 / 3, 110], abs=0.051)


def test_a_series_has_gaps_and_marks():
    result = over_time([f"w{i}" for i in range(12)])
    root = parse(svg.series(result.periods, svg.PAGE))
    tested = [p for p in result.periods if p.pvalue is not None]
    circles = root.all("circle")
    expected = ["mark" if p.drift else "bar" for p in tested]
    assert [c.attributes["class"] for c in circles] == expected
    heights = np.array([150 - float(c.attributes["cy"]) for c in circles])
    largest = max(p.statistic for p in tested)
    np.testing.assert_allclose(heights, [128 * p.statistic / largest for p in tested], atol=0.051)
    across = [float(c.attributes["cx"]) for c in circles]
    assert across == sorted(across)
    assert root.all("path")[1].attributes["d"].count("M") == 3
    assert circles[0].one("title").text == "w0: statistic 0.01, p 1"


def test_a_series_may_go_below_zero():
    first, second = over_time("ab").periods
    periods = [first._replace(statistic=-1.0), second._replace(statistic=1.0)]
    heights = [c.attributes["cy"] for c in parse(svg.series(periods, svg.PAGE)).all("circle")]
    assert heights == ["150.0", "22.0"]


# Of real tables.


def a_table(n, shift, rng):
    """Numbers, dates, flags, categories and texts, some missing; the first three drift."""
    days = np.datetime64("2024-01-01") + rng.integers(0, 60, n) + 30 * shift
    return pa.table(
        {
            "income": rng.lognormal(10 + shift, 0.5, n),
            "signup": pa.array(days),
            "city": rng.choice(["Berlin", "Köln", "<b>"][: 2 + shift], n),
            "score": pa.array(rng.normal(size=n), mask=rng.random(n) < 0.1),
            "vip": pa.array(rng.random(n) < 0.3),
            "note": [f"note {i}" for i in rng.integers(0, 300, n)],
            "empty": pa.nulls(n, pa.float64()),
            "constant": np.full(n, 3.5),
        }
    )


@pytest.mark.parametrize("test", ["energy", "mmd", "aggregated", "sliced"])
def test_real_tables(test):
    rng = np.random.default_rng(8)
    tables = a_table(120, 0, rng), a_table(90, 1, rng)
    result = pt.drift(*tables, test=test, n_permutations=199, rng=3)
    root = parse(result.to_html())
    assert root.one("h1").text.startswith("The current rows have drifted")
    assert numbers(root.one("h1")) == [result.pvalue, 0.05]
    assert {e.text for e in root.one("header").all("bdi")} == {"income", "signup", "city"}
    rows = body_rows(root["columns"])
    pictured = [row.one("bdi").text for row in rows if row.all("svg")]
    assert sorted(pictured) == ["city", "constant", "income", "note", "score", "signup", "vip"]
    heads = [row.children[0].text for row in body_rows(root["rows"])]
    assert heads == [str(row.label) for row in result.rows]
    assert [e.text for e in root["warnings"].all("li")] == result.warnings
    assert facts(root)["Seed"] == "3"
    assert len(result._repr_html_()) < 15_000


@given(pairs_of_tables())
def test_any_tables(drawn):
    """Empty names, columns without values, control characters, vectors: every column is there."""
    first, second, types = drawn
    result = pt.drift(arrow(first, types), arrow(second, types), n_permutations=19, rng=0)
    rows = body_rows(parse(result.to_html())["columns"])
    shown = [float(row.children[2].one("data").attributes["value"]) for row in rows]
    assert shown == sorted((column.effect for column in result.columns), reverse=True)
    parse(result._repr_html_())


def test_real_tables_over_time():
    rng = np.random.default_rng(9)
    reference = a_table(120, 0, rng)
    later = pa.concat_tables([a_table(80, 0, rng), a_table(60, 1, rng), a_table(5, 1, rng)])
    week = np.repeat(["first", "second", "third"], [80, 60, 5])
    result = pt.drift_over_time(
        reference, later.append_column("week", pa.array(week)), "week", rng=0
    )
    root = parse(result.to_html())
    assert root.one("h1").text == "1 of 2 periods has drifted from the reference, at level 0.05."
    assert root.one("header").all("p")[1].text == "second."
    assert len(root.all("circle")) == 2
    assert parse(result._repr_html_()).all("circle")


# The file.


@pytest.mark.parametrize("kind", [str, Path])
def test_written_to_a_path(kind, tmp_path):
    path = tmp_path / "größe.html"
    result = PAGES["hostile"]
    assert result.to_html(kind(path)) is None
    assert path.read_text(encoding="utf-8") == result.to_html()


def test_where_it_cannot_be_written(tmp_path):
    with pytest.raises(FileNotFoundError):
        PAGES["drift"].to_html(tmp_path / "none" / "report.html")
    with pytest.raises(TypeError, match=r"path must be a str or a path, .* got 3"):
        PAGES["drift"].to_html(3)


def test_the_names_that_are_shown_are_whole():
    name = "a column with a name of some length, as forms have them"
    row = body_rows(parse(a_drift([name]).to_html())["columns"])[0]
    assert row.one("bdi").text == name == plain(name)
