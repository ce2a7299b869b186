"""Tables as matrices: by hand, by any package, whatever names, orders and holes there are."""

from __future__ import annotations

import datetime as dt
import importlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pairtile as pt
from mixed_tables import arrow, pairs_of_tables

OLD = pa.table(
    {
        "age": pa.array([30, 40, None], pa.int64()),
        "city": ["Rome", None, "Oslo"],
        "active": [True, False, False],
        "since": [dt.date(2024, 1, 3), dt.date(2024, 1, 1), None],
        "vector": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
    }
)
NEW = pa.table(
    {
        "vector": [[7.0, 8.0]],
        "since": [dt.date(2024, 1, 11)],
        "active": [True],
        "city": ["Bern"],
        "age": pa.array([60], pa.int64()),
    }
)


def test_a_table_by_hand():
    encoded = pt.encode(OLD, NEW)
    assert encoded.names == [
        "age",
        "age missing",
        "city=Bern",
        "city=Oslo",
        "city=Rome",
        "city missing",
        "active",
        "since",
        "since missing",
        "vector[0]",
        "vector[1]",
    ]
    assert encoded.sources == (
        ["age"] * 2 + ["city"] * 4 + ["active"] + ["since"] * 2 + ["vector"] * 2
    )
    np.testing.assert_array_equal(
        encoded.reference,
        [
            [30, 0, 0, 0, 1, 0, 1, 2, 0, 1, 2],
            [40, 0, 0, 0, 0, 1, 0, 0, 0, 3, 4],
            [40, 1, 0, 1, 0, 0, 0, 2, 1, 5, 6],  # the medians of 30, 40, 60 and of 0, 2, 10 days
        ],
    )
    np.testing.assert_array_equal(encoded.current, [[60, 0, 1, 0, 0, 0, 1, 10, 0, 7, 8]])


def test_standardized_by_hand():
    encoded = pt.encode(OLD, NEW, standardize=True)
    both = np.concatenate([encoded.reference, encoded.current])
    ages = np.array([30, 40, 60])
    np.testing.assert_allclose(both[[0, 1, 3], 0], (ages - ages.mean()) / ages.std())
    np.testing.assert_allclose(both[2, 0], (40 - ages.mean()) / ages.std())
    np.testing.assert_array_equal(both[:, 1], [0, 0, 1, 0])  # indicators stay as they are
    np.testing.assert_allclose(both[:, 2:6].sum(axis=1), 1 / np.sqrt(4 * 1 / 4 * 3 / 4))
    np.testing.assert_allclose(both[:, 2:6].var(axis=0).sum(), 1)
    for j in (6, 9, 10):
        np.testing.assert_allclose([both[:, j].mean(), both[:, j].std()], [0, 1], atol=1e-12)


@given(pairs_of_tables())
def test_columns_go_by_name_and_rows_by_place(tables):
    """Reversed columns of one table, reversed rows, and the tables in each other's place."""
    old, new, types = tables
    encoded = pt.encode(arrow(old, types), arrow(new, types))
    assert len(set(encoded.names)) == len(encoded.names) or len(types) > 1
    assert set(encoded.sources) <= set(old)
    turned = {name: new[name] for name in reversed(new)}
    again = pt.encode(arrow(old, types), arrow(turned, types))
    np.testing.assert_array_equal(again.current, encoded.current)
    assert again.names == encoded.names
    swapped = pt.encode(arrow(new, types), arrow(old, types))
    np.testing.assert_array_equal(swapped.reference, encoded.current)
    np.testing.assert_array_equal(swapped.current, encoded.reference)
    backwards = {name: values[::-1] for name, values in new.items()}
    reversed_rows = pt.encode(arrow(old, types), arrow(backwards, types))
    np.testing.assert_array_equal(reversed_rows.current, encoded.current[::-1])


@given(pairs_of_tables(), st.booleans())
def test_whatever_comes_in_numbers_come_out(tables, standardize):
    old, new, types = tables
    encoded = pt.encode(arrow(old, types), arrow(new, types), standardize=standardize)
    for matrix, table in ((encoded.reference, old), (encoded.current, new)):
        assert matrix.shape == (len(next(iter(table.values()))), len(encoded.names))
        assert np.isfinite(matrix).all()
    for name, values in old.items():
        if f"{name} missing" in encoded.names and encoded.names.count(f"{name} missing") == 1:
            j = encoded.names.index(f"{name} missing")
            if encoded.sources[j] == name:
                np.testing.assert_array_equal(encoded.reference[:, j] > 0,
                                              [v is None for v in values])  # fmt: skip


