"""Frames as arguments: columns go together by their names, each is read as what it holds.

A function of two sets that compares by position what has names gives a wrong answer that nothing
warns of. `FUNCTIONS` holds them all.
"""

import importlib
import pickle
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from functions import (
    FUNCTIONS,
    PAIRED,
    SAMPLES,
    SINGLE,
    A,
    B,
    G,
    assert_same_bits,
    parts,
)
from pairtile._front import frames

pytestmark = pytest.mark.host

NAMES = list("abcdef")
TWO_SETS = sorted(FUNCTIONS.keys() - PAIRED - SINGLE)
# Of the names that a call has for its sets, those whose order counts, and those put into it.
ORDERED_BY = {
    name: {"witness at": ("x", "z"), "witness to": ("x", "y")}.get(
        name, (second, first) if second in ("reference", "train") else (first, second)
    )
    for name, (_, first, second) in FUNCTIONS.items()
}


def table(values, names=NAMES):
    """The same numbers in a frame of pyarrow, the package that every test can have."""
    return pa.table({name: np.array(values[:, j]) for j, name in enumerate(names)})


def frame_makers():
    """The same for other packages, each with its own mark."""
    pandas = pytest.param("pandas", marks=pytest.mark.oracle("pandas"))
    polars = pytest.param("polars", marks=pytest.mark.oracle("polars"))
    return [pandas, polars, "pyarrow"]


def made_by(package, columns):
    if package == "pyarrow":
        return pa.table(columns)
    return importlib.import_module(package).DataFrame(columns)


# --- by name ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_frame_is_its_array(name):
    call, *_ = FUNCTIONS[name]
    right = call(A, B)
    assert_same_bits(call(table(A), table(B)), right)
    assert_same_bits(call(table(A), B), right)
    assert_same_bits(call(A, table(B, NAMES[::-1])), right)  # by position: no names beside it


@pytest.mark.parametrize("name", TWO_SETS)
def test_columns_go_together_by_name(name):
    """A set beside itself with its columns in another order, and beside another set."""
    call, first, _ = FUNCTIONS[name]
    order = np.random.default_rng(3).permutation(6)
    for other in (A, B):
        x, y = table(A), table(other).select([NAMES[j] for j in order])
        right = call(A, other)
        if ORDERED_BY[name][0] != first:
            right = call(A[:, order], other[:, order])
        for part, expected in zip(parts(call(x, y)), parts(right), strict=True):
            np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("name", TWO_SETS)
def test_other_names_are_an_error(name):
    call, first, _ = FUNCTIONS[name]
    ours, theirs = ORDERED_BY[name]
    sets = [table(A), table(B)]
    at = 0 if theirs == first else 1
    sets[at] = sets[at].rename_columns(["a", "b", "c", "x", "y", "f"])
    said = (
        f"{theirs} must have the columns of {ours}, but it lacks 'd', 'e' and has 'x', 'y' besides"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        call(*sets)
    sets[at] = sets[at].select(["a", "b", "c", "f"])
    with pytest.raises(ValueError, match=r"but it lacks 'd', 'e'$"):
        call(*sets)


@pytest.mark.parametrize("name", sorted(PAIRED))
def test_paired_rows_may_have_other_features(name):
    call, *_ = FUNCTIONS[name]
    assert_same_bits(call(table(A), table(B[:, :2], ["u", "a"])), call(A, B[:, :2]))


@pytest.mark.parametrize("package", frame_makers())
@given(data=st.data())
def test_any_names_in_any_order(package, data):
    names = data.draw(
        st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=2, max_size=6)
    )
    names = list(dict.fromkeys(names))
    order = data.draw(st.permutations(names))
    x = {name: A[:, j] for j, name in enumerate(names)}
    y = {name: B[:, names.index(name)] for name in order}
    d = len(names)
    found = pt.energy_distance(made_by(package, x), made_by(package, y))
    assert found == pt.energy_distance(A[:, :d], B[:, :d])


