"""Frames as arrays: the same table is the same `Frame`, whichever package holds it.

The tables are written out as Python values, and so is what must come of them.
"""

from __future__ import annotations

import datetime as dt
import importlib
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairtile._front import frames

EAST = dt.timezone(dt.timedelta(hours=2))
NAN = float("nan")


def instant(*when):
    return np.datetime64(dt.datetime(*when), "us")


# The values of a column as a user has them -> what is read of them. The second is missing in all.
TABLE: dict[str, tuple[list[Any], str, list[Any]]] = {
    "whole": ([1, None, -3], "number", [1.0, NAN, -3.0]),
    "real": ([0.5, None, 2.0], "number", [0.5, NAN, 2.0]),
    "decimal": ([Decimal("1.5"), None, Decimal("-2.25")], "number", [1.5, NAN, -2.25]),
    "flag": ([True, None, False], "bool", [True, False, False]),
    "string": (["a", None, "naïve 数"], "text", ["a", None, "naïve 数"]),
    "day": (
        [dt.date(2024, 2, 29), None, dt.date(1969, 12, 31)],
        "date",
        [instant(2024, 2, 29), np.datetime64("NaT"), instant(1969, 12, 31)],
    ),
    "clock": (
        [dt.datetime(2024, 1, 1, 12, 30), None, dt.datetime(1960, 1, 1)],
        "date",
        [instant(2024, 1, 1, 12, 30), np.datetime64("NaT"), instant(1960, 1, 1)],
    ),
    "zone": (
        [dt.datetime(2024, 1, 1, 1, tzinfo=EAST), None, dt.datetime(1970, 1, 1, tzinfo=EAST)],
        "date",
        [instant(2023, 12, 31, 23), np.datetime64("NaT"), instant(1969, 12, 31, 22)],
    ),
    "length": ([dt.timedelta(hours=36), None, dt.timedelta(days=-1)], "number", [1.5, NAN, -1.0]),
    "time": ([dt.time(18), None, dt.time(6)], "number", [0.75, NAN, 0.25]),
    "vector": ([[1.0, 2.0], None, [3.0, 4.5]], "list", [[1.0, 2.0], [NAN, NAN], [3.0, 4.5]]),
    "nothing": ([None, None, None], "number", [NAN, NAN, NAN]),
    "record": ([{"a": 1}, None, {"a": 2}], "other", [{"a": 1}, None, {"a": 2}]),
    "uneven": ([[1.0], None, [1.0, 2.0]], "other", [[1.0], None, [1.0, 2.0]]),
}
VALUES = {name: values for name, (values, _, _) in TABLE.items()}


def by_arrow():
    return pa.table(VALUES)


def by_pandas():
    return importlib.import_module("pandas").DataFrame(VALUES)


def by_pandas_objects():
    pandas = importlib.import_module("pandas")
    return pandas.DataFrame({k: pandas.Series(v, dtype=object) for k, v in VALUES.items()})


def by_pandas_arrow():
    return pa.table(VALUES).to_pandas(types_mapper=importlib.import_module("pandas").ArrowDtype)


def by_polars():
    return importlib.import_module("polars").DataFrame(VALUES)


def by_interchange():
    class Other:
        """A frame of a package that nobody here knows."""

        columns = tuple(VALUES)

        def __arrow_c_stream__(self, requested_schema=None):
            return pa.table(VALUES).__arrow_c_stream__(requested_schema)

    return Other()


def of(*packages):
    return [pytest.mark.oracle(package) for package in packages]


PACKAGES = [
    pytest.param(by_arrow, id="pyarrow"),
    pytest.param(by_interchange, id="interchange"),
    pytest.param(by_pandas, id="pandas", marks=of("pandas")),
    pytest.param(by_pandas_objects, id="pandas objects", marks=of("pandas")),
    pytest.param(by_pandas_arrow, id="pandas arrow", marks=of("pandas")),
    pytest.param(by_polars, id="polars", marks=of("polars")),
]


