"""Files of arrays and of columns that the command reads: what it makes of them, what it refuses."""

from __future__ import annotations

import builtins
import datetime
import decimal
import gzip
import pickle
import sys

import numpy as np
import pytest

from files import save, save_columns
from pairtile._front.extras import MissingExtraError
from pairtile.app.errors import InputError
from pairtile.app.io import Reading, load

ROWS = np.random.default_rng(20).normal(size=(80, 3))
NO_OPTIONS = Reading()


def refused(path, reading=NO_OPTIONS):
    """The message of a file that is not read, or whose values are not compared."""
    with pytest.raises(InputError) as error:
        load(path, reading).checked(missing=False)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_formats(tmp_path, suffix, case):
    path = save(tmp_path / f"x{suffix}", ROWS, header=None).rename(tmp_path / f"x{case(suffix)}")
    frame = load(path, NO_OPTIONS).checked(missing=False).frame()
    assert (frame.rows, frame.index) == (80, None)
    for column, values in zip(frame.columns, ROWS.T, strict=True):
        np.testing.assert_array_equal(column.values, values)
        assert column.missing is None


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i1", "u1", "i8", "?"])
def test_dtypes_and_orders_of_arrays(tmp_path, dtype):
    values = np.asfortranarray((20 + 5 * ROWS if dtype != "?" else ROWS > 0).astype(dtype))
    table = load(save(tmp_path / "x.npy", values), NO_OPTIONS)
    assert isinstance(table.matrix, np.memmap)
    for column, expected in zip(table.checked(missing=False).columns, values.T, strict=True):
        assert column.kind == "number"
        assert np.shares_memory(column.values, table.matrix)  # mapped, and not read
        np.testing.assert_array_equal(column.values, expected)


def test_missing_values_of_arrays(tmp_path, monkeypatch):
    monkeypatch.setattr("pairtile.app.table._BLOCK_VALUES", 30)  # ten rows at once
    values = ROWS.copy()
    values[[3, 9, 55], 1] = np.nan
    table = load(save(tmp_path / "x.npy", values), NO_OPTIONS)
    a, b, c = table.checked(missing=True).columns
    assert a.missing is None
    assert c.missing is None
    np.testing.assert_array_equal(np.flatnonzero(b.missing), [3, 9, 55])
    assert table.select(["x2", "x0"]).checked(missing=False).names == ["x2", "x0"]
    assert "row 3: missing value (nan) in column 1" in refused(tmp_path / "x.npy")