def test_a_frame_without_names_is_an_array():
    """0, 1, 2, … is what a frame has that was made of an array."""
    numbered = table(A, [str(j) for j in range(6)])
    assert pt.mmd(numbered, table(B)) == pt.mmd(A, B)
    assert pt.mmd(table(B), numbered) == pt.mmd(B, A)
    # but these are names where both have them
    swapped = numbered.select([1, 0, 2, 3, 4, 5])
    assert pt.energy_distance(numbered, swapped) == 0
    assert pt.energy_distance(A, A[:, [1, 0, 2, 3, 4, 5]]) > 0
    with pytest.raises(ValueError, match="y has 5; both need the same features"):
        pt.mmd(numbered, table(B[:, :5], NAMES[:5]))


def test_a_frame_of_two_equal_names():
    twice = pa.table([pa.array(A[:, 0]), pa.array(A[:, 1])], names=["a", "a"])
    with pytest.raises(ValueError, match="y has more than one column called 'a'"):
        pt.mmd(table(A), twice)


def test_frames_beside_an_array_go_together_by_name():
    """The array is taken by position, in the order of the first frame."""
    swapped = table(B).select(NAMES[::-1])
    for given_sets, arrays in (
        ((A, table(A), swapped), (A, A, B)),
        ((table(A), A, swapped), (A, A, B)),
        ((table(A), swapped, B), (A[:, ::-1], B[:, ::-1], B)),
    ):
        found = pt.witness(*given_sets, kernel=G)
        np.testing.assert_array_equal(found, pt.witness(*arrays, kernel=G))
    found = pt.disco_test([A, table(A + B), swapped], n_permutations=9, rng=0)
    assert_same_bits(found[:2], pt.disco_test([A, A + B, B], n_permutations=9, rng=0)[:2])


def test_kernels_call_by_name():
    swapped = table(B).select(NAMES[::-1])
    for kernel in (G, 2 * G + pt.Linear()):
        np.testing.assert_array_equal(kernel(table(A), swapped), kernel(A, B))
    with pytest.raises(ValueError, match="y must have the columns of x"):
        G(table(A), table(B, list("uvwxyz")))


def test_all_samples_of_disco_by_name():
    swapped = table(B).select(NAMES[::-1])
    found = pt.disco_test([table(A), table(A + B), swapped], n_permutations=9, rng=0)
    assert_same_bits(found[:2], pt.disco_test([A, A + B, B], n_permutations=9, rng=0)[:2])
    with pytest.raises(ValueError, match=r"samples\[2\] must have the columns of samples\[0\]"):
        pt.disco_test([table(A), table(B), table(B, list("uvwxyz"))])


def test_one_table_is_not_several_samples():
    """Neither its columns nor its rows are."""
    for rows in (table(A), A, A[:, 0]):
        with pytest.raises(ValueError, match="samples is one set of rows; pass labels="):
            pt.disco_test(rows)
    halves = np.arange(12) // 6
    found = pt.disco_test(table(A), labels=halves, n_permutations=9, rng=0)
    assert_same_bits(found[:2], pt.disco_test([A[:6], A[6:]], n_permutations=9, rng=0)[:2])
    with pytest.raises(ValueError, match="at least two samples, got 0"):
        pt.disco_test([])


def index_as(state, tmp_path):
    index = pt.NeighborIndex(table(A))
    if state == "pickled":
        return pickle.loads(pickle.dumps(index))
    if state != "new":
        index.save(tmp_path / "index")
        index = pt.NeighborIndex.load(tmp_path / "index")
    return pickle.loads(pickle.dumps(index)) if state == "pickled from a file" else index


@pytest.mark.parametrize("state", ["new", "pickled", "from a file", "pickled from a file"])
def test_an_index_remembers_names(state, tmp_path):
    index = index_as(state, tmp_path)
    swapped = table(B).select(NAMES[::-1])
    assert_same_bits(index.knn(swapped, 3), pt.knn(B, A, 3))
    assert_same_bits(index.radius_count(swapped, 8.0), pt.radius_count(B, A, 8.0))
    assert_same_bits(index.knn(B, 3), pt.knn(B, A, 3))
    for search in (index.knn, index.kth_distance, index.radius_count):
        with pytest.raises(
            ValueError, match="must have the columns of reference, but it lacks 'a'"
        ):
            search(table(B, list("zbcdef")), 3)
    assert_same_bits(pt.NeighborIndex(A).knn(swapped, 3), pt.knn(B[:, ::-1], A, 3))