def expect(column, kind, values, missing):
    assert column.kind == kind, column
    if kind in ("category", "text", "other"):
        assert column.values.tolist() == list(values)
    else:
        np.testing.assert_array_equal(column.values, np.array(values, dtype=column.values.dtype))
    if missing is None:
        assert column.missing is None
    else:
        np.testing.assert_array_equal(column.missing, missing)


def read(values, **of_frame):
    return frames.read("x", pa.table(values), **of_frame)


@pytest.mark.parametrize("make", PACKAGES)
def test_one_table_is_one_frame_in_every_package(make):
    frame = frames.read("x", make())
    assert (frame.names, frame.rows, frame.index) == (list(TABLE), 3, None)
    for column in frame.columns:
        _, kind, values = TABLE[column.name]
        expect(column, kind, values, [column.name == "nothing" or i == 1 for i in range(3)])


@pytest.mark.parametrize("make", PACKAGES)
@pytest.mark.parametrize("rows", [0, 1])
def test_tables_of_few_rows(make, rows):
    whole = make()
    few = whole.iloc[:rows] if hasattr(whole, "iloc") else None
    if few is None:
        few = whole.slice(0, rows) if hasattr(whole, "slice") else pa.table(VALUES).slice(0, rows)
    frame = frames.read("x", few)
    assert frame.rows == rows
    for column in frame.columns:
        assert len(column.values) == rows
        if rows and column.name not in ("nothing", "uneven"):  # one list is a list of one length
            _, kind, values = TABLE[column.name]
            expect(column, kind, values[:1], None)


@pytest.mark.oracle("pandas")
def test_dtypes_of_pandas():
    pandas = importlib.import_module("pandas")
    some = [False, True, False]
    cases = {
        "Int64": (pandas.array([2**40, None, 3], "Int64"), "number", [2.0**40, NAN, 3], some),
        "Int8": (pandas.array([1, None, 3], "Int8"), "number", [1, NAN, 3], some),
        "Float32": (pandas.array([1, None, 0.5], "Float32"), "number", [1, NAN, 0.5], some),
        "boolean": (pandas.array([True, None, False], "boolean"), "bool", [1, 0, 0], some),
        "bool": (np.array([True, False, True]), "bool", [1, 0, 1], None),
        "string": (pandas.array(["b", None, ""], "string"), "text", ["b", None, ""], some),
        "uint8": (np.array([1, 200, 3], "u1"), "number", [1, 200, 3], None),
        "float16": (np.array([1, NAN, 3], "f2"), "number", [1, NAN, 3], some),
        "int32": (np.array([1, 2, 3], "i4"), "number", [1, 2, 3], None),
        "period": (
            pandas.PeriodIndex(["2024-01", "NaT", "1969-12"], freq="M"),
            "date",
            [instant(2024, 1, 1), np.datetime64("NaT"), instant(1969, 12, 1)],
            some,
        ),
        "seconds": (
            np.array(["2500-01-01", "NaT", "1000-01-01"], "M8[s]"),
            "date",
            [instant(2500, 1, 1), np.datetime64("NaT"), instant(1000, 1, 1)],
            some,
        ),
        "sparse": (pandas.arrays.SparseArray([0, NAN, 1.0]), "number", [0, NAN, 1], some),
        "sparse flags": (
            pandas.arrays.SparseArray([True, False, False], fill_value=False),
            "bool",
            [1, 0, 0],
            None,
        ),
    }
    frame = frames.read("x", pandas.DataFrame({name: case[0] for name, case in cases.items()}))
    for column in frame.columns:
        expect(column, *cases[column.name][1:])
    dtypes = {column.name: column.values.dtype.name for column in frame.columns}
    assert {name: dtypes[name] for name in ("Int8", "Float32", "uint8", "float16")} == {
        "Int8": "float32",  # which has a NaN
        "Float32": "float32",
        "uint8": "uint8",
        "float16": "float16",
    }
    assert {dtypes[name] for name in ("Int64", "int32", "sparse")} == {"float64"}


