"""The recipes of docs/architecture.md, followed to the letter on a copy of the sources.

A block goes into the file named above it: a new one, or before or after the one line that holds the
quoted text. "It works when this does" ends each recipe; all three are built together.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
STEP = re.compile(
    r"^`([\w/.]+)`(?:, (before|after) `([^`]+)`)?:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
CHECK = re.compile(r"^It works when this does:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOOLS = ("cmake", "ninja", "pybind11-config")


def apply(tree, file, where, anchor, block):
    path = tree / file
    if not where:
        assert not path.exists(), f"{file} is there already"
        path.write_text(block, encoding="utf-8")
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (at,) = (i for i, line in enumerate(lines) if anchor in line)
    if block.startswith(("def ", "@")) and file.endswith(".py"):  # two lines apart from others
        block = f"{block}\n\n" if where == "before" else f"\n\n{block}"
    lines.insert(at + (where == "after"), block)
    path.write_text("".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = tmp_path_factory.mktemp("recipes")
    for folder in ("cpp", "cuda", "python"):
        shutil.copytree(
            ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__")
        )
    shutil.copy(ROOT / "CMakeLists.txt", tree)
    for step in STEP.findall(TEXT):
        apply(tree, *step)
    return tree


def test_every_step_fits(tree):
    """Files are new where they should be, and each quoted text is in one line of its file."""
    assert len(CHECK.findall(TEXT)) == TEXT.count("\n### ") == 3
    for file, *_ in STEP.findall(TEXT):
        if file.endswith(".py"):
            compile((tree / file).read_text(encoding="utf-8"), file, "exec")


@pytest.mark.slow
@pytest.mark.native
def test_recipes_work(tree):
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool} on the PATH, as docs/development.md sets it up")

    def run(*command, **options):
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout.strip()

    build = tree / "build"
    run(
        "cmake", "-G", "Ninja", "-S", tree, "-B", build, "-DPAIRTILE_CUDA=OFF",
        "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0",  # built sooner
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-DCMAKE_PREFIX_PATH={run('pybind11-config', '--cmakedir')}",
    )  # fmt: skip
    run("cmake", "--build", build, "--target", "_native")
    (library,) = build.glob("_native*.so")
    shutil.copy(library, tree / "python" / "pairtile")
    words = "tests/engine/test_words.py::test_the_type_checker_knows_the_same_words"
    at_the_copy = {**os.environ, "PYTHONPATH": str(tree / "python"), "PYTEST_ADDOPTS": ""}
    run(sys.executable, "-m", "pytest", "-q", words, cwd=ROOT, env=at_the_copy)
    for check in CHECK.findall(TEXT):
        code = f"import sys; sys.path.insert(0, {str(tree / 'python')!r})\n"
        code += "import numpy as np\nimport pairtile as pt\n" + textwrap.dedent(check)
        run(sys.executable, "-W", "error", "-c", code)
