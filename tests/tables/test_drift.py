"""One decision about two tables, and what explains it."""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from scipy.stats import binom

import pairtile as pt
from mixed_tables import arrow, customers, pairs_of_tables
from pairtile.tables.examination import Options, examine
from pairtile.tables.features import pair

QUICK = {"n_permutations": 99, "rng": 0}
PACKAGES = [
    "pyarrow",
    *(pytest.param(p, marks=pytest.mark.oracle(p)) for p in ("pandas", "polars")),
]


def drifted(frame=pa.table, n=1500, m=1000):
    """Higher incomes, a new city, later dates; age, score and activity as they were."""
    rng = np.random.default_rng(0)
    shifted = {"income": 0.2, "cities": ("Rome", "Oslo", "Bern", "Graz"), "since": "2022-03-01"}
    return frame(customers(rng, n)), frame(customers(rng, m, **shifted))


def frames_of(package):
    if package == "pyarrow":
        return pa.table
    return importlib.import_module(package).DataFrame


@pytest.mark.parametrize("package", PACKAGES)
def test_the_columns_that_drifted_are_found(package):
    found = pt.drift(*drifted(frames_of(package)), **QUICK)
    assert found.drift
    assert found.pvalue == found.test.pvalue == 0.01
    assert [c.name for c in found.columns if c.pvalue_adjusted <= 0.05] == [
        "income",
        "city",
        "signup",
    ]
    kinds = {c.name: c.kind for c in found.columns}
    assert kinds == {
        "age": "number",
        "income": "number",
        "city": "category",
        "active": "flag",
        "score": "number",
        "signup": "date",
    }
    assert any("standardized" in warning for warning in found.warnings)
    assert {c.name: c.missing_current > 0 for c in found.columns if c.missing_reference} == {
        "score": True
    }
    assert {name for row in found.rows for name in row.columns} <= {"income", "city", "signup"}
    assert (found.n_reference, found.n_current, found.sampled) == (1500, 1000, None)


def test_without_drift_none_is_found():
    rng = np.random.default_rng(3)
    found = pt.drift(arrow_of(rng, 200), arrow_of(rng, 150), rng=0)
    assert not found.drift
    assert found.pvalue > 0.05
    assert "row of current" not in str(found)


def arrow_of(rng, n):
    return pa.table(customers(rng, n))


@pytest.mark.parametrize("test", ["energy", "mmd", "sliced", "aggregated"])
def test_the_joint_test_is_the_public_one(test):
    """Of the matrices of `encode`, with the seed as it is."""
    x, y = (t.slice(0, 60) for t in drifted())
    encoded = pt.encode(x, y, standardize=True)
    public = {
        "energy": pt.energy_test,
        "mmd": pt.mmd_test,
        "sliced": pt.sliced_test,
        "aggregated": pt.mmd_aggregated_test,
    }[test]
    expected = public(encoded.reference, encoded.current, **QUICK)
    found = pt.drift(x, y, test=test, **QUICK)
    assert found.pvalue == expected.pvalue
    assert found.test_name == test
    if test != "aggregated":
        assert found.test.statistic == pytest.approx(expected.statistic, rel=1e-12)
        assert found.test.kernel == expected.kernel


def test_sliced_relabellings_may_be_drawn_where_all_could_be_looked_at():
    x, y = np.random.default_rng(0).normal(size=(2, 4, 2))
    for method in ("permutation", "random"):
        found = pt.drift(x, y, test="sliced", method=method, rng=3, n_permutations=999).test
        encoded = pt.encode(x, y)
        expected = pt.sliced_test(
            encoded.reference, encoded.current, method=method, rng=3, n_permutations=999
        )
        assert found.pvalue == expected.pvalue
        assert (len(found.null_distribution) < 80) == (method == "permutation")


