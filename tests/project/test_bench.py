"""The benchmark runs and judges: trial sizes, our contender and plain NumPy only.

Figures are made by hand with `python -m bench` at full size; here it only has to stay usable.
"""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import pairtile as pt

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def bench(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"bench.{name}")


@pytest.fixture
def cases(load):
    return load("cases")


@pytest.fixture
def outcomes(load):
    """Two cells of the grid that we win four to one, and a single case that we lose."""
    harness, neighbors = load("harness"), load("neighbors")

    def entry(contender, seconds, rounds=3):
        times = {"one_shot": [seconds] * rounds}
        return harness.Entry(contender, first={"one_shot": seconds}, times=times)

    def outcome(case, **seconds):
        return harness.Outcome(
            case, [1e9], [np.inf], [entry(name, value) for name, value in seconds.items()]
        )

    cells = [neighbors.Knn(100, 200, 16, k, "many") for k in (1, 10)]
    single = neighbors.Knn(100, 200, 16, k=10, data="one-hot")
    found = [
        outcome(cells[0], pairtile=0.1, faiss=0.2, torch=0.9, numpy_serial=0.01),
        outcome(cells[1], pairtile=0.1, faiss=0.9, torch=0.8),
        outcome(single, pairtile=0.4, faiss=0.3),
    ]
    found[2].entries[1] = entry("faiss", 0.3, rounds=0)
    return found