def test_a_stream_goes_by_name():
    rng = np.random.default_rng(5)
    reference, stream = rng.normal(size=(60, 3)) * [1, 10, 100], rng.normal(size=(9, 3))
    names = ["a", "b", "c"]
    detectors = [
        pt.OnlineMMD(given, 4, expected_run_time=20, rng=0)
        for given in (reference, table(reference, names))
    ]
    right = detectors[0].update(stream)
    swapped = table(stream, names).select(["c", "a", "b"])
    assert_same_bits(detectors[1].update(swapped), right)
    for detector in detectors:
        detector.reset()
    assert_same_bits(detectors[1].update(stream), right)
    assert_same_bits(detectors[0].update(swapped.select(names)), right)
    with pytest.raises(ValueError, match="rows must have the columns of reference"):
        detectors[1].update(table(stream, ["a", "b", "d"]))


@pytest.mark.oracle("pandas")
def test_a_stream_of_rows_of_a_frame():
    import pandas

    rng = np.random.default_rng(5)
    reference = pandas.DataFrame(rng.normal(size=(60, 2)) * [1, 100], columns=["a", "b"])
    stream = pandas.DataFrame(rng.normal(size=(5, 2)), columns=["a", "b"])
    whole, single = (pt.OnlineMMD(reference, 4, expected_run_time=20, rng=0) for _ in range(2))
    right = whole.update(stream)
    found = [single.update(row) for _, row in stream[["b", "a"]].iterrows()]
    np.testing.assert_allclose([one.statistics[0] for one in found], right.statistics, rtol=1e-12)


# --- one feature -----------------------------------------------------------------------------


def forms_of_one_feature():
    pandas = pytest.param("pandas", marks=pytest.mark.oracle("pandas"))
    polars = pytest.param("polars", marks=pytest.mark.oracle("polars"))
    return ["array", "float32", "list", "pyarrow", pandas, polars]


def one_feature(form, values):
    if form in ("array", "float32"):
        return values.astype("float32" if form == "float32" else "float64")
    if form == "list":
        return values.tolist()
    if form == "pyarrow":
        return pa.chunked_array([values])
    series = importlib.import_module(form).Series
    return series(name="age", values=values) if form == "polars" else series(values, name="age")


@pytest.mark.parametrize("form", forms_of_one_feature())
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_one_feature(name, form):
    call, *_ = FUNCTIONS[name]
    x, y = (one_feature(form, s[:, 0]) for s in (A, B))
    if name not in SAMPLES:
        with pytest.raises(ValueError, match=r" must be 2-D \(rows, features\), got 1-D") as caught:
            call(x, y)
        said = str(caught.value)
        if form in ("pandas", "polars"):
            assert said.endswith("for one feature pass frame[['age']]")
        elif form == "pyarrow":
            assert said.endswith("for one feature pass frame[[name]]")
        else:
            assert said.endswith(f"for one feature pass {said.split()[0]}[:, None]")
        return
    columns = [np.asarray(s, dtype=x.dtype if form == "float32" else float) for s in (x, y)]
    right = parts(call(*(s[:, None] for s in columns)))
    for part, expected in zip(parts(call(x, y)), right, strict=True):
        np.testing.assert_array_equal(part.ravel(), expected.ravel())
    if name != "wasserstein_1d":  # whose result has the form of its input
        found = parts(call(x, columns[1][:, None]))
        for part, expected in zip(found, right, strict=True):
            np.testing.assert_array_equal(part.ravel(), expected.ravel())


