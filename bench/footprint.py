"""What a package costs before it does anything: seconds to import over NumPy's, bytes installed.

Each import is timed in a fresh interpreter that has NumPy already, the packages taking turns.
"""

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from statistics import median

from bench.peers import DISTRIBUTIONS

IMPORTS = {
    "pairtile": "pairtile",
    "scipy": "scipy.spatial",
    "sklearn": "sklearn.neighbors",
    "faiss": "faiss",
    "torch": "torch",
    "pot": "ot",
    "dcor": "dcor",
}
TIMED = (
    "import time, numpy; start = time.perf_counter(); import {0}; "
    "print(time.perf_counter() - start)"
)


@dataclass
class Footprint:
    """One package: median seconds (None: not installed) and bytes of its own files."""

    package: str
    seconds: float | None = None
    installed: int | None = None


def measure(repeat: int, contenders: tuple[str, ...] | None) -> list[Footprint]:
    """Import every package `repeat` times after one untimed round that fills the file cache."""
    results = [Footprint(name) for name in IMPORTS if contenders is None or name in contenders]
    present = [r for r in results if importlib.util.find_spec(IMPORTS[r.package].split(".")[0])]
    times: dict[str, list[float]] = {r.package: [] for r in present}
    for _ in range(1 + repeat):
        for result in present:
            times[result.package].append(_import_seconds(IMPORTS[result.package]))
    for result in present:
        result.seconds = median(times[result.package][1:])
        result.installed = _installed_bytes(result.package)
    return results


def _import_seconds(module: str) -> float:
    command = [sys.executable, "-c", TIMED.format(module)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def _installed_bytes(package: str) -> int | None:
    """Sum the files its distribution installed; None for a source tree that was never installed."""
    try:
        listed = files(DISTRIBUTIONS[package])
    except PackageNotFoundError:
        return None
    paths = [Path(str(entry.locate())) for entry in listed or []]
    return sum(path.stat().st_size for path in paths if path.is_file())