@pytest.mark.oracle("pandas")
def test_a_number_beyond_float64_is_a_value_error():
    pandas = importlib.import_module("pandas")
    beyond = pandas.DataFrame({"a": pandas.Series([10**400, 1], dtype=object)})
    with pytest.raises(ValueError, match="column 'a' of reference: int too large"):
        pt.encode(beyond, beyond)


@pytest.mark.oracle("pandas", "polars")
@given(pairs_of_tables())
def test_every_package_gives_the_same_matrices(tables):
    old, new, types = tables
    assume("" not in types)  # polars calls such a column otherwise
    # pandas 2 has no strings that are all missing, only objects
    assume(all(any(v is not None for v in t[name]) for t in (old, new) for name in types))
    expected = pt.encode(arrow(old, types), arrow(new, types))
    pandas, polars = (importlib.import_module(name) for name in ("pandas", "polars"))
    for make in (
        lambda t: arrow(t, types).to_pandas(),
        lambda t: arrow(t, types).to_pandas(types_mapper=pandas.ArrowDtype),
        lambda t: polars.from_arrow(arrow(t, types)),
    ):
        found = pt.encode(make(old), make(new))
        assert found.names == expected.names
        np.testing.assert_array_equal(found.reference, expected.reference)
        np.testing.assert_array_equal(found.current, expected.current)


@pytest.mark.oracle("pandas")
def test_categories_without_rows_are_no_columns():
    pandas = importlib.import_module("pandas")
    kind = pandas.CategoricalDtype(["a", "b", "never"])
    old = pandas.DataFrame({"c": pandas.Series(["a", "b"], dtype=kind)})
    assert pt.encode(old, old).names == ["c=a", "c=b"]
    words = pandas.DataFrame({"c": ["b", "a"]})  # strings and categories are one kind
    assert pt.encode(old, words).names == ["c=a", "c=b"]


def test_the_rarest_of_many_levels_are_one():
    old = pa.table({"c": ["z"] * 5 + ["y"] * 4 + ["other", "a", "b"]})
    new = pa.table({"c": ["y", "x"]})
    encoded = pt.encode(old, new, max_categories=3)
    assert encoded.names == ["c=y", "c=z", "c=other"]
    np.testing.assert_array_equal(encoded.reference.sum(axis=0), [4, 5, 3])
    np.testing.assert_array_equal(encoded.current, [[1, 0, 0], [0, 0, 1]])
    assert len(pt.encode(old, new, max_categories=6).names) == 6  # as many as there are
    (column,) = pt.drift(
        pa.table({"c": [f"{i}" for i in range(60)]}), pa.table({"c": ["1"] * 30}), rng=0
    ).columns
    assert column.kind == "text"


def test_arrays_and_series():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    encoded = pt.encode(x, y)
    assert encoded.names == ["x0", "x1", "x2"]
    np.testing.assert_array_equal(encoded.reference, x)
    assert pt.encode(x.astype("f4"), y.astype("f4")).reference.dtype == np.float32
    assert pt.encode(x[:, 0], y[:, 0]).reference.shape == (5, 1)
    x[1, 2] = np.nan
    assert pt.encode(x, y).names[-1] == "x2 missing"
    assert pt.encode(pa.array([1.0, 2.0]), np.array([3.0])).names == ["x0"]


@pytest.mark.oracle("pandas")
def test_series_are_one_feature_whatever_they_are_called():
    pandas = importlib.import_module("pandas")
    x, y = pandas.Series([1.0, 2.0], name="before"), pandas.Series([3.0], name="after")
    assert pt.encode(x, y).names == ["before"]
    assert pt.encode([1.0, 2.0], y).names == ["x0"]
    with pytest.raises(TypeError, match="current has named columns and reference has none"):
        pt.encode(x, y.to_frame())


def test_missing_values_can_be_dropped_or_refused():
    dropped = pt.encode(OLD, NEW, missing="drop")
    assert dropped.reference.shape == (1, 7)
    with pytest.raises(ValueError, match=r"missing in 'age' of reference \(1\), 'city' of refer"):
        pt.encode(OLD, NEW, missing="raise")
    gone = pa.table({"a": pa.array([None, None], pa.float64())})
    with pytest.raises(ValueError, match="every row of current lacks a value"):
        pt.encode(pa.table({"a": [1.0]}), gone, missing="drop")


