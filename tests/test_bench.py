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
def cases(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("bench.cases")


def test_every_family_runs_and_is_right(tmp_path, cases):
    file = tmp_path / "figures.json"
    done = bench(
        "all", "--scale=0.01", "--repeat=2", "--contenders=pairtile,numpy", f"--json={file}"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(file.read_text())

    assert [c["task"] for c in figures["cases"]] == [c.task for c in cases.CASES if not c.large]
    for case in figures["cases"]:
        assert case["title"] in done.stdout
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
    assert rivals == {"permutation", "sliced"}

    (footprint,) = figures["footprint"]
    assert footprint["package"] == "pairtile"
    assert 0 < footprint["seconds"] < 5


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
        reference = case.reference(case.make())
        if case.task == "knn":
            distances, indices = np.ones((2, case.n, case.k))
            distances[reference["rows"]] = reference["distances"]
            indices[reference["rows"]] = reference["indices"]
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
