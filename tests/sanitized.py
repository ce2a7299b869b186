"""Python on an engine built with sanitizers: of memory and arithmetic, or of threads.

    python tests/sanitized.py asan -m pytest -n 2 -m "native and not slow and not hand"
    PAIRTILE_ISA=v2 python tests/sanitized.py tsan -m pytest tests/engine/test_engine.py -k threads
    python tests/sanitized.py asan tests/soak.py --minutes 30

The first argument is a preset of CMakePresets.json, built by g++; Python gets the others. The
compiled module goes into a copy of the package in the preset's build tree. Python is as it comes
and loads the sanitizer first. What it finds ends the process that it is found in, which may be a
worker of pytest or a script that a test starts: findings are files, shown at the end. Those of
arithmetic go to standard error, which pytest leaves alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRESETS = {"asan": "libasan.so", "tsan": "libtsan.so"}
# What is allocated holds NaN until it is written. The presets do the like on the stack.
_FILLED = f"max_malloc_fill_size={1 << 30}:malloc_fill_byte={0xFF}"


def built(preset: str) -> Path:
    """The build tree with the module of this preset, made or brought up to date."""
    tree = ROOT / "build" / preset
    subprocess.run(["cmake", "--preset", preset], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", tree, "--target", "_native"], check=True)
    return tree


def package_of(tree: Path) -> Path:
    """A folder to import pairtile from."""
    site = tree / "site"
    shutil.rmtree(site, ignore_errors=True)
    compiled = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "python" / "pairtile", site / "pairtile", ignore=compiled)
    shutil.copy(tree / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}", site / "pairtile")
    return site


def library(tree: Path, name: str) -> str:
    """A library of the compiler that built this tree."""
    cache = (tree / "CMakeCache.txt").read_text()
    compiler = cache.partition("CMAKE_CXX_COMPILER:")[2].partition("=")[2].partition("\n")[0]
    said = subprocess.run(
        [compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True
    )
    return said.stdout.strip()


def main(preset: str, *arguments: str) -> int:
    tree = built(preset)
    site = package_of(tree)
    findings = tree / "findings"
    shutil.rmtree(findings, ignore_errors=True)
    findings.mkdir()
    options = f"log_path={findings}/found:print_stacktrace=1:halt_on_error=1"
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} --capture=sys",
        "PYTHONMALLOC": "malloc",  # each object an allocation that is watched
        # of the C++ library, whose exceptions the sanitizer asks for before a module brings it
        "LD_PRELOAD": f"{library(tree, PRESETS[preset])} {library(tree, 'libstdc++.so')}",
        "ASAN_OPTIONS": f"{options}:detect_leaks=0:detect_stack_use_after_return=1:{_FILLED}",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": options,
    }
    status = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, check=False
    ).returncode
    found = sorted(findings.iterdir())
    for path in found:
        print(f"\n=== {path}\n{path.read_text(errors='replace')}")
    return status or len(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
