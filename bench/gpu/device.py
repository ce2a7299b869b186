"""Time by CUDA events, what the device can do at most, memory, and the machine in words."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import cupy
import numpy as np

from bench.gpu.library import torch_on_gpu

PRODUCT_SIZE = 8192
COPIED = 1 << 30  # bytes
LEAST_PRODUCT, LEAST_COPIED = 64, 1 << 16
PACKAGES = (
    "pairtile",
    "numpy",
    "torch",
    "triton",
    "faiss-gpu",
    "cuvs-cu13",
    "cuvs-cu12",
    "pykeops",
)
QUERIED = (
    "clocks.sm",
    "clocks.max.sm",
    "clocks.mem",
    "power.draw",
    "power.limit",
    "temperature.gpu",
)


@dataclass
class Timed:
    """One call: seconds between two events on the stream, seconds on the host, what it returned."""

    seconds: float
    host_seconds: float
    result: Any


def synchronize() -> None:
    cupy.cuda.Device().synchronize()


def timed(call: Callable[[], Any], *, own_streams: bool = False) -> Timed:
    """Call once. Work on streams of a library's own is awaited before the second event."""
    start, stop = cupy.cuda.Event(), cupy.cuda.Event()
    synchronize()
    begun = time.perf_counter()
    start.record()
    result = call()
    if own_streams:
        synchronize()
    stop.record()
    stop.synchronize()
    seconds = cupy.cuda.get_elapsed_time(start, stop) / 1e3
    return Timed(max(seconds, 1e-9), time.perf_counter() - begun, result)


def median_seconds(call: Callable[[], Any], repeat: int = 5) -> float:
    """Return the median after one untimed call."""
    call()
    return median(timed(call).seconds for _ in range(repeat))


def ceilings(scale: float) -> dict[str, float]:
    """Rates of this device in this run: flops per second of products, bytes per second of copying.

    Random operands: products of zeros draw less power and run at higher clocks. Copying counts
    what is read and what is written.
    """
    size = max(LEAST_PRODUCT, round(PRODUCT_SIZE * min(1.0, scale)))
    size -= size % 16
    found = {f"{kind} product": rate for kind, rate in _product_rates(size).items()}
    found["copy"] = _copy_rate(max(LEAST_COPIED, round(COPIED * min(1.0, scale))))
    return found


def _copy_rate(size: int) -> float:
    torch = torch_on_gpu()
    source: Any
    if torch is None:
        source, target = (cupy.zeros(size, dtype=np.uint8) for _ in range(2))

        def copy() -> None:
            target[...] = source
    else:  # one cudaMemcpyAsync
        source, target = (torch.zeros(size, dtype=torch.uint8, device="cuda") for _ in range(2))

        def copy() -> None:
            target.copy_(source)

    return 2.0 * size / median_seconds(copy)


def _product_rates(size: int) -> dict[str, float]:
    flops = 2.0 * size**3
    torch = torch_on_gpu()
    if torch is None:  # a simulator: there is no product but CuPy's
        a = cupy.asarray(np.random.default_rng(0).standard_normal((size, size), dtype=np.float32))
        return {"float32": flops / median_seconds(lambda: a @ a)}
    rates = {}
    for kind in ("bfloat16", "tf32", "float32", "float64"):
        dtype = torch.float32 if kind == "tf32" else getattr(torch, kind)
        a, b = (torch.randn(size, size, device="cuda").to(dtype) for _ in range(2))
        torch.set_float32_matmul_precision("high" if kind == "tf32" else "highest")
        rates[kind] = flops / median_seconds(lambda a=a, b=b: torch.mm(a, b))  # type: ignore[misc]
    torch.set_float32_matmul_precision("highest")
    return rates


def free_memory() -> None:
    """Give back what the allocators keep."""
    cupy.get_default_memory_pool().free_all_blocks()
    torch = torch_on_gpu()
    if torch is not None:
        torch.cuda.empty_cache()


class Peak:
    """The most device memory held by CuPy's pool and torch's allocator, above what was in use.

    CuPy's pool gives nothing back by itself, so that its size is the peak since it was emptied.
    """

    def __init__(self) -> None:
        free_memory()
        self._pool = cupy.get_default_memory_pool()
        self._torch = torch_on_gpu()
        self._before = self._pool.used_bytes()
        if self._torch is not None:
            self._torch.cuda.reset_peak_memory_stats()
            self._before += self._torch.cuda.memory_allocated()

    def bytes(self) -> int:
        """Return the peak since then."""
        held = self._pool.total_bytes()
        if self._torch is not None:
            held += self._torch.cuda.max_memory_allocated()
        return max(0, int(held - self._before))


def clocks() -> dict[str, str]:
    """Ask nvidia-smi; nothing where there is none."""
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERIED)}", "--format=csv,noheader", "-i", "0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if done.returncode != 0:
        return {}
    return dict(
        zip(QUERIED, (v.strip() for v in done.stdout.splitlines()[0].split(",")), strict=True)
    )


def describe() -> dict[str, Any]:
    """Name the device and everything that was measured with."""
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
    torch = torch_on_gpu()
    return {
        "device": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory": properties["totalGlobalMem"],
        "driver_cuda": runtime.driverGetVersion(),
        "runtime_cuda": runtime.runtimeGetVersion(),
        "driver": _driver(),
        "torch_cuda": None if torch is None else torch.version.cuda,
        "cupy": cupy.__version__,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "clocks": clocks(),
    }


def _driver() -> str | None:
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    return text.splitlines()[0]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