def test_npz_key(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, train=ROWS, other=ROWS[:, :2])
    assert len(load(path, Reading(key="train")).names) == 3
    assert "which array? pass --key; it holds train, other" in refused(path)
    assert "no array 'test'; it holds train, other" in refused(path, Reading(key="test"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(5), "an array of 1 dimensions, shape (5,); expected 2, rows and features; "),
        (np.zeros((2, 3, 4)), "an array of 3 dimensions, shape (2, 3, 4)"),
        (np.float64(3), "an array of 0 dimensions"),
        (np.zeros((0, 4)), "0 rows and 4 features"),
        (np.zeros((4, 0)), "4 rows and 0 features"),
        (np.zeros((1, 4)), "1 rows and 4 features"),
        (np.zeros((3, 2), complex), "dtype complex128 is not real numbers"),
        (np.full((3, 2), "a"), "dtype <U1 is not real numbers"),
        (np.zeros((3, 2), "f8,f8"), "is not real numbers"),
        (np.zeros((3, 2), "datetime64[s]"), "dtype datetime64[s] is not real numbers"),
        (np.array([[None, 1], [2, 3]]), " holds Python objects (text, dates, None, or rows of "),
        (np.array([[0.0, 1], [2, np.nan]]), "row 1: missing value (nan) in column 1"),
        (np.array([[0.0, np.inf], [2, 3]], "f4"), "row 0: infinite value (inf) in column 1"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_bad_arrays(tmp_path, values, message, suffix):
    assert message in refused(save(tmp_path / f"x{suffix}", values))


class Trap:
    """What runs when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickles_are_never_loaded(tmp_path, suffix):
    values = np.array([[Trap(), 1.0], [2.0, 3.0]], dtype=object)
    with pytest.raises(pytest.fail.Exception):
        pickle.loads(pickle.dumps(values))
    message = refused(save(tmp_path / f"x{suffix}", values))
    assert "They are never read, because reading them can run code" in message
    assert "allow_pickle" not in message


def test_a_sparse_matrix_is_called_one(tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    sparse.save_npz(tmp_path / "x.npz", sparse.csr_matrix(np.eye(4)))
    assert "a sparse matrix, as scipy.sparse.save_npz writes it" in refused(tmp_path / "x.npz")


def test_a_bad_row_far_into_a_file(tmp_path):
    values = np.zeros((3000, 1024), "f4")
    values[2999, 7] = np.inf
    path = save(tmp_path / "x.npy", values)
    assert "row 2999: infinite value (inf) in column 7" in refused(path)
    load(path, NO_OPTIONS).select(["x0", "x8"]).checked(missing=False)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("kept", [0, 4, 60, -8])
def test_truncated_files(tmp_path, suffix, kept):
    path = save(tmp_path / f"x{suffix}", ROWS)
    path.write_bytes(path.read_bytes()[:kept])
    assert "x" + suffix + ": not a" in refused(path)


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", gzip.compress(b"a,b\n1,2\n3,4\n", mtime=0)[:-9]], ids=["text", "cut"]
)
def test_damaged_gz(tmp_path, content):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(content)
    assert "not a readable .gz file" in refused(path)


def test_files_that_are_not_what_they_are_called(tmp_path):
    for suffix in (".npy", ".npz", ".csv", ".tsv", ".csv.gz"):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(b"\x80\x04\x95 not an array")
        refused(path)


def test_unreadable_paths(tmp_path, monkeypatch):
    for suffix in (".npy", ".npz", ".csv", ".tsv.gz"):
        missing = tmp_path / f"missing{suffix}"
        assert "No such file or directory" in refused(missing)
        folder = tmp_path / f"folder{suffix}"
        folder.mkdir()
        assert "is a directory" in refused(folder)
    for name in ("x.txt", "x.gz", "x.npy.gz", "x"):
        assert "known are .npy, .npz, .csv, .parquet, .tsv, .csv.gz" in refused(tmp_path / name)
    # Permissions cannot be tested by taking them away: the tests may run as root.
    good = save(tmp_path / "good.npy", ROWS)
    plain_open = builtins.open

    def denied(file, *args, **kwargs):
        if str(file) == str(good):
            raise PermissionError(13, "Permission denied", str(file))
        return plain_open(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", denied)
    assert "Permission denied" in refused(good)


# --- .parquet ----------------------------------------------------------------------------------


def test_columns_of_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="reading .parquet needs pyarrow")
    day = datetime.date(2024, 2, 29)
    columns = {
        "int": [1, 2, 4],
        "nullable": [1, None, 3],
        "flag": [True, None, False],
        "price": [decimal.Decimal("1.50"), None, decimal.Decimal("-0.25")],
        "half": pa.array(np.array([0.5, 1, 2], "f2")),
        "colour": pa.array(["red", "blue", None]).dictionary_encode(),
        "text": ["a", None, "b"],
        "day": [day, None, day],
        "instant": pa.array([0, 3_600_000_000, None], pa.timestamp("us", "Europe/Berlin")),
        "embedding": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
    }
    table = load(save_columns(tmp_path / "x.parquet", columns), NO_OPTIONS).checked(missing=True)
    found = {column.name: column for column in table.columns}
    kinds = ["number", "number", "bool", "number", "number", "category", "text", "date", "date"]
    assert [column.kind for column in found.values()] == [*kinds, "list"]
    np.testing.assert_array_equal(found["nullable"].values, [1, np.nan, 3])
    np.testing.assert_array_equal(found["price"].values, [1.5, np.nan, -0.25])
    np.testing.assert_array_equal(found["flag"].missing, [False, True, False])
    assert found["flag"].values[[0, 2]].tolist() == [True, False]
    assert found["half"].values.dtype == np.float16
    assert found["colour"].values.tolist() == ["red", "blue", None]
    assert found["day"].values[0] == np.datetime64(day)
    assert found["instant"].values[1] == np.datetime64("1970-01-01T01:00")
    np.testing.assert_array_equal(found["embedding"].values, [[1, 2], [3, 4], [5, 6]])
    assert "row 1: missing value in column 'nullable'" in refused(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1, 2], "t": [b"x", b"y"]}, "column 't' (binary) cannot be compared; leave it out"),
        ({"a": [[1.0], [1.0, 2.0]]}, "column 'a' (list<"),
        ({"a": [1.0, float("inf")]}, "row 1: infinite value (inf) in column 'a'"),
        ({"a": [[1.0, 2.0], [float("inf"), 1.0]]}, "row 1: infinite value (inf) in column 'a'"),
        ({"a": []}, "0 rows and 1 features"),
        ({}, "no columns"),
    ],
)
def test_bad_parquet(tmp_path, columns, message):
    assert message in refused(save_columns(tmp_path / "x.parquet", columns))


def test_damaged_parquet(tmp_path):
    path = save_columns(tmp_path / "x.parquet", {"a": [1, 2]})
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a readable .parquet file" in refused(path)


def test_columns_of_one_name(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="reading .parquet needs pyarrow")
    table = pa.table([pa.array([1, 2]), pa.array([3, 4])], names=["a", "a"])
    assert "more than one column called 'a'" in refused(save_columns(tmp_path / "x.parquet", table))


@pytest.mark.oracle("pandas")
def test_the_index_of_pandas_labels_the_rows(tmp_path):
    pytest.importorskip("pyarrow", reason="reading .parquet needs pyarrow")
    import pandas as pd

    path = tmp_path / "x.parquet"
    frame = pd.DataFrame({"a": [1.0, 2.0, 4.0]}, index=pd.Index(["p", "q", "r"], name="who"))
    frame.to_parquet(path, engine="pyarrow")
    table = load(path, NO_OPTIONS)
    assert table.names == ["a"]
    assert table.frame().index.tolist() == ["p", "q", "r"]


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        MissingExtraError, match=r'needs pyarrow: pip install "pairtile\[parquet\]"'
    ):
        load(path, NO_OPTIONS)