def test_more_than_5000_rows_exchange_bins_in_random_order():
    """Rows sorted by a column would make bins that are unlike each other, and the test blind."""
    rng = np.random.default_rng(0)
    x, y = np.sort(rng.normal(size=3000)), np.sort(rng.normal(0.3, 1, size=2500))
    found = pt.drift(x, y, rng=0)
    assert found.test.null == "cheap_permutation"
    assert found.drift
    assert pt.energy_test(x, y, rng=0, method="cheap_permutation").pvalue > 0.2
    assert found.test.statistic == pytest.approx(pt.energy_distance(x, y), rel=1e-9)
    assert pt.drift(x[:2500], y, rng=0, n_permutations=19).test.null == "permutation"
    assert pt.drift(x, y, method="gamma").test.null == "gamma"
    few = pt.drift(np.repeat(x, 2)[:5500], y[:5], rng=0, n_permutations=19, top=0)
    assert few.test.null == "permutation"  # there are no bins of one size


@pytest.mark.parametrize("test", ["energy", "mmd"])
def test_rows_are_those_of_the_witness_function(test):
    x, y = (t.slice(0, 80) for t in drifted())
    encoded = pt.encode(x, y, standardize=True)
    a, b = encoded.reference, encoded.current
    kernel = "energy"
    if test == "mmd":
        kernel = pt.Gaussian(pt.median_distance(a, b))
    expected = pt.witness(b, a, b, kernel=kernel)
    rows = pt.drift(x, y, test=test, top=7, **QUICK).rows
    order = np.argsort(expected)[:7]
    assert [row.index for row in rows] == order.tolist()
    np.testing.assert_allclose([row.witness for row in rows], expected[order], rtol=1e-9)
    assert all(row.label == row.index for row in rows)
    assert pt.drift(x, y, top=0, **QUICK).rows == []


@pytest.mark.parametrize("test", ["energy", "mmd"])
def test_a_row_names_the_columns_that_made_it(test):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 6)), rng.normal(size=(150, 6))
    y[:50, 2] += 6
    y[50:100, [0, 5]] = rng.normal(6, 0.3, size=(50, 2))
    x, y = (pa.table({f"c{j}": a[:, j] for j in range(6)}) for a in (x, y))
    for row in pt.drift(x, y, test=test, top=60, **QUICK).rows:
        assert set(row.columns) == ({"c2"} if row.index < 50 else {"c0", "c5"})
    one = pt.drift(x.select(["c2"]), y.select(["c2"]), **QUICK)
    assert one.rows[0].columns == ["c2"]


@pytest.mark.oracle("pandas")
@pytest.mark.parametrize("missing", ["indicator", "drop"])
def test_rows_carry_the_labels_of_the_frame_whatever_was_left_out(missing):
    pandas = importlib.import_module("pandas")
    rng = np.random.default_rng(0)
    x, y = ({"a": rng.normal(size=400), "b": rng.normal(size=400)} for _ in range(2))
    y["b"][::2] = np.nan
    y["a"][301] = 1000.0
    dates = pandas.date_range("2024-01-01", periods=400)
    found = pt.drift(
        pandas.DataFrame(x),
        pandas.DataFrame(y, index=dates),
        missing=missing,
        max_rows=190,
        top=400,
        **QUICK,
    )
    assert found.sampled == (190, 190)
    assert len(found.rows) == 190
    assert len({row.index for row in found.rows}) == 190
    assert all(row.label == dates[row.index] for row in found.rows)
    if missing == "drop":
        assert all(row.index % 2 for row in found.rows)
        assert found.warnings[0] == (
            "missing='drop' left out 0 of 400 rows of reference and 200 of 400 of current"
        )
    assert found.columns[1].missing_current == 0.5  # of all rows that were given
    assert json.loads(found.to_json())["rows"][0]["label"].startswith("202")