GRADIENTS = {
    "mmd": lambda x, y: pt.mmd(x, y, return_gradient=True)[1:3],
    "energy_distance": lambda x, y: pt.energy_distance(x, y, return_gradient=True)[1:3],
    "sliced_wasserstein": lambda x, y: pt.sliced_wasserstein(x, y, rng=0, return_gradient=True)[
        2:4
    ],
    "sliced_energy": lambda x, y: pt.sliced_energy(x, y, rng=0, return_gradient=True)[2:4],
    "hsic": lambda x, y: pt.hsic(x, y, return_gradient=True)[1:],
    "cka": lambda x, y: pt.cka(x, y, return_gradient=True)[1:],
    "kernel_stein_discrepancy": lambda x, y: pt.kernel_stein_discrepancy(
        x, y, return_gradient=True
    )[1:],
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_have_the_shape_of_the_rows(name):
    call = GRADIENTS[name]
    x, y = A[:, 0], B[:, 0] + 0.5
    for sets in ((x, y), (x[:, None], y), (x, y[:, None]), (x[:, None], y[:, None])):
        found = call(*sets)
        assert [g.shape for g in found] == [s.shape for s in sets]
        for g, right in zip(found, call(x[:, None], y[:, None]), strict=True):
            np.testing.assert_array_equal(g.ravel(), right.ravel())


def test_other_dimensions_are_no_feature():
    for name in sorted(SAMPLES):
        call, *_ = FUNCTIONS[name]
        for bad in (A[None], 3.0):
            with pytest.raises(ValueError, match="-D"):
                call(bad, bad)
    with pytest.raises(ValueError, match="scores must be 2-D"):
        pt.kernel_stein_discrepancy(A, A[:, 0])
    with pytest.raises(ValueError, match="x is 1-D and y is 2-D"):
        pt.wasserstein_1d(A[:, 0], A)


def test_a_stream_of_one_feature():
    values = np.random.default_rng(1).normal(size=60)
    detectors = [
        pt.OnlineMMD(given, 4, expected_run_time=20, rng=0) for given in (values, values[:, None])
    ]
    found, right = detectors[0].update(A[:, 0]), detectors[1].update(A[:, :1])
    assert_same_bits(found, right)


# --- what columns hold -----------------------------------------------------------------------

INTEGERS = np.arange(1.0, 13.0)
HELD = {
    "bool": (pa.array(INTEGERS > 5), INTEGERS > 5),
    "int64": (pa.array(INTEGERS.astype(int)), INTEGERS),
    "uint8": (pa.array(INTEGERS.astype("uint8")), INTEGERS),
    "float32": (pa.array(INTEGERS.astype("float32")), INTEGERS),
    "decimal": (pa.array(INTEGERS.astype(int)).cast(pa.decimal128(25, 3)), INTEGERS),
    "duration": (pa.array((INTEGERS * 86_400).astype("m8[s]")), INTEGERS),
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_column_is_read_as_what_it_holds(name):
    call, *_ = FUNCTIONS[name]
    x = pa.table({kind: column for kind, (column, _) in HELD.items()})
    y = table(B, list(HELD))
    values = np.column_stack([np.asarray(held, dtype=float) for _, held in HELD.values()])
    assert_same_bits(call(x, y), call(values, B))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_column_that_is_no_number(name):
    call, *_ = FUNCTIONS[name]
    x = table(A[:, :4], NAMES[:4])
    x = x.append_column("city", pa.array(["Ulm", "Bonn"] * 6))
    x = x.append_column("day", pa.array(np.arange(12).astype("M8[D]")))
    with pytest.raises(TypeError) as caught:
        call(x, B)
    said = str(caught.value)
    assert "has columns that are not numbers: 'city' (string), 'day' (date32[day])" in said
    assert "pairtile.drift" in said


@pytest.mark.oracle("pandas")
def test_columns_of_pandas_that_are_no_numbers():
    """NumPy would make numbers of dates; objects are looked at one by one."""
    import pandas

    frame = pandas.DataFrame(A, columns=NAMES)
    for column in (np.arange(12).astype("M8[s]"), np.array(list("abcdabcdabcd"), dtype=object)):
        with pytest.raises(TypeError, match=r"^y has columns that are not numbers: 'c' \("):
            pt.mmd(frame, frame.assign(c=column))
    objects = frame.astype({"c": object})
    assert pt.energy_distance(frame, objects) == 0


@pytest.mark.oracle("pandas")
def test_frames_of_flags_and_nullable_numbers():
    """As get_dummies and convert_dtypes make them; NumPy has objects of these."""
    import pandas

    plain = pandas.DataFrame(A, columns=NAMES)
    right = pt.knn(A, k=3)
    for frame in (
        plain.astype("int64").astype("Int64"),
        plain.astype("Float64"),
        plain.convert_dtypes(),
        plain.astype({"a": "Int64"}),
        plain.astype({"a": "float32", "b": "UInt8"}),
    ):
        assert_same_bits(pt.knn(frame, k=3), right)
        assert_same_bits(pt.mmd(frame, plain), pt.mmd(A, A))
    dummies = pandas.get_dummies(pandas.DataFrame({"v": A[:, 0], "city": list("abcd" * 3)}))
    assert dummies.dtypes.nunique() == 2
    values = dummies.astype(float).to_numpy()
    assert_same_bits(pt.knn(dummies, k=2), pt.knn(values, k=2))
    assert pt.mmd(dummies, dummies + 0.0) == pt.mmd(values, values)


@pytest.mark.parametrize("package", frame_makers())
def test_a_missing_value_is_named(package):
    columns = {name: A[:, j].copy() for j, name in enumerate(NAMES)}
    columns["e"][7] = np.nan
    columns["b"][7] = np.inf
    frame = made_by(package, columns)
    said = "x contains NaN or Inf; the first bad row is 7, in columns 'b', 'e'"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        pt.mmd(frame, table(B))
    for reference in (A, frame):
        with pytest.raises(ValueError, match=r"the first bad row is 7, in columns 'b', 'e'$"):
            pt.knn(frame if reference is A else A, reference, 2)
    with pytest.raises(ValueError, match=r"contains Inf; the first bad row is 7, in column 'b'$"):
        pt.knn(frame, k=2, metric="nan_euclidean")


@pytest.mark.oracle("pandas")
def test_a_bad_row_is_named_by_its_label():
    import pandas

    labels = [f"patient {i}" for i in range(12)]
    frame = pandas.DataFrame(A, columns=NAMES, index=labels)
    frame.loc["patient 4", "c"] = np.nan
    with pytest.raises(ValueError, match=r"first bad row is 4 \(label patient 4\), in column 'c'$"):
        pt.energy_test(frame, frame)


@pytest.mark.parametrize("package", frame_makers())
def test_labels_and_weights_may_be_columns(package):
    """Of integers, of nullable ones and of strings."""
    groups = np.arange(12) % 3
    frame = made_by(package, {"g": groups, "s": [f"s{g}" for g in groups], "w": groups + 1.0})
    if package == "pandas":
        frame = frame.astype({"g": "Int64"})
    right = pt.knn(A, k=2, query_groups=groups, group_rule="same")
    for name in ("g", "s"):
        assert_same_bits(pt.knn(A, k=2, query_groups=frame[name], group_rule="same"), right)
    if package == "pandas":  # where NumPy sees objects
        objects = frame["g"].astype(object)
        assert_same_bits(pt.knn(A, k=2, query_groups=objects, group_rule="same"), right)
    weighted = pt.mmd(A, B, x_weights=frame["w"])
    assert weighted == pt.mmd(A, B, x_weights=groups + 1.0)


@pytest.mark.parametrize("package", frame_makers())
def test_a_wide_table_is_read_as_column_by_column(package):
    """Plain numbers are taken whole; the numbers are the same."""
    rng = np.random.default_rng(2)
    columns = {
        f"c{j}": rng.integers(0, 100, size=9).astype(dtype)
        for j, dtype in enumerate(["f8", "f4", "i8", "u1", "i2", "?"] * 3)
    }
    frame = made_by(package, columns)
    found = frames.table("x", frame)
    read = frames.read("x", frame)
    assert found.names == read.names == list(columns)
    assert found.labels is None
    np.testing.assert_array_equal(found.values, frames.numbers("x", read))
    np.testing.assert_array_equal(found.values, np.column_stack([*columns.values()]).astype(float))


@pytest.mark.oracle("polars")
def test_nulls_of_polars_are_nan():
    import polars

    frame = polars.DataFrame({"a": [1, None, 3], "b": [True, False, None]})
    expected = [[1, 1], [np.nan, 0], [3, np.nan]]
    np.testing.assert_array_equal(frames.table("x", frame).values, expected)
