"""Runs a case: one long-lived process per contender, driven in turns, on the same stored arrays.

cases → make (yardstick process) → warm up each contender → rounds (yardstick, then every contender
once, each round beginning with another) → errors → Outcome. Only one process works at a time. A
contender that fails, runs out of memory or takes too long gets that as its entry; the rest go on.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

from bench.cases import Case
from bench.worker import YARDSTICK

OURS = "pairtile"
MODULES = {"pot": "ot"}  # where the import name is not the contender's
SHARE_OF_MEMORY = 0.85  # of what is available when a contender starts
PRODUCT_SIZE = 4096  # of the sgemm yardstick at full scale
LEAST_PRODUCT_SIZE = 256
RADIX_PASSES = 3  # over 32-bit keys, eleven bits at a time


@dataclass(frozen=True)
class Settings:
    """How to run; the command line fills it in."""

    threads: int
    repeat: int
    scale: float
    timeout: float
    contenders: tuple[str, ...] | None = None


@dataclass
class Entry:
    """What one contender did in one case. Times in seconds, memory in bytes."""

    contender: str
    status: str = "ok"
    version: str | None = None
    times: dict[str, list[float]] = field(default_factory=dict)  # "one_shot", "prebuilt"
    peak_memory: int | None = None
    errors: dict[str, float] = field(default_factory=dict)
    wrong: bool = False

    def seconds(self, column: str = "one_shot") -> float | None:
        """Return the median time; None for a column it lacks, or where it did not finish."""
        times = self.times.get(column)
        return median(times) if self.status == "ok" and times else None


@dataclass
class Outcome:
    """One case: its floor, and an entry per contender."""

    case: Case
    sgemm_rates: list[float]
    copy_rates: list[float]
    entries: list[Entry]

    @property
    def floor(self) -> float:
        """Seconds for the case's flops at the sgemm rate, and its keys at the copying rate.

        A key of four bytes is written by the projection, read and written by each radix pass, and
        read once by the reduction.
        """
        moved = 4.0 * self.case.keys * (2 + 2 * RADIX_PASSES)
        return self.case.flops / median(self.sgemm_rates) + moved / median(self.copy_rates)

    @property
    def best_peer(self) -> Entry | None:
        peers = [e for e in self.entries if e.contender != OURS and e.seconds() is not None]
        return min(peers, key=lambda e: e.seconds() or 0.0, default=None)

    @property
    def ours(self) -> Entry | None:
        return next((e for e in self.entries if e.contender == OURS), None)


class ContenderGone(Exception):
    """The contender's process ended or was stopped; the message is its entry in the table."""


class Process:
    """A contender's process, started with every thread pool limited and told not to spin."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._pipe, theirs = Pipe()
        number = str(settings.threads)
        pools = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMBA")
        environment = os.environ | {f"{pool}_NUM_THREADS": number for pool in pools}
        environment |= {
            "VECLIB_MAXIMUM_THREADS": number,
            "OMP_WAIT_POLICY": "PASSIVE",
            "KMP_BLOCKTIME": "0",
            "OPENBLAS_THREAD_TIMEOUT": "20",  # spins for 2^20 cycles, under a millisecond
        }
        command = [sys.executable, "-m", "bench.worker", str(theirs.fileno()), name, number]
        self._child = subprocess.Popen(
            [*command, str(_memory_limit())],
            env=environment,
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def order(self, name: str, *arguments: object, timeout: float | None = None) -> Any:
        """Have the contender do something and return its answer, or raise ContenderGone."""
        try:
            self._pipe.send((name, arguments))
            if not self._pipe.poll(timeout):
                self.stop()
                raise ContenderGone(f"over {timeout:g} s")
            status, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            code = self._child.wait()
            raise ContenderGone(f"killed (exit status {code})") from None
        if status != "done":
            if status == "failed":
                print(f"{self.name}: {answer}", file=sys.stderr)
            raise ContenderGone(status)
        return answer

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def stop(self) -> None:
        self._pipe.close()
        self._child.kill()
        self._child.wait()


class Ring:
    """All the processes of one invocation, started when first needed and kept for the next case."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            process.stop()

    def process(self, name: str) -> Process:
        process = self._processes.get(name)
        if process is None or not process.alive:
            process = self._processes[name] = Process(name, self.settings)
        return process

    def run(self, case: Case) -> Outcome:
        """Measure every contender of the case, taking turns."""
        only = self.settings.contenders
        names = [name for name in case.contenders if only is None or name in only]
        outcome = Outcome(case, [], [], [Entry(name) for name in names])
        for entry in outcome.entries:
            if importlib.util.find_spec(MODULES.get(entry.contender, entry.contender)) is None:
                entry.status = "not installed"
        with tempfile.TemporaryDirectory(prefix="pairtile-bench-") as folder:
            self._measure(outcome, Path(folder))
        return outcome

    def _measure(self, outcome: Outcome, folder: Path) -> None:
        case, entries = outcome.case, outcome.entries
        yardstick = self.process(YARDSTICK)
        yardstick.order("make", case, folder)
        for entry in entries:
            entry.version = self._ask(entry, "describe")
            warm = self._ask(entry, "warm_up", case, folder)
            if warm is not None:
                entry.peak_memory, columns = warm
                entry.times = {column: [] for column in columns}

        product = round(PRODUCT_SIZE * min(1.0, self.settings.scale) ** 0.5)
        for turn in range(self.settings.repeat):
            sgemm, copy = yardstick.order("rates", case, max(LEAST_PRODUCT_SIZE, product))
            outcome.sgemm_rates.append(sgemm)
            outcome.copy_rates.append(copy)
            first = turn % max(1, len(entries))
            for entry in entries[first:] + entries[:first]:
                for column, times in entry.times.items():
                    seconds = self._ask(entry, "run", column)
                    if seconds is not None:
                        times.append(seconds)

        for entry in entries:
            entry.errors = self._ask(entry, "errors", case, folder) or {}
            entry.wrong = any(
                not error <= case.tolerances[name] for name, error in entry.errors.items()
            )
            self._ask(entry, "forget")

    def _ask(self, entry: Entry, order: str, *arguments: object) -> Any:
        """Give a contender an order; None once it is out of this case, whatever the reason."""
        if entry.status != "ok":
            return None
        process = self.process(entry.contender)
        try:
            return process.order(order, *arguments, timeout=self.settings.timeout)
        except ContenderGone as gone:
            entry.status = str(gone)
            process.stop()
            return None


def _memory_limit() -> int:
    """Bytes a contender may take, so that one that asks for too much does not end the others.

    Zero, no limit, where the system does not say what is available.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return int(SHARE_OF_MEMORY * available * 1024)
