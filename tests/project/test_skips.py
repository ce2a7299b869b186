"""What tests/conftest.py adds to pytest: skips that fail, and samples of sets of parameters."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

CASES = """
import pytest

def test_gpu():
    pytest.skip("no NVIDIA driver")

def test_package():
    pytest.importorskip("no_such_module")

@pytest.mark.oracle("no_such_module")
def test_oracle():
    raise AssertionError

@pytest.mark.oracle("numpy")
def test_oracle_that_is_there():
    pass
"""


@pytest.mark.host
@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ([], "1 passed, 3 skipped"),
        (["--expected-skips=gpu,oracle"], "1 failed, 1 passed, 2 skipped"),
        (["--expected-skips=gpu"], "1 failed, 1 passed, 1 skipped, 1 error"),
        (["--expected-skips=none"], "2 failed, 1 passed, 1 error"),
    ],
)
def test_what_is_not_expected_fails(options, counts, tmp_path):
    said = _pytest(tmp_path, CASES, options)
    assert f"{counts} in " in said, said
    assert ("unexpected skip" in said) == ("failed" in counts)


@pytest.mark.host
def test_a_sample_is_of_what_is_chosen(tmp_path):
    text = """
import pytest

CHOSEN = [*range(50), *(pytest.param(i, marks=pytest.mark.oracle) for i in range(50, 90))]

@pytest.mark.parametrize("i", CHOSEN)
def test_many(i):
    print(f"set {i}.")

def test_one():
    pass
"""
    said = _pytest(tmp_path, text, ["--sample=5", "-s", "-m", "not oracle"])
    assert "6 passed, 85 deselected in " in said, said
    assert re.findall(r"set (\d+)\.", said) == ["0", "10", "20", "30", "40"]


def _pytest(folder: Path, text: str, options: list[str]) -> str:
    """Return what pytest says of this test file, with the project's conftest.py."""
    (folder / "test_cases.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = oracle\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-q", *options, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
        | {"PYTEST_ADDOPTS": "-p no:cacheprovider"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout
