"""The benchmark runs and judges: trial sizes, our contender and plain NumPy only.

Figures are made by hand with `python -m bench` at full size; here it only has to stay usable.
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]

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
        outcome(cells[0], pairtile=0.1, faiss=0.2, torch=0.9, kdtree=0.01),
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
        if case["task"] == "hamming":
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
    assert rivals == {"permutation", "aggregated", "sliced"}

    (footprint,) = figures["footprint"]
    assert footprint["package"] == "pairtile"
    assert 0 < footprint["seconds"] < 5


def test_a_part_of_the_grid_runs_and_its_table_is_remade(tmp_path):
    """Only what is asked for is measured; the saved file gives the same table again."""
    files = [tmp_path / "many.json", tmp_path / "self.json"]
    for file in files:
        done = bench(
            "knn", "--only", "d=16", "k=1,10", f"shape={file.stem}", "--scale=0.001", "--repeat=1",
            "--contenders=pairtile", f"--json={file}", f"--markdown={file.with_suffix('.md')}",
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
    # The k-d tree is shown and is not the best peer; 0.1 s are 156 times the floor at 1 GF/s.
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

    everyone = ["pairtile", "faiss", "torch", "kdtree"]
    assert due(pairtile=0.9, faiss=0.1, torch=0.9, kdtree=0.9) == everyone  # short: all of them
    assert due(pairtile=9, faiss=2, torch=2.3, kdtree=2.5) == everyone[:3]  # beaten by faiss
    assert due(pairtile=21, faiss=30, torch=30, kdtree=30) == []
    outcomes[0].entries[1].times["one_shot"] = [2.0, 3.0]
    assert due(pairtile=9, faiss=2, torch=2.3, kdtree=2) == ["pairtile", "torch", "kdtree"]


def test_picture(tmp_path, load, outcomes):
    pytest.importorskip("matplotlib")
    settings = load("harness").Settings(2, 3, 1.0, 600.0, 5.0)
    document = load("report").document(outcomes, [], settings)
    load("plot").draw(document, tmp_path / "knn.svg")
    picture = (tmp_path / "knn.svg").read_text()
    assert "sgemm floor" in picture
    assert "faiss-cpu" in picture
    with pytest.raises(ValueError, match="no case of many queries"):
        load("plot").draw(document | {"cases": []}, tmp_path / "none.svg")


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
        elif case.task == "permutation":
            value, null = reference["statistic"], reference["null"]
            right, wrong = [(value, null)], [(value * 1.01, null), (value, null * 1.01)]
        elif case.task == "contrastive":
            loss, gradients = reference["loss"], np.zeros((2, case.n, case.d))
            gradients[:, reference["rows"]] = reference["grad_x"], reference["grad_y"]
            right, wrong = (
                [(loss, *gradients)],
                [(loss * 1.01, *gradients), (loss, *gradients * 1.01)],
            )
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


def test_gpu_run_names_every_step_that_it_takes(load):
    gpu = load("gpu")
    families = {case.family for case in load("cases").CASES}
    assert families >= set(gpu.FAMILIES)
    steps = gpu.steps(0.5)
    assert next(iter(steps)) == "tests"
    assert set(steps) >= set(gpu.FAMILIES)
    if gpu.missing():
        assert gpu.main([]) == 1
