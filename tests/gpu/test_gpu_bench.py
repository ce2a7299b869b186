"""`python -m bench.gpu` rehearsed at tiny sizes, so that it does not fail on its first day.

Times mean nothing here; the judges, the peers and the record do.
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TINY = "1e-9"  # the fewest rows that a cell can have
# Cells whose function pairtile may not have on a GPU yet, or not at all.
WANTED = ("knn", "mmd", "energy", "permutation")


# A compute-sanitizer that runs the command it is given, but for two of its tests, and writes down
# what it saw. As racecheck it reports an error.
SANITIZER = """\
#!{python}
import json, subprocess, sys
at = sys.argv.index({python!r})
options, command = sys.argv[1:at], sys.argv[at:]
chosen = ["-k", "test_results_are_tensors or test_arrays_that_lie_on_a_device"]
done = subprocess.run([*command, *chosen], capture_output=True, text=True)
with open({log!r}, "a") as log:
    print(json.dumps([options, command, done.returncode, done.stdout[-2000:]]), file=log)
print("========= COMPUTE-SANITIZER")
if "racecheck" in options:
    print("========= Error: Race reported between Write access at 0x80 and Read access at 0x90")
    sys.exit(int(options[1 + options.index("--error-exitcode")]))
sys.exit(done.returncode)
"""


def bench_gpu(
    *arguments: str, sanitizers: bool = False, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    left_out = [] if sanitizers else ["--no-sanitizers"]
    return subprocess.run(
        [sys.executable, "-m", "bench.gpu", "--no-tests", *left_out, *arguments],
        cwd=ROOT,
        env=os.environ | ({} if path is None else {"PATH": path}),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"bench.gpu.{name}")


@pytest.mark.gpu
def test_every_cell_is_measured_and_judged(tmp_path: Path, load: Any) -> None:
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    simulated = b"gpusim" in cupy.cuda.runtime.getDeviceProperties(0)["name"]
    # On a GPU peers compile first, for minutes; their answers are judged on the host in test_bench.
    peers = [] if simulated else ["--no-peers"]
    done = bench_gpu(f"--scale={TINY}", "--budget=600", f"--out={tmp_path}", *peers)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "gpu.json").read_text())
    assert document["machine"]["device"]
    assert document["ceilings"]["copy"] > 0
    assert list(document["cells"]) == [cell.name for cell in load("cells").CELLS]
    table = (tmp_path / "gpu.md").read_text()
    assert document["rehearsal"] == simulated == ("Rehearsed in a simulator" in table)
    for name, cell in document["cells"].items():
        entries = cell["contenders"]
        ours = entries["pairtile"]
        assert ours["status"] in ("ok", "not there yet"), (name, ours)
        if name.startswith(WANTED) or ours["status"] == "ok":
            assert ours["status"] == "ok", (name, ours)
            assert all(seconds > 0 for seconds in ours["seconds"])
            assert ours["errors"]
            assert not ours["wrong"], (name, ours["errors"])
            assert ours["memory"] >= name.startswith("knn")  # the result at least
        else:
            assert ours["message"]
        assert all(seconds > 0 for seconds in cell["floors"].values())
        assert cell["title"] in table
        for peer, entry in entries.items():
            assert entry["status"] != "failed", (name, peer, entry)
    if simulated:
        peers_of_knn = document["cells"]["knn-100k"]["contenders"]
        assert peers_of_knn["cupy"]["status"] == "ok"
        assert peers_of_knn["torch"]["status"] in ("not available", "not installed")

    # Nothing is measured again, and what is asked for anew replaces the old entry alone.
    before = (tmp_path / "gpu.json").read_text()
    again = bench_gpu(
        f"--scale={TINY}", "--resume", "--only=knn-100k", "--no-peers", f"--out={tmp_path}"
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "knn, 48" not in again.stdout
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert kept["cells"] == json.loads(before)["cells"]
    none = bench_gpu(f"--scale={TINY}", "--budget=0", "--only=mmd", f"--out={tmp_path}")
    assert "not started" in none.stdout
    assert json.loads((tmp_path / "gpu.json").read_text())["cells"] == kept["cells"]


def path_without(tool: str) -> str:
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(one for one in folders if not (Path(one) / tool).exists())


@pytest.mark.gpu
def test_sanitizers_run_a_part_of_the_tests(tmp_path: Path, load: Any) -> None:
    """A stand-in for the tool, which a machine without a device lacks; all else is as it is."""
    pytest.importorskip("cupy", exc_type=ImportError)
    log, tool = tmp_path / "log", tmp_path / "compute-sanitizer"
    tool.write_text(SANITIZER.format(python=sys.executable, log=str(log)))
    tool.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    options = [f"--scale={TINY}", "--budget=3000", "--only=mmd-100k", "--no-peers"]
    done = bench_gpu(*options, f"--out={tmp_path}", sanitizers=True, path=path)
    found = json.loads((tmp_path / "gpu.json").read_text())["steps"]
    assert list(found) == list(load("steps").SANITIZERS)
    for line, name in zip(log.read_text().splitlines(), found, strict=True):
        given, command, code, said = json.loads(line)
        assert given[:2] == ["--tool", name]
        assert "--no-memory-pool" in command
        assert code == 0, said  # the command is a right one, and its tests pass without a pool
        assert " passed" in said, said
    assert (found["memcheck"]["status"], found["memcheck"]["reports"]) == ("ok", 0)
    assert (found["racecheck"]["status"], found["racecheck"]["reports"]) == ("failed (9)", 1)
    assert "Race reported" in found["racecheck"]["said"]
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Race reported" in done.stdout
    assert done.stdout.splitlines()[-1] == "failed: racecheck"
    table = (tmp_path / "gpu.md").read_text()
    assert "memcheck: ok in" in table
    assert "racecheck: failed (9) in" in table


@pytest.mark.gpu
def test_without_sanitizers_the_rest_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("cupy", exc_type=ImportError)
    done = bench_gpu(
        f"--scale={TINY}", "--budget=600", "--only=mmd-100k", "--no-peers", f"--out={tmp_path}",
        sanitizers=True, path=path_without("compute-sanitizer"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "gpu.json").read_text())
    assert {step["status"] for step in document["steps"].values()} == {"not available"}
    assert list(document["steps"]) == ["memcheck", "racecheck"]
    assert document["cells"]["mmd-100k"]["contenders"]["pairtile"]["status"] == "ok"
    assert done.stdout.splitlines()[-1] == "nothing failed"


@pytest.mark.gpu
def test_a_dying_process_costs_one_entry(tmp_path: Path, load: Any) -> None:
    pytest.importorskip("cupy", exc_type=ImportError)
    main, cells = load("__main__"), load("cells")
    (cell,) = (c.scaled(float(TINY)) for c in cells.chosen("knn-100k"))
    with main.measuring() as process:
        with pytest.raises(main.ContenderGone, match=r"ended \(exit status 1\)"):
            process.order("no such order", timeout=100)
        entry = process.order("measure", cell, "pairtile", 100.0, timeout=200)
        assert entry["status"] == "ok", entry
        assert process.order("measure", cell, "pairtile", 0.0, timeout=200)["status"] == (
            "takes too long"
        )
        with pytest.raises(main.ContenderGone, match="stopped after 0 s"):
            process.order("measure", cell, "pairtile", 100.0, timeout=0)