def test_every_family_runs_and_is_right(tmp_path, cases):
    file = tmp_path / "figures.json"
    done = bench(
        "all", "--scale=0.002", "--repeat=2", "--contenders=pairtile,numpy", f"--json={file}"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(file.read_text())

    assert [c["task"] for c in figures["cases"]] == [c.task for c in cases.CASES if not c.large]
    for case in figures["cases"]:
        assert case["title"] in done.stdout
        if case["task"] in ("hamming", "max_sliced"):
            assert case["floor"] is None
        else:
            assert case["floor"] > 0
        for entry in case["contenders"]:
            assert entry["status"] == "ok", (case["title"], entry)
            assert len(entry["times"]["one_shot"]) == 2
            assert all(seconds > 0 for seconds in entry["times"]["one_shot"])
            assert entry["errors"], (case["title"], entry)
            assert not entry["wrong"], (case["title"], entry)
            if sys.platform == "linux":
                assert 0 <= entry["peak_memory"] < 200e6
    rivals = {c["task"] for c in figures["cases"] if c["best_peer"] == "numpy"}
    assert rivals == {
        "near_duplicates",
        "permutation",
        "aggregated",
        "sliced",
        "sliced_control",
        "sliced_files",
        "columns",
        "max_sliced",
    }

    (footprint,) = figures["footprint"]
    assert footprint["package"] == "pairtile"
    assert 0 < footprint["seconds"] < 5


def test_a_part_of_the_grid_runs_and_its_table_is_remade(tmp_path):
    """Only what is asked for is measured; the saved file gives the same table again."""
    files = [tmp_path / "many.json", tmp_path / "self.json"]
    for file in files:
        done = bench(
            "knn", "--only", "d=16", "k=1,10", f"shape={file.stem}", "data=float32",
            "--scale=0.001", "--repeat=1", "--contenders=pairtile", f"--json={file}",
            f"--markdown={file.with_suffix('.md')}",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        sizes = [case["sizes"] for case in json.loads(file.read_text())["cases"]]
        assert {(s["d"], s["k"], s["shape"]) for s in sizes} >= {
            (16, k, file.stem) for k in (1, 10)
        }
        assert all(s["d"] == 16 and s["shape"] == file.stem for s in sizes)

    table = tmp_path / "all.md"
    done = bench("knn", "--saved", *map(str, files), f"--markdown={table}")
    assert done.returncode == 0, done.stderr
    parts = [file.with_suffix(".md").read_text().splitlines() for file in files]
    rows = [line for part in parts for line in part if line.startswith("| ") and "k=" in line]
    assert [line for line in table.read_text().splitlines() if "k=" in line] == rows


def test_summary(load, outcomes):
    settings = load("harness").Settings(2, 3, 1.0, 600.0, 5.0)
    found = [outcomes[i] for i in (0, 2, 1)]  # as after the joining of two runs
    text = load("summary").markdown(load("report").document(found, [], settings))
    assert text.count("| case |") == 2
    assert "geometric mean over 2 cells of the grid: 4.00." in text
    assert "slower than the best peer in: 100 × 200 rows, d=16, k=10, one-hot (0.75)." in text
    (first,) = (line for line in text.splitlines() if "k=1, float32" in line)
    # NumPy on one thread is shown and is not the best peer; 0.1 s are 156 floors at 1 GF/s.
    assert first.split(" | ")[1:] == [
        "0.64 ms", "100 ms", "200 ms", "900 ms", "10 ms", "faiss", "2.00", "156.25 |",
    ]  # fmt: skip
    assert "300 ms¹ | faiss | **0.75**" in text


def test_slow_contenders_are_called_less_often(outcomes):
    def due(**first):
        outcome = outcomes[0]
        for entry in outcome.entries:
            entry.first = {"one_shot": first[entry.contender]}
        return [entry.contender for entry in outcome.due(patience=5.0)]

    everyone = ["pairtile", "faiss", "torch", "numpy_serial"]
    short = due(pairtile=0.9, faiss=0.1, torch=0.9, numpy_serial=0.9)
    assert short == everyone
    assert due(pairtile=9, faiss=2, torch=2.3, numpy_serial=2.5) == everyone[:3]  # beaten by faiss
    assert due(pairtile=21, faiss=30, torch=30, numpy_serial=30) == []
    outcomes[0].entries[1].times["one_shot"] = [2.0, 3.0]
    assert due(pairtile=9, faiss=2, torch=2.3, numpy_serial=2) == [
        "pairtile",
        "torch",
        "numpy_serial",
    ]


@pytest.mark.oracle("matplotlib")
def test_picture(tmp_path, load, outcomes):
    settings = load("harness").Settings(2, 3, 1.0, 600.0, 5.0)
    document = load("report").document(outcomes, [], settings)
    load("plot").draw(document, tmp_path / "knn.svg")
    picture = (tmp_path / "knn.svg").read_text()
    assert "sgemm floor" in picture
    assert "faiss-cpu" in picture
    with pytest.raises(ValueError, match="no case of many queries"):
        load("plot").draw(document | {"cases": []}, tmp_path / "none.svg")


@pytest.mark.oracle("matplotlib")
def test_picture_of_losses(tmp_path, load):
    entries = [
        {"contender": "pairtile", "median": 0.1, "peak_memory": 9_000_000},
        {"contender": "torch", "median": 0.2, "peak_memory": None},  # there was no room
    ]
    cases = [
        {"task": "contrastive", "sizes": {"n": n, "m": n, "d": 8}, "floor": 1e-3, "contenders": e}
        for n, e in ((64, entries), (128, entries[:1]))
    ]
    plot = load("plot")
    assert plot.name({"cases": cases}) == "contrastive.svg"
    plot.draw({"cases": cases}, tmp_path / "contrastive.svg")
    picture = (tmp_path / "contrastive.svg").read_text()
    assert "peak memory in MB" in picture
    assert "torch" in picture


@pytest.mark.oracle("matplotlib")
def test_picture_of_growth(tmp_path, load):
    uniform = {"shape": "self", "data": "uniform", "k": 10, "m": 0}
    cases = [
        {
            "task": "knn",
            "sizes": uniform | {"n": n, "d": d},
            "floor": 1e-3,
            "contenders": [{"contender": name, "median": n * d * 1e-6} for name in names],
        }
        for n, d, names in (
            (100, 3, ("pairtile", "ckdtree")),
            (900, 3, ("pairtile",)),
            (900, 5, ()),
        )
    ]
    plot = load("plot")
    assert plot.name({"cases": cases}) == "growth.svg"
    assert plot.name({"cases": [*cases, cases[0] | {"task": "near_duplicates"}]}) == "knn.svg"
    plot.draw({"cases": cases}, tmp_path / "growth.svg")
    picture = (tmp_path / "growth.svg").read_text()
    assert "SciPy k-d tree" in picture
    assert "d = 3" in picture


def test_a_contender_that_fails_is_reported():
    done = bench(
        "sliced", "--scale=0.001", "--repeat=1", "--contenders=pairtile,numpy", "--json=-",
        PAIRTILE_BACKEND="no such backend",
    )  # fmt: skip
    assert done.returncode == 1
    ours, plain = json.loads(done.stdout)["cases"][0]["contenders"]
    assert ours["status"] == "failed"
    assert plain["status"] == "ok"
    assert "no such backend" in done.stderr


def test_wrong_answers_are_over_tolerance(cases):
    """Each judge accepts the float64 answer and rejects one that is one percent off."""

    def judged(case, result, reference):
        errors = case.errors(result, reference)
        assert errors.keys() == case.tolerances.keys()
        return all(errors[name] <= case.tolerances[name] for name in errors)

    for full in cases.CASES:
        case = full.scaled(0.002)
        reference = case.source.reference(case.source.make())
        if case.task in ("knn", "hamming"):
            distances, indices = np.ones((2, case.n, case.k))
            distances[reference["rows"]] = reference["distances"][:, : case.k]
            indices[reference["rows"]] = reference["indices"][:, : case.k]
            right, wrong = (
                [(distances, indices)],
                [(distances * 1.01, indices), (distances, -indices)],
            )
        elif case.task == "near_duplicates":
            i, j, similarity = (reference[name] for name in ("i", "j", "similarity"))
            right = [(i, j, similarity)]
            wrong = [(np.append(i, 0), np.append(j, 1), np.append(similarity, 0.99))]
            if len(i):
                wrong += [(i[1:], j[1:], similarity[1:]), (i, j, similarity + 1e-5)]
        elif case.task == "max_sliced":
            value = reference["value"]
            right, wrong = [value, value * 1.01], [value * 0.99]
        elif case.task == "permutation":
            value, null = reference["statistic"], reference["null"]
            right, wrong = [(value, null)], [(value * 1.01, null), (value, null * 1.01)]
        elif case.task in ("supcon", "triplet"):
            loss, gradient = reference["loss"], reference["gradient"]
            right, wrong = (
                [(loss, gradient)],
                [(loss * 1.01, gradient), (loss, gradient * 1.01)],
            )
        elif case.task == "sliced" and case.gradient:
            value, gradients = reference["value"], [reference["grad_x"], reference["grad_y"]]
            right = [(value, *gradients)]
            wrong = [(value * 1.01, *gradients), (value, gradients[0], gradients[1] * 1.01)]
        elif case.task in ("contrastive", "siglip"):
            loss, gradients = reference["loss"], np.zeros((2, case.n, case.d))
            gradients[:, reference["rows"]] = reference["grad_x"], reference["grad_y"]
            right, wrong = (
                [(loss, *gradients)],
                [(loss * 1.01, *gradients), (loss, *gradients * 1.01)],
            )
        elif case.task == "sliced_control":  # everybody draws directions of their own
            right, wrong = [reference["value"]], [reference["value"] * 1.03]
        else:
            right, wrong = [reference["value"]], [reference["value"] * 1.01]
        assert all(judged(case, result, reference) for result in right), case.title
        assert not any(judged(case, result, reference) for result in wrong), case.title


def test_contender_that_enters_on_request(load, cases):
    harness, peers = load("harness"), load("peers")
    for case in cases.CASES:
        assert not set(case.contenders) & set(peers.ON_REQUEST)
    for contenders, names in (
        (None, {"pairtile", "torch", "scipy", "dcor", "pairtile_float64"}),
        (("pairtile", "pairtile_cuda"), {"pairtile", "pairtile_cuda"}),
    ):
        chosen = harness.entrants(cases.Energy(100, 100, 4), contenders)
        assert set(chosen) == names
    assert "pairtile_cuda" not in harness.entrants(cases.Median(100, 100, 4), ("pairtile_cuda",))


@pytest.fixture
def gpu(load):
    return lambda name: load(f"gpu.{name}")


def test_gpu_run_takes_every_step_within_its_share(gpu):
    steps = gpu("steps")
    commands = steps.commands()
    assert list(commands) == ["tests", *steps.SANITIZERS]
    assert commands.keys() == steps.SHARES.keys()
    assert sum(steps.SHARES.values()) < 0.6  # most of the time is for what is timed
    for tool in steps.SANITIZERS:
        assert commands[tool][:3] == ["compute-sanitizer", "--tool", tool]
        assert "--sample=1" in commands[tool]


def test_gpu_steps_tell_what_became_of_them(gpu):
    steps = gpu("steps")

    def run(code, seconds=60.0):
        return steps.run("memcheck", [sys.executable, "-c", code], seconds)

    assert run("print('fine')")["status"] == "ok"
    failed = run("print('========= Invalid __global__ read of size 4'); raise SystemExit(9)")
    assert (failed["status"], failed["reports"]) == ("failed (9)", 1)
    slow = run("import time; print('so far', flush=True); time.sleep(60)", 2.0)
    assert slow["status"] == "out of time"
    assert "so far" in slow["said"]
    assert steps.run("memcheck", ["no-such-sanitizer"], 1.0)["status"] == "not available"


def test_gpu_run_says_what_is_missing(gpu, capsys):
    main = gpu("__main__")
    with pytest.raises(SystemExit):
        main.main(["--only=no-such-cell"])
    assert "no cell is called no-such-cell" in capsys.readouterr().err
    if reason := main.missing():
        assert main.main([]) == 1
        assert capsys.readouterr().err.strip() == reason


def test_gpu_cells(gpu):
    cells = gpu("cells")
    assert len({cell.name for cell in cells.CELLS}) == len(cells.CELLS)
    names = [cell.name for cell in cells.chosen("mmd,knn-1")]
    assert names == ["knn-100k", "mmd-100k", "mmd-100k-fast", "knn-1k-10m", "knn-1m"]
    ceilings = {"bfloat16 product": 7e14, "copy": 4e12}
    few = next(cell for cell in cells.CELLS if cell.name == "knn-1k-10m")
    rows = 1_000 + 10_000_000
    assert few.floors(ceilings)["traffic"] == rows * 128 * 4 / 4e12  # every row is read once
    for cell in cells.CELLS:
        small = cell.scaled(1e-3)
        for name, seconds in small.floors(ceilings).items():
            assert 0 < seconds < cell.floors(ceilings)[name]
        assert cell.title != small.title


@pytest.mark.oracle("torch")
def test_gpu_judges_and_torch_peers(gpu):
    """On the host: pairtile and torch are right by every judge, and a value that is off is not."""
    cells, peers, library = gpu("cells"), gpu("peers"), gpu("library").Torch("cpu")
    torch = peers.TorchEager("cpu")

    def judged(cell, result, inputs):
        errors = cell.errors(result, inputs, library)
        assert errors.keys() == cell.tolerances.keys()
        return all(errors[name] <= cell.tolerances[name] for name in errors)

    for full in cells.CELLS:
        cell = full.scaled(1e-3 if full.n < 1e5 else 1e-9)
        inputs = cell.make(library)
        if cell.task != "siglip" or hasattr(pt, "siglip_loss"):
            result = cell.prepare(inputs)()
            assert judged(cell, result, inputs), cell.title
        call = torch.prepare(cell, inputs)
        if call is None:
            assert cell.name == "mmd-100k-fast"
            continue
        theirs = call()
        if cell.task in ("clip", "siglip"):  # logits rounded to bfloat16
            loss, grad_x, grad_y = theirs
            result = pt.ContrastiveResult(float(loss), None, grad_x=grad_x, grad_y=grad_y)
            errors = cell.errors(result, inputs, library)
            assert errors["loss"] < 1e-2
            assert errors["gradient"] < 0.1
            result = pt.ContrastiveResult(float(loss), None, grad_x=grad_x, grad_y=-grad_y)
            assert not judged(cell, result, inputs)
        elif cell.task == "permutation":
            result = SimpleNamespace(statistic=theirs[0], null_distribution=theirs[1])
            result.null_distribution = library.asarray(theirs[1])
            assert judged(cell, result, inputs)
            result.null_distribution = result.null_distribution * 1.01
            assert not judged(cell, result, inputs)
        elif cell.task == "knn":
            assert judged(cell, theirs, inputs), cell.title
            assert not judged(cell, (theirs[0] * 1.01, theirs[1]), inputs)
            assert not judged(cell, (theirs[0], theirs[1].flip(1)), inputs)
        elif cell.task == "columns":
            assert judged(cell, theirs, inputs), cell.title
            assert not judged(cell, (theirs[0], theirs[1] * 1.01), inputs)
        else:
            assert cell.errors(theirs, inputs, library)["relative"] < 1e-3, cell.title
            assert not judged(cell, theirs * 1.1, inputs)


def test_gpu_record(gpu, tmp_path):
    record, file = gpu("record"), tmp_path / "out" / "gpu.json"
    assert record.load(file) == {}
    ours = {
        "status": "ok", "seconds": [0.2, 0.1, 0.3], "once": False, "memory": 5e6, "wrong": True,
        "errors": {"relative": 0.5},
    }  # fmt: skip
    missing = {"status": "not there yet", "message": "NotImplementedError: this needs it"}
    cells = {
        "a": {"pairtile": ours, "torch": {"status": "ok", "seconds": [0.4], "once": True}},
        "b": {"pairtile": missing, "faiss": {"status": "not installed"}},
    }
    floors = {"products": 0.05, "traffic": 0.01}
    machine = {"device": "D", "driver": None, "runtime_cuda": 1, "versions": {}}
    document = {
        "machine": machine | {"cupy": "14", "python": "3"},
        "rehearsal": False,
        "ceilings": {"bfloat16 product": 7e14, "copy": 4e12},
        "steps": {"tests": {"status": "ok", "seconds": 9.0}},
        "cells": {
            name: {"title": f"cell {name}", "floors": floors, "contenders": contenders}
            for name, contenders in cells.items()
        },
    }
    record.save(document, file)
    assert record.load(file) == document
    assert [path.name for path in file.parent.iterdir()] == ["gpu.json"]
    table = record.markdown(document)
    assert "| cell a | 200 ms | 100 ms – 300 ms | 50 ms | 10 ms | 4.00 | 400 ms¹ | 5 MB |" in table
    assert "relative 5.0e-01 **wrong** |" in table
    assert "faiss" not in table
    assert "- cell b: pairtile not there yet: NotImplementedError: this needs it" in table
    assert "simulator" not in table
    if importlib.util.find_spec("matplotlib"):
        record.draw(document, tmp_path / "gpu.svg")
        assert "cell a" in (tmp_path / "gpu.svg").read_text()
