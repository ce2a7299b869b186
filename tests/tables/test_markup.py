"""Names and numbers as the text of a page."""

import html
import math
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pages import parse, value
from pairtile.tables import markup

pytestmark = pytest.mark.host
ANY_TEXT = st.text(st.characters(exclude_categories=[]))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (0, "0"),
        (0.0, "0"),
        (20_000, "20,000"),
        (12_345_678, "12,345,678"),
        (0.05, "0.05"),
        (-0.25, "−0.25"),
        (0.12345, "0.123"),
        (1234.56, "1,235"),
        (99.96, "100"),
        (0.99999, "1"),
        (0.0001, "0.0001"),
        (0.00001234, "1.23×10⁻⁵"),
        (1e-200, "1×10⁻²⁰⁰"),
        (-2.5e9, "−2.5×10⁹"),
        (9_999_999.0, "1×10⁷"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_numbers(given, shown):
    assert markup.number(given) == shown


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_a_number_is_shown_to_three_digits(number):
    assert value(markup.number(number)) == pytest.approx(number, rel=0.0051, abs=0)


@given(st.one_of(st.floats(allow_nan=False), st.integers(-(10**12), 10**12)))
def test_data_keeps_all_digits(number):
    element = parse(markup.data(number)).one("data")
    assert float(element.attributes["value"]) == number
    assert element.text == markup.number(number)


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.14, "14 %"),
        (0.0123, "1.2 %"),
        (0.0001, "<0.1 %"),
        (0.9999, ">99.9 %"),
    ],
)
def test_percent(share, shown):
    assert markup.percent(share) == shown


@given(ANY_TEXT)
def test_any_text_becomes_one_valid_line(words):
    shown = markup.plain(words)
    shown.encode()  # no half of a surrogate pair
    assert all(unicodedata.category(c) not in ("Cc", "Zl", "Zp") for c in shown)
    assert len(shown) <= 120
    if words.isprintable() and len(words) <= 120:
        assert shown == words


@given(ANY_TEXT)
@example("<a b='c' d=\"e\">&amp;")
def test_escaping_is_undone_by_a_browser(words):
    assert html.unescape(markup.text(words)) == markup.plain(words)
    assert not set(markup.text(words)) & set("<>\"'")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("a\x00b", "a␀b"),
        ("line\nbreak\r\n\u2028\u2029", "line break    "),
        ("\x7f\x85\ud83d\uffff", "␡���"),
        ("é 東京 🙂", "é 東京 🙂"),
        ("x" * 121, "x" * 119 + "…"),
        (("a", 1), "('a', 1)"),
    ],
)
def test_plain(words, shown):
    assert markup.plain(words) == shown


@pytest.mark.parametrize(
    ("words", "shown"),
    [("Berlin", "Berlin"), ("Frankfurt am Main", "Frankfurt…"), ("東京都千代田区", "東京都千…")],
)
def test_fitting_counts_wide_letters_twice(words, shown):
    assert markup.fitting(words, 10) == shown


@given(ANY_TEXT, st.integers(1, 30))
def test_fitting_fits(words, width):
    shown = markup.fitting(words, width)
    room = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in shown)
    assert room <= width or shown == "…"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d"], "a, b and 2 more"),
        (["", " "], "no name and no name"),
    ],
)
def test_lists(names, text):
    assert parse(markup.listed(names, 3)).text == text
