"""The `pairtile` command: what it loads, refuses, prints and answers as exit status."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import pairtile as pt
from files import save
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
        "rows_given",
        "d",
        "alpha",
        "drift",
        "undecided",
        "pvalue_adjusted",
        "mmd",
        "energy",
        "null",
        "sliced_wasserstein",
        "sliced_wasserstein_error",
        "prdc",
        "top_rows",
        "rows",
        "columns",
        "warnings",
    ]
    sigma = pt.median_distance(x, y)
    kernel = pt.Gaussian(sigma)
    mmd = pt.mmd_test(x, y, kernel=kernel, n_permutations=N_PERMUTATIONS, rng=5)
    energy = pt.energy_test(x, y, n_permutations=N_PERMUTATIONS, rng=5)
    witness = pt.witness(y, x, y, kernel=kernel)
    sliced = pt.sliced_wasserstein(x, y, rng=5, full=True)
    drift = pt.drift(x, y, n_permutations=N_PERMUTATIONS, rng=5)
    assert report["version"] == pt.__version__
    assert (report["n_reference"], report["n_current"], report["d"]) == (80, 70, 3)
    assert report["rows_given"] == [80, 70]
    assert report["alpha"] == 0.05
    assert report["drift"] is True
    assert report["undecided"] is None
    assert report["mmd"] == {"statistic": mmd.statistic, "pvalue": mmd.pvalue, "sigma": sigma}
    assert report["energy"] == {"statistic": energy.statistic, "pvalue": energy.pvalue}
    assert report["pvalue_adjusted"] == 2 * min(mmd.pvalue, energy.pvalue)
    assert report["null"] == "permutation"
    assert report["sliced_wasserstein"] == sliced.value
    assert report["sliced_wasserstein_error"] == sliced.standard_error
    assert report["prdc"] == pt.precision_recall_density_coverage(x, y, k=5)._asdict()
    order = np.argsort(witness, kind="stable")[:10]
    assert report["top_rows"] == [{"index": i, "witness": witness[i]} for i in order]
    assert [row["index"] for row in report["rows"]] == order.tolist()
    assert report["columns"] == [column.to_dict() for column in drift.columns]
    assert report["warnings"] == []


def test_table_shows_precision_recall_density_and_coverage(tmp_path, rows, capsys):
    x, y = rows[0], rows[2]
    run(save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = dict(line for line in lines if len(line) == 2)
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
    y[:, 1] += 2.0
    run(save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", y))
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("rows of CURRENT that drifted most") + 2
    top = [line.split() for line in lines[start : start + 10]]
    witness = [float(line[1]) for line in top]
    assert witness == sorted(witness)
    assert max(witness) < 0
    assert {line[2].rstrip(",") for line in top} == {"x1"}  # the column that made them so


def test_columns_by_effect(tmp_path, rows, capsys):
    files = save(tmp_path / "x.csv", rows[0], header="a,b,c"), tmp_path / "y.csv"
    save(files[1], rows[1] + [0.0, 2.0, 0.4], header="a,b,c")
    assert run(*files) == 1
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("columns by effect; p-values Holm-adjusted over columns") + 2
    assert [line.split()[:2] for line in lines[start : start + 3]] == [
        ["b", "number"],
        ["c", "number"],
        ["a", "number"],
    ]


def test_no_rows_and_no_columns_where_there_is_no_drift(tmp_path, rows, capsys):
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1])
    assert run(*files) == 0
    out = capsys.readouterr().out
    assert "drifted" not in out
    assert "columns" not in out
    assert run(*files, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["top_rows"] == report["rows"] == []
    assert len(report["columns"]) == 3


def test_a_column_that_drifts_among_many_that_do_not(tmp_path, capsys):
    """The joint test decides; that one column says otherwise is not kept back."""
    x, y = np.random.default_rng(1).normal(size=(2, 60, 500))
    y[:, 7] += 1.2
    assert run(save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y)) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("columns that differ by themselves; p-values Holm-adjusted over columns")
    assert [line.split()[0] for line in lines[start + 2 :]] == ["x7"]


def test_drift_is_decided_by_the_smaller_holm_adjusted_p_value(tmp_path, rows, capsys):
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1])
    run(*files, "--json")
    report = json.loads(capsys.readouterr().out)
    adjusted = 2 * min(report["mmd"]["pvalue"], report["energy"]["pvalue"])
    assert adjusted < 1
    assert report["pvalue_adjusted"] == adjusted
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
    assert run(*files, "--max-rows", 30, *format_) == 1
    out, err = capsys.readouterr()
    assert "x.npy: comparing 30 random rows of 80 (--max-rows)" in err
    assert "y.npy: comparing 30 random rows of 70 (--max-rows)" in err
    if format_:
        report = json.loads(out)
        assert (report["n_reference"], report["n_current"]) == (30, 30)
        assert report["rows_given"] == [80, 70]
        indices = [row["index"] for row in report["top_rows"]]
        assert len(set(indices)) == 10
        assert min(indices) >= 45  # were they counted within the sample, all would be below 30


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
    run(*files, "--json", "--no-standardize")
    report = json.loads(capsys.readouterr().out)
    assert not report["drift"]  # the first column's unit drowns it
    assert "and the largest decide; --standardize evens them out" in report["warnings"][0]


def test_scales_that_differ_much_are_evened_out_and_that_is_said(tmp_path, rows, capsys):
    units = np.array([1e6, 1.0, 1.0])
    x, y = rows[0] * units, (rows[1] + [0.0, 0.0, 1.5]) * units
    files = save(tmp_path / "x.npy", x), save(tmp_path / "y.npy", y)
    assert run(*files) == 1
    assert "all columns were standardized" in " ".join(capsys.readouterr().out.split())
    assert run(*files, "--json") == 1
    automatic = json.loads(capsys.readouterr().out)
    assert run(*files, "--json", "--standardize") == 1
    asked = json.loads(capsys.readouterr().out)
    assert automatic["mmd"] == asked["mmd"]
    assert len(automatic["warnings"]) == 1
    assert asked["warnings"] == []


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.npy"], "REFERENCE and CURRENT are required"),
        ([], "REFERENCE and CURRENT are required"),
        (["x.npy", "y.npy", "--demo"], "--demo brings its own data"),
        (["--demo", "--key", "a"], "--demo brings its own data: no files and no --key with it"),
        (["--demo", "--html", "a", "--sep", ";"], "no files and no --sep, --html with it"),
        (["x.npy", "y.npy", "--key", "a"], "--key names an array of a .npz file, and neither"),
        (["x.npz", "y.npy", "--key-current", "a"], "--key-current names an array of a .npz file"),
        (["x.npy", "y.npz", "--key-reference", "a"], "--key-reference names an array of a .npz"),
        (["x.npy", "y.parquet", "--sep", ";"], "--sep is for text files, and neither file is one"),
        (["x.npy", "y.npy", "--decimal", ","], "--decimal is for text files"),
        (["x.npy", "y.npy", "--encoding", "utf-8"], "--encoding is for text files"),
        (["x.csv", "y.csv", "--sep", ";;"], "expected one character, no letter, digit or quote"),
        (["x.csv", "y.csv", "--sep", "a"], "expected one character, no letter, digit or quote"),
        (["x.csv", "y.csv", "--decimal", ";"], "invalid choice: ';'"),
        (["x.csv", "y.csv", "--sep", ",", "--decimal", ","], "cannot be the same"),
        (["x.csv", "y.csv", "--encoding", "base64"], "expected an encoding of text that Python"),
        (["x.csv", "y.csv", "--encoding", "klingon"], "such as cp1252, got 'klingon'"),
        (["x.csv", "y.csv", "--columns", ""], "expected names separated by commas, got ''"),
        (["x.csv", "y.csv", "--test", "mean"], "invalid choice: 'mean'"),
        (["x.csv", "y.csv", "--test", "sliced", "--method", "gamma"], "not for sliced"),
        (["x.csv", "y.csv", "--missing", "fill"], "invalid choice: 'fill'"),
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
    assert re.sub(r"pairtile: .* left\s*", "", err) == ""  # progress, where it is slow


def test_demo_as_json_and_subsampled(capsys):
    assert main(["compare", "--demo", "--json", "--max-rows", "400"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert list(report) == ["same_sensor", "worse_sensor"]
    assert [part["drift"] for part in report.values()] == [False, True]
    assert [part["n_current"] for part in report.values()] == [400, 400]
    assert [part["rows_given"] for part in report.values()] == [[898, 899], [898, 899]]
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

    monkeypatch.setattr(pt, "sliced_wasserstein", interrupted)
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1])
    assert run(*files) == 130
    assert capsys.readouterr().out == ""


def test_a_fault_of_our_own_ends_with_3_and_a_traceback(tmp_path, rows, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise RuntimeError("the engine is broken")

    monkeypatch.setattr(pt, "sliced_wasserstein", broken)
    files = save(tmp_path / "x.npy", rows[0]), save(tmp_path / "y.npy", rows[1])
    assert run(*files) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("pairtile: the engine is broken\n")


# What is written waits in Python's buffers, as it does for who has not asked for anything else.
BUFFERED = {**os.environ, "PYTHONUNBUFFERED": ""}


@pytest.mark.parametrize("closed", ["2>&-", "2> >(exec true; sleep 0)", "2>/dev/full"])
def test_nobody_hears_standard_error(tmp_path, rows, closed):
    """Closed, a pipe without reader, a full disk: notes are lost, and nothing else."""
    x, y = rows[0], rows[1]
    x = save(tmp_path / "x.csv", np.round(x, 3), header="0,1,2")
    y = save(tmp_path / "y.csv", np.round(y, 3), header="0,1,2")
    line = f"{sys.executable} -m pairtile compare {x} {y} --json --permutations 99 {closed}"
    run = subprocess.run(
        ["bash", "-c", line], env=BUFFERED, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0
    assert len(json.loads(run.stdout)["warnings"]) == 2


def test_a_full_disk_under_standard_output(tmp_path, rows):
    x = save(tmp_path / "x.npy", rows[0])
    line = f"{sys.executable} -m pairtile compare {x} {x} --permutations 9 >/dev/full"
    run = subprocess.run(
        ["bash", "-c", line], env=BUFFERED, capture_output=True, text=True, check=False
    )
    assert run.returncode == 3
    assert run.stderr.splitlines()[-1].endswith("No space left on device")
    assert "Traceback" not in run.stderr


def test_a_refusal_that_nobody_hears(tmp_path, rows):
    line = f"{sys.executable} -m pairtile compare {tmp_path}/x.npy {tmp_path}/y.npy 2>&-"
    run = subprocess.run(
        ["bash", "-c", line], env=BUFFERED, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (2, "")


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
            env=BUFFERED,
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
