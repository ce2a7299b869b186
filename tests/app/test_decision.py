"""What the command decides on ordinary tables, and what it says where it cannot decide."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

import pairtile as pt
from files import save, save_columns
from pairtile.app.cli import main

NO_DRIFT, DRIFT, BAD_INPUT, UNDECIDED = 0, 1, 2, 4


def compare(capsys, *arguments):
    """Exit status, the report as JSON, and what went to standard error."""
    status = main(["compare", *map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, json.loads(out) if out else None, err


def written(path, columns):
    """A .csv of columns, values as `str` has them, None where missing."""
    rows = zip(*columns.values(), strict=True)
    lines = [",".join("" if v is None else str(v) for v in row) for row in rows]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    return path


def people(rng, n, raised=1.0, cities=("Rome", "Oslo"), later=0, gaps=0.0):
    days = np.datetime64("2024-01-01") + rng.integers(later, 90 + later, n)
    income = np.round(rng.lognormal(10, 0.5, n) * raised, 2).tolist()
    return {
        "age": rng.integers(18, 80, n).tolist(),
        "income": [None if rng.random() < gaps else v for v in income],
        "city": rng.choice(cities, n).tolist(),
        "signup": [str(day) for day in days],
        "member": rng.choice(["True", "False"], n).tolist(),
    }


@pytest.fixture
def tables(tmp_path):
    rng = np.random.default_rng(6)
    x = people(rng, 150)
    same = people(rng, 120)
    other = people(rng, 120, raised=1.6, cities=("Rome", "Oslo", "Lima"), later=30)
    return [
        written(tmp_path / f"{name}.csv", table)
        for name, table in (("x", x), ("same", same), ("other", other))
    ]


def test_tables_of_every_kind_of_column(tables, capsys):
    x, same, other = tables
    status, report, err = compare(capsys, x, same)
    assert (status, report["drift"], report["d"], err) == (NO_DRIFT, False, 5, "")
    kinds = {c["name"]: c["kind"] for c in report["columns"]}
    assert kinds == {
        "age": "number",
        "income": "number",
        "city": "category",
        "signup": "date",
        "member": "flag",
    }
    status, report, _ = compare(capsys, x, other)
    assert status == DRIFT
    drifted = {c["name"] for c in report["columns"] if c["pvalue_adjusted"] <= 0.05}
    assert drifted == {"income", "city", "signup"}
    assert report["pvalue_adjusted"] <= 0.002


def test_columns_and_drop(tables, capsys):
    x, _, other = tables
    status, report, _ = compare(capsys, x, other, "--columns", "member, age")
    assert (status, [c["name"] for c in report["columns"]]) == (NO_DRIFT, ["age", "member"])
    status, report, _ = compare(capsys, x, other, "--drop", "income,city,signup")
    assert (status, report["d"]) == (NO_DRIFT, 2)
    status, _, err = compare(capsys, x, other, "--drop", "wealth")
    assert status == BAD_INPUT
    assert "no column 'wealth' in either file (--drop)" in err


def test_names_with_commas_in_options(tmp_path, capsys):
    path = save_columns(tmp_path / "x.parquet", {"a, b": [1.0, 2, 3, 4], "c": [1.0, 2, 3, 4]})
    _, report, _ = compare(capsys, path, path, "--columns", '"a, b"')
    assert [c["name"] for c in report["columns"]] == ["a, b"]


def test_options_for_text_files(tmp_path, capsys):
    rng = np.random.default_rng(2)
    y = save(tmp_path / "y.npy", np.round(rng.normal(size=(30, 1)), 3))
    fields = [f"{v:.3f}".replace(".", ",") for v in rng.normal(size=30)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(fields))
    status, report, _ = compare(capsys, path, y)
    assert status == BAD_INPUT  # each line is two columns
    status, report, _ = compare(capsys, path, y, "--decimal", ",", "--encoding", "utf-8")
    assert (status, report["d"], report["warnings"]) == (NO_DRIFT, 1, [])


@pytest.mark.parametrize("own", ["--key-reference", "--key-current"])
def test_keys_of_each_file(tmp_path, capsys, own):
    x, y = np.random.default_rng(9).normal(size=(2, 20, 2))
    np.savez(tmp_path / "a.npz", one=x, two=x[:, :1], three=x[:, :1])
    files = (tmp_path / "a.npz", save(tmp_path / "b.npy", y))
    status, report, _ = compare(
        capsys, *(files if own == "--key-reference" else files[::-1]), own, "one"
    )
    assert (status, report["d"]) == (NO_DRIFT, 2)
    both = tmp_path / "a.npz", tmp_path / "a.npz"
    assert compare(capsys, *both, "--key", "one", own, "two")[0] == BAD_INPUT
    assert compare(capsys, *both, "--key", "two", own, "three")[1]["d"] == 1


# --- missing values ----------------------------------------------------------------------------


def test_missing_values(tmp_path, capsys):
    rng = np.random.default_rng(3)
    x = written(tmp_path / "x.csv", people(rng, 200))
    y = written(tmp_path / "y.csv", people(rng, 200, gaps=0.3))
    status, report, _ = compare(capsys, x, y)
    income = {c["name"]: c for c in report["columns"]}["income"]
    assert status == DRIFT  # that values are missing is a change
    assert income["missing_reference"] == 0
    assert 0.2 < income["missing_current"] < 0.4
    status, report, _ = compare(capsys, x, y, "--missing", "drop")
    assert status == NO_DRIFT
    assert "--missing drop left out" in report["warnings"][0]
    status, _, err = compare(capsys, x, y, "--missing", "raise")
    assert status == BAD_INPUT
    assert re.search(r"y\.csv: row \d+: missing value in column 'income'", err)


def test_no_row_without_missing_values(tmp_path, capsys):
    x = written(tmp_path / "x.csv", {"a": [1, 2, 3], "b": [None, None, None]})
    status, _, err = compare(capsys, x, x, "--missing", "drop")
    assert status == BAD_INPUT
    assert "x.csv: every row lacks a value, and --missing drop leaves none" in err


# --- which test --------------------------------------------------------------------------------


@pytest.mark.parametrize("test", ["energy", "mmd", "aggregated", "sliced"])
def test_one_test_decides_alone(tmp_path, capsys, test):
    x, y = np.random.default_rng(4).normal(size=(2, 60, 3))
    files = save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y + 1.0)
    status, report, _ = compare(capsys, *files, "--test", test)
    expected = pt.drift(x, y + 1.0, test=test, rng=0)
    assert (status, report["pvalue_adjusted"]) == (DRIFT, expected.pvalue)
    assert report[test]["pvalue"] == expected.test.pvalue
    others = {"energy", "mmd"} - {test}
    assert all(report[other] is None for other in others)
    assert main(["compare", *map(str, files), "--test", test]) == DRIFT
    assert f"DRIFT: p-value {expected.pvalue:.3g} ≤ alpha 0.05" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["random", "cheap_permutation", "gamma", "spectrum"])
def test_method_names_the_null(tmp_path, capsys, method):
    x, y = np.random.default_rng(4).normal(size=(2, 40, 3))
    files = save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y)
    status, report, _ = compare(capsys, *files, "--method", method)
    null = "permutation" if method == "random" else method
    assert (status, report["null"]) == (NO_DRIFT, null)


def test_a_null_that_samples_do_not_allow_is_bad_input(tmp_path, capsys):
    x, y = np.random.default_rng(4).normal(size=(2, 40, 3))
    files = save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y[:-1])
    status, _, err = compare(capsys, *files, "--method", "wild_bootstrap")
    assert status == BAD_INPUT
    assert "--method wild_bootstrap: the wild bootstrap pairs row i of x with row i of y" in err


def test_many_rows_have_a_cheaper_null_and_bandwidth(tmp_path, capsys):
    x, y = np.random.default_rng(7).normal(size=(2, 2600, 1)).astype("f4")
    for rows, null in ((2500, "permutation"), (2600, "cheap_permutation")):
        files = save(tmp_path / "x.npy", x[:rows]), save(tmp_path / "y.npy", y[:rows])
        report = compare(capsys, *files, "--test", "mmd")[1]
        assert report["null"] == null
        exact = null == "permutation"
        pair = x[:rows], y[:rows]
        assert report["mmd"]["sigma"] == pt.median_distance(*pair, exact=exact, rng=0)
        assert report["mmd"]["sigma"] == pytest.approx(pt.median_distance(*pair), rel=0.02)


# --- where nothing can be said -----------------------------------------------------------------


def test_too_few_rows_for_any_drift(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(3, 3))
    files = save(tmp_path / "x.csv", x, "a,b,c"), save(tmp_path / "y.csv", x + 1000, "a,b,c")
    status, report, _ = compare(capsys, *files)
    assert (status, report["drift"]) == (UNDECIDED, False)
    assert "with 3 and 3 rows no p-value can be below 0.2, and alpha is 0.05" in report["undecided"]
    assert report["undecided"] in report["warnings"]
    assert main(["compare", *map(str, files)]) == UNDECIDED
    out = capsys.readouterr().out
    assert "nothing can be said: with 3 and 3 rows" in out
    assert "no drift" not in out
    assert compare(capsys, *files, "--alpha", 0.2)[0] == DRIFT
    more = np.random.default_rng(0).normal(size=(5, 3))
    files = save(tmp_path / "x.npy", more), save(tmp_path / "y.npy", more + 1000)
    assert compare(capsys, *files)[0] == DRIFT  # 2 of 252, twice


def flags(path, ones, n=200):
    return written(path, {"f": [1] * ones + [0] * (n - ones)})


def test_a_rare_flag_has_no_bandwidth_and_the_energy_test_decides(tmp_path, capsys):
    x, y = flags(tmp_path / "x.csv", 4), flags(tmp_path / "y.csv", 40)
    status, report, _ = compare(capsys, x, y)
    assert status == DRIFT
    assert report["mmd"] is None
    energy = pt.energy_test(
        np.repeat([1.0, 0.0], [4, 196]), np.repeat([1.0, 0.0], [40, 160]), rng=0
    )
    assert report["energy"]["pvalue"] == report["pvalue_adjusted"] == energy.pvalue
    assert (
        "the mmd test was not computed: the median distance between rows is 0"
        in report["warnings"][0]
    )
    assert main(["compare", str(x), str(y)]) == DRIFT
    assert re.search(r"MMD² +not computed", capsys.readouterr().out)
    assert compare(capsys, x, flags(tmp_path / "z.csv", 5))[0] == NO_DRIFT


def test_samples_that_differ_without_a_scale(tmp_path, capsys):
    x, y = flags(tmp_path / "x.csv", 4), flags(tmp_path / "y.csv", 40)
    status, report, _ = compare(capsys, x, y, "--test", "mmd")
    assert (status, report["drift"], report["pvalue_adjusted"]) == (UNDECIDED, False, None)
    assert "there is no scale to compare at" in report["undecided"]
    assert main(["compare", str(x), str(y), "--test", "mmd"]) == UNDECIDED
    assert "nothing can be said: " in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--test", "mmd"]])
def test_equal_constant_files_do_not_differ(tmp_path, capsys, more):
    x = flags(tmp_path / "x.csv", 0)
    status, report, _ = compare(capsys, x, x, *more)
    assert (status, report["drift"], report["undecided"]) == (NO_DRIFT, False, None)
    assert main(["compare", str(x), str(x), *more]) == NO_DRIFT
    assert "no drift: " in capsys.readouterr().out


# --- numbers of any size -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [-1e150, 1e100, 5e-324])
@pytest.mark.parametrize("options", [[], ["--no-standardize"]])
@pytest.mark.parametrize("d", [1, 3])
def test_an_extreme_value(tmp_path, capsys, value, options, d):
    x, y = np.random.default_rng(0).normal(size=(2, 40, d))
    y[0, 0] = value
    files = save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y)
    status, report, err = compare(capsys, *files, "--permutations", 99, *options)
    assert status in (NO_DRIFT, DRIFT)
    assert err == ""
    assert math.isfinite(report["energy"]["statistic"])
    assert main(["compare", *map(str, files), "--permutations", "99", *options]) == status
    out, err = capsys.readouterr()
    assert err == ""
    assert "nan" not in out
    assert "inf" not in out


@pytest.mark.parametrize("value", [1e155, -1.7976931348623157e308])
@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_a_value_that_cannot_be_squared(tmp_path, capsys, value, suffix):
    """Misread bytes and sentinels are like that; what they do to a statistic is no answer."""
    x, y = np.random.default_rng(0).normal(size=(2, 40, 3))
    y[7, 1] = value
    files = save(tmp_path / f"x{suffix}", x), save(tmp_path / f"y{suffix}", y)
    status, _, err = compare(capsys, *files)
    assert status == BAD_INPUT
    assert f"y{suffix}: row 7: value {value:g} in column 1, whose square float64 cannot hold" in err


# --- the report --------------------------------------------------------------------------------


def numbers(value):
    """Every number in JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [n for v in value for n in numbers(v)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


@pytest.mark.parametrize("shifted", [False, True])
def test_json_has_every_number_of_the_table(tables, capsys, shifted):
    x, same, other = tables
    files = x, other if shifted else same
    _, report, _ = compare(capsys, *files, "--permutations", 99)
    assert main(["compare", *map(str, files), "--permutations", "99"]) == int(shifted)
    out = capsys.readouterr().out
    known = numbers(report)
    shown = re.findall(r"(?<![\w.<])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.×])", out)
    assert len(shown) > (20 if shifted else 10)
    for text in shown:
        places = len(text.split("e")[0].partition(".")[2])
        unit = 10.0 ** (int(text.partition("e")[2] or 0) - places)
        assert any(abs(float(text) - number) <= 0.51 * unit for number in known), text


def test_what_is_said_of_files_goes_to_standard_error_and_into_json(tmp_path, capsys):
    values = np.round(np.random.default_rng(1).normal(size=(20, 3)), 3)
    x = save(tmp_path / "x.csv", values, "0,1,2")
    status, report, err = compare(capsys, x, x)
    assert (status, report["n_reference"]) == (NO_DRIFT, 20)
    assert "x.csv: the first row (0, 1, 2) is taken for a header, not for data" in err
    assert all(f"pairtile: {warning}\n" in err for warning in report["warnings"])
    assert main(["compare", str(x), str(x)]) == NO_DRIFT
    out, again = capsys.readouterr()
    assert again == err
    assert "header" not in out


def test_a_saved_index_raises_no_alarm(tmp_path, capsys):
    """Row numbers would drown the features: these are samples of one distribution."""
    x, y = np.random.default_rng(5).normal(size=(2, 60, 3))
    files = [
        save(tmp_path / f"{first}.csv", np.c_[np.arange(first, first + 60), a], "Unnamed: 0,a,b,c")
        for first, a in ((0, x), (60, y))
    ]
    status, report, err = compare(capsys, *files)
    plain = save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y)
    assert (status, report["energy"]) == (NO_DRIFT, compare(capsys, *plain)[1]["energy"])
    assert err.count("left out (--columns keeps it)") == 2
    status, report, _ = compare(capsys, *files, "--columns", "Unnamed: 0,a,b,c")
    assert (status, report["d"]) == (DRIFT, 4)