def test_a_sample_is_drawn_by_the_seed():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 2)), rng.normal(size=(250, 2))
    first, again, other = (
        pt.drift(x, y, max_rows=100, n_permutations=99, rng=seed) for seed in (1, 1, 2)
    )
    assert first.to_dict() == again.to_dict()
    assert first.pvalue != other.pvalue or first.test.statistic != other.test.statistic
    assert (first.sampled, first.seed) == ((100, 100), 1)
    assert "random samples, 100 of 300 rows of reference and 100 of 250" in first.warnings[0]
    one, two = (
        pt.drift(x, y, max_rows=100, n_permutations=99, rng=np.random.default_rng(5))
        for _ in range(2)
    )
    assert one.to_dict() == two.to_dict()
    assert one.seed is None
    assert pt.drift(x, y, n_permutations=19).seed is None


def test_a_small_unit_beside_a_large_one():
    """Unstandardised, the column of large unit would decide alone."""
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=300), rng.normal(size=300) * 1e6]
    y = np.c_[rng.normal(2, 1, size=250), rng.normal(size=250) * 1e6]
    found = pt.drift(x, y, **QUICK)
    assert found.drift
    assert "more than 10× (smallest 'x0', largest 'x1'): all columns were standard" in str(
        found.warnings
    )
    assert not pt.drift(x, y, standardize=False, **QUICK).drift
    assert "standardize=True" in pt.drift(x, y, standardize=False, **QUICK).warnings[0]
    assert pt.drift(x, y, standardize=True, **QUICK).warnings == []
    assert pt.drift(x[:, :1], 9 * y[:, :1], **QUICK).warnings == []


def test_a_category_beside_a_large_unit():
    rng = np.random.default_rng(0)
    x = {"income": rng.normal(5e4, 2e4, 300), "city": rng.choice(["a", "b"], 300)}
    y = {"income": rng.normal(5e4, 2e4, 300), "city": rng.choice(["b", "c"], 300)}
    assert pt.drift(pa.table(x), pa.table(y), **QUICK).drift


def test_columns_without_a_value_in_common_are_named():
    rng = np.random.default_rng(0)
    day = np.datetime64("2024-01-01")
    names = ("id", "seen", "batch", "age", "open")

    def table(first, batch, n=60):
        number = first + np.arange(n)
        columns = (number, day + number, [batch] * n, rng.normal(size=n), [first > 0] * n)
        return pa.table(dict(zip(names, columns, strict=True)))

    found = pt.drift(table(0, "old"), table(60, "new"), **QUICK)
    assert found.warnings[-1].startswith("the tables have no values in common in 'id', 'seen', 'b")
    assert "drop=" in found.warnings[-1]
    assert "'age'" not in found.warnings[-1]
    assert "'open'" not in found.warnings[-1]  # a flag has no more to change
    few = pt.drift(table(0, "old", 2), table(2, "new", 2), **QUICK)
    assert not any("in common" in warning for warning in few.warnings)


def test_columns_of_one_value_are_named():
    x = pa.table({"a": [1.0] * 20, "b": ["q"] * 20, "c": pa.nulls(20), "d": list(range(20))})
    found = pt.drift(x, x, **QUICK)
    assert (found.drift, found.pvalue) == (False, 1.0)
    assert "constant over both tables: 'a', 'b'" in found.warnings
    assert "without any value: 'c'" in found.warnings
    y = x.set_column(3, "d", pa.nulls(20))
    assert "column 'd' has no value in current" in pt.drift(x, y, **QUICK).warnings


def test_equal_constant_tables_do_not_drift():
    x = np.zeros((30, 2))
    found = pt.drift(x, x, rng=0)
    assert (found.drift, found.pvalue) == (False, 1.0)
    assert examine(pair(x, x), Options(tests=("energy", "mmd")), rng=0).undecidable is None


def test_a_rare_flag_that_becomes_common():
    """More than half of all pairs of rows are equal: no median bandwidth, and still an answer."""
    x, y = (np.r_[np.ones(k), np.zeros(200 - k)] for k in (4, 40))
    assert pt.drift(x, y, rng=0).drift
    with pytest.raises(ValueError, match=r"test='mmd': the median distance.*test='energy' needs"):
        pt.drift(x, y, test="mmd", rng=0)
    found = examine(pair(x, y), Options(tests=("energy", "mmd")), rng=0)
    assert found.drift
    assert set(found.results) == {"energy"}
    assert "no scale to compare at" in found.reasons["mmd"]
    assert any("the mmd test was not computed" in warning for warning in found.warnings)
    alone = examine(pair(x, y), Options(tests=("mmd",)), rng=0)
    assert alone.undecidable == alone.reasons["mmd"]
    assert not alone.drift


