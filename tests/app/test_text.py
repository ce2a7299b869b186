"""Text files of the command: dialects, headers and kinds of columns, by both readers.

What a file says is written beside it; pandas and pyarrow are asked too, where they take the same
options. Every file is read by pyarrow's reader and by the standard library's, and the two agree.
"""

from __future__ import annotations

import csv
import gzip
import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairtile.app import text, typed
from pairtile.app.errors import InputError
from pairtile.app.io import Reading, load

NAN = float("nan")


def written(folder, content, name="x.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def by_both(monkeypatch, path, **reading):
    """The table by pyarrow's reader, which is the same by the standard library's."""
    tables = []
    for reader in ("pyarrow", "csv"):
        if reader == "pyarrow":
            pytest.importorskip("pyarrow", reason="the faster reader")
        with monkeypatch.context() as patch:
            if reader == "csv":
                patch.setattr(text, "_by_pyarrow", lambda *arguments: None)
            try:
                tables.append(load(path, Reading(**reading)))
            except InputError as error:
                tables.append(error)
    first, second = tables
    if isinstance(first, InputError):
        assert str(first) == str(second)
        assert "not a readable" not in str(first)  # what a parser of other files says
        raise first
    assert not isinstance(second, InputError), second
    assert_same(first, second)
    return first


def assert_same(first, second):
    assert (first.names, first.rows, first.notes) == (second.names, second.rows, second.notes)
    for a, b in zip(first.columns, second.columns, strict=True):
        assert (a.name, a.dtype, a.kind) == (b.name, b.dtype, b.kind)
        np.testing.assert_array_equal(a.values, b.values)
        assert a.values.dtype == b.values.dtype
        np.testing.assert_array_equal(a.missing, b.missing)


def contents(table):
    """{name: (kind, list of values, None where missing)}."""
    out = {}
    for column in table.columns:
        values = column.values.tolist()
        if column.missing is not None:
            values = [None if m else v for v, m in zip(values, column.missing, strict=True)]
        out[column.name] = (column.kind, values)
    return out


NUMBERS = {"a": ("number", [1.0, 3.0, 5.5]), "b": ("number", [2.0, 4.0, -7.25])}
DIALECTS = {
    "commas": "a,b\n1,2\n3,4\n5.5,-7.25\n",
    "semicolons": "a;b\n1;2\n3;4\n5.5;-7.25\n",
    "semicolons and decimal commas": "a;b\n1;2\n3;4\n5,5;-7,25\n",
    "tabs and decimal commas": "a\tb\n1\t2\n3\t4\n5,5\t-7,25\n",
    "tabs": "a\tb\n1\t2\n3\t4\n5.5\t-7.25\n",
    "bars": "a|b\n1|2\n3|4\n5.5|-7.25\n",
    "blanks": "a b\n1 2\n3 4\n5.5 -7.25\n",
    "many blanks": "  a  b\n  1  2\n  3  4 \n5.5 -7.25\n",
    "line of Excel": "sep=;\na;b\n1;2\n3;4\n5.5;-7.25\n",
    "line of Excel, quoted": '"sep=|"\r\na|b\r\n1|2\r\n3|4\r\n5.5|-7.25\r\n',
    "quotes": '"a","b"\n"1","2"\n"3","4"\n"5.5","-7.25"\n',
    "quotes and decimal commas": '"a","b"\n"1","2"\n"3","4"\n"5,5","-7,25"\n',
    "carriage returns": "a,b\r1,2\r3,4\r5.5,-7.25\r",
    "Windows": "a,b\r\n1,2\r\n3,4\r\n5.5,-7.25\r\n",
    "empty lines": "\n\na,b\n1,2\n\n3,4\n5.5,-7.25\n\n",
    "no line end": "a,b\n1,2\n3,4\n5.5,-7.25",
    "blanks around": " a , b\n1, 2\n 3,4 \n5.5 , -7.25\n",
    "forms of numbers": "a,b\n+1,2.\n30e-1,4E0\n55.e-1,-0.725e1\n",
}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects(tmp_path, monkeypatch, dialect, encoding):
    path = written(tmp_path, DIALECTS[dialect].encode(encoding))
    assert contents(by_both(monkeypatch, path)) == NUMBERS


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_not_usual_is_said(tmp_path, monkeypatch, dialect):
    notes = " ".join(by_both(monkeypatch, written(tmp_path, DIALECTS[dialect])).notes)
    found = [word for word in text.SEPARATORS.values() if f"separated by {word} (--sep)" in notes]
    expected = [word for word in text.SEPARATORS.values() if word in dialect and word != "commas"]
    if dialect in ("commas", "blanks around") or "decimal" in dialect:
        expected = [word for word in expected if dialect.startswith(word)]
    assert found == [e for e in expected if f"{e} around" not in dialect]
    assert ("begin with a comma (--decimal)" in notes) == ("decimal" in dialect)


def test_options_say_what_is_not_found(tmp_path, monkeypatch):
    path = written(tmp_path, "a:b\n1,5:2\n3:4\n".encode("cp500"))
    table = by_both(monkeypatch, path, sep=":", decimal=",", encoding="cp500")
    assert contents(table) == {"a": ("number", [1.5, 3.0]), "b": ("number", [2.0, 4.0])}
    assert table.notes == []
    path = written(tmp_path, "Größe,Ort\n1,Köln\n2,Zürich\n".encode("cp1252"))
    table = by_both(monkeypatch, path, encoding="cp1252")
    assert contents(table)["Ort"] == ("text", ["Köln", "Zürich"])
    path = written(tmp_path, "Größe,Ort\n1,Köln\n2,Zürich\n".encode("utf-8-sig"))
    assert contents(by_both(monkeypatch, path, encoding="cp1252")) == contents(table)
    path = written(tmp_path, "a\n1,5\n2,5\n")
    assert contents(by_both(monkeypatch, path, decimal=",")) == {"a": ("number", [1.5, 2.5])}


@pytest.mark.parametrize("name", ["x.tsv", "x.TSV", "x.tsv.gz"])
def test_tsv_and_gz(tmp_path, monkeypatch, name):
    content = b"a\tb\n1,5\tx;y\n2,5\tz\n"
    path = written(tmp_path, gzip.compress(content) if name.endswith("gz") else content, name)
    expected = {"a": ("number", [1.5, 2.5]), "b": ("text", ["x;y", "z"])}
    assert contents(by_both(monkeypatch, path)) == expected


@pytest.mark.parametrize(
    ("content", "kind", "values"),
    [
        ("1\nNA\n-\n", "number", [1.0, None, None]),
        ("none\n2\n#N/A\n", "number", [None, 2.0, None]),
        ("1e400\n1\n", "number", [float("inf"), 1.0]),
        ("9007199254740993\n1\n", "number", [9007199254740992.0, 1.0]),
        ("0.1\n3.141592653589793\n2.2250738585072014e-308\n", "number", None),
        ("True\nfalse\nTRUE\n", "bool", [True, False, True]),
        ("true\nNA\n", "bool", [True, None]),
        ("true\n1\n", "text", ["true", "1"]),
        ("none\nmild\nNone\n", "text", ["none", "mild", None]),
        ("none\nnone\n", "text", ["none", "none"]),
        ("NA\nnan\n", "number", [None, None]),
        ("0x10\n1\n", "text", ["0x10", "1"]),
        ("1_000\n1\n", "text", ["1_000", "1"]),
        ("nan(1)\n1\n", "text", ["nan(1)", "1"]),
        ("\u0661\n1\n", "text", ["\u0661", "1"]),  # a digit, but not of numbers in files
        (" x\nx \n", "text", ["x", "x"]),
    ],
)
def test_kinds(tmp_path, monkeypatch, content, kind, values):
    found = contents(by_both(monkeypatch, written(tmp_path, "word\n" + content)))["word"]
    if values is None:
        values = [float(line) for line in content.split()]
    assert found == (kind, values)


@pytest.mark.parametrize(
    ("field", "instant"),
    [
        ("2024-02-29", "2024-02-29T00:00"),
        ("2024-02", "2024-02-01T00:00"),
        ("2024-02-29T12:30", "2024-02-29T12:30"),
        ("2024-02-29 12:30:15.25", "2024-02-29T12:30:15.25"),
        ("2024-02-29T12:30:15Z", "2024-02-29T12:30:15"),
        ("2024-02-29T12:30:15+02:00", "2024-02-29T10:30:15"),
        ("2024-02-29T00:30-0130", "2024-02-29T02:00"),
        ("0001-01-01", "0001-01-01T00:00"),
    ],
)
def test_dates_are_iso_8601(tmp_path, monkeypatch, field, instant):
    (column,) = by_both(monkeypatch, written(tmp_path, f"when\n{field}\nNaT\n{field}\n")).columns
    assert (column.kind, column.values.dtype) == ("date", "datetime64[us]")
    assert column.values[0] == column.values[2] == np.datetime64(instant)
    np.testing.assert_array_equal(column.missing, [False, True, False])


@pytest.mark.parametrize(
    "field",
    ["2023-02-29", "2024-13-01", "29.02.2024", "2024-2-9", "2024-02-29T25:00", "2024-W09-4"],
)
def test_other_dates_are_words(tmp_path, monkeypatch, field):
    table = by_both(monkeypatch, written(tmp_path, f"when\n{field}\n2024-01-01\n"))
    assert contents(table)["when"][0] == "text"


def test_words_that_look_like_something_else_are_pointed_out(tmp_path, monkeypatch):
    path = written(tmp_path, "code,when,colour\n1,1.2.2024,red\n2,3.2.2024,red\n7A,4.2.2024,blue\n")
    notes = by_both(monkeypatch, path).notes
    assert len(notes) == 2
    assert (
        "column 'code' is compared as words: 2 of its rows hold numbers, but row 2 holds '7A'"
        in notes[0]
    )
    assert "column 'when' is compared as words: '1.2.2024' is no date of ISO 8601" in notes[1]


# --- headers -----------------------------------------------------------------------------------


def table_text(rows):
    return "\n".join(",".join(map(str, row)) for row in rows) + "\n"


def fractions(n, d):
    return np.round(np.random.default_rng(3).normal(size=(n, d)), 4).tolist()


def counts(n, d):
    return np.random.default_rng(4).integers(0, 9, size=(n, d)).tolist()


@pytest.mark.parametrize(
    ("first", "beneath", "is_header", "said"),
    [
        (range(3), fractions(6, 3), True, True),  # pandas' own
        (range(40), counts(200, 40), True, True),
        (range(1990, 1996), counts(9, 6), True, True),  # years
        ((1990, 2000, 2010), fractions(5, 3), True, True),
        (["", 0, 1, 2], [[i, *row] for i, row in enumerate(fractions(5, 3))], True, True),
        ([0], fractions(5, 1), True, True),
        ([5], fractions(5, 1), False, False),
        (range(3), counts(6, 3), False, True),  # may be either
        (range(6), [range(6), *counts(6, 6)], False, False),  # all rows can be such
        ((3, 1, 2), fractions(5, 3), False, False),
        ((0.5, 1.5), fractions(5, 2), False, False),
        ((1, 2), [(3, 4), (5, 7)], False, False),
        (("Na", "K"), fractions(5, 2), True, False),
        (("nan", "nan"), fractions(5, 2), False, False),
        (("a", 1), fractions(5, 2), True, False),
        (("2024-01-01", 1), [("2024-01-02", 2)], False, False),
        (("True", 1), [("False", 2)], False, False),
    ],
)
def test_headers(tmp_path, monkeypatch, first, beneath, is_header, said):
    table = by_both(monkeypatch, written(tmp_path, table_text([first, *beneath])))
    assert table.rows == len(beneath) + (not is_header)
    assert table.named == is_header
    if is_header:
        assert table.names == [str(name) or "Unnamed: 0" for name in first]
    assert any("the first row (" in note for note in table.notes) == said


def test_a_lone_word_is_a_header(tmp_path, monkeypatch):
    table = by_both(monkeypatch, written(tmp_path, "Na\n0.1\n0.2\n"))
    assert contents(table) == {"Na": ("number", [0.1, 0.2])}


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("sep=;\n", "the file is empty"),
        ("a,b\n", "a header and no rows"),
        ("a,b\n1,2\n3\n", "row 1 has 1 fields, expected 2 (line 3; fields separated by commas"),
        ("1,2\n3,4,5\n", "row 1 has 3 fields, expected 2 (line 2;"),
        (
            "sep=;\na;b\n\n1;2\n1\n",
            "row 1 has 1 fields, expected 2 (line 5; fields separated by semicolons",
        ),
        ("a,b\n1,2,3\n4,5,6\n", "the header names 2 columns, the rows have 3 fields (line 2;"),
        ('a,b\n1,2\n3,"4\n5,6\n', "a quote in line 3 or beneath does not end"),
        ("a,b,a\n1,2,3\n4,5,6\n", "more than one column is called 'a'"),
        ("p,q;r\np,q;r\n", "fields may be separated by commas or semicolons: say which with --sep"),
        (
            "a;b\n1,5;2.5\n2,5;3\n",
            "column 'b' has decimal points (2.5) and column 'a' commas (1,5)",
        ),
        (
            'a,b\n"1,234",1\n"2,500",2\n',
            "'1,234', with a decimal comma or with its thousands set apart",
        ),
        ('a,b\n"1,234,567",1.5\n900,2\n', "row 0 holds '1,234,567', which is a number only if"),
        ('a;b\n"1.234,5";1\n"2,5";2\n', "without marks of thousands, pass --decimal, or leave"),
        (
            "é,b\n1,2\n".encode("cp1252"),
            "not text in utf-8, line 1 has the byte 0xe9; name its encoding",
        ),
        ("a,b\n1,2\n3,4\n".encode("utf-16-le"), "pass --encoding utf-16-le"),
        (b"\xff\xfea", "not text in utf-16"),
    ],
)
def test_refused(tmp_path, monkeypatch, content, message):
    path = written(tmp_path, content)
    with pytest.raises(InputError) as error:
        by_both(monkeypatch, path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_options_that_contradict_the_file(tmp_path, monkeypatch):
    path = written(tmp_path, "a;b\n1,5;2\n2,5;3\n")
    with pytest.raises(InputError, match="row 0 holds '1,5', which is a number only if"):
        by_both(monkeypatch, path, decimal=".")
    with pytest.raises(InputError, match="not text in ascii, line 1 has the byte 0xc3"):
        by_both(monkeypatch, written(tmp_path, "ä,b\n1,2\n"), encoding="ascii")


def test_a_long_field_and_a_long_row(tmp_path, monkeypatch):
    """Longer than what the readers take at once."""
    words = ["w" * 200_000, "v"]
    table = by_both(monkeypatch, written(tmp_path, "a,b\n" + "\n".join(f"{w},1" for w in words)))
    assert contents(table)["a"] == ("text", words)
    rows = np.arange(2 * 3000) / 7
    path = written(tmp_path, table_text(rows.reshape(2, -1).tolist()))
    monkeypatch.setattr(text, "_BLOCK_BYTES", 1 << 12)  # pyarrow gives up
    assert [c.values.tolist() for c in by_both(monkeypatch, path).columns] == rows.reshape(
        2, -1
    ).T.tolist()
    assert csv.field_size_limit() == 131072


# --- against other readers ---------------------------------------------------------------------

ALPHABET = "aZ0é漢\U0001f600,;|\"'\n\t #-\u2028"
CELLS = st.one_of(
    st.none(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**6), 10**6),
)