@pytest.mark.oracle("pandas")
def test_categories_are_read_by_their_values_and_never_by_their_codes():
    pandas = importlib.import_module("pandas")
    frame = frames.read(
        "x",
        pandas.DataFrame(
            {
                "s": pandas.Categorical(["b", None, "a"], categories=["z", "b", "a"]),
                "n": pandas.Categorical([30, None, 10], categories=[30, 20, 10]),
                "f": pandas.Categorical([30.0, None, 0.5], categories=[0.5, 30.0]),
                "empty": pandas.Categorical([None, None, None], categories=["never"]),
                "none": pandas.Categorical([None, None, None], categories=[]),
            }
        ),
    )
    missing = [False, True, False]
    expect(frame.columns[0], "category", ["b", None, "a"], missing)
    expect(frame.columns[1], "category", ["30", None, "10"], missing)
    expect(frame.columns[2], "category", ["30", None, "0.5"], missing)
    for column in frame.columns[3:]:
        expect(column, "category", [None] * 3, [True] * 3)


@pytest.mark.oracle("polars")
def test_dtypes_of_polars():
    polars = importlib.import_module("polars")
    some = [False, True, False]
    series = {
        "category": ((["b", None, "a"], polars.Categorical), "category", ["b", None, "a"], some),
        "enum": ((["b", None, "a"], polars.Enum(["a", "b"])), "category", ["b", None, "a"], some),
        "array": (
            ([[1, 2], None, [3, 4]], polars.Array(polars.Float32, 2)),
            "list",
            [[1, 2], [NAN, NAN], [3, 4]],
            some,
        ),
        "holes": (
            ([[1, None], None, [3, 4]], polars.List(polars.Int64)),
            "list",
            [[1, NAN], [NAN, NAN], [3, 4]],
            some,
        ),
        "Int8": (([1, None, 3], polars.Int8), "number", [1, NAN, 3], some),
        "UInt64": (([1, None, 2**63], polars.UInt64), "number", [1, NAN, 2.0**63], some),
        "nan": (([1.0, NAN, 3.0], polars.Float32), "number", [1, NAN, 3], some),
        "ns": (
            ([dt.datetime(2024, 1, 1), None, dt.datetime(1969, 1, 1)], polars.Datetime("ns")),
            "date",
            [instant(2024, 1, 1), np.datetime64("NaT"), instant(1969, 1, 1)],
            some,
        ),
    }
    frame = frames.read("x", polars.DataFrame([polars.Series(k, *v[0]) for k, v in series.items()]))
    for column in frame.columns:
        expect(column, *series[column.name][1:])
    with pytest.raises(TypeError, match=r"x is a polars LazyFrame; pass x.collect\(\)"):
        frames.read("x", polars.DataFrame({"a": [1]}).lazy())


def test_dtypes_of_pyarrow():
    some = [False, True, False]
    cases = {
        "dictionary": (
            pa.array(["b", None, "a"]).dictionary_encode(), "category", ["b", None, "a"], some,
        ),
        "numbers by dictionary": (
            pa.array([30.0, None, 10.0]).dictionary_encode(), "category", ["30", None, "10"], some,
        ),
        "large": (pa.array(["b", None, ""], pa.large_string()), "text", ["b", None, ""], some),
        "view": (pa.array(["b", None, ""], pa.string_view()), "text", ["b", None, ""], some),
        "half": (pa.array([1, None, 2], pa.float16()), "number", [1, NAN, 2], some),
        "uint8": (pa.array([1, None, 2], pa.uint8()), "number", [1, NAN, 2], some),
        "date64": (
            pa.array([dt.date(2024, 1, 1), None, dt.date(1960, 1, 1)], pa.date64()),
            "date",
            [instant(2024, 1, 1), np.datetime64("NaT"), instant(1960, 1, 1)],
            some,
        ),
        "seconds": (pa.array([1, None, -1], pa.timestamp("s")), "date",
                    [instant(1970, 1, 1, 0, 0, 1), np.datetime64("NaT"),
                     instant(1969, 12, 31, 23, 59, 59)], some),
        "time32": (pa.array([dt.time(6), None, dt.time(12)], pa.time32("s")), "number",
                   [0.25, NAN, 0.5], some),
        "fixed": (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2)), "list",
                  [[1, 2], [NAN, NAN], [3, 4]], some),
        "large list": (pa.array([[1], None, [3]], pa.large_list(pa.int8())), "list",
                       [[1], [NAN], [3]], some),
        "bytes": (pa.array([b"a", None, b"b"]), "other", [b"a", None, b"b"], some),
        "run-end": (pa.RunEndEncodedArray.from_arrays([2, 3], [0.5, 2.0]), "number",
                    [0.5, 0.5, 2.0], None),
    }  # fmt: skip
    frame = frames.read("x", pa.table({name: case[0] for name, case in cases.items()}))
    for column in frame.columns:
        expect(column, *cases[column.name][1:])