def test_two_tests_are_adjusted_for_each_other():
    x, y = (t.slice(0, 40) for t in drifted())
    found = examine(pair(x, y), Options(tests=("energy", "mmd"), n_permutations=199), rng=0)
    ps = sorted(result.pvalue for result in found.results.values())
    assert found.pvalue == min(1.0, 2 * ps[0])


@pytest.mark.parametrize(
    ("n", "m", "options", "what"),
    [
        (3, 3, {}, "with 3 and 3 rows no p-value can be below 0.1,"),
        (3, 4, {"alpha": 0.01}, "with 3 and 4 rows no p-value can be below 0.0286"),
        (3, 4, {"alpha": 0.03}, None),
        (1, 18, {}, "with 1 and 18 rows no p-value can be below 0.0526"),
        (1, 19, {}, None),
        (20, 20, {"n_permutations": 9}, "with 9 permutations no p-value can be below 0.1"),
        (20, 20, {"n_permutations": 19}, None),
        (20, 20, {"n_permutations": 9, "method": "gamma"}, None),
    ],
)
def test_too_little_to_say_anything_is_said_first(n, m, options, what):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 2)), 100 + rng.normal(size=(m, 2))
    found = pt.drift(x, y, **{"rng": 0, **options})
    if what is None:
        assert not any("nothing can be said" in warning for warning in found.warnings)
    else:
        assert what in found.warnings[0]
        assert "nothing can be said" in " ".join(str(found).split())
    undecidable = examine(pair(x, y), Options(**options), rng=0).undecidable
    assert (undecidable is None) == (what is None)


