"""What every test stands on: the amount of random search, and which tests this machine can run."""

import ctypes
import functools
import importlib.util
import os

import pytest
from hypothesis import HealthCheck, settings

# "ci" repeats the same few examples each time, "brief" fewer, for instruction sets after the first;
# "thorough" is for a machine left alone overnight:
# HYPOTHESIS_PROFILE=thorough python -m pytest
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=40, **_COMMON)
settings.register_profile("ci", max_examples=15, derandomize=True, print_blob=True, **_COMMON)
settings.register_profile("brief", settings.get_profile("ci"), max_examples=6)
settings.register_profile("thorough", max_examples=2000, **_COMMON)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
)


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


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and (reason := _no_gpu()):
        pytest.skip(reason)
    if item.get_closest_marker("native") and importlib.util.find_spec("pairtile._native") is None:
        pytest.skip("pairtile was installed without its compiled module")