def test_chunks_are_one_column():
    table = pa.concat_tables([pa.table(VALUES).slice(1), pa.table(VALUES)])
    for column in frames.read("x", table).columns:
        _, kind, values = TABLE[column.name]
        missing = [True, False, False, True, False]
        everything = [True] * 5
        wanted = everything if column.name == "nothing" else missing
        expect(column, kind, [*values[1:], *values], wanted)


@pytest.mark.oracle("pandas")
def test_objects_of_several_types_are_no_column_of_one():
    pandas = importlib.import_module("pandas")
    mixed = {"a": ["b", 1], "c": [True, "x"], "d": [dt.date(2024, 1, 1), 5], "e": [1j, 2]}
    frame = frames.read("x", pandas.DataFrame({k: np.array(v, object) for k, v in mixed.items()}))
    assert [column.kind for column in frame.columns] == ["other"] * 4
    assert frame.columns[0].values.tolist() == ["b", 1]


@pytest.mark.oracle("pandas")
@pytest.mark.parametrize("index", [None, "names", "shifted", "dates", "levels"])
def test_labels_of_rows(index):
    pandas = importlib.import_module("pandas")
    made = {
        None: None,
        "names": ["p", "q", "r"],
        "shifted": [1, 2, 3],
        "dates": pandas.date_range("2024-01-01", periods=3),
        "levels": pandas.MultiIndex.from_product([["a"], [1, 2, 3]]),
    }[index]
    labels = frames.read("x", pandas.DataFrame({"a": [1, 2, 3]}, index=made)).index
    assert (labels is None) == (index is None)
    if index is not None:
        assert list(labels) == list(pandas.Index(made).to_numpy())


@pytest.mark.oracle("pandas")
def test_names_that_are_no_strings_or_not_alone():
    pandas = importlib.import_module("pandas")
    assert frames.read("x", pandas.DataFrame(np.eye(2), columns=[0, (1, "b")])).names == [
        "0",
        "(1, 'b')",
    ]
    twice = pandas.DataFrame(np.eye(3), columns=["a", "b", "a"])
    with pytest.raises(ValueError, match=r"x has more than one column called 'a'; rename them"):
        frames.read("x", twice)
    with pytest.raises(ValueError, match="more than one column called '1'"):
        frames.read("x", pandas.DataFrame(np.eye(2), columns=[1, "1"]))


def test_some_columns():
    frame = read({"a": [1], "b": ["x"], "c": [True]}, columns=["c", "a"])
    assert (frame.names, [column.kind for column in frame.columns]) == (
        ["c", "a"],
        ["bool", "number"],
    )
    with pytest.raises(ValueError, match="x has no column 'd'; it has 'a', 'b'"):
        frames.read("x", pa.table({"a": [1], "b": [2]}), columns=["a", "d"])
    assert frames.read("x", frame, columns=["a"]).names == ["a"]


def test_dates_beyond_the_calendar_are_refused_by_name():
    far = pa.table({"when": pa.array([2**61], pa.timestamp("s"))})
    with pytest.raises(ValueError, match="column 'when' of x: holds dates beyond the year 294,246"):
        frames.read("x", far)


def test_numbers_side_by_side():
    frame = read({"i": [1, 2], "f": [0.5, None], "b": [True, None]})
    values = frames.numbers("x", frame)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, [[1, 0.5, 1], [2, NAN, NAN]])
    np.testing.assert_array_equal(frames.numbers("x", frame, [1, 0]), [[0.5, 1], [NAN, 2]])
    narrow = read({k: pa.array([1, None], pa.float32()) for k in "ab"})
    assert frames.numbers("x", narrow).dtype == np.float32
    mixed = read({"a": pa.array([1, 2], pa.float32()), "b": pa.array([1, 2], pa.uint8())})
    assert frames.numbers("x", mixed).dtype == np.float64