@pytest.mark.oracle("pandas")
def test_labels_of_rows(tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="reading .parquet needs pyarrow")
    import pandas as pd

    x, y = np.random.default_rng(1).normal(size=(2, 30, 2))
    files = tmp_path / "x.parquet", tmp_path / "y.parquet"
    pd.DataFrame(x, columns=["a", "b"]).to_parquet(files[0], engine="pyarrow")
    labels = [f"id-{i}" for i in range(30)]
    pd.DataFrame(y + 2, columns=["a", "b"], index=labels).to_parquet(files[1], engine="pyarrow")
    status, report, _ = compare(capsys, *files)
    assert status == DRIFT
    assert all(row["label"] == f"id-{row['index']}" for row in report["rows"])
    main(["compare", *map(str, files)])
    assert f"id-{report['rows'][0]['index']}" in capsys.readouterr().out


def test_page(tables, tmp_path, capsys):
    x, _, other = tables
    page = tmp_path / "report.html"
    assert compare(capsys, x, other, "--html", page)[0] == DRIFT
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    for name in ("income", "city", "signup"):
        assert name in text
    assert "energy and MMD together" in text


def test_a_page_that_cannot_be_written(tables, tmp_path, capsys):
    x, same, _ = tables
    for page in (tmp_path, tmp_path / "nowhere" / "report.html"):
        status, report, err = compare(capsys, x, same, "--html", page)
        assert (status, report) == (BAD_INPUT, None)
        assert "so --html cannot be written" in err
    constant = flags(tmp_path / "c.csv", 0)
    status, _, err = compare(capsys, constant, constant, "--test", "mmd", "--html", tmp_path / "p")
    assert status == BAD_INPUT
    assert "no page can be written: " in err


@pytest.mark.parametrize("arguments", [["--version"], ["compare", "--version"]])
def test_version(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    assert capsys.readouterr().out == f"pairtile {pt.__version__}\n"
