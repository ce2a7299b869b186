"""Everything to run first on a machine with a GPU: `python -m bench.gpu`.

The tests marked `gpu`; the same under compute-sanitizer, which finds accesses outside of arrays,
races between the threads of a block and barriers that some of them miss; then the cases that the
GPU serves, on CuPy arrays beside the compiled engine on the host. A step that fails does not stop
the others; exit status 1 if one did.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.peers import ON_REQUEST

ROOT = Path(__file__).parents[1]
TESTS = ["-m", "pytest", "-m", "gpu", "tests/test_gpu.py"]
SANITIZERS = ("memcheck", "racecheck", "synccheck")
FAMILIES = ("knn", "mmd", "permutation", "energy")


def missing() -> str | None:
    """What this machine lacks, in words."""
    if importlib.util.find_spec("pairtile._cuda") is None:
        return "pairtile was built without its GPU module: pip install with PAIRTILE_CUDA=ON"
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed: pip install 'pairtile[cuda]'"
    import cupy

    return None if cupy.is_available() else "CuPy finds no NVIDIA GPU"


def steps(scale: float) -> dict[str, list[str]]:
    """Commands by their names, in the order in which they run."""
    python = sys.executable
    result = {"tests": [python, *TESTS]}
    for tool in SANITIZERS if shutil.which("compute-sanitizer") else ():
        result[tool] = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "1"]
        result[tool] += [python, *TESTS]
    contenders = ",".join(["pairtile", *ON_REQUEST])
    for family in FAMILIES:
        result[family] = [python, "-m", "bench", family, f"--contenders={contenders}"]
        result[family] += [f"--scale={scale}", f"--threads={os.cpu_count()}"]
    return result


def main(argv: list[str] | None = None) -> int:
    parse = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parse.add_argument("--scale", type=float, default=1.0, help="factor on the numbers of rows")
    options = parse.parse_args(argv)
    if reason := missing():
        print(reason, file=sys.stderr)
        return 1
    environment = os.environ | {"HYPOTHESIS_PROFILE": "ci"}  # a sanitizer takes its time
    failed = []
    for name, command in steps(options.scale).items():
        print("+", *command, flush=True)
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0:
            failed.append(name)
    if not shutil.which("compute-sanitizer"):
        failed.append("compute-sanitizer (not found; it comes with the CUDA toolkit)")
    print("failed: " + ", ".join(failed) if failed else "all steps passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