def test_columns_that_are_no_numbers_are_named():
    frame = read({"a": [1], "city": ["Rome"], "when": [dt.date(2024, 1, 1)]})
    with pytest.raises(TypeError) as raised:
        frames.numbers("reference", frame)
    message = str(raised.value)
    assert "reference has columns that are not numbers: 'city' (string), 'when' (date32" in message
    assert "pairtile.drift" in message
    assert "'a'" not in message


def test_columns_are_aligned_by_name():
    x, y = read({"a": [1], "b": [2], "c": [3]}), read({"c": [3], "a": [1], "b": [2]})
    assert frames.align("x", x, "y", y) == [1, 2, 0]
    with pytest.raises(ValueError, match=r"y must have the columns of x, but it lacks 'b'$"):
        frames.align("x", read({"a": [1], "b": [2]}), "y", read({"a": [1]}))
    with pytest.raises(ValueError, match=r"but it lacks 'b' and has 'q' besides$"):
        frames.align("x", read({"a": [1], "b": [2]}), "y", read({"a": [1], "q": [1]}))


@given(st.lists(st.text(max_size=4), min_size=1, max_size=8, unique=True), st.randoms())
def test_any_names_in_any_order(names, random):
    mixed = list(names)
    random.shuffle(mixed)
    x = read({name: [float(i)] for i, name in enumerate(names)})
    y = read({name: [float(names.index(name))] for name in mixed})
    order = frames.align("x", x, "y", y)
    np.testing.assert_array_equal(frames.numbers("y", y, order), frames.numbers("x", x))


def test_what_is_a_frame_and_what_a_series():
    table = pa.table({"a": [1, 2]})
    assert frames.is_frame(table)
    assert frames.is_frame(table.to_batches()[0])
    assert frames.is_frame(frames.read("x", table))
    assert frames.is_frame(by_interchange())
    assert frames.is_series(table.column(0))
    for other in (table.column(0), np.eye(2), [[1.0]], {"a": [1]}, 3.0, None, "abc"):
        assert not frames.is_frame(other)
    for other in (table, np.zeros(3), [1.0], (1, 2)):
        assert not frames.is_series(other)


@pytest.mark.oracle("pandas", "polars")
def test_series_are_a_frame_of_one_column():
    pandas, polars = (importlib.import_module(name) for name in ("pandas", "polars"))
    for x, name in (
        (pandas.Series([1, 2], name="a"), "a"),
        (pandas.Series([1, 2]), "x0"),
        (pandas.Index([1, 2]), "x0"),
        (polars.Series("a", [1, 2]), "a"),
        (polars.Series([1, 2]), "x0"),
        (pa.array([1, 2]), "x0"),
        (pa.chunked_array([[1], [2]]), "x0"),
    ):
        assert frames.is_series(x)
        assert not frames.is_frame(x)
        frame = frames.read("x", x)
        assert (frame.names, frame.rows) == ([name], 2)
        expect(frame.columns[0], "number", [1, 2], None)


def test_the_way_out_where_pyarrow_is_missing(monkeypatch):
    stranger = by_interchange()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"reading x, a Other, needs pyarrow.*pandas or polars"):
        frames.read("x", stranger)


def test_no_frame_at_all():
    with pytest.raises(TypeError, match="x must be a table with named columns, got dict"):
        frames.read("x", {"a": [1]})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53 + 1, "9007199254740993"),
        (Decimal(2**53 + 1), "9007199254740993"),
        (np.int64(2**62 + 1), "4611686018427387905"),
        (3.0, "3"),
        (-0.0, "0"),
        (Decimal("1.50"), "1.5"),
        (np.float32(0.5), "0.5"),
        (float("inf"), "inf"),
        (True, "True"),
    ],
)
def test_levels_are_told_apart_as_they_are(value, text):
    """Long numbers of customers or orders, too."""
    assert frames.level_text(value) == text
