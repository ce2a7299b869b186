"""What every test stands on: the amount of random search, and which tests this machine can run."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator

# "default" repeats the same examples each time, for everybody; "brief" fewer, where a test is slow.
# "random" draws new ones; "thorough" is that for a machine left alone overnight:
# HYPOTHESIS_PROFILE=thorough python -m pytest
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
settings.register_profile("default", max_examples=15, derandomize=True, **_COMMON)
settings.register_profile("brief", max_examples=6, derandomize=True, **_COMMON)
settings.register_profile("random", max_examples=40, **_COMMON)
settings.register_profile("thorough", max_examples=2000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


# What a test may be skipped for. `--expected-skips` names those that are right here; a skip for
# any other reason then fails, so that nothing drops out of .ci/run unseen.
SKIPS = {
    "native": "pairtile was installed without its compiled module",
    "cuda": "pairtile was built without its GPU module|could not import 'pairtile._cuda'",
    "gpu": "no NVIDIA driver|driver finds no GPU|no NVIDIA GPU|could not import 'cupy'",
    "simulator": "this device and build have|torch finds no GPU",
    "nvcc": "there is no nvcc|is not by nvcc",
    "browser": "there is no Chromium",
    "oracle": "of the dependency group oracles",
    "sanitizer": "memory under a sanitizer",
    "array_api": "SCIPY_ARRAY_API is not set",  # a check of scikit-learn
}


@functools.cache
def _no_gpu() -> str | None:
    """Why GPU tests cannot run here, None if they can."""
    if importlib.util.find_spec("pairtile._cuda") is None:
        return "pairtile was built without its GPU module"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return "the NVIDIA driver finds no GPU"
    return None if count.value else "no NVIDIA GPU"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("slow machines")
    group.addoption(
        "--sample",
        type=int,
        metavar="N",
        help="of each test function that is chosen, run N sets of parameters, spread evenly",
    )
    parser.getgroup("skips").addoption(
        "--expected-skips",
        metavar="KINDS",
        help=f"fail what is skipped for another reason than these: {', '.join(SKIPS)}, or none",
    )
    group.addoption(
        "--no-memory-pool",
        action="store_true",
        help="each array an allocation of its own, as memory checkers want it",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--no-memory-pool") and importlib.util.find_spec("cupy") is not None:
        importlib.import_module("cupy").cuda.set_allocator(None)


@pytest.hookimpl(trylast=True)  # of what -m and -k leave
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    sample = config.getoption("--sample")
    if sample is None:
        return
    by_function: dict[str, list[pytest.Item]] = {}
    for item in items:
        by_function.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left_out: set[pytest.Item] = set()
    for group in by_function.values():
        left_out |= set(group) - {group[i * len(group) // sample] for i in range(sample)}
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and (reason := _no_gpu()):
        pytest.skip(reason)
    if item.get_closest_marker("native") and importlib.util.find_spec("pairtile._native") is None:
        pytest.skip("pairtile was installed without its compiled module")
    for marker in item.iter_markers("oracle"):
        for module in marker.args:
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"needs {module}, of the dependency group oracles")


def _fail_unexpected_skip(config: pytest.Config, report: Any) -> None:
    expected = config.getoption("--expected-skips")
    if expected is None or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    kinds = expected.split(",")
    if not any(re.search(SKIPS[kind], reason) for kind in kinds if kind != "none"):
        report.outcome = "failed"
        report.longrepr = f"unexpected skip: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    _fail_unexpected_skip(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    report = yield
    _fail_unexpected_skip(collector.config, report)
    return report