@st.composite
def tables(draw):
    """Names that no header rule and no trimming touches, and columns of numbers or words."""
    d = draw(st.integers(1, 4))
    texts = st.text(ALPHABET, max_size=6)
    names = draw(st.lists(texts.map(lambda s: f"n{s}n"), min_size=d, max_size=d, unique=True))
    n = draw(st.integers(2, 6))
    kinds = [draw(st.sampled_from(["number", "word"])) for _ in range(d)]
    cells = {"number": CELLS, "word": texts.map(lambda s: f"w{s}w")}
    data = [draw(st.lists(cells[kind], min_size=n, max_size=n)) for kind in kinds]
    return names, kinds, data


@given(table=tables(), sep=st.sampled_from(",;\t|"))
def test_round_trips(tmp_path_factory, table, sep):
    names, kinds, data = table
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=sep)
    writer.writerow(names)
    for row in zip(*data, strict=True):
        # One empty field is an empty line, which is no row: it is written as what it means.
        writer.writerow(["NA" if value is None else value for value in row])
    path = written(tmp_path_factory.mktemp("csv"), buffer.getvalue())
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = by_both(monkeypatch, path, sep=sep, decimal=".")
    assert found.names == names
    for (kind, values), wanted, expected in zip(contents(found).values(), kinds, data, strict=True):
        assert kind == ("number" if wanted == "number" else "text")
        assert values == [v if v is None or wanted == "word" else float(v) for v in expected]


