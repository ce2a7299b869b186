"""Two tables made to fit: which columns are compared, and as what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from files import save, save_columns
from pairtile._front.frames import Column
from pairtile.app.errors import InputError
from pairtile.app.io import Reading, load
from pairtile.app.pair import Choice, fit
from pairtile.app.table import Table

ROWS = np.random.default_rng(5).normal(size=(6, 3))
ALL = Choice()


def table(folder, name, content):
    """What the command reads from a file of that content."""
    path = folder / name
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, dict):
        save_columns(path, content)
    else:
        save(path, content)
    return load(path, Reading())


def refused(*arguments, missing=True):
    with pytest.raises(InputError) as error:
        fit(*arguments, missing=missing)
    return str(error.value)


def named(names, rows=2):
    """A table whose columns hold their places in it."""
    columns = [
        Column(name, "float64", "number", np.full(rows, float(j)), None)
        for j, name in enumerate(names)
    ]
    return Table("file", list(names), True, rows, list(range(len(names))), columns=columns)


@given(names=st.lists(st.text(min_size=1, max_size=3), min_size=1, unique=True), data=st.data())
def test_columns_are_matched_by_name(names, data):
    other = data.draw(st.permutations(names))
    first, second, notes = fit(named(names), named(other), ALL, missing=True)
    assert first.names == second.names == names
    assert [c.name for c in second.columns] == names
    assert [c.values[0] for c in second.columns] == [other.index(name) for name in names]
    assert notes == []


def test_columns_of_one_file_alone(tmp_path):
    first, second = named(["a", "b", "c"]), named(["b", "d", "a"])
    message = refused(first, second, ALL)
    assert "must have the columns of file (REFERENCE), but lacks 'c' and has 'd' besides" in message
    assert "--columns and --drop choose among them" in message
    for choice in (Choice(["b", "a"]), Choice(None, ["c", "d"]), Choice(["a", "b", "c"], ["c"])):
        if choice.columns == ["a", "b", "c"]:
            assert "no column 'c' (--columns); it has 'b', 'd', 'a'" in refused(
                first, second, choice
            )
            continue
        assert fit(first, second, choice, missing=True)[1].names == ["a", "b"]
    assert "no column 'e' in either file (--drop)" in refused(first, second, Choice(None, ["e"]))
    assert refused(first, first, Choice(None, ["a", "b", "c"])) == "no column is left to compare"


def test_files_without_names(tmp_path):
    x, y = table(tmp_path, "x.npy", ROWS), table(tmp_path, "y.csv", "a,b,c\n1,2,3\n4,5,6\n")
    for pair in ((x, y), (y, x)):
        assert [t.names for t in fit(*pair, ALL, missing=True)[:2]] == [["a", "b", "c"]] * 2
        assert [t.names for t in fit(*pair, Choice(["c"]), missing=True)[:2]] == [["c"]] * 2
    first, *_ = fit(x, y, Choice(["c", "a"]), missing=True)
    np.testing.assert_array_equal(first.columns[1].values, ROWS[:, 2])
    narrow = table(tmp_path, "z.npy", ROWS[:, :2])
    assert "REFERENCE has 3 features per row, CURRENT has 2" in refused(x, narrow, ALL)
    assert "y.csv has 3 features per row" in refused(narrow, y, ALL)
    header_less = table(tmp_path, "z.csv", "1,2.5,3\n4,5,6\n")
    assert fit(header_less, x, ALL, missing=True)[0].names == ["x0", "x1", "x2"]


# --- saved indexes -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "Unnamed: 0.1"])
@pytest.mark.parametrize("first", [0, 60, -3])
def test_a_saved_index_is_left_out_and_that_is_said(tmp_path, name, first):
    lines = [f"{first + i},{i * i / 7},{i % 2}" for i in range(5)]
    x = table(tmp_path, "x.csv", "\n".join([f"{name},a,b", *lines]))
    y = table(tmp_path, "y.csv", "b,a\n0,1\n1,2\n")
    for pair in ((x, y), (y, x)):
        *tables, notes = fit(*pair, ALL, missing=True)
        assert {tuple(sorted(t.names)) for t in tables} == {("a", "b")}
        assert len(notes) == 1
        assert "x.csv: column 'Unnamed: 0" in notes[0]
        assert "consecutive integers, as a saved index does, and is left out (--columns" in notes[0]
    kept, _, notes = fit(x, x, Choice([name or "Unnamed: 0", "a"]), missing=True)
    assert (kept.names, notes) == ([name or "Unnamed: 0", "a"], [])


def test_a_saved_index_in_parquet(tmp_path):
    x = table(tmp_path, "x.parquet", {"Unnamed: 0": [0, 1, 2], "a": [1.0, 2.0, 4.0]})
    first, _, notes = fit(x, x, ALL, missing=True)
    assert (first.names, len(notes)) == (["a"], 2)


@pytest.mark.parametrize("values", ["0,1,3", "0,0,1", "2,1,0", "0.5,1.5,2.5", "p,q,r", "0,,2"])
def test_a_column_without_a_name_that_may_be_a_feature_is_refused(tmp_path, values):
    lines = [f"{i},{value}" for i, value in enumerate(values.split(","))]
    x = table(tmp_path, "x.csv", "\n".join(["a,", *lines]))
    message = refused(x, x, ALL)
    assert "x.csv: column 1 has no name in the header; if it is a saved index" in message
    assert "--drop 'Unnamed: 1'" in message
    assert fit(x, x, Choice(None, ["Unnamed: 1"]), missing=True)[0].names == ["a"]
    assert fit(x, x, Choice(["a"]), missing=True)[0].names == ["a"]
    assert fit(x, x, Choice(["Unnamed: 1"]), missing=True)[0].names == ["Unnamed: 1"]


def test_an_empty_column_without_a_name_is_left_out(tmp_path):
    x = table(tmp_path, "x.csv", "a,b,\n1,2,\n3,4,\n")
    first, _, notes = fit(x, x, ALL, missing=True)
    assert first.names == ["a", "b"]
    assert "column 'Unnamed: 2' holds nothing and is left out" in notes[0]


# --- kinds -------------------------------------------------------------------------------------


def kinds(x, y):
    first, second, notes = fit(x, y, ALL, missing=True)
    return [c.kind for t in (first, second) for c in t.columns], notes, (first, second)


def test_codes_that_are_numbers_in_one_file_are_words_in_both(tmp_path):
    x = table(tmp_path, "x.csv", "code,n\n007,1\n12,2\n")
    y = table(tmp_path, "y.csv", "code,n\n12A,1\n007,2\n")
    found, notes, (first, second) = kinds(x, y)
    assert found == ["text", "number"] * 2
    assert first.columns[0].values.tolist() == ["007", "12"]
    assert second.columns[0].values.tolist() == ["12A", "007"]
    assert "column 'code' is compared as words, for it is of kind number in" in notes[-1]
    assert kinds(y, x)[0] == found


def test_dates_beside_words_are_words(tmp_path):
    x = table(tmp_path, "x.csv", "when\n2024-01-01\n2024-01-02\n")
    y = table(tmp_path, "y.csv", "when\nnever\n2024-01-02\n")
    assert kinds(x, y)[0] == ["text", "text"]
    z = table(tmp_path, "z.csv", "when\n20240101\n20240102\n")
    assert kinds(x, z)[0] == ["text", "text"]


@pytest.mark.parametrize("values", [["true", "false"], ["2024-01-01", "2024-01-02"], ["p", "q"]])
def test_a_column_that_is_empty_in_one_file_goes_with_any_kind(tmp_path, values):
    x = table(tmp_path, "x.csv", f"a,b\n{values[0]},1\n{values[1]},2\n")
    y = table(tmp_path, "y.csv", "a,b\n,1\nNA,2\n")
    found, notes, (first, second) = kinds(x, y)
    assert (found[0], notes) == (x.columns[0].kind, [])
    assert second.columns[0].missing.all()
    assert first.columns[0].values.tolist() == x.columns[0].values.tolist()
    assert kinds(y, x)[1] == []


def test_lists_of_two_lengths(tmp_path):
    x = table(tmp_path, "x.parquet", {"a": [[1.0, 2.0], [3.0, 4.0]]})
    y = table(tmp_path, "y.parquet", {"a": [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]})
    assert "column 'a' holds lists of 2 numbers in" in refused(x, y, ALL)


def test_a_category_beside_numbers_of_a_text_file(tmp_path):
    x = table(tmp_path, "x.parquet", {"code": ["7", "8", "9A"]})
    y = table(tmp_path, "y.csv", "code\n7\n8\n")
    assert kinds(x, y)[0] == ["text", "text"]
    assert kinds(y, x)[0] == ["text", "text"]


@pytest.mark.parametrize("values", [["p", "q"], [[1.0, 2.0], [3.0, 4.0]]])
def test_kinds_that_cannot_be_compared(tmp_path, values):
    x = table(tmp_path, "x.parquet", {"a": [1.5, 2.5]})
    y = table(tmp_path, "y.parquet", {"a": values})
    message = refused(x, y, ALL)
    assert "column 'a' is of kind number in" in message
    assert message.endswith("y.parquet: these cannot be compared")


def test_flags_and_numbers_are_alike(tmp_path):
    x, y = table(tmp_path, "x.csv", "a\ntrue\nfalse\n"), table(tmp_path, "y.csv", "a\n1\n0\n")
    assert kinds(x, y)[:2] == (["bool", "number"], [])


def test_what_is_left_out_is_not_looked_at(tmp_path):
    columns = {"a": [1.0, 2.0], "b": [b"x", b"y"], "c": [1.0, float("inf")], "d": [None, 1.0]}
    x = table(tmp_path, "x.parquet", columns)
    assert fit(x, x, Choice(["a"]), missing=False)[0].names == ["a"]
    assert "column 'b' (binary) cannot be compared" in refused(x, x, Choice(None, ["c"]))
    assert "row 1: infinite value (inf) in column 'c'" in refused(x, x, Choice(None, ["b"]))
    without = Choice(["a", "d"])
    assert fit(x, x, without, missing=True)[0].names == ["a", "d"]
    assert "row 0: missing value in column 'd'" in refused(x, x, without, missing=False)
