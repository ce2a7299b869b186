"""A skip that .ci/run does not expect is a failure."""

import os
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
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = oracle\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-q", *options, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
        | {"PYTEST_ADDOPTS": "-p no:cacheprovider"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{counts} in " in done.stdout, done.stdout
    assert ("unexpected skip" in done.stdout) == ("failed" in counts)