@given(content=st.text(st.sampled_from('ab1,,;"" \n\r'), max_size=16))
def test_both_readers_agree_on_anything(tmp_path_factory, content):
    path = written(tmp_path_factory.mktemp("csv"), content)
    with pytest.MonkeyPatch.context() as monkeypatch, suppress(InputError):
        by_both(monkeypatch, path, sep=",", decimal=".")


@given(fields=st.lists(st.text(st.sampled_from("0123456789+-.,eExinfa_ "), max_size=7), min_size=1))
def test_both_ways_to_read_numbers_agree(fields):
    pa = pytest.importorskip("pyarrow", reason="the faster reader")
    codes = np.arange(len(fields))
    for decimal in ".,":
        slow = typed._numbers(text.Strings(fields, codes), decimal)
        fast = typed._numbers(text.Strings(pa.array(fields, pa.string()), codes), decimal)
        assert (slow is None) == (fast is None)
        if slow is not None:
            np.testing.assert_array_equal(slow[0], fast[0])
            np.testing.assert_array_equal(slow[1], fast[1])


@pytest.mark.oracle("pandas")
@pytest.mark.parametrize("dialect", [d for d in DIALECTS if "blanks" not in d and "Excel" not in d])
def test_pandas_reads_the_same(tmp_path, monkeypatch, dialect):
    import pandas as pd

    path = written(tmp_path, DIALECTS[dialect])
    sep = {"semi": ";", "tabs": "\t", "bars": "|"}.get(dialect[:4], ",")
    frame = pd.read_csv(path, sep=sep, decimal="," if "decimal" in dialect else ".")
    for column in by_both(monkeypatch, path).columns:
        np.testing.assert_array_equal(column.values, frame[column.name])