def test_a_column_that_only_one_table_knows_values_of():
    empty = pa.table({"c": pa.nulls(2)})
    for values in (["a", "b"], [1.5, 2.5], [dt.date(2024, 1, 1)] * 2, [[1.0], [2.0]], [True] * 2):
        for pair in ((pa.table({"c": values}), empty), (empty, pa.table({"c": values}))):
            encoded = pt.encode(*pair)
            assert encoded.names[-1] in ("c missing", "c[0] missing")
    assert pt.encode(empty, empty).names == ["c", "c missing"]


def test_values_of_any_size_are_standardized():
    old = pa.table({"a": [1.7e308, -1.7e308], "b": [1e-300, 2e-300]})
    encoded = pt.encode(old, old, standardize=True)
    np.testing.assert_allclose(encoded.reference, [[1, -1], [-1, 1]])


MESSAGES = [
    ({"a": [1]}, {"b": [1]}, ValueError, r"lacks 'a' and has 'b' besides; columns= and drop="),
    ({"a": [1]}, {"a": ["x"]}, TypeError,
     r"column 'a' is of different kinds: number \(int64\) in reference and text \(string\) in cur"),
    ({"a": [1.0, np.inf]}, {"a": [1.0]}, ValueError, "column 'a' of reference is inf in row 1"),
    ({"a": [{"k": 1}]}, {"a": [{"k": 1}]}, TypeError,
     r"column 'a' of reference \(struct.*holds dict: neither.*drop=\['a'\]"),
    ({"a": [[1.0]]}, {"a": [[1.0, 2.0]]}, ValueError,
     "column 'a' holds lists of 1 numbers in reference and of 2 in current"),
    ({"a": []}, {"a": [1.0]}, ValueError, "reference is empty: it has no rows"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "error", "message"), MESSAGES)
def test_messages_name_the_column(old, new, error, message):
    with pytest.raises(error, match=message):
        pt.encode(pa.table(old), pa.table(new))


def test_messages_of_arguments():
    x = np.eye(3)
    with pytest.raises(TypeError, match="reference has named columns and current has none"):
        pt.encode(OLD, x)
    with pytest.raises(TypeError, match=r"reference is a path, 'a.csv': pass the table that is"):
        pt.drift("a.csv", "b.csv")
    with pytest.raises(TypeError, match=r"current is a dict: pass pandas.DataFrame\(current\)"):
        pt.drift(np.zeros((3, 1)), {"a": [1.0, 2.0, 3.0]})
    with pytest.raises(TypeError, match="must be a table with named columns or an array"):
        pt.encode([["a"]], [["b"]])
    with pytest.raises(ValueError, match="must be 2-D"):
        pt.encode(np.zeros((2, 2, 2)), x)
    with pytest.raises(ValueError, match="unknown missing 'ignore'"):
        pt.encode(x, x, missing="ignore")
    with pytest.raises(TypeError, match="standardize must be True or False"):
        pt.encode(x, x, standardize="auto")
    with pytest.raises(ValueError, match="max_categories must be at least 2"):
        pt.encode(x, x, max_categories=1)


@pytest.mark.parametrize("standardize", [False, True])
def test_the_largest_numbers_of_all(standardize):
    """Their unit is not 2^1024, which no float64 is."""
    old = pa.table({"a": [1.7e308, -1.7e308, 1.0], "b": [1.0, 2.0, 3.0]})
    encoded = pt.encode(old, old, standardize=standardize)
    assert np.isfinite(encoded.reference).all()


def test_a_gap_in_a_list_is_a_missing_value():
    old = pa.table({"v": [[1.0, 2.0], [3.0, None], [5.0, 6.0]]})
    new = pa.table({"v": [[1.0, np.nan], [4.0, 5.0]]})
    dropped = pt.encode(old, new, missing="drop")
    assert dropped.names == ["v[0]", "v[1]"]
    assert dropped.reference.tolist() == [[1, 2], [5, 6]]
    assert dropped.current.tolist() == [[4, 5]]
    with pytest.raises(ValueError, match=r"in 'v' of reference \(1\), 'v' of current \(1\)"):
        pt.encode(old, new, missing="raise")


def test_a_position_of_a_list_has_a_name_of_its_own():
    old = pa.table({"v": [[1.0, 2.0]], "v[1]": [3.0]})
    with pytest.raises(ValueError, match=r"lists of column 'v' make a column 'v\[1\]', and there"):
        pt.encode(old, old)
    assert pt.encode(old.select(["v[1]"]), old.select(["v[1]"])).names == ["v[1]"]