def test_embeddings_in_float32():
    """NumPy's clip rounds its limits to the dtype of what it clips."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40, 8)).astype(np.float32)
    y[:, 3] += 2
    found = pt.drift(x, y, **QUICK)
    assert found.rows[0].columns[0] == "x3"
    assert len(found.columns) == 8


def test_values_of_any_size():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40, 3))
    y[0, 0] = -1.7976931348623157e308
    found = pt.drift(x, y, **QUICK)
    assert np.isfinite(found.pvalue)
    assert [row.columns for row in found.rows if row.index == 0] == [["x0"]]
    json.loads(found.to_json())
    x, y = 1e-90 * rng.normal(size=(2, 40, 3))
    y[0, 0] = 1e70
    found = pt.drift(x, y, standardize=False, top=40, **QUICK)
    assert [row.columns for row in found.rows if row.index == 0] == [["x0"]]


def test_missing_shares_of_lists_are_by_position():
    x = pa.table({"v": [[1.0, 2.0], [3.0, None], None, [5.0, 6.0]] * 5})
    y = pa.table({"v": [[1.0, 2.0], [3.0, 4.0]] * 5})
    first, second = pt.drift(x, y, **QUICK).columns
    assert (first.name, first.missing_reference, first.missing_current) == ("v[0]", 0.25, 0.0)
    assert (second.name, second.missing_reference, second.missing_current) == ("v[1]", 0.5, 0.0)


def test_the_largest_numbers_of_all():
    x = np.array([[1.7e308], [-1.7e308], [1.0]] * 8)
    found = pt.drift(x, np.abs(x), **QUICK)
    assert found.columns[0].effect == pytest.approx(1 / 3)
    assert found.drift
    small = pt.drift(x * 2.0**-1000, np.abs(x * 2.0**-1000), **QUICK)
    assert [row.index for row in found.rows] == [row.index for row in small.rows]
    np.testing.assert_allclose(
        [row.witness for row in found.rows], [row.witness * 2.0**1000 for row in small.rows]
    )


def test_columns_and_drop_choose():
    x, y = drifted(n=60, m=50)
    x = x.append_column("only here", pa.array(range(60)))
    with pytest.raises(ValueError, match=r"lacks 'only here'; columns= and drop= choose among"):
        pt.drift(x, y)
    assert [c.name for c in pt.drift(x, y, columns=["score", "age"], **QUICK).columns] == [
        "score",
        "age",
    ]
    left = pt.drift(x, y, drop=["only here", "city"], **QUICK)
    assert [c.name for c in left.columns] == ["age", "income", "active", "score", "signup"]
    for options, message in (
        ({"drop": ["town"]}, "drop names 'town', which no table has"),
        ({"columns": ["only here"]}, "current has no column 'only here'; it has 'age'"),
        ({"columns": ["age", "age"]}, "columns names 'age' more than once"),
        ({"columns": ["age"], "drop": ["age"]}, "has no columns left to compare"),
    ):
        with pytest.raises(ValueError, match=message):
            pt.drift(x, y, **options)
    with pytest.raises(TypeError, match="drop must be a list of names of columns, got 'city'"):
        pt.drift(x, y, drop="city")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": "ks"}, "unknown test 'ks'"),
        ({"alpha": 0}, "alpha must be above 0 and below 1, got 0"),
        ({"alpha": 1}, "alpha must be above 0 and below 1, got 1"),
        ({"test": "sliced", "method": "gaussian"}, "the methods 'permutation' and 'random'"),
        ({"missing": "ignore"}, "unknown missing"),
        ({"standardize": "yes"}, "standardize must be 'auto', True or False"),
        ({"max_rows": 1}, "max_rows must be at least 2"),
        ({"top": -1}, "top must be at least 0"),
        ({"n_permutations": 0}, "n_permutations must be at least 1"),
        ({"method": "bootstrap"}, "unknown method 'bootstrap'"),
    ],
)
def test_options_are_checked(options, message):
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match=message):
        pt.drift(x, x + 1, **options)


def test_keywords_of_other_packages_are_answered():
    with pytest.raises(TypeError, match="'random_state'; here it is rng"):
        pt.drift(np.eye(3), np.eye(3), random_state=0)


@given(pairs_of_tables())
def test_any_two_tables(tables):
    """An answer, printable on a screen and in JSON, and the same for columns in another order."""
    old, new, types = tables
    found = pt.drift(arrow(old, types), arrow(new, types), n_permutations=19, rng=0)
    assert 0 < found.pvalue <= 1
    assert found.drift == (found.pvalue <= 0.05)
    assert "\n" not in repr(found)
    lines = str(found).splitlines()
    assert len(lines) <= 24
    assert all(len(line) <= 90 for line in lines)
    shown = json.loads(found.to_json())
    assert [c["name"] for c in shown["columns"]] == [c.name for c in found.columns]
    assert "profiles" not in shown
    for column in found.columns:
        assert 0 <= column.effect <= 1
        assert 0 <= column.pvalue <= column.pvalue_adjusted <= 1
    turned = {name: new[name] for name in reversed(new)}
    again = pt.drift(arrow(old, types), arrow(turned, types), n_permutations=19, rng=0)
    assert again.to_dict() == found.to_dict()
    for column in found.columns:
        profile = found.profiles[column.name]
        present = 1.0 if profile.levels else 1 - column.missing_reference
        assert profile.reference.sum() == pytest.approx(present)
        if profile.edges is not None and len(profile.reference):
            assert len(profile.edges) == len(profile.reference) + 1 <= 25
        elif profile.levels is not None:
            assert len(profile.levels) == len(profile.reference) <= 14


def test_profiles_are_histograms():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=1000), rng.normal(size=500)
    y[0] = 1e6
    profile = pt.drift(x, y, n_permutations=19, rng=0).profiles["x0"]
    low, high = np.quantile(np.r_[x, y], [0.005, 0.995], method="nearest")
    np.testing.assert_allclose(profile.edges, np.linspace(low, high, 25))
    open_ended = np.r_[-np.inf, profile.edges[1:-1], np.inf]
    for shares, sample in ((profile.reference, x), (profile.current, y)):
        np.testing.assert_allclose(shares, np.histogram(sample, open_ended)[0] / len(sample))
    whole = np.tile(np.arange(25.0), 8)  # each on an edge, and in the bin that begins there
    shares = pt.drift(whole, whole[:100], n_permutations=19, rng=0).profiles["x0"].reference
    np.testing.assert_allclose(shares, [1 / 25] * 23 + [2 / 25])
    old, new = drifted()
    profiles = pt.drift(old, new, **QUICK).profiles
    assert profiles["signup"].edges.dtype == np.dtype("datetime64[us]")
    assert sorted(profiles["city"].levels) == ["Bern", "Graz", "Oslo", "Rome"]
    assert profiles["active"].levels == ["0", "1"]


def test_a_screen_for_many_columns_with_long_names():
    rng = np.random.default_rng(0)
    names = [f"{'long name ' * 9}\n{j}\x1b[31m" for j in range(60)]
    x, y = ({name: rng.normal(j % 2, 1, 50) for name in names} for j in range(2))
    text = str(pt.drift(pa.table(x), pa.table(y), **QUICK))
    lines = text.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in text
    assert "and 52 more, " in text


def test_progress_is_one_count():
    seen = []
    x, y = drifted(n=100, m=80)
    pt.drift(x, y, progress=lambda done, total: seen.append((done, total)), **QUICK)
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_room_of_tables_is_loaded_when_first_used():
    code = (
        "import sys, pairtile as pt; assert 'drift' in dir(pt); "
        "assert 'pairtile.tables' not in sys.modules; "
        "pt.drift; assert 'pairtile.tables' in sys.modules; "
        "assert 'scipy' not in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'drifts'"):
        _ = pt.drifts


def test_results_can_be_pickled():
    x, y = drifted(n=50, m=40)
    found = pt.drift(x, y, **QUICK)
    assert pickle.loads(pickle.dumps(found)).to_dict() == found.to_dict()
    assert pickle.loads(pickle.dumps(pt.encode(x, y))).names == pt.encode(x, y).names


def null_pvalues(runs, n, m, method):
    found = []
    for run in range(runs):
        rng = np.random.default_rng(run)
        old, new = (customers(rng, size) for size in (n, m))
        for table in (old, new):  # a category that is rare and a date that is often missing
            table["signup"] = [None if rng.random() < 0.3 else v for v in table["signup"]]
            table["city"] = ["Faro" if rng.random() < 0.02 else v for v in table["city"]]
        result = pt.drift(
            pa.table(old), pa.table(new), n_permutations=199, top=0, method=method, rng=run
        )
        found.append((result.pvalue, min(c.pvalue_adjusted for c in result.columns)))
    return np.array(found)


@pytest.mark.parametrize("method", ["permutation", "cheap_permutation"])
def test_the_level_without_drift(method):
    """Of the joint test: as likely as a binomial number makes it; of the columns: no more."""
    runs = 60
    joint, columns = null_pvalues(runs, 40, 30, method).T
    for alpha in (0.05, 0.2, 0.5):
        rejected = np.count_nonzero(joint <= alpha)
        assert binom.cdf(rejected, runs, alpha) > 1e-3
        assert binom.sf(rejected - 1, runs, alpha) > 1e-3
        assert binom.sf(np.count_nonzero(columns <= alpha) - 1, runs, alpha) > 1e-3


@pytest.mark.hand
@pytest.mark.parametrize("method", ["permutation", "cheap_permutation"])
def test_the_level_by_hand(method):
    joint, columns = null_pvalues(500, 150, 120, method).T
    for alpha in (0.01, 0.05, 0.1):
        share, of_columns = (np.mean(p <= alpha) for p in (joint, columns))
        print(f"{method}: {share:.3f} at {alpha}, columns {of_columns:.3f}")
        assert binom.sf(round(500 * share) - 1, 500, alpha) > 1e-3
        assert binom.cdf(round(500 * share), 500, alpha) > 1e-3
