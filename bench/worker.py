"""One contender in its own process, taking orders from `harness` over a pipe.

Started as `python -m bench.worker FD CONTENDER THREADS MEMORY`, its environment already limiting
every thread pool, so that the libraries it imports read the limits at load time. It stays alive
over all cases; between orders it waits in a blocking read, and its pools sleep. The contender named
"yardstick" holds no library: it makes the inputs and the float64 references and measures the floor.
"""

import ctypes
import gc
import importlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from bench import floor
from bench.case import Arrays, Case

YARDSTICK = "yardstick"
INPUTS, REFERENCE = "inputs", "reference"
WARM_ROWS = 512


class Contender:
    """The state behind the orders: a peer's module, and the case it is working on."""

    def __init__(self, name: str, threads: int) -> None:
        self.threads = threads
        self.peer: Any = None
        if name != YARDSTICK:
            self.peer = importlib.import_module(f"bench.peers.{name}")
            self.peer.start(threads)
        self.calls: dict[str, Callable[[], object]] = {}
        self.result: object = None

    def describe(self) -> str:
        return str(self.peer.describe())

    def make(self, case: Case, folder: Path) -> None:
        """Store the inputs and the float64 reference of `case` for everybody."""
        arrays = case.make()
        _store(folder / INPUTS, arrays)
        _store(folder / REFERENCE, case.reference(arrays))

    def rates(self, case: Case, product_size: int) -> tuple[float, float]:
        """Measure sgemm in flops per second; where keys are sorted, copying in bytes per second."""
        copy = floor.copy_rate(case.n, self.threads) if case.keys else float("inf")
        return floor.sgemm_rate(product_size), copy

    def warm_up(self, case: Case, folder: Path) -> tuple[int | None, dict[str, float]]:
        """Load the inputs and call once; return the peak memory above them, and seconds by column.

        A call on a few rows comes first. It loads what the library loads late, so that the peak of
        the full call is that of the computation, its result included.
        """
        prepare = getattr(self.peer, case.task)
        few = case.scaled(WARM_ROWS / max(case.n, case.m))
        prepare(few, few.make(), self.threads)()
        arrays = _load(folder / INPUTS)
        self.calls = {"one_shot": prepare(case, arrays, self.threads)}
        gc.collect()
        _return_free_memory()
        before = _restart_peak()
        seconds = {"one_shot": self.run("one_shot")}
        peak = _resident("VmHWM")
        memory = None if before is None or peak is None else max(0, peak - before)
        prepare = getattr(self.peer, f"{case.task}_prebuilt", None)
        if prepare is not None and case.asks_often:
            self.calls["prebuilt"] = prepare(case, arrays, self.threads)
            seconds["prebuilt"] = self.run("prebuilt")
        return memory, seconds

    def run(self, column: str) -> float:
        """Return the seconds one call takes; its result stays for `errors`."""
        self.result = None
        start = time.perf_counter()
        self.result = self.calls[column]()
        return time.perf_counter() - start

    def errors(self, case: Case, folder: Path) -> dict[str, float]:
        return case.errors(self.result, _load(folder / REFERENCE))

    def candidates(self, case: Case, folder: Path) -> float | None:
        """Count the pairs per query that were confirmed one by one; None for who cannot tell."""
        count = getattr(self.peer, f"{case.task}_candidates", None)
        return None if count is None else count(case, _load(folder / INPUTS), self.threads)

    def forget(self) -> None:
        """Free the case, so that a waiting contender takes no memory from the others."""
        self.calls, self.result = {}, None
        gc.collect()
        _return_free_memory()


def _store(folder: Path, arrays: Arrays) -> None:
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def _load(folder: Path) -> Arrays:
    return {file.stem: np.load(file) for file in folder.iterdir()}


def _return_free_memory() -> None:
    """Hand what malloc keeps from earlier calls back to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _restart_peak() -> int | None:
    """Let VmHWM start afresh and return the memory now; None where the system cannot do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _resident("VmRSS")


def _resident(field: str) -> int | None:
    """Bytes of VmRSS (now) or VmHWM (peak) of this process; None where /proc has none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), None)


def _failure(error: BaseException) -> tuple[str, str]:
    """Name an exception: running out of memory is a result, anything else a failure."""
    message = f"{type(error).__name__}: {error}"
    said = message.lower()
    if isinstance(error, MemoryError) or "allocate" in said or "bad_alloc" in said:
        return "out of memory", message
    return "failed", message


def main() -> None:
    descriptor, name, threads, memory = sys.argv[1:]
    orders = Connection(int(descriptor))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the harness ends its contenders itself
    os.dup2(2, 1)  # what a library prints must not mix with the tables
    if int(memory) > 0:
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory), int(memory)))
    contender: Contender | None = None
    while True:
        try:
            order, arguments = orders.recv()
        except EOFError:
            return
        try:
            if contender is None:
                contender = Contender(name, int(threads))
            reply = ("done", getattr(contender, order)(*arguments))
        except Exception as error:  # whatever a library raises becomes its entry in the table
            reply = _failure(error)
        orders.send(reply)


if __name__ == "__main__":
    main()
