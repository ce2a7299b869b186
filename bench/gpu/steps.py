"""What runs before anything is timed: the GPU tests, and a part of them under compute-sanitizer."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTEST = ["-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "tests"]
PYTEST += ["--ignore=tests/gpu/test_gpu_bench.py"]  # which rehearses what is running
# One parameter set of each test function, and no pool, in which an access beyond an array would
# mostly hit another one of ours.
PART = ["--sample=1", "--no-memory-pool"]
SANITIZERS = ("memcheck", "racecheck")
SHARES = {"tests": 0.25, "memcheck": 0.12, "racecheck": 0.12}  # of the budget, at most
REPORTED = re.compile(r"^=========\s+(Invalid|Misaligned|Error|Race|Potential|Barrier)", re.M)
KEPT = 4000  # characters at the end of what a step said
PROCESSES = 4  # of the tests on one GPU


def commands() -> dict[str, list[str]]:
    """Commands by their names, in the order in which they run."""
    together = []
    if importlib.util.find_spec("xdist") is not None:
        together = [f"--numprocesses={min(PROCESSES, os.cpu_count() or 1)}"]
    result = {"tests": [sys.executable, *PYTEST, *together]}
    for tool in SANITIZERS:
        # Libraries ask the driver for functions that it may lack; that is no error of ours.
        checked = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9"]
        checked += ["--report-api-errors", "no"]
        result[tool] = [*checked, sys.executable, *PYTEST, *PART]
    return result


def run(name: str, command: list[str], seconds: float) -> dict[str, Any]:
    """Run a step for at most `seconds`; return its status and the end of what it said."""
    step: dict[str, Any] = {"command": " ".join(command), "limit": seconds}
    if shutil.which(command[0]) is None:
        return step | {"status": "not available", "seconds": 0.0, "said": f"no {command[0]}"}
    environment = os.environ | {"HYPOTHESIS_PROFILE": "ci" if name == "tests" else "brief"}
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        child = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code: int | None = child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            code = None
        log.seek(0)
        said = log.read()
    reports = len(REPORTED.findall(said))
    status = "ok" if code == 0 else f"failed ({code})"
    if code is None:
        status = "out of time" if not reports and " FAILED" not in said else "failed, out of time"
    return step | {
        "status": status,
        "seconds": time.perf_counter() - start,
        "reports": reports,
        "said": said[-KEPT:],
    }