@pytest.mark.oracle("pandas")
def test_a_frame_that_pandas_wrote(tmp_path, monkeypatch):
    import pandas as pd

    rng = np.random.default_rng(8)
    frame = pd.DataFrame(
        {
            "number, with comma": rng.normal(size=50),
            'a "quoted" name': rng.integers(0, 9, 50),
            "flag": rng.random(50) < 0.5,
            "colour": rng.choice(["red", "blue, dark", 'the "green"', "über\nall"], 50),
            "when": pd.date_range("2024-01-01", periods=50, freq="h"),
        }
    )
    frame.loc[[3, 9], "number, with comma"] = np.nan
    frame.loc[4, "colour"] = None
    path = tmp_path / "x.csv"
    for options in ({}, {"sep": ";", "decimal": ","}, {"quoting": csv.QUOTE_ALL}):
        frame.to_csv(path, index=False, **options)
        table = by_both(monkeypatch, path)
        assert table.names == list(frame)
        assert [c.kind for c in table.columns] == ["number", "number", "bool", "text", "date"]
        for column in table.columns:
            expected = frame[column.name]
            missing = expected.isna().to_numpy()
            np.testing.assert_array_equal(
                missing, column.missing if column.missing is not None else np.zeros(50, bool)
            )
            assert (column.values[~missing] == expected.to_numpy()[~missing]).all()
