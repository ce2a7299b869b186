"""The `pairtile` command: what it loads, refuses, prints and answers as exit status."""

from __future__ import annotations

import builtins
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import pairtile as pt
from pairtile._front import progress as bar
from pairtile.app.cli import main

N_PERMUTATIONS = 99


@pytest.fixture
def rows():
    """80 reference rows, 70 of the same distribution, and these shifted; three features."""
    rng = np.random.default_rng(20)
    x, y = rng.normal(size=(80, 3)), rng.normal(size=(70, 3))
    return x, y, y + 1.5


def run(*arguments):
    return main(["compare", *map(str, arguments), "--permutations", str(N_PERMUTATIONS)])


def save(path, values, header=None):
    """Write a table in the format of the path's suffix."""
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, rows=values)
    elif path.suffix == ".csv":
        lines = [",".join(map(repr, map(float, row))) for row in values]
        path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")
    else:
        pa = pytest.importorskip("pyarrow", reason="reading .parquet needs pyarrow")
        import pyarrow.parquet as pq

        names = header.split(",") if header else [f"c{j}" for j in range(values.shape[1])]
        pq.write_table(pa.table(dict(zip(names, values.T, strict=True))), path)
    return path


def refused(capsys, *arguments):
    """The message of a call that must end in exit status 2 and print nothing else."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


# --- what comes out -----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet", ".NPY"])
def test_formats_and_exit_status(tmp_path, rows, suffix, capsys):
    x, same, shifted = (
        save(tmp_path / f"{name}{suffix.lower()}", values).rename(tmp_path / f"{name}{suffix}")
        for name, values in zip(("x", "same", "shifted"), rows, strict=True)
    )
    assert run(x, same) == 0
    out = capsys.readouterr().out
    assert "80 reference rows, 70 current rows, 3 features" in out
    assert "no drift: Holm-adjusted p-value" in out
    assert run(x, shifted) == 1
    assert "DRIFT: Holm-adjusted p-value 0.02 ≤ alpha 0.05" in capsys.readouterr().out


def test_formats_may_be_mixed(tmp_path, rows, capsys):
    x = save(tmp_path / "x.npy", rows[0])
    y = save(tmp_path / "y.csv", rows[1], header="a,b,c")
    assert run(x, y) == 0


def test_json_fields_are_those_of_the_public_functions(tmp_path, rows, capsys):
    x, y = rows[0], rows[2]
    status = run(save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y), "--json", "--rng", 5)
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert status == 1
    assert err == ""
    assert list(report) == [
        "version",
        "n_reference",
        "n_current",
        "d",
        "alpha",
        "drift",
        "mmd",
        "energy",
        "sliced_wasserstein",
        "prdc",
        "top_rows",
    ]
    sigma = pt.median_distance(x, y)
    kernel = pt.Gaussian(sigma)
    mmd = pt.mmd_test(x, y, kernel=kernel, n_permutations=N_PERMUTATIONS, rng=5)
    energy = pt.energy_test(x, y, n_permutations=N_PERMUTATIONS, rng=5)
    witness = pt.witness(y, x, y, kernel=kernel)
    assert report["version"] == pt.__version__
    assert (report["n_reference"], report["n_current"], report["d"]) == (80, 70, 3)
    assert report["alpha"] == 0.05
    assert report["drift"] is True
    assert report["mmd"] == {"statistic": mmd.statistic, "pvalue": mmd.pvalue, "sigma": sigma}
    assert report["energy"] == {"statistic": energy.statistic, "pvalue": energy.pvalue}
    assert report["sliced_wasserstein"] == pt.sliced_wasserstein(x, y, rng=5)
    assert report["prdc"] == pt.precision_recall_density_coverage(x, y, k=5)._asdict()
    order = np.argsort(witness, kind="stable")[:10]
    assert report["top_rows"] == [{"index": i, "witness": witness[i]} for i in order]


def test_table_shows_precision_recall_density_and_coverage(tmp_path, rows, capsys):
    x, y = rows[0], rows[2]
    run(save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y))
    shown = dict(
        line.split() for line in capsys.readouterr().out.splitlines() if len(line.split()) == 2
    )
    for name, value in pt.precision_recall_density_coverage(x, y)._asdict().items():
        assert shown[name] == f"{value:.4g}"


def test_too_few_rows_for_five_neighbours(tmp_path, rows, capsys):
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1][:5])
    run(*files, "--json")
    assert json.loads(capsys.readouterr().out)["prdc"] is None
    run(*files)
    assert "precision" not in capsys.readouterr().out
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1][:6])
    run(*files, "--json")
    assert json.loads(capsys.readouterr().out)["prdc"] is not None


def test_table_lists_the_ten_most_negative_witnesses(tmp_path, rows, capsys):
    y = rows[1].copy()
    y[[3, 60]] += 9.0
    run(save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", y))
    lines = capsys.readouterr().out.splitlines()
    top = lines[lines.index("rows of CURRENT that drifted most") + 2 :]
    assert len(top) == 10
    witness = [float(line.split()[1]) for line in top]
    assert witness == sorted(witness)
    assert max(witness) < 0


def test_drift_is_decided_by_the_smaller_holm_adjusted_p_value(tmp_path, rows, capsys):
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1])
    run(*files, "--json")
    report = json.loads(capsys.readouterr().out)
    adjusted = 2 * min(report["mmd"]["pvalue"], report["energy"]["pvalue"])
    assert adjusted < 1
    assert run(*files, "--alpha", adjusted) == 1
    assert run(*files, "--alpha", np.nextafter(adjusted, 0)) == 0


def test_same_seed_same_report(tmp_path, rows, capsys):
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1])
    reports = []
    for seed in (1, 1, 2):
        run(*files, "--json", "--rng", seed, "--max-rows", 50)
        reports.append(capsys.readouterr().out)
    assert reports[0] == reports[1]
    assert reports[0] != reports[2]


@pytest.mark.parametrize("format_", [[], ["--json"]])
def test_subsample_is_announced_and_keeps_the_indices_of_the_file(tmp_path, rows, capsys, format_):
    x, y = rows[0], rows[1].copy()
    y[45:] += 50.0
    files = save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y)
    run(*files, "--max-rows", 30, *format_)
    out, err = capsys.readouterr()
    assert "x.npy: comparing 30 random rows of 80 (--max-rows)" in err
    assert "y.npy: comparing 30 random rows of 70 (--max-rows)" in err
    if format_:
        report = json.loads(out)
        assert (report["n_reference"], report["n_current"]) == (30, 30)
        indices = [row["index"] for row in report["top_rows"]]
        assert len(set(indices)) == 10
        # Were they counted within the sample, all would be below 30.
        assert max(indices) >= 45


def test_standardize_makes_the_answer_independent_of_units(tmp_path, rows, capsys):
    x, y = rows[0], rows[1].copy()
    y[:, 2] += 1.5
    reports = []
    for scale in (1.0, 1024.0):
        units = np.array([scale, 1.0, 1.0])
        files = save(tmp_path / "x.npy", x * units), save(tmp_path / "y.npy", y * units)
        run(*files, "--json", "--standardize")
        reports.append(json.loads(capsys.readouterr().out))
    assert reports[0]["drift"]
    assert reports[1]["drift"]
    assert reports[1]["mmd"]["statistic"] == pytest.approx(reports[0]["mmd"]["statistic"], rel=1e-9)
    run(*files, "--json")
    assert not json.loads(capsys.readouterr().out)["drift"]  # the first column's unit drowns it


def test_standardize_leaves_a_constant_column_out(tmp_path, rows, capsys):
    x, y = rows[0], rows[1]
    run(save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y), "--json", "--standardize")
    without = json.loads(capsys.readouterr().out)
    x, y = (np.column_stack([a, np.full(len(a), 0.1)]) for a in (x, y))
    run(save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y), "--json", "--standardize")
    report = json.loads(capsys.readouterr().out)
    assert report["mmd"] == pytest.approx(without["mmd"], rel=1e-9)


def test_too_few_permutations_for_alpha_are_pointed_out(tmp_path, rows, capsys):
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[2])
    assert main(["compare", *map(str, files), "--permutations", "19"]) == 0
    assert "no adjusted p-value below 0.1, which is above alpha 0.05" in capsys.readouterr().err


def test_inputs_are_not_written_to(tmp_path, rows, capsys):
    files = [save(tmp_path / f"{i}.npy", rows[i]) for i in range(2)]
    before = [path.read_bytes() for path in files]
    run(*files, "--standardize")
    assert [path.read_bytes() for path in files] == before


# --- what goes in -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i1", "u1", "i8", "?"])
def test_dtypes_and_orders(tmp_path, rows, dtype, capsys):
    x, y = (
        np.asfortranarray((20 + 5 * a if dtype != "?" else a > 0).astype(dtype)) for a in rows[:2]
    )
    assert run(save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y)) == 0


def test_npz_key(tmp_path, rows, capsys):
    x, y = rows[:2]
    np.savez(tmp_path / "x.npz", train=x, other=x[:, :2])
    np.savez(tmp_path / "y.npz", train=y, other=y[:, :2])
    files = tmp_path / "x.npz", tmp_path / "y.npz"
    assert run(*files, "--key", "train") == 0
    assert "3 features" in capsys.readouterr().out
    assert "which array? pass --key; it holds train, other" in refused(capsys, *files)
    err = refused(capsys, *files, "--key", "test")
    assert "x.npz: no array 'test'; it holds train, other" in err
    assert run(tmp_path / "x.npz", save(tmp_path / "y.npy", y), "--key", "train") == 0


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4\n5,7\n",
        "a,b\n1,2\n3,4\n5,7\n",
        "\ufeffa,b\r\n1,2\r\n3,4\r\n5,7\r\n",
        '"a, left",b\n"1",2\n3, 4 \n5,7',
        "a,1\n1,2\n\n3,4\n5,7\n\n",
        '\n"a\nb",c\n1,2\n3,4\n5,7e0\n',
    ],
)
def test_csv_dialects(tmp_path, text, capsys):
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode())
    same = save(tmp_path / "y.npy", np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]]))
    assert run(path, same, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n_reference"], report["d"]) == (3, 2)
    assert report["energy"]["statistic"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n1,x,y\n3,4,5\n", "not numeric: column 'b' (row 0 holds 'x'), column 'c' (row 0"),
        ("1,2\n3,4\n5,cat\n", "not numeric: column 1 (row 2 holds 'cat')"),
        ("a,b\n1,2\n3,\n", "row 1: missing value in column 'b'"),
        ("a,b\n1,2\nNA,4\n", "row 1: missing value in column 'a'"),
        ("1,2\n3,nan\n", "row 1: missing value (nan) in column 1"),
        (",2\n3,4\n", "row 0: missing value in column 0"),
        ("1,2\n3,-inf\n", "row 1: infinite value (-inf) in column 1"),
        ("a,b\n1,2\n3\n", "row 1 has 1 fields, expected 2"),
        ("a,b\n1,2,3\n4,5,6\n", "the header names 2 columns, the rows have 3"),
        (",a,b\n0,1,2\n1,3,4\n", "column 0 has no name in the header; if it is a saved index"),
        ("a,b\n1,2\n", "1 rows and 2 features"),
        ("a,b\n", "a header and no rows"),
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("1;2\n3;4\n", "not numeric: column '1;2'"),
    ],
)
def test_bad_csv(tmp_path, text, message, capsys):
    path = tmp_path / "x.csv"
    path.write_text(text)
    err = refused(capsys, path, path)
    assert "x.csv: " in err
    assert message in err


def test_csv_that_is_not_text(tmp_path, rows, capsys):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xff\xfe\x00,\x80\n")
    assert "not a readable .csv file" in refused(capsys, path, path)


def test_columns_are_compared_by_name(tmp_path, rows, capsys):
    x = save(tmp_path / "x.csv", rows[0], header="age,height,income")
    y = save(tmp_path / "y.csv", rows[1], header="age,income,height")
    err = refused(capsys, x, y)
    assert "column 1 is 'height' in REFERENCE and 'income' in CURRENT" in err


def test_parquet_columns(tmp_path, capsys):
    pa = pytest.importorskip("pyarrow", reason="reading .parquet needs pyarrow")
    import pyarrow.parquet as pq

    good = tmp_path / "good.parquet"
    pq.write_table(pa.table({"a": [1, 2, 4], "b": [True, False, True], "c": [0.5, 1, 2]}), good)
    assert run(good, good, "--json") == 0
    assert json.loads(capsys.readouterr().out)["d"] == 3
    bad = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"], "t": [b"x", b"y"]}), bad)
    assert "not numeric: column 'b' (string), 't' (binary)" in refused(capsys, bad, bad)
    for values in ([1, None, 2], [1.5, None, 2.5]):
        pq.write_table(pa.table({"a": [1, 2, 3], "b": values}), bad)
        assert "row 1: missing value (nan) in column 'b'" in refused(capsys, bad, bad)
    pq.write_table(pa.table({"a": [True, None, False]}), bad)
    assert "row 1: missing value" in refused(capsys, bad, bad)
    pq.write_table(pa.table({"a": []}), bad)
    assert "bad.parquet: " in refused(capsys, bad, bad)
    bad.write_bytes(good.read_bytes()[:-20])
    assert "not a readable .parquet file" in refused(capsys, bad, bad)


@pytest.mark.oracle("pandas")
def test_parquet_index_of_pandas_is_not_a_feature(tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="reading .parquet needs pyarrow")
    import pandas as pd

    path = tmp_path / "x.parquet"
    pd.DataFrame({"a": [1.0, 2.0, 4.0]}, index=[7, 3, 5]).to_parquet(path, engine="pyarrow")
    assert run(path, path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["d"] == 1


def test_parquet_without_pyarrow(tmp_path, monkeypatch, capsys):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert run(path, path) == 3
    err = capsys.readouterr().err
    assert 'needs pyarrow: pip install "pairtile[parquet]"' in err
    assert "Traceback" not in err


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
        (np.array([[None, 1], [2, 3]]), ""),
        (np.array([[0.0, 1], [2, np.nan]]), "row 1: missing value (nan) in column 1"),
        (np.array([[0.0, np.inf], [2, 3]], "f4"), "row 0: infinite value (inf) in column 1"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_bad_arrays(tmp_path, values, message, suffix, capsys):
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    else:
        np.savez(path, values)
    err = refused(capsys, path, path)
    assert f"x{suffix}: " in err
    assert message in err


def test_bad_row_far_into_a_file(tmp_path, capsys):
    values = np.zeros((3000, 1024), "f4")
    values[2999, 7] = np.nan
    path = save(tmp_path / "x.npy", values)
    assert "row 2999: missing value (nan) in column 7" in refused(capsys, path, path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("kept", [0, 4, 60, -8])
def test_truncated_files(tmp_path, rows, suffix, kept, capsys):
    path = save(tmp_path / f"x{suffix}", rows[0])
    path.write_bytes(path.read_bytes()[:kept])
    assert f"x{suffix}: not a" in refused(capsys, path, path)


def test_files_that_are_not_what_they_are_called(tmp_path, rows, capsys):
    for suffix in (".npy", ".npz", ".csv"):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(b"\x80\x04\x95 not an array")
        assert f"x{suffix}: " in refused(capsys, path, path)


def test_unreadable_paths(tmp_path, rows, monkeypatch, capsys):
    good = save(tmp_path / "good.npy", rows[0])
    for suffix in (".npy", ".npz", ".csv"):
        missing = tmp_path / f"missing{suffix}"
        assert f"missing{suffix}: No such file or directory" in refused(capsys, good, missing)
        folder = tmp_path / f"folder{suffix}"
        folder.mkdir()
        assert f"folder{suffix}: is a directory" in refused(capsys, folder, good)
    err = refused(capsys, good, tmp_path / "x.txt")
    assert "unknown suffix '.txt'; known are .npy, .npz, .csv, .parquet" in err
    # Permissions cannot be tested by taking them away: the tests may run as root.
    plain_open = builtins.open

    def denied(file, *args, **kwargs):
        if str(file) == str(good):
            raise PermissionError(13, "Permission denied", str(file))
        return plain_open(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", denied)
    assert "good.npy: Permission denied" in refused(capsys, good, good)


def test_different_numbers_of_features(tmp_path, rows, capsys):
    x, y = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1][:, :2])
    assert "REFERENCE has 3 features per row, CURRENT has 2" in refused(capsys, x, y)


def test_rows_without_a_scale(tmp_path, capsys):
    path = save(tmp_path / "x.npy", np.ones((9, 2)))
    assert "the median distance between rows is 0" in refused(capsys, path, path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.npy"], "REFERENCE and CURRENT are required"),
        ([], "REFERENCE and CURRENT are required"),
        (["x.npy", "y.npy", "--demo"], "--demo brings its own data"),
        (["--demo", "--key", "a"], "--demo brings its own data"),
        (["x.npy", "y.npy", "--key", "a"], "--key names an array of a .npz file"),
        (["x.npy", "y.npy", "--permutations", "0"], "expected a whole number, 1 or more, got '0'"),
        (["x.npy", "y.npy", "--permutations", "1.5"], "expected a whole number"),
        (["x.npy", "y.npy", "--alpha", "1.5"], "expected a number between 0 and 1, got '1.5'"),
        (["x.npy", "y.npy", "--alpha", "nan"], "expected a number between 0 and 1, got 'nan'"),
        (["x.npy", "y.npy", "--rng", "-1"], "expected a whole number, 0 or more, got '-1'"),
        (["x.npy", "y.npy", "--max-rows", "1"], "expected a whole number, 2 or more, got '1'"),
        (["x.npy", "y.npy", "--max-rows", "many"], "expected a whole number"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(["compare", *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_command_is_required(capsys):
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2


# --- the demo -----------------------------------------------------------------------------------


def test_demo_says_no_drift_then_drift(capsys):
    assert main(["compare", "--demo"]) == 0
    out, err = capsys.readouterr()
    first, second = out.split("The same, the other half seen through a worse sensor")
    assert "no drift: " in first
    assert "DRIFT: " not in first
    assert "DRIFT: " in second
    assert err == ""


def test_demo_as_json_and_subsampled(capsys):
    assert main(["compare", "--demo", "--json", "--max-rows", "400"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert list(report) == ["same_sensor", "worse_sensor"]
    assert [part["drift"] for part in report.values()] == [False, True]
    assert [part["n_current"] for part in report.values()] == [400, 400]
    assert err.count("--max-rows") == 2


def test_demo_that_does_not_come_out_as_stated(capsys):
    assert main(["compare", "--demo", "--max-rows", "50", "--permutations", "9"]) == 3
    assert "the demo did not come out as it should" in capsys.readouterr().err


def test_demo_without_scikit_learn(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert main(["compare", "--demo"]) == 3
    err = capsys.readouterr().err
    assert 'the demo needs scikit-learn: pip install "pairtile[demo]"' in err
    assert "Traceback" not in err


# --- the process --------------------------------------------------------------------------------


def command(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "pairtile", "compare", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_as_a_process(tmp_path, rows):
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[2])
    process = command(*files, "--permutations", N_PERMUTATIONS)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    assert "DRIFT" in out


def test_a_terminal_without_sigma(tmp_path, rows):
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1])
    process = command(*files, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert r"\u03c3 = " in out


def test_ctrl_c_ends_with_130(tmp_path, rows):
    # A named pipe can be opened for writing without waiting only when a reader has it open: from
    # then on the command is at work, waiting for rows that never come.
    pipe = tmp_path / "rows.csv"
    os.mkfifo(pipe)
    process = command(pipe, save(tmp_path / "y.npy", rows[1]))
    writer = None
    while writer is None and process.poll() is None:
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    os.close(writer)
    assert process.returncode == 130
    assert (out, err) == ("", "pairtile: interrupted\n")


def test_ctrl_c_during_a_test(tmp_path, rows, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(pt, "energy_test", interrupted)
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1])
    assert run(*files) == 130
    assert capsys.readouterr().out == ""


def test_a_fault_of_our_own_ends_with_3_and_a_traceback(tmp_path, rows, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise RuntimeError("the engine is broken")

    monkeypatch.setattr(pt, "energy_test", broken)
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1])
    assert run(*files) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("pairtile: the engine is broken\n")


def test_reader_that_goes_away(tmp_path, rows):
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1])
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        process = subprocess.run(
            [sys.executable, "-m", "pairtile", "compare", *map(str, files)],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (process.returncode, process.stderr) == (3, "")


def drawn_on(terminal, tmp_path, rows, monkeypatch):
    """What the command writes to standard error when the clock says that every step is long."""
    clock = itertools.count()
    monkeypatch.setattr(bar.time, "monotonic", lambda: float(next(clock)))
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1])
    reader, writer = os.openpty() if terminal else os.pipe()
    written = []

    def collect():
        try:
            while chunk := os.read(reader, 4096):
                written.append(chunk)
        except OSError:
            pass  # how a pseudo-terminal on Linux says that its other end is closed

    thread = threading.Thread(target=collect)
    thread.start()
    with os.fdopen(writer, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        status = run(*files)
    thread.join(timeout=30)
    os.close(reader)
    assert status == 0
    return b"".join(written)


def test_progress_bar_on_a_terminal(tmp_path, rows, monkeypatch, capsys):
    drawn = drawn_on(True, tmp_path, rows, monkeypatch)
    assert b"100%" in drawn
    assert drawn.endswith(b"\r")  # wiped


def test_no_progress_bar_elsewhere(tmp_path, rows, monkeypatch, capsys):
    assert b"\r" not in drawn_on(False, tmp_path, rows, monkeypatch)
